//! Kubernetes itself: its controller, its DNS, its Services; and the bundle that tells somebody far away.

use std::process::Command;

use crate::findings::{POD, Started, fails, templates};
use crate::harness::{HostDirectory, Namespace, cluster, cluster_is_ours, wait_for};

#[test]
fn a_statefulset_controller_that_is_silent() {
    if !cluster_is_ours() {
        return;
    }
    let space = Namespace::alone("controller");
    cluster(&["stop", "kube-controller-manager"]);
    let back = Started("kube-controller-manager");
    let words = ["has not looked at the latest change", "kube-controller-manager running"];
    fails(&space, &["up"], "PGS-CONTROLLER-SILENT", &words);
    drop(back);
    space.pgset(&["wait"]).expect(0);
}

#[test]
fn dns_that_is_dead_for_the_members() {
    let space = Namespace::new("dns");
    // A resolver at which nobody listens; the cluster's own goes on serving everybody else.
    let dead = format!(
        "{POD}      dnsPolicy: None\n      dnsConfig: {{nameservers: [127.0.0.1], searches: [{}.svc.cluster.local]}}\n",
        space.name
    );
    let folder = templates(&space, "dns", "statefulset.yaml", &[(POD, &dead)]);
    let up = ["up", "--templates", folder.as_str()];
    fails(&space, &up, "PGS-DNS", &["DNS does not answer", "k8s-app=kube-dns", "DNS does not know pgset-master"]);
}

#[test]
fn a_service_that_kube_proxy_does_not_serve() {
    let space = Namespace::new("proxy");
    space.pgset(&["up"]).expect(0);
    space.pgset(&["doctor"]).expect(0);
    // The label by which kube-proxy leaves a Service to somebody else, who is not there.
    let label = "service.kubernetes.io/service-proxy-name";
    space.kubectl(&["label", "service", "pgset-master", &format!("{label}=nobody")]);
    let found = wait_for("the Service to be dead", || {
        let doctor = space.pgset(&["doctor", "-o", "json"]);
        (doctor.code == 3).then(|| doctor.json()["status"]["findings"][0].clone())
    });
    assert_eq!(
        (found["code"].as_str(), found["object"]["name"].as_str()),
        (Some("PGS-SERVICE-DEAD"), Some("pgset-master"))
    );
    assert!(found["fix"].to_string().contains("kube-proxy"), "{found}");
    // Members find each other by their own names, so the set itself is well.
    space.pgset(&["status"]).expect(0);
    space.kubectl(&["label", "service", "pgset-master", &format!("{label}-")]);
    wait_for("the Service to connect", || (space.pgset(&["doctor"]).code == 0).then_some(()));
}

#[test]
fn a_bundle_has_everything_but_secrets() {
    let space = Namespace::new("bundle");
    let mut up = space.command(&["up"]);
    let up = up.env("PG_PASSWORD", "Geheim-Nummer-1").env("PG_ROOT_PASSWORD", "Geheim-Nummer-2").output().unwrap();
    crate::harness::Run::of(up).expect(0);
    // A password that somebody lets PostgreSQL log.
    let _ = space.try_psql("pgset-0", "alter role testuser password 'Geheim-Nummer-1'; select nothing from nowhere where password = 'Geheim-Nummer-1'");
    let folder = HostDirectory::new("bundle");
    let file = folder.path.join("bundle.tar.gz");
    let file = file.to_str().unwrap();
    space.pgset(&["doctor", "--bundle", file]).expect(0).says(&["without any secret"]);
    space.pgset(&["doctor", "--bundle", file]).expect(6).says(&["exists already"]);
    assert_eq!(folder.entries(), ["bundle.tar.gz"]);

    assert!(Command::new("tar").args(["-C", folder.as_str(), "-xzf", file]).status().unwrap().success());
    let secrets: Vec<String> = ["superuser", "replication", "user"].iter().map(|key| space.password(key)).collect();
    let mut text = String::new();
    for entry in walk(&folder.path.join("pgset-bundle")) {
        let content = std::fs::read_to_string(&entry).unwrap();
        for secret in &secrets {
            let encoded = base64(secret);
            assert!(!content.contains(secret) && !content.contains(&encoded), "{} has a password", entry.display());
        }
        text.push_str(&format!("{}\n", entry.display()));
    }
    for wanted in [
        "objects/StatefulSet.json",
        "objects/Event.json",
        "objects/Secret.json",
        "logs/pgset-1.log",
        "postgres/pgset-0/replication.json",
        "postgres/pgset-0/settings.json",
        "doctor.json",
        "observation.json",
    ] {
        assert!(text.contains(wanted), "{wanted} is not in the bundle:\n{text}");
    }
    let log = std::fs::read_to_string(folder.path.join("pgset-bundle/logs/pgset-0.log")).unwrap();
    assert!(log.contains("nowhere") && log.contains("***"), "{log}");
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

fn base64(text: &str) -> String {
    use std::io::Write;
    let mut child = Command::new("base64")
        .arg("-w0")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}
