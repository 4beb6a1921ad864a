//! Admission and rights: what the API server refuses, and clusters that do not let one in.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::findings::{fails, templates};
use crate::harness::{ClusterObject, Namespace, Run, cluster_is_ours, kubectl, kubectl_command, pgset, wait_for};

#[test]
fn quotas_of_cpu_and_storage_and_a_limit_range() {
    let space = Namespace::new("cpu-quota");
    space.kubectl(&["create", "quota", "cpu", "--hard=requests.cpu=150m"]);
    fails(&space, &["up"], "PGS-QUOTA", &["ResourceQuota cpu", "requests.cpu=100m", "--cpu"]);

    let storage = Namespace::beside(&space, "storage-quota");
    storage.kubectl(&["create", "quota", "storage", "--hard=requests.storage=1Gi"]);
    // Before there is a set, doctor says what up would run into, and changes nothing.
    let doctor = storage.pgset(&["doctor", "-o", "json"]).expect(0);
    assert_eq!(doctor.json()["findings"].as_array().unwrap().len(), 0, "one claim would fit");
    fails(&storage, &["up"], "PGS-QUOTA", &["members' claims", "requests.storage=1Gi", "--size"]);

    let limits = Namespace::beside(&space, "limits");
    let range = "{apiVersion: v1, kind: LimitRange, metadata: {name: small}, spec: {limits: [{type: Container, max: {memory: 64Mi}}]}}";
    crate::harness::kubectl_with(&["-n", &limits.name, "apply", "-f", "-"], range);
    let doctor = limits.pgset(&["doctor"]).expect(3);
    assert!(doctor.stdout.contains("PGS-LIMIT-RANGE"), "{}", doctor.stdout);
    assert_eq!(limits.kubectl(&["get", "statefulsets,pods,configmaps,secrets", "-l", "app=pgset", "-o", "name"]), "");
    fails(&limits, &["up"], "PGS-LIMIT-RANGE", &["LimitRange", "describe limitrange"]);
}

#[test]
fn pods_that_the_baseline_level_refuses() {
    let space = Namespace::new("baseline");
    kubectl(&["label", "namespace", &space.name, "pod-security.kubernetes.io/enforce=baseline"]);
    let host = templates(
        &space,
        "baseline",
        "statefulset.yaml",
        &[(crate::findings::POD, &format!("{}      hostPID: true\n", crate::findings::POD))],
    );
    let words = ["PodSecurity level baseline", "hostPID", "overridden template"];
    fails(&space, &["up", "--templates", host.as_str()], "PGS-PODSECURITY", &words);
    space.pgset(&["up"]).expect(0);
}

#[test]
fn a_namespace_that_is_being_deleted() {
    let space = Namespace::new("going");
    let going = format!("{}-x", space.name);
    kubectl(&["create", "namespace", &going]);
    let holder = "{apiVersion: v1, kind: ConfigMap, metadata: {name: holder, finalizers: [example.com/hold]}}";
    crate::harness::kubectl_with(&["-n", &going, "apply", "-f", "-"], holder);
    kubectl(&["delete", "namespace", &going, "--wait=false"]);
    let words = [format!("namespace {going} is being deleted"), "wait until it is gone".to_owned()];
    for command in ["up", "doctor"] {
        let run = Run::of(pgset(&[command, "-n", &going]).output().unwrap());
        let said = format!("{}{}", run.stdout, run.stderr);
        assert!(words.iter().all(|word| said.contains(word.as_str())), "{said}");
        run.expect(if command == "up" { 1 } else { 3 });
    }
    kubectl(&[
        "-n",
        &going,
        "patch",
        "configmap",
        "holder",
        "--type=merge",
        "-p",
        r#"{"metadata":{"finalizers":null}}"#,
    ]);
}

#[test]
fn a_set_that_is_deleted_while_somebody_waits_for_it() {
    let space = Namespace::new("deleted");
    space.pgset(&["up", "--image", "slow.example.com/postgres:17", "--timeout", "3s"]).expect(4);
    let wait = space.start(&["wait", "--timeout", "2m"]);
    space.kubectl(&["delete", "statefulset", "pgset"]);
    let run = Run::of(wait.wait_with_output().unwrap()).expect(3);
    run.says(&["PGS-SET-GONE", "StatefulSet pgset", "pgset up"]);
}

/// Waits until the API server heeds a rule that was made, in these words.
fn denies(space: &Namespace, words: &str) {
    wait_for("the rule to be heeded", || {
        let pod = ["-n", &space.name, "run", "tried", "--image", "tried", "--dry-run=server"];
        let output = kubectl_command().args(pod).output().unwrap();
        String::from_utf8_lossy(&output.stderr).contains(words).then_some(())
    });
}

/// `up` ends with this finding, `status` shows it, and once the rule is gone `up` goes on at once.
fn denied_until(space: &Namespace, rule: Vec<ClusterObject>, words: &[&str]) {
    fails(space, &["up"], "PGS-ADMISSION-POLICY", words);
    let status = space.pgset(&["status"]).expect(3).stdout;
    assert!([&["PGS-ADMISSION-POLICY"], words].concat().iter().all(|word| status.contains(word)), "{status}");
    drop(rule);
    // The API server may heed the rule for a second more, and refuse the try that `up` asks for.
    space.pgset(&["up"]).expect(0);
}

#[test]
fn a_policy_that_denies_the_pods_is_told_in_its_own_words_until_it_is_gone() {
    let space = Namespace::new("policy");
    let name = format!("{}.example.com", space.name);
    let policy = format!(
        "apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {{name: {name}}}
spec:
  failurePolicy: Fail
  matchConstraints: {{resourceRules: [{{apiGroups: [''], apiVersions: [v1], operations: [CREATE], resources: [pods]}}]}}
  validations: [{{expression: 'false', message: 'no database before the moon is full'}}]
"
    );
    let binding = format!(
        "apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {{name: {name}}}
spec:
  policyName: {name}
  validationActions: [Deny]
  matchResources: {{namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {space}}}}}}}
",
        space = space.name
    );
    let rule = vec![
        ClusterObject::new("validatingadmissionpolicybinding", &name, &binding),
        ClusterObject::new("validatingadmissionpolicy", &name, &policy),
    ];
    denies(&space, "before the moon is full");
    let summary = format!(
        "ValidatingAdmissionPolicy {name} (binding {name}) denies the members' pods: no database before the moon is full"
    );
    denied_until(&space, rule, &[&summary, "kubectl get validatingadmissionpolicies"]);
}

/// An admission webhook on this machine that denies everything in these words.
struct Webhook {
    child: Child,
    port: u16,
}

impl Webhook {
    /// With the certificate `hook` in the folder.
    fn new(folder: &Path, words: &str) -> Self {
        let program = "import http.server, json, ssl, sys
class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        review = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
        denied = {'uid': review['request']['uid'], 'allowed': False, 'status': {'message': sys.argv[2]}}
        answer = {'apiVersion': review['apiVersion'], 'kind': 'AdmissionReview', 'response': denied}
        self.send_response(200)
        self.send_header('Content-Type', 'application/json')
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())
server = http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), Hook)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain('hook.crt', 'hook.key')
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()";
        // A port that was free a moment ago.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new("python3")
            .args(["-c", program, &port.to_string(), words])
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, port }
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_webhook_that_denies_the_pods_is_told_in_its_own_words_until_it_is_gone() {
    // The API server has to reach this machine.
    if !cluster_is_ours() {
        return;
    }
    let space = Namespace::new("denying-hook");
    let folder = tempfile::tempdir().unwrap();
    authority(folder.path());
    certificate(folder.path(), "hook", "/CN=hook", "200101000000Z", "490101000000Z");
    let hook = Webhook::new(folder.path(), "the stars are against it");
    let name = format!("{}.example.com", space.name);
    let authority = Command::new("base64").args(["-w0", "ca.crt"]).current_dir(folder.path()).output().unwrap();
    let manifest = format!(
        "apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {{name: {name}}}
webhooks:
- name: {name}
  admissionReviewVersions: [v1]
  sideEffects: None
  clientConfig: {{url: 'https://127.0.0.1:{port}/', caBundle: {authority}}}
  namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {space}}}}}
  rules: [{{apiGroups: [''], apiVersions: [v1], operations: [CREATE], resources: [pods]}}]
",
        port = hook.port,
        authority = String::from_utf8(authority.stdout).unwrap(),
        space = space.name
    );
    let rule = vec![ClusterObject::new("validatingwebhookconfiguration", &name, &manifest)];
    denies(&space, "the stars are against it");
    let summary = format!("admission webhook {name} denies the members' pods: the stars are against it");
    denied_until(&space, rule, &[&summary, "kubectl get validatingwebhookconfigurations"]);
}

/// A kubeconfig of the test's own.
fn kubeconfig(folder: &Path, server: &str, authority: &str, user: &str) -> PathBuf {
    let file = folder.join("kubeconfig");
    let text = format!(
        "apiVersion: v1\nkind: Config\nclusters: [{{name: a, cluster: {{server: '{server}', certificate-authority: '{authority}'}}}}]\n\
         users: [{{name: a, user: {user}}}]\ncontexts: [{{name: a, context: {{cluster: a, user: a}}}}]\ncurrent-context: a\n"
    );
    fs::write(&file, text).unwrap();
    file
}

fn openssl(folder: &Path, arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Makes an authority in `folder`: ca.crt, ca.key.
fn authority(folder: &Path) {
    let make = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=test", "-days", "30"];
    openssl(folder, &[&make[..], &["-keyout", "ca.key", "-out", "ca.crt"]].concat());
}

/// Has the authority in `folder` (ca.crt, ca.key) sign a new key NAME.key as NAME.crt, valid between these two times.
fn certificate(folder: &Path, name: &str, subject: &str, from: &str, until: &str) {
    let file = |kind: &str| format!("{name}.{kind}");
    let request = ["req", "-new", "-newkey", "rsa:2048", "-nodes", "-addext", "subjectAltName=IP:127.0.0.1"];
    let files = ["-keyout", &file("key"), "-subj", subject, "-out", &file("csr")];
    openssl(folder, &[&request[..], &files].concat());
    fs::write(folder.join("index"), "").unwrap();
    fs::write(folder.join("serial"), "01\n").unwrap();
    let config = "[ca]\ndefault_ca=d\n[d]\ndatabase=index\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\n\
        copy_extensions=copy\nx509_extensions=e\n[e]\nbasicConstraints=CA:FALSE\n[p]\ncommonName=supplied\n\
        organizationName=optional\n";
    fs::write(folder.join("ca.conf"), config).unwrap();
    let sign = ["ca", "-batch", "-config", "ca.conf", "-cert", "ca.crt", "-keyfile", "ca.key", "-notext"];
    let files = ["-in", &file("csr"), "-out", &file("crt"), "-startdate", from, "-enddate", until];
    openssl(folder, &[&sign[..], &files].concat());
}

/// A TLS server on this machine whose certificate is valid between these two times.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn new(folder: &Path, from: &str, until: &str) -> Self {
        certificate(folder, from, "/CN=x", from, until);
        let [certificate, key] = ["crt", "key"].map(|kind| format!("{from}.{kind}"));
        // A port that was free a moment ago.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let child = Command::new("openssl")
            .args(["s_server", "-quiet", "-accept", &address, "-cert", &certificate, "-key", &key])
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_for("the TLS server", || std::net::TcpStream::connect(&address).ok());
        Self { child, port }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn certificates_that_are_over_not_yet_valid_or_of_another_authority() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    authority(here);
    let authority = here.join("ca.crt");
    let authority = authority.to_str().unwrap();
    let run = |server: &str, authority: &str, user: &str| {
        let file = kubeconfig(here, server, authority, user);
        Run::of(pgset(&["status"]).env("KUBECONFIG", file).output().unwrap()).expect(3)
    };

    // Another cluster's authority, as after a cluster was made again.
    let real = kubectl(&["config", "view", "--minify", "-o=jsonpath={.clusters[0].cluster.server}"]);
    run(&real, authority, "{token: x}").says(&[
        "UnknownIssuer",
        "certificate-authority-data is not this cluster's",
        "PGS-API-OTHER-AUTHORITY",
    ]);
    for (from, until, words) in [
        ("200101000000Z", "210101000000Z", ["expired", "clock is wrong"]),
        ("480101000000Z", "490101000000Z", ["not valid yet", "one of the two clocks is wrong"]),
    ] {
        let server = Server::new(here, from, until);
        run(&format!("https://127.0.0.1:{}", server.port), authority, "{token: x}").says(&words);
    }
}

#[test]
fn credentials_that_have_expired() {
    let space = Namespace::new("expired");
    space.kubectl(&["create", "serviceaccount", "guest"]);
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    // A token that no cluster has given out, and one's own cluster's authority can sign what is over as well.
    let mut users = vec![json!({"token": "over"})];
    let authority = crate::harness::kubeconfig().parent().unwrap().join("pki");
    if cluster_is_ours() && authority.join("ca.key").exists() {
        for file in ["ca.crt", "ca.key"] {
            fs::copy(authority.join(file), here.join(file)).unwrap();
        }
        certificate(here, "guest", "/O=system:masters/CN=guest", "200101000000Z", "210101000000Z");
        users.push(json!({"client-certificate": here.join("guest.crt"), "client-key": here.join("guest.key")}));
    }
    let config = kubectl(&["config", "view", "--raw", "--minify", "--flatten", "-o", "json"]);
    let mut config: Value = serde_json::from_str(&config).unwrap();
    for user in users {
        config["users"][0]["user"] = user;
        let file = here.join("kubeconfig");
        fs::write(&file, config.to_string()).unwrap();
        for command in ["status", "up", "doctor"] {
            let run =
                Run::of(pgset(&[command, "-n", &space.name]).env("KUBECONFIG", &file).output().unwrap()).expect(3);
            run.says(&["does not accept your credentials", "expired", "log in again"]);
        }
    }
}
