//! Which members a Service leads to, kept current.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::watcher;
use kube::{Api, ResourceExt};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::watch::{failure, watching};
use super::{ApiFailure, Cluster};
use crate::set::Observation;

/// The members behind one Service.
pub struct Leads {
    known: watch::Receiver<Known>,
    watching: JoinHandle<()>,
}

#[derive(Clone, Default)]
struct Known {
    /// `None` until they have been listed once.
    members: Option<Vec<String>>,
    refused: Option<Arc<ApiFailure>>,
    /// Why nothing new is known since they have been listed.
    trouble: Option<String>,
}

impl Leads {
    /// Starts watching a Service's endpoints.
    #[must_use]
    pub fn start(cluster: &Cluster, namespace: &str, service: &str) -> Self {
        let slices: Api<EndpointSlice> = Api::namespaced(cluster.client.clone(), namespace);
        let config = watcher::Config::default().labels(&format!("kubernetes.io/service-name={service}"));
        let what = format!("failed to watch the endpoints of Service {service} in namespace {namespace}");
        let service = service.to_owned();
        let (tell, known) = watch::channel(Known::default());
        let watching = tokio::spawn(async move {
            let mut stream = std::pin::pin!(watching(slices, config));
            let mut slices = BTreeMap::new();
            let mut incoming = BTreeMap::new();
            while let Some(event) = stream.next().await {
                match event {
                    Ok(watcher::Event::Init) => {
                        incoming.clear();
                        continue;
                    }
                    Ok(watcher::Event::InitApply(slice)) => {
                        incoming.insert(slice.name_any(), slice);
                        continue;
                    }
                    Ok(watcher::Event::InitDone) => slices = std::mem::take(&mut incoming),
                    Ok(watcher::Event::Apply(slice)) => {
                        slices.insert(slice.name_any(), slice);
                    }
                    Ok(watcher::Event::Delete(slice)) => {
                        slices.remove(&slice.name_any());
                    }
                    Err(error) => {
                        // What was known last still holds while the API server is away; before that, somebody waits.
                        if let Some(failure) = failure(error, &what) {
                            tell.send_modify(|known| match known.members {
                                None => known.refused = Some(Arc::new(failure)),
                                Some(_) => known.trouble = Some(failure.message),
                            });
                        }
                        continue;
                    }
                }
                let seen =
                    Observation { endpoint_slices: slices.values().cloned().collect(), ..Observation::default() };
                let members: Vec<String> = seen.endpoints(&service).into_iter().map(str::to_owned).collect();
                tell.send_if_modified(|known| {
                    let changed = known.members.as_ref() != Some(&members) || known.trouble.is_some();
                    *known = Known { members: Some(members), ..Known::default() };
                    changed
                });
            }
        });
        Self { known, watching }
    }

    /// Waits until the endpoints have been listed once, and says them.
    ///
    /// # Errors
    /// The API server refuses to say them, or does not answer.
    pub async fn listed(&self) -> Result<Vec<String>, ApiFailure> {
        let mut known = self.known.clone();
        let known = known.wait_for(|known| known.members.is_some() || known.refused.is_some()).await;
        let ended = || ApiFailure::interrupted("failed to watch the Service's endpoints");
        let Known { members, refused, trouble: _ } = known.map_err(|_| ended())?.clone();
        members.ok_or_else(|| refused.map_or_else(ended, |failure| ApiFailure::clone(&failure)))
    }

    /// The members it leads to now, as far as is known.
    #[must_use]
    pub fn now(&self) -> Vec<String> {
        self.known.borrow().members.clone().unwrap_or_default()
    }

    /// Waits until it is otherwise than `before` whether anything new is seen, and says why nothing is; `None` when it is.
    pub async fn trouble_other_than(&self, before: bool) -> Option<String> {
        let mut known = self.known.clone();
        let other = known.wait_for(|known| known.trouble.is_some() != before).await;
        match other.map(|known| known.trouble.clone()).ok() {
            Some(trouble) => trouble,
            // The watch ends only with the command.
            None => std::future::pending().await,
        }
    }

    /// Waits for the next change after `seen`, and says who it leads to then.
    pub async fn other_than(&self, seen: &[String]) -> Vec<String> {
        let mut known = self.known.clone();
        let other = |known: &Known| known.members.as_ref().is_some_and(|members| members != seen);
        let found = known.wait_for(other).await.map(|known| known.members.clone().unwrap_or_default()).ok();
        match found {
            Some(members) => members,
            // The watch ends only with the command.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Leads {
    fn drop(&mut self) {
        self.watching.abort();
    }
}
