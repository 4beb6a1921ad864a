//! The objects of a trial: made, looked at, and removed on any end.

use std::time::Duration;

use futures::{TryFutureExt, try_join};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, Node, PersistentVolume, PersistentVolumeClaim, Pod};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::oneshot::OneShots;
use super::{ApiFailure, Cluster, all_nodes};
use crate::set::Observation;
use crate::set::observation::happened;
use crate::set::plan::INSTANCE;
use crate::set::trial::Trial;
use crate::set::volumes::TRIAL;

/// Claims and volumes go once their pods are gone; the controllers need a moment.
const GOING: Duration = Duration::from_secs(30);

const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// The trial's objects on a cluster.
pub struct Trials<'a> {
    pub cluster: &'a Cluster,
    pub trial: &'a Trial,
}

impl Trials<'_> {
    fn namespaced<K>(&self) -> Api<K>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.cluster.client.clone(), &self.trial.namespace)
    }

    fn volumes(&self) -> Api<PersistentVolume> {
        Api::all(self.cluster.client.clone())
    }

    fn pods(&self) -> OneShots<'_> {
        OneShots { cluster: self.cluster, namespace: &self.trial.namespace }
    }

    /// Makes volume and claim like this volume of the set's, and pods like those of this template. What an earlier trial left
    /// behind goes first.
    ///
    /// # Errors
    /// The API server refuses or does not answer, or what is left of an earlier trial does not go.
    pub async fn make(&self, like: &Value, template: &Value) -> Result<(), ApiFailure> {
        self.remove().await?;
        self.gone().await?;
        let trial = self.trial;
        let mount = async {
            create(&self.volumes(), trial.volume(like)).await?;
            create(&self.namespaced::<PersistentVolumeClaim>(), trial.claim(like)).await?;
            self.pods().start(&trial.name(), trial.pod(template)).await
        };
        let (pods, port) = (self.pods(), trial.port_name());
        try_join!(mount, pods.start(&port, trial.port_pod(template)))?;
        Ok(())
    }

    /// Its pods and what happened to them; `nodes` are those of the cluster.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn look(&self, nodes: Vec<Node>) -> Result<Observation, ApiFailure> {
        let Trial { set, namespace, .. } = self.trial;
        let failed = |kind: &'static str| {
            move |error: kube::Error| ApiFailure::new(format!("failed to list {kind} in namespace {namespace}"), &error)
        };
        let labels = ListParams::default().labels(&format!("{INSTANCE}={set},{}={}", TRIAL.0, TRIAL.1));
        let of_pod = ListParams::default().fields(&format!("involvedObject.name={}", self.trial.name()));
        let (pods, events) = (self.namespaced::<Pod>(), self.namespaced::<Event>());
        let (pods, events) =
            try_join!(pods.list(&labels).map_err(failed("pods")), events.list(&of_pod).map_err(failed("events")))?;
        // Events outlive their pod, and the next trial's has the same name.
        let uids: Vec<String> = pods.items.iter().filter_map(|pod| pod.metadata.uid.clone()).collect();
        let of_these = |event: &Event| event.involved_object.uid.as_ref().is_some_and(|uid| uids.contains(uid));
        let mut events: Vec<Event> = events.items.into_iter().filter(of_these).collect();
        events.sort_by_key(happened);
        Ok(Observation {
            name: set.clone(),
            namespace: namespace.clone(),
            pods: pods.items,
            events,
            nodes,
            at: Some(Timestamp::now()),
            ..Observation::default()
        })
    }

    /// The cluster's nodes, where they may be listed: nothing rests on them.
    pub async fn nodes(&self) -> Vec<Node> {
        all_nodes(self.cluster).await.unwrap_or_default()
    }

    /// Asks for the removal of all its objects, and of nobody else's.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn remove(&self) -> Result<(), ApiFailure> {
        let trial = self.trial;
        // A mount that hangs would hold its pod for minutes. These pods hold no data that anybody could lose.
        let at_once = DeleteParams::default().grace_period(0);
        let pods: Api<Pod> = self.namespaced();
        for name in [trial.name(), trial.port_name()] {
            self.remove_own(&pods, &name, &at_once).await?;
        }
        let claims: Api<PersistentVolumeClaim> = self.namespaced();
        self.remove_own(&claims, &trial.name(), &DeleteParams::default()).await?;
        self.remove_own(&self.volumes(), &trial.volume_name(), &DeleteParams::default()).await
    }

    async fn remove_own<K>(&self, api: &Api<K>, name: &str, params: &DeleteParams) -> Result<(), ApiFailure>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        let kind = K::kind(&());
        let failed = |error: &kube::Error| ApiFailure::new(format!("failed to remove {kind} {name}"), error);
        let Some(found) = api.get_metadata_opt(name).await.map_err(|error| failed(&error))? else { return Ok(()) };
        if !self.trial.owns(&json!(found.metadata.labels)) {
            return Ok(());
        }
        match api.delete(name, params).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(failed(&error)),
        }
    }

    /// Waits until nothing is left of what was removed.
    async fn gone(&self) -> Result<(), ApiFailure> {
        let waited = tokio::time::timeout(GOING, async {
            while self.left().await?.is_some() {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            Ok(())
        });
        let Ok(gone) = waited.await else {
            let left = self.left().await?.unwrap_or_default();
            return Err(ApiFailure {
                what: format!("failed to remove what an earlier trial left: {left}"),
                code: Some(409),
                reason: "Conflict".to_owned(),
                message: format!("it is still there after {} s", GOING.as_secs()),
            });
        };
        gone
    }

    /// One of its objects that is still there.
    async fn left(&self) -> Result<Option<String>, ApiFailure> {
        let trial = self.trial;
        let (pods, claims) = (self.namespaced::<Pod>(), self.namespaced::<PersistentVolumeClaim>());
        for found in [
            is_there(&pods, &trial.name()).await?,
            is_there(&pods, &trial.port_name()).await?,
            is_there(&claims, &trial.name()).await?,
            is_there(&self.volumes(), &trial.volume_name()).await?,
        ] {
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

async fn is_there<K>(api: &Api<K>, name: &str) -> Result<Option<String>, ApiFailure>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let shown = format!("{} {name}", K::kind(&()));
    let found = api.get_metadata_opt(name).await;
    let found = found.map_err(|error| ApiFailure::new(format!("failed to read {shown}"), &error))?;
    Ok(found.map(|_| shown))
}

async fn create<K>(api: &Api<K>, body: Value) -> Result<(), ApiFailure>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Serialize + std::fmt::Debug,
{
    let what = format!("failed to create {} {}", K::kind(&()), body["metadata"]["name"].as_str().unwrap_or_default());
    let object: K = serde_json::from_value(body).map_err(|error| ApiFailure {
        what: what.clone(),
        code: Some(400),
        reason: String::new(),
        message: error.to_string(),
    })?;
    let created = api.create(&PostParams::default(), &object).await;
    created.map(|_| ()).map_err(|error| ApiFailure::new(what, &error))
}
