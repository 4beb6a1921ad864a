//! `--unstick`: pods that Kubernetes leaves on a bad revision are deleted, so that the mended one takes their place.

use std::collections::BTreeSet;

use super::app::App;
use crate::cluster::{Cluster, Members};
use crate::error::Outcome;
use crate::manifests::Names;
use crate::set::Observation;
use crate::set::findings::pinned_pods;
use crate::set::plan::is_marked_primary;

/// Deletes each pinned pod once: replicas at once, the primary after asking.
pub struct Unsticker {
    done: BTreeSet<String>,
}

impl Unsticker {
    #[must_use]
    pub fn new() -> Self {
        Self { done: BTreeSet::new() }
    }

    /// Deletes what is pinned now, once; whether anything is pinned, be it that its deletion has not been seen yet.
    ///
    /// # Errors
    /// Nobody agreed to delete the primary's pod, or the API server refuses.
    pub async fn run(&mut self, app: &App, cluster: &Cluster, names: &Names, seen: &Observation) -> Outcome<bool> {
        let members = Members { cluster, namespace: names.namespace() };
        let pinned = pinned_pods(seen);
        for pod in pinned.iter().filter_map(|pod| seen.pod(pod)) {
            let name = pod.metadata.name.clone().unwrap_or_default();
            if !self.done.insert(pod.metadata.uid.clone().unwrap_or_else(|| name.clone())) {
                continue;
            }
            if is_marked_primary(names.set(), pod) {
                ask(app, names, &name).await?;
            }
            members.delete(pod).await?;
            app.ui.say(&format!("deleted Pod {name}, which was pinned to an older revision"));
        }
        Ok(!pinned.is_empty())
    }
}

async fn ask(app: &App, names: &Names, pod: &str) -> Outcome {
    if app.common.yes {
        return Ok(());
    }
    let question = format!(
        "{pod} was the primary of {} in namespace {}; its pod cannot start as it is. Delete the pod (the data stays)? [y/N]",
        names.set(),
        names.namespace()
    );
    let yes = |answer: &str| matches!(answer.to_lowercase().as_str(), "y" | "yes");
    app.ui
        .confirm(&question, yes, &format!("to agree beforehand: {}", app.command("wait --unstick --yes", names)))
        .await
}
