//! No node takes a member's pod.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{Node, Pod, PodCondition, Taint};

use super::{Asked, Depth, Entry, Finding, Severity};

/// Volume and pod are made at the same time, and the scheduler sees the one before the other.
const VOLUME_NORMAL: SignedDuration = SignedDuration::from_secs(10);

pub(super) fn findings(asked: &Asked<'_>) -> Vec<Finding> {
    asked.seen.pods.iter().filter_map(|pod| unschedulable(asked, pod)).collect()
}

/// Never ends a wait: a node may be added, freed or repaired, and an autoscaler does so by itself.
fn unschedulable(asked: &Asked<'_>, pod: &Pod) -> Option<Finding> {
    let message = finds_no_node(pod)?.message.as_deref().unwrap_or_default();
    let name = pod.metadata.name.as_deref()?;
    let about = |code, summary: &str| {
        Finding::new(code, Severity::Waiting, "Pod", name, summary).evidence(first_sentence(message))
    };
    Some(match reason(first_sentence(message)) {
        Reason::Room(what) => about("PGS-NO-ROOM", &format!("no node has enough {what} left for the pod"))
            .fix("ask for less (pgset up --cpu … --memory …), or add a node")
            .fix("see what is taken: kubectl describe nodes"),
        Reason::Pods => about("PGS-NO-ROOM", "the nodes run as many pods as they may")
            .fix("add a node, or remove pods that nobody needs"),
        Reason::AntiAffinity => {
            let members = asked.seen.wanted().unwrap_or(0);
            let summary = "every node that could take the pod has a member, and two members may not share a node";
            about("PGS-ANTI-AFFINITY", summary)
                .fix(format!("{members} members need {members} nodes: add nodes, or run fewer: pgset scale N"))
                .fix("or let members share a node: preferredDuringScheduling in the overridden template")
        }
        Reason::Cordoned => {
            let cordoned = names(meant(asked, pod).filter(|node| is_cordoned(node)));
            let which = if cordoned.is_empty() { String::new() } else { format!(": {}", few(&cordoned)) };
            about("PGS-CORDONED", &format!("the nodes that could take the pod are cordoned{which}"))
                .fix(format!("open one again: kubectl uncordon {}", cordoned.first().map_or("NODE", String::as_str)))
                .fix("see the nodes: kubectl get nodes")
        }
        Reason::Volume => about("PGS-VOLUME-NODE", "the member's volume is tied to a node that cannot take the pod")
            .fix("see which: kubectl get pv -o custom-columns=NAME:.metadata.name,CLAIM:.spec.claimRef.name,NODES:.spec.nodeAffinity")
            .fix("bring that node back; its data is nowhere else, unless a replica has it"),
        Reason::Taint(said) => tainted(asked, pod, said, about),
        Reason::Selector => {
            about("PGS-NODE-SELECTOR", "no node has the labels that the pod's node selector or affinity asks for")
                .fix("label a node (kubectl label node NODE KEY=VALUE), or change the selector in the overridden template")
                .fix("see the labels: kubectl get nodes --show-labels")
        }
        Reason::Other => {
            let finding = about("PGS-UNSCHEDULABLE", "no node takes the pod")
                .fix(format!("see why: kubectl -n {} describe pod {name}; kubectl get nodes", asked.seen.namespace));
            let of_volume = ["persistent volume", "pvc("].iter().any(|words| message.contains(words));
            if of_volume { finding.normal_at_first(VOLUME_NORMAL) } else { finding }
        }
    })
}

/// The scheduler's word that it finds no node, but for what a claim has to do with it: that is the storage family's to tell,
/// and for an instant every new claim is unbound.
#[must_use]
pub fn finds_no_node(pod: &Pod) -> Option<&PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let condition = conditions.iter().find(|c| c.type_ == "PodScheduled" && c.status == "False")?;
    let message = condition.message.as_deref().unwrap_or_default();
    let of_claim = message.contains("PersistentVolumeClaim") || message.contains("persistentvolumeclaim");
    (!of_claim).then_some(condition)
}

/// Taints that the cluster itself gives to nodes that are not well stand for what is wrong with them.
fn tainted(asked: &Asked<'_>, pod: &Pod, said: Option<&str>, about: impl Fn(&'static str, &str) -> Finding) -> Finding {
    let seen = untolerated(asked, pod);
    let on_nodes = |(taint, nodes): (&String, &Vec<String>)| format!("{taint} on {}", few(nodes));
    let list: Vec<String> = match said.filter(|_| seen.is_empty()) {
        Some(said) => vec![said.to_owned()],
        None => seen.iter().map(on_nodes).collect(),
    };
    let list = list.join("; ");
    let has = |key: &str| seen.keys().map(String::as_str).chain(said).any(|taint| taint.starts_with(key));
    if has("node.kubernetes.io/disk-pressure") {
        about("PGS-NODE-PRESSURE", "the nodes are short of disk space, so they take no pods")
            .fix("free disk space on a node: kubectl describe nodes")
    } else if has("node.kubernetes.io/memory-pressure") || has("node.kubernetes.io/pid-pressure") {
        about("PGS-NODE-PRESSURE", "the nodes are short of memory or process ids, so they take no pods")
            .fix("free some on a node: kubectl describe nodes")
    } else if has("node.kubernetes.io/not-ready") || has("node.kubernetes.io/unreachable") {
        about("PGS-NODE-NOT-READY", "the nodes that could take the pod are not ready")
            .fix("see the nodes: kubectl get nodes")
    } else {
        let which = if list.is_empty() { String::new() } else { format!(": {list}") };
        let first = seen.iter().next().and_then(|(taint, nodes)| Some((nodes.first()?.as_str(), taint.as_str())));
        let (node, taint) = first.unwrap_or(("NODE", said.unwrap_or("KEY")));
        let key = taint.split('=').next().unwrap_or(taint);
        about("PGS-TAINTED", &format!("the nodes have a taint that the pod does not tolerate{which}"))
            .fix(format!("remove it from a node: kubectl taint nodes {node} {key}-; see all: kubectl get nodes -o custom-columns=NAME:.metadata.name,TAINTS:.spec.taints"))
            .fix("or tolerate it: pgset render --eject DIR, add tolerations to DIR/statefulset.yaml, pgset up --templates DIR")
    }
}

/// The nodes that the pod asks for, as far as its node selector says.
fn meant<'a>(asked: &Asked<'a>, pod: &'a Pod) -> impl Iterator<Item = &'a Node> {
    let selector = pod.spec.as_ref().and_then(|spec| spec.node_selector.as_ref());
    asked.seen.nodes.iter().filter(move |node| {
        let has = |key, value| node.metadata.labels.as_ref().and_then(|labels| labels.get(key)) == Some(value);
        selector.is_none_or(|selector| selector.iter().all(|(key, value)| has(key, value)))
    })
}

fn is_cordoned(node: &Node) -> bool {
    node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true)
}

fn names<'a>(nodes: impl Iterator<Item = &'a Node>) -> Vec<String> {
    nodes.filter_map(|node| node.metadata.name.clone()).collect()
}

/// The nodes' names, as many as anybody reads.
fn few(nodes: &[String]) -> String {
    const FEW: usize = 4;
    match nodes.len().checked_sub(FEW).filter(|more| *more > 0) {
        Some(more) => format!("{} and {more} more", nodes[..FEW].join(", ")),
        None => nodes.join(", "),
    }
}

/// The taints, of the nodes that the pod asks for, which keep it away, each with its nodes. Recent schedulers only count them.
fn untolerated(asked: &Asked<'_>, pod: &Pod) -> BTreeMap<String, Vec<String>> {
    let tolerated = |taint: &Taint| {
        pod.spec.iter().flat_map(|spec| spec.tolerations.iter().flatten()).any(|toleration| {
            let key = toleration.key.as_ref().is_none_or(|key| *key == taint.key);
            let exists = toleration.operator.as_deref() == Some("Exists");
            let value =
                exists || toleration.value.clone().unwrap_or_default() == taint.value.clone().unwrap_or_default();
            let effect = toleration.effect.as_ref().is_none_or(|effect| *effect == taint.effect);
            key && value && effect
        })
    };
    let mut keeping: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for node in meant(asked, pod) {
        let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
        for taint in taints.filter(|taint| taint.effect != "PreferNoSchedule" && !tolerated(taint)) {
            let named = match taint.value.as_deref() {
                Some(value) if !value.is_empty() => format!("{}={value}", taint.key),
                _ => taint.key.clone(),
            };
            keeping.entry(named).or_default().extend(node.metadata.name.clone());
        }
    }
    keeping
}

/// Why the nodes that the pod could be meant for do not take it.
enum Reason<'a> {
    Room(&'a str),
    Pods,
    AntiAffinity,
    Cordoned,
    Volume,
    /// With its key, where the scheduler says it.
    Taint(Option<&'a str>),
    Selector,
    Other,
}

/// Of "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint {a: b}" what keeps the pod from the
/// nodes that are left when those which others are meant for are not counted: a taint or another label says just that.
fn reason(sentence: &str) -> Reason<'_> {
    if let Some((_, what)) = sentence.split_once("Insufficient ") {
        let end = what.find([',', '.']).unwrap_or(what.len());
        Reason::Room(&what[..end])
    } else if sentence.contains("oo many pods") {
        Reason::Pods
    } else if sentence.contains("anti-affinity") {
        Reason::AntiAffinity
    } else if sentence.contains("were unschedulable") || sentence.contains("node.kubernetes.io/unschedulable") {
        Reason::Cordoned
    } else if sentence.contains("volume node affinity") || sentence.contains("PersistentVolume's node affinity") {
        Reason::Volume
    } else if let Some((_, rest)) = sentence.split_once("untolerated taint") {
        let key = rest.split_once('{').and_then(|(_, rest)| rest.split([':', '}']).next());
        Reason::Taint(key)
    } else if sentence.contains("node affinity/selector") || sentence.contains("node affinity") {
        Reason::Selector
    } else {
        Reason::Other
    }
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
            ("1 node(s) had untolerated taint {dedicated: gpu}", "PGS-TAINTED", "kubectl taint"),
            ("1 node(s) had untolerated taint {node.kubernetes.io/disk-pressure: }", "PGS-NODE-PRESSURE", "disk space"),
            ("1 node(s) had untolerated taint {node.kubernetes.io/unreachable: }", "PGS-NODE-NOT-READY", "get nodes"),
            ("1 node(s) were unschedulable", "PGS-CORDONED", "uncordon"),
            ("1 node(s) didn't match Pod's node affinity/selector", "PGS-NODE-SELECTOR", "kubectl label node"),
            ("1 node(s) didn't match pod anti-affinity rules", "PGS-ANTI-AFFINITY", "2 members need 2 nodes"),
            ("1 node(s) didn't match PersistentVolume's node affinity", "PGS-VOLUME-NODE", "nodeAffinity"),
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
    fn nodes_that_are_meant_for_others_are_not_counted() {
        let found = found("0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint(s).");
        assert_eq!(
            (found[0].code, found[0].summary.as_str()),
            ("PGS-NO-ROOM", "no node has enough cpu left for the pod")
        );
    }

    #[test]
    fn taints_that_the_scheduler_only_counts_are_read_from_the_nodes_that_are_meant() {
        let condition = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/2 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) had untolerated taint(s)."});
        let spec = json!({"containers": [], "nodeSelector": {"disk": "ssd"}, "tolerations": [{"key": "a", "operator": "Exists"}]});
        let pod = json!({"metadata": {"name": "pgset-0"}, "spec": spec, "status": {"conditions": [condition]}});
        let node = |name: &str, label: &str, taints: serde_json::Value| {
            let metadata = json!({"name": name, "labels": {"disk": label}});
            serde_json::from_value(json!({"metadata": metadata, "spec": {"taints": taints}})).unwrap()
        };
        let taint = |key: &str| json!({"key": key, "value": "x", "effect": "NoSchedule"});
        let mut seen = seen(json!([pod]), json!([]));
        let (other, own) = (node("n2", "hdd", json!([taint("c")])), [taint("a"), taint("b")]);
        seen.nodes = vec![node("n1", "ssd", json!(own)), other, node("n3", "ssd", json!(own))];
        let found = findings(&Asked { seen: &seen, since: None });
        assert_eq!(found[0].summary, "the nodes have a taint that the pod does not tolerate: b=x on n1, n3");
        assert!(found[0].fix[0].contains("kubectl taint nodes n1 b-"), "{:?}", found[0].fix);
        seen.nodes = vec![node("n1", "ssd", json!([taint("node.kubernetes.io/disk-pressure")]))];
        assert_eq!(findings(&Asked { seen: &seen, since: None })[0].code, "PGS-NODE-PRESSURE");
        seen.nodes = vec![node("n1", "ssd", json!([taint("node.kubernetes.io/memory-pressure")]))];
        let memory = &findings(&Asked { seen: &seen, since: None })[0];
        assert!(memory.code == "PGS-NODE-PRESSURE" && memory.summary.contains("short of memory"), "{memory:?}");
    }

    #[test]
    fn the_nodes_that_are_cordoned_are_named_and_no_others() {
        let condition = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/7 nodes are available: 6 node(s) were unschedulable, 1 node(s) had untolerated taint(s)."});
        let pod = json!({"metadata": {"name": "pgset-0"}, "status": {"conditions": [condition]}});
        let mut seen = seen(json!([pod]), json!([]));
        let node = |name: &str, closed: bool| {
            serde_json::from_value(json!({"metadata": {"name": name}, "spec": {"unschedulable": closed}})).unwrap()
        };
        seen.nodes = vec![node("n0", false), node("n1", true)];
        let one = &findings(&Asked { seen: &seen, since: None })[0];
        assert_eq!(one.summary, "the nodes that could take the pod are cordoned: n1");
        assert_eq!(one.fix[0], "open one again: kubectl uncordon n1");
        seen.nodes.extend((2..=6).map(|number| node(&format!("n{number}"), true)));
        let many = &findings(&Asked { seen: &seen, since: None })[0];
        assert!(many.summary.ends_with("cordoned: n1, n2, n3, n4 and 2 more"), "{many:?}");
    }

    #[test]
    fn an_unbound_claim_is_left_to_the_storage_family() {
        assert!(found("0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.").is_empty());
    }
}
