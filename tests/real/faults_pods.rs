//! Faults that come from what surrounds the pods: admission, volumes, and data folders of another making.

use std::fs;
use std::os::unix::fs::chown;

use crate::faults::{gives_up, hopeless};
use crate::harness::{ClusterObject, HostDirectory, Namespace};

/// The image's PostgreSQL user.
const POSTGRES: u32 = 999;

#[test]
fn a_template_that_violates_pod_security() {
    let space = Namespace::new("podsecurity");
    let label = "pod-security.kubernetes.io/enforce=restricted";
    crate::harness::kubectl(&["label", "namespace", &space.name, label]);
    let templates = HostDirectory::new("podsecurity");
    space.pgset(&["render", "--eject", templates.as_str()]).expect(0);
    let file = templates.path.join("statefulset.yaml");
    let text = fs::read_to_string(&file).unwrap();
    let loose = text.replace("allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true");
    assert_ne!(text, loose);
    fs::write(&file, loose).unwrap();
    let options = ["--templates", templates.as_str()];
    hopeless(&space, &options, "PGS-PODSECURITY", &["allowPrivilegeEscalation != false", "overridden template"]);
    // Without the override the same set comes up: the controller tries again when its StatefulSet changes.
    space.pgset(&["up"]).expect(0);
}

#[test]
fn an_admission_webhook_that_does_not_answer() {
    let space = Namespace::new("webhook");
    let name = format!("{}.example.com", space.name);
    let manifest = format!(
        "apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {{name: {name}}}
webhooks:
- name: {name}
  admissionReviewVersions: [v1]
  sideEffects: None
  clientConfig: {{service: {{namespace: {space}, name: there-is-none}}}}
  namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {space}}}}}
  rules: [{{apiGroups: [''], apiVersions: [v1], operations: [CREATE], resources: [pods]}}]
",
        space = space.name
    );
    let _webhook = ClusterObject::new("validatingwebhookconfiguration", &name, &manifest);
    let cause = format!("admission webhook {name} does not answer as it should, so no pod is let in");
    hopeless(&space, &[], "PGS-WEBHOOK", &[&cause, "there-is-none", "kubectl get validatingwebhookconfigurations"]);
}

#[test]
fn a_password_that_is_missing_from_the_secret() {
    let space = Namespace::new("key");
    space.pgset(&["up", "--replicas", "1"]).expect(0);
    let removed = r#"[{"op": "remove", "path": "/data/replication"}]"#;
    space.kubectl(&["patch", "secret", "pgset-passwords", "--type=json", "-p", removed]);
    space.kubectl(&["delete", "pod", "pgset-0"]);
    let words = ["Secret pgset-passwords", "there is no password \"replication\" in the Secret"];
    gives_up(&space, &["wait"], "PGS-SECRET-MISSING", &words);
}

#[test]
fn data_folders_of_another_making_are_left_as_they_are() {
    let space = Namespace::new("folders");
    let directory = HostDirectory::new("folders");
    let up = ["--storage", "hostpath", "--host-path", directory.as_str()];
    let again = [&["up"], &up[..]].concat();
    space.pgset(&again).expect(0);
    space.psql("pgset-0", "create table kept as select 1 as row");

    // A second primary: what a folder promoted by hand becomes.
    let replica = directory.path.join("pgset-1");
    fs::remove_file(replica.join("standby.signal")).unwrap();
    space.kubectl(&["delete", "pod", "pgset-1"]);
    let words = ["Pod pgset-1", "pgset-0 is the primary already", "/pgdata/pgset-1/standby.signal"];
    gives_up(&space, &["wait"], "PGS-SECOND-PRIMARY", &words);
    let signal = replica.join("standby.signal");
    fs::write(&signal, "").unwrap();
    chown(&signal, Some(POSTGRES), Some(POSTGRES)).unwrap();
    space.pgset(&["wait"]).expect(0);

    // Another owner's.
    space.pgset(&["down", "--yes"]).expect(0);
    let folder = directory.path.join("pgset-0");
    chown(&folder, Some(0), Some(0)).unwrap();
    let words = ["/pgdata/pgset-0 belongs to uid 0, but the pod runs as uid 999", "chown -R 999 pgset-0"];
    hopeless(&space, &up, "PGS-DATA-NOT-WRITABLE", &words);
    chown(&folder, Some(POSTGRES), Some(POSTGRES)).unwrap();

    // Another major version's.
    space.pgset(&["down", "--yes"]).expect(0);
    let version = fs::read_to_string(folder.join("PG_VERSION")).unwrap();
    fs::write(folder.join("PG_VERSION"), "11\n").unwrap();
    let words = ["/pgdata/pgset-0 is of PostgreSQL 11, but the image has PostgreSQL", "nothing was touched"];
    hopeless(&space, &up, "PGS-DATA-OTHER-MAJOR", &words);
    assert_eq!(fs::read_to_string(folder.join("PG_VERSION")).unwrap(), "11\n");

    // Everything is put back, and nothing was lost on the way.
    fs::write(folder.join("PG_VERSION"), version).unwrap();
    space.pgset(&["down", "--yes"]).expect(0);
    space.pgset(&again).expect(0);
    assert_eq!(space.psql("pgset-0", "select row from kept"), "1");
}
