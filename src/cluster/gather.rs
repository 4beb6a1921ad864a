//! Everything of a set as the API server has it, for a support bundle. It leaves here as it is: what must not be sent is
//! taken out by whoever packs it.

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, LogParams};
use serde_json::{Value, json};

use super::{ApiFailure, Cluster};

/// More of a log is no help to anybody.
const LINES: i64 = 10_000;
const BYTES: i64 = 4 << 20;

/// A kind of objects that belong in a bundle.
pub struct Gathered {
    pub kind: &'static str,
    /// `Err`: why there are none.
    pub objects: Result<Vec<Value>, ApiFailure>,
}

/// Which of a kind's objects belong to the set.
enum Which {
    /// Those with the set's `app` label.
    OfSet,
    /// All of the namespace.
    Namespace,
    /// All of the cluster: what the set stands on.
    Cluster,
}

const KINDS: [(&str, &str, &str, Which); 16] = [
    ("apps", "v1", "StatefulSet", Which::OfSet),
    ("", "v1", "Pod", Which::OfSet),
    ("", "v1", "Service", Which::OfSet),
    ("", "v1", "PersistentVolumeClaim", Which::OfSet),
    ("", "v1", "ConfigMap", Which::OfSet),
    ("", "v1", "Secret", Which::OfSet),
    ("", "v1", "ServiceAccount", Which::OfSet),
    ("policy", "v1", "PodDisruptionBudget", Which::OfSet),
    ("discovery.k8s.io", "v1", "EndpointSlice", Which::Namespace),
    ("", "v1", "Event", Which::Namespace),
    ("", "v1", "ResourceQuota", Which::Namespace),
    ("", "v1", "LimitRange", Which::Namespace),
    ("networking.k8s.io", "v1", "NetworkPolicy", Which::Namespace),
    ("", "v1", "Node", Which::Cluster),
    ("", "v1", "PersistentVolume", Which::Cluster),
    ("storage.k8s.io", "v1", "StorageClass", Which::Cluster),
];

/// Lists every kind at the same time.
pub async fn gather(cluster: &Cluster, namespace: &str, set: &str) -> Vec<Gathered> {
    futures::future::join_all(KINDS.iter().map(|(group, version, kind, which)| async move {
        Gathered {
            kind,
            objects: list(cluster, namespace, set, &GroupVersionKind::gvk(group, version, kind), which).await,
        }
    }))
    .await
}

async fn list(
    cluster: &Cluster,
    namespace: &str,
    set: &str,
    kind: &GroupVersionKind,
    which: &Which,
) -> Result<Vec<Value>, ApiFailure> {
    let resource = ApiResource::from_gvk(kind);
    let client = cluster.client.clone();
    let (api, params): (Api<DynamicObject>, ListParams) = match which {
        Which::OfSet => {
            let of_set = ListParams::default().labels(&format!("app={set}"));
            (Api::namespaced_with(client, namespace, &resource), of_set)
        }
        Which::Namespace => (Api::namespaced_with(client, namespace, &resource), ListParams::default()),
        Which::Cluster => (Api::all_with(client, &resource), ListParams::default().limit(500)),
    };
    let listed = api.list(&params).await;
    let what = || format!("failed to list {}", resource.plural);
    listed
        .map(|list| list.items.iter().map(|object| json!(object)).collect())
        .map_err(|error| ApiFailure::new(what(), &error))
}

/// The end of a member's log, or of its container before the last restart.
///
/// # Errors
/// The API server refuses or does not answer, or the node has no such log.
pub async fn whole_log(cluster: &Cluster, namespace: &str, pod: &str, previous: bool) -> Result<String, ApiFailure> {
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
    let params = LogParams {
        previous,
        timestamps: true,
        tail_lines: Some(LINES),
        limit_bytes: Some(BYTES),
        ..LogParams::default()
    };
    let what = || format!("failed to read the log of Pod {pod} in namespace {namespace}");
    pods.logs(pod, &params).await.map_err(|error| ApiFailure::new(what(), &error))
}
