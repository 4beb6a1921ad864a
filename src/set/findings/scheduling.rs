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
    let reason = main_reason(message);
    let about = |code, summary: &str| {
        Finding::new(code, Severity::Waiting, "Pod", name, summary).evidence(first_sentence(message))
    };
    let nodes = "see the nodes: kubectl get nodes";
    let set = &asked.seen.name;
    Some(if let Some((_, what)) = reason.split_once("Insufficient ") {
        about("PGS-NO-ROOM", &format!("no node has enough {what} left for the pod"))
            .fix("ask for less (pgset up --cpu … --memory …), or add a node")
            .fix("see what is taken: kubectl describe nodes")
    } else if reason.contains("too many pods") || reason.contains("Too many pods") {
        about("PGS-NO-ROOM", "the nodes run as many pods as they may")
            .fix("add a node, or remove pods that nobody needs")
    } else if reason.contains("pressure") {
        let what = if reason.contains("disk") { "disk space" } else { "memory or process ids" };
        about("PGS-NODE-PRESSURE", &format!("the nodes are short of {what}, so they take no pods"))
            .fix(format!("free {what} on a node: kubectl describe nodes"))
    } else if reason.contains("node.kubernetes.io/not-ready") || reason.contains("node.kubernetes.io/unreachable") {
        about("PGS-NODE-NOT-READY", "the nodes that could take the pod are not ready").fix(nodes)
    } else if reason.contains("were unschedulable") || reason.contains("node.kubernetes.io/unschedulable") {
        about("PGS-CORDONED", "the nodes that could take the pod are cordoned")
            .fix("open one again: kubectl uncordon NODE")
            .fix(nodes)
    } else if reason.contains("untolerated taint") {
        let taint =
            reason.split_once('{').and_then(|(_, rest)| rest.split('}').next()).unwrap_or("?").replace(": ", "=");
        about("PGS-TAINTED", &format!("the nodes have a taint that the pod does not tolerate: {}", taint.trim_end_matches('=')))
            .fix("remove it from a node (kubectl taint nodes NODE KEY-), or tolerate it: pgset render --eject DIR, add tolerations, pgset up --templates DIR")
    } else if reason.contains("node affinity/selector") {
        about("PGS-NODE-SELECTOR", "no node has the labels that the pod's node selector or affinity asks for")
            .fix("label a node (kubectl label node NODE KEY=VALUE), or change the selector in the overridden template")
            .fix("see the labels: kubectl get nodes --show-labels")
    } else if reason.contains("anti-affinity") {
        let members = asked.seen.wanted().unwrap_or(0);
        about(
            "PGS-ANTI-AFFINITY",
            "every node that could take the pod already has a member, and the set may not have two on one node",
        )
        .fix(format!("{members} members need {members} nodes: add nodes, or run fewer: pgset scale --name {set} N"))
        .fix("or let members share a node: preferredDuringScheduling in the overridden template")
    } else if reason.contains("volume node affinity conflict") {
        about("PGS-VOLUME-NODE", "the member's volume is tied to a node that cannot take the pod")
            .fix("see which: kubectl get pv -o custom-columns=NAME:.metadata.name,CLAIM:.spec.claimRef.name,NODES:.spec.nodeAffinity")
            .fix("bring that node back; its data is nowhere else, unless a replica has it")
    } else {
        about("PGS-UNSCHEDULABLE", "no node takes the pod")
            .fix(format!("see why: kubectl -n {} describe pod {name}; kubectl get nodes", asked.seen.namespace))
    })
}

/// Of "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint {a: b}. …" what most nodes have.
fn main_reason(message: &str) -> &str {
    let reasons = first_sentence(message).split_once("available: ").map_or(message, |(_, reasons)| reasons);
    let count = |reason: &&str| reason.split(' ').next().and_then(|count| count.parse::<u32>().ok()).unwrap_or(0);
    // The first of equals, which `max_by_key` would not give.
    reasons.split(", ").min_by_key(|reason| std::cmp::Reverse(count(reason))).unwrap_or(reasons)
}

/// What comes behind tells what preemption would not mend either.
fn first_sentence(message: &str) -> &str {
    let end = ["preemption:", "no new claims"].iter().filter_map(|word| message.find(word)).min();
    message[..end.unwrap_or(message.len())].trim_end_matches([' ', ',', '.'])
}

/// What this family finds.
pub(super) const CATALOGUE: &[Entry] = &[
    Entry {
        code: "PGS-NO-ROOM",
        severity: Severity::Waiting,
        depth: Depth::Member,
        title: "no node has room",
        meaning: "No node has enough cpu or memory, or place for one more pod.",
        known_by: "The pod's PodScheduled condition has the scheduler's own count of nodes and reasons.",
        fix: "Ask for less with --cpu and --memory, or add a node.",
        doubt: "An autoscaler or a person may be mending it already, so this never ends a wait.",
    },
    Entry {
        code: "PGS-TAINTED",
        severity: Severity::Waiting,
        depth: Depth::Member,
        title: "the nodes have a taint",
        meaning: "Every node that could take the member has a taint that it does not tolerate.",
        known_by: "The pod's PodScheduled condition has the scheduler's own count of nodes and reasons.",
        fix: "Remove the taint from a node, or tolerate it in an overridden template.",
        doubt: "An autoscaler or a person may be mending it already, so this never ends a wait.",
    },
    Entry {
        code: "PGS-CORDONED",
        severity: Severity::Waiting,
        depth: Depth::Member,
        title: "the nodes are cordoned",
        meaning: "The nodes that could take the member were closed for new pods.",
        known_by: "The pod's PodScheduled condition has the scheduler's own count of nodes and reasons.",
        fix: "Open one again: kubectl uncordon.",
        doubt: "An autoscaler or a person may be mending it already, so this never ends a wait.",
    },
    Entry {
        code: "PGS-NODE-SELECTOR",
        severity: Severity::Waiting,
        depth: Depth::Member,
        title: "no node has the wanted labels",
        meaning: "The member's node selector or affinity fits no node.",
        known_by: "The pod's PodScheduled condition has the scheduler's own count of nodes and reasons.",
        fix: "Label a node, or change the selector in the overridden template.",
        doubt: "An autoscaler or a person may be mending it already, so this never ends a wait.",
    },
    Entry {
        code: "PGS-ANTI-AFFINITY",
        severity: Severity::Waiting,
        depth: Depth::Member,
        title: "members may not share a node",
        meaning: "The set demands a node for each member, and there are not enough.",
        known_by: "The pod's PodScheduled condition has the scheduler's own count of nodes and reasons.",
        fix: "Add nodes, run fewer members, or let them share a node.",
        doubt: "An autoscaler or a person may be mending it already, so this never ends a wait.",
    },
    Entry {
        code: "PGS-VOLUME-NODE",
        severity: Severity::Waiting,
        depth: Depth::Member,
        title: "the volume is tied to another node",
        meaning: "The member's volume can only be used on a node that cannot take the pod.",
        known_by: "The pod's PodScheduled condition has the scheduler's own count of nodes and reasons.",
        fix: "Bring that node back; the data is on it.",
        doubt: "An autoscaler or a person may be mending it already, so this never ends a wait.",
    },
    Entry {
        code: "PGS-UNSCHEDULABLE",
        severity: Severity::Waiting,
        depth: Depth::Member,
        title: "no node takes the pod",
        meaning: "The scheduler finds no node for a member.",
        known_by: "The pod's PodScheduled condition has the scheduler's own count of nodes and reasons.",
        fix: "Mend what the message counts, or add a node.",
        doubt: "An autoscaler may be adding a node already, so this never ends a wait.",
    },
];

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
    fn each_reason_of_the_scheduler_has_its_code_and_never_ends_a_wait() {
        for (reasons, code, fix) in [
            ("1 Insufficient memory", "PGS-NO-ROOM", "--memory"),
            ("1 Too many pods", "PGS-NO-ROOM", "add a node"),
            ("1 node(s) had untolerated taint(s) {dedicated: gpu}", "PGS-TAINTED", "kubectl taint"),
            ("1 node(s) had untolerated taint {node.kubernetes.io/disk-pressure: }", "PGS-NODE-PRESSURE", "disk space"),
            ("1 node(s) had untolerated taint {node.kubernetes.io/unreachable: }", "PGS-NODE-NOT-READY", "get nodes"),
            ("1 node(s) were unschedulable", "PGS-CORDONED", "uncordon"),
            ("1 node(s) didn't match Pod's node affinity/selector", "PGS-NODE-SELECTOR", "kubectl label node"),
            ("1 node(s) didn't match pod anti-affinity rules", "PGS-ANTI-AFFINITY", "2 members need 2 nodes"),
            ("1 node(s) had volume node affinity conflict", "PGS-VOLUME-NODE", "nodeAffinity"),
            ("what is this", "PGS-UNSCHEDULABLE", "describe pod pgset-0"),
        ] {
            let found = found(&format!(
                "0/1 nodes are available: {reasons}. no new claims to deallocate, preemption: 0/1 nodes are available: 1 \
                 Preemption is not helpful for scheduling."
            ));
            assert_eq!((found[0].code, found[0].severity), (code, Severity::Waiting));
            assert!(found[0].fix.join("\n").contains(fix), "{:?}", found[0].fix);
            assert!(!found[0].evidence[0].contains("reemption"), "{:?}", found[0].evidence);
        }
    }

    #[test]
    fn what_most_nodes_have_is_told() {
        let found = found("0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint(s) {a: b}.");
        assert_eq!(found[0].code, "PGS-TAINTED");
        assert_eq!(found[0].summary, "the nodes have a taint that the pod does not tolerate: a=b");
    }

    #[test]
    fn an_unbound_claim_is_left_to_the_storage_family() {
        assert!(found("0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.").is_empty());
    }
}
