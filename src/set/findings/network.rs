//! The cluster's network as the members see it: DNS that does not answer, Services that lead nowhere.

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Pod;

use super::super::inside::KUBE_PROXY_SYNC;
use super::super::observation::{Inside, Observation, PodReading};
use super::super::phase::{newest_probe, probe_says};
use super::revision::speaks;
use super::{Asked, Depth, Entry, Finding, Severity, began};

/// A resolver that was asked too early says "no such name" for up to 30 s more; a DNS pod that is replaced is back by then.
const DNS_GRACE: SignedDuration = SignedDuration::from_secs(45);

/// Within the resolver's own memory it is normal.
const DNS_NORMAL: SignedDuration = SignedDuration::from_secs(10);

pub(super) fn findings(asked: &Asked<'_>) -> Vec<Finding> {
    let said = asked.seen.pods.iter().filter(|pod| speaks(asked.seen, pod)).filter_map(|pod| dns_by_probe(asked, pod));
    let asked_inside = asked.seen.inside.iter().filter_map(|(member, inside)| by_looking(asked, member, *inside));
    said.chain(asked_inside).collect()
}

/// The start script could not translate the name of a Service, which DNS knows for as long as the Service exists.
fn dns_by_probe(asked: &Asked<'_>, pod: &Pod) -> Option<Finding> {
    let name = pod.metadata.name.as_deref()?;
    let words = probe_says(asked.seen, name).filter(|words| words.contains("DNS does not know"))?;
    let since = newest_probe(asked.seen, name).and_then(began).max(asked.since);
    pod.container()?.state.as_ref()?.running.as_ref()?;
    let finding = dns(asked.seen).evidence(format!("{name}: {words}"));
    Some(finding.blocking_from(since, DNS_GRACE).normal_for(since, DNS_NORMAL))
}

/// What a look from inside a member showed.
fn by_looking(asked: &Asked<'_>, member: &str, inside: Inside) -> Option<Finding> {
    let service = format!("{}-master", asked.seen.name);
    let endpoints = asked.seen.endpoints(&service);
    if inside.dns == Some(false) {
        return Some(dns(asked.seen).evidence(format!("{member}: {service} cannot be translated to an address")));
    }
    // An empty Service leads nowhere by right.
    if inside.service != Some(false) || endpoints.is_empty() {
        return None;
    }
    let summary = format!("the Service has its endpoint {}, but connections through it fail", endpoints.join(", "));
    Some(
        Finding::new("PGS-SERVICE-DEAD", Severity::Blocking, "Service", &service, summary)
            .evidence(format!("{member}: no answer from {service}:5432 for {} s", KUBE_PROXY_SYNC.as_secs()))
            .fix("is kube-proxy, or what stands in for it, running on the member's node? kubectl -n kube-system get pods -o wide")
            .fix("is there a NetworkPolicy in the way? kubectl get networkpolicy"),
    )
}

/// A finding about DNS, whoever noticed it.
pub(super) fn dns(seen: &Observation) -> Finding {
    let service = format!("{}-master", seen.name);
    let summary = "the cluster's DNS does not answer for the set's Services, so members cannot find each other";
    Finding::new("PGS-DNS", Severity::Blocking, "Service", &service, summary)
        .fix("are the cluster's DNS pods running? kubectl -n kube-system get pods -l k8s-app=kube-dns")
        .fix("nothing is lost: the members go on when DNS is back")
}

/// What this family finds.
pub(super) const CATALOGUE: &[Entry] = &[
    Entry {
        code: "PGS-DNS",
        severity: Severity::Blocking,
        depth: Depth::Cluster,
        title: "the cluster's DNS does not answer",
        meaning: "The members cannot translate the names of the set's Services, so replicas do not find the primary.",
        known_by: "The start script's or the probe's own words, or pgset doctor's look from inside a member.",
        fix: "Bring the cluster's DNS back: kubectl -n kube-system get pods -l k8s-app=kube-dns.",
        doubt: "A resolver that was asked before the Service existed repeats its no for up to 30 s.",
    },
    Entry {
        code: "PGS-SERVICE-DEAD",
        severity: Severity::Blocking,
        depth: Depth::Cluster,
        title: "a Service has endpoints but does not connect",
        meaning: "The Service leads to the right member, but connections to its address fail: clients cannot reach the primary.",
        known_by: "pgset doctor's look from inside a member: DNS answers, the connection does not come about.",
        fix: "Bring kube-proxy back on the node, or open the NetworkPolicy that is in the way.",
        doubt: "kube-proxy may need longer than the 10 s that it is given to follow a new endpoint.",
    },
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{event, noon, pod, seen};
    use super::*;

    fn set() -> Observation {
        let running = json!({"state": {"running": {"startedAt": noon().to_string()}}});
        let says = "Startup probe failed: waiting for a primary: DNS does not know pgset-master\n";
        let mut seen = seen(json!([pod("pgset-1", running)]), json!([event("Pod", "pgset-1", "Unhealthy", says)]));
        let slice = json!({"metadata": {"labels": {"kubernetes.io/service-name": "pgset-master"}}, "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.0.0.1"], "targetRef": {"name": "pgset-0"}}]});
        seen.endpoint_slices = vec![serde_json::from_value(slice).unwrap()];
        seen
    }

    #[test]
    fn dns_that_does_not_know_the_service_ends_the_wait_after_the_resolvers_memory() {
        let seen = set();
        let found = findings(&Asked { seen: &seen, since: None });
        assert_eq!((found[0].code, found[0].normal_until), ("PGS-DNS", Some(noon() + DNS_NORMAL)));
        assert!(!found[0].ends_wait(noon() + DNS_GRACE - SignedDuration::from_millis(1)));
        assert!(found[0].ends_wait(noon() + DNS_GRACE));
    }

    #[test]
    fn a_look_from_inside_tells_dns_from_a_service_that_does_not_connect() {
        let mut seen = set();
        seen.events.clear();
        let codes = |seen: &Observation| {
            findings(&Asked { seen, since: None }).iter().map(|finding| finding.code).collect::<Vec<_>>()
        };
        for (inside, code) in [
            (Inside { dns: Some(true), service: Some(true) }, None),
            (Inside { dns: None, service: Some(true) }, None),
            (Inside { dns: Some(false), service: Some(false) }, Some("PGS-DNS")),
            (Inside { dns: Some(true), service: Some(false) }, Some("PGS-SERVICE-DEAD")),
        ] {
            seen.inside = [("pgset-1".to_owned(), inside)].into();
            assert_eq!(codes(&seen), code.into_iter().collect::<Vec<_>>());
        }
        seen.endpoint_slices.clear();
        assert_eq!(codes(&seen), [] as [&str; 0], "an empty Service leads nowhere by right");
    }
}
