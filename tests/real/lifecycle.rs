//! A set's life: scaled, reconfigured, deleted from under its feet, taken down and brought back.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use serde_json::Value;

use crate::harness::{HostDirectory, Namespace, Run, kubectl, wait_for};

/// Writes a row through the primary and returns how many there are.
fn write(space: &Namespace, text: &str) -> u64 {
    space.psql("pgset-0", "create table if not exists notes (at timestamptz default now(), note text)");
    space.psql("pgset-0", &format!("insert into notes (note) values ('{text}')"));
    count(space, "pgset-0")
}

fn count(space: &Namespace, member: &str) -> u64 {
    space.psql(member, "select count(*) from notes").parse().unwrap()
}

/// Waits until a replica has this many rows.
fn wait_for_rows(space: &Namespace, member: &str, rows: u64) {
    wait_for(&format!("{rows} rows on {member}"), || (count(space, member) == rows).then_some(()));
}

#[test]
fn rows_and_passwords_survive_down_and_up() {
    let space = Namespace::new("rows");
    space.pgset(&["up"]).expect(0);
    write(&space, "before");
    let password = space.password("superuser");

    // Nobody can be asked here, so nothing is touched without --yes.
    space.pgset(&["down"]).expect(6).says(&["nobody can answer", "--yes"]);
    assert!(space.get("statefulset", "pgset").is_some());
    let down = space.pgset(&["down", "--yes"]).expect(0).says(&[
        "stays: PersistentVolumeClaim pgdata-pgset-0",
        "stays: Secret pgset-passwords",
        "deleted StatefulSet pgset",
    ]);
    assert!(down.stdout.contains("its data stays"), "{}", down.stdout);
    assert!(space.get("statefulset", "pgset").is_none());
    space.pgset(&["down", "--yes"]).expect(0).says(&["nothing to remove", "its data is still there"]);
    space.pgset(&["status"]).expect(1).says(&["there is no set pgset"]);

    space.pgset(&["up"]).expect(0);
    assert_eq!(count(&space, "pgset-0"), 1);
    assert_eq!(space.password("superuser"), password);

    space.pgset(&["down", "--delete-data", "--yes"]).expect(0).says(&["deleted PersistentVolumeClaim pgdata-pgset-1"]);
    for (kind, name) in [("pvc", "pgdata-pgset-0"), ("secret", "pgset-passwords"), ("configmap", "pgset-state")] {
        assert!(space.get(kind, name).is_none(), "{kind} {name} is still there");
    }
}

#[test]
fn on_a_shared_host_directory_scaling_sets_old_folders_aside_and_clones_anew() {
    let space = Namespace::new("shared");
    let directory = HostDirectory::new("shared");
    let up = ["up", "--storage", "hostpath", "--host-path", directory.as_str(), "--replicas", "2"];
    space.pgset(&up).expect(0);
    assert_eq!(directory.entries(), ["pgset-0", "pgset-1"]);
    write(&space, "two");

    space.pgset(&["scale", "3"]).expect(0);
    wait_for_rows(&space, "pgset-2", 1);
    let down = space.pgset(&["scale", "2"]).expect(0);
    down.says(&["pgset-2's data stays in folder pgset-2 of PersistentVolumeClaim pgset-pvc"]);
    let rows = write(&space, "while pgset-2 was away");
    let again = space.pgset(&["scale", "3"]).expect(0);
    assert!(again.stdout.contains("replicas pgset-1 and pgset-2 streaming"), "{}", again.stdout);
    wait_for_rows(&space, "pgset-2", rows);
    let aside: Vec<String> =
        directory.entries().into_iter().filter(|name| name.starts_with("pgset-2.stale-")).collect();
    assert_eq!(aside.len(), 1, "{:?}", directory.entries());

    // Somebody else scaled: `up` leaves it so and says how to change it.
    space.kubectl(&["scale", "statefulset", "pgset", "--replicas=2"]);
    space.pgset(&["wait"]).expect(0);
    space
        .pgset(&["up", "--storage", "hostpath", "--host-path", directory.as_str(), "--replicas", "3"])
        .expect(0)
        .says(&["keeps the 2 members it was scaled to", "pgset scale 3"]);

    space.pgset(&["scale", "0"]).expect(2);
    space.pgset(&["scale", "33"]).expect(2);

    // The folders outlive the pods, and the set.
    space.kubectl(&["delete", "pod", "pgset-0", "pgset-1"]);
    space.pgset(&["wait"]).expect(0);
    wait_for_rows(&space, "pgset-1", rows);
    space.pgset(&["down", "--yes"]).expect(0).says(&[directory.as_str()]);
    space.pgset(&up).expect(0);
    wait_for_rows(&space, "pgset-1", rows);

    // Another set below the same directory keeps its folder, named like a member's though it is, when this one's are
    // deleted.
    let below = directory.path.join("pgset-eu");
    fs::create_dir(&below).unwrap();
    fs::set_permissions(&below, fs::Permissions::from_mode(0o777)).unwrap();
    let other = ["up", "--storage", "hostpath", "--host-path", below.to_str().unwrap()];
    space.pgset(&[&other[..], &["--name", "pgset-eu", "--replicas", "1"]].concat()).expect(0);
    space.pgset(&["down", "--delete-data", "--yes"]).expect(0).says(&["deleted the members' folders"]);
    assert_eq!(directory.entries(), ["pgset-eu"]);
    space.pgset(&["status", "--name", "pgset-eu"]).expect(0);
    space.pgset(&["down", "--name", "pgset-eu", "--delete-data", "--yes"]).expect(0);
    assert_eq!(fs::read_dir(&below).unwrap().count(), 0);
    let volumes = kubectl(&["get", "persistentvolumes", "-l", "app.kubernetes.io/managed-by=pgset", "-o", "name"]);
    assert!(!volumes.contains(&space.name), "{volumes}");
}

#[test]
fn five_members_clone_in_parallel_and_the_primary_is_never_scaled_away() {
    let space = Namespace::new("five");
    space.pgset(&["up", "--replicas", "2"]).expect(0);
    space.pgset(&["scale", "5"]).expect(0);
    assert_eq!(space.psql("pgset-0", "select count(*) from pg_stat_replication where state = 'streaming'"), "4");
    let pods: Vec<Value> = (2..5).map(|ordinal| space.get("pod", &format!("pgset-{ordinal}")).unwrap()).collect();
    let created = pods.iter().map(|pod| pod["metadata"]["creationTimestamp"].as_str().unwrap());
    let ready = pods.iter().map(|pod| {
        let conditions = pod["status"]["conditions"].as_array().unwrap();
        let ready = conditions.iter().find(|condition| condition["type"] == "Ready").unwrap();
        ready["lastTransitionTime"].as_str().unwrap()
    });
    assert!(created.max() < ready.min(), "they came one after the other: {pods:#?}");
    space.pgset(&["scale", "2"]).expect(0);

    // A primary above ordinal 0, made by hand: the old one steps down first.
    space.psql("pgset-0", "checkpoint");
    space.kubectl(&["exec", "pgset-0", "-c", "pgset", "--", "touch", "/pgdata/pgset-0/standby.signal"]);
    space.psql("pgset-1", "select pg_promote()");
    space.kubectl(&["delete", "pod", "pgset-0"]);
    let primary = r#"{"spec":{"selector":{"statefulset.kubernetes.io/pod-name":"pgset-1"}}}"#;
    space.kubectl(&["patch", "service", "pgset-master", "-p", primary]);
    let wait = space.pgset(&["wait"]).expect(0);
    assert!(wait.stdout.contains("primary pgset-1, replica pgset-0 streaming"), "{}", wait.stdout);
    space.pgset(&["scale", "1"]).expect(6).says(&["would remove the primary, pgset-1", "pgset scale 2"]);
    assert_eq!(space.get("statefulset", "pgset").unwrap()["spec"]["replicas"], 2);
    // And a repeated `up` follows the primary where it is.
    space.pgset(&["up"]).expect(0).says(&["nothing to change"]);
}

#[test]
fn no_acknowledged_row_is_lost_when_the_primarys_pod_is_deleted_under_load() {
    let space = Namespace::new("load");
    space.pgset(&["up"]).expect(0);
    space.psql("pgset-0", "create table load (n int)");
    // The writer runs beside the primary in the replica's pod and says every number the database acknowledged; it stops
    // by itself after 200 attempts.
    let script = "for n in $(seq 200); do psql -h pgset-master -U postgres -XAtqc \
        \"set synchronous_commit = on; insert into load values ($n)\" >/dev/null 2>&1 && echo $n; done";
    let password = format!("PGPASSWORD={}", space.password("superuser"));
    let mut writer = crate::harness::kubectl_command();
    writer.args(["--namespace", &space.name, "exec", "pgset-1", "-c", "pgset", "--", "env", &password]);
    let writer = writer.args(["PGCONNECT_TIMEOUT=2", "sh", "-c", script]).stdout(Stdio::piped()).spawn().unwrap();
    wait_for("the first rows", || (space.psql("pgset-0", "select count(*) > 20 from load") == "t").then_some(()));
    space.kubectl(&["delete", "pod", "pgset-0"]);
    let written = Run::of(writer.wait_with_output().unwrap()).expect(0).stdout;
    let wait = space.pgset(&["wait"]).expect(0);
    assert!(wait.stdout.contains("primary pgset-0, replica pgset-1 streaming"), "{}", wait.stdout);
    let rows = space.psql("pgset-0", "select n from load");
    let rows: Vec<&str> = rows.lines().collect();
    let lost: Vec<&str> = written.lines().filter(|n| !rows.contains(n)).collect();
    assert!(written.lines().count() > 20 && lost.is_empty(), "lost {lost:?} of {} rows", written.lines().count());
    assert_eq!(space.pgset(&["status", "-o", "json"]).expect(0).json()["services"][1]["endpoints"][0], "pgset-1");
}

#[test]
fn the_blogs_step_seven_works_and_two_sets_live_side_by_side() {
    let space = Namespace::new("step7");
    let user = [("PG_PASSWORD", "given-by-me")];
    Run::of(space.command(&["up"]).envs(user).output().unwrap()).expect(0);
    assert_eq!(space.password("user"), "given-by-me");
    let other = [("PG_PASSWORD", "another")];
    Run::of(space.command(&["up"]).envs(other).output().unwrap())
        .expect(6)
        .says(&["PG_PASSWORD differs", "ALTER ROLE"]);

    space.pgset(&["up", "--name", "orders", "--replicas", "1"]).expect(0);
    // The blog's client is a pod of its own.
    let image = "--image=docker.io/library/postgres:17";
    space.kubectl(&["run", "client", image, "--restart=Never", "--command", "--", "sleep", "600"]);
    space.kubectl(&["wait", "--for=condition=Ready", "pod/client", "--timeout=60s"]);
    let password = format!("PGPASSWORD={}", space.password("superuser"));
    let psql = |host: &str, sql: &str| {
        let mut client = crate::harness::kubectl_command();
        client.args(["--namespace", &space.name, "exec", "client", "--", "env", &password]);
        Run::of(client.args(["psql", "-h", host, "-U", "postgres", "postgres", "-c", sql]).output().unwrap())
    };
    let replication = psql("pgset-master", "table pg_stat_replication").expect(0);
    assert!(
        replication.stdout.contains("pgset-1") && replication.stdout.contains("streaming"),
        "{}",
        replication.stdout
    );
    let refused = psql("pgset-replica", "create table foo (id int)");
    assert!(refused.code != 0 && refused.stderr.contains("cannot execute CREATE TABLE in a read-only transaction"));

    // One goes, the other stays.
    space.pgset(&["down", "--name", "orders", "--delete-data", "--yes"]).expect(0);
    space.pgset(&["status"]).expect(0);
    let elsewhere = Namespace::beside(&space, "elsewhere");
    elsewhere.pgset(&["status"]).expect(1).says(&["there is no set pgset", &format!("-n {}", space.name)]);
}

#[test]
fn a_changed_setting_rolls_and_status_tells_health_in_every_form() {
    let space = Namespace::new("change");
    space.kubectl(&["label", "namespace", &space.name, "pod-security.kubernetes.io/enforce=restricted"]);
    space.pgset(&["up", "--image", "docker.io/library/postgres:15"]).expect(0);
    let up = ["up", "--image", "docker.io/library/postgres:15", "--set-parameter", "work_mem=9MB", "-o", "json"];
    let result = space.pgset(&up).expect(0).json();
    assert_eq!((&result["kind"], &result["outcome"]), (&"Result".into(), &"healthy".into()));
    assert_eq!(space.psql("pgset-1", "show work_mem"), "9MB");

    let table = space.pgset(&["status"]).expect(0).stdout;
    assert!(table.starts_with(&format!("pgset in namespace {}: healthy, PostgreSQL 15.", space.name)), "{table}");
    for words in ["MEMBER", "TIMELINE", "LAG", "VOLUME", "primary", "replica", "pgset-replica  pgset-1"] {
        assert!(table.contains(words), "{words} is not in\n{table}");
    }
    assert!(space.pgset(&["status", "-o", "wide"]).expect(0).stdout.contains("SYSTEM IDENTIFIER"));
    assert!(space.pgset(&["status", "-o", "yaml"]).expect(0).stdout.contains("apiVersion: pgset/v1"));

    // A replica that is ready but follows nobody: Kubernetes sees nothing wrong.
    space.psql("pgset-0", "alter role replicator nologin");
    space.psql("pgset-0", "select pg_terminate_backend(pid) from pg_stat_replication");
    let broken = space.pgset(&["status", "-o", "json"]).expect(3).json();
    assert_eq!((&broken["healthy"], &broken["members"][1]["ready"]), (&false.into(), &true.into()), "{broken:#}");
    let unmet = broken["unmet"][0].as_str().unwrap();
    assert!(unmet.contains("pgset-1 does not stream"), "{unmet}");
    space.pgset(&["wait", "--timeout", "3s"]).expect(4).says(&["pgset-1 does not stream"]);
    space.psql("pgset-0", "alter role replicator login");
    space.pgset(&["wait"]).expect(0);

    // More memory rolls through the members, and PostgreSQL's settings follow it.
    let before = space.psql("pgset-0", "show shared_buffers");
    space.pgset(&["up", "--image", "docker.io/library/postgres:15", "--memory", "768Mi"]).expect(0);
    assert_eq!((before.as_str(), space.psql("pgset-1", "show shared_buffers").as_str()), ("128MB", "192MB"));
}

#[test]
fn what_is_not_ours_is_refused_with_its_owners_name() {
    let space = Namespace::new("foreign");
    space.kubectl(&["create", "service", "clusterip", "pgset-master", "--tcp=5432"]);
    space.pgset(&["up"]).expect(6).says(&["Service pgset-master", "is not this set's", "kubectl-create"]);
    assert!(space.get("statefulset", "pgset").is_none());
}

#[test]
fn static_volumes_of_a_member_each_grow_with_the_set() {
    let space = Namespace::new("static");
    let directory = HostDirectory::new("static");
    let storage = ["--storage", "hostpath", "--layout", "per-pod", "--host-path", directory.as_str()];
    space.pgset(&[&["up"], &storage[..]].concat()).expect(0);
    space.pgset(&["scale", "4"]).expect(0).says(&["created PersistentVolume", "pv4"]);
    assert_eq!(directory.entries(), ["pgset-0", "pgset-1", "pgset-2", "pgset-3"]);
    space.pgset(&["down", "--yes", "--delete-data"]).expect(0);
    assert_eq!(directory.entries(), Vec::<String>::new());
}

#[test]
fn every_rendered_set_is_accepted_by_the_api_server_under_restricted_pod_security() {
    let space = Namespace::new("render");
    space.kubectl(&["label", "namespace", &space.name, "pod-security.kubernetes.io/enforce=restricted"]);
    space.kubectl(&["label", "namespace", &space.name, "pod-security.kubernetes.io/warn=restricted"]);
    for storage in
        [&["--storage", "nfs", "--nfs-server", "10.0.0.1"][..], &["--storage", "hostpath"], &["--storage", "class"]]
    {
        for layout in ["shared", "per-pod"] {
            for name in ["pgset", "orders-eu"] {
                let options = [&["render", "--name", name, "--layout", layout], storage].concat();
                let manifests = space.pgset(&options).expect(0).stdout;
                assert_eq!(manifests, space.pgset(&options).expect(0).stdout, "not deterministic");
                crate::harness::kubectl_with(&["apply", "--dry-run=server", "-f", "-"], &manifests);
            }
        }
    }
}
