//! A crunchy-containers checkout on a real cluster: `up` on its own manifests, the blog's Step 7, edits, `down`.

use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::harness::{Going, HostDirectory, Namespace, Run, kubectl, kubectl_command, kubectl_with, wait_for};

const TAG: (&str, &str) = ("CCP_IMAGE_TAG", "centos7-9.6-1.2.8");

/// A checkout of a test's own.
fn checkout() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let manifests = "examples/kube/statefulset";
    let fixture = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/checkout-1.2.8");
    fs::create_dir_all(folder.path().join(manifests)).unwrap();
    for entry in fs::read_dir(fixture.join(manifests)).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), folder.path().join(manifests).join(entry.file_name())).unwrap();
    }
    fs::copy(fixture.join("examples/envvars.sh"), folder.path().join("examples/envvars.sh")).unwrap();
    folder
}

fn run(space: &Namespace, checkout: &tempfile::TempDir, arguments: &[&str]) -> Run {
    let mut command = space.command(arguments);
    Run::of(command.env("BUILDBASE", checkout.path()).env(TAG.0, TAG.1).output().unwrap())
}

/// The members' folders. A clone that broke off while the primary began is put aside under a dated name.
fn folders(folder: &HostDirectory) -> Vec<String> {
    folder.entries().into_iter().filter(|name| !name.contains(".stale-")).collect()
}

#[test]
fn the_seeds_own_manifests_become_a_healthy_set() {
    let space = Namespace::new("checkout");
    let (folder, checkout) = (HostDirectory::new("checkout"), checkout());
    let up = ["up", "--storage", "hostpath", "--host-path", folder.as_str()];
    let first = run(&space, &checkout, &up).expect(0);
    first.says(&["upgrades for today's clusters", "apps-v1", "secrets", "the volumes are on hostPath"]);

    // The blog's Step 7 in its own words, with the password of the checkout's manifests.
    let step7 = |service: &str, sql: &str| {
        let psql = format!("PGPASSWORD=password psql -h {service} -U postgres postgres -Atc '{sql}' 2>&1 || true");
        // kube-proxy follows the endpoints a moment later.
        wait_for("the Service to connect", || {
            let told = space.kubectl(&["exec", "pgset-1", "-c", "pgset", "--", "sh", "-c", &psql]);
            (!told.contains("Connection refused")).then_some(told)
        })
    };
    assert_eq!(step7("pgset-master", "select state from pg_stat_replication").trim(), "streaming");
    let refused = step7("pgset-replica", "create table foo (id int)");
    assert!(refused.contains("cannot execute CREATE TABLE in a read-only transaction"), "{refused}");
    step7("pgset-master", "create table kept as select 7 as n");
    run(&space, &checkout, &["scale", "3"]).expect(0);
    assert_eq!(folders(&folder), ["pgset-0", "pgset-1", "pgset-2"]);

    let again = run(&space, &checkout, &up).expect(0).says(&["nothing to change on pgset"]);
    assert!(!again.stderr.contains("upgrades"), "{}", again.stderr);

    // A person's edit arrives, and stays.
    let service = checkout.path().join("examples/kube/statefulset/set-master-service.json");
    let text = fs::read_to_string(&service).unwrap();
    fs::write(&service, text.replace("\"port\": 5432", "\"port\": 6543")).unwrap();
    let diff = run(&space, &checkout, &[&["diff"], &up[1..]].concat()).expect(5);
    assert!(diff.stdout.contains("6543") && diff.stderr.contains("primary-by-pod"), "{}\n{}", diff.stdout, diff.stderr);
    run(&space, &checkout, &up).expect(0);
    assert_eq!(space.kubectl(&["get", "service", "pgset-master", "-o=jsonpath={.spec.ports[0].port}"]), "6543");

    let down = run(&space, &checkout, &["down", "--yes"]).expect(0);
    assert!(down.stdout.contains("its data stays"), "{}", down.stdout);
    assert_eq!(space.kubectl(&["get", "statefulsets,services,roles,rolebindings", "-o", "name"]), "");
    assert_eq!(folders(&folder), ["pgset-0", "pgset-1", "pgset-2"]);
    run(&space, &checkout, &up).expect(0);
    assert_eq!(step7("pgset-replica", "table kept").trim(), "7");
    assert!(!checkout.path().join("examples/kube/statefulset/ran").exists());
}

#[test]
fn the_api_server_takes_what_is_rendered() {
    let space = Namespace::new("checkout-dry");
    let checkout = checkout();
    for flags in [
        &["--storage", "nfs", "--nfs-server", "10.0.0.1"][..],
        &["--storage", "hostpath", "--host-path", "/srv/pgset"],
        &["--storage", "class"],
        &["--storage", "nfs", "--nfs-server", "10.0.0.1", "--as-is"],
    ] {
        let manifests = run(&space, &checkout, &[&["render"], flags].concat()).expect(0).stdout;
        kubectl_with(&["apply", "--dry-run=server", "-f", "-"], &manifests);
    }
}

/// Changes a manifest of a checkout as a person would.
fn edit(checkout: &tempfile::TempDir, file: &str, change: impl FnOnce(&mut Value)) {
    let path = checkout.path().join("examples/kube/statefulset").join(file);
    let mut manifest = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    change(&mut manifest);
    fs::write(path, manifest.to_string()).unwrap();
}

/// One at a time: volumes of a set that is taken as it is name no claim, and whoever asks for one of no class gets it.
static VOLUMES: Mutex<()> = Mutex::new(());

/// The volumes of such a set, removed at the end. Nobody knows whose the unbound ones are but by name.
struct Volumes<'a> {
    space: &'a Namespace,
    _alone: MutexGuard<'static, ()>,
}

impl<'a> Volumes<'a> {
    fn of(space: &'a Namespace) -> Self {
        Self { space, _alone: VOLUMES.lock().unwrap_or_else(PoisonError::into_inner) }
    }
}

impl Drop for Volumes<'_> {
    fn drop(&mut self) {
        for volume in kubectl(&["get", "persistentvolumes", "-o", "name"]).split_whitespace() {
            if volume.contains(&self.space.name) {
                kubectl(&["delete", volume, "--ignore-not-found", "--wait=false"]);
            }
        }
    }
}

/// A checkout whose claim and volumes find each other on today's clusters, and whose passwords are in a Secret of its own.
fn with_own_secret() -> tempfile::TempDir {
    let checkout = checkout();
    for file in ["pv1.json", "pv2.json", "pv3.json", "pvc.json"] {
        edit(&checkout, file, |manifest| manifest["spec"]["storageClassName"] = "".into());
    }
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mine"},
        "stringData": {"root": "root-of-mine", "user": "user-of-mine"}});
    fs::write(checkout.path().join("examples/kube/statefulset/mine.json"), secret.to_string()).unwrap();
    edit(&checkout, "set.json", |set| {
        let env = set["spec"]["template"]["spec"]["containers"][0]["env"].as_array_mut().unwrap();
        for variable in env {
            let key = match variable["name"].as_str().unwrap() {
                "PG_ROOT_PASSWORD" => "root",
                "PG_PASSWORD" => "user",
                _ => continue,
            };
            *variable = json!({"name": variable["name"], "valueFrom": {"secretKeyRef": {"name": "mine", "key": key}}});
        }
    });
    checkout
}

/// Waits until the image has ended the server that it initialises its data with.
fn no_temporary_server(space: &Namespace) {
    wait_for("the image's temporary server to be over", || {
        let over = "grep -q stopped /tmp/stop.log && pg_isready -q -h /tmp && echo over || true";
        let exec = ["--namespace", &space.name, "exec", "pgset-0", "-c", "pgset", "--", "sh", "-c", over];
        (kubectl_command().args(exec).output().unwrap().stdout == b"over\n").then_some(())
    });
}

#[test]
fn a_set_taken_as_it_is_is_asked_with_its_own_passwords() {
    let space = Namespace::new("checkout-as-is");
    let _volumes = Volumes::of(&space);
    let (folder, checkout) = (HostDirectory::new("checkout-as-is"), with_own_secret());
    let storage = ["--storage", "hostpath", "--host-path", folder.as_str()];
    let up = |more: &[&str]| run(&space, &checkout, &[&["up"], &storage[..], more].concat());
    // One by one: a replica that clones from the image's temporary server never gets over it.
    let said = up(&["--as-is", "--replicas", "1"]).expect(0).says(&["Secret mine of", "dsn --show-password"]);
    assert!(!said.stderr.contains("of-mine"), "{}", said.stderr);
    assert!(space.get("secret", "pgset-passwords").is_none());
    no_temporary_server(&space);
    space.pgset(&["scale", "2"]).expect(0);

    let status = space.pgset(&["status", "-o", "json"]).expect(0).json();
    assert_eq!((&status["word"], &status["primary"]), (&json!("postgreSQL"), &json!("pgset-0")));
    let listed = space.pgset(&["list", "--probe"]).expect(0);
    assert!(listed.stdout.contains("pgset-0"), "{}", listed.stdout);
    let dsn = space.pgset(&["dsn"]).expect(0).says(&["get secret mine", "index .data \"user\""]);
    assert!(dsn.stdout.contains("testuser@pgset-master") && !dsn.stdout.contains("of-mine"), "{}", dsn.stdout);
    let dsn = space.pgset(&["dsn", "--show-password"]).expect(0);
    assert!(dsn.stdout.contains("testuser:user-of-mine@pgset-master"), "{}", dsn.stdout);
    let forward = Going::start(&mut space.command(&["port-forward", "0", "--show-password"]));
    forward.says("testuser:user-of-mine@127.0.0.1", 1);
    drop(forward);
    let psql = |sql: &str| {
        let arguments = ["--namespace", &space.name, "psql", "--exec", "--", "-Atc", sql];
        Run::of(crate::harness::pgset(&arguments).output().unwrap())
    };
    assert_eq!(psql("select 1").expect(0).stdout, "1\n");
    let verified = space.pgset(&["verify"]).expect(0).stdout;
    for words in ["the key root of Secret mine", "the key user of Secret mine", "the StatefulSet's PG_MASTER_PASSWORD"]
    {
        assert!(verified.contains(words), "{verified}");
    }
    // What PostgreSQL says is in files alone, which are read through exec.
    let logs = space.pgset(&["logs", "--member", "1"]).expect(0).stdout;
    assert!(logs.contains("database system is ready to accept read-only connections"), "{logs}");
    let mut follow = Going::start(&mut space.command(&["logs", "--follow", "--tail", "1"]));
    follow.says("pgset-0", 1);
    psql("select 1 / 0").expect(1);
    follow.says("division by zero", 1);
    assert!(follow.goes_on());
    drop(follow);
    space.pgset(&["doctor"]).expect(0);
    space.pgset(&["restart", "--yes"]).expect(0);
    space.pgset(&["wait"]).expect(0);
    up(&["--as-is", "--replicas", "1"]).expect(0).says(&["nothing to change"]);

    // With the upgrades the passwords move to a Secret of pgset's: the database knows these alone.
    up(&["--yes", "--replicas", "1"]).expect(0).says(&["secrets"]);
    assert_eq!(space.password("superuser"), "root-of-mine");
    // The database stays without checksums, which this set now asks for.
    let verified = space.pgset(&["verify"]).expect(3).says(&["2 of "]).stdout;
    for words in ["with the Secret's superuser", "with the Secret's user", "with the Secret's replication"] {
        assert!(verified.contains(words), "{verified}");
    }
}

#[test]
fn a_copy_that_broke_off_in_a_set_taken_as_it_is_is_told_and_the_upgrades_mend_it() {
    let space = Namespace::new("checkout-half");
    let _volumes = Volumes::of(&space);
    let (folder, checkout) = (HostDirectory::new("checkout-half"), with_own_secret());
    let up = ["up", "--storage", "hostpath", "--host-path", folder.as_str(), "--replicas", "1"];
    run(&space, &checkout, &[&up[..], &["--as-is"]].concat()).expect(0);
    no_temporary_server(&space);
    // What a copy leaves that broke off: the image's script goes on as if it had come to its end.
    let half = folder.path.join("pgset-1");
    fs::create_dir(&half).unwrap();
    fs::write(half.join("postgresql.conf"), "").unwrap();
    for path in [&half, &half.join("postgresql.conf")] {
        std::os::unix::fs::chown(path, Some(26), Some(26)).unwrap();
    }
    let told = space.pgset(&["scale", "2", "--timeout", "2m"]).expect(3);
    told.says(&["PGS-DATA-INCOMPLETE", "will never start by itself", "without --as-is"]);

    run(&space, &checkout, &[&up[..], &["--unstick", "--yes"]].concat()).expect(0);
    assert!(folder.entries().iter().any(|name| name.starts_with("pgset-1.stale-")), "{:?}", folder.entries());
}
