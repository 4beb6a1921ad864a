//! What applying an object would do: create, change or leave it, or meet somebody else's.

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use serde::Serialize;
use serde_json::Value;

use crate::manifests::{Names, Object, ObjectKind};
use crate::settings::Quantity;

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
    /// A StatefulSet whose fields that never change differ: deleted without its pods, and created again. With the JSON paths
    /// that differ; none when it is being deleted already.
    Recreated(Vec<String>),
    Unchanged,
}

impl Change {
    /// The JSON paths that differ.
    #[must_use]
    pub fn paths(&self) -> &[String] {
        match self {
            Self::Configured(paths) | Self::Recreated(paths) => paths,
            Self::Created | Self::Unchanged => &[],
        }
    }

    /// When the change of an object of this kind takes effect.
    #[must_use]
    pub fn effect(&self, kind: ObjectKind) -> Effect {
        match self {
            Self::Unchanged => Effect::None,
            Self::Recreated(_) => Effect::Recreate,
            Self::Configured(paths)
                if kind == ObjectKind::StatefulSet && paths.iter().any(|path| of_template(path)) =>
            {
                Effect::Rolling
            }
            Self::Created | Self::Configured(_) => Effect::Live,
        }
    }
}

/// When a change takes effect, and at what price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Effect {
    None,
    /// At once; no member is touched.
    Live,
    /// Member after member is restarted.
    Rolling,
    /// The object is deleted and created again; members run on.
    Recreate,
}

fn of_template(path: &str) -> bool {
    path.starts_with(".spec.template")
}

/// The fields of a StatefulSet that Kubernetes lets nobody change.
const IMMUTABLE: [&str; 3] = [".spec.serviceName", ".spec.podManagementPolicy", ".spec.volumeClaimTemplates"];

/// Whether this JSON path of a StatefulSet is one of a field that Kubernetes lets nobody change.
#[must_use]
pub fn never_changes(path: &str) -> bool {
    IMMUTABLE.iter().any(|field| path.starts_with(field))
}

/// What creating the StatefulSet anew would change, when that is the way out of a refused change; `made` is what a dry run
/// of creating it answered. `None` when it is not: nothing that never changes differs, or the selector does, and a new
/// StatefulSet would not own the running pods.
#[must_use]
pub fn recreated(live: &Value, made: &Value) -> Option<(Change, Value)> {
    let mut wanted = live.clone();
    wanted["spec"] = made["spec"].clone();
    for key in ["labels", "annotations"] {
        let metadata = &made["metadata"][key];
        if metadata.is_null() {
            wanted["metadata"].as_object_mut()?.remove(key);
        } else {
            wanted["metadata"][key] = metadata.clone();
        }
    }
    let Change::Configured(paths) = change(Some(live), &wanted) else { return None };
    let selector = paths.iter().any(|path| path.starts_with(".spec.selector"));
    let never = paths.iter().any(|path| never_changes(path));
    (never && !selector).then_some((Change::Recreated(paths), wanted))
}

/// The flags with which the members' claims would stay as the live StatefulSet has them, where `wanted` has others.
#[must_use]
pub fn claim_flags(live: &Value, wanted: &Value) -> Vec<String> {
    let template = |set: &Value| set["spec"]["volumeClaimTemplates"][0]["spec"].clone();
    let (live, wanted) = (template(live), template(wanted));
    let (size, class) = ("/resources/requests/storage", "/storageClassName");
    let differing = [("--size", size), ("--storage-class", class)].into_iter().filter_map(|(flag, pointer)| {
        let old = live.pointer(pointer)?.as_str().filter(|old| !old.is_empty())?;
        (wanted.pointer(pointer)?.as_str() != Some(old)).then(|| format!("{flag} {old}"))
    });
    differing.collect()
}

/// The members that a change of the pod template restarts, in the order of Kubernetes: the highest number first, each
/// ready before the next.
#[must_use]
pub fn rolling_order(set: &str, live: &Value) -> Vec<String> {
    let replicas = live["spec"]["replicas"].as_u64().unwrap_or(0);
    let first = live["spec"]["updateStrategy"]["rollingUpdate"]["partition"].as_u64().unwrap_or(0);
    (first..replicas).rev().map(|ordinal| format!("{set}-{ordinal}")).collect()
}

/// A member's claim that asks for less than the settings do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmallClaim {
    pub name: String,
    pub size: String,
    /// Empty when no class made its volume.
    pub class: String,
}

/// The members' claims that are smaller than `size`: a StatefulSet never changes claims that exist.
#[must_use]
pub fn small_claims(names: &Names, claims: &[PersistentVolumeClaim], size: &Quantity) -> Vec<SmallClaim> {
    let small = |claim: &PersistentVolumeClaim| {
        let name = claim.metadata.name.clone()?;
        let digits = name.strip_prefix(names.claim_template())?.strip_prefix('-')?.strip_prefix(names.set())?;
        digits.strip_prefix('-')?.parse::<u8>().ok()?;
        let spec = claim.spec.as_ref()?;
        let asked: Quantity = spec.resources.as_ref()?.requests.as_ref()?.get("storage")?.0.parse().ok()?;
        let class = spec.storage_class_name.clone().unwrap_or_default();
        (asked.bytes() < size.bytes()).then(|| SmallClaim { name, size: asked.to_string(), class })
    };
    claims.iter().filter_map(small).collect()
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
    // It keeps the status of nearly everything, and owns nothing of it.
    if managers.len() > 1 {
        managers.retain(|manager| *manager != "kube-controller-manager");
    }
    Some(if managers.is_empty() {
        "somebody else".to_owned()
    } else {
        format!("field manager {}", managers.join(", "))
    })
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

/// The StatefulSet's manifest with the replicas somebody scaled the live one to: `up` never undoes a scale. A stopped set
/// is another matter: `up` starts it.
pub fn keep_replicas(object: &mut Object, live: &Value) {
    if let Some(replicas) = live["spec"]["replicas"].as_i64().filter(|replicas| *replicas > 0) {
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
        let bound = json!({"metadata": {"managedFields": [{"manager": "kube-controller-manager"}, {"manager": "a"}]}});
        assert_eq!(foreign_owner("pgset", &bound).unwrap(), "field manager a");
        let owned = json!({"metadata": {"ownerReferences": [{"kind": "Cluster", "name": "db"}]}});
        assert_eq!(foreign_owner("pgset", &owned).unwrap(), "Cluster db");
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
        keep_replicas(&mut object, &json!({"spec": {"replicas": 0}}));
        assert_eq!(object.body["spec"]["replicas"], 5, "a stopped set is started");
    }

    #[test]
    fn a_change_of_the_pod_template_rolls_and_everything_else_is_live() {
        let configured = |path: &str| Change::Configured(vec![path.to_owned()]);
        let rolling = configured(".spec.template.spec.containers[0].image");
        assert_eq!(rolling.effect(ObjectKind::StatefulSet), Effect::Rolling);
        assert_eq!(configured(".spec.replicas").effect(ObjectKind::StatefulSet), Effect::Live);
        assert_eq!(configured(".data").effect(ObjectKind::ConfigMap), Effect::Live);
        assert_eq!(Change::Unchanged.effect(ObjectKind::Service), Effect::None);
        assert_eq!(Change::Recreated(Vec::new()).effect(ObjectKind::StatefulSet), Effect::Recreate);
    }

    #[test]
    fn a_refused_change_is_a_recreation_only_where_that_helps() {
        let set = |size: &str, app: &str, replicas: u8| {
            json!({"metadata": {"name": "pgset", "uid": "1", "labels": {"app": app}}, "status": {"replicas": 2},
                "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": app}},
                    "volumeClaimTemplates": [{"spec": {"resources": {"requests": {"storage": size}}}}]}})
        };
        let live = set("1Gi", "pgset", 2);
        let mut made = set("2Gi", "pgset", 2);
        made["metadata"] = json!({"name": "pgset-x7f2", "labels": {"app": "pgset"}});
        let (change, wanted) = recreated(&live, &made).unwrap();
        let path = ".spec.volumeClaimTemplates[0].spec.resources.requests.storage";
        assert_eq!(change, Change::Recreated(vec![path.to_owned()]));
        assert_eq!((&wanted["metadata"]["name"], &wanted["metadata"]["uid"]), (&"pgset".into(), &"1".into()));
        assert_eq!(claim_flags(&live, &wanted), ["--size 1Gi"]);
        assert_eq!(claim_flags(&live, &live), [] as [&str; 0]);
        assert_eq!(recreated(&live, &set("1Gi", "pgset", 3)), None, "nothing that never changes differs");
        assert_eq!(recreated(&live, &set("2Gi", "other", 2)), None, "the pods would belong to nobody");
    }

    #[test]
    fn kubernetes_rolls_the_highest_member_first() {
        assert_eq!(rolling_order("pgset", &json!({"spec": {"replicas": 3}})), ["pgset-2", "pgset-1", "pgset-0"]);
        let held = json!({"spec": {"replicas": 3, "updateStrategy": {"rollingUpdate": {"partition": 2}}}});
        assert_eq!(rolling_order("pgset", &held), ["pgset-2"]);
    }

    #[test]
    fn only_the_members_own_smaller_claims_grow() {
        let claim = |name: &str, size: &str| -> PersistentVolumeClaim {
            serde_json::from_value(json!({"metadata": {"name": name}, "spec": {"storageClassName": "fast",
                "resources": {"requests": {"storage": size}}}}))
            .unwrap()
        };
        let claims = [
            claim("pgdata-pgset-0", "1Gi"),
            claim("pgdata-pgset-1", "2048Mi"),
            claim("pgdata-pgset-2", "4Gi"),
            claim("pgdata-pgset-x-0", "1Gi"),
            claim("pgset-pvc", "1Gi"),
        ];
        let names = Names::new(&"pgset".parse().unwrap(), &"db".parse().unwrap());
        let small = small_claims(&names, &claims, &"2Gi".parse().unwrap());
        let expected =
            SmallClaim { name: "pgdata-pgset-0".to_owned(), size: "1Gi".to_owned(), class: "fast".to_owned() };
        assert_eq!(small, [expected]);
    }
}
