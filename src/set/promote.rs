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
use super::observation::{Answer, Asking, PodReading};
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
    #[error(
        "{set} in namespace {namespace} is not healthy, and a switchover could take away what still works: {unmet}"
    )]
    NotHealthy { set: String, namespace: String, unmet: String },
    #[error("{} have the same data: one has to be named", candidates.join(" and "))]
    Several { candidates: Vec<String> },
    #[error("{member} is {behind} bytes behind the primary {primary}; writes would pause until it has caught up")]
    FarBehind { member: String, primary: String, behind: u64 },
    #[error("{member} does not replay: its recovery is paused")]
    Paused { member: String },
    #[error("{member} lacks data that {newest} has, so it cannot become the primary")]
    Lacks { member: String, newest: String },
    #[error("no member of {set} has all that the others have: their data lies on different timelines")]
    Apart { set: String },
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
    /// There is no primary, and nobody has noted why; no member has data that this one lacks.
    Elect { to: String },
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
    let member =
        if text.bytes().all(|byte| byte.is_ascii_digit()) { format!("{}-{text}", seen.name) } else { text.to_owned() };
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
    let mut newest = newest(seen)?;
    if newest.len() > 1 {
        return Err(Refusal::Several { candidates: newest });
    }
    Ok(newest.remove(0))
}

/// The replicas that have all that any replica has: one at least.
fn newest(seen: &Observation) -> Result<Vec<String>, Refusal> {
    let replicas = || {
        let replica = |(member, answer): (&'_ String, &'_ Answer)| {
            answer
                .server()
                .filter(|server| server.in_recovery)
                .map(|server| (member.clone(), server.timeline, server.lsn))
        };
        seen.answers.iter().filter_map(replica)
    };
    let (timeline, lsn) = (replicas().map(|one| one.1).max(), replicas().map(|one| one.2).max());
    let all = replicas().filter(|one| (Some(one.1), Some(one.2)) == (timeline, lsn)).map(|one| one.0);
    let all: Vec<String> = all.collect();
    if all.is_empty() { Err(Refusal::Apart { set: seen.name.clone() }) } else { Ok(all) }
}

fn without_primary(seen: &Observation, noted: Option<&Promotion>, member: Option<&str>) -> Result<Plan, Refusal> {
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
    let to = match member {
        Some(member) => {
            let newest = newest(seen)?;
            if !newest.iter().any(|one| one == member) {
                return Err(Refusal::Lacks { member: member.to_owned(), newest: newest[0].clone() });
            }
            member.to_owned()
        }
        None => most_advanced(seen)?,
    };
    Ok(Plan::Elect { to })
}

/// Whether the members' positions have to be known exactly: who has the most data decides who becomes the primary.
#[must_use]
pub fn compares(seen: &Observation, noted: Option<&Promotion>) -> bool {
    noted.is_none() && seen.primaries().is_empty()
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
    #[error("{to} has replayed up to {has}, and {from} has data up to {wants}")]
    Behind { from: String, to: String, has: Lsn, wants: Lsn },
    #[error("{0} holds another database")]
    OtherSystem(String),
}

impl Waiting {
    /// For how many seconds it may last while the primary is away; `None` where nothing but waiting helps.
    #[must_use]
    pub fn patience(&self) -> Option<i64> {
        match self {
            Self::Away(_) => None,
            // A shutdown refuses connections at once, so a primary that still answers does not shut down.
            Self::StillPrimary(_) | Self::Silent(_) => Some(30),
            // It has received all it will ever get, and only has to replay it.
            Self::Behind { .. } => Some(10),
            Self::OtherSystem(_) => Some(0),
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
        if seen.pod(from).is_some_and(backs_off) {
            return Next::Replace(from.clone());
        }
        // Who has been told has everything, and may be on the way to become the primary.
        return if *told && seen.server(to).is_some() {
            Next::Promote
        } else {
            Next::Wait(Waiting::Away(from.clone()))
        };
    };
    let Some(target) = seen.server(to) else { return Next::Wait(Waiting::Silent(to.clone())) };
    if *told {
        return Next::Promote;
    }
    if target.system_identifier != old.system_identifier {
        return Next::Wait(Waiting::OtherSystem(to.clone()));
    }
    // All were on one timeline when this was noted, and nobody has been a primary since. The old primary has written more
    // than any other has.
    let lags = |(member, answer): (&String, &Answer)| {
        let wants = answer.server().map(|server| server.lsn).filter(|lsn| *lsn > target.lsn)?;
        Some(Waiting::Behind { from: member.clone(), to: to.clone(), has: target.lsn, wants })
    };
    seen.answers.iter().find_map(lags).map_or(Next::Promote, Next::Wait)
}

/// Whether the kubelet lets a dead container wait before it starts it again.
fn backs_off(pod: &Pod) -> bool {
    let waiting = pod.container().and_then(|container| container.state.as_ref()?.waiting.as_ref()?.reason.as_deref());
    waiting == Some("CrashLoopBackOff") && !pod.is_terminating()
}

/// The members whose PostgreSQL may answer: a standby without a primary is not ready, but it answers.
#[must_use]
pub fn members_to_ask(seen: &Observation) -> Vec<String> {
    let runs = |member: &String| seen.pod(member).is_some_and(PodReading::is_running);
    seen.members().into_iter().filter(runs).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::observation::{Server, Standby, WalReceiver};
    use super::*;

    fn pod(name: &str, role: &str) -> Value {
        json!({
            "metadata": {"name": name, "uid": name, "labels": {"name": role}},
            "spec": {"containers": [{"name": "pgset"}]},
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [{"name": "pgset", "image": "", "imageID": "", "ready": true, "started": true,
                    "restartCount": 0, "state": {"running": {}}}],
            },
        })
    }

    fn slice(service: &str, members: &[&str]) -> Value {
        let endpoints: Vec<Value> =
            members.iter().map(|name| json!({"addresses": ["10.0.0.1"], "targetRef": {"name": name}})).collect();
        json!({"metadata": {"labels": {"kubernetes.io/service-name": service}}, "addressType": "IPv4", "endpoints": endpoints})
    }

    fn replica(lsn: u64) -> Server {
        let receiver = WalReceiver { status: "streaming".to_owned(), ..WalReceiver::default() };
        Server { in_recovery: true, timeline: 1, lsn: Lsn(lsn), wal_receiver: Some(receiver), ..Server::default() }
    }

    fn answer(seen: &mut Observation, member: &str, server: Server) {
        seen.answers.insert(member.to_owned(), Answer::Answered(Box::new(server)));
    }

    /// A healthy set of three; pgset-2 is a little ahead of pgset-1.
    fn seen() -> Observation {
        let labels = json!({"app.kubernetes.io/managed-by": "pgset", "app.kubernetes.io/instance": "pgset"});
        let mut seen: Observation = serde_json::from_value(json!({
            "name": "pgset", "namespace": "shop",
            "statefulSet": {
                "metadata": {"name": "pgset", "generation": 1, "labels": labels},
                "spec": {"replicas": 3, "selector": {}, "serviceName": "pgset", "template": {"spec": {"containers": [{"name": "pgset"}]}}},
                "status": {"observedGeneration": 1, "replicas": 3},
            },
            "pods": [pod("pgset-0", "pgset-master"), pod("pgset-1", "pgset-replica"), pod("pgset-2", "pgset-replica")],
            "endpointSlices": [slice("pgset-master", &["pgset-0"]), slice("pgset-replica", &["pgset-1", "pgset-2"])],
        }))
        .unwrap();
        let row = |name: &str| Standby {
            application_name: name.to_owned(),
            state: "streaming".to_owned(),
            ..Standby::default()
        };
        let primary =
            Server { timeline: 1, lsn: Lsn(90), standbys: vec![row("pgset-1"), row("pgset-2")], ..Server::default() };
        answer(&mut seen, "pgset-0", primary);
        answer(&mut seen, "pgset-1", replica(80));
        answer(&mut seen, "pgset-2", replica(85));
        seen
    }

    /// The same once pgset-0 has stepped down.
    fn stepped_down() -> Observation {
        let mut seen = seen();
        answer(&mut seen, "pgset-0", Server { wal_receiver: None, ..replica(100) });
        seen
    }

    fn under_way(told: bool) -> Promotion {
        Promotion { from: "pgset-0".to_owned(), to: "pgset-1".to_owned(), told }
    }

    fn refused(seen: &Observation, member: Option<&str>) -> String {
        plan(seen, None, member).unwrap_err().to_string()
    }

    #[test]
    fn a_healthy_set_switches_to_the_member_named_or_the_one_with_the_most_data() {
        let switch = |to: &str| Ok(Plan::Switch { from: "pgset-0".to_owned(), to: to.to_owned() });
        assert_eq!(plan(&seen(), None, Some("pgset-1")), switch("pgset-1"));
        assert_eq!(plan(&seen(), None, None), switch("pgset-2"));
        let mut even = seen();
        answer(&mut even, "pgset-1", replica(85));
        let candidates = vec!["pgset-1".to_owned(), "pgset-2".to_owned()];
        assert_eq!(plan(&even, None, None), Err(Refusal::Several { candidates }));
    }

    #[test]
    fn what_cannot_be_promoted_at_all_is_refused_with_the_reason() {
        assert_eq!(possible(&seen()), Ok(()));
        let changed = |pointer: &str, value: Value| {
            let mut all = json!(seen());
            *all.pointer_mut(pointer).unwrap() = value;
            possible(&serde_json::from_value(all).unwrap()).unwrap_err().to_string()
        };
        let crunchy = json!([{"name": "pgset", "env": [{"name": "PG_MODE", "value": "set"}]}]);
        for (pointer, value, words) in [
            ("/statefulSet/metadata/labels", json!({"app.kubernetes.io/managed-by": "Helm"}), "it belongs to Helm"),
            ("/statefulSet/spec/template/spec/containers", crunchy, "two primaries"),
            ("/statefulSet/spec/replicas", json!(0), "is stopped"),
            ("/statefulSet/spec/replicas", json!(1), "no replica to promote"),
        ] {
            let refused = changed(pointer, value);
            assert!(refused.contains(words), "{refused}");
        }
        assert_eq!(member_named(&seen(), "2").unwrap(), "pgset-2");
        assert_eq!(member_named(&seen(), "pgset-1").unwrap(), "pgset-1");
        for text in ["3", "pgset-3", "other-0", ""] {
            assert!(matches!(member_named(&seen(), text), Err(Refusal::NoMember { .. })), "{text}");
        }
    }

    #[test]
    fn a_service_that_selects_otherwise_is_refused() {
        let service = |selector: Value| serde_json::from_value(json!({"spec": {"selector": selector}})).unwrap();
        assert_eq!(led_to("m", Some(&service(json!({POD_NAME: "pgset-1"})))), Ok("pgset-1"));
        for other in [json!({"name": "m"}), json!({POD_NAME: "pgset-1", "app": "x"}), json!(null)] {
            assert_eq!(led_to("m", Some(&service(other))), Err(Refusal::Selector { service: "m".to_owned() }));
        }
        assert_eq!(led_to("m", None), Err(Refusal::NoService { service: "m".to_owned() }));
    }

    #[test]
    fn whatever_is_not_healthy_or_far_behind_is_not_switched() {
        type Break = fn(&mut Observation);
        let breaks: [(&str, Break); 5] = [
            ("not healthy", |seen| drop(seen.pods.pop())),
            ("several members", |seen| answer(seen, "pgset-2", Server::default())),
            ("PostgreSQL's word", |seen| seen.asking = Asking::Forbidden),
            ("recovery is paused", |seen| answer(seen, "pgset-1", Server { replay_paused: true, ..replica(80) })),
            ("bytes behind the primary pgset-0", |seen| {
                let Some(Answer::Answered(primary)) = seen.answers.get_mut("pgset-0") else { unreachable!() };
                primary.lsn = Lsn(80 + (64 << 20));
            }),
        ];
        for (words, break_it) in breaks {
            let mut broken = seen();
            break_it(&mut broken);
            let refused = refused(&broken, Some("pgset-1"));
            assert!(refused.contains(words), "{words}: {refused}");
        }
    }

    #[test]
    fn the_primary_is_told_that_it_is_and_what_was_cut_short_is_taken_back_or_finished() {
        let already = |take_back, finish| Ok(Plan::Already { primary: "pgset-0".to_owned(), take_back, finish });
        assert_eq!(plan(&seen(), None, Some("pgset-0")), already(false, false));
        assert_eq!(plan(&seen(), Some(&under_way(false)), Some("pgset-0")), already(true, false));
        let finished = Promotion { from: "pgset-1".to_owned(), to: "pgset-0".to_owned(), told: true };
        assert_eq!(plan(&seen(), Some(&finished), None), already(false, true));
        // Cut short before anything happened: the same one begins anew, without being named again.
        let switch = |to: &str| Ok(Plan::Switch { from: "pgset-0".to_owned(), to: to.to_owned() });
        assert_eq!(plan(&seen(), Some(&under_way(false)), None), switch("pgset-1"));
        assert_eq!(plan(&seen(), Some(&finished), Some("pgset-1")), switch("pgset-1"));
        // The Service is still wrong, and the set so not healthy: that is what is left to finish.
        let mut wrong = seen();
        wrong.endpoint_slices.clear();
        assert_eq!(plan(&wrong, Some(&finished), None), already(false, true));
    }

    #[test]
    fn a_switchover_cut_short_without_a_primary_goes_on_and_only_one_that_was_not_told_may_be_changed() {
        let down = stepped_down();
        let going_on = |to: &str, told| Ok(Plan::GoOn(Promotion { to: to.to_owned(), ..under_way(told) }));
        assert_eq!(plan(&down, Some(&under_way(false)), None), going_on("pgset-1", false));
        assert_eq!(plan(&down, Some(&under_way(false)), Some("pgset-0")), going_on("pgset-0", false));
        assert_eq!(plan(&down, Some(&under_way(true)), Some("pgset-1")), going_on("pgset-1", true));
        for other in ["pgset-0", "pgset-2"] {
            let told = Refusal::Told { to: "pgset-1".to_owned() };
            assert_eq!(plan(&down, Some(&under_way(true)), Some(other)), Err(told));
        }
        // While the old primary is on its way, too.
        let mut away = stepped_down();
        away.answers.remove("pgset-0");
        assert_eq!(plan(&away, Some(&under_way(false)), None), going_on("pgset-1", false));
    }

    #[test]
    fn without_a_note_only_the_member_with_the_most_data_is_made_the_primary_and_only_when_all_have_answered() {
        let elect = |to: &str| Ok(Plan::Elect { to: to.to_owned() });
        assert_eq!(plan(&stepped_down(), None, None), elect("pgset-0"));
        assert!(refused(&stepped_down(), Some("pgset-1")).contains("lacks data that pgset-0 has"));
        let mut even = stepped_down();
        answer(&mut even, "pgset-1", replica(100));
        assert!(matches!(plan(&even, None, None), Err(Refusal::Several { .. })));
        assert_eq!(plan(&even, None, Some("pgset-1")), elect("pgset-1"));
        // A newer timeline, but less data: none has all.
        answer(&mut even, "pgset-2", Server { timeline: 2, ..replica(90) });
        assert_eq!(plan(&even, None, Some("pgset-2")), Err(Refusal::Apart { set: "pgset".to_owned() }));
        answer(&mut even, "pgset-2", Server { timeline: 2, ..replica(100) });
        assert_eq!(plan(&even, None, None), elect("pgset-2"));
        assert!(compares(&even, None) && !compares(&even, Some(&under_way(false))) && !compares(&seen(), None));
        answer(&mut even, "pgset-2", Server { system_identifier: "9".to_owned(), ..replica(90) });
        assert!(refused(&even, Some("pgset-2")).contains("not healthy"));
        even.answers.remove("pgset-2");
        assert!(refused(&even, Some("pgset-1")).contains("not healthy"));
    }

    #[test]
    fn the_target_is_promoted_only_when_the_old_primary_is_a_replica_and_it_has_everything() {
        let waits = |seen: &Observation, words: &str| {
            let Next::Wait(waiting) = next(seen, &under_way(false)) else { panic!("{words}") };
            assert_eq!(waiting.to_string(), words);
        };
        waits(&seen(), "pgset-0 has not stepped down yet");
        let mut away = stepped_down();
        away.answers.insert("pgset-0".to_owned(), Answer::Silent("shutting down".to_owned()));
        waits(&away, "pgset-0 is not back as a replica yet");
        waits(&stepped_down(), "pgset-1 has replayed up to 0/50, and pgset-0 has data up to 0/64");
        let mut all = stepped_down();
        answer(&mut all, "pgset-1", replica(100));
        assert_eq!(next(&all, &under_way(false)), Next::Promote);
        // The control file of a replica may tell of a timeline that is over.
        answer(&mut all, "pgset-1", Server { timeline: 0, ..replica(100) });
        assert_eq!(next(&all, &under_way(false)), Next::Promote);
        answer(&mut all, "pgset-2", replica(101));
        waits(&all, "pgset-1 has replayed up to 0/64, and pgset-2 has data up to 0/65");
        answer(&mut all, "pgset-2", replica(90));
        answer(&mut all, "pgset-1", Server { system_identifier: "9".to_owned(), ..replica(100) });
        waits(&all, "pgset-1 holds another database");
        all.answers.remove("pgset-1");
        waits(&all, "pgset-1 does not answer");
        answer(&mut all, "pgset-1", Server::default());
        assert_eq!(next(&all, &under_way(false)), Next::Done);
        assert_eq!(
            next(&seen(), &Promotion { from: "pgset-1".to_owned(), to: "pgset-2".to_owned(), told: false }),
            Next::Other("pgset-0".to_owned())
        );
        // Taking it back: the old primary has all that it wrote.
        assert_eq!(next(&stepped_down(), &Promotion { to: "pgset-0".to_owned(), ..under_way(false) }), Next::Promote);
    }

    #[test]
    fn a_container_that_kubernetes_lets_wait_has_its_pod_replaced_unless_it_is_on_its_way() {
        let mut dead = stepped_down();
        dead.answers.remove("pgset-0");
        let mut pod = json!(dead.pods[0]);
        pod["status"]["containerStatuses"][0]["state"] = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        dead.pods[0] = serde_json::from_value(pod.clone()).unwrap();
        assert_eq!(next(&dead, &under_way(false)), Next::Replace("pgset-0".to_owned()));
        assert_eq!(members_to_ask(&dead), ["pgset-1", "pgset-2"]);
        pod["metadata"]["deletionTimestamp"] = "2026-11-28T12:00:00Z".into();
        dead.pods[0] = serde_json::from_value(pod).unwrap();
        assert!(matches!(next(&dead, &under_way(false)), Next::Wait(Waiting::Away(_))));
    }

    #[test]
    fn patience_ends_only_before_the_target_may_have_been_told() {
        let behind =
            Waiting::Behind { from: "pgset-0".to_owned(), to: "pgset-1".to_owned(), has: Lsn(1), wants: Lsn(2) };
        let seconds = SignedDuration::from_secs;
        assert!(!gives_up(&behind, &under_way(false), seconds(9)));
        assert!(gives_up(&behind, &under_way(false), seconds(10)));
        assert!(!gives_up(&behind, &under_way(true), seconds(1000)));
        assert!(!gives_up(&Waiting::Away("pgset-0".to_owned()), &under_way(false), seconds(1000)));
        assert!(gives_up(&Waiting::Silent("pgset-1".to_owned()), &under_way(false), seconds(30)));
        let back = Promotion { to: "pgset-0".to_owned(), ..under_way(false) };
        assert!(!gives_up(&Waiting::StillPrimary("pgset-0".to_owned()), &back, seconds(1000)));
        // Told, it has everything, wherever the old primary is by now.
        let mut away = stepped_down();
        away.answers.remove("pgset-0");
        assert_eq!(next(&away, &under_way(true)), Next::Promote);
        assert_eq!(next(&stepped_down(), &under_way(true)), Next::Promote);
    }
}
