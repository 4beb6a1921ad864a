//! Kubernetes itself does not do its part: the StatefulSet controller is silent, or the set was deleted meanwhile.

use jiff::SignedDuration;
use k8s_openapi::api::apps::v1::StatefulSet;

use super::super::health::is_observed;
use super::super::observation::PodReading;
use super::{Asked, Depth, Entry, Finding, Severity};

/// A controller sees a change within moments; less is normal.
const NORMAL: SignedDuration = SignedDuration::from_secs(10);

/// After a restart or a lost lease another controller manager takes over within about 17 s, and then has to list the
/// cluster. Nobody at work after this long is nobody there.
const SILENCE: SignedDuration = SignedDuration::from_secs(40);

/// A set that is deleted and made again by somebody, as `kubectl replace --force` does, is gone for a moment only.
const GONE: SignedDuration = SignedDuration::from_secs(5);

pub(super) fn findings(asked: &Asked<'_>) -> Vec<Finding> {
    let Some(set) = &asked.seen.stateful_set else { return gone(asked).into_iter().collect() };
    deleted(asked, set).or_else(|| silent(asked, set)).into_iter().collect()
}

/// Somebody waits for a set that is not there any more. Without a wait nobody expects it to be there.
fn gone(asked: &Asked<'_>) -> Option<Finding> {
    asked.since?;
    let name = &asked.seen.name;
    let summary = format!("there is no StatefulSet {name} in namespace {} any more", asked.seen.namespace);
    Some(
        Finding::new("PGS-SET-GONE", Severity::Blocking, "StatefulSet", name, summary)
            .fix("somebody has deleted it; the claims and their data may still be there: pgset up")
            .lasting(GONE, GONE),
    )
}

fn deleted(asked: &Asked<'_>, set: &StatefulSet) -> Option<Finding> {
    let since = set.metadata.deletion_timestamp.as_ref()?.0;
    let name = &asked.seen.name;
    let finalizers = set.metadata.finalizers.as_deref().unwrap_or_default();
    let held: Vec<&str> = finalizers.iter().map(String::as_str).filter(|f| *f != "foregroundDeletion").collect();
    let finding =
        Finding::new("PGS-SET-GONE", Severity::Blocking, "StatefulSet", name, "the StatefulSet is being deleted");
    let finding = if held.is_empty() {
        finding.fix("wait until it is gone, then: pgset up")
    } else {
        finding
            .evidence(format!("finalizers: {}", held.join(", ")))
            .fix("what set the finalizer has to finish its work or be asked why it does not")
    };
    Some(finding.blocking_from(Some(since).max(asked.since), GONE))
}

/// The controller has not seen the latest change, or does nothing about members that are missing, and says nothing.
fn silent(asked: &Asked<'_>, set: &StatefulSet) -> Option<Finding> {
    let seen = asked.seen;
    let name = &seen.name;
    let wanted = seen.wanted().unwrap_or(0);
    let missing = (0..wanted).map(|ordinal| seen.member_name(ordinal)).find(|member| seen.pod(member).is_none());
    let summary = match missing {
        _ if !is_observed(set) => "the StatefulSet controller has not looked at the latest change".to_owned(),
        // While a pod goes, its successor cannot be made; and a refusal is an event, told by the admission family.
        // One after another: each comes once those before it are ready, which is told about them.
        Some(_) if in_order(set) && seen.pods.iter().any(|pod| !pod.is_ready()) => return None,
        Some(member) if !seen.pods.iter().any(PodReading::is_terminating) && !has_spoken(asked) => {
            format!("the StatefulSet controller does not create {member}, and does not say why")
        }
        _ => return None,
    };
    Some(
        Finding::new("PGS-CONTROLLER-SILENT", Severity::Blocking, "StatefulSet", name, summary)
            .fix("is the cluster's kube-controller-manager running? kubectl -n kube-system get pods; kubectl get leases -n kube-system kube-controller-manager")
            .fix("nothing is lost: the set goes on when the controller is back")
            .lasting(NORMAL, SILENCE),
    )
}

/// Whether members are made one after another.
fn in_order(set: &StatefulSet) -> bool {
    set.spec.pod_management_policy.as_deref().is_some_and(|policy| policy == "OrderedReady")
}

/// Whether the controller has said something about the set that may be the reason.
fn has_spoken(asked: &Asked<'_>) -> bool {
    let warnings = asked.seen.events_of("StatefulSet", &asked.seen.name);
    warnings.into_iter().any(|event| event.reason.as_deref().is_some_and(|reason| reason.starts_with("Failed")))
}

/// What this family finds.
pub(super) const CATALOGUE: &[Entry] = &[
    Entry {
        code: "PGS-CONTROLLER-SILENT",
        severity: Severity::Blocking,
        depth: Depth::Cluster,
        title: "the StatefulSet controller does nothing",
        meaning: "The cluster's StatefulSet controller does not act on the set, so no member is made or changed.",
        known_by: "The StatefulSet's observed generation is behind, or members are missing, and no event says why.",
        fix: "Bring the cluster's kube-controller-manager back; the set then goes on by itself.",
        doubt: "A controller manager that has just been restarted, or a very large cluster, needs some seconds.",
    },
    Entry {
        code: "PGS-SET-GONE",
        severity: Severity::Blocking,
        depth: Depth::Set,
        title: "the set was deleted meanwhile",
        meaning: "The StatefulSet that is waited for has been deleted, or is being deleted.",
        known_by: "The StatefulSet is not there any more, or has a deletion timestamp.",
        fix: "Run pgset up again; the claims and their data stay unless they were deleted as well.",
        doubt: "Somebody may be replacing it at this moment.",
    },
];

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::super::super::observation::Observation;
    use super::super::testing::{event, noon, pod, seen};
    use super::*;

    fn found(seen: &Observation, since: Option<Timestamp>) -> Vec<Finding> {
        findings(&Asked { seen, since })
    }

    fn unobserved(pods: Value) -> Observation {
        let mut seen = seen(pods, json!([]));
        seen.stateful_set.as_mut().unwrap().metadata.generation = Some(2);
        seen
    }

    #[test]
    fn a_controller_that_does_not_look_is_named_and_ends_the_wait_when_nobody_can_have_taken_over() {
        let mut found = found(&unobserved(json!([])), Some(noon()));
        assert!(!found[0].ends_wait(Timestamp::MAX), "how long it lasts, one look cannot tell");
        found[0].met_at(noon());
        assert_eq!((found[0].code, found[0].normal_until), ("PGS-CONTROLLER-SILENT", Some(noon() + NORMAL)));
        assert!(!found[0].ends_wait(noon() + SILENCE - SignedDuration::from_millis(1)));
        assert!(found[0].ends_wait(noon() + SILENCE));
    }

    #[test]
    fn members_that_are_missing_without_a_word_are_the_controllers_silence() {
        let one = json!([pod("pgset-0", json!({}))]);
        assert_eq!(found(&seen(one.clone(), json!([])), Some(noon()))[0].code, "PGS-CONTROLLER-SILENT");
        let refused = event("StatefulSet", "pgset", "FailedCreate", "create Pod pgset-1 in StatefulSet pgset failed");
        assert!(found(&seen(one, json!([refused])), Some(noon())).is_empty());
        let both = json!([pod("pgset-0", json!({})), pod("pgset-1", json!({}))]);
        assert!(found(&seen(both, json!([])), Some(noon())).is_empty());
    }

    #[test]
    fn in_order_the_next_member_comes_once_those_before_it_are_ready() {
        let observed = |ready: bool| {
            let mut first = pod("pgset-0", json!({}));
            first["status"]["conditions"] = json!([{"type": "Ready", "status": if ready { "True" } else { "False" }}]);
            let mut seen = seen(json!([first]), json!([]));
            seen.stateful_set.as_mut().unwrap().spec.pod_management_policy = Some("OrderedReady".to_owned());
            seen
        };
        assert!(found(&observed(false), Some(noon())).is_empty());
        assert_eq!(found(&observed(true), Some(noon()))[0].code, "PGS-CONTROLLER-SILENT");
    }

    #[test]
    fn while_a_pod_goes_nobody_has_to_make_its_successor() {
        let mut going = pod("pgset-2", json!({}));
        going["metadata"]["deletionTimestamp"] = json!(noon().to_string());
        assert!(found(&seen(json!([going]), json!([])), Some(noon())).is_empty());
    }

    #[test]
    fn a_set_that_is_gone_ends_a_wait_and_is_nothing_where_nobody_waits() {
        let nothing = Observation { name: "pgset".to_owned(), ..Observation::default() };
        assert!(found(&nothing, None).is_empty());
        let mut gone = found(&nothing, Some(noon()));
        gone[0].met_at(noon());
        assert_eq!(gone[0].code, "PGS-SET-GONE");
        assert!(!gone[0].ends_wait(noon() + GONE - SignedDuration::from_millis(1)) && gone[0].ends_wait(noon() + GONE));
    }

    #[test]
    fn a_set_that_is_being_deleted_says_what_holds_it() {
        let mut going = seen(json!([]), json!([]));
        let metadata = &mut going.stateful_set.as_mut().unwrap().metadata;
        metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(noon()));
        metadata.finalizers = Some(vec!["example.com/hold".to_owned()]);
        let found = found(&going, Some(noon()));
        assert_eq!((found[0].code, found[0].evidence[0].as_str()), ("PGS-SET-GONE", "finalizers: example.com/hold"));
    }
}
