//! Findings: what is wrong or late with a set, each with its cause, evidence and fix.
//!
//! One file a family of faults; a family is one pure function over the observation, and the entries of its codes in the
//! catalogue. What they find is folded: one finding a cause, its symptoms below it, roots first.

mod admission;
pub mod catalogue;
pub mod connection;
mod containers;
mod control;
mod data;
pub(super) mod export;
mod fix;
mod fold;
#[cfg(test)]
mod fuzz;
mod images;
mod mounts;
mod network;
mod nodes;
mod postgres;
mod readiness;
mod references;
mod replication;
mod revision;
mod scheduling;
mod services;
mod stopped;
mod storage;
mod terminating;
mod upkeep;

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Event;
use serde::{Deserialize, Serialize};

pub use admission::refused;
pub use catalogue::{Depth, Entry};
pub(super) use data::of_volume;
pub(super) use images::newest_of_image;
pub use references::lacking_objects;
pub use replication::far_behind;
pub use revision::{PINNED, pinned_pods};
pub use scheduling::finds_no_node;

use super::health;
use super::mask;
use super::observation::{Observation, happened};

/// One thing that is wrong or late.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Stable, such as `PGS-IMAGE-NOT-FOUND`.
    pub code: &'static str,
    pub severity: Severity,
    pub object: ObjectRef,
    /// The other objects with the same cause.
    pub also: Vec<ObjectRef>,
    /// The cause, one sentence without a full stop.
    pub summary: String,
    /// The event, log lines or answer that shows it.
    pub evidence: Vec<String>,
    /// The exact next command or line to change.
    pub fix: Vec<String>,
    /// The symptoms that it explains.
    pub consequences: Vec<Consequence>,
    /// From when on a blocking finding ends a wait.
    #[serde(skip)]
    pub fatal_from: Option<Timestamp>,
    /// Until when it is normal and not worth a word during a wait.
    #[serde(skip)]
    pub normal_until: Option<Timestamp>,
    /// For what leaves no time anywhere: how long it is normal, and, where it ever does, how long it has to last to end a
    /// wait. Only who goes on looking can tell, so a [`Rollout`](super::rollout::Rollout) turns these into the two moments
    /// above.
    #[serde(skip)]
    pub lasting: Option<(SignedDuration, Option<SignedDuration>)>,
    /// Since when whoever looks has seen that something is wrong, where what it is was asked only later.
    #[serde(skip)]
    pub wrong_since: Option<Timestamp>,
}

/// What follows from a finding's cause, found as well but not worth a finding of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Consequence {
    pub code: &'static str,
    pub object: ObjectRef,
    pub also: Vec<ObjectRef>,
    pub summary: String,
}

/// How a finding weighs on a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// Ends a wait at once: it cannot become right by itself.
    Fatal,
    /// Ends a wait after its family's grace.
    Blocking,
    /// Never ends a wait: what is being waited for. Where nobody has said why, and a good start meets it as well, its family
    /// says for how long that is normal; a reason that somebody gave is told at once.
    Waiting,
    /// Healthy, but somebody should know.
    Warning,
}

/// The object a finding is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ObjectRef {
    pub kind: String,
    pub name: String,
}

impl std::fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

impl Consequence {
    fn texts(&mut self) -> impl Iterator<Item = &mut String> {
        let names = self.also.iter_mut().map(|object| &mut object.name);
        [&mut self.summary, &mut self.object.name].into_iter().chain(names)
    }
}

/// No finding needs more lines of evidence to be believed.
const EVIDENCE: usize = 8;

impl Finding {
    /// A finding of a code that the catalogue has an entry for.
    fn new(code: &'static str, severity: Severity, kind: &str, name: &str, summary: impl Into<String>) -> Self {
        Self {
            code,
            severity,
            object: ObjectRef { kind: clean(kind), name: clean(name) },
            also: Vec::new(),
            summary: clean(&summary.into()),
            evidence: Vec::new(),
            fix: Vec::new(),
            consequences: Vec::new(),
            fatal_from: None,
            normal_until: None,
            lasting: None,
            wrong_since: None,
        }
    }

    /// A finding that ends a wait from `since` plus `grace` on.
    fn blocking_from(mut self, since: Option<Timestamp>, grace: SignedDuration) -> Self {
        self.severity = Severity::Blocking;
        self.fatal_from = since.and_then(|since| since.checked_add(grace).ok());
        self
    }

    /// A finding that explains what has been seen since then.
    fn wrong_since(mut self, since: Option<Timestamp>) -> Self {
        self.wrong_since = since;
        self
    }

    /// A finding that a good start meets as well, for this long after `since`.
    fn normal_for(mut self, since: Option<Timestamp>, grace: SignedDuration) -> Self {
        self.normal_until = since.and_then(|since| since.checked_add(grace).ok());
        self
    }

    /// A finding that is normal for a while, and ends a wait once it was seen without a break for `grace`.
    fn lasting(mut self, normal: SignedDuration, grace: SignedDuration) -> Self {
        self.severity = Severity::Blocking;
        self.lasting = Some((normal, Some(grace)));
        self
    }

    /// A finding that a good start meets as well, for this long without a break.
    fn normal_at_first(mut self, normal: SignedDuration) -> Self {
        self.lasting = Some((normal, None));
        self
    }

    /// Dates a finding that only lasts, from when it was met first.
    pub(super) fn met_at(&mut self, met: Timestamp) {
        if let Some((normal, grace)) = self.lasting {
            self.normal_until = met.checked_add(normal).ok();
            if let Some(grace) = grace {
                self.fatal_from = met.checked_add(grace).ok();
            }
        }
    }

    /// The same cause on these objects as well.
    fn also(mut self, kind: &str, names: &[String]) -> Self {
        self.also.extend(names.iter().map(|name| ObjectRef { kind: clean(kind), name: clean(name) }));
        self
    }

    fn evidence(mut self, line: impl AsRef<str>) -> Self {
        let line = clean(line.as_ref());
        if !line.is_empty() && self.evidence.len() < EVIDENCE {
            self.evidence.push(line);
        }
        self
    }

    fn evidence_lines<'a>(self, lines: impl IntoIterator<Item = &'a String>) -> Self {
        lines.into_iter().fold(self, Self::evidence)
    }

    fn fix(mut self, line: impl Into<String>) -> Self {
        self.fix.push(mask::hide(&printable(&line.into())));
        self
    }

    /// The same finding with one more line that shows it.
    #[must_use]
    pub fn shown_by(self, line: &str) -> Self {
        self.evidence(line)
    }

    /// Every object it is about, the first one first.
    pub fn objects(&self) -> impl Iterator<Item = &ObjectRef> {
        [&self.object].into_iter().chain(&self.also)
    }

    /// Without the passwords that whoever looked knows.
    fn masked(mut self, mask: &mask::Mask) -> Self {
        let texts =
            [&mut self.summary, &mut self.object.name].into_iter().chain(&mut self.evidence).chain(&mut self.fix);
        let texts = texts.chain(self.also.iter_mut().map(|object| &mut object.name));
        for text in texts.chain(self.consequences.iter_mut().flat_map(Consequence::texts)) {
            *text = mask.hide_known(text);
        }
        self
    }

    /// Whether it ends a wait at `now`.
    #[must_use]
    pub fn ends_wait(&self, now: Timestamp) -> bool {
        match self.severity {
            Severity::Fatal => true,
            Severity::Blocking => self.fatal_from.is_some_and(|from| now >= from),
            Severity::Waiting | Severity::Warning => false,
        }
    }
}

/// One family of faults.
struct Family {
    findings: fn(&Asked<'_>) -> Vec<Finding>,
    catalogue: &'static [Entry],
    /// Judges pods, which speak of the latest change only once the controller has seen it.
    of_pods: bool,
}

/// In the order in which a start meets them.
const FAMILIES: &[Family] = &[
    Family { findings: connection::findings, catalogue: connection::CATALOGUE, of_pods: false },
    Family { findings: stopped::findings, catalogue: stopped::CATALOGUE, of_pods: false },
    Family { findings: nodes::findings, catalogue: nodes::CATALOGUE, of_pods: false },
    Family { findings: control::findings, catalogue: control::CATALOGUE, of_pods: false },
    Family { findings: network::findings, catalogue: network::CATALOGUE, of_pods: true },
    Family { findings: admission::findings, catalogue: admission::CATALOGUE, of_pods: false },
    Family { findings: scheduling::findings, catalogue: scheduling::CATALOGUE, of_pods: false },
    Family { findings: storage::findings, catalogue: storage::CATALOGUE, of_pods: false },
    Family { findings: mounts::findings, catalogue: mounts::CATALOGUE, of_pods: false },
    Family { findings: references::findings, catalogue: references::CATALOGUE, of_pods: false },
    Family { findings: terminating::findings, catalogue: terminating::CATALOGUE, of_pods: false },
    Family { findings: revision::findings, catalogue: revision::CATALOGUE, of_pods: true },
    Family { findings: images::findings, catalogue: images::CATALOGUE, of_pods: true },
    Family { findings: containers::findings, catalogue: containers::CATALOGUE, of_pods: true },
    Family { findings: readiness::findings, catalogue: readiness::CATALOGUE, of_pods: true },
    Family { findings: postgres::findings, catalogue: postgres::CATALOGUE, of_pods: false },
    Family { findings: replication::findings, catalogue: replication::CATALOGUE, of_pods: false },
    Family { findings: services::findings, catalogue: services::CATALOGUE, of_pods: false },
    Family { findings: upkeep::findings, catalogue: upkeep::CATALOGUE, of_pods: false },
];

/// Everything wrong with the set: one finding a cause, with every object it was met on and the symptoms it explains; the
/// heaviest first, and roots before what is nearer to the surface.
///
/// `since` is when the wait began: what events said before it is old news that only counts once it had time to be
/// repeated. `None` judges everything as it stands.
#[must_use]
pub fn diagnose(seen: &Observation, since: Option<Timestamp>) -> Vec<Finding> {
    let asked = Asked { seen, since };
    let observed = seen.stateful_set.as_ref().is_some_and(health::is_observed);
    let families = FAMILIES.iter().filter(|family| observed || !family.of_pods);
    let mut told = BTreeSet::new();
    let mut found: Vec<Finding> = families.flat_map(|family| (family.findings)(&asked)).collect();
    found.retain(|finding| told.insert((finding.code, finding.object.clone())));
    let mut found = fold::fold(seen, found);
    for fix in found.iter_mut().flat_map(|finding| &mut finding.fix) {
        *fix = fix::addressed(fix, &seen.name, &seen.namespace);
    }
    found.into_iter().map(|finding| finding.masked(&seen.mask)).collect()
}

/// What a family is asked about.
struct Asked<'a> {
    seen: &'a Observation,
    since: Option<Timestamp>,
}

impl Asked<'_> {
    /// When an event may be held against the set: when it happened, or when the wait began if that is later.
    fn counts_from(&self, event: &Event) -> Option<Timestamp> {
        happened(event).max(self.since)
    }
}

/// Whether the API server refused a member's pod before `since`, and the member still does not exist.
#[must_use]
pub fn was_refused_before(seen: &Observation, since: Timestamp) -> bool {
    admission::last_refusal(seen).and_then(happened).is_some_and(|at| at < since)
}

/// Whether a member does not exist because the API server refused its pod.
#[must_use]
pub fn is_refused(seen: &Observation) -> bool {
    admission::last_refusal(seen).is_some()
}

/// When an event happened first.
fn began(event: &Event) -> Option<Timestamp> {
    event.first_timestamp.as_ref().map(|time| time.0).or(event.event_time.as_ref().map(|time| time.0))
}

/// Text from a cluster made fit for a terminal: one line, no control characters, at most 400 characters, and nothing in it
/// that looks like a secret.
#[must_use]
pub fn clean(text: &str) -> String {
    const LIMIT: usize = 400;
    // A secret that is cut in two is still one, so the cut comes last; and nobody reads a message of megabytes to its end.
    let start: String = text.trim().chars().take(16 * LIMIT).collect();
    let line = mask::hide(&printable(&start));
    if line.chars().count() > LIMIT { line.chars().take(LIMIT).chain(['…']).collect() } else { line }
}

/// The text without characters that a terminal obeys: control characters, and those that turn the direction of writing.
fn printable(text: &str) -> String {
    let obeyed = |c: char| {
        c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if obeyed(c) { ' ' } else { c }).collect()
}

/// The text between the first pair of double quotes after `before`.
fn quoted_after<'a>(text: &'a str, before: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    let (_, rest) = rest.split_once('"')?;
    rest.split_once('"').map(|(inside, _)| inside)
}

#[cfg(test)]
mod testing {
    //! Small observations for the families' tests.

    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::super::Observation;

    pub const NOON: &str = "2026-11-24T12:00:00Z";

    pub fn noon() -> Timestamp {
        NOON.parse().unwrap()
    }

    /// A set `pgset` of two members with these pods and events.
    pub fn seen(pods: Value, events: Value) -> Observation {
        serde_json::from_value(json!({
            "name": "pgset", "namespace": "default",
            "statefulSet": {
                "metadata": {"name": "pgset", "generation": 1}, "status": {"observedGeneration": 1, "replicas": 0},
                "spec": {"replicas": 2, "selector": {}, "serviceName": "pgset", "template": {}},
            },
            "pods": pods, "events": events,
        }))
        .unwrap()
    }

    /// A pod on a node whose PostgreSQL container has this status.
    pub fn pod(name: &str, container: Value) -> Value {
        let mut status = json!({"name": "pgset", "image": "docker.io/library/postgres:17", "imageID": "",
            "ready": false, "restartCount": 0});
        status.as_object_mut().unwrap().extend(container.as_object().unwrap().clone());
        json!({
            "metadata": {"name": name},
            "spec": {"nodeName": "node1", "containers": [{"name": "pgset", "image": "docker.io/library/postgres:17"}]},
            "status": {"containerStatuses": [status]},
        })
    }

    /// An event that happened at noon.
    pub fn event(kind: &str, name: &str, reason: &str, message: &str) -> Value {
        json!({"metadata": {}, "involvedObject": {"kind": kind, "name": name}, "reason": reason, "message": message,
            "firstTimestamp": NOON, "lastTimestamp": NOON, "type": "Warning"})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_leaves_nothing_a_terminal_would_obey() {
        assert_eq!(clean(" a\u{1b}[31m\nb\t"), "a [31m b");
        assert_eq!(clean(&"x".repeat(1000)).chars().count(), 401);
        assert_eq!(clean("a\u{202e}b\u{2066}c"), "a b c");
        assert_eq!(clean(&format!("{}PGPASSWORD=geheim", "x".repeat(390))).chars().count(), 401);
        assert!(!clean(&format!("{} PGPASSWORD=geheim", "x".repeat(380))).contains("geh"));
    }

    #[test]
    fn a_password_that_is_known_is_shown_nowhere() {
        let message = "registry says: user geheim-1 not found";
        let waiting = serde_json::json!({"state": {"waiting": {"reason": "ErrImagePull", "message": message}}});
        let mut seen = testing::seen(serde_json::json!([testing::pod("pgset-0", waiting)]), serde_json::json!([]));
        assert!(format!("{:?}", diagnose(&seen, None)).contains("geheim-1"));
        seen.mask = mask::Mask::of(["geheim-1"]);
        let found = format!("{:?}", diagnose(&seen, None));
        assert!(found.contains("user *** not found") && !found.contains("geheim"), "{found}");
        let recorded =
            serde_json::to_string(&Observation { mask: mask::Mask::of(["geheim-2"]), ..Observation::default() });
        assert!(!recorded.unwrap().contains("geheim"));
    }

    #[test]
    fn blocking_ends_a_wait_only_after_its_grace() {
        let finding = Finding::new("PGS-X", Severity::Blocking, "Pod", "p", "x")
            .blocking_from(Some(testing::noon()), SignedDuration::from_secs(5));
        assert!(!finding.ends_wait(testing::noon() + SignedDuration::from_millis(4999)));
        assert!(finding.ends_wait(testing::noon() + SignedDuration::from_secs(5)));
        assert!(!Finding::new("PGS-X", Severity::Waiting, "Pod", "p", "x").ends_wait(Timestamp::MAX));
    }

    #[test]
    fn old_news_counts_from_the_beginning_of_the_wait() {
        let event: Event =
            serde_json::from_value(testing::event("StatefulSet", "pgset", "FailedCreate", "no")).unwrap();
        let later = testing::noon() + SignedDuration::from_mins(3);
        let seen = Observation::default();
        assert_eq!(Asked { seen: &seen, since: Some(later) }.counts_from(&event), Some(later));
        assert_eq!(Asked { seen: &seen, since: None }.counts_from(&event), Some(testing::noon()));
    }
}
