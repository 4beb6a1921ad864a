//! Clusters that cannot be reached or do not let one in, rights that are missing, sets that are not there.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::harness::{Namespace, Run, kubeconfig, kubectl, pgset};

/// A kubeconfig file of the test's own, removed at its end.
pub struct Credentials {
    file: PathBuf,
}

impl Credentials {
    /// The tests' cluster, entered with this token instead.
    pub fn with_token(name: &str, token: &str) -> Self {
        let credentials = Self::new(name);
        std::fs::copy(kubeconfig(), &credentials.file).unwrap();
        let file = credentials.file.to_str().unwrap();
        kubectl(&["--kubeconfig", file, "config", "set-credentials", "other", "--token", token]);
        kubectl(&["--kubeconfig", file, "config", "set-context", "--current", "--user", "other"]);
        credentials
    }

    /// A server on which nothing listens.
    pub fn to_nowhere(name: &str) -> Self {
        let credentials = Self::new(name);
        let text = "apiVersion: v1\nkind: Config\nclusters: [{name: a, cluster: {server: 'https://127.0.0.1:9'}}]\n\
            users: [{name: a, user: {token: x}}]\ncontexts: [{name: a, context: {cluster: a, user: a}}]\n\
            current-context: a\n";
        std::fs::write(&credentials.file, text).unwrap();
        credentials
    }

    /// A file that is not there yet.
    fn new(name: &str) -> Self {
        Self { file: std::env::temp_dir().join(format!("pgset-test-{name}-{}.kubeconfig", std::process::id())) }
    }

    pub fn pgset(&self, arguments: &[&str]) -> Run {
        Run::of(self.command(arguments).output().unwrap())
    }

    pub fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = pgset(arguments);
        command.env("KUBECONFIG", &self.file);
        command
    }
}

impl Drop for Credentials {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

#[test]
fn a_read_only_user_gets_the_whole_list_of_missing_rights_and_kubernetes_word() {
    let space = Namespace::new("rights");
    space.pgset(&["up", "--replicas", "1"]).expect(0);
    space.kubectl(&["create", "serviceaccount", "reader"]);
    let account = format!("--serviceaccount={}:reader", space.name);
    space.kubectl(&["create", "rolebinding", "reader", "--clusterrole=view", &account]);
    let reader = Credentials::with_token("reader", space.kubectl(&["create", "token", "reader"]).trim());
    let versions = "-o=jsonpath={range .items[*]}{.kind} {.metadata.name} {.metadata.resourceVersion}{\"\\n\"}{end}";
    let kinds = "statefulsets,services,serviceaccounts,configmaps,secrets,poddisruptionbudgets,pods,pvc";
    let objects = || space.kubectl(&["get", kinds, versions]);

    let before = objects();
    let up = reader.pgset(&["up", "--replicas", "2", "-n", &space.name]).expect(1);
    assert_eq!(objects(), before);
    let up = up.says(&["nothing was changed", "you may not create statefulsets.apps", "you may not patch services"]);
    assert!(up.stderr.matches("you may not").count() > 10, "{}", up.stderr);

    let status = reader.pgset(&["status", "-n", &space.name]).expect(0);
    assert!(status.stdout.contains("Kubernetes' word only"), "{}", status.stdout);
    let wait = reader.pgset(&["wait", "-n", &space.name]).expect(0);
    assert!(wait.stdout.contains("is healthy by Kubernetes' word"), "{}", wait.stdout);
    reader.pgset(&["scale", "2", "-n", &space.name, "--yes"]).expect(3).says(&["PGS-API-FORBIDDEN"]);
    assert_eq!(objects(), before);
}

#[test]
fn a_cluster_that_cannot_be_used_is_said_so_at_once() {
    let began = Instant::now();
    let nowhere = Credentials::to_nowhere("refused");
    let refused = [
        "failed to reach the API server https://127.0.0.1:9/",
        "Connection refused",
        "config current-context",
        "PGS-API-UNREACHABLE",
    ];
    nowhere.pgset(&["up"]).expect(3).says(&refused);
    nowhere.pgset(&["status"]).expect(3).says(&["Connection refused", "config current-context", "PGS-API-UNREACHABLE"]);
    nowhere.pgset(&["status", "--context", "b"]).expect(1).says(&["has no context b", "it has: a"]);

    let missing = Credentials::new("missing");
    let path = missing.file.to_str().unwrap().to_owned();
    missing.pgset(&["status"]).expect(1).says(&[&path, "(from KUBECONFIG)", "No such file", "--kubeconfig FILE"]);
    missing.pgset(&["up", "--kubeconfig", &path]).expect(1).says(&[&path, "(from --kubeconfig)"]);
    let nothing = Run::of(pgset(&["up"]).env_remove("KUBECONFIG").env("HOME", "/nonexistent").output().unwrap());
    nothing.expect(1).says(&["there is no kubeconfig", "export KUBECONFIG=FILE"]);

    let stranger = Credentials::with_token("stranger", "no-such-token");
    for command in ["up", "status", "wait", "doctor"] {
        let run = stranger.pgset(&[command, "-n", "default"]).expect(3);
        let run = run.says(&["the API server does not accept your credentials", "log in again", "PGS-API-CREDENTIALS"]);
        assert!(!run.stderr.contains("failed to reach"), "{}", run.stderr);
    }
    assert!(began.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_set_that_is_not_there_and_a_time_that_is_too_short() {
    let space = Namespace::new("nowhere");
    for command in [&["wait"][..], &["status"], &["scale", "3"]] {
        let words = format!("there is no set orders in namespace {}", space.name);
        space.pgset(&[command, &["--name", "orders"]].concat()).expect(1).says(&[&words, "hint:", "pgset up"]);
    }

    let run = space.pgset(&["up", "--timeout", "1s", "-o", "json"]).expect(4);
    assert_eq!(run.json()["outcome"], "timedOut");
    assert!(!run.json()["status"]["unmet"].as_array().unwrap().is_empty());
    run.says(&["is not healthy after", "pgset-0 is not ready", "pgset wait"]);
    // Nothing was undone: the rest is only waiting.
    space.pgset(&["wait"]).expect(0);
}
