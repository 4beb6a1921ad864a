//! What the tests of single findings share: overridden templates, waits that end in time, a node that is none.

use std::fs;
use std::time::Instant;

use serde_json::Value;

use crate::harness::{ClusterObject, HostDirectory, Namespace, Run, SOON, kubectl};

/// The built-in templates with these changes to one of them; each has to fit.
pub fn templates(space: &Namespace, name: &str, file: &str, changes: &[(&str, &str)]) -> HostDirectory {
    let folder = HostDirectory::new(name);
    space.pgset(&["render", "--eject", folder.as_str()]).expect(0);
    let path = folder.path.join(file);
    let mut text = fs::read_to_string(&path).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "{file} has no {from:?}");
        text = text.replacen(from, to, 1);
    }
    fs::write(path, text).unwrap();
    folder
}

/// A line that the pod's specification begins with, for what is to stand beside it.
pub const POD: &str = "      automountServiceAccountToken: false\n";

/// Runs something that may go on by itself, so that only its time ends it; checks what it says it waits for. Where the
/// machine is too busy for the cluster to say it within that time, it is asked again.
#[track_caller]
pub fn waits(space: &Namespace, command: &[&str], time: &str, code: &str, words: &[&str]) -> Value {
    let limit = ["--timeout", time, "-o", "json"];
    let mut run = space.pgset(&[command, &limit].concat()).expect(4);
    let began = Instant::now();
    while first(&run.json())["code"] != code && began.elapsed() < SOON {
        run = space.pgset(&[&["wait"], &limit[..]].concat()).expect(4);
    }
    let result = run.json();
    assert_eq!(result["outcome"], "timedOut");
    let cause = first(&result);
    assert_eq!(cause["code"], code, "{result:#}");
    says(&run, code, &cause, words);
    cause
}

/// Runs something that is hopeless; returns the finding that leads.
pub fn fails(space: &Namespace, command: &[&str], code: &str, words: &[&str]) -> Value {
    let run = crate::faults::gives_up(space, command, code, &[]);
    let cause = first(&run.json());
    says(&run, code, &cause, words);
    cause
}

fn first(result: &Value) -> Value {
    result["status"]["findings"][0].clone()
}

#[track_caller]
fn says(run: &Run, code: &str, cause: &Value, words: &[&str]) {
    let text = format!("{} {}", cause["summary"], cause["fix"]);
    let told = run.stderr.contains(code);
    assert!(told, "{}", run.stderr);
    for word in words {
        assert!(run.stderr.contains(word) || text.contains(word), "lacks {word:?}:\n{}\n{text}", run.stderr);
    }
}

/// The names of every object a finding is about.
pub fn objects(cause: &Value) -> Vec<String> {
    let also = cause["also"].as_array().into_iter().flatten();
    let all = [&cause["object"]].into_iter().chain(also);
    all.map(|object| object["name"].as_str().unwrap().to_owned()).collect()
}

/// A node that exists only on paper: the scheduler takes it for real, and no kubelet runs what it is given. Its taint keeps
/// everybody else's pods away.
pub struct PaperNode {
    pub name: String,
    _node: ClusterObject,
}

impl PaperNode {
    /// Ready, with room; tolerated by pods with [`PaperNode::placement`] only.
    pub fn new(space: &Namespace) -> Self {
        let name = format!("{}-paper", space.name);
        let manifest = format!(
            "apiVersion: v1\nkind: Node\nmetadata: {{name: {name}, labels: {{kubernetes.io/hostname: {name}}}}}\nspec: {{taints: [{{key: paper, effect: NoSchedule}}]}}\n"
        );
        let node = Self { _node: ClusterObject::new("node", &name, &manifest), name };
        let room = r#"{"cpu": "8", "memory": "16Gi", "pods": "50"}"#;
        node.patch_status(&format!(r#"{{"status": {{"capacity": {room}, "allocatable": {room}}}}}"#));
        node.set("Ready", "True");
        node
    }

    fn patch_status(&self, patch: &str) {
        kubectl(&["patch", "node", &self.name, "--subresource=status", "--type=merge", "-p", patch]);
    }

    /// Sets one of the node's conditions, as its kubelet would.
    pub fn set(&self, condition: &str, status: &str) {
        let others =
            if condition == "Ready" { "" } else { r#"{"type": "Ready", "status": "True", "reason": "Test"},"# };
        self.patch_status(&format!(
            r#"{{"status": {{"conditions": [{others} {{"type": "{condition}", "status": "{status}", "reason": "Test", "message": "said by a test"}}]}}}}"#
        ));
    }

    /// What a pod needs to run on it and nowhere else.
    pub fn placement(&self) -> String {
        format!(
            "{POD}      nodeSelector: {{kubernetes.io/hostname: {}}}\n      tolerations: [{{key: paper, operator: Exists}}, {{key: node.kubernetes.io/not-ready, operator: Exists, effect: NoSchedule}}]\n",
            self.name
        )
    }
}

/// Starts a component of the cluster again, however the test ends.
pub struct Started(pub &'static str);

impl Drop for Started {
    fn drop(&mut self) {
        crate::harness::cluster(&["start", self.0]);
    }
}
