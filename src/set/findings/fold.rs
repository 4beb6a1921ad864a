//! From everything that was found to what should be read: one finding a cause, its symptoms below it, roots first.

use super::super::observation::{Observation, PodReading};
use super::catalogue::{Depth, depth};
use super::{Consequence, Finding, ObjectRef, Severity};

/// Joins findings of the same cause, puts symptoms below what explains them, and sorts: the heaviest first, and among
/// equals the one nearest to the root.
pub(super) fn fold(seen: &Observation, found: Vec<Finding>) -> Vec<Finding> {
    let mut found = join(found);
    found.sort_by_key(|finding| (finding.severity, depth(finding.code)));
    let causes: Vec<Option<usize>> = (0..found.len()).map(|at| root(seen, &found, at)).collect();
    let mut consequences: Vec<Vec<Consequence>> = vec![Vec::new(); found.len()];
    for (at, cause) in causes.iter().enumerate() {
        if let Some(cause) = *cause {
            consequences[cause].push(consequence(&found[at]));
        }
    }
    for (finding, consequences) in found.iter_mut().zip(consequences) {
        finding.consequences = consequences;
    }
    let mut at = 0;
    found.retain(|_| {
        at += 1;
        causes[at - 1].is_none()
    });
    found
}

/// The same cause met on several objects is one finding that names them all.
fn join(found: Vec<Finding>) -> Vec<Finding> {
    let mut joined: Vec<Finding> = Vec::new();
    for finding in found {
        match joined.iter_mut().find(|first| is_same_cause(first, &finding)) {
            Some(first) => take_in(first, finding),
            None => joined.push(finding),
        }
    }
    joined
}

fn is_same_cause(one: &Finding, other: &Finding) -> bool {
    one.code == other.code && one.object.kind == other.object.kind && wording(one) == wording(other)
}

/// The summary without the object's own name.
fn wording(finding: &Finding) -> String {
    finding.summary.replace(&finding.object.name, "*")
}

fn take_in(first: &mut Finding, other: Finding) {
    // The worse of the two decides about the wait.
    let ends = |finding: &Finding| (finding.severity, finding.fatal_from.is_none(), finding.fatal_from);
    if ends(&other) < ends(first) {
        (first.severity, first.fatal_from) = (other.severity, other.fatal_from);
    }
    let known: Vec<ObjectRef> = first.objects().cloned().collect();
    first.also.extend([other.object].into_iter().chain(other.also).filter(|object| !known.contains(object)));
}

/// The finding that `at` is a symptom of; never a symptom itself.
fn root(seen: &Observation, found: &[Finding], at: usize) -> Option<usize> {
    // Every step goes to a lower depth, so this ends.
    let mut cause = None;
    let mut current = at;
    while let Some(next) = explanation(seen, found, current) {
        cause = Some(next);
        current = next;
    }
    cause
}

/// What explains a finding: the one nearest to the root, and of these the heaviest.
fn explanation(seen: &Observation, found: &[Finding], at: usize) -> Option<usize> {
    let explaining = (0..found.len()).filter(|cause| *cause != at && explains(seen, &found[*cause], &found[at]));
    explaining.min_by_key(|cause| (depth(found[*cause].code), found[*cause].severity))
}

fn explains(seen: &Observation, cause: &Finding, symptom: &Finding) -> bool {
    // A node or the cluster's DNS takes members down; but one member's fault, or a rule of the namespace, is seen in
    // symptoms only: what is wrong by itself with another member, or in the database, is a cause of its own.
    let related = match (depth(cause.code), depth(symptom.code)) {
        (cause, Depth::Symptom) => cause < Depth::Symptom,
        (cause, Depth::Member) => cause == Depth::Cluster,
        _ => false,
    };
    if !related || cause.severity == Severity::Warning {
        return false;
    }
    // What ends a wait must not disappear below what never does.
    let hides = symptom.severity == Severity::Fatal && cause.severity > Severity::Blocking;
    // A warning is for a healthy set as well, so nothing else has caused it.
    !hides && symptom.severity != Severity::Warning && reaches(seen, cause, symptom)
}

/// Whether a fault of the cause's objects can be felt at the symptom's.
fn reaches(seen: &Observation, cause: &Finding, symptom: &Finding) -> bool {
    let (Members::Some(from), Members::Some(to)) = (members(seen, cause), members(seen, symptom)) else {
        // One of them is about all members.
        return true;
    };
    if from.iter().any(|member| to.contains(member)) {
        return true;
    }
    // Whoever is not there cannot be the primary, and without one no replica gets ready.
    depth(symptom.code) == Depth::Symptom && seen.primaries().is_empty()
}

/// The members a finding is about.
enum Members {
    All,
    Some(Vec<String>),
}

fn members(seen: &Observation, finding: &Finding) -> Members {
    let mut all = Vec::new();
    for object in finding.objects() {
        match object.kind.as_str() {
            "Pod" => all.push(object.name.clone()),
            "Node" => all.extend(on_node(seen, &object.name)),
            // A claim of its own ends in the member's name; a shared one is everybody's.
            "PersistentVolumeClaim" => {
                match seen.members().into_iter().find(|member| object.name.ends_with(&format!("-{member}"))) {
                    Some(member) => all.push(member),
                    None => return Members::All,
                }
            }
            _ => return Members::All,
        }
    }
    Members::Some(all)
}

fn on_node<'a>(seen: &'a Observation, node: &'a str) -> impl Iterator<Item = String> + 'a {
    seen.pods.iter().filter(move |pod| pod.node() == Some(node)).filter_map(|pod| pod.metadata.name.clone())
}

fn consequence(symptom: &Finding) -> Consequence {
    Consequence {
        code: symptom.code,
        object: symptom.object.clone(),
        also: symptom.also.clone(),
        summary: symptom.summary.clone(),
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use serde_json::json;

    use super::super::testing::{noon, pod, seen};
    use super::*;

    fn two() -> Observation {
        seen(json!([pod("pgset-0", json!({})), pod("pgset-1", json!({}))]), json!([]))
    }

    fn finding(code: &'static str, severity: Severity, kind: &str, name: &str, summary: &str) -> Finding {
        Finding::new(code, severity, kind, name, summary)
    }

    #[test]
    fn the_same_cause_on_several_objects_is_one_finding_that_names_them_all() {
        let image = |pod| finding("PGS-IMAGE-NOT-FOUND", Severity::Fatal, "Pod", pod, "image x does not exist");
        let found = fold(&two(), vec![image("pgset-0"), image("pgset-1")]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].objects().map(|object| object.name.as_str()).collect::<Vec<_>>(), ["pgset-0", "pgset-1"]);
        // Another cause under the same code stays apart; the object's own name makes none.
        let crash = |pod: &str, words: &str| finding("PGS-CRASH-LOOP", Severity::Fatal, "Pod", pod, words);
        assert_eq!(fold(&two(), vec![crash("pgset-0", "disk full"), crash("pgset-1", "no memory")]).len(), 2);
        assert_eq!(
            fold(&two(), vec![crash("pgset-0", "/pgset-0 is full"), crash("pgset-1", "/pgset-1 is full")]).len(),
            1
        );
    }

    #[test]
    fn of_joined_findings_the_worse_decides_about_the_wait() {
        let grace = SignedDuration::from_secs(20);
        let blocking = |pod, at| {
            finding("PGS-IMAGE-UNREACHABLE", Severity::Blocking, "Pod", pod, "no registry").blocking_from(at, grace)
        };
        let early = fold(&two(), vec![blocking("pgset-0", Some(noon() + grace)), blocking("pgset-1", Some(noon()))]);
        assert!(!early[0].ends_wait(noon()) && early[0].ends_wait(noon() + grace));
        let never = fold(&two(), vec![blocking("pgset-0", None), blocking("pgset-1", Some(noon()))]);
        assert!(never[0].ends_wait(noon() + grace));
    }

    #[test]
    fn a_replica_that_waits_for_a_primary_without_an_image_is_one_finding() {
        let image = finding("PGS-IMAGE-NOT-FOUND", Severity::Fatal, "Pod", "pgset-0", "image x does not exist");
        let waits = finding("PGS-NOT-READY", Severity::Waiting, "Pod", "pgset-1", "no member answers as the primary");
        let found = fold(&two(), vec![waits.clone(), image.clone()]);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].code, found[0].consequences.len()), ("PGS-IMAGE-NOT-FOUND", 1));
        assert_eq!(found[0].consequences[0].object.name, "pgset-1");
        // With a primary that answers, the replica's trouble is its own.
        let mut answering = two();
        let server = super::super::super::observation::Server::default();
        answering
            .answers
            .insert("pgset-0".to_owned(), super::super::super::observation::Answer::Answered(Box::new(server)));
        let other = finding("PGS-IMAGE-NOT-FOUND", Severity::Fatal, "Pod", "pgset-2", "image x does not exist");
        assert_eq!(fold(&answering, vec![waits, other]).len(), 2);
    }

    #[test]
    fn of_two_causes_each_has_the_symptoms_of_its_own_members() {
        let mut seen =
            seen(json!([pod("pgset-0", json!({})), pod("pgset-1", json!({})), pod("pgset-2", json!({}))]), json!([]));
        let server = super::super::super::observation::Server::default();
        seen.answers.insert("pgset-0".to_owned(), super::super::super::observation::Answer::Answered(Box::new(server)));
        let crash = finding("PGS-CRASH-LOOP", Severity::Fatal, "Pod", "pgset-1", "it crashes");
        let mount = finding("PGS-MOUNT-FAILED", Severity::Blocking, "Pod", "pgset-2", "it cannot be mounted");
        let waits = |pod, words: &str| finding("PGS-NOT-READY", Severity::Waiting, "Pod", pod, words);
        let found = fold(&seen, vec![waits("pgset-2", "no volume"), mount, waits("pgset-1", "no answer"), crash]);
        let told: Vec<(&str, &str)> =
            found.iter().map(|one| (one.code, one.consequences[0].object.name.as_str())).collect();
        assert_eq!(told, [("PGS-CRASH-LOOP", "pgset-1"), ("PGS-MOUNT-FAILED", "pgset-2")]);
        assert!(found.iter().all(|one| one.consequences.len() == 1), "{found:?}");
    }

    #[test]
    fn what_ends_a_wait_does_not_disappear_below_what_never_does() {
        let node = finding("PGS-NODE-NOT-READY", Severity::Waiting, "Node", "node1", "the node is not ready");
        let crash = |severity| finding("PGS-CRASH-LOOP", severity, "Pod", "pgset-0", "it crashes");
        assert_eq!(fold(&two(), vec![node.clone(), crash(Severity::Fatal)]).len(), 2);
        assert_eq!(fold(&two(), vec![node, crash(Severity::Waiting)]).len(), 1);
    }

    #[test]
    fn the_heaviest_comes_first_and_among_equals_the_root() {
        let found = fold(
            &two(),
            vec![
                finding("PGS-UNSCHEDULABLE", Severity::Waiting, "Pod", "pgset-1", "no node"),
                finding("PGS-TWO-PRIMARIES", Severity::Fatal, "StatefulSet", "pgset", "two"),
                finding("PGS-IMAGE-INVALID", Severity::Fatal, "Pod", "pgset-1", "bad name"),
            ],
        );
        // Two primaries are not explained by an image: both are told.
        let codes: Vec<_> = found.iter().map(|finding| finding.code).collect();
        assert_eq!(codes[0], "PGS-IMAGE-INVALID");
        assert!(codes.contains(&"PGS-UNSCHEDULABLE"), "{codes:?}");
    }
}
