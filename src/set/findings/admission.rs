//! The API server refuses the members' pods: quota, PodSecurity, policies, webhooks, a missing ServiceAccount.
//!
//! No pod exists to look at then; the only trace is the StatefulSet's `FailedCreate` event.

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Event;

use super::{Asked, Depth, Entry, Finding, Severity, quoted_after};
use crate::set::Observation;

/// The controller tries again at once and then ever more slowly, and a quota that was freed a moment ago is counted
/// late; what is still refused after this long stays refused.
const GRACE: SignedDuration = SignedDuration::from_secs(5);

pub(super) fn findings(asked: &Asked<'_>) -> Vec<Finding> {
    last_refusal(asked.seen).map(|event| refusal(asked, event)).into_iter().collect()
}

/// The newest event about a member that does not exist because the API server refused its pod or claim.
#[must_use]
pub fn last_refusal(seen: &Observation) -> Option<&Event> {
    let lacking = (0..seen.wanted().unwrap_or(0)).map(|ordinal| seen.member_name(ordinal));
    let lacking: Vec<String> = lacking.filter(|member| seen.pod(member).is_none()).collect();
    let refusals =
        seen.events_of("StatefulSet", &seen.name).filter(|event| event.reason.as_deref() == Some("FailedCreate"));
    let about_lacking = refusals.filter(|event| {
        let message = event.message.as_deref().unwrap_or_default();
        // "create Pod pgset-0 in StatefulSet pgset failed error: …", and the same for "create Claim …".
        lacking.iter().any(|member| message.contains(&format!("{member} ")))
    });
    about_lacking.last()
}

fn refusal(asked: &Asked<'_>, event: &Event) -> Finding {
    let message = event.message.as_deref().unwrap_or_default();
    let cause = message.split_once("failed error: ").map_or(message, |(_, cause)| cause);
    let finding = refused(&asked.seen.name, &asked.seen.namespace, cause);
    finding.evidence(message).blocking_from(asked.counts_from(event), GRACE)
}

/// Why the API server does not take a member's pod or claim, from its own words; also for one that was only tried.
#[must_use]
pub fn refused(set: &str, namespace: &str, cause: &str) -> Finding {
    let about = |code, summary: String| Finding::new(code, Severity::Blocking, "StatefulSet", set, summary);
    // First: what a rule says in its own words may be anything.
    if let Some((who, words, list)) = denied(cause) {
        about("PGS-ADMISSION-POLICY", format!("{who} denies the members' pods{words}"))
            .fix("change what it objects to: an option of pgset up, or an overridden template")
            .fix(format!("or ask whoever made the rule: kubectl get {list}"))
    } else if cause.contains("exceeded quota") || cause.contains("failed quota") {
        quota(set, namespace, cause)
    } else if cause.contains("violates PodSecurity") {
        let level =
            quoted_after(cause, "violates PodSecurity").and_then(|level| level.split(':').next()).unwrap_or("?");
        let summary = format!("namespace {namespace} enforces the PodSecurity level {level}, which the pods violate");
        about("PGS-PODSECURITY", summary)
            .fix(format!("see the level: kubectl get namespace {namespace} --show-labels"))
            .fix("remove whatever the overridden template adds, or run the set in another namespace (-n)")
    } else if cause.contains("serviceaccount") && cause.contains("not found") {
        let account = quoted_after(cause, "serviceaccount").unwrap_or("?");
        about("PGS-SERVICEACCOUNT-MISSING", format!("ServiceAccount {account} does not exist in namespace {namespace}"))
            .fix("put it back: pgset up")
    } else if cause.contains("because it is being terminated") {
        let summary = format!("namespace {namespace} is being deleted, so nothing can be made in it any more");
        Finding::new("PGS-NAMESPACE-GOING", Severity::Blocking, "Namespace", namespace, summary)
            .fix("bring the set up in another namespace: pgset up -n …")
            .fix(format!("or see what holds this one: kubectl get namespace {namespace} -o yaml"))
    } else if cause.contains("failed calling webhook") {
        let webhook = quoted_after(cause, "webhook").unwrap_or("?");
        about("PGS-WEBHOOK", format!("admission webhook {webhook} does not answer as it should, so no pod is let in"))
            .fix("ask whoever runs it: kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations")
    } else if ["usage per Container", "usage per Pod", "usage per PersistentVolumeClaim"]
        .iter()
        .any(|s| cause.contains(s))
    {
        about(
            "PGS-LIMIT-RANGE",
            format!("a LimitRange in namespace {namespace} does not allow what the members ask for"),
        )
        .fix(format!("see its bounds: kubectl -n {namespace} describe limitrange"))
        .fix(if cause.contains("PersistentVolumeClaim") {
            "ask for what it allows: pgset up --size …"
        } else {
            "ask for what it allows: pgset up --cpu … --memory …"
        })
    } else {
        about("PGS-CREATE-REFUSED", "the API server refuses to create the members' pods".to_owned())
            .fix(format!("read the cause above, then: kubectl -n {namespace} describe statefulset {set}"))
    }
}

/// Who denies a request by a rule of the cluster's own, with what words, and where such rules are listed:
/// `ValidatingAdmissionPolicy 'x' with binding 'y' denied request: …` and `admission webhook "x" denied the request: …`.
pub(super) fn denied(cause: &str) -> Option<(String, String, &'static str)> {
    let between = |after: &str, quote: char| {
        let (_, rest) = cause.split_once(after)?;
        rest.split_once(quote).map(|(inside, _)| inside.to_owned())
    };
    let (who, denies, list) = if let Some(policy) = between("ValidatingAdmissionPolicy '", '\'') {
        let binding = between("with binding '", '\'').map(|binding| format!(" (binding {binding})"));
        let list = "validatingadmissionpolicies,validatingadmissionpolicybindings";
        (format!("ValidatingAdmissionPolicy {policy}{}", binding.unwrap_or_default()), "denied request", list)
    } else {
        let list = "validatingwebhookconfigurations,mutatingwebhookconfigurations";
        (format!("admission webhook {}", between("admission webhook \"", '"')?), "denied the request", list)
    };
    let (_, words) = cause.split_once(denies)?;
    let words = words.trim_start_matches([':', ' ']).trim_end();
    // "denied the request without explanation".
    let said = if words.is_empty() || words == "without explanation" { String::new() } else { format!(": {words}") };
    Some((who, said, list))
}

/// "exceeded quota: NAME, requested: pods=1, used: pods=2, limited: pods=2", or "failed quota: NAME: must specify …".
fn quota(set: &str, namespace: &str, cause: &str) -> Finding {
    let name = cause.split_once(" quota: ").and_then(|(_, rest)| rest.split([',', ':']).next()).unwrap_or("?");
    let requested = cause.split_once("requested: ").and_then(|(_, rest)| rest.split(", used:").next()).unwrap_or("");
    let about = |summary: String| Finding::new("PGS-QUOTA", Severity::Blocking, "StatefulSet", set, summary);
    let raise = format!("raise it: kubectl -n {namespace} edit resourcequota {name}");
    if let Some((_, what)) = cause.split_once("must specify ") {
        let summary = format!("ResourceQuota {name} in namespace {namespace} takes only pods that specify {what}");
        return about(summary)
            .fix(format!(
                "have a LimitRange give it to pods that lack it: kubectl -n {namespace} create -f LIMITRANGE.yaml"
            ))
            .fix(raise);
    }
    let (room, less) = if requested.contains("storage") || requested.contains("persistentvolumeclaims") {
        ("claims", "or ask for less: pgset up --size … --replicas …")
    } else if requested.contains("cpu") || requested.contains("memory") {
        ("pods", "or ask for less: pgset up --cpu … --memory …")
    } else {
        ("pods", "or ask for fewer members: pgset up --replicas …")
    };
    let what = if requested.is_empty() { String::new() } else { format!(" ({requested})") };
    about(format!("ResourceQuota {name} in namespace {namespace} leaves no room for the members' {room}{what}"))
        .fix(raise)
        .fix(less)
}

/// What this family finds.
pub(super) const CATALOGUE: &[Entry] = &[
    Entry {
        code: "PGS-NAMESPACE-GOING",
        severity: Severity::Blocking,
        depth: Depth::Set,
        title: "the namespace is being deleted",
        meaning: "The set's namespace is on its way out, so nothing new can be made in it.",
        known_by: "The StatefulSet's newest FailedCreate event: the namespace is being terminated.",
        fix: "Use another namespace, or see what holds this one.",
        doubt: "None known: a namespace that goes does not come back.",
    },
    Entry {
        code: "PGS-QUOTA",
        severity: Severity::Blocking,
        depth: Depth::Set,
        title: "a ResourceQuota leaves no room",
        meaning: "The namespace's ResourceQuota refuses the members' pods or claims, so they are never created.",
        known_by: "The StatefulSet's newest FailedCreate event names the quota, what was requested and what is left.",
        fix: "Raise the quota, or ask for less with --replicas, --cpu, --memory or --size.",
        doubt: "Something else in the namespace may free the quota at any moment; the controller then goes on by itself, which is why this gets a few seconds.",
    },
    Entry {
        code: "PGS-PODSECURITY",
        severity: Severity::Blocking,
        depth: Depth::Set,
        title: "PodSecurity refuses the pods",
        meaning: "The namespace enforces a PodSecurity level that the members' pods violate.",
        known_by: "The StatefulSet's newest FailedCreate event lists the fields that violate the level.",
        fix: "pgset's own pods fit the level \"restricted\": remove what an overridden template adds, or use another namespace.",
        doubt: "An admission webhook that changes pods can be the one that adds what is refused.",
    },
    Entry {
        code: "PGS-SERVICEACCOUNT-MISSING",
        severity: Severity::Blocking,
        depth: Depth::Set,
        title: "the ServiceAccount is missing",
        meaning: "The members' ServiceAccount does not exist, so no pod can be created.",
        known_by: "The StatefulSet's newest FailedCreate event names the account.",
        fix: "Run pgset up again: it puts the account back.",
        doubt: "An account made a moment ago may not be known everywhere yet; that takes less than the few seconds waited.",
    },
    Entry {
        code: "PGS-WEBHOOK",
        severity: Severity::Blocking,
        depth: Depth::Set,
        title: "an admission webhook does not answer",
        meaning: "An admission webhook of the cluster is not reached or fails, and no pod is let in without its word.",
        known_by: "The StatefulSet's newest FailedCreate event names the webhook and how it failed.",
        fix: "Ask whoever runs the webhook; its configuration says which namespaces it may be told to leave out.",
        doubt: "A webhook that restarts is back within seconds.",
    },
    Entry {
        code: "PGS-ADMISSION-POLICY",
        severity: Severity::Blocking,
        depth: Depth::Set,
        title: "a policy of the cluster denies the pods",
        meaning: "A ValidatingAdmissionPolicy or an admission webhook has a rule that the members' pods or claims break.",
        known_by: "The StatefulSet's newest FailedCreate event has the policy's or webhook's name and its own words.",
        fix: "Change what it objects to with an option or an overridden template, or ask whoever made the rule.",
        doubt: "A rule that was deleted a moment ago is still heeded for about a second.",
    },
    Entry {
        code: "PGS-LIMIT-RANGE",
        severity: Severity::Blocking,
        depth: Depth::Set,
        title: "a LimitRange does not allow the resources",
        meaning: "A LimitRange of the namespace forbids what the members ask for.",
        known_by: "The StatefulSet's newest FailedCreate event names the bound.",
        fix: "Ask for what it allows with --cpu, --memory or --size, or change the LimitRange.",
        doubt: "None known.",
    },
    Entry {
        code: "PGS-CREATE-REFUSED",
        severity: Severity::Blocking,
        depth: Depth::Set,
        title: "the API server refuses the pods",
        meaning: "The API server does not let the members' pods or claims be created, for a reason that has no code of its own.",
        known_by: "The StatefulSet's newest FailedCreate event, which is shown.",
        fix: "Mend what the event says.",
        doubt: "The reason may be a passing one.",
    },
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{event, noon, pod, seen};
    use super::*;

    fn code_of(message: &str) -> &'static str {
        let seen = seen(json!([]), json!([event("StatefulSet", "pgset", "FailedCreate", message)]));
        let found = findings(&Asked { seen: &seen, since: None });
        assert!(!found[0].ends_wait(noon()) && found[0].ends_wait(noon() + GRACE), "{found:?}");
        found[0].code
    }

    #[test]
    fn each_refusal_has_its_code() {
        let quota = "create Pod pgset-0 in StatefulSet pgset failed error: pods \"pgset-0\" is forbidden: exceeded quota: \
            tiny, requested: pods=1, used: pods=0, limited: pods=0";
        assert_eq!(code_of(quota), "PGS-QUOTA");
        let security = "create Pod pgset-0 in StatefulSet pgset failed error: pods \"pgset-0\" is forbidden: violates \
            PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false";
        assert_eq!(code_of(security), "PGS-PODSECURITY");
        let account = "create Pod pgset-0 in StatefulSet pgset failed error: pods \"pgset-0\" is forbidden: error looking \
            up service account default/pgset-sa: serviceaccount \"pgset-sa\" not found";
        assert_eq!(code_of(account), "PGS-SERVICEACCOUNT-MISSING");
        let webhook = "create Pod pgset-0 in StatefulSet pgset failed error: Internal error occurred: failed calling \
            webhook \"deny.example.com\": connection refused";
        assert_eq!(code_of(webhook), "PGS-WEBHOOK");
        let going = "create Pod pgset-0 in StatefulSet pgset failed error: pods \"pgset-0\" is forbidden: unable to create \
            new content in namespace db because it is being terminated";
        assert_eq!(code_of(going), "PGS-NAMESPACE-GOING");
        let range = "create Pod pgset-0 in StatefulSet pgset failed error: pods \"pgset-0\" is forbidden: maximum memory \
            usage per Container is 64Mi, but limit is 512Mi";
        assert_eq!(code_of(range), "PGS-LIMIT-RANGE");
        assert_eq!(code_of("create Pod pgset-0 in StatefulSet pgset failed error: what is this"), "PGS-CREATE-REFUSED");
    }

    #[test]
    fn a_quota_says_what_it_is_short_of_and_how_to_ask_for_less() {
        let found = |rest: &str| refused("pgset", "db", &format!("pods \"pgset-0\" is forbidden: {rest}"));
        for (cause, words, fix) in [
            (
                "exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2",
                "members' pods (pods=1)",
                "--replicas",
            ),
            ("exceeded quota: q, requested: requests.cpu=100m, used: x, limited: y", "(requests.cpu=100m)", "--cpu"),
            ("exceeded quota: q, requested: requests.storage=1Gi, used: x, limited: y", "members' claims", "--size"),
            ("failed quota: q: must specify limits.cpu for: pgset", "specify limits.cpu for: pgset", "LimitRange"),
        ] {
            let found = found(cause);
            assert!(
                found.code == "PGS-QUOTA" && found.summary.contains("ResourceQuota q in namespace db"),
                "{found:?}"
            );
            assert!(found.summary.contains(words) && found.fix.join("\n").contains(fix), "{found:?}");
        }
    }

    #[test]
    fn a_rule_of_the_clusters_is_told_in_its_own_words() {
        for (cause, summary, list) in [
            (
                "pods \"pgset-0\" is forbidden: ValidatingAdmissionPolicy 'no-pg' with binding 'no-pg-here' denied request: \
                 databases need a cost-centre label, as quota does",
                "ValidatingAdmissionPolicy no-pg (binding no-pg-here) denies the members' pods: databases need a cost-centre \
                 label, as quota does",
                "kubectl get validatingadmissionpolicies",
            ),
            (
                "admission webhook \"deny.example.com\" denied the request: exceeded quota of patience",
                "admission webhook deny.example.com denies the members' pods: exceeded quota of patience",
                "kubectl get validatingwebhookconfigurations",
            ),
            (
                "admission webhook \"deny.example.com\" denied the request without explanation",
                "admission webhook deny.example.com denies the members' pods",
                "mutatingwebhookconfigurations",
            ),
        ] {
            let message = format!("create Pod pgset-0 in StatefulSet pgset failed error: {cause}");
            assert_eq!(code_of(&message), "PGS-ADMISSION-POLICY");
            let found = refused("pgset", "db", cause);
            assert_eq!(found.summary, summary);
            assert!(found.fix[1].contains(list), "{:?}", found.fix);
        }
    }

    #[test]
    fn a_refusal_that_was_overcome_is_no_finding() {
        let refused = event("StatefulSet", "pgset", "FailedCreate", "create Pod pgset-0 in StatefulSet pgset failed");
        let seen = seen(json!([pod("pgset-0", json!({}))]), json!([refused]));
        assert!(findings(&Asked { seen: &seen, since: None }).is_empty());
    }
}
