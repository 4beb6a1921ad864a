//! A node with members on it is in trouble: not ready, or short of disk, memory or processes.

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{Node, NodeCondition};

use super::super::observation::{PodReading, condition};
use super::{Asked, Depth, Entry, Finding, Severity};

/// A kubelet that restarts is not ready for less.
const NORMAL: SignedDuration = SignedDuration::from_secs(10);

pub(super) fn findings(asked: &Asked<'_>) -> Vec<Finding> {
    let with_members = asked.seen.nodes.iter().filter(|node| {
        let name = node.metadata.name.as_deref();
        name.is_some() && asked.seen.pods.iter().any(|pod| pod.node() == name)
    });
    with_members.flat_map(|node| [not_ready(asked, node), pressure(node)]).flatten().collect()
}

/// Never ends a wait: a node comes back, and when it does not, what to do with its pods is a person's decision.
fn not_ready(asked: &Asked<'_>, node: &Node) -> Option<Finding> {
    let name = node.metadata.name.as_deref()?;
    let ready = condition(node, "Ready")?;
    if ready.status == "True" {
        return None;
    }
    let summary = match ready.status.as_str() {
        "Unknown" => "the node's kubelet has stopped reporting: the node is down, cut off, or its kubelet is",
        _ => "the node is not ready",
    };
    let finding = Finding::new("PGS-NODE-NOT-READY", Severity::Waiting, "Node", name, summary)
        .evidence(ready.message.as_deref().unwrap_or_default())
        .fix(format!("look at the node: kubectl describe node {name}; is it on, and its kubelet running?"))
        .fix("its members stay where they are until it is back: two PostgreSQLs on one data folder would destroy it");
    let going = asked.seen.pods.iter().any(|pod| pod.node() == Some(name) && pod.is_terminating());
    let finding = if going { finding.fix(out_of_service(name)) } else { finding };
    Some(quiet_at_first(finding, ready))
}

/// A finding about a node that is not ready, which goes without saying while its kubelet may be restarting. Of one that has
/// stopped reporting the cluster has made sure for longer than that.
pub(super) fn quiet_at_first(finding: Finding, ready: &NodeCondition) -> Finding {
    let since = ready.last_transition_time.as_ref().map(|time| time.0);
    if ready.status == "False" { finding.normal_for(since, NORMAL) } else { finding }
}

/// What lets the pods of a machine go that is off. For one that is merely cut off it would mean two PostgreSQLs on one data
/// folder.
pub(super) fn out_of_service(node: &str) -> String {
    format!(
        "only when the machine is certainly off, and not merely cut off: kubectl taint node {node} node.kubernetes.io/out-of-service=nodeshutdown:NoExecute"
    )
}

/// Under pressure a node takes no new pods and evicts those it has.
fn pressure(node: &Node) -> Option<Finding> {
    let name = node.metadata.name.as_deref()?;
    let (what, condition) =
        [("disk space", "DiskPressure"), ("memory", "MemoryPressure"), ("process ids", "PIDPressure")]
            .into_iter()
            .find_map(|(what, kind)| {
                Some((what, condition(node, kind).filter(|condition| condition.status == "True")?))
            })?;
    let summary = format!("the node is short of {what}: it takes no new pods and evicts some that it has");
    Some(
        Finding::new("PGS-NODE-PRESSURE", Severity::Waiting, "Node", name, summary)
            .evidence(condition.message.as_deref().unwrap_or_default())
            .fix(format!("free {what} on the node: kubectl describe node {name}")),
    )
}

/// What this family finds.
pub(super) const CATALOGUE: &[Entry] = &[
    Entry {
        code: "PGS-NODE-NOT-READY",
        severity: Severity::Waiting,
        depth: Depth::Cluster,
        title: "a member's node is not ready",
        meaning: "The node that a member runs on does not report, or says that it cannot run pods.",
        known_by: "The node's Ready condition is False or Unknown.",
        fix: "Bring the node or its kubelet back. pgset never removes its members by force: the node may still be writing.",
        doubt: "A node is noticed to be gone only about 40 s after its last report.",
    },
    Entry {
        code: "PGS-NODE-PRESSURE",
        severity: Severity::Waiting,
        depth: Depth::Cluster,
        title: "a member's node is short of disk, memory or process ids",
        meaning: "A node under pressure takes no new pods and evicts some of those it has.",
        known_by: "The node's DiskPressure, MemoryPressure or PIDPressure condition is True.",
        fix: "Free what is short on the node.",
        doubt: "A node keeps the condition for some minutes after the pressure is over.",
    },
];

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing::{noon, pod, seen};
    use super::*;

    fn found(name: &str, conditions: Value) -> Vec<Finding> {
        let mut seen = seen(json!([pod("pgset-0", json!({}))]), json!([]));
        let node = json!({"metadata": {"name": name}, "status": {"conditions": conditions}});
        seen.nodes = vec![serde_json::from_value(node).unwrap()];
        findings(&Asked { seen: &seen, since: None })
    }

    #[test]
    fn a_node_that_is_gone_is_named_and_nothing_is_said_of_force() {
        let unknown = json!([{"type": "Ready", "status": "Unknown", "message": "Kubelet stopped posting node status.",
            "lastTransitionTime": noon().to_string()}]);
        let found = found("node1", unknown.clone());
        assert_eq!((found[0].code, found[0].object.name.as_str()), ("PGS-NODE-NOT-READY", "node1"));
        assert_eq!(found[0].normal_until, None, "the cluster has waited long enough before it said so");
        assert!(!found[0].fix.iter().any(|fix| fix.contains("--force")));
        assert!(self::found("node2", unknown).is_empty(), "no member is on it");
    }

    #[test]
    fn a_kubelet_that_restarts_goes_without_saying() {
        let starts = json!([{"type": "Ready", "status": "False", "message": "CSINode is not yet initialized",
            "lastTransitionTime": noon().to_string()}]);
        let found = found("node1", starts);
        assert_eq!((found[0].code, found[0].normal_until), ("PGS-NODE-NOT-READY", Some(noon() + NORMAL)));
    }

    #[test]
    fn pressure_says_what_is_short() {
        let ready = json!({"type": "Ready", "status": "True"});
        assert!(found("node1", json!([ready, {"type": "DiskPressure", "status": "False"}])).is_empty());
        let found = found("node1", json!([ready, {"type": "DiskPressure", "status": "True"}]));
        assert_eq!(found[0].code, "PGS-NODE-PRESSURE");
        assert!(found[0].summary.contains("disk space"));
        let memory = &self::found("node1", json!([{"type": "MemoryPressure", "status": "True", "message": "low"}]))[0];
        assert_eq!((memory.code, memory.object.name.as_str()), ("PGS-NODE-PRESSURE", "node1"));
        assert!(memory.summary.contains("short of memory") && memory.fix[0].contains("free memory"), "{memory:?}");
    }
}
