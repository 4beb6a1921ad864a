//! Names for completion: what there is, and nothing about it.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::Api;
use kube::api::ListParams;
use kube::core::PartialObjectMeta;

use super::{ApiFailure, Cluster};
use crate::set::plan::MANAGED_BY;

/// Every namespace.
///
/// # Errors
/// The API server refuses or does not answer.
pub async fn namespaces(cluster: &Cluster) -> Result<Vec<String>, ApiFailure> {
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    let listed = namespaces.list_metadata(&ListParams::default()).await;
    listed.map(|list| names(&list.items)).map_err(|error| ApiFailure::new("failed to list namespaces", &error))
}

/// The sets in a namespace.
///
/// # Errors
/// The API server refuses or does not answer.
pub async fn sets_in(cluster: &Cluster, namespace: &str) -> Result<Vec<String>, ApiFailure> {
    let sets: Api<StatefulSet> = Api::namespaced(cluster.client.clone(), namespace);
    let ours = ListParams::default().labels(&format!("{}={}", MANAGED_BY.0, MANAGED_BY.1));
    let what = || format!("failed to list statefulsets in namespace {namespace}");
    let listed = sets.list_metadata(&ours).await;
    listed.map(|list| names(&list.items)).map_err(|error| ApiFailure::new(what(), &error))
}

/// The pods of a set.
///
/// # Errors
/// The API server refuses or does not answer.
pub async fn members_of(cluster: &Cluster, namespace: &str, set: &str) -> Result<Vec<String>, ApiFailure> {
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
    let what = || format!("failed to list pods in namespace {namespace}");
    let listed = pods.list_metadata(&ListParams::default().labels(&format!("app={set}"))).await;
    listed.map(|list| names(&list.items)).map_err(|error| ApiFailure::new(what(), &error))
}

fn names<K>(objects: &[PartialObjectMeta<K>]) -> Vec<String> {
    objects.iter().filter_map(|object| object.metadata.name.clone()).collect()
}
