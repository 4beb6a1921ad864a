//! Waiting until members are gone, and naming what keeps them.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use tokio::time::sleep;

use super::app::App;
use crate::cluster::{Cluster, Watch};
use crate::error::Outcome;
use crate::manifests::Names;
use crate::report::text::and;
use crate::set::Observation;
use crate::set::observation::PodReading;

/// After this long it is said, once, what keeps a member.
const UNREMARKABLE_SECONDS: i64 = 15;

/// Waits until the members from this number on are gone; whoever calls bounds it.
///
/// # Errors
/// The API server refuses to be watched.
pub async fn members_gone(app: &App, cluster: &Cluster, names: &Names, first: i32) -> Outcome {
    let watch = Watch::start(cluster, names.namespace(), names.set());
    watch.complete().await?;
    let mut seen = Observation { name: names.set().to_owned(), ..Observation::default() };
    let began = Timestamp::now();
    let mut told = false;
    loop {
        watch.observe(&mut seen);
        let ordinal = |pod: &Pod| seen.ordinal(pod.metadata.name.as_deref()?);
        // A pod of somebody else's that carries the same `app` label is no member, and nothing of ours to wait for.
        let there: Vec<&Pod> =
            seen.pods.iter().filter(|pod| ordinal(pod).is_some_and(|ordinal| ordinal >= first)).collect();
        if there.is_empty() {
            return Ok(());
        }
        if !told && Timestamp::now().duration_since(began).as_secs() >= UNREMARKABLE_SECONDS {
            told = true;
            for line in there.iter().map(|pod| what_keeps(pod)) {
                app.ui.warn(&line);
            }
        }
        tokio::select! {
            () = watch.changed() => {}
            () = sleep(Duration::from_secs(5)) => {}
        }
    }
}

/// What keeps a pod from going, as far as the API server knows.
fn what_keeps(pod: &Pod) -> String {
    let name = pod.metadata.name.clone().unwrap_or_default();
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_else(|| "no node".to_owned());
    let finalizers = pod.metadata.finalizers.clone().unwrap_or_default();
    if !finalizers.is_empty() {
        return format!("Pod {name} is held by finalizers {}", and(&finalizers));
    }
    if pod.is_terminating() {
        return format!(
            "Pod {name} on {node} is still stopping; if that node is gone for good, delete it: kubectl delete node {node}"
        );
    }
    format!("Pod {name} on {node} has not been asked to stop yet")
}
