//! What is hopeless ends early, with the cause, the object and the fix; what is only slow goes on.

use std::process::Stdio;
use std::time::Instant;

use crate::harness::{ClusterObject, HostDirectory, Namespace, Run, cluster, cluster_is_ours, wait_for};

/// Runs an `up` that must give up by itself long before its time is over, and checks what it found.
pub fn hopeless(space: &Namespace, options: &[&str], code: &str, words: &[&str]) -> Run {
    gives_up(space, &[&["up"], options].concat(), code, words)
}

/// The same for any command that waits: the verdict is `failed` and not `timedOut`, the cause leads the findings, and its
/// fix is a hint.
pub fn gives_up(space: &Namespace, command: &[&str], code: &str, words: &[&str]) -> Run {
    let began = Instant::now();
    let run = space.pgset(&[command, &["--timeout", "5m", "-o", "json"]].concat()).expect(3);
    eprintln!("{code}: {:.1} s", began.elapsed().as_secs_f32());
    let result = run.json();
    assert_eq!(result["outcome"], "failed", "{result:#}");
    let cause = &result["status"]["findings"][0];
    assert_eq!(cause["code"], code, "{result:#}");
    let fix = format!("hint: {}", cause["fix"][0].as_str().unwrap());
    run.says(&[code, "cannot become healthy", cause["summary"].as_str().unwrap(), &fix]).says(words)
}

#[test]
fn images_that_cannot_be_had() {
    let space = Namespace::new("images");
    hopeless(
        &space,
        &["--image", "docker.io/library/postgres:none"],
        "PGS-IMAGE-NOT-FOUND",
        &["does not exist", "--image"],
    );
    // The same set, mended: Kubernetes leaves the pods of the bad revision as they are, and pgset says what to do.
    hopeless(&space, &[], "PGS-POD-PINNED", &["delete pod pgset-"]);
    space.kubectl(&["delete", "pod", "pgset-0", "pgset-1"]);
    space.pgset(&["wait"]).expect(0);
    let denied = Namespace::beside(&space, "denied");
    hopeless(&denied, &["--image", "denied.example.com/postgres:17"], "PGS-IMAGE-DENIED", &["imagePullSecrets"]);
    denied.pgset(&["up", "--image", "Not An Image"]).expect(2).says(&["--image"]);
}

#[test]
fn admission_that_refuses_the_pods() {
    let space = Namespace::new("quota");
    space.kubectl(&["create", "quota", "tiny", "--hard=pods=0"]);
    hopeless(&space, &[], "PGS-QUOTA", &["ResourceQuota tiny", "edit resourcequota tiny"]);
    space.kubectl(&["delete", "resourcequota", "tiny"]);
    space.pgset(&["up"]).expect(0);
}

#[test]
fn a_missing_account_secret_or_configmap() {
    let space = Namespace::new("missing");
    space.pgset(&["up", "--replicas", "1"]).expect(0);
    space.kubectl(&["delete", "configmap", "pgset-config"]);
    space.kubectl(&["delete", "pod", "pgset-0"]);
    gives_up(&space, &["wait"], "PGS-CONFIGMAP-MISSING", &["ConfigMap pgset-config", "pgset up"]);
    space.pgset(&["up", "--replicas", "1"]).expect(0);

    space.kubectl(&["delete", "serviceaccount", "pgset-sa"]);
    space.kubectl(&["delete", "pod", "pgset-0"]);
    gives_up(&space, &["wait"], "PGS-SERVICEACCOUNT-MISSING", &["pgset-sa", "pgset up"]);
    // By itself the controller would try again only when its ever longer pauses are over.
    space.pgset(&["up", "--replicas", "1", "-v"]).expect(0).says(&["asked the StatefulSet controller to try again"]);

    space.kubectl(&["delete", "secret", "pgset-passwords"]);
    space.pgset(&["up"]).expect(6).says(&["Secret pgset-passwords", "knows only the old passwords"]);
    space.kubectl(&["delete", "pod", "pgset-0"]);
    gives_up(&space, &["wait"], "PGS-SECRET-MISSING", &["pgset-passwords"]);
}

#[test]
fn containers_that_crash() {
    let space = Namespace::new("crash");
    let bad = ["--set-parameter", "max_connections=banana"];
    hopeless(
        &space,
        &bad,
        "PGS-BAD-SETTINGS",
        &[
            "healthy: PostgreSQL does not take its settings: invalid value for parameter \"max_connections\": \"banana\"",
            "--set-parameter NAME=VALUE",
        ],
    );
}

#[test]
fn host_directories_that_cannot_be_used() {
    let space = Namespace::new("hostpath");
    let directory = HostDirectory::new("hostpath");
    let foreign = directory.path.join("pgset-0");
    std::fs::create_dir(&foreign).unwrap();
    std::fs::write(foreign.join("precious"), "data").unwrap();
    std::os::unix::fs::chown(&foreign, Some(999), Some(999)).unwrap();
    let up = ["--storage", "hostpath", "--host-path", directory.as_str()];
    hopeless(&space, &up, "PGS-DATA-INCOMPLETE", &["pgset-0 is not empty, but not a whole PostgreSQL data folder"]);
    assert_eq!(std::fs::read_to_string(foreign.join("precious")).unwrap(), "data");
    space.pgset(&["down", "--yes"]).expect(0);

    let closed = Namespace::beside(&space, "closed");
    let root_only = HostDirectory::new("closed");
    std::fs::set_permissions(&root_only.path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let up = ["--storage", "hostpath", "--host-path", root_only.as_str()];
    hopeless(&closed, &up, "PGS-DATA-NOT-WRITABLE", &["cannot write to /pgdata as uid 999", "chmod 777"]);
    // The container runtime makes a missing directory anew for a container that starts again.
    closed.pgset(&["down", "--yes"]).expect(0);

    let absent = Namespace::beside(&space, "absent");
    let up = ["--storage", "hostpath", "--host-path", "/var/lib/pgset-test-there-is-no-such"];
    hopeless(&absent, &up, "PGS-HOSTPATH-MISSING", &["mkdir -p /var/lib/pgset-test-there-is-no-such"]);
}

#[test]
fn preflight_lists_everything_before_the_first_write() {
    let space = Namespace::new("preflight");
    space
        .pgset(&["up", "--storage-class", "fast"])
        .expect(1)
        .says(&["StorageClass fast does not exist", "it has: local-path"]);
    let mut elsewhere = crate::harness::pgset(&["up", "-n", "no-such-namespace", "--storage-class", "fast"]);
    Run::of(elsewhere.output().unwrap()).expect(1).says(&[
        "2 things keep",
        "namespace no-such-namespace does not exist",
        "StorageClass fast",
    ]);
    assert_eq!(space.kubectl(&["get", "all,secrets,pvc", "-o", "name"]), "");
}

#[test]
fn a_claim_that_nobody_provides_for_is_waited_for_and_named() {
    let space = Namespace::new("silent");
    let class = format!("silent-{}", std::process::id());
    let manifest = format!(
        "apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {{name: {class}}}\nprovisioner: example.com/silent\n"
    );
    let _class = ClusterObject::new("storageclass", &class, &manifest);
    let run = space.pgset(&["up", "--storage-class", &class, "--timeout", "25s"]);
    run.expect(4).says(&[
        "PGS-PROVISIONER-SILENT",
        "PersistentVolumeClaim pgdata-pgset-0",
        "provisioner example.com/silent",
        "is not healthy after",
    ]);
}

#[test]
fn an_api_server_that_restarts_is_waited_for() {
    if !cluster_is_ours() {
        return;
    }
    let space = Namespace::alone("apiserver");
    let mut up = space.command(&["up"]);
    let up = up.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for("the StatefulSet", || space.get("statefulset", "pgset"));
    cluster(&["restart-apiserver"]);
    Run::of(up.wait_with_output().unwrap()).expect(0).says(&["the API server does not answer", "answers again"]);
}
