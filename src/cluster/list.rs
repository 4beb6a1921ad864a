//! All sets of a namespace, or of all namespaces: one request a kind.

use std::fmt::Debug;

use futures::try_join;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::ListParams;
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

use super::{ApiFailure, Cluster};
use crate::set::listing::Listed;
use crate::set::plan::MANAGED_BY;

/// Lists what belongs to sets; `None` is all namespaces.
///
/// # Errors
/// The API server refuses one of the kinds or does not answer.
pub async fn list(cluster: &Cluster, namespace: Option<&str>) -> Result<Listed, ApiFailure> {
    let (stateful_sets, pods, claims, endpoint_slices) = try_join!(
        of_sets::<StatefulSet>(cluster, namespace),
        of_sets::<Pod>(cluster, namespace),
        of_sets::<PersistentVolumeClaim>(cluster, namespace),
        of_sets::<EndpointSlice>(cluster, namespace),
    )?;
    Ok(Listed { stateful_sets, pods, claims, endpoint_slices })
}

async fn of_sets<K>(cluster: &Cluster, namespace: Option<&str>) -> Result<Vec<K>, ApiFailure>
where
    K: Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    K::DynamicType: Default,
{
    let client = cluster.client.clone();
    let api: Api<K> = match namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    };
    let ours = ListParams::default().labels(&format!("{}={}", MANAGED_BY.0, MANAGED_BY.1));
    let listed = api.list(&ours).await.map_err(|error| {
        let kind = K::plural(&K::DynamicType::default()).into_owned();
        let place = namespace.map_or_else(|| "of all namespaces".to_owned(), |name| format!("in namespace {name}"));
        ApiFailure::new(format!("failed to list {kind} {place}"), &error)
    })?;
    Ok(listed.items)
}
