//! Planned turns of a running set: restart, stop, start.

use std::collections::BTreeMap;

use crate::harness::{Namespace, wait_for};

fn uid(space: &Namespace, member: &str) -> String {
    space.kubectl(&["get", "pod", member, "-o=jsonpath={.metadata.uid}"])
}

fn uids(space: &Namespace) -> BTreeMap<&'static str, String> {
    ["pgset-0", "pgset-1", "pgset-2"].map(|member| (member, uid(space, member))).into()
}

/// Asserts that these words come one after another.
#[track_caller]
fn in_order(text: &str, words: &[&str]) {
    let mut rest = text;
    for word in words {
        let Some((_, after)) = rest.split_once(word) else { panic!("{word} is not there, or not in order:\n{text}") };
        rest = after;
    }
}

#[test]
fn restart_stop_and_start_keep_data_and_members_and_the_primary_comes_last() {
    let space = Namespace::new("turns");
    space.pgset(&["up", "--replicas", "3"]).expect(0);
    space.psql("pgset-0", "create table notes as select generate_series(1, 1000) as n");

    let before = uids(&space);
    let restart = space.pgset(&["restart"]).expect(0);
    let order = [
        "restarting pgset-2",
        "pgset-2 is back",
        "restarting pgset-1",
        "pgset-1 is back",
        "restarting pgset-0, the primary",
    ];
    in_order(&restart.stderr, &order);
    assert!(
        restart.stdout.contains("is healthy: primary pgset-0, replicas pgset-1 and pgset-2 streaming"),
        "{}",
        restart.stdout
    );
    let after = uids(&space);
    assert!(before.iter().all(|(member, uid)| after[member] != *uid), "{before:?} {after:?}");

    space.pgset(&["restart", "--member", "1", "-q"]).expect(0);
    let one = uids(&space);
    let changed: Vec<&str> =
        after.iter().filter(|(member, uid)| one[*member] != **uid).map(|(member, _)| *member).collect();
    assert_eq!(changed, ["pgset-1"]);
    space.pgset(&["restart", "--member", "3"]).expect(2).says(&["no member 3", "pgset-0, pgset-1 and pgset-2"]);

    // Not healthy: the whole is left alone, one member is not.
    space.psql("pgset-0", "alter role replicator nologin");
    space.psql("pgset-0", "select pg_terminate_backend(pid) from pg_stat_replication");
    wait_for("the set is not healthy", || (space.pgset(&["status"]).code == 3).then_some(()));
    space.pgset(&["restart"]).expect(6).says(&["is not healthy", "pgset-1", "restart --member N"]);
    space
        .pgset(&["restart", "--member", "0"])
        .expect(6)
        .says(&["is the primary of a set that is not healthy", "--yes"]);
    let timed_out = space.pgset(&["restart", "--member", "pgset-2", "--timeout", "4s"]);
    assert!([3, 4].contains(&timed_out.code), "{timed_out:?}");
    let broken = uids(&space);
    assert!(broken["pgset-2"] != one["pgset-2"] && broken["pgset-0"] == one["pgset-0"]);
    space.psql("pgset-0", "alter role replicator login");
    space.pgset(&["wait"]).expect(0);

    let stop = space.pgset(&["stop"]).expect(0).says(&["pgset start"]);
    in_order(&stop.stderr, &["stopping the replicas pgset-1 and pgset-2", "stopping the primary, pgset-0"]);
    assert!(stop.stdout.contains("is stopped; its data and Services stay"), "{}", stop.stdout);
    assert_eq!(space.kubectl(&["get", "pods", "-o", "name"]), "");
    assert!(space.get("pvc", "pgdata-pgset-2").is_some() && space.get("service", "pgset-master").is_some());
    space.pgset(&["stop"]).expect(0);
    let status = space.pgset(&["status"]).expect(3).says(&["is stopped"]);
    assert!(status.stdout.contains("stopped") && status.stdout.contains("pgset start"), "{}", status.stdout);
    space.pgset(&["wait"]).expect(3).says(&["the set is stopped", "pgset start"]);
    space.pgset(&["scale", "2"]).expect(6).says(&["is stopped", "pgset start"]);
    space.pgset(&["restart"]).expect(6).says(&["is stopped"]);
    space.pgset(&["scale", "0"]).expect(2).says(&["pgset stop"]);

    let start = space.pgset(&["start"]).expect(0).says(&["started pgset with 3 members"]);
    assert!(start.stdout.contains("replicas pgset-1 and pgset-2 streaming"), "{}", start.stdout);
    assert_eq!(space.psql("pgset-2", "select count(*) from notes"), "1000");
    let log = space.kubectl(&["logs", "pgset-0", "-c", "pgset"]);
    assert!(log.contains("database system was shut down at"), "it was not shut down in order:\n{log}");
    assert_eq!(space.kubectl(&["get", "configmap", "pgset-state", "-o=jsonpath={.data.replicas}"]), "");

    space.pgset(&["stop", "-q"]).expect(0);
    space.pgset(&["up"]).expect(0).says(&["was stopped: starting it with 3 members"]);
    assert_eq!(space.psql("pgset-0", "select count(*) from pg_stat_replication where state = 'streaming'"), "2");
}
