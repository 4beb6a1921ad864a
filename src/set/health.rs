//! Healthy: the one judgement that `up`, `wait`, `scale` and `status` share. It is the database's word, or
//! Kubernetes' where PostgreSQL may not be asked.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::StatefulSet;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::observation::{Answer, Asking, Observation, PodReading, Server};

/// Whose word a judgement rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Word {
    PostgreSQL,
    Kubernetes,
}

/// What is missing for a set to be healthy, in the order in which a start meets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    pub word: Word,
    pub unmet: Vec<Unmet>,
}

impl Health {
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.unmet.is_empty()
    }

    /// What is missing about one member.
    pub fn of_member<'a>(&'a self, member: &'a str) -> impl Iterator<Item = &'a Unmet> {
        self.unmet.iter().filter(move |unmet| unmet.member() == Some(member))
    }
}

/// One unmet condition of health.
#[derive(Clone, Debug, Error, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "condition")]
pub enum Unmet {
    #[error("there is no StatefulSet")]
    NoStatefulSet,
    #[error("the set is stopped")]
    Stopped,
    #[error("the StatefulSet controller has not yet seen the latest change")]
    NotObserved,
    #[error("{member} does not exist yet")]
    Missing { member: String },
    #[error("{member} is being deleted")]
    Terminating { member: String },
    #[error("{member} is more than the set should have")]
    Surplus { member: String },
    #[error("{member} still runs an older revision")]
    OldRevision { member: String },
    #[error("{member} is not ready")]
    NotReady { member: String },
    #[error("{member}'s PostgreSQL has not been asked yet")]
    NotAsked { member: String },
    #[error("{member}'s PostgreSQL does not answer: {reason}")]
    Silent { member: String, reason: String },
    #[error("no member is a primary")]
    NoPrimary,
    #[error("several members are primaries: {}", members.join(", "))]
    SeveralPrimaries { members: Vec<String> },
    #[error("{member} holds another database: system identifier {theirs}, the primary's is {ours}")]
    OtherSystem { member: String, theirs: String, ours: String },
    #[error("{member} is on timeline {theirs}, the primary on {ours}")]
    OtherTimeline { member: String, theirs: u32, ours: u32 },
    #[error("{member} does not stream: its WAL receiver is {status}")]
    NotStreaming { member: String, status: String },
    #[error("the primary does not list {member} as streaming: {state}")]
    NotListed { member: String, state: String },
    #[error("Service {service} leads to {}, not to {}", list(have), list(want))]
    Endpoints { service: String, have: Vec<String>, want: Vec<String> },
}

impl Unmet {
    /// The member it is about, where it is about one.
    #[must_use]
    pub fn member(&self) -> Option<&str> {
        match self {
            Self::Missing { member }
            | Self::Terminating { member }
            | Self::Surplus { member }
            | Self::OldRevision { member }
            | Self::NotReady { member }
            | Self::NotAsked { member }
            | Self::Silent { member, .. }
            | Self::OtherSystem { member, .. }
            | Self::OtherTimeline { member, .. }
            | Self::NotStreaming { member, .. }
            | Self::NotListed { member, .. } => Some(member),
            Self::NoStatefulSet
            | Self::Stopped
            | Self::NotObserved
            | Self::NoPrimary
            | Self::SeveralPrimaries { .. }
            | Self::Endpoints { .. } => None,
        }
    }
}

fn list(members: &[String]) -> String {
    if members.is_empty() { "nobody".to_owned() } else { members.join(", ") }
}

/// Judges one observation.
#[must_use]
pub fn health(seen: &Observation) -> Health {
    let word = match seen.asking {
        Asking::Allowed => Word::PostgreSQL,
        Asking::Forbidden => Word::Kubernetes,
    };
    let mut unmet = kubernetes(seen);
    if seen.wanted().is_some_and(|wanted| wanted > 0) {
        match word {
            Word::PostgreSQL => {
                // That a member which is not there or not ready was not asked goes without saying.
                let known: Vec<String> = unmet.iter().filter_map(|one| one.member().map(str::to_owned)).collect();
                let unasked = |one: &Unmet| matches!(one, Unmet::NotAsked { member } if known.contains(member));
                unmet.extend(postgres(seen).into_iter().filter(|one| !unasked(one)));
            }
            Word::Kubernetes => unmet.extend(endpoints_without_roles(seen)),
        }
    }
    Health { word, unmet }
}

/// The StatefulSet has what it should have: generation, members, revision, readiness.
fn kubernetes(seen: &Observation) -> Vec<Unmet> {
    let Some(stateful_set) = &seen.stateful_set else { return vec![Unmet::NoStatefulSet] };
    let mut unmet = Vec::new();
    let status = stateful_set.status.as_ref();
    if !is_observed(stateful_set) {
        unmet.push(Unmet::NotObserved);
    }
    let revision = status.and_then(|s| s.update_revision.as_deref());
    let wanted = seen.wanted().unwrap_or(0);
    if wanted == 0 {
        unmet.push(Unmet::Stopped);
    }
    for member in seen.members() {
        let surplus = seen.ordinal(&member).is_none_or(|ordinal| ordinal >= wanted);
        match seen.pod(&member) {
            None => unmet.push(Unmet::Missing { member }),
            Some(_) if surplus => unmet.push(Unmet::Surplus { member }),
            Some(pod) if pod.is_terminating() => unmet.push(Unmet::Terminating { member }),
            Some(pod) if revision.is_some() && pod.revision() != revision => unmet.push(Unmet::OldRevision { member }),
            Some(pod) if !pod.is_ready() => unmet.push(Unmet::NotReady { member }),
            Some(_) => {}
        }
    }
    unmet
}

/// Whether the controller has seen the StatefulSet's latest change. Until then its pods say nothing about that change.
pub(super) fn is_observed(stateful_set: &StatefulSet) -> bool {
    let status = stateful_set.status.as_ref();
    status.and_then(|status| status.observed_generation) >= stateful_set.metadata.generation
}

/// One primary, every other member streaming from it, and the Services leading where they should.
fn postgres(seen: &Observation) -> Vec<Unmet> {
    let mut unmet = Vec::new();
    let wanted: Vec<String> = (0..seen.wanted().unwrap_or(0)).map(|ordinal| seen.member_name(ordinal)).collect();
    for member in &wanted {
        match seen.answers.get(member) {
            Some(Answer::Answered(_)) => {}
            Some(Answer::Silent(reason)) => {
                unmet.push(Unmet::Silent { member: member.clone(), reason: reason.clone() });
            }
            None => unmet.push(Unmet::NotAsked { member: member.clone() }),
        }
    }
    let primary_name = match seen.primaries()[..] {
        [] => {
            unmet.push(Unmet::NoPrimary);
            return unmet;
        }
        [one] => one,
        ref several => {
            unmet.push(Unmet::SeveralPrimaries { members: several.iter().map(ToString::to_string).collect() });
            return unmet;
        }
    };
    let Some(primary) = seen.server(primary_name) else { return unmet };
    let replicas: Vec<&String> = wanted.iter().filter(|member| *member != primary_name).collect();
    for member in &replicas {
        if let Some(server) = seen.server(member) {
            unmet.extend(replica(seen, member, server, primary));
        }
    }
    unmet.extend(endpoints(seen, "master", vec![primary_name.to_owned()]));
    unmet.extend(endpoints(seen, "replica", replicas.into_iter().cloned().collect()));
    unmet
}

/// One replica against the primary: the first thing wrong, since the later ones follow from it.
fn replica(seen: &Observation, member: &str, server: &Server, primary: &Server) -> Option<Unmet> {
    let member = member.to_owned();
    if server.system_identifier != primary.system_identifier {
        let (theirs, ours) = (server.system_identifier.clone(), primary.system_identifier.clone());
        return Some(Unmet::OtherSystem { member, theirs, ours });
    }
    match &server.wal_receiver {
        Some(receiver) if receiver.streams() => {}
        other => {
            let status = other.as_ref().map_or_else(|| "not running".to_owned(), |receiver| receiver.status.clone());
            return Some(Unmet::NotStreaming { member, status });
        }
    }
    if server.timeline != primary.timeline {
        return Some(Unmet::OtherTimeline { member, theirs: server.timeline, ours: primary.timeline });
    }
    match seen.standby(primary, &member) {
        Some(row) if row.state == "streaming" => None,
        Some(row) => Some(Unmet::NotListed { state: row.state.clone(), member }),
        None => Some(Unmet::NotListed { state: "not connected".to_owned(), member }),
    }
}

/// One of the set's two Services leads exactly to these members. Another one that it lists as not ready was seen before the
/// latest change of that pod: the next word may be that it is ready, and only the one after that it is not there.
fn endpoints(seen: &Observation, role: &str, mut want: Vec<String>) -> Option<Unmet> {
    let service = format!("{}-{role}", seen.name);
    let leads = |member: &str, ready: bool| ready || !want.iter().any(|wanted| wanted == member);
    let listed = seen.listed(&service).into_iter().filter(|(member, ready)| leads(member, *ready));
    let have: BTreeSet<String> = listed.map(|(member, _)| member.to_owned()).collect();
    let have: Vec<String> = have.into_iter().collect();
    want.sort_unstable();
    (have != want).then_some(Unmet::Endpoints { service, have, want })
}

/// All that can be said of the Services without knowing who the primary is: `NAME-master` leads to one member.
fn endpoints_without_roles(seen: &Observation) -> Option<Unmet> {
    let service = format!("{}-master", seen.name);
    let have: Vec<String> = seen.endpoints(&service).into_iter().map(str::to_owned).collect();
    (have.len() != 1).then(|| Unmet::Endpoints { service, have, want: vec!["one member".to_owned()] })
}
