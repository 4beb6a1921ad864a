//! The database is right, but a Service leads elsewhere: its selector or the members' labels have drifted.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Service;

use super::super::Observation;
use super::super::health::{self, Unmet};
use super::super::identity::is_crunchy;
use super::super::observation::PodReading;
use super::super::promote::POD_NAME;
use super::super::rollout::relabel;
use super::{Asked, Depth, Entry, Finding, Severity};

/// A wait puts the members' labels right itself, and the endpoint controllers follow within seconds.
const GRACE: SignedDuration = SignedDuration::from_secs(10);

pub(super) fn findings(asked: &Asked<'_>) -> Vec<Finding> {
    // Asked for only once everything else is right and endpoints have been wrong for a while.
    let Some(services) = &asked.seen.services else { return Vec::new() };
    let unmet = health::health(asked.seen).unmet;
    unmet.iter().filter_map(|unmet| endpoints(asked, services, unmet)).collect()
}

fn endpoints(asked: &Asked<'_>, services: &[Service], unmet: &Unmet) -> Option<Finding> {
    let Unmet::Endpoints { service: name, have, want } = unmet else { return None };
    let seen = asked.seen;
    let namespace = &seen.namespace;
    // The controllers have nothing to follow before the members are ready, which after an outage may be late in a wait.
    let ready = want.iter().filter_map(|member| seen.pod(member)?.ready_since()).max();
    let since = asked.since.map(|since| ready.map_or(since, |ready| ready.max(since)));
    let about = |code, summary: String| {
        let finding = Finding::new(code, Severity::Blocking, "Service", name, summary).evidence(unmet.to_string());
        finding.blocking_from(since, GRACE)
    };
    let Some(service) = services.iter().find(|service| service.metadata.name.as_ref() == Some(name)) else {
        return Some(
            about("PGS-SERVICE-MISSING", "the Service does not exist".to_owned()).fix("put it back: pgset up"),
        );
    };
    let selector = service.spec.as_ref().and_then(|spec| spec.selector.clone()).unwrap_or_default();
    let leads = match have.len() {
        0 => "nobody".to_owned(),
        _ => have.join(", "),
    };
    let right = right_selector(seen, name, want)?;
    if selector != right {
        let summary =
            format!("the Service selects {}, so it leads to {leads} instead of {}", words(&selector), want.join(", "));
        let patch = serde_json::json!([{"op": "replace", "path": "/spec/selector", "value": right}]);
        let drift = about("PGS-SELECTOR-DRIFT", summary);
        // It names another member: so it is after a switchover that was cut short.
        let drift = match (selector.get(POD_NAME), want.first()) {
            (Some(_), Some(primary)) if selector.len() == 1 && !seen.stateful_set.as_ref().is_some_and(is_crunchy) => {
                drift.fix(format!("lead it to the primary, as a switchover would have: pgset promote {primary}"))
            }
            _ => drift,
        };
        return Some(
            drift.fix(format!("put it back: kubectl -n {namespace} patch service {name} --type=json -p '{patch}'")),
        );
    }
    // The selector is right, so it is the labels of the pods, or whoever should follow them.
    let wrong = relabel(seen).into_iter().map(|one| (one.pod, "name".to_owned(), one.name));
    let lacks = want.iter().filter(|member| {
        let labels = seen.pod(member).and_then(|pod| pod.metadata.labels.as_ref());
        right.contains_key(POD_NAME) && labels.and_then(|labels| labels.get(POD_NAME)) != Some(member)
    });
    let lacks = lacks.map(|member| (member.clone(), POD_NAME.to_owned(), member.clone()));
    let drifted: Vec<(String, String, String)> = lacks.chain(wrong).collect();
    if drifted.is_empty() {
        let summary = format!("the Service's endpoints do not follow its selector: it leads to {leads}");
        return Some(about("PGS-ENDPOINTS-STALE", summary).fix(
            "the endpoint controllers make them; is the controller manager up? kubectl -n kube-system get pods,leases",
        ));
    }
    if let Some((pod, words)) = refused_label(seen, &drifted) {
        let refused = "the image may not label its own pod, so reads are led to the primary as well";
        let finding = Finding::new("PGS-LABEL-REFUSED", Severity::Blocking, "Pod", pod, refused).evidence(words);
        return Some(
            finding
                .evidence(unmet.to_string())
                .blocking_from(since, GRACE)
                .fix("put the Role and its binding back, and the label right: pgset up")
                .fix("or have the roles chosen without the Kubernetes API: pgset up --role-by ordinal"),
        );
    }
    let summary = format!(
        "the members' labels do not fit their roles, so the Service leads to {leads} instead of {}",
        want.join(", ")
    );
    let fixes = drifted
        .iter()
        .map(|(pod, label, value)| format!("kubectl -n {namespace} label --overwrite pod {pod} {label}={value}"));
    Some(fixes.fold(about("PGS-LABEL-DRIFT", summary), Finding::fix))
}

/// What an image whose label call failed said about it, and in which member.
fn refused_label<'a>(seen: &'a Observation, drifted: &'a [(String, String, String)]) -> Option<(&'a str, &'a str)> {
    let refused = |line: &&String| line.contains("Error from server") || line.contains("orbidden");
    drifted.iter().find_map(|(pod, ..)| {
        let line = seen.running_logs.get(pod)?.iter().rev().find(refused)?;
        Some((pod.as_str(), line.as_str()))
    })
}

/// What the templates give the Service: the primary by its pod's name, the replicas by a label.
fn right_selector(seen: &super::super::Observation, name: &str, want: &[String]) -> Option<BTreeMap<String, String>> {
    if name == format!("{}-master", seen.name) {
        Some([(POD_NAME.to_owned(), want.first()?.clone())].into())
    } else {
        Some([("name".to_owned(), name.to_owned())].into())
    }
}

fn words(selector: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
    if pairs.is_empty() { "nothing".to_owned() } else { pairs.join(",") }
}

/// What this family finds.
pub(super) const CATALOGUE: &[Entry] = &[
    Entry {
        code: "PGS-SERVICE-MISSING",
        severity: Severity::Blocking,
        depth: Depth::Set,
        title: "a Service is missing",
        meaning: "One of the set's two Services does not exist.",
        known_by: "The list of the namespace's Services.",
        fix: "pgset up puts it back.",
        doubt: "None known.",
    },
    Entry {
        code: "PGS-SELECTOR-DRIFT",
        severity: Severity::Blocking,
        depth: Depth::Set,
        title: "a Service selects the wrong pods",
        meaning: "Somebody changed a Service's selector, so clients are led to nobody or to the wrong member.",
        known_by: "The Service's selector beside the roles that PostgreSQL told.",
        fix: "Put it back with the patch that the finding gives; after a switchover that was cut short, pgset promote does.",
        doubt: "An overridden Service template may select otherwise on purpose.",
    },
    Entry {
        code: "PGS-LABEL-DRIFT",
        severity: Severity::Blocking,
        depth: Depth::Set,
        title: "a member's labels do not fit its role",
        meaning: "A Service finds its members by labels that a pod has lost or has too many of.",
        known_by: "The pods' labels beside the roles that PostgreSQL told.",
        fix: "Label the pod, or run pgset wait, which does it.",
        doubt: "None known.",
    },
    Entry {
        code: "PGS-LABEL-REFUSED",
        severity: Severity::Blocking,
        depth: Depth::Set,
        title: "the image may not label its pod",
        meaning: "A Crunchy image with PG_MODE=set labels its own pod through the Kubernetes API, and was refused. Writes are \
                  not touched by that: pgset-master finds the primary by its pod's name.",
        known_by: "The image's own words in the member's log, beside labels that do not fit the roles.",
        fix: "pgset up puts Role, binding and label back; --role-by ordinal does without them.",
        doubt: "The line may be older than the rights; the labels are as they are now.",
    },
    Entry {
        code: "PGS-ENDPOINTS-STALE",
        severity: Severity::Blocking,
        depth: Depth::Cluster,
        title: "endpoints do not follow their Service",
        meaning: "Selector and labels are right, but the Service leads elsewhere.",
        known_by: "The Service's EndpointSlices.",
        fix: "See whether the controller manager runs.",
        doubt: "On a very busy cluster the controllers are late.",
    },
];

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::super::observation::{Answer, Observation, Server, Standby, WalReceiver};
    use super::super::testing::{noon, pod, seen};
    use super::*;

    /// A healthy set but for its Services; `endpoints` of the primary's.
    fn observed(selector: Value, endpoints: &[&str]) -> Observation {
        let ready = |name: &str, role: &str| {
            let mut pod = pod(name, json!({"started": true, "state": {"running": {}}}));
            pod["metadata"]["labels"] = json!({"name": role, POD_NAME: name});
            pod["status"]["conditions"] = json!([{"type": "Ready", "status": "True"}]);
            pod
        };
        let mut seen = seen(json!([ready("pgset-0", "pgset-master"), ready("pgset-1", "pgset-replica")]), json!([]));
        let row =
            Standby { application_name: "pgset-1".to_owned(), state: "streaming".to_owned(), ..Standby::default() };
        let receiver = WalReceiver { status: "streaming".to_owned(), ..WalReceiver::default() };
        let primary = Server { standbys: vec![row], ..Server::default() };
        let replica = Server { in_recovery: true, wal_receiver: Some(receiver), ..Server::default() };
        seen.answers.insert("pgset-0".to_owned(), Answer::Answered(Box::new(primary)));
        seen.answers.insert("pgset-1".to_owned(), Answer::Answered(Box::new(replica)));
        let slice = |service: &str, members: &[&str]| {
            let endpoints: Vec<Value> = members
                .iter()
                .map(|member| json!({"addresses": ["10.0.0.1"], "targetRef": {"name": member}}))
                .collect();
            json!({"metadata": {"labels": {"kubernetes.io/service-name": service}}, "addressType": "IPv4", "endpoints": endpoints})
        };
        let slices = json!([slice("pgset-master", endpoints), slice("pgset-replica", &["pgset-1"])]);
        seen.endpoint_slices = serde_json::from_value(slices).unwrap();
        let service = json!([{"metadata": {"name": "pgset-master"}, "spec": {"selector": selector}}]);
        seen.services = Some(serde_json::from_value(service).unwrap());
        seen
    }

    #[test]
    fn each_way_a_service_goes_astray_has_its_code_and_command() {
        let right = json!({POD_NAME: "pgset-0"});
        for (selector, endpoints, code, fix) in [
            (json!({"app": "other"}), &[][..], "PGS-SELECTOR-DRIFT", "patch service pgset-master --type=json"),
            (json!({POD_NAME: "pgset-1"}), &["pgset-1"], "PGS-SELECTOR-DRIFT", "would have: pgset promote pgset-0"),
            (
                json!({POD_NAME: "pgset-1"}),
                &["pgset-1"],
                "PGS-SELECTOR-DRIFT",
                "{\"statefulset.kubernetes.io/pod-name\":\"pgset-0\"}",
            ),
            (json!({"app": "pgset"}), &["pgset-0", "pgset-1"], "PGS-SELECTOR-DRIFT", "\"op\":\"replace\""),
            (right, &[], "PGS-ENDPOINTS-STALE", "controller manager"),
        ] {
            let seen = observed(selector, endpoints);
            let found = findings(&Asked { seen: &seen, since: Some(noon()) });
            assert_eq!(found[0].code, code);
            assert!(found[0].fix.iter().any(|line| line.contains(fix)), "{:?}", found[0].fix);
            assert!(!found[0].ends_wait(noon() + GRACE - SignedDuration::from_millis(1)));
            assert!(found[0].ends_wait(noon() + GRACE));
        }
    }

    #[test]
    fn endpoints_have_their_time_from_when_the_members_are_ready() {
        let mut seen = observed(json!({POD_NAME: "pgset-0"}), &[]);
        let late = noon() + SignedDuration::from_secs(30);
        for condition in seen.pods[0].status.as_mut().unwrap().conditions.as_mut().unwrap() {
            condition.last_transition_time = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(late));
        }
        let found = findings(&Asked { seen: &seen, since: Some(noon()) });
        assert_eq!(found[0].code, "PGS-ENDPOINTS-STALE");
        assert!(!found[0].ends_wait(late + GRACE - SignedDuration::from_millis(1)));
        assert!(found[0].ends_wait(late + GRACE));
    }

    #[test]
    fn a_missing_service_and_a_label_that_is_gone_are_told_apart() {
        let mut seen = observed(json!({POD_NAME: "pgset-0"}), &[]);
        seen.pods[0].metadata.labels.as_mut().unwrap().remove(POD_NAME);
        let found = findings(&Asked { seen: &seen, since: None });
        assert_eq!(found[0].code, "PGS-LABEL-DRIFT");
        assert_eq!(
            found[0].fix[0],
            "kubectl -n default label --overwrite pod pgset-0 statefulset.kubernetes.io/pod-name=pgset-0"
        );
        seen.services = Some(Vec::new());
        assert_eq!(findings(&Asked { seen: &seen, since: None })[0].code, "PGS-SERVICE-MISSING");
    }

    #[test]
    fn endpoints_that_are_right_or_were_not_looked_into_are_no_finding() {
        assert!(findings(&Asked { seen: &observed(json!({"app": "x"}), &["pgset-0"]), since: None }).is_empty());
        let mut seen = observed(json!({"app": "x"}), &[]);
        seen.services = None;
        assert!(findings(&Asked { seen: &seen, since: None }).is_empty());
    }
}
