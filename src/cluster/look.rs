//! One look at a set, without watching it.

use std::collections::BTreeSet;

use futures::{TryFutureExt, try_join};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Event, PersistentVolume, PersistentVolumeClaim, Pod, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::ListParams;
use kube::{Api, ResourceExt};

use super::watch::concerns;
use super::{ApiFailure, Cluster};
use crate::set::Observation;
use crate::set::observation::happened;
use crate::set::plan::MANAGED_BY;

/// Everything the API server knows of the set but its events, asked in one go.
///
/// # Errors
/// The API server refuses one of the kinds or does not answer.
pub async fn look(cluster: &Cluster, namespace: &str, name: &str) -> Result<Observation, ApiFailure> {
    let app = ListParams::default().labels(&format!("app={name}"));
    let services = format!("kubernetes.io/service-name in ({name}-master,{name}-replica)");
    let failed = |kind: &'static str| {
        move |error: kube::Error| ApiFailure::new(format!("failed to list {kind} in namespace {namespace}"), &error)
    };
    let client = || cluster.client.clone();
    let sets: Api<StatefulSet> = Api::namespaced(client(), namespace);
    let pods: Api<Pod> = Api::namespaced(client(), namespace);
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client(), namespace);
    let slices: Api<EndpointSlice> = Api::namespaced(client(), namespace);
    let of_services = ListParams::default().labels(&services);
    let (stateful_set, pods, claims, slices) = try_join!(
        sets.get_opt(name).map_err(failed("statefulsets")),
        pods.list(&app).map_err(failed("pods")),
        claims.list(&app).map_err(failed("persistentvolumeclaims")),
        slices.list(&of_services).map_err(failed("endpointslices")),
    )?;
    Ok(Observation {
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        stateful_set,
        pods: pods.items,
        claims: claims.items,
        endpoint_slices: slices.items,
        at: Some(Timestamp::now()),
        ..Observation::default()
    })
}

/// The set's StatefulSet alone; `None` when there is none.
///
/// # Errors
/// The API server refuses or does not answer.
pub async fn live_set(cluster: &Cluster, namespace: &str, name: &str) -> Result<Option<StatefulSet>, ApiFailure> {
    let sets: Api<StatefulSet> = Api::namespaced(cluster.client.clone(), namespace);
    let what = || format!("failed to read StatefulSet {name} in namespace {namespace}");
    sets.get_opt(name).await.map_err(|error| ApiFailure::new(what(), &error))
}

/// What happened to the set and its members, oldest first: needed only when something is wrong. Events explain, but
/// nothing rests on them, so a user who may not read them simply gets none.
pub async fn look_at_events(cluster: &Cluster, namespace: &str, name: &str) -> Vec<Event> {
    let events: Api<Event> = Api::namespaced(cluster.client.clone(), namespace);
    let listed = events.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default();
    let mut events: Vec<Event> = listed.into_iter().filter(|event| concerns(name, event)).collect();
    events.sort_by_key(happened);
    events
}

/// Every volume and StorageClass, for a claim that does not bind; `None` for what the user may not list.
pub async fn look_at_volumes(cluster: &Cluster) -> (Option<Vec<PersistentVolume>>, Option<Vec<StorageClass>>) {
    let volumes: Api<PersistentVolume> = Api::all(cluster.client.clone());
    let classes: Api<StorageClass> = Api::all(cluster.client.clone());
    let all = ListParams::default();
    let (volumes, classes) = futures::join!(volumes.list(&all), classes.list(&all));
    (volumes.ok().map(|list| list.items), classes.ok().map(|list| list.items))
}

/// The set's Services; `None` where the user may not list them.
pub async fn look_at_services(cluster: &Cluster, namespace: &str, name: &str) -> Option<Vec<Service>> {
    let services: Api<Service> = Api::namespaced(cluster.client.clone(), namespace);
    let ours = ListParams::default().labels(&format!("app={name}"));
    services.list(&ours).await.ok().map(|list| list.items)
}

/// The keys of a ConfigMap or Secret, and nothing else of it; `None` when there is none.
///
/// # Errors
/// The API server refuses or does not answer.
pub async fn keys_of(
    cluster: &Cluster,
    namespace: &str,
    kind: &str,
    name: &str,
) -> Result<Option<BTreeSet<String>>, ApiFailure> {
    let what = || format!("failed to read {kind} {name} in namespace {namespace}");
    let failed = |error: kube::Error| ApiFailure::new(what(), &error);
    if kind == "Secret" {
        let secrets: Api<Secret> = Api::namespaced(cluster.client.clone(), namespace);
        let secret = secrets.get_opt(name).await.map_err(failed)?;
        return Ok(secret.map(|secret| secret.data.into_iter().flatten().map(|(key, _)| key).collect()));
    }
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), namespace);
    let map = maps.get_opt(name).await.map_err(failed)?;
    Ok(map.map(|map| {
        let texts = map.data.into_iter().flatten().map(|(key, _)| key);
        texts.chain(map.binary_data.into_iter().flatten().map(|(key, _)| key)).collect()
    }))
}

/// The namespaces in which a set of this name lives, as far as the user may see.
pub async fn sets_named(cluster: &Cluster, name: &str) -> Vec<String> {
    let sets: Api<StatefulSet> = Api::all(cluster.client.clone());
    let ours = ListParams::default()
        .labels(&format!("{}={}", MANAGED_BY.0, MANAGED_BY.1))
        .fields(&format!("metadata.name={name}"));
    // A user without the right to list everywhere simply gets no such hint.
    let found = sets.list_metadata(&ours).await.map(|list| list.items).unwrap_or_default();
    found.iter().filter_map(ResourceExt::namespace).collect()
}
