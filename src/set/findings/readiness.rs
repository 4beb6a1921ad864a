//! A member runs, but its probe says that no client should be sent to it. Mostly a symptom: the probe's own sentence tells
//! whose.

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Pod;

use super::super::observation::PodReading;
use super::super::phase::probe_says;
use super::revision::speaks;
use super::{Asked, Depth, Entry, Finding, Severity};

/// A readiness probe asks every 5 s and a replica may have to connect again: less is no trouble yet.
const NORMAL: SignedDuration = SignedDuration::from_secs(10);

/// What the start script and the probe say while they wait for somebody else, in contrast to what they do themselves.
const WAITING_FOR_OTHERS: [&str; 5] =
    ["does not stream", "answers as the primary", "waiting for", "DNS does not know", "refuses the password"];

pub(super) fn findings(asked: &Asked<'_>) -> Vec<Finding> {
    let current = asked.seen.pods.iter().filter(|pod| speaks(asked.seen, pod));
    current.filter_map(|pod| not_ready(asked, pod)).collect()
}

fn not_ready(asked: &Asked<'_>, pod: &Pod) -> Option<Finding> {
    pod.container()?.state.as_ref()?.running.as_ref()?;
    let name = pod.metadata.name.as_deref()?;
    let words = probe_says(asked.seen, name);
    let waits = words.as_ref().is_some_and(|words| WAITING_FOR_OTHERS.iter().any(|wait| words.contains(wait)));
    // Before its first readiness a member is only on its way, unless it waits for somebody.
    if pod.is_ready() || !(pod.has_started() || waits) {
        return None;
    }
    let summary = words.unwrap_or_else(|| "the readiness probe fails without a word".to_owned());
    let log = format!("its log may say more: kubectl -n {} logs {name}", asked.seen.namespace);
    let finding = Finding::new("PGS-NOT-READY", Severity::Waiting, "Pod", name, summary).fix(log);
    Some(finding.normal_at_first(NORMAL))
}

/// What this family finds.
pub(super) const CATALOGUE: &[Entry] = &[Entry {
    code: "PGS-NOT-READY",
    severity: Severity::Waiting,
    depth: Depth::Symptom,
    title: "a member runs but is not ready",
    meaning: "The member's readiness probe fails, so no client is sent to it.",
    known_by: "The probe's own sentence, which the kubelet keeps as an Unhealthy event of the pod.",
    fix: "The sentence names what the member waits for; its log may say more.",
    doubt: "The event may be a few seconds older than the member's state.",
}];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{event, noon, pod, seen};
    use super::*;

    fn found(started: bool, words: &str) -> Vec<Finding> {
        let running = json!({"started": started, "state": {"running": {"startedAt": noon().to_string()}}});
        let unhealthy = event("Pod", "pgset-1", "Unhealthy", &format!("Readiness probe failed: {words}\n"));
        let seen = seen(json!([pod("pgset-1", running)]), json!([unhealthy]));
        findings(&Asked { seen: &seen, since: None })
    }

    #[test]
    fn a_failing_probe_is_told_in_its_own_words() {
        let found = found(true, "the replica does not stream: no member of pgset answers as the primary");
        assert_eq!((found[0].code, found[0].severity), ("PGS-NOT-READY", Severity::Waiting));
        assert_eq!(found[0].summary, "the replica does not stream: no member of pgset answers as the primary");
        let mut met = found[0].clone();
        met.met_at(noon());
        assert_eq!((met.normal_until, met.fatal_from), (Some(noon() + NORMAL), None));
    }

    #[test]
    fn a_member_on_its_way_is_no_finding_and_one_that_waits_for_another_is() {
        assert!(self::found(false, "cloning from pgset-0: 3 of 40 MB copied").is_empty());
        assert!(self::found(false, "starting PostgreSQL as a replica").is_empty());
        assert_eq!(self::found(false, "waiting for a primary: no member of pgset answers as the primary").len(), 1);
    }
}
