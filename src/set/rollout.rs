//! The way of a set to health: what changed, what to do about it, and when to stop waiting.
//!
//! A state machine without a clock or client: the caller passes in each observation and `now`, carries out what
//! [`Rollout::logs_to_read`], [`Rollout::members_to_ask`] and [`Step::relabel`] name, and reports the events.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::findings::{self, Finding, ObjectRef, Severity};
use super::health::{self, Health};
use super::observation::{Observation, PodReading};
use super::phase::{self, Phase};

/// How often a wait with nothing new to say says that it still waits.
const REMINDER: SignedDuration = SignedDuration::from_secs(30);

/// How long something that is merely waited for goes unmentioned: a claim is unbound and a pod unscheduled for an instant
/// in every good start.
const UNREMARKABLE: SignedDuration = SignedDuration::from_secs(10);

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
    last_said: Timestamp,
}

/// What one observation led to.
#[derive(Debug)]
pub struct Step {
    pub events: Vec<Event>,
    /// Pods whose `name` label sends the wrong Service's connections to them, with the right label.
    pub relabel: Vec<Relabel>,
    pub verdict: Verdict,
    pub health: Health,
    /// The next moment at which time alone changes something: a reminder, a grace's end, the deadline.
    pub wake_at: Timestamp,
}

/// Something worth telling.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    Phase {
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
        let found = findings::diagnose(seen, Some(self.since));
        let found_graces: Vec<Timestamp> = found.iter().filter_map(|finding| finding.fatal_from).collect();
        let mut events = self.phase_events(seen, &health);
        for finding in self.worth_telling(&found, now) {
            events.push(Event::Found(finding));
        }
        if !events.is_empty() {
            self.last_said = now;
        } else if now.duration_since(self.last_said) >= REMINDER {
            self.last_said = now;
            events.push(self.still_waiting(&health, now));
        }
        let verdict = if health.is_healthy() {
            Verdict::Healthy
        } else if found.iter().any(|finding| finding.ends_wait(now)) {
            Verdict::Failed(found)
        } else if now >= self.deadline {
            Verdict::TimedOut(found)
        } else {
            Verdict::Continue
        };
        let reminder = self.last_said.saturating_add(REMINDER).unwrap_or(Timestamp::MAX);
        let graces = found_graces.into_iter().filter(|from| *from > now);
        let ripe = self.met.iter().filter(|(key, _)| !self.told.contains(*key));
        let ripe = ripe.filter_map(|(_, met)| met.checked_add(UNREMARKABLE).ok());
        let wake_at = graces.chain(ripe).chain([reminder]).min().unwrap_or(reminder).min(self.deadline);
        let wanted = relabel(seen);
        let relabel = wanted.iter().filter(|one| !self.relabelled.contains(one)).cloned().collect();
        self.relabelled = wanted;
        Step { events, relabel, verdict, health, wake_at }
    }

    /// The findings that have not been told yet, but for those that are only waited for and young.
    fn worth_telling(&mut self, found: &[Finding], now: Timestamp) -> Vec<Finding> {
        let mut telling = Vec::new();
        for finding in found {
            let key = (finding.code, finding.object.clone());
            let met = *self.met.entry(key.clone()).or_insert(now);
            let young = finding.severity == Severity::Waiting && now.duration_since(met) < UNREMARKABLE;
            if !young && self.told.insert(key) {
                telling.push(finding.clone());
            }
        }
        // What is over and comes back is young again.
        self.met
            .retain(|(code, object), _| found.iter().any(|finding| finding.code == *code && finding.object == *object));
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
            if self.phases.get(&member) != Some(&phase) {
                self.phases.insert(member.clone(), phase.clone());
                events.push(Event::Phase { member, phase });
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
