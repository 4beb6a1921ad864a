//! What is done to single members: labels, logs, scale, one-shot pods.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::Api;
use kube::api::{DeleteParams, LogParams, Patch, PatchParams, Preconditions};
use serde_json::json;

use super::{ApiFailure, Cluster};
use crate::set::promote::POD_NAME;
use crate::set::rollout::Relabel;

/// How many lines of a dead container's log are read: enough for its last words.
const LAST_WORDS: i64 = 20;

/// The same of one that runs: a replica in vain names every host it tried, and does so every second.
const NEWEST_WORDS: i64 = 60;

/// The pods of one namespace.
pub struct Members<'a> {
    pub cluster: &'a Cluster,
    pub namespace: &'a str,
}

impl Members<'_> {
    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.cluster.client.clone(), self.namespace)
    }

    /// Sets the label by which the set's two Services tell primary and replicas apart.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn relabel(&self, relabel: &Relabel) -> Result<(), ApiFailure> {
        let patch = json!({"metadata": {"labels": {"name": relabel.name}}});
        let patched = self.pods().patch_metadata(&relabel.pod, &manager(), &Patch::Merge(&patch)).await;
        let what = || format!("failed to label Pod {} in namespace {}", relabel.pod, self.namespace);
        patched.map(|_| ()).map_err(|error| ApiFailure::new(what(), &error))
    }

    /// Leads a Service that selects a member by its name to this one.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn lead(&self, service: &str, member: &str) -> Result<(), ApiFailure> {
        let services: Api<Service> = Api::namespaced(self.cluster.client.clone(), self.namespace);
        let patch = json!({"spec": {"selector": {POD_NAME: member}}});
        let led = services.patch(service, &manager(), &Patch::Merge(&patch)).await;
        let what = || format!("failed to lead Service {service} in namespace {} to {member}", self.namespace);
        led.map(|_| ()).map_err(|error| ApiFailure::new(what(), &error))
    }

    /// Makes the StatefulSet controller look at the set at once: it does whenever the object changes, and this changes nothing
    /// that anybody heeds.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn hurry(&self, set: &str, now: Timestamp) -> Result<(), ApiFailure> {
        let sets: Api<StatefulSet> = Api::namespaced(self.cluster.client.clone(), self.namespace);
        let patch = json!({"metadata": {"annotations": {"pgset/hurried-at": now.to_string()}}});
        let patched = sets.patch_metadata(set, &manager(), &Patch::Merge(&patch)).await;
        let what = || format!("failed to annotate StatefulSet {set} in namespace {}", self.namespace);
        patched.map(|_| ()).map_err(|error| ApiFailure::new(what(), &error))
    }

    /// The last words of a member's dead container, wherever they are: in the one before, or in the one that has just
    /// ended.
    ///
    /// # Errors
    /// The API server refuses or does not answer, or the node has forgotten the log.
    pub async fn last_words(&self, pod: &str, previous: bool) -> Result<Vec<String>, ApiFailure> {
        self.tail(pod, previous, LAST_WORDS).await
    }

    /// The newest lines of a member's container that runs.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn newest_words(&self, pod: &str) -> Result<Vec<String>, ApiFailure> {
        self.tail(pod, false, NEWEST_WORDS).await
    }

    async fn tail(&self, pod: &str, previous: bool, lines: i64) -> Result<Vec<String>, ApiFailure> {
        let params = LogParams { previous, tail_lines: Some(lines), ..LogParams::default() };
        let what = || format!("failed to read the log of Pod {pod} in namespace {}", self.namespace);
        let log = self.pods().logs(pod, &params).await.map_err(|error| ApiFailure::new(what(), &error))?;
        Ok(log.lines().map(str::to_owned).collect())
    }

    /// Asks this very pod to end, in its own time and never by force: the StatefulSet makes another one. One that has taken
    /// its place meanwhile is not hit, and one that is gone is no failure.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn delete(&self, pod: &Pod) -> Result<(), ApiFailure> {
        let name = pod.metadata.name.clone().unwrap_or_default();
        let preconditions = Preconditions { uid: pod.metadata.uid.clone(), ..Preconditions::default() };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let what = || format!("failed to delete Pod {name} in namespace {}", self.namespace);
        match self.pods().delete(&name, &params).await.map_err(|error| ApiFailure::new(what(), &error)) {
            Ok(_) => Ok(()),
            Err(failure) if failure.is_not_found() || failure.is_conflict() => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// Asks for another number of members.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn scale(&self, name: &str, replicas: u8) -> Result<(), ApiFailure> {
        let sets: Api<StatefulSet> = Api::namespaced(self.cluster.client.clone(), self.namespace);
        let patch = json!({"spec": {"replicas": replicas}});
        let what = || format!("failed to scale StatefulSet {name} in namespace {}", self.namespace);
        let scaled = sets.patch_scale(name, &manager(), &Patch::Merge(&patch)).await;
        scaled.map(|_| ()).map_err(|error| ApiFailure::new(what(), &error))
    }
}

/// Not the manager of what is applied: that one must not come to own what others may change as well.
pub(super) fn manager() -> PatchParams {
    PatchParams { field_manager: Some("pgset-live".to_owned()), ..PatchParams::default() }
}
