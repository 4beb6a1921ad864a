//! A planned switchover: under load, killed in the middle, taken back, refused.

use std::process::Stdio;

use crate::harness::{Going, Namespace, Run, kubectl_command, wait_for};

/// The members that say they are the primary; one that does not answer says nothing.
fn primaries(space: &Namespace, members: &[&str]) -> Vec<String> {
    let primary = |member: &&&str| space.try_psql(member, "select pg_is_in_recovery()").is_ok_and(|word| word == "f");
    members.iter().filter(primary).map(ToString::to_string).collect()
}

/// The member that the Service for writes names.
fn led_to(space: &Namespace) -> String {
    let service = space.get("service", "pgset-master").unwrap();
    service["spec"]["selector"]["statefulset.kubernetes.io/pod-name"].as_str().unwrap().to_owned()
}

/// A healthy set with this primary, at which nobody has anything to change.
#[track_caller]
fn settled(space: &Namespace, primary: &str) {
    let status = space.pgset(&["status", "-o", "json"]).expect(0).json();
    assert_eq!((&status["primary"], &status["healthy"]), (&primary.into(), &true.into()), "{status:#}");
    assert_eq!(led_to(space), primary);
    space.pgset(&["up"]).expect(0).says(&["nothing to change"]);
    space.pgset(&["diff"]).expect(0);
    let state = space.get("configmap", "pgset-state").unwrap();
    assert_eq!((&state["data"]["primary"], &state["data"]["promotion"]), (&primary.into(), &serde_json::Value::Null));
}

#[test]
fn under_load_no_acknowledged_row_is_lost_and_the_new_primary_stays_in_charge() {
    let space = Namespace::new("promote");
    space.pgset(&["up", "--replicas", "3"]).expect(0);
    space.psql("pgset-0", "create table load (n int)");
    space
        .pgset(&["promote", "pgset-3"])
        .expect(2)
        .says(&["has no member pgset-3", "it has pgset-0, pgset-1 and pgset-2"]);
    space.pgset(&["promote", "pgset-0"]).expect(0).says(&["pgset-0 is the primary of pgset", "already"]);
    space.pgset(&["promote", "1"]).expect(6).says(&["writes pause", "nobody can answer", "--yes"]);
    assert_eq!(primaries(&space, &["pgset-0", "pgset-1", "pgset-2"]), ["pgset-0"]);

    // The writer runs in the member that is neither, and says every number the database acknowledged; it stops by itself.
    let script = "for n in $(seq 1500); do psql -h pgset-master -U postgres -XAtqc \
        \"set synchronous_commit = on; insert into load values ($n)\" >/dev/null 2>&1 && echo $n || sleep 0.1; \
        [ ! -e /tmp/enough ] || exit 0; done";
    let password = format!("PGPASSWORD={}", space.password("superuser"));
    let mut writer = kubectl_command();
    writer.args(["--namespace", &space.name, "exec", "pgset-2", "-c", "pgset", "--", "env", &password]);
    let writer = writer.args(["PGCONNECT_TIMEOUT=2", "sh", "-c", script]).stdout(Stdio::piped()).spawn().unwrap();
    wait_for("the first rows", || (space.psql("pgset-0", "select count(*) > 20 from load") == "t").then_some(()));
    let run = space.pgset(&["promote", "pgset-1", "--yes"]).expect(0).says(&[
        "pgset-0 steps down",
        "pgset-0 is back as a replica, and pgset-1 has all that it wrote",
        "pgset-1 is the primary, on timeline 2",
        "Service pgset-master leads to pgset-1",
        "writes paused for",
    ]);
    assert!(run.stdout.contains("primary pgset-1, replicas pgset-0 and pgset-2 streaming"), "{}", run.stdout);
    let then = space.psql("pgset-1", "select count(*) from load");
    wait_for("rows after the switchover", || {
        (space.psql("pgset-1", &format!("select count(*) > {then} from load")) == "t").then_some(())
    });
    space.kubectl(&["exec", "pgset-2", "-c", "pgset", "--", "touch", "/tmp/enough"]);
    let written = Run::of(writer.wait_with_output().unwrap()).expect(0).stdout;
    let rows = space.psql("pgset-1", "select n from load");
    let rows: Vec<&str> = rows.lines().collect();
    let lost: Vec<&str> = written.lines().filter(|n| !rows.contains(n)).collect();
    assert!(lost.is_empty(), "lost {lost:?} of {} rows", written.lines().count());
    settled(&space, "pgset-1");
    space.pgset(&["verify"]).expect(0);

    // Whatever is done to the set, it stays the primary.
    space.pgset(&["scale", "1"]).expect(6).says(&["would remove the primary, pgset-1"]);
    space.pgset(&["scale", "2"]).expect(0);
    space.pgset(&["wait"]).expect(0);
    settled(&space, "pgset-1");
    space.pgset(&["restart", "--yes"]).expect(0);
    settled(&space, "pgset-1");
    space.pgset(&["stop", "--yes"]).expect(0);
    space.pgset(&["promote"]).expect(6).says(&["is stopped", "pgset start"]);
    space.pgset(&["start"]).expect(0);
    settled(&space, "pgset-1");
    space.pgset(&["down", "--yes"]).expect(0);
    assert!(space.get("service", "pgset-master").is_none());
    space.pgset(&["up", "--replicas", "1"]).expect(6).says(&["pgset-1 is the primary", "--replicas 2"]);
    space.pgset(&["up"]).expect(0);
    settled(&space, "pgset-1");
    assert_eq!(space.psql("pgset-0", "select count(*) from load"), rows.len().to_string());

    // Back, without a name: there is but one replica.
    space.pgset(&["promote", "--yes"]).expect(0).says(&["pgset-0 is the primary, on timeline 3"]);
    settled(&space, "pgset-0");
    assert_eq!(space.psql("pgset-1", "select count(*) from load"), rows.len().to_string());
    assert_eq!(
        space.kubectl(&["exec", "pgset-0", "-c", "pgset", "--", "sh", "-c", "ls -d /pgdata/*.stale-* | wc -l"]),
        "0\n"
    );
}

#[test]
fn killed_at_any_moment_it_is_finished_by_the_next_and_there_is_never_a_second_primary() {
    let space = Namespace::new("promote-killed");
    space.pgset(&["up"]).expect(0);
    space.psql("pgset-0", "create table kept as select 0 as n");
    let both = ["pgset-0", "pgset-1"];
    // What it has said, or, where that is nothing, until the primary is none any more.
    let moments = ["writing a checkpoint", "steps down", "", "is back as a replica", "is the primary, on", "leads to"];
    for (turn, moment) in (1..).zip(moments) {
        let (from, to) = (both[(turn + 1) % 2], both[turn % 2]);
        space.psql(from, &format!("insert into kept values ({turn})"));
        let going = Going::start(&mut space.command(&["promote", to, "--yes"]));
        if moment.is_empty() {
            let down = || (primaries(&space, &both) != [from]).then_some(());
            wait_for("the primary to step down", down);
        } else {
            going.says(moment, 1);
        }
        // SIGKILL.
        drop(going);
        assert!(primaries(&space, &both).len() <= 1, "{moment}: {:?}", primaries(&space, &both));
        // Whatever there is to finish, this does; where nothing had happened yet, it begins.
        let again = space.pgset(&["promote", "--yes"]);
        let again = if turn < 5 { again.expect(0) } else { space.pgset(&["promote", to, "--yes"]).expect(0) };
        assert_eq!(primaries(&space, &both), [to], "{moment}: {}", again.stderr);
        settled(&space, to);
        let all: Vec<String> = (0..=turn).map(|n| n.to_string()).collect();
        assert_eq!(space.psql(to, "select string_agg(n::text, ',' order by n) from kept"), all.join(","));
    }
}

#[test]
fn a_target_that_lacks_the_last_rows_is_not_promoted_and_the_old_primary_goes_on() {
    let space = Namespace::new("promote-back");
    space.pgset(&["up"]).expect(0);
    space.psql("pgset-0", "create table kept as select 1 as n");
    space.psql("pgset-0", "alter system set wal_sender_timeout = '1s'");
    space.psql("pgset-0", "select pg_reload_conf()");
    let shell = |member: &str, script: &str| {
        space.kubectl(&["exec", member, "-c", "pgset", "--", "sh", "-c", script]);
    };
    // A replica that takes nothing in any more, while the primary does not know it yet.
    let receiver = space.psql("pgset-1", "select pid from pg_stat_wal_receiver");
    let stop = format!("kill -STOP {receiver}");
    let go_on = format!("kill -CONT {receiver}");
    shell("pgset-1", &stop);
    space.psql("pgset-0", "insert into kept values (2)");

    // The primary has stepped down, as far as somebody who was cut short had got.
    let note = r#"{"data":{"promotion":"pgset-0 pgset-1"}}"#;
    space.kubectl(&["patch", "configmap", "pgset-state", "-p", note]);
    let exec =
        ["--namespace", &space.name, "exec", "pgset-0", "-c", "pgset", "--", "/bin/sh", "/pgset/config/step-down.sh"];
    let _ = kubectl_command().args(exec).output().unwrap();
    wait_for("pgset-0 to be a replica", || {
        space.try_psql("pgset-0", "select pg_is_in_recovery()").is_ok_and(|word| word == "t").then_some(())
    });
    shell("pgset-1", &go_on);
    let status = space.pgset(&["status"]);
    assert_eq!(status.code, 3);
    assert!(status.stdout.contains("PGS-NO-PRIMARY") && status.stdout.contains("pgset promote"), "{}", status.stdout);

    let run = space.pgset(&["promote"]).expect(1).says(&[
        "going on with pgset-1",
        "pgset-0 becomes the primary again",
        "pgset-1 was not promoted: pgset-1 has replayed up to",
    ]);
    assert!(run.stdout.contains("primary pgset-0, replica pgset-1 streaming"), "{}", run.stdout);
    assert_eq!(space.psql("pgset-1", "select string_agg(n::text, ',' order by n) from kept"), "1,2");
    settled(&space, "pgset-0");
    space.pgset(&["promote", "--yes"]).expect(0);
    settled(&space, "pgset-1");
}

#[test]
fn without_a_note_the_member_with_the_most_data_is_promoted_and_no_other() {
    let space = Namespace::new("promote-elect");
    space.pgset(&["up"]).expect(0);
    let exec =
        ["--namespace", &space.name, "exec", "pgset-0", "-c", "pgset", "--", "/bin/sh", "/pgset/config/step-down.sh"];
    let _ = kubectl_command().args(exec).output().unwrap();
    wait_for("pgset-0 to be a replica", || {
        space.try_psql("pgset-0", "select pg_is_in_recovery()").is_ok_and(|word| word == "t").then_some(())
    });
    // Both have all there is: somebody has to say which.
    space.pgset(&["promote", "--yes"]).expect(2).says(&["pgset-0 and pgset-1 have the same data", "promote pgset-1"]);
    space.pgset(&["promote", "1"]).expect(6).says(&["no member is the primary", "nobody can answer"]);
    space.pgset(&["promote", "1", "--yes"]).expect(0).says(&["Service pgset-master leads to pgset-1"]);
    settled(&space, "pgset-1");

    // The Service alone is put right, too.
    let selector = r#"{"spec":{"selector":{"statefulset.kubernetes.io/pod-name":"pgset-0"}}}"#;
    space.kubectl(&["patch", "service", "pgset-master", "-p", selector]);
    space.pgset(&["promote", "pgset-1"]).expect(0).says(&["Service pgset-master leads to pgset-1"]);
    settled(&space, "pgset-1");
}

#[test]
fn two_at_the_same_time_make_one_primary() {
    let space = Namespace::new("promote-two");
    space.pgset(&["up", "--replicas", "3"]).expect(0);
    let all = ["pgset-0", "pgset-1", "pgset-2"];
    let started = ["1", "2"].map(|member| space.start(&["promote", member, "--yes"]));
    let runs = started.map(|child| Run::of(child.wait_with_output().unwrap()));
    let codes: Vec<i32> = runs.iter().map(|run| run.code).collect();
    assert!(primaries(&space, &all).len() <= 1, "{codes:?}");
    // At most one got its way; the other stopped where it saw that.
    assert!(codes.iter().filter(|code| **code == 0).count() <= 1, "{runs:?}");
    let lost = runs.iter().filter(|run| run.code != 0);
    for run in lost {
        let told = ["somebody else has begun", "has become the primary meanwhile", "is not healthy"];
        assert!(told.iter().any(|words| run.stderr.contains(words)), "{run:?}");
    }
    // Whatever they left, this ends it.
    space.pgset(&["promote", "2", "--yes"]);
    let status = space.pgset(&["wait"]).expect(0).stdout;
    let [primary] = &primaries(&space, &all)[..] else { panic!("{status}") };
    settled(&space, primary);
}

#[test]
fn a_crunchy_set_is_refused_with_the_reason() {
    let space = Namespace::new("promote-crunchy");
    let mut up = space.command(&["up", "--timeout", "3m", "--storage", "class"]);
    up.env("CCP_IMAGE_TAG", "centos7-9.6-1.2.8").env("CCP_IMAGE_PREFIX", "docker.io/crunchydata");
    Run::of(up.output().unwrap()).expect(0);
    let before = space.kubectl(&["get", "service,pod", "-o=jsonpath={.items[*].metadata.resourceVersion}"]);
    space.pgset(&["promote", "1", "--yes"]).expect(6).says(&["runs a Crunchy image", "two primaries", "pgset restart"]);
    space.pgset(&["promote"]).expect(6).says(&["runs a Crunchy image"]);
    assert_eq!(space.kubectl(&["get", "service,pod", "-o=jsonpath={.items[*].metadata.resourceVersion}"]), before);
    assert_eq!(primaries(&space, &["pgset-0", "pgset-1"]), ["pgset-0"]);
}
