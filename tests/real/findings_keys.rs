//! A key that a ConfigMap or Secret lacks is named; once it is back, what was said before is old news.

use crate::faults::gives_up;
use crate::findings::templates;
use crate::harness::{Namespace, Run, kubectl_command, wait_for};

/// Takes a key out of an object's data.
fn take_out(space: &Namespace, kind: &str, object: &str, key: &str) {
    let patch = format!(r#"[{{"op": "remove", "path": "/data/{key}"}}]"#);
    space.kubectl(&["patch", kind, object, "--type=json", "-p", &patch]);
}

/// `status` leads with this and ends with 3; but for the instants in which a container that dies at once is there.
fn shows(space: &Namespace, code: &str, object: &str, words: &[&str]) {
    let found = wait_for("the finding", || {
        let run = space.pgset(&["status", "-o", "json"]).expect(3);
        let found = run.json()["findings"][0].clone();
        (found["code"] == code && found["object"]["name"] == object).then_some(found)
    });
    for word in words {
        assert!(found.to_string().contains(word), "lacks {word:?}: {found:#}");
    }
}

fn restarts(space: &Namespace, pod: &str) -> u32 {
    let path = "-o=jsonpath={.status.containerStatuses[0].restartCount}";
    space.kubectl(&["get", "pod", pod, path]).parse().unwrap_or(0)
}

#[test]
fn a_script_that_is_missing_from_its_configmap_is_named_and_up_puts_it_back() {
    let space = Namespace::new("key-script");
    let up = ["up", "--replicas", "1"];
    space.pgset(&up).expect(0);
    space.psql("pgset-0", "create table kept as select 1 as row");
    for key in ["start.sh", "lib.sh"] {
        take_out(&space, "configmap", "pgset-config", key);
        space.kubectl(&["delete", "pod", "pgset-0"]);
        let words = format!("ConfigMap pgset-config in namespace {} has no key {key}, which pgset-0 needs", space.name);
        gives_up(&space, &["wait"], "PGS-CONFIGMAP-MISSING", &[&words, "put it back: pgset up"]);
        shows(&space, "PGS-CONFIGMAP-MISSING", "pgset-config", &[&words, "No such file", "pgset up"]);
        // It has died often enough to count as hopeless, and its last words are still of the missing key.
        wait_for("two restarts", || (restarts(&space, "pgset-0") >= 2).then_some(()));
        space.pgset(&up).expect(0).says(&["ConfigMap pgset-config is there again, with its key"]);
    }
    assert_eq!(space.psql("pgset-0", "select row from kept"), "1");
}

#[test]
fn a_variables_key_that_is_missing_is_named_and_waited_for_once_it_is_back() {
    let space = Namespace::new("key-variable");
    let variable = "          env:\n            - name: EXTRA\n              valueFrom:\n                configMapKeyRef: {name: pgset-config, key: extra}\n";
    let folder = templates(&space, "key-variable", "statefulset.yaml", &[("          env:\n", variable)]);
    let up = ["up", "--replicas", "1", "--templates", folder.as_str()];
    let words = ["ConfigMap pgset-config", "has no key extra, which pgset-0 needs"];
    gives_up(&space, &up, "PGS-CONFIGMAP-MISSING", &words);
    shows(&space, "PGS-CONFIGMAP-MISSING", "pgset-config", &["couldn't find key extra"]);
    space.kubectl(&["patch", "configmap", "pgset-config", "-p", r#"{"data": {"extra": "x"}}"#]);
    space.pgset(&["wait", "--timeout", "3m"]).expect(0);
}

#[test]
fn a_key_that_a_crunchy_sets_volumes_lack_is_named_and_up_puts_it_back() {
    let space = Namespace::new("key-crunchy");
    let up = || {
        let mut command = space.command(&["up", "--replicas", "1", "--storage", "class", "--timeout", "4m"]);
        command.env("CCP_IMAGE_TAG", "centos7-9.6-1.2.8").env("CCP_IMAGE_PREFIX", "docker.io/crunchydata");
        Run::of(command.output().unwrap())
    };
    up().expect(0);
    // The image's script makes the database with a server of its own, and starts the real one then.
    wait_for("the script to be done", || {
        let test = ["--namespace", &space.name, "exec", "pgset-0", "-c", "pgset", "--", "test", "-s", "/tmp/stop.log"];
        kubectl_command().args(test).output().unwrap().status.success().then_some(())
    });
    take_out(&space, "configmap", "pgset-config", "user-name");
    space.kubectl(&["delete", "pod", "pgset-0"]);
    let words = ["has no key user-name, which pgset-0 needs", "put it back: pgset up"];
    gives_up(&space, &["wait"], "PGS-CONFIGMAP-MISSING", &words);
    shows(&space, "PGS-CONFIGMAP-MISSING", "pgset-config", &["references non-existent config key: user-name"]);
    up().expect(0);

    // A password: only whoever has it can put it back.
    let password = space.kubectl(&["get", "secret", "pgset-passwords", "-o=jsonpath={.data.user}"]);
    take_out(&space, "secret", "pgset-passwords", "user");
    space.kubectl(&["delete", "pod", "pgset-0"]);
    let words = ["Secret pgset-passwords", "has no key user, which pgset-0 needs", "edit secret pgset-passwords"];
    gives_up(&space, &["wait"], "PGS-SECRET-MISSING", &words);
    let back = format!(r#"{{"data": {{"user": "{password}"}}}}"#);
    space.kubectl(&["patch", "secret", "pgset-passwords", "-p", &back]);
    space.pgset(&["wait", "--timeout", "4m"]).expect(0);
}
