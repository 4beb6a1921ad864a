//! The images of the 2017 example, by stand-ins that keep their contract.

use std::os::unix::fs::MetadataExt;
use std::process::Stdio;

use crate::harness::{HostDirectory, Namespace, Run, kubectl, kubectl_command, pgset, wait_for};

const NO_SET: &str = "centos7-9.5-1.2.6";
const OLD: &str = "centos7-9.6-1.2.8";
const NEW: &str = "centos7-10.4-2.0.0";
const PGC: &str = "centos7-11.1-2.3.0";
const LATE: &str = "centos7-12.2-4.5.0";

/// `pgset up` with the example's own variable, and more.
fn up(space: &Namespace, tag: &str, more: &[&str]) -> Run {
    let mut command = space.command(&[&["up", "--timeout", "3m"], more].concat());
    command.env("CCP_IMAGE_TAG", tag).env("CCP_IMAGE_PREFIX", "docker.io/crunchydata");
    Run::of(command.output().unwrap())
}

fn label(space: &Namespace, pod: &str) -> String {
    space.get("pod", pod).unwrap()["metadata"]["labels"]["name"].as_str().unwrap().to_owned()
}

/// The members that a Service leads to.
fn behind(space: &Namespace, service: &str) -> Vec<String> {
    let status = space.pgset(&["status", "-o", "json"]).json();
    let services = status["services"].as_array().unwrap();
    let service = services.iter().find(|one| one["name"] == service).unwrap();
    let endpoints = service["endpoints"].as_array().unwrap().iter();
    endpoints.map(|member| member.as_str().unwrap().to_owned()).collect()
}

/// The members' folders. A replica that restarts while the primary begins puts what it had cloned aside.
fn members(directory: &HostDirectory) -> Vec<String> {
    directory.entries().into_iter().filter(|name| !name.contains(".stale-")).collect()
}

#[test]
fn the_articles_lines_step_seven_and_the_listing() {
    let space = Namespace::new("crunchy-article");
    let directory = HostDirectory::new("crunchy-article");
    let host_path = ["--storage", "hostpath", "--host-path", directory.as_str()];
    up(&space, NO_SET, &host_path).expect(0).says(&["no longer maintained", "pgset-1  replica, streaming"]);
    assert!(space.get("role", "pgset").is_none());

    // Step 7: through the two Services.
    let psql = |more: &[&str]| {
        let all = [&["--namespace", &space.name, "psql", "--exec"], more].concat();
        Run::of(pgset(&all).output().unwrap())
    };
    let replication = psql(&["-U", "postgres", "-d", "postgres", "--", "-c", "table pg_stat_replication"]).expect(0);
    assert!(
        replication.stdout.contains("pgset-1") && replication.stdout.contains("streaming"),
        "{}",
        replication.stdout
    );
    let create = ["--replica", "-U", "postgres", "-d", "postgres", "--", "-c", "create table foo (id int)"];
    let create = psql(&create);
    assert_ne!(create.code, 0);
    assert!(create.stderr.contains("read-only transaction"), "{}", create.stderr);

    // Scaled as in the article, by kubectl.
    space.kubectl(&["scale", "statefulset", "pgset", "--replicas=3"]);
    space.pgset(&["wait", "--timeout", "2m"]).expect(0);
    assert_eq!(members(&directory), ["pgset-0", "pgset-1", "pgset-2"]);
    for member in members(&directory) {
        let folder = std::fs::metadata(directory.path.join(&member)).unwrap();
        assert_eq!((folder.mode() & 0o7777, folder.uid()), (0o700, 26), "{member}");
    }
    assert_eq!(behind(&space, "pgset-replica"), ["pgset-1", "pgset-2"]);
    space.pgset(&["verify"]).expect(0);

    // No password is in any log, and PostgreSQL's own lines are.
    let logs = space.pgset(&["logs"]).expect(0).stdout;
    for key in ["superuser", "replication", "user"] {
        assert!(!logs.contains(&space.password(key)), "{key}");
    }
    assert!(logs.contains("database system is ready to accept"), "{logs}");
}

#[test]
fn an_old_image_labels_its_primary_and_a_taken_role_is_named() {
    let space = Namespace::new("crunchy-old");
    space.kubectl(&["label", "namespace", &space.name, "pod-security.kubernetes.io/enforce=restricted"]);
    let class = ["--storage", "class"];
    let first = up(&space, OLD, &class).expect(0);
    assert!(!first.stderr.contains("which its image should have done"), "{}", first.stderr);
    assert_eq!((label(&space, "pgset-0"), label(&space, "pgset-1")), ("pgset-master".into(), "pgset-replica".into()));
    let created = space.get("statefulset", "pgset").unwrap();
    assert_eq!(created["spec"]["template"]["spec"]["containers"][0]["env"][1]["value"], "set");

    space.kubectl(&["delete", "rolebinding", "pgset"]);
    space.kubectl(&["delete", "pod", "pgset-0"]);
    wait_for("the primary to be back, labelled like a replica", || {
        let pod = space.get("pod", "pgset-0")?;
        let ready = pod["status"]["containerStatuses"][0]["ready"] == true;
        (ready && pod["metadata"]["labels"]["name"] == "pgset-replica").then_some(())
    });
    wait_for("the finding", || {
        let status = space.pgset(&["status"]);
        (status.code == 3 && status.stdout.contains("PGS-LABEL-REFUSED")).then_some(())
    });
    // Writes still arrive: the Service names the pod.
    assert_eq!(behind(&space, "pgset-master"), ["pgset-0"]);
    space.psql("pgset-0", "create table written (id int)");

    // The rights come back and the label with them.
    up(&space, OLD, &class)
        .expect(0)
        .says(&["labelled Pod pgset-0 name=pgset-master, which its image should have done"]);
    assert!(space.get("rolebinding", "pgset").is_some());
    assert_eq!(behind(&space, "pgset-replica"), ["pgset-1"]);
    space
        .pgset(&["down", "--delete-data", "--yes"])
        .expect(0)
        .says(&["deleted Role pgset", "deleted RoleBinding pgset"]);
}

#[test]
fn a_newer_image_labels_every_member_and_a_restart_keeps_it_right() {
    let space = Namespace::new("crunchy-new");
    let directory = HostDirectory::new("crunchy-new");
    let host_path = ["--storage", "hostpath", "--host-path", directory.as_str()];
    up(&space, NEW, &host_path).expect(0);
    assert_eq!((label(&space, "pgset-0"), label(&space, "pgset-1")), ("pgset-master".into(), "pgset-replica".into()));
    space.psql("pgset-0", "create table kept (id int)");
    space.pgset(&["restart", "--yes"]).expect(0);
    space.pgset(&["scale", "1"]).expect(0);
    space.pgset(&["scale", "2"]).expect(0);
    // Cloned anew, the old folder aside.
    let entries = directory.entries();
    assert_eq!(members(&directory), ["pgset-0", "pgset-1"]);
    assert!(entries.iter().any(|name| name.starts_with("pgset-1.stale-")), "{entries:?}");
    assert_eq!(space.psql("pgset-1", "select count(*) from kept"), "0");
    space.pgset(&["stop", "--yes"]).expect(0);
    space.pgset(&["start"]).expect(0);
    up(&space, NEW, &host_path).expect(0).says(&["nothing to change"]);
}

#[test]
fn a_replica_that_restarts_once_or_twice_while_the_set_comes_up_is_tolerated() {
    let space = Namespace::new("crunchy-restarts");
    let mut command = space.command(&["up", "--storage", "class", "--timeout", "3m"]);
    command.env("CCP_IMAGE_TAG", OLD).env("CCP_IMAGE_PREFIX", "docker.io/crunchydata");
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for("the replica to restart", || {
        let status = space.get("pod", "pgset-1")?["status"]["containerStatuses"][0].clone();
        if status["restartCount"].as_i64()? >= 1 {
            return Some(());
        }
        // The image's script ends at the signal, once it listens to it; there may be no container at the moment. One more
        // signal may be on its way when the first restart is seen: hence once or twice.
        let exec = ["--namespace", &space.name, "exec", "pgset-1", "-c", "pgset", "--", "sh", "-c", "kill -TERM 1"];
        let _ = kubectl_command().args(exec).output();
        None
    });
    Run::of(child.wait_with_output().unwrap()).expect(0);
}

#[test]
fn an_image_that_writes_its_pod_back_whole_gets_roles_by_number_or_plainer_pods() {
    let space = Namespace::new("crunchy-pgc");
    let class = ["--storage", "class"];
    up(&space, PGC, &class).expect(0);
    assert!(space.get("role", "pgset").is_none());
    let plain = [&class[..], &["--role-by", "image", "--yes"]].concat();
    up(&space, PGC, &plain).expect(0);
    assert!(space.get("role", "pgset").is_some());
    let pod = space.get("pod", "pgset-0").unwrap();
    assert_eq!(pod["spec"]["containers"][0]["startupProbe"], serde_json::Value::Null);
}

#[test]
fn versions_that_lost_their_set_mode_get_roles_by_number_wherever_their_script_is() {
    let space = Namespace::new("crunchy-late");
    let class = ["--storage", "class"];
    let programs = || {
        let set = space.get("statefulset", "pgset").unwrap();
        let env = set["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap().clone();
        env.iter().find(|one| one["name"] == "PGSET_PROGRAMS").unwrap()["value"].as_str().unwrap().to_owned()
    };
    up(&space, LATE, &[&class[..], &["--role-by", "image"]].concat()).expect(2).says(&["has no PG_MODE=set"]);
    up(&space, LATE, &class).expect(0).says(&["no longer maintained"]);
    assert!(space.get("role", "pgset").is_none());
    assert_eq!(programs(), "/opt/cpm/bin");
    space.psql("pgset-0", "create table kept (id int)");

    // From 4.6 on the script is elsewhere. The image is no new one, and so is not warned of again.
    let later = up(&space, LATE, &[&class[..], &["--crunchy-version", "4.6.1"]].concat()).expect(0);
    assert!(!later.stderr.contains("no longer maintained"), "{}", later.stderr);
    assert_eq!(programs(), "/opt/crunchy/bin/postgres");
    assert_eq!(space.psql("pgset-1", "select count(*) from kept"), "0");
    space.pgset(&["verify"]).expect(0);
}

#[test]
fn the_image_without_a_set_mode_says_so_and_the_finding_says_what_to_do() {
    let space = Namespace::new("crunchy-fatal");
    // What its tag tells is overruled, so it is asked for what it does not know.
    let insists = ["--storage", "class", "--crunchy-version", "1.2.8", "--role-by", "image"];
    up(&space, NO_SET, &insists).expect(3).says(&[
        "PGS-NO-SET-MODE",
        "FATAL:  PG_MODE is not an accepted value",
        "--role-by ordinal",
    ]);
    let ordinal = ["--storage", "class", "--unstick", "--yes"];
    up(&space, NO_SET, &ordinal).expect(0);
}

#[test]
fn what_an_image_cannot_do_is_refused_before_anything_is_touched() {
    let space = Namespace::new("crunchy-refused");
    let class = ["--storage", "class"];
    let refuse = |tag, more: &[&str], words: &[&str]| {
        up(&space, tag, &[&class[..], more].concat()).expect(2).says(words);
    };
    refuse(OLD, &["--name", "pg-set", "--role-by", "image"], &["has a hyphen", "--role-by ordinal"]);
    refuse(NO_SET, &["--role-by", "image"], &["has no PG_MODE=set"]);
    refuse(OLD, &["--database", "My DB"], &["the Crunchy image quotes no names"]);
    refuse(OLD, &["--set-parameter", "work_mem=8MB"], &["writes postgresql.conf itself"]);
    let all = kubectl(&["--namespace", &space.name, "get", "statefulset,secret,service,pvc", "-o", "name"]);
    assert_eq!(all.trim(), "");
}
