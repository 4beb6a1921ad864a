//! Deleting a set's objects, each kind only when what uses it is gone.

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, ListParams, PropagationPolicy};

use super::apply::{describe, resource};
use super::{ApiFailure, Cluster};
use crate::manifests::Object;

/// Deletes from one cluster.
pub struct Deleter<'a> {
    pub cluster: &'a Cluster,
}

impl Deleter<'_> {
    /// Asks for the object's deletion; `false` when it is not there.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn delete(&self, object: &Object) -> Result<bool, ApiFailure> {
        self.delete_and(object, PropagationPolicy::Background).await
    }

    /// Asks for the object's deletion alone: what it owns stays, and belongs to nobody from then on.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn delete_alone(&self, object: &Object) -> Result<bool, ApiFailure> {
        self.delete_and(object, PropagationPolicy::Orphan).await
    }

    async fn delete_and(&self, object: &Object, policy: PropagationPolicy) -> Result<bool, ApiFailure> {
        let params = DeleteParams { propagation_policy: Some(policy), ..DeleteParams::default() };
        match self.api(object).delete(&object.name, &params).await {
            Ok(_) => Ok(true),
            Err(error) => match ApiFailure::new(format!("failed to delete {}", describe(object)), &error) {
                failure if failure.is_not_found() => Ok(false),
                failure => Err(failure),
            },
        }
    }

    /// The object's finalizers while it is still there; `None` when it is gone.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn remains(&self, object: &Object) -> Result<Option<Vec<String>>, ApiFailure> {
        let live = self.api(object).get_metadata_opt(&object.name).await;
        let live = live.map_err(|error| ApiFailure::new(format!("failed to read {}", describe(object)), &error))?;
        Ok(live.map(|live| live.metadata.finalizers.unwrap_or_default()))
    }

    /// The pods that mount a claim, which its protection waits for.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn pods_using(&self, namespace: &str, claim: &str) -> Result<Vec<String>, ApiFailure> {
        let pods: Api<Pod> = Api::namespaced(self.cluster.client.clone(), namespace);
        let what = || format!("failed to list pods in namespace {namespace}");
        let pods = pods.list(&ListParams::default()).await.map_err(|error| ApiFailure::new(what(), &error))?;
        let uses = |pod: &Pod| {
            let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_ref());
            let claims = volumes.into_iter().flatten().filter_map(|volume| volume.persistent_volume_claim.as_ref());
            claims.into_iter().any(|source| source.claim_name == claim)
        };
        Ok(pods.items.into_iter().filter(uses).filter_map(|pod| pod.metadata.name).collect())
    }

    fn api(&self, object: &Object) -> Api<DynamicObject> {
        let client = self.cluster.client.clone();
        match &object.namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, &resource(object.kind)),
            None => Api::all_with(client, &resource(object.kind)),
        }
    }
}
