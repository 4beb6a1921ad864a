//! Pods that do one thing and end: started, watched to their end, removed.

use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, Pod};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use kube::runtime::watcher::{self, watch_object};
use serde_json::Value;

use super::{ApiFailure, Cluster};

/// How often a pod that is going is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// How long a new namespace may do without its default ServiceAccount, which a controller adds a moment later.
const NEW_NAMESPACE: Duration = Duration::from_secs(10);

/// One-shot pods of one namespace.
pub struct OneShots<'a> {
    pub cluster: &'a Cluster,
    pub namespace: &'a str,
}

/// How one ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    pub succeeded: bool,
    /// Its termination message: what it wrote there, or the end of its log when it failed.
    pub words: String,
}

impl OneShots<'_> {
    pub(super) fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.cluster.client.clone(), self.namespace)
    }

    fn failed(&self, what: &str, name: &str, error: &kube::Error) -> ApiFailure {
        ApiFailure::new(format!("failed to {what} Pod {name} in namespace {}", self.namespace), error)
    }

    /// Creates it.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn start(&self, name: &str, pod: Value) -> Result<(), ApiFailure> {
        let pod: Pod = serde_json::from_value(pod).map_err(|error| ApiFailure {
            what: format!("failed to make Pod {name} in namespace {}", self.namespace),
            code: Some(400),
            reason: String::new(),
            message: error.to_string(),
        })?;
        let last_try = tokio::time::Instant::now() + NEW_NAMESPACE;
        loop {
            match self.pods().create(&PostParams::default(), &pod).await {
                Ok(_) => return Ok(()),
                Err(kube::Error::Api(status))
                    if status.message.contains("serviceaccount \"default\" not found")
                        && tokio::time::Instant::now() < last_try => {}
                Err(error) => return Err(self.failed("create", name, &error)),
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Waits for its end; whoever calls bounds it.
    pub async fn ended(&self, name: &str) -> Ended {
        let mut changes = std::pin::pin!(watch_object(self.pods(), name));
        while let Some(change) = changes.next().await {
            let pod: Result<Option<Pod>, watcher::Error> = change;
            // A broken watch is tried again by itself.
            let Ok(Some(pod)) = pod else { continue };
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            let succeeded = match phase {
                Some("Succeeded") => true,
                Some("Failed") => false,
                _ => continue,
            };
            let words = terminated(&pod).and_then(|ended| ended.message.clone());
            return Ended { succeeded, words: words.unwrap_or_default() };
        }
        Ended { succeeded: false, words: String::new() }
    }

    /// Removes it and waits until it is gone; one that is not there is gone already.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn remove(&self, name: &str, params: &DeleteParams) -> Result<(), ApiFailure> {
        match self.pods().delete(name, params).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
            Err(error) => return Err(self.failed("delete", name, &error)),
        }
        while self.pods().get_metadata_opt(name).await.map_err(|error| self.failed("delete", name, &error))?.is_some() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }
}

/// How the pod's only container ended.
fn terminated(pod: &Pod) -> Option<&ContainerStateTerminated> {
    pod.status.as_ref()?.container_statuses.as_ref()?.first()?.state.as_ref()?.terminated.as_ref()
}
