//! A pod of an older revision that never started: the StatefulSet controller does not replace it with the mended one
//! (kubernetes#67250), so waiting for it is in vain.

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Pod;

use super::super::observation::{Observation, PodReading};
use super::{Asked, Depth, Entry, Finding, Severity};

/// The controller replaces what it will replace within a moment of seeing the change.
const GRACE: SignedDuration = SignedDuration::from_secs(5);

/// The one finding that a command can mend by itself.
pub const PINNED: &str = "PGS-POD-PINNED";

pub(super) fn findings(asked: &Asked<'_>) -> Vec<Finding> {
    let pinned = pinned_pods(asked.seen);
    let Some((first, others)) = pinned.split_first() else { return Vec::new() };
    let summary = "the pod of an older revision cannot start, and Kubernetes does not replace such a pod by itself";
    let evidence = asked.seen.pod(first).and_then(waits).unwrap_or_default();
    let finding = Finding::new(PINNED, Severity::Blocking, "Pod", first, summary)
        .also("Pod", others)
        .evidence(evidence)
        .fix("have it replaced: pgset wait --unstick")
        .fix(format!("or, since it runs nothing: kubectl -n {} delete pod {}", asked.seen.namespace, pinned.join(" ")));
    // Only a wait can tell how long it has been so; without one it is told as it stands.
    vec![finding.blocking_from(asked.since, GRACE)]
}

/// The pods that the controller does not replace: of an older revision, and unable to start. One that is still being created
/// is only slow: it starts, and is replaced then.
#[must_use]
pub fn pinned_pods(seen: &Observation) -> Vec<String> {
    let old = seen.pods.iter().filter(|pod| is_old(seen, pod) && !pod.is_terminating());
    old.filter(|pod| waits(pod).is_some()).filter_map(|pod| pod.metadata.name.clone()).collect()
}

/// Why a pod's container does not run, in the kubelet's words.
fn waits(pod: &Pod) -> Option<String> {
    let waiting = pod.container()?.state.as_ref()?.waiting.as_ref()?;
    let reason =
        waiting.reason.as_deref().filter(|reason| !matches!(*reason, "ContainerCreating" | "PodInitializing"))?;
    Some(format!("{reason}: {}", waiting.message.as_deref().unwrap_or_default()))
}

/// Whether a pod's troubles are the set's: one of an older revision, or on its way out, says nothing about what was applied.
pub(super) fn speaks(seen: &Observation, pod: &Pod) -> bool {
    !is_old(seen, pod) && !pod.is_terminating()
}

fn is_old(seen: &Observation, pod: &Pod) -> bool {
    let status = seen.stateful_set.as_ref().and_then(|set| set.status.as_ref());
    let update = status.and_then(|status| status.update_revision.as_deref());
    update.is_some() && pod.revision().is_some() && pod.revision() != update
}

/// What this family finds.
pub(super) const CATALOGUE: &[Entry] = &[Entry {
    code: "PGS-POD-PINNED",
    severity: Severity::Blocking,
    depth: Depth::Set,
    title: "a pod of an older revision cannot start",
    meaning: "The set was changed, but a pod of the old revision never got ready, and the StatefulSet controller does not replace such a pod (kubernetes#67250).",
    known_by: "The pod's controller-revision-hash differs from the StatefulSet's update revision, and its container cannot run.",
    fix: "Delete that pod. It runs nothing, so nothing is lost.",
    doubt: "The controller replaces pods within moments of seeing a change, so it gets those.",
}];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{noon, pod, seen};
    use super::super::{Asked, diagnose};
    use super::*;

    fn observed(revision: &str, state: serde_json::Value) -> Observation {
        let mut old = pod("pgset-0", json!({"state": state}));
        old["metadata"]["labels"] = json!({"controller-revision-hash": revision});
        let mut seen = seen(json!([old]), json!([]));
        let set = seen.stateful_set.as_mut().unwrap();
        set.spec.replicas = Some(1);
        let status = set.status.as_mut().unwrap();
        status.update_revision = Some("pgset-new".to_owned());
        seen
    }

    #[test]
    fn a_pod_pinned_to_a_bad_revision_is_named_instead_of_its_old_fault() {
        let waiting = json!({"waiting": {"reason": "ErrImagePull", "message": "not found"}});
        let old = observed("pgset-old", waiting.clone());
        let found = diagnose(&old, Some(noon()));
        assert_eq!(found.iter().map(|finding| finding.code).collect::<Vec<_>>(), ["PGS-POD-PINNED"]);
        assert!(!found[0].ends_wait(noon()) && found[0].ends_wait(noon() + GRACE));
        assert_eq!(diagnose(&observed("pgset-new", waiting), None)[0].code, "PGS-IMAGE-NOT-FOUND");
    }

    #[test]
    fn an_older_pod_that_is_being_deleted_says_nothing_any_more() {
        let waiting = json!({"waiting": {"reason": "ErrImagePull", "message": "not found"}});
        let mut old = observed("pgset-old", waiting.clone());
        let terminated = json!({"terminated": {"exitCode": 78}});
        for state in [waiting, terminated] {
            old.pods[0] = observed("pgset-old", state).pods.remove(0);
            old.pods[0].metadata.deletion_timestamp =
                Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(noon()));
            assert!(diagnose(&old, Some(noon())).is_empty());
        }
    }

    #[test]
    fn an_older_pod_that_is_still_being_created_is_only_slow() {
        let old = observed("pgset-old", json!({"waiting": {"reason": "ContainerCreating"}}));
        assert!(diagnose(&old, Some(noon())).is_empty());
    }

    #[test]
    fn an_older_pod_that_runs_is_being_replaced() {
        let old = observed("pgset-old", json!({"running": {}}));
        assert!(findings(&Asked { seen: &old, since: None }).is_empty());
    }
}
