//! What is hopeless ends early, with the cause, the object and the fix; what is only slow goes on.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::harness::{HostDirectory, Namespace, Run, cluster, cluster_is_ours, kubectl, wait_for};

/// Runs an `up` that must give up by itself long before its time is over, and checks what it found.
fn hopeless(space: &Namespace, options: &[&str], code: &str, words: &[&str]) -> Run {
    let began = Instant::now();
    let run = space.pgset(&[&["up", "--timeout", "4m"], options].concat()).expect(3);
    eprintln!("{code}: {:.1} s", began.elapsed().as_secs_f32());
    run.says(&[code, "cannot become healthy", "hint:"]).says(words)
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

    let restricted = Namespace::beside(&space, "restricted");
    restricted.kubectl(&["label", "namespace", &restricted.name, "pod-security.kubernetes.io/enforce=restricted"]);
    let folder = std::env::temp_dir().join(format!("{}-templates", restricted.name));
    let templates = folder.to_str().unwrap();
    restricted.pgset(&["render", "--eject", templates]).expect(0);
    let file = folder.join("statefulset.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let open =
        text.replace("      enableServiceLinks: false\n", "      enableServiceLinks: false\n      hostNetwork: true\n");
    assert_ne!(open, text);
    std::fs::write(&file, open).unwrap();
    hopeless(&restricted, &["--templates", templates], "PGS-PODSECURITY", &["hostNetwork", "--show-labels"]);
    std::fs::remove_dir_all(&folder).unwrap();

    let hooked = Namespace::beside(&space, "hooked");
    let manifest = format!(
        "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingWebhookConfiguration\nmetadata: {{name: {name}}}\n\
        webhooks:\n- name: deny.example.com\n  clientConfig: {{url: 'https://127.0.0.1:1/'}}\n  sideEffects: None\n  \
        admissionReviewVersions: [v1]\n  failurePolicy: Fail\n  namespaceSelector:\n    \
        matchLabels: {{kubernetes.io/metadata.name: {name}}}\n  \
        rules: [{{apiGroups: [''], apiVersions: [v1], operations: [CREATE], resources: [pods]}}]\n",
        name = hooked.name
    );
    let _hook = ClusterWide::apply("validatingwebhookconfiguration", &hooked.name, &manifest);
    hopeless(&hooked, &[], "PGS-WEBHOOK", &["deny.example.com", "validatingwebhookconfigurations"]);
}

/// A cluster-wide object that goes with the test, however it ends.
struct ClusterWide {
    kind: &'static str,
    name: String,
}

impl ClusterWide {
    fn apply(kind: &'static str, name: &str, manifest: &str) -> Self {
        crate::harness::kubectl_with(&["apply", "-f", "-"], manifest);
        Self { kind, name: name.to_owned() }
    }
}

impl Drop for ClusterWide {
    fn drop(&mut self) {
        kubectl(&["delete", self.kind, &self.name, "--ignore-not-found"]);
    }
}

#[test]
fn a_missing_account_secret_or_configmap() {
    let space = Namespace::new("missing");
    space.pgset(&["up", "--replicas", "1"]).expect(0);
    space.kubectl(&["delete", "configmap", "pgset-config"]);
    space.kubectl(&["delete", "pod", "pgset-0"]);
    let wait = space.pgset(&["wait", "--timeout", "4m"]).expect(3);
    wait.says(&["PGS-CONFIGMAP-MISSING", "ConfigMap pgset-config", "pgset up"]);
    space.pgset(&["up", "--replicas", "1"]).expect(0);

    space.kubectl(&["delete", "serviceaccount", "pgset-sa"]);
    space.kubectl(&["delete", "pod", "pgset-0"]);
    space.pgset(&["wait", "--timeout", "4m"]).expect(3).says(&["PGS-SERVICEACCOUNT-MISSING", "pgset-sa", "pgset up"]);
    // The controller waits ever longer between its attempts; what it does then is not ours to hurry.
    space.pgset(&["up", "--replicas", "1"]).expect(0);

    space.kubectl(&["delete", "secret", "pgset-passwords"]);
    space.pgset(&["up"]).expect(6).says(&["Secret pgset-passwords", "knows only the old passwords"]);
    space.kubectl(&["delete", "pod", "pgset-0"]);
    space.pgset(&["wait", "--timeout", "4m"]).expect(3).says(&["PGS-SECRET-MISSING", "pgset-passwords"]);
}

#[test]
fn containers_that_crash() {
    let space = Namespace::new("crash");
    let bad = ["--set-parameter", "max_connections=banana"];
    hopeless(&space, &bad, "PGS-CRASH-LOOP", &["banana", "logs pgset-0 --previous"]);
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
    hopeless(&space, &up, "PGS-DATA-REFUSED", &["pgset-0 is not empty, but not a whole PostgreSQL data folder"]);
    assert_eq!(std::fs::read_to_string(foreign.join("precious")).unwrap(), "data");
    space.pgset(&["down", "--yes"]).expect(0);

    let closed = Namespace::beside(&space, "closed");
    let root_only = HostDirectory::new("closed");
    std::fs::set_permissions(&root_only.path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let up = ["--storage", "hostpath", "--host-path", root_only.as_str()];
    hopeless(&closed, &up, "PGS-DATA-NOT-WRITABLE", &["may not write", "chmod"]);

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
    let _class = ClusterWide::apply("storageclass", &class, &manifest);
    let run = space.pgset(&["up", "--storage-class", &class, "--timeout", "25s"]);
    run.expect(4).says(&["PGS-CLAIM-PENDING", "PersistentVolumeClaim pgdata-pgset-0", "is not healthy after"]);
}

#[test]
fn a_read_only_user_gets_the_whole_list_of_missing_rights_and_kubernetes_word() {
    let space = Namespace::new("rights");
    space.pgset(&["up", "--replicas", "1"]).expect(0);
    space.kubectl(&["create", "serviceaccount", "reader"]);
    let account = format!("--serviceaccount={}:reader", space.name);
    space.kubectl(&["create", "rolebinding", "reader", "--clusterrole=view", &account]);
    let config = std::env::temp_dir().join(format!("{}.kubeconfig", space.name));
    std::fs::copy(crate::harness::kubeconfig(), &config).unwrap();
    let token = space.kubectl(&["create", "token", "reader"]);
    let file = config.to_str().unwrap();
    kubectl(&["--kubeconfig", file, "config", "set-credentials", "reader", "--token", token.trim()]);
    kubectl(&["--kubeconfig", file, "config", "set-context", "--current", "--user", "reader"]);
    let as_reader = |arguments: &[&str]| Run::of(space.command(arguments).env("KUBECONFIG", file).output().unwrap());

    let up = as_reader(&["up"]).expect(1);
    let up = up.says(&["nothing was changed", "you may not create statefulsets.apps", "you may not patch services"]);
    assert!(up.stderr.matches("you may not").count() > 10, "{}", up.stderr);
    let status = as_reader(&["status"]).expect(0);
    assert!(status.stdout.contains("Kubernetes' word only"), "{}", status.stdout);
    std::fs::remove_file(&config).unwrap();
}

#[test]
fn a_killed_up_is_finished_by_the_next_one() {
    let space = Namespace::new("killed");
    for moment in [5, 20, 40, 60, 100, 300, 900, 2000, 3500, 5000] {
        let mut up = space.start(&["up"]);
        std::thread::sleep(Duration::from_millis(moment));
        up.kill().unwrap();
        up.wait().unwrap();
    }
    let interrupted = space.start(&["up", "--set-parameter", "work_mem=7MB"]);
    std::thread::sleep(Duration::from_millis(1500));
    let pid = interrupted.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    Run::of(interrupted.wait_with_output().unwrap()).expect(130).says(&["interrupted", "pgset wait"]);
    space.pgset(&["up"]).expect(0);
    assert_eq!(space.psql("pgset-0", "select count(*) from pg_stat_replication where state = 'streaming'"), "1");
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

#[test]
fn a_cluster_that_cannot_be_used_is_said_so_at_once() {
    let began = Instant::now();
    let config = std::env::temp_dir().join(format!("pgset-test-refused-{}", std::process::id()));
    let text = "apiVersion: v1\nkind: Config\nclusters: [{name: a, cluster: {server: 'https://127.0.0.1:1'}}]\n\
        users: [{name: a, user: {token: x}}]\ncontexts: [{name: a, context: {cluster: a, user: a}}]\ncurrent-context: a\n";
    std::fs::write(&config, text).unwrap();
    let run =
        |arguments: &[&str]| Run::of(crate::harness::pgset(arguments).env("KUBECONFIG", &config).output().unwrap());
    run(&["up"]).expect(1).says(&[
        "failed to reach the API server https://127.0.0.1:1/",
        "Connection refused",
        "hint:",
    ]);
    run(&["status", "--context", "b"]).expect(1).says(&["has no context b", "it has: a"]);
    std::fs::remove_file(&config).unwrap();
    run(&["status"]).expect(1);
    assert!(began.elapsed() < Duration::from_secs(30));
}
