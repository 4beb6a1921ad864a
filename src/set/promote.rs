//! A planned switchover: whether it may begin, who becomes the primary, and what comes next until it is over.
//!
//! The steps, each taken only when the one before is seen done: the primary writes a checkpoint; the switchover is noted;
//! the primary's folder becomes a standby's and its PostgreSQL shuts down, fast; it comes back as a standby; the target has
//! replayed all that the old primary wrote, its shutdown checkpoint included; that the target is told is noted; it is
//! promoted; the Service of the primary leads to it. The old primary says itself that it is a standby before the target is
//! told, so there are never two primaries, and until then nothing is lost by taking everything back: the old primary has
//! all the data and is promoted again.

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{Pod, Service};
use serde_json::json;
use thiserror::Error;

use super::findings::far_behind;
use super::health::health;
use super::identity::is_crunchy;
use super::observation::{Answer, Asking, PodReading, Server};
use super::plan::foreign_owner;
use super::{Lsn, Observation};
use crate::manifests::Promotion;

/// The label that the StatefulSet controller gives every pod, by which the primary's Service finds it.
pub const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";

/// Tells a standby to become the primary. It does not wait for that, and is no harm to one that is on the way.
pub const PROMOTE: &str = "select pg_promote(false)";

/// Why there is no switchover.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    #[error("StatefulSet {set} in namespace {namespace} is not this set's: it belongs to {owner}")]
    Foreign { set: String, namespace: String, owner: String },
    #[error(
        "{set} in namespace {namespace} runs a Crunchy image, with which no member can be promoted safely: its recovery.conf \
         names no timeline to follow, so the other replicas stay behind on the old one, and the image starts the old primary \
         as a primary again: two primaries, each with rows of its own"
    )]
    Crunchy { set: String, namespace: String },
    #[error("{set} in namespace {namespace} is stopped")]
    Stopped { set: String, namespace: String },
    #[error("{set} in namespace {namespace} has one member: there is no replica to promote")]
    Alone { set: String, namespace: String },
    #[error("{set} in namespace {namespace} has no member {text}")]
    NoMember { set: String, namespace: String, text: String, members: Vec<String> },
    #[error("promoting a member of {set} needs PostgreSQL's word on who is primary, and you may not ask it")]
    Forbidden { set: String },
    #[error("several members of {set} say that they are the primary: {}", primaries.join(", "))]
    SeveralPrimaries { set: String, primaries: Vec<String> },
    #[error("{set} in namespace {namespace} is not healthy, and a switchover could take away what still works: {unmet}")]
    NotHealthy { set: String, namespace: String, unmet: String },
    #[error("{} have the same data: one has to be named", candidates.join(" and "))]
    Several { candidates: Vec<String> },
    #[error("{member} is {behind} bytes behind the primary {primary}; writes would pause until it has caught up")]
    FarBehind { member: String, primary: String, behind: u64 },
    #[error("{member} does not replay: its recovery is paused")]
    Paused { member: String },
    #[error("{member} lacks data that {newest} has, so it cannot become the primary")]
    Lacks { member: String, newest: String },
    #[error("a switchover to {to} is unfinished, and {to} may have been told to become the primary")]
    Told { to: String },
    #[error("Service {service} does not select a member by its name, so pgset cannot lead it to another one")]
    Selector { service: String },
    #[error("Service {service} does not exist, so there is nothing to lead to another member")]
    NoService { service: String },
}

/// What `promote` does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// This member is the primary already.
    Already {
        primary: String,
        /// A switchover away from it was cut short before it stepped down, and may have left something in its folder.
        take_back: bool,
        /// A switchover to it was cut short before its end.
        finish: bool,
    },
    /// The whole of it.
    Switch { from: String, to: String },
    /// One was cut short after the primary had been asked to step down.
    GoOn(Promotion),
    /// There is no primary, and nobody has noted why; this member has the most data.
    Elect { to: String, like: Vec<String> },
}

/// Whether a member of this set can be promoted at all.
///
/// # Errors
/// Why not.
pub fn possible(seen: &Observation) -> Result<(), Refusal> {
    let (set, namespace) = (seen.name.clone(), seen.namespace.clone());
    let Some(stateful_set) = &seen.stateful_set else { return Ok(()) };
    if let Some(owner) = foreign_owner(&set, &json!(stateful_set)) {
        return Err(Refusal::Foreign { set, namespace, owner });
    }
    if is_crunchy(stateful_set) {
        return Err(Refusal::Crunchy { set, namespace });
    }
    match seen.wanted().unwrap_or(0) {
        0 => Err(Refusal::Stopped { set, namespace }),
        1 => Err(Refusal::Alone { set, namespace }),
        _ => Ok(()),
    }
}

/// The member that a person names, by its number or its name.
///
/// # Errors
/// The set has no such member.
pub fn member_named(seen: &Observation, text: &str) -> Result<String, Refusal> {
    let member = if text.bytes().all(|byte| byte.is_ascii_digit()) {
        format!("{}-{text}", seen.name)
    } else {
        text.to_owned()
    };
    if seen.members().contains(&member) {
        return Ok(member);
    }
    let (set, namespace) = (seen.name.clone(), seen.namespace.clone());
    Err(Refusal::NoMember { set, namespace, text: text.to_owned(), members: seen.members() })
}

/// The member that the Service of the primary leads to.
///
/// # Errors
/// It does not exist, or selects otherwise than by a member's name.
pub fn led_to<'a>(name: &str, service: Option<&'a Service>) -> Result<&'a str, Refusal> {
    let Some(service) = service else { return Err(Refusal::NoService { service: name.to_owned() }) };
    let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    let by_name = selector.filter(|selector| selector.len() == 1).and_then(|selector| selector.get(POD_NAME));
    by_name.map(String::as_str).ok_or_else(|| Refusal::Selector { service: name.to_owned() })
}

/// Decides what to do from one observation, in which every member that runs was asked. `noted` is the switchover that was
/// begun and not seen to its end; `member` is one of the set's.
///
/// # Errors
/// Why nothing is done.
pub fn plan(seen: &Observation, noted: Option<&Promotion>, member: Option<&str>) -> Result<Plan, Refusal> {
    let set = seen.name.clone();
    if seen.asking == Asking::Forbidden {
        return Err(Refusal::Forbidden { set });
    }
    match seen.primaries()[..] {
        [primary] => with_primary(seen, noted, member, primary),
        [] => without_primary(seen, noted, member),
        ref several => {
            let primaries = several.iter().map(ToString::to_string).collect();
            Err(Refusal::SeveralPrimaries { set, primaries })
        }
    }
}

fn with_primary(
    seen: &Observation,
    noted: Option<&Promotion>,
    member: Option<&str>,
    primary: &str,
) -> Result<Plan, Refusal> {
    let finish = noted.is_some_and(|noted| noted.to == primary);
    let began = noted.filter(|noted| noted.from == primary && noted.to != primary);
    let target = member.or(began.map(|noted| noted.to.as_str()));
    if target == Some(primary) || (target.is_none() && finish) {
        return Ok(Plan::Already { primary: primary.to_owned(), take_back: began.is_some(), finish });
    }
    let unmet: Vec<String> = health(seen).unmet.iter().map(ToString::to_string).collect();
    if !unmet.is_empty() {
        let (set, namespace) = (seen.name.clone(), seen.namespace.clone());
        return Err(Refusal::NotHealthy { set, namespace, unmet: unmet.join("; ") });
    }
    let to = match target {
        Some(target) => target.to_owned(),
        None => most_advanced(seen)?,
    };
    if seen.server(&to).is_some_and(|server| server.replay_paused) {
        return Err(Refusal::Paused { member: to });
    }
    if let Some((member, behind)) = far_behind(seen).into_iter().find(|(member, _)| *member == to) {
        return Err(Refusal::FarBehind { member, primary: primary.to_owned(), behind });
    }
    Ok(Plan::Switch { from: primary.to_owned(), to })
}

/// The replica with the most data, where one alone has it.
fn most_advanced(seen: &Observation) -> Result<String, Refusal> {
    let (newest, like) = newest(seen);
    if like.is_empty() {
        return Ok(newest);
    }
    Err(Refusal::Several { candidates: [vec![newest], like].concat() })
}

/// The replica with the most data, and others that have just as much.
fn newest(seen: &Observation) -> (String, Vec<String>) {
    let replicas = seen.answers.iter().filter_map(|(member, answer)| {
        let server = answer.server().filter(|server| server.in_recovery)?;
        Some((member.clone(), (server.timeline, server.lsn)))
    });
    let replicas: Vec<(String, (u32, Lsn))> = replicas.collect();
    let most = replicas.iter().map(|(_, position)| *position).max();
    let mut all = replicas.into_iter().filter(|(_, position)| Some(*position) == most).map(|(member, _)| member);
    (all.next().unwrap_or_default(), all.collect())
}

fn without_primary(
    seen: &Observation,
    noted: Option<&Promotion>,
    member: Option<&str>,
) -> Result<Plan, Refusal> {
    if let Some(noted) = noted {
        let to = member.unwrap_or(&noted.to);
        if noted.told && to != noted.to {
            return Err(Refusal::Told { to: noted.to.clone() });
        }
        return Ok(Plan::GoOn(Promotion { to: to.to_owned(), ..noted.clone() }));
    }
    // Somebody who does not answer may have more data than all others.
    let wanted = (0..seen.wanted().unwrap_or(0)).map(|ordinal| seen.member_name(ordinal));
    let silent: Vec<String> = wanted.filter(|member| seen.server(member).is_none()).collect();
    let systems = seen.answers.values().filter_map(Answer::server).map(|server| server.system_identifier.as_str());
    let mut systems: Vec<&str> = systems.collect();
    systems.dedup();
    if !silent.is_empty() || systems.len() != 1 {
        let (set, namespace) = (seen.name.clone(), seen.namespace.clone());
        let unmet: Vec<String> = health(seen).unmet.iter().map(ToString::to_string).collect();
        return Err(Refusal::NotHealthy { set, namespace, unmet: unmet.join("; ") });
    }
    let (newest, like) = newest(seen);
    match member {
        Some(member) if member == newest || like.iter().any(|one| one == member) => {
            let others = [vec![newest], like].concat().into_iter().filter(|one| one != member).collect();
            Ok(Plan::Elect { to: member.to_owned(), like: others })
        }
        Some(member) => Err(Refusal::Lacks { member: member.to_owned(), newest }),
        None if like.is_empty() => Ok(Plan::Elect { to: newest, like }),
        None => Err(Refusal::Several { candidates: [vec![newest], like].concat() }),
    }
}

/// What comes next once the primary has been asked to step down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Still on the way, and nothing to do but to look again.
    Wait(Waiting),
    /// The old primary's container has ended and waits longer and longer to be started again: its pod is to be replaced.
    Replace(String),
    /// The target has everything.
    Promote,
    /// It is the primary.
    Done,
    /// Another member is the primary.
    Other(String),
}

/// What is waited for.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Waiting {
    #[error("{0} has not stepped down yet")]
    StillPrimary(String),
    #[error("{0} is not back as a replica yet")]
    Away(String),
    #[error("{0} does not answer")]
    Silent(String),
    #[error("{to} has replayed up to {has}, and {from} wrote up to {wants}")]
    Behind { from: String, to: String, has: Lsn, wants: Lsn },
    #[error("{0} holds another database or is on another timeline than {1}")]
    Unlike(String, String),
}

impl Waiting {
    /// For how many seconds it may last while the primary is away; `None` where nothing but waiting helps.
    #[must_use]
    pub fn patience(&self) -> Option<i64> {
        match self {
            Self::Away(_) => None,
            // A shutdown refuses connections at once, so a primary that still answers does not shut down.
            Self::StillPrimary(_) => Some(30),
            Self::Silent(_) => Some(30),
            // It has received all it will ever get, and only has to replay it.
            Self::Behind { .. } => Some(10),
            Self::Unlike(..) => Some(0),
        }
    }
}

/// Whether so long a wait is the end of this switchover. Once the target may have been told, there is only one way: on.
#[must_use]
pub fn gives_up(waiting: &Waiting, promotion: &Promotion, lasted: SignedDuration) -> bool {
    let patience = waiting.patience().filter(|_| !promotion.told && promotion.from != promotion.to);
    patience.is_some_and(|seconds| lasted.as_secs() >= seconds)
}

/// Decides what comes next in this switchover.
#[must_use]
pub fn next(seen: &Observation, promotion: &Promotion) -> Next {
    let Promotion { from, to, told } = promotion;
    if let Some(primary) = seen.primaries().first() {
        return match *primary {
            primary if primary == to => Next::Done,
            primary if primary == from => Next::Wait(Waiting::StillPrimary(from.clone())),
            primary => Next::Other(primary.to_owned()),
        };
    }
    let Some(old) = seen.server(from) else {
        if seen.pod(from).is_some_and(|pod| backs_off(pod)) {
            return Next::Replace(from.clone());
        }
        // Who has been told has everything, and may be on the way to become the primary.
        return if *told && seen.server(to).is_some() { Next::Promote } else { Next::Wait(Waiting::Away(from.clone())) };
    };
    let Some(target) = seen.server(to) else { return Next::Wait(Waiting::Silent(to.clone())) };
    if *told {
        return Next::Promote;
    }
    has_all(old, target, from, to).map_or(Next::Promote, Next::Wait)
}

/// What keeps the target from having everything that the old primary has.
fn has_all(old: &Server, target: &Server, from: &str, to: &str) -> Option<Waiting> {
    if target.system_identifier != old.system_identifier || target.timeline != old.timeline {
        return Some(Waiting::Unlike(to.to_owned(), from.to_owned()));
    }
    (target.lsn < old.lsn).then(|| Waiting::Behind {
        from: from.to_owned(),
        to: to.to_owned(),
        has: target.lsn,
        wants: old.lsn,
    })
}

/// Whether the kubelet lets a dead container wait before it starts it again.
fn backs_off(pod: &Pod) -> bool {
    let waiting = pod.container().and_then(|container| container.state.as_ref()?.waiting.as_ref()?.reason.as_deref());
    waiting == Some("CrashLoopBackOff") && !pod.is_terminating()
}

/// The members whose PostgreSQL may answer: a standby without a primary is not ready, but it answers.
#[must_use]
pub fn members_to_ask(seen: &Observation) -> Vec<String> {
    let runs = |member: &String| seen.pod(member).is_some_and(|pod| pod.is_running());
    seen.members().into_iter().filter(runs).collect()
}
