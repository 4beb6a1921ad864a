//! What applying an object would do: create, change or leave it, or meet somebody else's.

use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

use crate::manifests::Object;

/// The label by which pgset knows its own objects, and its value.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "pgset");

/// The label that says which set an object belongs to.
pub const INSTANCE: &str = "app.kubernetes.io/instance";

/// What applying one object does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Created,
    /// With the JSON paths that differ.
    Configured(Vec<String>),
    Unchanged,
}

/// Whose an existing object is when it is not this set's, in words for a message.
///
/// An object is this set's when it carries both of pgset's labels.
#[must_use]
pub fn foreign_owner(set: &str, live: &Value) -> Option<String> {
    let metadata = &live["metadata"];
    let label = |name: &str| metadata["labels"][name].as_str();
    if label(MANAGED_BY.0) == Some(MANAGED_BY.1) {
        let instance = label(INSTANCE).unwrap_or("no set");
        return (instance != set).then(|| format!("set {instance} of pgset"));
    }
    if let Some(release) = metadata["annotations"]["meta.helm.sh/release-name"].as_str() {
        return Some(format!("Helm release {release}"));
    }
    if let Some(owner) = metadata["ownerReferences"].get(0) {
        let text = |key: &str| owner[key].as_str().unwrap_or("?").to_owned();
        return Some(format!("{} {}", text("kind"), text("name")));
    }
    if let Some(manager) = label(MANAGED_BY.0) {
        return Some(manager.to_owned());
    }
    let managers = metadata["managedFields"].as_array().into_iter().flatten();
    let mut managers: Vec<&str> = managers.filter_map(|entry| entry["manager"].as_str()).collect();
    managers.sort_unstable();
    managers.dedup();
    Some(if managers.is_empty() {
        "somebody else".to_owned()
    } else {
        format!("field manager {}", managers.join(", "))
    })
}

/// Whose folders a static volume leads to besides our own: those of the set of the same name in another namespace, when
/// `other` is a volume of it on the same NFS export or host path. Member names would be the same there, and nothing keeps
/// two PostgreSQL servers out of one data folder.
#[must_use]
pub fn shares_folders(ours: &Value, other: &Value) -> Option<String> {
    let source = |volume: &Value| {
        let spec = &volume["spec"];
        let nfs = spec["nfs"].is_object().then(|| (spec["nfs"]["server"].clone(), spec["nfs"]["path"].clone()));
        nfs.or_else(|| spec["hostPath"].is_object().then(|| (Value::Null, spec["hostPath"]["path"].clone())))
    };
    let label = |volume: &Value, name: &str| volume["metadata"]["labels"][name].clone();
    let namespace = other["spec"]["claimRef"]["namespace"].as_str()?;
    let elsewhere = ours["spec"]["claimRef"]["namespace"].as_str() != Some(namespace);
    let same = [MANAGED_BY.0, INSTANCE].iter().all(|name| label(ours, name) == label(other, name));
    (elsewhere && same && source(ours)? == source(other)?).then(|| namespace.to_owned())
}

/// Compares an object as it is with what a server-side dry run of applying it answered.
#[must_use]
pub fn change(live: Option<&Value>, dry_run: &Value) -> Change {
    let Some(live) = live else { return Change::Created };
    let mut paths = Vec::new();
    differences("", live, dry_run, &mut paths);
    if paths.is_empty() { Change::Unchanged } else { Change::Configured(paths) }
}

/// What the API server itself keeps about an object, and writes at every change or even at none.
const BOOKKEEPING: [&str; 3] = [".metadata.managedFields", ".metadata.resourceVersion", ".metadata.generation"];

fn differences(path: &str, live: &Value, wanted: &Value, paths: &mut Vec<String>) {
    if BOOKKEEPING.contains(&path) || path == ".status" {
        return;
    }
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => {
            let mut keys: Vec<&String> = live.keys().chain(wanted.keys()).collect();
            keys.sort_unstable();
            keys.dedup();
            for key in keys {
                let (old, new) = (live.get(key).unwrap_or(&Value::Null), wanted.get(key).unwrap_or(&Value::Null));
                differences(&format!("{path}.{key}"), old, new, paths);
            }
        }
        (Value::Array(live), Value::Array(wanted)) if live.len() == wanted.len() => {
            for (index, (old, new)) in live.iter().zip(wanted).enumerate() {
                differences(&format!("{path}[{index}]"), old, new, paths);
            }
        }
        _ if live == wanted => {}
        _ => paths.push(path.to_owned()),
    }
}

/// The StatefulSet's manifest with the replicas somebody scaled the live one to: `up` never undoes a scale.
pub fn keep_replicas(object: &mut Object, live: &Value) {
    if let Some(replicas) = live["spec"]["replicas"].as_i64() {
        object.body["spec"]["replicas"] = replicas.into();
    }
}

/// Whether a pod carries the label that sends writes to it: the primary, as far as it was ever known.
#[must_use]
pub fn is_marked_primary(set: &str, pod: &Pod) -> bool {
    let labels = pod.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get("name")).is_some_and(|name| *name == format!("{set}-master"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_absent_object_is_created_and_an_equal_one_unchanged() {
        let object = json!({"metadata": {"resourceVersion": "1", "managedFields": [1]}, "spec": {"replicas": 2}});
        let again = json!({"metadata": {"resourceVersion": "1", "managedFields": [2]}, "spec": {"replicas": 2}});
        assert_eq!(change(None, &object), Change::Created);
        assert_eq!(change(Some(&object), &again), Change::Unchanged);
    }

    #[test]
    fn differences_are_named_by_path() {
        let live = json!({"spec": {"ports": [{"port": 5432}], "type": "ClusterIP"}});
        let wanted = json!({"spec": {"ports": [{"port": 5433}], "selector": {"a": "b"}, "type": "ClusterIP"}});
        let paths = vec![".spec.ports[0].port".to_owned(), ".spec.selector".to_owned()];
        assert_eq!(change(Some(&live), &wanted), Change::Configured(paths));
    }

    #[test]
    fn owners_are_named() {
        let ours = json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "pgset", "app.kubernetes.io/instance": "pgset"}}});
        assert_eq!(foreign_owner("pgset", &ours), None);
        assert_eq!(foreign_owner("other", &ours).unwrap(), "set pgset of pgset");
        let helm = json!({"metadata": {"annotations": {"meta.helm.sh/release-name": "shop"},
            "labels": {"app.kubernetes.io/managed-by": "Helm"}}});
        assert_eq!(foreign_owner("pgset", &helm).unwrap(), "Helm release shop");
        let kubectl = json!({"metadata": {"managedFields": [{"manager": "kubectl-create"}]}});
        assert_eq!(foreign_owner("pgset", &kubectl).unwrap(), "field manager kubectl-create");
        let owned = json!({"metadata": {"ownerReferences": [{"kind": "Cluster", "name": "db"}]}});
        assert_eq!(foreign_owner("pgset", &owned).unwrap(), "Cluster db");
    }

    #[test]
    fn only_the_same_set_in_another_namespace_shares_folders() {
        let volume = |set: &str, namespace: &str, source: Value| {
            let mut volume = json!({"metadata": {"labels": {MANAGED_BY.0: MANAGED_BY.1, INSTANCE: set}},
                "spec": {"claimRef": {"namespace": namespace}}});
            volume["spec"].as_object_mut().unwrap().extend(source.as_object().unwrap().clone());
            volume
        };
        let folder = |path: &str| json!({"hostPath": {"type": "Directory", "path": path}});
        let export = |server: &str| json!({"nfs": {"server": server, "path": "/srv"}});
        let ours = volume("pgset", "a", folder("/srv"));
        assert_eq!(shares_folders(&ours, &volume("pgset", "b", folder("/srv"))).unwrap(), "b");
        for other in [
            volume("pgset", "a", folder("/srv")),
            volume("orders", "b", folder("/srv")),
            volume("pgset", "b", folder("/srv2")),
            volume("pgset", "b", export("10.0.0.1")),
            json!({"spec": {"csi": {}}}),
        ] {
            assert_eq!(shares_folders(&ours, &other), None, "{other}");
        }
        let ours = volume("pgset", "a", export("10.0.0.1"));
        assert_eq!(shares_folders(&ours, &volume("pgset", "b", export("10.0.0.1"))).unwrap(), "b");
        assert_eq!(shares_folders(&ours, &volume("pgset", "b", export("10.0.0.2"))), None);
    }

    #[test]
    fn a_scaled_set_keeps_its_replicas() {
        let mut object = Object {
            kind: crate::manifests::ObjectKind::StatefulSet,
            namespace: None,
            name: "pgset".to_owned(),
            body: json!({"spec": {"replicas": 2}}),
        };
        keep_replicas(&mut object, &json!({"spec": {"replicas": 5}}));
        assert_eq!(object.body["spec"]["replicas"], 5);
    }
}
