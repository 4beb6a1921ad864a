//! The API server refuses the members' pods: quota, PodSecurity, webhooks, a missing ServiceAccount.
//!
//! No pod exists to look at then; the only trace is the StatefulSet's `FailedCreate` event.

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Event;

use super::{Asked, Depth, Entry, Finding, Severity, quoted_after};

/// The controller tries again at once and then ever more slowly, and a quota that was freed a moment ago is counted
/// late; what is still refused after this long stays refused.
const GRACE: SignedDuration = SignedDuration::from_secs(5);

pub(super) fn findings(asked: &Asked<'_>) -> Vec<Finding> {
    let seen = asked.seen;
    let lacking = (0..seen.wanted().unwrap_or(0)).map(|ordinal| seen.member_name(ordinal));
    let lacking: Vec<String> = lacking.filter(|member| seen.pod(member).is_none()).collect();
    if lacking.is_empty() {
        return Vec::new();
    }
    let refusals =
        seen.events_of("StatefulSet", &seen.name).filter(|event| event.reason.as_deref() == Some("FailedCreate"));
    let about_lacking = refusals.filter(|event| {
        let message = event.message.as_deref().unwrap_or_default();
        // "create Pod pgset-0 in StatefulSet pgset failed error: …", and the same for "create Claim …".
        lacking.iter().any(|member| message.contains(&format!("{member} ")))
    });
    about_lacking.last().map(|event| refusal(asked, event)).into_iter().collect()
}

fn refusal(asked: &Asked<'_>, event: &Event) -> Finding {
    let seen = asked.seen;
    let message = event.message.as_deref().unwrap_or_default();
    let cause = message.split_once("failed error: ").map_or(message, |(_, cause)| cause);
    let about = |code, summary: String| Finding::new(code, Severity::Blocking, "StatefulSet", &seen.name, summary);
    let namespace = &seen.namespace;
    let finding = if cause.contains("exceeded quota") {
        let quota = cause.split_once("exceeded quota: ").and_then(|(_, rest)| rest.split(',').next()).unwrap_or("?");
        about(
            "PGS-QUOTA",
            format!("ResourceQuota {quota} in namespace {namespace} leaves no room for the members' pods"),
        )
        .fix(format!("raise it: kubectl -n {namespace} edit resourcequota {quota}"))
        .fix("or ask for less: pgset up --cpu … --memory …")
    } else if cause.contains("violates PodSecurity") {
        about("PGS-PODSECURITY", format!("namespace {namespace} enforces a PodSecurity level that the pods violate"))
            .fix(format!("see the level: kubectl get namespace {namespace} --show-labels"))
            .fix("remove whatever the overridden template adds, or run the set in another namespace (-n)")
    } else if cause.contains("serviceaccount") && cause.contains("not found") {
        let account = quoted_after(cause, "serviceaccount").unwrap_or("?");
        about("PGS-SERVICEACCOUNT-MISSING", format!("ServiceAccount {account} does not exist in namespace {namespace}"))
            .fix("put it back: pgset up")
    } else if cause.contains("admission webhook") || cause.contains("failed calling webhook") {
        let webhook = quoted_after(cause, "webhook").unwrap_or("?");
        about("PGS-WEBHOOK", format!("admission webhook {webhook} refuses the members' pods or does not answer"))
            .fix("ask whoever runs it: kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations")
    } else if cause.contains("usage per Container") || cause.contains("usage per Pod") {
        about("PGS-LIMIT-RANGE", format!("a LimitRange in namespace {namespace} does not allow the members' resources"))
            .fix(format!("see its bounds: kubectl -n {namespace} describe limitrange"))
            .fix("ask for what it allows: pgset up --cpu … --memory …")
    } else {
        about("PGS-CREATE-REFUSED", "the API server refuses to create the members' pods".to_owned())
            .fix(format!("read the cause above, then: kubectl -n {namespace} describe statefulset {}", seen.name))
    };
    finding.evidence(message).blocking_from(asked.counts_from(event), GRACE)
}

/// What this family finds.
pub(super) const CATALOGUE: &[Entry] = &[
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
        title: "an admission webhook refuses or does not answer",
        meaning: "An admission webhook of the cluster keeps the members' pods from being created.",
        known_by: "The StatefulSet's newest FailedCreate event names the webhook and how it failed.",
        fix: "Ask whoever runs the webhook; its configuration says which namespaces it may be told to leave out.",
        doubt: "A webhook that restarts is back within seconds.",
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
        assert_eq!(code_of("create Pod pgset-0 in StatefulSet pgset failed error: what is this"), "PGS-CREATE-REFUSED");
    }

    #[test]
    fn a_refusal_that_was_overcome_is_no_finding() {
        let refused = event("StatefulSet", "pgset", "FailedCreate", "create Pod pgset-0 in StatefulSet pgset failed");
        let seen = seen(json!([pod("pgset-0", json!({}))]), json!([refused]));
        assert!(findings(&Asked { seen: &seen, since: None }).is_empty());
    }
}
