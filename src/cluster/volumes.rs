//! The cluster's PersistentVolumes: all of them, and one let go by a claim that is gone.

use k8s_openapi::api::core::v1::PersistentVolume;
use kube::Api;
use kube::api::{ListParams, Patch};
use serde_json::json;

use super::member::manager;
use super::{ApiFailure, Cluster};
use crate::set::volumes::Retake;

/// Every volume of the cluster.
///
/// # Errors
/// The API server refuses or does not answer.
pub async fn all_volumes(cluster: &Cluster) -> Result<Vec<PersistentVolume>, ApiFailure> {
    let volumes: Api<PersistentVolume> = Api::all(cluster.client.clone());
    let listed = volumes.list(&ListParams::default()).await;
    listed.map(|list| list.items).map_err(|error| ApiFailure::new("failed to list persistentvolumes", &error))
}

/// Lets a volume go that is kept for a claim that is gone: the next claim of that name is bound to it. A volume that is no
/// longer as it was seen is left alone.
///
/// # Errors
/// The API server refuses or does not answer, or somebody has changed the volume meanwhile.
pub async fn retake(cluster: &Cluster, retake: &Retake) -> Result<(), ApiFailure> {
    let volumes: Api<PersistentVolume> = Api::all(cluster.client.clone());
    let failed =
        |error: &kube::Error| ApiFailure::new(format!("failed to take back PersistentVolume {}", retake.volume), error);
    let live = volumes.get(&retake.volume).await.map_err(|error| failed(&error))?;
    let held_by = live.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()?.uid.as_deref());
    if held_by != Some(retake.uid.as_str()) {
        return Ok(());
    }
    // With its version: whoever binds it in this moment wins.
    let patch = json!({
        "metadata": {"resourceVersion": live.metadata.resource_version},
        "spec": {"claimRef": {"uid": null, "resourceVersion": null}},
    });
    let patched = volumes.patch(&retake.volume, &manager(), &Patch::Merge(&patch)).await;
    patched.map(|_| ()).map_err(|error| failed(&error))
}
