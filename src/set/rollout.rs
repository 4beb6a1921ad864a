//! The way of a set to health: what changed, what to do about it, and when to stop waiting.
//!
//! A state machine without a clock or client: the caller passes in each observation and `now`, carries out what
//! [`Rollout::logs_to_read`], [`Rollout::members_to_ask`] and [`Step::relabel`] name, and reports the events.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use k8s_openapi::api::core::v1::Pod;

use super::findings::{self, Finding, ObjectRef, Severity};
use super::health::{self, Health};
use super::observation::{Observation, PodReading};
use super::phase::{self, Phase};

/// How often a wait with nothing new to say says that it still waits.
const REMINDER: SignedDuration = SignedDuration::from_secs(30);

/// How long whatever may become right by itself goes unmentioned: the controllers overtake each other, and what they
/// complain of in one moment is often there in the next. What a good start meets for longer than that has a time of its own
/// in its family.
const UNSETTLED: SignedDuration = SignedDuration::from_millis(1500);

/// How long after it was asked to try at once the controller is asked once more. The API server learns of a deleted admission
/// policy or webhook only a moment later, about a second, and may refuse even the try that was asked for. Well within the time
/// after which a refusal ends a wait.
const HURRY_AGAIN: SignedDuration = SignedDuration::from_millis(2500);

/// One wait, from its beginning to its end.
#[derive(Debug)]
pub struct Rollout {
    since: Timestamp,
    deadline: Timestamp,
    phases: BTreeMap<String, Phase>,
    told: BTreeSet<(&'static str, ObjectRef)>,
    /// When a finding was met first.
    met: BTreeMap<(&'static str, ObjectRef), Timestamp>,
    logs_read: BTreeSet<(String, i32)>,
    /// Labels asked for and not yet seen; asking twice would be one request too many.
    relabelled: Vec<Relabel>,
    hurried: Hurried,
    last_said: Timestamp,
}

/// Whether the controller was asked to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hurried {
    Not,
    Once(Timestamp),
    Twice,
}

/// What one observation led to.
#[derive(Debug)]
pub struct Step {
    pub events: Vec<Event>,
    /// Pods whose `name` label sends the wrong Service's connections to them, with the right label.
    pub relabel: Vec<Relabel>,
    /// The StatefulSet controller was refused a pod before this wait began, and tries again ever more slowly, by minutes in
    /// the end. What kept it may be mended by now, so it should be asked to try at once; and once more a moment later, if it
    /// was refused all the same.
    pub hurry: bool,
    pub verdict: Verdict,
    pub health: Health,
    /// The next moment at which time alone changes something: a reminder, a grace's end, the deadline.
    pub wake_at: Timestamp,
}

/// Something worth telling.
#[allow(
    clippy::large_enum_variant,
    reason = "a handful of events a wait, and findings are what most of them are about"
)]
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    Phase {
        member: String,
        phase: Phase,
    },
    /// The member is still in this phase, and further on in it.
    Progress {
        member: String,
        phase: Phase,
    },
    Gone {
        member: String,
    },
    Found(Finding),
    /// Nothing new for a while: what each unfinished member is doing.
    StillWaiting {
        waited: SignedDuration,
        members: Vec<(String, Phase)>,
        unmet: Vec<String>,
    },
}

/// A pod's `name` label as its role demands it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relabel {
    pub pod: String,
    pub name: String,
}

/// Whether to go on.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    Continue,
    Healthy,
    Failed(Vec<Finding>),
    TimedOut(Vec<Finding>),
}

impl Rollout {
    #[must_use]
    pub fn new(since: Timestamp, timeout: SignedDuration) -> Self {
        Self {
            since,
            deadline: since.saturating_add(timeout).unwrap_or(Timestamp::MAX),
            phases: BTreeMap::new(),
            told: BTreeSet::new(),
            met: BTreeMap::new(),
            logs_read: BTreeSet::new(),
            relabelled: Vec::new(),
            hurried: Hurried::Not,
            last_said: since,
        }
    }

    /// Members whose container died since their log was read last, each death once.
    pub fn logs_to_read(&mut self, seen: &Observation) -> Vec<String> {
        let died = died_members(seen).into_iter();
        died.filter(|(member, restarts)| self.logs_read.insert((member.clone(), *restarts)))
            .map(|(member, _)| member)
            .collect()
    }

    /// Takes in one observation.
    pub fn step(&mut self, seen: &Observation, now: Timestamp) -> Step {
        let health = health::health(seen);
        let mut found = findings::diagnose(seen, Some(self.since));
        self.date(&mut found, now);
        let found_graces: Vec<Timestamp> =
            found.iter().flat_map(|finding| [finding.fatal_from, finding.normal_until]).flatten().collect();
        let verdict = self.verdict(&health, &found, now);
        let mut events = self.phase_events(seen, &health);
        for finding in self.worth_telling(&found, &verdict, now) {
            events.push(Event::Found(finding));
        }
        let ripe = found.iter().filter_map(|finding| {
            let key = (finding.code, finding.object.clone());
            let met = self.met.get(&key).filter(|_| !self.told.contains(&key))?;
            met.checked_add(quiet_for(finding.severity)).ok().max(finding.normal_until)
        });
        let ripe: Vec<Timestamp> = ripe.collect();
        if events.iter().any(|event| !matches!(event, Event::Progress { .. })) {
            self.last_said = now;
        } else if now.duration_since(self.last_said) >= REMINDER {
            self.last_said = now;
            events.push(self.still_waiting(&health, now));
        }
        let reminder = self.last_said.saturating_add(REMINDER).unwrap_or(Timestamp::MAX);
        let graces = found_graces.into_iter().filter(|from| *from > now);
        let hurry = self.hurry(seen, now);
        let again = match self.hurried {
            Hurried::Once(at) if findings::is_refused(seen) => at.checked_add(HURRY_AGAIN).ok(),
            Hurried::Not | Hurried::Once(_) | Hurried::Twice => None,
        };
        let wake_at = graces.chain(ripe).chain(again).chain([reminder]).min().unwrap_or(reminder).min(self.deadline);
        let wanted = relabel(seen);
        let relabel = wanted.iter().filter(|one| !self.relabelled.contains(one)).cloned().collect();
        self.relabelled = wanted;
        Step { events, relabel, hurry, verdict, health, wake_at }
    }

    /// Whether to ask the controller now to try at once.
    fn hurry(&mut self, seen: &Observation, now: Timestamp) -> bool {
        let (hurry, then) = match self.hurried {
            Hurried::Not => (findings::was_refused_before(seen, self.since), Hurried::Once(now)),
            Hurried::Once(at) => (now.duration_since(at) >= HURRY_AGAIN && findings::is_refused(seen), Hurried::Twice),
            Hurried::Twice => (false, Hurried::Twice),
        };
        if hurry {
            self.hurried = then;
        }
        hurry
    }

    fn verdict(&self, health: &Health, found: &[Finding], now: Timestamp) -> Verdict {
        if health.is_healthy() {
            Verdict::Healthy
        } else if found.iter().any(|finding| finding.ends_wait(now)) {
            let mut found = found.to_vec();
            // What ends the wait is what should be read first.
            found.sort_by_key(|finding| !finding.ends_wait(now));
            Verdict::Failed(found)
        } else if now >= self.deadline {
            Verdict::TimedOut(found.to_vec())
        } else {
            Verdict::Continue
        }
    }

    /// Notes when each finding was met first, and dates those that have no other time.
    fn date(&mut self, found: &mut [Finding], now: Timestamp) {
        // What is over and comes back is young again.
        self.met
            .retain(|(code, object), _| found.iter().any(|finding| finding.code == *code && finding.object == *object));
        for finding in found {
            let first = finding.wrong_since.map_or(now, |since| since.min(now));
            let met = *self.met.entry((finding.code, finding.object.clone())).or_insert(first);
            finding.met_at(met);
        }
    }

    /// The findings that have not been told yet, but for those that are young or still normal; at the end of a wait that
    /// was in vain, all of them.
    fn worth_telling(&mut self, found: &[Finding], verdict: &Verdict, now: Timestamp) -> Vec<Finding> {
        let mut telling = Vec::new();
        for finding in found {
            let key = (finding.code, finding.object.clone());
            let met = self.met.get(&key).copied().unwrap_or(now);
            let settled = quiet_for(finding.severity);
            let young = now.duration_since(met) < settled && !finding.ends_wait(now) && now < self.deadline
                || finding.normal_until.is_some_and(|until| now < until);
            let young = young && !matches!(verdict, Verdict::Failed(_) | Verdict::TimedOut(_));
            if !young && self.told.insert(key) {
                telling.push(finding.clone());
            }
        }
        telling
    }

    fn phase_events(&mut self, seen: &Observation, health: &Health) -> Vec<Event> {
        let mut events = Vec::new();
        let members = seen.members();
        self.phases.retain(|member, _| {
            let stays = members.contains(member);
            if !stays {
                events.push(Event::Gone { member: member.clone() });
            }
            stays
        });
        for member in members {
            let phase = phase::phase(seen, health, &member);
            let before = self.phases.insert(member.clone(), phase.clone());
            match before {
                Some(before) if before == phase => {}
                Some(before) if phase.goes_on_from(&before) => events.push(Event::Progress { member, phase }),
                _ => events.push(Event::Phase { member, phase }),
            }
        }
        events
    }

    fn still_waiting(&self, health: &Health, now: Timestamp) -> Event {
        let members = self.phases.iter().filter(|(_, phase)| !phase.is_final());
        let general = health.unmet.iter().filter(|unmet| unmet.member().is_none());
        Event::StillWaiting {
            waited: now.duration_since(self.since),
            members: members.map(|(member, phase)| (member.clone(), phase.clone())).collect(),
            unmet: general.map(ToString::to_string).collect(),
        }
    }
}

/// How long a finding has to last before it is told.
fn quiet_for(severity: Severity) -> SignedDuration {
    match severity {
        Severity::Fatal | Severity::Warning => SignedDuration::ZERO,
        Severity::Blocking | Severity::Waiting => UNSETTLED,
    }
}

/// The members whose container has died at least once and does not run now, with their restarts.
#[must_use]
pub fn died_members(seen: &Observation) -> Vec<(String, i32)> {
    let dead = |pod: &k8s_openapi::api::core::v1::Pod| {
        let container = pod.container()?;
        let state = container.state.as_ref()?;
        let ended =
            state.terminated.is_some() || container.last_state.as_ref().is_some_and(|last| last.terminated.is_some());
        (ended && state.running.is_none()).then(|| pod.metadata.name.clone().unwrap_or_default())
    };
    seen.pods.iter().filter_map(|pod| Some((dead(pod)?, pod.restarts()))).collect()
}

/// Which nodes are worth a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Nodes {
    None,
    /// Those of members that should be ready and are not, or should be gone and are not.
    Named(Vec<String>),
    /// A member finds none.
    All,
}

/// The nodes worth a look. A member that got its node after `settled` has not had the time to be late on it.
#[must_use]
pub fn nodes_to_look_at(seen: &Observation, settled: Timestamp) -> Nodes {
    if seen.pods.iter().any(|pod| pod.node().is_none() && findings::finds_no_node(pod).is_some()) {
        return Nodes::All;
    }
    let late =
        |pod: &&Pod| pod.is_terminating() || (!pod.is_ready() && pod.scheduled_at().is_none_or(|at| at <= settled));
    let names: BTreeSet<String> =
        seen.pods.iter().filter(late).filter_map(|pod| pod.node().map(str::to_owned)).collect();
    if names.is_empty() { Nodes::None } else { Nodes::Named(names.into_iter().collect()) }
}

/// The members whose PostgreSQL can answer by now; asking earlier costs a refused connection each time.
#[must_use]
pub fn members_to_ask(seen: &Observation) -> Vec<String> {
    let answers = |member: &String| seen.pod(member).is_some_and(|pod| pod.has_started() && !pod.is_terminating());
    seen.members().into_iter().filter(answers).collect()
}

/// The `name` labels that do not fit the roles. A recreated pod comes back with the template's replica label whatever
/// its role is, so whoever learns the roles from PostgreSQL puts the labels right.
#[must_use]
pub fn relabel(seen: &Observation) -> Vec<Relabel> {
    // Two primaries are a matter for a person: no label is moved then.
    if seen.primaries().len() != 1 {
        return Vec::new();
    }
    let wrong = |(member, answer): (&String, &super::observation::Answer)| {
        let role = if answer.server()?.in_recovery { "replica" } else { "master" };
        let name = format!("{}-{role}", seen.name);
        let labels = seen.pod(member)?.metadata.labels.as_ref()?;
        (labels.get("name") != Some(&name)).then(|| Relabel { pod: member.clone(), name })
    };
    seen.answers.iter().filter_map(wrong).collect()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::discovery::v1::EndpointConditions;
    use serde_json::{Value, json};

    use super::super::observation::{Answer, CloneProgress, Server, Standby, WalReceiver};
    use super::*;

    fn noon() -> Timestamp {
        "2026-11-24T12:00:00Z".parse().unwrap()
    }

    fn after(seconds: i64) -> Timestamp {
        noon() + SignedDuration::from_secs(seconds)
    }

    fn pod(name: &str, role: &str, started: bool) -> Value {
        json!({
            "metadata": {"name": name, "labels": {"name": role, "controller-revision-hash": "r1"}},
            "spec": {"nodeName": "node1", "containers": [{"name": "pgset"}]},
            "status": {
                "conditions": [{"type": "Ready", "status": if started { "True" } else { "False" }}],
                "containerStatuses": [{"name": "pgset", "image": "", "imageID": "", "ready": started, "started": started,
                    "restartCount": 0, "state": {"running": {"startedAt": "2026-11-24T12:00:00Z"}}}],
            },
        })
    }

    fn slice(service: &str, member: &str) -> Value {
        json!({"metadata": {"labels": {"kubernetes.io/service-name": service}}, "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.0.0.1"], "targetRef": {"name": member}}]})
    }

    fn primary() -> Answer {
        let row =
            Standby { application_name: "pgset-1".to_owned(), state: "streaming".to_owned(), ..Standby::default() };
        Answer::Answered(Box::new(Server { timeline: 1, standbys: vec![row], ..Server::default() }))
    }

    fn replica() -> Answer {
        let receiver = WalReceiver { status: "streaming".to_owned(), ..WalReceiver::default() };
        Answer::Answered(Box::new(Server {
            in_recovery: true,
            timeline: 1,
            wal_receiver: Some(receiver),
            ..Server::default()
        }))
    }

    /// A set of two whose members have got this far.
    fn seen(started: bool) -> Observation {
        let mut seen: Observation = serde_json::from_value(json!({
            "name": "pgset", "namespace": "default",
            "statefulSet": {
                "metadata": {"name": "pgset", "generation": 1},
                "spec": {"replicas": 2, "selector": {}, "template": {}},
                "status": {"observedGeneration": 1, "replicas": 2, "updateRevision": "r1"},
            },
            "pods": [pod("pgset-0", "pgset-master", started), pod("pgset-1", "pgset-replica", started)],
            "endpointSlices": [slice("pgset-master", "pgset-0"), slice("pgset-replica", "pgset-1")],
        }))
        .unwrap();
        if started {
            seen.answers = [("pgset-0".to_owned(), primary()), ("pgset-1".to_owned(), replica())].into();
        }
        seen
    }

    fn rollout() -> Rollout {
        Rollout::new(noon(), SignedDuration::from_mins(10))
    }

    #[test]
    fn a_healthy_set_ends_the_wait_at_once() {
        let step = rollout().step(&seen(true), noon());
        assert_eq!(step.verdict, Verdict::Healthy, "{:?}", step.health.unmet);
        assert_eq!(step.relabel, []);
    }

    #[test]
    fn each_thing_that_health_needs_keeps_the_wait_going() {
        type Break = fn(&mut Observation);
        let breaks: [(&str, Break); 13] = [
            ("no StatefulSet", |seen| seen.stateful_set = None),
            ("not yet seen", |seen| seen.stateful_set.as_mut().unwrap().metadata.generation = Some(2)),
            ("pgset-1 does not exist yet", |seen| drop(seen.pods.pop())),
            ("still runs an older revision", |seen| {
                let labels = seen.pods[1].metadata.labels.as_mut().unwrap();
                labels.insert("controller-revision-hash".to_owned(), "r0".to_owned());
            }),
            ("pgset-1's PostgreSQL has not been asked", |seen| drop(seen.answers.remove("pgset-1"))),
            ("does not answer: gone", |seen| {
                seen.answers.insert("pgset-1".to_owned(), Answer::Silent("gone".to_owned()));
            }),
            ("no member is a primary", |seen| drop(seen.answers.insert("pgset-0".to_owned(), replica()))),
            ("several members are primaries", |seen| drop(seen.answers.insert("pgset-1".to_owned(), primary()))),
            ("its WAL receiver is not running", |seen| change(seen, |server| server.wal_receiver = None)),
            ("on timeline 2, the primary on 1", |seen| change(seen, |server| server.timeline = 2)),
            ("holds another database", |seen| change(seen, |server| server.system_identifier = "9".to_owned())),
            ("pgset-replica leads to nobody, not to pgset-1", |seen| drop(seen.endpoint_slices.pop())),
            ("pgset-replica leads to pgset-0, pgset-1, not to pgset-1", |seen| {
                // Not ready yet as the endpoint controller saw it, and so about to become ready there.
                let mut stale = seen.endpoint_slices[0].endpoints.clone().unwrap();
                stale[0].conditions = Some(EndpointConditions { ready: Some(false), ..EndpointConditions::default() });
                seen.endpoint_slices[1].endpoints.as_mut().unwrap().extend(stale);
            }),
        ];
        for (words, break_it) in breaks {
            let mut broken = seen(true);
            break_it(&mut broken);
            let step = rollout().step(&broken, noon());
            assert_ne!(step.verdict, Verdict::Healthy, "{words}");
            let unmet: Vec<String> = step.health.unmet.iter().map(ToString::to_string).collect();
            assert!(unmet.iter().any(|unmet| unmet.contains(words)), "{words}: {unmet:?}");
        }
    }

    #[test]
    fn a_node_is_looked_at_for_whoever_is_late_on_it_or_has_none() {
        let scheduled = |status: &str| {
            json!([{"type": "PodScheduled", "status": status, "reason": "Unschedulable",
                "lastTransitionTime": "2026-11-24T12:00:00Z"}])
        };
        let with = |status: &str| {
            let mut seen = seen(false);
            for pod in &mut seen.pods {
                pod.status.as_mut().unwrap().conditions = serde_json::from_value(scheduled(status)).unwrap();
            }
            seen
        };
        let on_its_node = with("True");
        let named = Nodes::Named(vec!["node1".to_owned()]);
        assert_eq!(nodes_to_look_at(&on_its_node, after(-1)), Nodes::None);
        assert_eq!(nodes_to_look_at(&on_its_node, noon()), named);
        assert_eq!(nodes_to_look_at(&seen(true), noon()), Nodes::None, "nobody is late");
        let mut without = with("False");
        without.pods[1].spec.as_mut().unwrap().node_name = None;
        assert_eq!(nodes_to_look_at(&without, noon()), Nodes::All);
        // Whoever should be gone is late at once.
        let mut going = seen(true);
        going.pods[1].metadata.deletion_timestamp = serde_json::from_value(json!("2026-11-24T12:00:00Z")).unwrap();
        assert_eq!(nodes_to_look_at(&going, after(-60)), named);
    }

    /// Changes what pgset-1's PostgreSQL says.
    fn change(seen: &mut Observation, change: impl Fn(&mut Server)) {
        if let Some(Answer::Answered(server)) = seen.answers.get_mut("pgset-1") {
            change(server);
        }
    }

    #[test]
    fn a_phase_is_told_once_and_silence_is_broken_every_half_minute() {
        let mut rollout = rollout();
        let starting = seen(false);
        assert_eq!(rollout.step(&starting, noon()).events.len(), 2);
        assert_eq!(rollout.step(&starting, after(29)).events, []);
        let reminder = rollout.step(&starting, after(30)).events;
        assert!(matches!(&reminder[..], [Event::StillWaiting { members, .. }] if members.len() == 2), "{reminder:?}");
        assert_eq!(rollout.step(&starting, after(31)).events, []);
        let told = rollout.step(&seen(true), after(32));
        assert!(matches!(told.events[0], Event::Phase { phase: Phase::Primary, .. }), "{:?}", told.events);
    }

    #[test]
    fn the_deadline_ends_the_wait_and_not_before() {
        let mut rollout = rollout();
        assert_eq!(rollout.step(&seen(false), after(599)).verdict, Verdict::Continue);
        assert!(matches!(rollout.step(&seen(false), after(600)).verdict, Verdict::TimedOut(_)));
    }

    #[test]
    fn what_is_only_waited_for_is_told_when_it_lasts_and_never_ends_the_wait() {
        let mut waiting = seen(false);
        let condition = json!([{"type": "PodScheduled", "status": "False", "message": "0/1 nodes: Insufficient cpu"}]);
        waiting.pods[0].status.as_mut().unwrap().conditions = serde_json::from_value(condition).unwrap();
        let mut rollout = rollout();
        let found = |step: &Step| step.events.iter().any(|event| matches!(event, Event::Found(_)));
        let first = rollout.step(&waiting, noon());
        assert!(!found(&first) && first.wake_at == noon() + UNSETTLED);
        assert!(found(&rollout.step(&waiting, noon() + UNSETTLED)));
        let later = rollout.step(&waiting, after(300));
        assert!(!found(&later) && later.verdict == Verdict::Continue);
        // A time that was too short for it is over: now it is told.
        let mut short = Rollout::new(noon(), SignedDuration::from_secs(3));
        assert!(!found(&short.step(&waiting, after(2))) && found(&short.step(&waiting, after(3))));
    }

    /// Makes of a set that starts one that waits for something.
    type Change = fn(&mut Observation);

    fn container(seen: &mut Observation, state: Value) {
        let status = seen.pods[1].status.as_mut().unwrap();
        let container = &mut status.container_statuses.as_mut().unwrap()[0];
        container.started = Some(false);
        container.state = serde_json::from_value(state).unwrap();
    }

    fn event(seen: &mut Observation, kind: &str, name: &str, weight: &str, reason: &str, message: &str) {
        let event = json!({"metadata": {}, "involvedObject": {"kind": kind, "name": name}, "type": weight,
            "reason": reason, "message": message, "firstTimestamp": noon().to_string(), "lastTimestamp": noon().to_string()});
        seen.events.push(serde_json::from_value(event).unwrap());
    }

    fn unscheduled(seen: &mut Observation, message: &str) {
        let condition = json!([{"type": "PodScheduled", "status": "False", "message": message}]);
        seen.pods[1].status.as_mut().unwrap().conditions = serde_json::from_value(condition).unwrap();
        seen.pods[1].spec.as_mut().unwrap().node_name = None;
        container(seen, json!({"waiting": {"reason": "ContainerCreating"}}));
    }

    fn claim(seen: &mut Observation) {
        let claim = json!({"metadata": {"name": "pgdata-pgset-1"}, "spec": {"storageClassName": "fast"}, "status": {"phase": "Pending"}});
        seen.claims = vec![serde_json::from_value(claim).unwrap()];
        container(seen, json!({"waiting": {"reason": "ContainerCreating"}}));
    }

    fn node(seen: &mut Observation, conditions: Value) {
        let node = json!({"metadata": {"name": "node1"}, "status": {"conditions": conditions}});
        seen.nodes = vec![serde_json::from_value(node).unwrap()];
    }

    fn died(seen: &mut Observation, reason: &str) {
        container(seen, json!({"terminated": {"exitCode": 1, "reason": reason}}));
    }

    /// At noon the member is seen so; until `after` nothing is told, and from then on the finding is.
    #[track_caller]
    fn is_told(code: &str, after: SignedDuration, change: Change) {
        let mut waiting = seen(false);
        change(&mut waiting);
        let mut rollout = rollout();
        let mut told = |now: Timestamp| {
            let step = rollout.step(&waiting, now);
            let codes = step.events.into_iter().filter_map(|event| match event {
                Event::Found(finding) => Some((finding.code, finding.severity)),
                _ => None,
            });
            (codes.collect::<Vec<_>>(), step.wake_at)
        };
        let instant = SignedDuration::from_millis(1);
        let (first, _) = told(noon());
        assert_eq!(first, [], "{code} at once");
        let (early, wake_at) = told(noon() + after - instant);
        assert_eq!(early, [], "{code} before {after}");
        assert_eq!(wake_at, noon() + after, "{code}: nobody would look again in time");
        assert_eq!(told(noon() + after).0, [(code, Severity::Waiting)], "after {after}");
    }

    #[test]
    fn what_somebody_gave_a_reason_for_is_told_within_two_seconds() {
        assert!(UNSETTLED < SignedDuration::from_secs(2));
        let cases: [(&str, Change); 10] = [
            ("PGS-NO-ROOM", |seen| unscheduled(seen, "0/1 nodes are available: 1 Insufficient cpu.")),
            ("PGS-TAINTED", |seen| unscheduled(seen, "0/1 nodes are available: 1 node(s) had untolerated taint(s).")),
            ("PGS-VOLUME-NODE", |seen| {
                unscheduled(seen, "0/1 nodes are available: 1 node(s) had volume node affinity conflict.");
            }),
            ("PGS-UNSCHEDULABLE", |seen| {
                unscheduled(seen, "0/1 nodes are available: 1 node(s) are what nobody knows.");
            }),
            ("PGS-CLAIM-PENDING", |seen| {
                claim(seen);
                event(seen, "PersistentVolumeClaim", "pgdata-pgset-1", "Warning", "QuotaReached", "the array is full");
            }),
            ("PGS-NODE-PRESSURE", |seen| node(seen, json!([{"type": "DiskPressure", "status": "True"}]))),
            ("PGS-NODE-NOT-READY", |seen| {
                node(seen, json!([{"type": "Ready", "status": "Unknown", "lastTransitionTime": noon().to_string()}]));
            }),
            ("PGS-CONTAINER-NOT-STARTED", |seen| {
                container(seen, json!({"waiting": {"reason": "CreateContainerError", "message": "too busy"}}));
            }),
            ("PGS-OOM-KILLED", |seen| died(seen, "OOMKilled")),
            ("PGS-LIVENESS-KILLED", |seen| {
                died(seen, "Error");
                event(
                    seen,
                    "Pod",
                    "pgset-1",
                    "Normal",
                    "Killing",
                    "Container pgset failed liveness probe, will be restarted",
                );
            }),
        ];
        for (code, change) in cases {
            is_told(code, UNSETTLED, change);
        }
    }

    #[test]
    fn what_a_good_start_meets_as_well_is_told_once_it_takes_longer_than_there() {
        let seconds = SignedDuration::from_secs;
        let cases: [(&str, SignedDuration, Change); 12] = [
            ("PGS-CLAIM-PENDING", seconds(10), claim),
            ("PGS-CLAIM-PENDING", seconds(10), |seen| {
                claim(seen);
                event(
                    seen,
                    "PersistentVolumeClaim",
                    "pgdata-pgset-1",
                    "Normal",
                    "WaitForFirstConsumer",
                    "waiting for the pod",
                );
            }),
            ("PGS-PROVISIONER-SILENT", seconds(10), |seen| {
                claim(seen);
                event(
                    seen,
                    "PersistentVolumeClaim",
                    "pgdata-pgset-1",
                    "Normal",
                    "ExternalProvisioning",
                    "waiting for 'a/b'",
                );
            }),
            ("PGS-UNSCHEDULABLE", seconds(10), |seen| {
                unscheduled(
                    seen,
                    "0/1 nodes are available: 1 node(s) didn't find available persistent volumes to bind.",
                );
            }),
            ("PGS-IMAGE-PULLING", seconds(30), |seen| {
                container(seen, json!({"waiting": {"reason": "ContainerCreating"}}));
                event(seen, "Pod", "pgset-1", "Normal", "Pulling", "Pulling image");
            }),
            ("PGS-NFS-MOUNTING", seconds(15), |seen| {
                claim(seen);
                seen.claims[0].spec.as_mut().unwrap().volume_name = Some("pv1".to_owned());
                seen.claims[0].status.as_mut().unwrap().phase = Some("Bound".to_owned());
                let volumes = json!([{"name": "pgdata", "persistentVolumeClaim": {"claimName": "pgdata-pgset-1"}}]);
                seen.pods[1].spec.as_mut().unwrap().volumes = serde_json::from_value(volumes).unwrap();
                let volume =
                    json!([{"metadata": {"name": "pv1"}, "spec": {"nfs": {"server": "10.0.0.5", "path": "/srv"}}}]);
                seen.volumes = serde_json::from_value(volume).unwrap();
                let scheduled =
                    json!([{"type": "PodScheduled", "status": "True", "lastTransitionTime": noon().to_string()}]);
                seen.pods[1].status.as_mut().unwrap().conditions = serde_json::from_value(scheduled).unwrap();
            }),
            ("PGS-NODE-NOT-READY", seconds(10), |seen| {
                node(seen, json!([{"type": "Ready", "status": "False", "lastTransitionTime": noon().to_string()}]));
            }),
            ("PGS-NOT-READY", seconds(10), |seen| {
                event(
                    seen,
                    "Pod",
                    "pgset-1",
                    "Warning",
                    "Unhealthy",
                    "Startup probe failed: waiting for a primary: not yet",
                );
            }),
            ("PGS-CRASH-LOOP", seconds(10), |seen| died(seen, "Error")),
            ("PGS-CRASH-LOOP", seconds(10), |seen| {
                container(seen, json!({"waiting": {"reason": "CrashLoopBackOff"}}));
                let container = &mut seen.pods[1].status.as_mut().unwrap().container_statuses.as_mut().unwrap()[0];
                container.restart_count = 1;
                container.last_state = serde_json::from_value(json!({"terminated": {"exitCode": 1}})).unwrap();
            }),
            ("PGS-INIT-CONTAINER", seconds(10), |seen| {
                let init = json!([{"name": "prepare", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                    "state": {"running": {"startedAt": noon().to_string()}}}]);
                seen.pods[1].status.as_mut().unwrap().init_container_statuses = serde_json::from_value(init).unwrap();
                container(seen, json!({"waiting": {"reason": "PodInitializing"}}));
            }),
            ("PGS-CLONING", seconds(10), |seen| {
                let ips = json!([{"ip": "10.0.0.7"}]);
                seen.pods[1].status.as_mut().unwrap().pod_ips = serde_json::from_value(ips).unwrap();
                let clone = CloneProgress { client: "10.0.0.7".to_owned(), bytes_done: 1, bytes_total: Some(100) };
                let server = Server { timeline: 1, clones: vec![clone], ..Server::default() };
                seen.answers.insert("pgset-0".to_owned(), Answer::Answered(Box::new(server)));
            }),
        ];
        for (code, after, change) in cases {
            is_told(code, after, change);
        }
    }

    #[test]
    fn creating_a_container_is_nothing_to_tell() {
        let mut creating = seen(false);
        container(&mut creating, json!({"waiting": {"reason": "ContainerCreating"}}));
        let mut rollout = rollout();
        for seconds in [0, 2, 10, 60, 599] {
            let step = rollout.step(&creating, after(seconds));
            assert!(
                !step.events.iter().any(|event| matches!(event, Event::Found(_))),
                "{seconds} s: {:?}",
                step.events
            );
        }
    }

    #[test]
    fn a_clone_of_an_hour_is_waited_for_with_how_far_it_is() {
        const GIGABYTE: u64 = 1 << 30;
        let mut cloning = seen(true);
        let status = cloning.pods[1].status.as_mut().unwrap();
        status.pod_ips = serde_json::from_value(json!([{"ip": "10.0.0.7"}])).unwrap();
        status.conditions = None;
        status.container_statuses.as_mut().unwrap()[0].started = Some(false);
        cloning.answers.remove("pgset-1");
        cloning.endpoint_slices.pop();
        let mut rollout = Rollout::new(noon(), SignedDuration::from_hours(2));
        let mut inquiry = super::super::inquiry::Inquiry::default();
        let mut told: Vec<String> = Vec::new();
        for second in 0..3600 {
            let now = after(second);
            let done = u64::try_from(second).unwrap() * GIGABYTE / 36;
            let clone =
                CloneProgress { client: "10.0.0.7".to_owned(), bytes_done: done, bytes_total: Some(100 * GIGABYTE) };
            let Some(Answer::Answered(primary)) = cloning.answers.get_mut("pgset-0") else { panic!("no primary") };
            primary.standbys.clear();
            primary.clones = vec![clone];
            for question in inquiry.next(&mut cloning, now) {
                if let super::super::inquiry::Question::Log(member) = question {
                    cloning.running_logs.insert(member, vec!["pgset: cloning from pgset-0".to_owned()]);
                }
            }
            let step = rollout.step(&cloning, now);
            assert_eq!(step.verdict, Verdict::Continue, "after {second} s");
            for event in step.events {
                match event {
                    Event::Found(finding) => {
                        assert_eq!((finding.code, finding.severity), ("PGS-CLONING", Severity::Waiting));
                    }
                    Event::Phase { member, phase } if member == "pgset-1" => told.push(phase.to_string()),
                    Event::StillWaiting { members, .. } => told.push(members[0].1.to_string()),
                    Event::Phase { .. } | Event::Progress { .. } | Event::Gone { .. } => {}
                }
            }
        }
        assert_eq!(told[0], "cloning: 0 B of 100 GB");
        assert_eq!(told.len(), 120, "one line at the beginning, then one every half minute");
        assert!(told.contains(&"cloning: 50 GB of 100 GB".to_owned()), "{told:?}");
    }

    #[test]
    fn why_a_replica_is_late_is_on_screen_within_two_seconds_and_ends_the_wait_only_after_its_grace() {
        let refused = "2026-11-24 12:00:00.000 UTC [33] FATAL:  could not connect: FATAL:  password authentication failed for user \"replicator\"";
        let other =
            "2026-11-24 12:00:00.000 UTC [33] FATAL:  highest timeline 1 of the primary is behind recovery timeline 2";
        for (line, code, told_by) in [(refused, "PGS-REPLICATION-PASSWORD", 2), (other, "PGS-OTHER-TIMELINE", 5)] {
            let mut late = seen(true);
            change(&mut late, |server| server.wal_receiver = None);
            let (mut rollout, mut inquiry) = (rollout(), super::super::inquiry::Inquiry::default());
            let (mut told, mut now) = (None, noon());
            while told.is_none() {
                for question in inquiry.next(&mut late, now) {
                    if let super::super::inquiry::Question::Log(member) = question {
                        late.running_logs.insert(member, vec![line.to_owned()]);
                    }
                }
                let step = rollout.step(&late, now);
                assert_eq!(step.verdict, Verdict::Continue);
                let found = |event: &Event| matches!(event, Event::Found(finding) if finding.code == code);
                told = step.events.iter().any(found).then_some(now);
                let again = inquiry.wake_at(&late, now).map_or(step.wake_at, |at| at.min(step.wake_at));
                now = again.max(now + SignedDuration::from_millis(1));
                assert!(now < after(11), "{code} is never told");
            }
            let told = told.unwrap().duration_since(noon());
            assert!(told <= SignedDuration::from_secs(told_by), "{code}: {told}");
            assert!(told >= UNSETTLED && (told_by == 2 || told >= SignedDuration::from_secs(5)), "{code}: {told}");
            assert_eq!(rollout.step(&late, after(11)).verdict, Verdict::Continue, "{code}");
            assert!(matches!(rollout.step(&late, after(12)).verdict, Verdict::Failed(_)), "{code}");
        }
    }

    #[test]
    fn what_may_yet_settle_is_told_only_when_it_lasts() {
        let mut refused = seen(false);
        refused.pods.clear();
        let message = "create Pod pgset-0 in StatefulSet pgset failed error: exceeded quota: tiny";
        let event = json!({"metadata": {}, "involvedObject": {"kind": "StatefulSet", "name": "pgset"}, "message": message,
            "reason": "FailedCreate", "lastTimestamp": "2026-11-24T12:00:00Z"});
        refused.events = vec![serde_json::from_value(event).unwrap()];
        let mut rollout = rollout();
        let found = |step: &Step| step.events.iter().any(|event| matches!(event, Event::Found(_)));
        let first = rollout.step(&refused, noon());
        assert!(!found(&first) && first.wake_at == noon() + UNSETTLED);
        assert!(found(&rollout.step(&refused, noon() + UNSETTLED)));
    }

    #[test]
    fn a_controller_that_was_refused_before_the_wait_is_hurried_and_once_more_if_it_is_still_refused() {
        let mut refused = seen(false);
        refused.pods.clear();
        let message = "create Pod pgset-0 in StatefulSet pgset failed error: exceeded quota: tiny";
        let event = |time: &str| {
            let event = json!({"metadata": {}, "involvedObject": {"kind": "StatefulSet", "name": "pgset"},
                "message": message, "reason": "FailedCreate", "lastTimestamp": time});
            vec![serde_json::from_value(event).unwrap()]
        };
        refused.events = event("2026-11-24T12:00:01Z");
        assert!(!rollout().step(&refused, after(2)).hurry, "it has just tried");
        refused.events = event("2026-11-24T11:59:00Z");
        let mut rollout = rollout();
        let first = rollout.step(&refused, noon());
        assert!(first.hurry && first.wake_at <= noon() + HURRY_AGAIN);
        assert!(!rollout.step(&refused, after(1)).hurry);
        // It tried at once, and was refused by an API server that did not know better yet.
        refused.events = event("2026-11-24T12:00:01Z");
        let instant = SignedDuration::from_millis(1);
        let early = rollout.step(&refused, noon() + HURRY_AGAIN - instant);
        assert!(!early.hurry && early.wake_at == noon() + HURRY_AGAIN, "{:?}", early.wake_at);
        assert_eq!(early.verdict, Verdict::Continue);
        let again = rollout.step(&refused, noon() + HURRY_AGAIN);
        assert!(again.hurry && again.verdict == Verdict::Continue);
        assert!(!rollout.step(&refused, after(3)).hurry && !rollout.step(&refused, after(60)).hurry);
        // Whoever was let in the first time is not asked again.
        refused.events = event("2026-11-24T11:59:00Z");
        let mut let_in = self::rollout();
        assert!(let_in.step(&refused, noon()).hurry);
        let mut came = seen(false);
        came.events.clone_from(&refused.events);
        assert!(!let_in.step(&came, noon() + HURRY_AGAIN).hurry);
        let mut there = seen(false);
        there.events = refused.events;
        assert!(!Rollout::new(noon(), SignedDuration::from_mins(10)).step(&there, noon()).hurry, "nobody lacks");
    }

    #[test]
    fn a_hopeless_fault_is_told_once_and_ends_the_wait() {
        let mut broken = seen(false);
        let state = json!({"waiting": {"reason": "InvalidImageName", "message": "what?"}});
        let status = broken.pods[1].status.as_mut().unwrap().container_statuses.as_mut().unwrap();
        status[0].state = serde_json::from_value(state).unwrap();
        let mut rollout = rollout();
        let step = rollout.step(&broken, noon());
        let Verdict::Failed(findings) = &step.verdict else { panic!("{:?}", step.verdict) };
        assert_eq!(findings[0].code, "PGS-IMAGE-INVALID");
        let again = rollout.step(&broken, after(1));
        assert!(!again.events.iter().any(|event| matches!(event, Event::Found(_))));
    }

    #[test]
    fn what_leaves_no_time_anywhere_counts_from_when_it_was_met_and_without_a_break() {
        let mut unseen = seen(false);
        unseen.stateful_set.as_mut().unwrap().metadata.generation = Some(2);
        let mut rollout = rollout();
        let found = |step: &Step| step.events.iter().any(|event| matches!(event, Event::Found(_)));
        let first = rollout.step(&unseen, after(100));
        assert!(!found(&first) && first.wake_at == after(110), "{:?}", first.wake_at);
        assert!(found(&rollout.step(&unseen, after(110))));
        // The controller looks, and is away again later: nothing of the time before counts.
        assert_eq!(rollout.step(&seen(false), after(120)).verdict, Verdict::Continue);
        assert_eq!(rollout.step(&unseen, after(200)).verdict, Verdict::Continue);
        assert_eq!(rollout.step(&unseen, after(239)).verdict, Verdict::Continue);
        let last = rollout.step(&unseen, after(240));
        assert!(matches!(&last.verdict, Verdict::Failed(found) if found[0].code == "PGS-CONTROLLER-SILENT"));
    }

    #[test]
    fn a_recreated_primary_gets_its_label_back_and_is_asked_for_it_once() {
        let mut recreated = seen(true);
        let labels = recreated.pods[0].metadata.labels.as_mut().unwrap();
        labels.insert("name".to_owned(), "pgset-replica".to_owned());
        let mut rollout = rollout();
        let wanted = Relabel { pod: "pgset-0".to_owned(), name: "pgset-master".to_owned() };
        assert_eq!(rollout.step(&recreated, noon()).relabel, std::slice::from_ref(&wanted));
        assert_eq!(rollout.step(&recreated, noon()).relabel, []);
        assert_eq!(rollout.step(&seen(true), noon()).relabel, []);
        assert_eq!(rollout.step(&recreated, after(1)).relabel, [wanted]);
        recreated.answers.insert("pgset-1".to_owned(), primary());
        assert_eq!(rollout.step(&recreated, after(2)).relabel, [], "two primaries are a matter for a person");
    }

    #[test]
    fn a_dead_containers_log_is_read_once_a_death() {
        let mut dead = seen(false);
        let status = dead.pods[0].status.as_mut().unwrap().container_statuses.as_mut().unwrap();
        status[0].state = serde_json::from_value(json!({"terminated": {"exitCode": 1}})).unwrap();
        let mut rollout = rollout();
        assert_eq!(rollout.logs_to_read(&dead), ["pgset-0"]);
        assert_eq!(rollout.logs_to_read(&dead), [] as [String; 0]);
        dead.pods[0].status.as_mut().unwrap().container_statuses.as_mut().unwrap()[0].restart_count = 1;
        assert_eq!(rollout.logs_to_read(&dead), ["pgset-0"]);
    }

    #[test]
    fn without_postgresqls_word_ready_pods_and_one_endpoint_will_do() {
        let mut told = seen(true);
        told.answers.clear();
        told.asking = super::super::observation::Asking::Forbidden;
        assert_eq!(rollout().step(&told, noon()).verdict, Verdict::Healthy);
        told.endpoint_slices.clear();
        assert_eq!(rollout().step(&told, noon()).verdict, Verdict::Continue);
    }

    #[test]
    fn a_member_that_goes_is_told() {
        let mut rollout = rollout();
        rollout.step(&seen(true), noon());
        let mut scaled = seen(true);
        scaled.stateful_set.as_mut().unwrap().spec.replicas = Some(1);
        assert!(rollout.step(&scaled, noon()).health.unmet.iter().any(|unmet| unmet.to_string().contains("more than")));
        scaled.pods.pop();
        let gone = Event::Gone { member: "pgset-1".to_owned() };
        assert!(rollout.step(&scaled, noon()).events.contains(&gone));
    }
}
