//! What a change would make of a set: a unified diff an object, and what it means, for people and machines.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;
use similar::TextDiff;

use super::text::and;
use super::{Paint, Ui};
use crate::manifests::{Object, ObjectKind, Upgrade};
use crate::set::plan::{Change, Effect};
use crate::settings::PgSetting;

/// `kind: Diff` of `pgset/v1`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DiffView {
    pub api_version: &'static str,
    pub kind: &'static str,
    pub name: String,
    pub namespace: String,
    /// Whether `up` would change anything.
    pub differs: bool,
    pub objects: Vec<ObjectDiff>,
    /// The members that would be restarted, in this order.
    pub rolling: Vec<String>,
    /// What `up` would do, a sentence each, in this order.
    pub steps: Vec<String>,
    /// What stays as it is although the settings say otherwise.
    pub stays: Vec<String>,
    /// What today's clusters need of a checkout's manifests.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub upgrades: Vec<Upgrade>,
}

/// One object that would be made or changed.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectDiff {
    pub kind: String,
    pub name: String,
    /// `created`, `configured` or `recreated`.
    pub change: &'static str,
    pub effect: Effect,
    /// The JSON paths that differ.
    pub paths: Vec<String>,
    /// Unified; empty where the contents are secret.
    pub diff: String,
}

impl ObjectDiff {
    /// One object's difference; `None` when there is none. A Secret's contents are never looked at.
    #[must_use]
    pub fn new(object: &Object, change: &Change, live: Option<&Value>, result: &Value) -> Option<Self> {
        let word = match change {
            Change::Unchanged => return None,
            Change::Created => "created",
            Change::Configured(_) => "configured",
            Change::Recreated(_) => "recreated",
        };
        let kind = object.kind.as_str();
        let diff = if object.kind == ObjectKind::Secret {
            String::new()
        } else {
            let (old, new) = hidden(live, result);
            unified(&format!("{kind} {}", object.name), old.as_ref(), &new)
        };
        Some(Self {
            kind: kind.to_owned(),
            name: object.name.clone(),
            change: word,
            effect: change.effect(object.kind),
            paths: change.paths().to_vec(),
            diff,
        })
    }
}

impl ObjectDiff {
    /// Whether the pods' template is among what differs.
    fn rolls(&self) -> bool {
        self.paths.iter().any(|path| path.starts_with(".spec.template"))
    }
}

impl DiffView {
    /// Every diff under a line that says what it means, then what `up` would do.
    #[must_use]
    pub fn text(&self, ui: &Ui) -> String {
        let mut text = String::new();
        for object in &self.objects {
            let effect = match (object.change, object.effect) {
                ("created", _) => "would be created",
                (_, Effect::Live) => "live: takes effect at once",
                (_, Effect::Rolling) => "rolling: restarts the members one after another",
                (_, Effect::Recreate) if object.rolls() => {
                    "needs recreate: a field differs that Kubernetes lets nobody change; then rolling"
                }
                (_, Effect::Recreate) => "needs recreate: a field differs that Kubernetes lets nobody change",
                (_, Effect::None) => "unchanged",
            };
            let headline = format!("# {} {}: {effect}", object.kind, object.name);
            text.push_str(&ui.paint_data(Paint::Bold, &headline));
            text.push('\n');
            for line in object.diff.lines() {
                let paint = match line.as_bytes().first() {
                    _ if line.starts_with("---") || line.starts_with("+++") => Some(Paint::Bold),
                    Some(b'+') => Some(Paint::Green),
                    Some(b'-') => Some(Paint::Red),
                    Some(b'@') => Some(Paint::Cyan),
                    _ => None,
                };
                text.push_str(&paint.map_or_else(|| line.to_owned(), |paint| ui.paint_data(paint, line)));
                text.push('\n');
            }
        }
        for line in &self.stays {
            let _ = writeln!(text, "# {line}");
        }
        if self.steps.is_empty() {
            let _ = writeln!(text, "# pgset up would change nothing on {} in namespace {}", self.name, self.namespace);
        } else {
            text.push_str(&ui.paint_data(Paint::Bold, "# pgset up would:"));
            text.push('\n');
            text.extend(self.steps.iter().enumerate().map(|(index, step)| format!("#   {}. {step}\n", index + 1)));
        }
        text
    }
}

/// What `up` would do, in its order.
#[must_use]
pub fn steps(
    objects: &[ObjectDiff],
    grow: &[String],
    rolling: &[String],
    primary: &str,
    start: Option<u8>,
) -> Vec<String> {
    let named = |wanted: &dyn Fn(&&ObjectDiff) -> bool| -> Vec<String> {
        objects.iter().filter(wanted).map(|object| format!("{} {}", object.kind, object.name)).collect()
    };
    let created = named(&|object| object.change == "created");
    let configured = named(&|object| object.change == "configured");
    let recreated = objects.iter().filter(|object| object.change == "recreated");
    let mut steps = Vec::new();
    if !created.is_empty() {
        steps.push(format!("create {}", and(&created)));
    }
    if !configured.is_empty() {
        steps.push(format!("change {}", and(&configured)));
    }
    for object in recreated {
        let why = if object.paths.is_empty() {
            "it is being deleted already".to_owned()
        } else {
            format!("because of {}", never_changing(&object.paths).join(", "))
        };
        steps.push(format!(
            "delete {} {} and create it again while its members run on, after asking ({why})",
            object.kind, object.name
        ));
    }
    steps.extend(grow.iter().cloned());
    if let Some(replicas) = start {
        steps.push(format!("start the stopped set with {replicas} members"));
    } else if !rolling.is_empty() {
        steps.push(roll(rolling, primary));
    }
    steps
}

/// The paths for which an object has to be made anew.
fn never_changing(paths: &[String]) -> Vec<String> {
    let never = paths.iter().filter(|path| crate::set::plan::never_changes(path));
    never.cloned().collect()
}

/// The restarts in their order, and when it is the primary's turn.
fn roll(rolling: &[String], primary: &str) -> String {
    let members: Vec<String> = rolling
        .iter()
        .map(|member| if member == primary { format!("{member} (the primary)") } else { member.clone() })
        .collect();
    let order = format!("restart {}, each ready before the next", members.join(", then "));
    match rolling.iter().position(|member| member == primary) {
        Some(at) if at + 1 < rolling.len() => {
            format!("{order}; Kubernetes takes the highest number first, so the primary is not the last")
        }
        _ => order,
    }
}

/// Both sides as they may be shown: without what the API server keeps for itself, and without parameters that may hold a
/// secret.
fn hidden(live: Option<&Value>, result: &Value) -> (Option<Value>, Value) {
    let (mut old, mut new) = (live.cloned(), result.clone());
    for object in old.iter_mut().chain([&mut new]) {
        if let Some(object) = object.as_object_mut() {
            object.remove("status");
            if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
                for key in [
                    "managedFields",
                    "resourceVersion",
                    "uid",
                    "generation",
                    "creationTimestamp",
                    "deletionTimestamp",
                    "deletionGracePeriodSeconds",
                    "finalizers",
                ] {
                    metadata.remove(key);
                }
            }
        }
        for text in object.get_mut("data").and_then(Value::as_object_mut).into_iter().flat_map(|data| data.values_mut())
        {
            if let Some(masked) = text.as_str().map(without_secrets) {
                *text = masked.into();
            }
        }
    }
    (old, new)
}

/// A settings file's text with a short fingerprint in place of every value that may be a secret, so that a change of it
/// still shows.
fn without_secrets(text: &str) -> String {
    let masked = |line: &str| match line.split_once('=') {
        Some((name, value))
            if !name.trim_start().starts_with('#') && PgSetting::may_hold_secret(name.trim()) && is_name(name) =>
        {
            format!("{name}= '***' # {}", fingerprint(value))
        }
        _ => line.to_owned(),
    };
    let mut lines: String = text.split('\n').map(|line| masked(line) + "\n").collect();
    lines.pop();
    lines
}

/// Whether this is what stands before the `=` of a parameter, rather than of a shell's variable.
fn is_name(text: &str) -> bool {
    let name = text.trim_end();
    text.ends_with(' ') && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'))
}

fn fingerprint(value: &str) -> String {
    use sha2::{Digest, Sha256};
    // Two bytes: enough to see a change by, too little to guess a value from.
    Sha256::digest(value.as_bytes()).iter().take(2).map(|byte| format!("{byte:02x}")).collect()
}

fn unified(name: &str, old: Option<&Value>, new: &Value) -> String {
    let (from, to) = (old.map(crate::yaml::to_string).unwrap_or_default(), crate::yaml::to_string(new));
    let old_name = if old.is_some() { format!("live/{name}") } else { "/dev/null".to_owned() };
    let diff = TextDiff::from_lines(&from, &to);
    diff.unified_diff().context_radius(3).header(&old_name, &format!("up/{name}")).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(kind: ObjectKind, name: &str) -> Object {
        Object { kind, namespace: None, name: name.to_owned(), body: Value::Null }
    }

    fn set(memory: &str, version: u8) -> Value {
        json!({"kind": "StatefulSet", "metadata": {"name": "pgset", "resourceVersion": version, "managedFields": [version],
            "generation": version, "uid": version}, "spec": {"template": {"memory": memory}}, "status": {"replicas": version}})
    }

    #[test]
    fn a_diff_shows_what_differs_and_nothing_the_api_server_keeps_for_itself() {
        let change = Change::Configured(vec![".spec.template.memory".to_owned()]);
        let set_object = object(ObjectKind::StatefulSet, "pgset");
        let diff = ObjectDiff::new(&set_object, &change, Some(&set("1Gi", 1)), &set("2Gi", 2)).unwrap();
        assert_eq!((diff.effect, diff.change), (Effect::Rolling, "configured"));
        let expected = "\
--- live/StatefulSet pgset
+++ up/StatefulSet pgset
@@ -3,4 +3,4 @@
   name: pgset
 spec:
   template:
-    memory: 1Gi
+    memory: 2Gi
";
        assert_eq!(diff.diff, expected);
        assert!(ObjectDiff::new(&set_object, &Change::Unchanged, Some(&set("1Gi", 1)), &set("1Gi", 1)).is_none());
    }

    #[test]
    fn no_secret_is_shown() {
        let secret = json!({"kind": "Secret", "stringData": {"superuser": "hunter2"}});
        let diff = ObjectDiff::new(&object(ObjectKind::Secret, "p"), &Change::Created, None, &secret).unwrap();
        assert!(!format!("{diff:?}").contains("hunter2"));
        let conf = |password: &str| {
            json!({"data": {"postgresql.conf": format!("work_mem = '4MB'\next.password = '{password}'\n"),
                "start.sh": "password=$(cat /pgset/passwords/user)\n"}})
        };
        let change = Change::Configured(vec![".data".to_owned()]);
        let config = object(ObjectKind::ConfigMap, "pgset-config");
        let diff = ObjectDiff::new(&config, &change, Some(&conf("hunter2")), &conf("hunter3")).unwrap().diff;
        assert!(!diff.contains("hunter") && diff.contains("-    ext.password = '***'"), "{diff}");
        assert!(without_secrets("password=$(cat x)").contains("cat x"), "scripts are no settings");
    }

    #[test]
    fn the_steps_are_in_ups_order_and_name_the_primarys_turn() {
        let diff = |kind: ObjectKind, change: Change| {
            ObjectDiff::new(&object(kind, "pgset"), &change, Some(&json!({"a": 1})), &json!({"a": 2})).unwrap()
        };
        let rolling: Vec<String> = ["pgset-2", "pgset-1", "pgset-0"].map(str::to_owned).to_vec();
        let changed = Change::Configured(vec![".spec.template.spec".to_owned()]);
        let objects = [diff(ObjectKind::Service, Change::Created), diff(ObjectKind::StatefulSet, changed)];
        assert_eq!(
            steps(&objects, &[], &rolling, "pgset-0", None),
            [
                "create Service pgset",
                "change StatefulSet pgset",
                "restart pgset-2, then pgset-1, then pgset-0 (the primary), each ready before the next",
            ]
        );
        let anew = Change::Recreated(vec![".spec.replicas".to_owned(), ".spec.serviceName".to_owned()]);
        let steps = steps(&[diff(ObjectKind::StatefulSet, anew)], &["enlarge x".to_owned()], &rolling, "pgset-1", None);
        assert!(
            steps[0].contains("while its members run on, after asking (because of .spec.serviceName)"),
            "{steps:?}"
        );
        assert_eq!(steps[1], "enlarge x");
        assert!(steps[2].ends_with("pgset-0, each ready before the next; Kubernetes takes the highest number first, so the primary is not the last"));
    }
}
