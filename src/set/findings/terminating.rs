//! A member that should be gone and is not: its node is lost, a finalizer holds it, or its PostgreSQL takes its time.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;

use super::super::observation::{PodReading, condition};
use super::nodes::{out_of_service, quiet_at_first};
use super::{Asked, Depth, Entry, Finding, Severity};

/// How long after the end of its grace period a pod may still be there: its node reports the end when it gets to it.
const OVERDUE: SignedDuration = SignedDuration::from_secs(20);

pub(super) fn findings(asked: &Asked<'_>) -> Vec<Finding> {
    asked.seen.pods.iter().filter_map(|pod| stuck(asked, pod)).collect()
}

fn stuck(asked: &Asked<'_>, pod: &Pod) -> Option<Finding> {
    // The time by which it should be gone: the API server adds the grace period to the moment of the deletion.
    let due = pod.metadata.deletion_timestamp.as_ref()?.0;
    let name = pod.metadata.name.as_deref()?;
    let finalizers = pod.metadata.finalizers.as_deref().unwrap_or_default();
    // The kubelet takes the grace period away when it has seen the last container end.
    let ended = pod.metadata.deletion_grace_period_seconds == Some(0);
    if !finalizers.is_empty() && (ended || overdue(asked, due)) {
        return Some(held(asked, name, finalizers, due));
    }
    let node = pod.node()?;
    let node_lost = asked
        .seen
        .nodes
        .iter()
        .find(|found| found.metadata.name.as_deref() == Some(node))
        .and_then(|found| condition(found, "Ready").filter(|ready| ready.status != "True"));
    if let Some(ready) = node_lost {
        return Some(quiet_at_first(lost(asked, name, node), ready));
    }
    overdue(asked, due).then(|| slow(asked, name, node))
}

fn overdue(asked: &Asked<'_>, due: Timestamp) -> bool {
    asked.seen.at.is_some_and(|now| now.duration_since(due) > OVERDUE)
}

/// Never forced: the node may be cut off and PostgreSQL still running on it, on the same data as its successor.
fn lost(asked: &Asked<'_>, pod: &str, node: &str) -> Finding {
    let summary = format!("the pod cannot end, because its node {node} does not report; its successor has to wait");
    Finding::new("PGS-POD-ON-LOST-NODE", Severity::Waiting, "Pod", pod, summary)
        .fix(format!("bring node {node} back: the pod then ends by itself"))
        .fix(out_of_service(node))
        .fix(format!(
            "pgset never removes it by force: two PostgreSQLs on one data folder destroy it (set {})",
            asked.seen.name
        ))
}

fn held(asked: &Asked<'_>, pod: &str, finalizers: &[String], due: Timestamp) -> Finding {
    let names = finalizers.join(", ");
    let summary = format!("the pod has ended but may not go: finalizer {names} holds it");
    Finding::new("PGS-FINALIZER", Severity::Blocking, "Pod", pod, summary)
        .evidence(format!("metadata.finalizers: {names}"))
        .fix("whoever set the finalizer has to finish its work; is that controller running?")
        .fix(format!(
            "if it is gone for good: kubectl -n {} patch pod {pod} --type=merge -p '{{\"metadata\":{{\"finalizers\":null}}}}'",
            asked.seen.namespace
        ))
        .blocking_from(Some(due).max(asked.since), OVERDUE)
}

fn slow(asked: &Asked<'_>, pod: &str, node: &str) -> Finding {
    let summary = format!("the pod should have ended by now, but node {node} has not reported its end");
    Finding::new("PGS-POD-SLOW-TO-END", Severity::Waiting, "Pod", pod, summary)
        .fix(format!("see what keeps it: kubectl -n {} describe pod {pod}", asked.seen.namespace))
        .fix(format!("and its node's kubelet: kubectl describe node {node}"))
}

/// What this family finds.
pub(super) const CATALOGUE: &[Entry] = &[
    Entry {
        code: "PGS-POD-ON-LOST-NODE",
        severity: Severity::Waiting,
        depth: Depth::Member,
        title: "a pod that should go is on a lost node",
        meaning: "The pod was deleted, but its node does not report, so nobody knows whether its PostgreSQL has ended. Its successor waits.",
        known_by: "The pod has a deletion timestamp and its node's Ready condition is not True.",
        fix: "Bring the node back, or, when the machine is certainly off, taint it node.kubernetes.io/out-of-service. Never delete the pod by force: two PostgreSQLs on one data folder destroy it.",
        doubt: "A node that is merely cut off looks the same from here; that is why nothing is forced.",
    },
    Entry {
        code: "PGS-FINALIZER",
        severity: Severity::Blocking,
        depth: Depth::Member,
        title: "a finalizer holds a pod that should be gone",
        meaning: "The pod has ended, but a finalizer keeps the object, and its successor cannot be made.",
        known_by: "The pod has a deletion timestamp and finalizers, and its container has ended or its time is over.",
        fix: "Ask whoever set the finalizer, or remove it when its controller is gone for good.",
        doubt: "The finalizer's controller may be about to finish.",
    },
    Entry {
        code: "PGS-POD-SLOW-TO-END",
        severity: Severity::Waiting,
        depth: Depth::Member,
        title: "a pod ends later than it should",
        meaning: "The pod's grace period is over, but the node has not reported that its container ended.",
        known_by: "The pod's deletion timestamp is some time ago.",
        fix: "Look at the pod's events and at the node's kubelet.",
        doubt: "This machine's clock may be ahead of the cluster's.",
    },
];

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing::{noon, pod, seen};
    use super::*;

    fn found(finalizers: Value, node_ready: &str, after: SignedDuration) -> Vec<Finding> {
        let mut going = pod("pgset-1", json!({}));
        going["metadata"]["deletionTimestamp"] = json!(noon().to_string());
        going["metadata"]["finalizers"] = finalizers;
        let mut seen = seen(json!([going]), json!([]));
        let node =
            json!({"metadata": {"name": "node1"}, "status": {"conditions": [{"type": "Ready", "status": node_ready}]}});
        seen.nodes = vec![serde_json::from_value(node).unwrap()];
        seen.at = Some(noon() + after);
        findings(&Asked { seen: &seen, since: None })
    }

    #[test]
    fn a_pod_on_a_lost_node_is_explained_and_never_forced() {
        let found = found(json!([]), "Unknown", SignedDuration::ZERO);
        assert_eq!((found[0].code, found[0].severity), ("PGS-POD-ON-LOST-NODE", Severity::Waiting));
        assert!(!found[0].fix.iter().any(|fix| fix.contains("delete pod") || fix.contains("--force")));
    }

    #[test]
    fn a_finalizer_is_named_once_the_pod_is_overdue_and_ends_the_wait() {
        assert!(found(json!(["example.com/hold"]), "True", OVERDUE).is_empty());
        let held = found(json!(["example.com/hold"]), "True", OVERDUE + SignedDuration::from_secs(1));
        assert_eq!(held[0].code, "PGS-FINALIZER");
        assert!(held[0].summary.contains("example.com/hold"));
        assert!(
            !held[0].ends_wait(noon() + OVERDUE - SignedDuration::from_secs(1)) && held[0].ends_wait(noon() + OVERDUE)
        );
    }

    #[test]
    fn a_pod_that_ends_within_its_time_is_no_finding_and_one_that_does_not_is() {
        assert!(found(json!([]), "True", OVERDUE).is_empty());
        let slow = found(json!([]), "True", OVERDUE + SignedDuration::from_secs(1));
        assert_eq!((slow[0].code, slow[0].severity), ("PGS-POD-SLOW-TO-END", Severity::Waiting));
    }
}
