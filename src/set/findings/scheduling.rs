//! No node takes a member's pod.

use k8s_openapi::api::core::v1::Pod;

use super::{Asked, Depth, Entry, Finding, Severity};

pub(super) fn findings(asked: &Asked<'_>) -> Vec<Finding> {
    asked.seen.pods.iter().filter_map(|pod| unschedulable(asked, pod)).collect()
}

/// Never ends a wait: a node may be added, freed or repaired, and an autoscaler does so by itself.
fn unschedulable(asked: &Asked<'_>, pod: &Pod) -> Option<Finding> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let condition = conditions.iter().find(|c| c.type_ == "PodScheduled" && c.status == "False")?;
    let message = condition.message.as_deref().unwrap_or_default();
    // A claim's own trouble is the storage family's to tell; for an instant every new claim is unbound.
    if message.contains("PersistentVolumeClaim") || message.contains("persistentvolumeclaim") {
        return None;
    }
    let name = pod.metadata.name.as_deref()?;
    let finding =
        Finding::new("PGS-UNSCHEDULABLE", Severity::Waiting, "Pod", name, "no node takes the pod").evidence(message);
    Some(if message.contains("Insufficient") {
        finding.fix("ask for less (pgset up --cpu … --memory …), or add a node")
    } else {
        finding.fix(format!("see why: kubectl -n {} describe pod {name}; kubectl get nodes", asked.seen.namespace))
    })
}

/// What this family finds.
pub(super) const CATALOGUE: &[Entry] = &[Entry {
    code: "PGS-UNSCHEDULABLE",
    severity: Severity::Waiting,
    depth: Depth::Member,
    title: "no node takes the pod",
    meaning: "The scheduler finds no node for a member.",
    known_by: "The pod's PodScheduled condition has the scheduler's own count of nodes and reasons.",
    fix: "Mend what the message counts, or add a node.",
    doubt: "An autoscaler may be adding a node already, so this never ends a wait.",
}];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::seen;
    use super::*;

    fn found(message: &str) -> Vec<Finding> {
        let condition =
            json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message});
        let pod = json!({"metadata": {"name": "pgset-0"}, "status": {"conditions": [condition]}});
        findings(&Asked { seen: &seen(json!([pod]), json!([])), since: None })
    }

    #[test]
    fn too_little_memory_is_waited_for_and_named() {
        let found = found("0/1 nodes are available: 1 Insufficient memory.");
        assert_eq!((found[0].code, found[0].severity), ("PGS-UNSCHEDULABLE", Severity::Waiting));
        assert!(found[0].fix[0].contains("--memory"));
    }

    #[test]
    fn an_unbound_claim_is_left_to_the_storage_family() {
        assert!(found("0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.").is_empty());
    }
}
