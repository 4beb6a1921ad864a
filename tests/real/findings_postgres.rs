//! Why a set whose PostgreSQL runs is not what it should be: replication, roles, Services, and what its keeper should know.

use crate::faults::gives_up;
use crate::harness::{HostDirectory, Namespace, Run, wait_for};

/// SQL in a member over its own socket, whatever the Secret says.
fn sql(space: &Namespace, member: &str, statement: &str) -> String {
    let psql = ["psql", "-XAtq", "-U", "postgres", "-v", "ON_ERROR_STOP=1", "-c", statement];
    space.kubectl(&[&["exec", member, "-c", "pgset", "--"], &psql[..]].concat()).trim().to_owned()
}

/// A shell command in a member.
fn shell(space: &Namespace, member: &str, command: &str) -> String {
    space.kubectl(&["exec", member, "-c", "pgset", "--", "sh", "-c", command]).trim().to_owned()
}

/// What `status` says of a set that is healthy all the same.
fn warned(space: &Namespace, code: &str, words: &[&str]) {
    let run = space.pgset(&["status"]).expect(0);
    for word in [&[code], words].concat() {
        assert!(run.stdout.contains(word), "stdout lacks {word:?}:\n{}", run.stdout);
    }
}

/// Enough log that what a replica has not received is gone.
fn write_much(space: &Namespace, member: &str) {
    sql(space, member, "create table if not exists filler (n int)");
    for _ in 0..6 {
        sql(space, member, "insert into filler values (1)");
        sql(space, member, "select pg_switch_wal()");
    }
    sql(space, member, "checkpoint");
    sql(space, member, "checkpoint");
}

/// Runs the command of a hint, or of what `status` says to do, as a person would paste it.
fn paste(run: &Run, part: &str) {
    let hints = run.stderr.lines().filter(|line| line.starts_with("hint: "));
    let mut lines = hints.chain(run.stdout.lines().filter(|line| line.trim_start().starts_with("fix: ")));
    let line = lines.find(|line| line.contains(part) && line.contains("kubectl "));
    let line = line.unwrap_or_else(|| panic!("no hint has {part:?}:\n{}\n{}", run.stderr, run.stdout));
    let command = &line[line.find("kubectl ").unwrap()..];
    let kubectl = crate::harness::root().join("tests/cluster/cluster.sh");
    let command = command.replace("kubectl ", &format!("{} kubectl ", kubectl.display()));
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &command]).env("KUBECONFIG", crate::harness::kubeconfig());
    let output = shell.output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_replica_that_is_refused_or_left_behind_says_why_and_its_fix_works() {
    let space = Namespace::new("streams");
    let little = ["--set-parameter", "wal_keep_size=0", "--set-parameter", "max_wal_size=32MB"];
    let little = [&little[..], &["--set-parameter", "min_wal_size=32MB"]].concat();
    space.pgset(&[&["up"], &little[..]].concat()).expect(0);
    sql(&space, "pgset-0", "create table kept as select 1 as row");

    // The role may not log in any more.
    sql(&space, "pgset-0", "alter role replicator nologin");
    sql(&space, "pgset-0", "select pg_terminate_backend(pid) from pg_stat_replication");
    let words = ["Pod pgset-1", "replicator", "is not permitted to log in"];
    let run = gives_up(&space, &["wait"], "PGS-REPLICATION-ROLE", &words);
    // Meanwhile the primary has gone on, and what the replica needs next is gone.
    write_much(&space, "pgset-0");
    paste(&run, "ALTER ROLE replicator LOGIN REPLICATION");
    let words = ["Pod pgset-1", "has already been removed", "the old folder stays beside the new one"];
    let run = gives_up(&space, &["wait"], "PGS-WAL-REMOVED", &words);
    // Its fix is a new clone; nothing is deleted.
    let pod = |space: &Namespace| space.get("pod", "pgset-1").map(|pod| pod["metadata"]["uid"].clone());
    let before = pod(&space);
    space.kubectl(&["delete", "pod", "pgset-1"]);
    assert!(run.stderr.contains(&format!("kubectl -n {} delete pod pgset-1", space.name)), "{}", run.stderr);
    wait_for("the new pod", || pod(&space).filter(|uid| Some(uid) != before.as_ref()));
    space.pgset(&["wait"]).expect(0);
    assert_eq!(sql(&space, "pgset-1", "select row from kept"), "1");
    assert_eq!(shell(&space, "pgset-1", "ls -d /pgdata/pgset-1.stale-* | wc -l"), "1");

    // A password that is not the database's. The pod reads it when it starts.
    let old = space.password("replication");
    space.kubectl(&["patch", "secret", "pgset-passwords", "-p", r#"{"stringData":{"replication":"s3cond-w0rd"}}"#]);
    space.kubectl(&["delete", "pod", "pgset-1"]);
    let words = ["Pod pgset-1", "another replication password than the database", "\\password replicator"];
    let run = gives_up(&space, &["wait"], "PGS-REPLICATION-PASSWORD", &words);
    assert!(!run.stderr.contains(&old) && !run.stdout.contains(&old), "a password was printed");
    sql(&space, "pgset-0", "alter role replicator password 's3cond-w0rd'");
    space.pgset(&["wait"]).expect(0);
}

#[test]
fn roles_and_services_that_went_astray_are_named_and_their_fixes_work() {
    let space = Namespace::new("roles");
    space.pgset(&["up"]).expect(0);

    // The primary's Service leads to the replica, to both, to nobody.
    for (selector, endpoints) in [
        (r#"{"statefulset.kubernetes.io/pod-name":"pgset-1"}"#, "pgset-1"),
        (r#"{"app":"pgset"}"#, "pgset-0, pgset-1"),
        (r#"{"app":"nobody"}"#, "nobody"),
    ] {
        let patch = format!(r#"[{{"op":"replace","path":"/spec/selector","value":{selector}}}]"#);
        space.kubectl(&["patch", "service", "pgset-master", "--type=json", "-p", &patch]);
        wait_for("the endpoints", || {
            let run = space.pgset(&["status"]);
            (run.code == 3 && run.stdout.contains(&format!("leads to {endpoints} instead of pgset-0"))).then_some(())
        });
    }
    let run = gives_up(&space, &["wait"], "PGS-SELECTOR-DRIFT", &["Service pgset-master", "app=nobody"]);
    paste(&run, "patch service pgset-master");
    space.pgset(&["wait"]).expect(0);

    // A pod without the label by which its Service finds it. A wait would put it right itself.
    space.kubectl(&["label", "pod", "pgset-1", "name=nobody", "--overwrite"]);
    let run = wait_for("the finding", || {
        let run = space.pgset(&["status"]);
        (run.code == 3 && run.stdout.contains("PGS-LABEL-DRIFT Service pgset-replica")).then_some(run)
    });
    paste(&run, "label --overwrite pod pgset-1 name=pgset-replica");
    wait_for("the endpoints", || (space.pgset(&["status"]).code == 0).then_some(()));
    space.kubectl(&["label", "pod", "pgset-1", "name=nobody", "--overwrite"]);
    space.pgset(&["wait"]).expect(0);
    // The one that the controller gave it comes back by itself, the controller's doing.
    space.kubectl(&["label", "pod", "pgset-0", "statefulset.kubernetes.io/pod-name-"]);
    space.pgset(&["wait"]).expect(0);

    // Two primaries.
    sql(&space, "pgset-1", "select pg_promote()");
    let words = ["several members are primaries: pgset-0, pgset-1", "stop writing now"];
    gives_up(&space, &["wait"], "PGS-TWO-PRIMARIES", &words);
    // The promoted one is to follow again, as it is: its data is on a newer timeline, which only a person may give up.
    shell(&space, "pgset-1", "touch /pgdata/pgset-1/standby.signal");
    space.kubectl(&["delete", "pod", "pgset-1"]);
    let words = ["Pod pgset-1", "is pgset-0 the primary you want?", "with the old folder kept"];
    let run = gives_up(&space, &["wait"], "PGS-OTHER-TIMELINE", &words);
    paste(&run, "mv /pgdata/pgset-1 /pgdata/pgset-1.stale-aside");
    space.pgset(&["wait"]).expect(0);
    assert_eq!(shell(&space, "pgset-1", "ls -d /pgdata/pgset-1.stale-* | wc -l"), "1");

    // No primary: both are standbys. The one with the most data is named.
    shell(&space, "pgset-0", "touch /pgdata/pgset-0/standby.signal");
    space.kubectl(&["delete", "pod", "pgset-0"]);
    let run = gives_up(&space, &["wait"], "PGS-NO-PRIMARY", &["all are replicas", "pg_promote()"]);
    paste(&run, "pg_promote()");
    // Whichever it was, the Service has to lead to it.
    let run = space.pgset(&["wait", "--timeout", "60s"]);
    if run.code != 0 {
        let run = run.expect(3).says(&["PGS-SELECTOR-DRIFT"]);
        paste(&run, "patch service pgset-master");
        space.pgset(&["wait"]).expect(0);
    }
}

#[test]
fn what_a_keeper_should_know_of_a_healthy_set() {
    let space = Namespace::new("keeper");
    let parameters = [
        "logging_collector=on",
        "max_connections=20",
        "autovacuum_freeze_max_age=100000",
        "autovacuum_naptime=1h",
        "wal_keep_size=0",
    ];
    let options: Vec<&str> = parameters.iter().flat_map(|parameter| ["--set-parameter", parameter]).collect();
    space.pgset(&[&["up"], &options[..]].concat()).expect(0);

    // A log that goes to a file: said, and read when it is needed.
    warned(&space, "PGS-LOG-HIDDEN", &["logging_collector=off", "tail -n 50 /pgdata/pgset-0/log/"]);
    sql(&space, "pgset-0", "alter role replicator nologin");
    sql(&space, "pgset-0", "select pg_terminate_backend(pid) from pg_stat_replication");
    gives_up(&space, &["wait"], "PGS-REPLICATION-ROLE", &["is not permitted to log in"]);
    sql(&space, "pgset-0", "alter role replicator login");
    space.pgset(&["wait"]).expect(0);

    // A replay that is paused, and one that is late.
    sql(&space, "pgset-1", "select pg_wal_replay_pause()");
    warned(&space, "PGS-REPLAY-PAUSED", &["Pod pgset-1", "pg_wal_replay_resume()"]);
    sql(&space, "pgset-1", "select pg_wal_replay_resume()");
    sql(&space, "pgset-1", "alter system set recovery_min_apply_delay = '1h'");
    sql(&space, "pgset-1", "select pg_reload_conf()");
    sql(&space, "pgset-0", "select pg_create_physical_replication_slot('forgotten', true)");
    sql(&space, "pgset-0", "create table late (n int)");
    for _ in 0..5 {
        sql(&space, "pgset-0", "insert into late values (1)");
        sql(&space, "pgset-0", "select pg_switch_wal()");
    }
    // The primary writes a little by itself: either nothing moves, or the distance grows.
    wait_for("the distance", || {
        let told = space.pgset(&["status"]).expect(0).stdout;
        let far = told.contains("PGS-FAR-BEHIND Pod pgset-1") && told.contains("behind pgset-0");
        (far && (told.contains("does not catch up") || told.contains("falls behind by"))).then_some(())
    });
    // The slot that nobody reads keeps as much.
    let drop = "select pg_drop_replication_slot('forgotten')";
    warned(&space, "PGS-SLOT-HOLDS-WAL", &["slot forgotten keeps", "nobody uses it", drop]);
    sql(&space, "pgset-0", drop);
    sql(&space, "pgset-1", "alter system reset recovery_min_apply_delay");
    sql(&space, "pgset-1", "select pg_reload_conf()");

    // Connections: nearly all, then all.
    let sessions = |count: u8| {
        let one = "psql -XAtq -U postgres -d postgres -c 'select pg_sleep(20)' >/dev/null 2>&1 &";
        let command = format!("for n in $(seq {count}); do {one} done; wait");
        let arguments = ["exec", "pgset-0", "-c", "pgset", "--", "sh", "-c", &command];
        let mut kubectl = crate::harness::kubectl_command();
        kubectl.args(["--namespace", &space.name]).args(arguments).spawn().unwrap()
    };
    let mut many = sessions(16);
    wait_for("the sessions", || space.pgset(&["status"]).stdout.contains("PGS-CONNECTIONS-LOW").then_some(()));
    let mut all = sessions(20);
    wait_for("the last session", || {
        let run = space.pgset(&["status"]);
        (run.code == 3 && run.stdout.contains("PGS-CONNECTIONS-EXHAUSTED") && run.stdout.contains("max_connections="))
            .then_some(())
    });
    many.wait().unwrap();
    all.wait().unwrap();

    // A transaction that nothing may freeze beyond.
    let hold = "begin; select txid_current(); select pg_sleep(25)";
    let mut kubectl = crate::harness::kubectl_command();
    let arguments = ["exec", "pgset-0", "-c", "pgset", "--", "psql", "-XAtq", "-U", "postgres", "-c", hold];
    let mut holder = kubectl.args(["--namespace", &space.name]).args(arguments).spawn().unwrap();
    let quickly = "perform set_config('synchronous_commit', 'off', false)";
    let use_up = "for n in 1..160000 loop perform txid_current(); commit; end loop";
    sql(&space, "pgset-0", &format!("do $$ begin {quickly}; {use_up}; end $$"));
    warned(&space, "PGS-TRANSACTION-AGE", &["thousand transactions old", "vacuumdb -U postgres --freeze"]);
    holder.kill().unwrap();
    holder.wait().unwrap();

    // A damaged page, and a primary that allows more than its replica.
    sql(&space, "pgset-0", "create table damaged as select n from generate_series(1, 1000) n");
    sql(&space, "pgset-0", "checkpoint");
    let file = sql(&space, "pgset-0", "select pg_relation_filepath('damaged')");
    sql(&space, "pgset-0", "alter system set max_connections = 30");
    shell(
        &space,
        "pgset-0",
        &format!("printf XXXX | dd of=/pgdata/pgset-0/{file} bs=1 seek=5000 conv=notrunc 2>/dev/null"),
    );
    space.kubectl(&["delete", "pod", "pgset-0"]);
    wait_for("the primary", || space.try_psql("pgset-0", "select 1").ok());
    space.try_psql("pgset-0", "select * from damaged").unwrap_err();
    wait_for("the replica", || space.pgset(&["status"]).stdout.contains("PGS-STANDBY-SETTINGS").then_some(()));
    let run = space.pgset(&["status"]);
    for words in ["PGS-CHECKSUM-FAILURES", "failed their checksum", "max_connections = 20, less than its primary's 30"]
    {
        assert!(run.stdout.contains(words), "{words}: {}", run.stdout);
    }
    assert!(run.stdout.contains("--set-parameter max_connections=30"), "{}", run.stdout);
}

#[test]
fn members_that_the_primary_or_dns_keeps_out_from_the_beginning() {
    let space = Namespace::new("kept-out");
    let templates = HostDirectory::new("kept-out");
    space.pgset(&["render", "--eject", templates.as_str()]).expect(0);
    let hba = templates.path.join("scripts/pg_hba.conf");
    let text = std::fs::read_to_string(&hba).unwrap();
    std::fs::write(&hba, text.replace("host    replication", "# host    replication")).unwrap();
    let up = ["up", "--templates", templates.as_str()];
    let words = ["Pod pgset-1", "pg_hba.conf does not let the replica in", "host replication all all scram-sha-256"];
    gives_up(&space, &up, "PGS-REPLICATION-HBA", &words);

    let deaf = Namespace::beside(&space, "deaf");
    let templates = HostDirectory::new("deaf");
    deaf.pgset(&["render", "--eject", templates.as_str()]).expect(0);
    let file = templates.path.join("statefulset.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let without = text.replace(
        "      enableServiceLinks: false\n",
        "      enableServiceLinks: false\n      dnsPolicy: None\n      dnsConfig: {nameservers: [127.0.0.1], searches: [cluster.svc.local]}\n",
    );
    assert_ne!(text, without);
    std::fs::write(&file, without).unwrap();
    let run = deaf.pgset(&["up", "--templates", templates.as_str(), "--timeout", "25s"]).expect(4);
    run.says(&["PGS-DNS", "DNS does not know", "kube-dns"]);
}
