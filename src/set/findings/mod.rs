//! Findings: what is wrong or late with a set, each with its cause, evidence and fix.
//!
//! One file a family of faults; a family is one pure function over the observation. Root causes come first because
//! families are asked in the order in which a start meets them, and a member that has a root cause yields no symptom.

mod admission;
mod containers;
mod images;
mod postgres;
mod references;
mod revision;
mod scheduling;
mod stopped;
mod storage;

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Event;
use serde::{Deserialize, Serialize};

use super::health;
use super::observation::{Observation, happened};

/// One thing that is wrong or late.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Stable, such as `PGS-IMAGE-NOT-FOUND`.
    pub code: &'static str,
    pub severity: Severity,
    pub object: ObjectRef,
    /// The cause, one sentence without a full stop.
    pub summary: String,
    /// The event, log lines or answer that shows it.
    pub evidence: Vec<String>,
    /// The exact next command or line to change.
    pub fix: Vec<String>,
    /// From when on a blocking finding ends a wait.
    #[serde(skip)]
    pub fatal_from: Option<Timestamp>,
}

/// How a finding weighs on a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// Ends a wait at once: it cannot become right by itself.
    Fatal,
    /// Ends a wait after its family's grace.
    Blocking,
    /// Never ends a wait: what is being waited for.
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

impl Finding {
    fn new(code: &'static str, severity: Severity, kind: &str, name: &str, summary: impl Into<String>) -> Self {
        let object = ObjectRef { kind: kind.to_owned(), name: name.to_owned() };
        let summary = clean(&summary.into());
        Self { code, severity, object, summary, evidence: Vec::new(), fix: Vec::new(), fatal_from: None }
    }

    /// A finding that ends a wait from `since` plus `grace` on.
    fn blocking_from(mut self, since: Option<Timestamp>, grace: SignedDuration) -> Self {
        self.severity = Severity::Blocking;
        self.fatal_from = since.and_then(|since| since.checked_add(grace).ok());
        self
    }

    fn evidence(mut self, line: impl AsRef<str>) -> Self {
        let line = clean(line.as_ref());
        if !line.is_empty() {
            self.evidence.push(line);
        }
        self
    }

    fn evidence_lines<'a>(self, lines: impl IntoIterator<Item = &'a String>) -> Self {
        lines.into_iter().fold(self, Self::evidence)
    }

    fn fix(mut self, line: impl Into<String>) -> Self {
        self.fix.push(line.into());
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

/// Everything wrong with the set, root causes first, each object and code once.
///
/// `since` is when the wait began: what events said before it is old news that only counts once it had time to be
/// repeated. `None` judges everything as it stands.
#[must_use]
pub fn diagnose(seen: &Observation, since: Option<Timestamp>) -> Vec<Finding> {
    let asked = Asked { seen, since };
    let of_the_set = [
        stopped::findings,
        admission::findings,
        scheduling::findings,
        storage::findings,
        references::findings,
        postgres::findings,
    ];
    let of_containers = [revision::findings, images::findings, containers::findings];
    let observed = seen.stateful_set.as_ref().is_some_and(health::is_observed);
    let containers = of_containers.iter().filter(|_| observed);
    let mut told = BTreeSet::new();
    let mut findings: Vec<Finding> = of_the_set.iter().chain(containers).flat_map(|family| family(&asked)).collect();
    findings.retain(|finding| told.insert((finding.code, finding.object.clone())));
    findings.sort_by_key(|finding| finding.severity);
    findings
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

/// When an event happened first.
fn began(event: &Event) -> Option<Timestamp> {
    event.first_timestamp.as_ref().map(|time| time.0).or(event.event_time.as_ref().map(|time| time.0))
}

/// Text from a cluster made fit for a terminal: one line, no control characters, at most 400 characters.
pub(super) fn clean(text: &str) -> String {
    const LIMIT: usize = 400;
    let mut line: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(LIMIT + 1).collect();
    if line.chars().count() > LIMIT {
        line = line.chars().take(LIMIT).chain(['…']).collect();
    }
    line
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
