//! What else to ask about a set that does not become healthy, and how often: volumes, Services, logs of members that run.
//!
//! A set that comes up as it should is never asked about any of it: each question costs a request, and some a right that
//! not every user has. Like the rollout a state machine without a clock or client.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};

use super::findings;
use super::health::{self, Unmet};
use super::identity::image_labels_pods;
use super::observation::{Answer, Observation, PodReading};
use super::rollout::relabel;

// How long a log goes unread is not how long a member may be late: reading costs a request, and what is read is judged by
// its family, with a grace of its own.

/// A replica that has been streaming makes a lost connection anew every second. One that does not has said why by then.
const REJOINING: SignedDuration = SignedDuration::from_secs(1);

/// A primary that answers, and neither streams to the member nor is being copied by it: whatever keeps them apart, the member
/// has met it by then.
const UNHEARD_OF: SignedDuration = SignedDuration::from_millis(1500);

/// How often a log is read again: what it says is to be on screen within two seconds.
const READ_AGAIN: SignedDuration = SignedDuration::from_millis(1500);

/// Once there is a primary, a small set's member clones and starts within this time.
const STARTING: SignedDuration = SignedDuration::from_secs(10);

/// And the first one initialises within this, also on a slow machine.
const INITIALISING: SignedDuration = SignedDuration::from_secs(20);

/// The binder and the provisioners have seen a new claim by then.
const BINDING: SignedDuration = SignedDuration::from_secs(1);

/// A volume of the cluster's own is mounted by then; one on a network file system whose server does not answer is silent
/// for minutes.
pub(super) const MOUNTING: SignedDuration = SignedDuration::from_secs(15);

/// The endpoint controllers follow within a second or two.
const ENDPOINTS: SignedDuration = SignedDuration::from_secs(5);

/// A WAL receiver that fails again and again says that it streams in between; only one that goes on doing so is no longer
/// late.
const STREAMING_AGAIN: SignedDuration = SignedDuration::from_secs(3);

/// How often an answer is brought up to date.
const AGAIN: SignedDuration = SignedDuration::from_secs(5);

/// Something to ask about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// PersistentVolumes and StorageClasses.
    Volumes,
    Services,
    /// The keys of a ConfigMap or Secret (kind and name) that a member was said to lack, or to lack something of.
    Keys(&'static str, String),
    /// The log of a container that runs.
    Log(String),
    /// PostgreSQL in a container whose probes have not succeeded yet.
    Member(String),
}

/// What is asked for a while, and what was asked when.
#[derive(Debug, Default)]
pub struct Inquiry {
    wanted_since: BTreeMap<Question, Timestamp>,
    asked: BTreeMap<Question, Timestamp>,
    /// The restarts a member had when it was seen to be late, a new container being late anew, and when that was last.
    late: BTreeMap<String, (i32, Timestamp)>,
    /// Whether a primary was known: from then on a replica's time counts.
    had_primary: bool,
}

impl Inquiry {
    /// What to ask now. Notes in the observation since when a member is late, and drops what was learned about those that
    /// are not late any more.
    pub fn next(&mut self, seen: &mut Observation, now: Timestamp) -> Vec<Question> {
        self.note_late(seen, now);
        let wanted = wanted(seen);
        let has_primary = !seen.primaries().is_empty();
        let anew = has_primary && !self.had_primary;
        self.had_primary = has_primary;
        let of_member = |question: &Question| matches!(question, Question::Log(_) | Question::Member(_));
        self.wanted_since.retain(|question, _| wanted.contains_key(question) && !(anew && of_member(question)));
        let mut due = Vec::new();
        for (question, patience) in wanted {
            let since = *self.wanted_since.entry(question.clone()).or_insert(now);
            let again = self.asked.get(&question).is_none_or(|asked| now.duration_since(*asked) >= pause(&question));
            if now.duration_since(since) >= patience && again {
                self.asked.insert(question.clone(), now);
                due.push(question);
            }
        }
        due
    }

    /// When time alone makes a question due.
    #[must_use]
    pub fn wake_at(&self, seen: &Observation, now: Timestamp) -> Option<Timestamp> {
        let due = wanted(seen).into_iter().filter_map(|(question, patience)| {
            let first = self.wanted_since.get(&question)?.checked_add(patience).ok()?;
            Some(
                self.asked
                    .get(&question)
                    .and_then(|asked| asked.checked_add(pause(&question)).ok())
                    .map_or(first, |a| a.max(first)),
            )
        });
        due.map(|at| at.max(now)).min()
    }

    fn note_late(&mut self, seen: &mut Observation, now: Timestamp) {
        let late: BTreeMap<String, i32> =
            seen.pods.iter().filter(|pod| is_late(seen, pod)).map(|pod| (name(pod), pod.restarts())).collect();
        let restarts: BTreeMap<String, i32> = seen.pods.iter().map(|pod| (name(pod), pod.restarts())).collect();
        self.late.retain(|member, (before, last)| {
            restarts.get(member) == Some(before)
                && (late.contains_key(member) || now.duration_since(*last) < STREAMING_AGAIN)
        });
        seen.late_since.retain(|member, _| self.late.contains_key(member));
        seen.running_logs.retain(|member, _| self.late.contains_key(member));
        for member in late.keys() {
            seen.late_since.entry(member.clone()).or_insert(now);
        }
        self.late.extend(late.into_iter().map(|(member, restarts)| (member, (restarts, now))));
    }
}

/// How long after it was asked a question is asked again.
fn pause(question: &Question) -> SignedDuration {
    match question {
        Question::Log(_) => READ_AGAIN,
        Question::Volumes | Question::Services | Question::Keys(..) | Question::Member(_) => AGAIN,
    }
}

/// Everything there is to ask about a set that is looked at once.
#[must_use]
pub fn everything(seen: &Observation) -> Vec<Question> {
    wanted(seen).into_keys().collect()
}

/// What PostgreSQL is not heard to say: that a member whose probes have not succeeded yet does not listen goes without
/// saying.
pub fn forget_silence(seen: &mut Observation) {
    let started: BTreeSet<String> = seen.pods.iter().filter(|pod| pod.has_started()).map(name).collect();
    let means_nothing = |member: &String, answer: &Answer| match answer {
        Answer::Silent(reason) => !started.contains(member) && !tells(reason),
        Answer::Answered(_) => false,
    };
    seen.answers.retain(|member, answer| !means_nothing(member, answer));
}

/// Whether a refusal says more than that nobody listens yet.
fn tells(reason: &str) -> bool {
    ["password authentication failed", "too many clients", "connection slots"]
        .iter()
        .any(|words| reason.contains(words))
}

/// The questions that an observation raises, each with how long it has to do so before it is asked.
fn wanted(seen: &Observation) -> BTreeMap<Question, SignedDuration> {
    let mut wanted = BTreeMap::new();
    if seen.claims.iter().any(|claim| is_stuck(seen, claim)) {
        wanted.insert(Question::Volumes, BINDING);
    } else if seen.pods.iter().any(findings::of_volume) {
        wanted.insert(Question::Volumes, SignedDuration::ZERO);
    } else if seen.pods.iter().any(|pod| is_mounting(seen, pod)) {
        wanted.insert(Question::Volumes, MOUNTING);
    }
    // Said once, and mended since, perhaps.
    let lacking = findings::lacking_objects(seen).into_iter();
    wanted.extend(lacking.map(|(kind, name)| (Question::Keys(kind, name), SignedDuration::ZERO)));
    let unmet = health::health(seen).unmet;
    if !unmet.is_empty() && unmet.iter().all(|unmet| matches!(unmet, Unmet::Endpoints { .. })) {
        wanted.insert(Question::Services, ENDPOINTS);
        // An image that should have set a label says in its log why it did not.
        if seen.stateful_set.as_ref().is_some_and(image_labels_pods) {
            wanted.extend(relabel(seen).into_iter().map(|one| (Question::Log(one.pod), ENDPOINTS)));
        }
    }
    for pod in seen.pods.iter().filter(|pod| is_late(seen, pod)) {
        let starting = if seen.primaries().is_empty() { INITIALISING } else { STARTING };
        let read = match pod.has_started() {
            true => REJOINING,
            false if is_unheard_of(seen, &name(pod)) => UNHEARD_OF,
            false => starting,
        };
        wanted.insert(Question::Log(name(pod)), read);
        if !pod.has_started() {
            wanted.insert(Question::Member(name(pod)), starting);
        }
    }
    wanted
}

fn name(pod: &Pod) -> String {
    pod.metadata.name.clone().unwrap_or_default()
}

/// A member that runs and neither is a primary nor streams.
fn is_late(seen: &Observation, pod: &Pod) -> bool {
    if pod.is_terminating() || !pod.is_running() {
        return false;
    }
    let streams = super::observation::WalReceiver::streams;
    match seen.server(&name(pod)) {
        Some(server) if server.in_recovery => !server.wal_receiver.as_ref().is_some_and(streams),
        Some(_) => false,
        None => !pod.has_started(),
    }
}

/// Whether there is a primary which knows nothing of this member.
fn is_unheard_of(seen: &Observation, member: &str) -> bool {
    let primaries = seen.primaries();
    let known =
        primaries.iter().any(|primary| seen.server(primary).is_some_and(|one| seen.standby(one, member).is_some()));
    !primaries.is_empty() && !known && seen.clone_progress(member).is_none()
}

/// A claim that somebody has said cannot be bound as things are.
fn is_stuck(seen: &Observation, claim: &PersistentVolumeClaim) -> bool {
    let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
    let name = claim.metadata.name.as_deref().unwrap_or_default();
    let newest = seen.events_of("PersistentVolumeClaim", name).last().and_then(|event| event.reason.as_deref());
    let stuck = ["FailedBinding", "ProvisioningFailed", "VolumeMismatch", "ClaimMisbound"];
    seen.needs_claim(name)
        && matches!(phase, None | Some("Pending"))
        && newest.is_some_and(|reason| stuck.contains(&reason))
}

/// A pod that has a node but whose container is still being created, and not for want of its image.
pub(super) fn is_mounting(seen: &Observation, pod: &Pod) -> bool {
    let newest = findings::newest_of_image(seen, pod.metadata.name.as_deref().unwrap_or_default());
    if newest.and_then(|event| event.reason.as_deref()) == Some("Pulling") {
        return false;
    }
    let scheduled = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
    let waiting = pod.container().and_then(|container| container.state.as_ref()?.waiting.as_ref()?.reason.as_deref());
    scheduled && !pod.is_terminating() && matches!(waiting, Some("ContainerCreating" | "PodInitializing"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::observation::Server;
    use super::*;

    fn noon() -> Timestamp {
        "2026-11-24T12:00:00Z".parse().unwrap()
    }

    fn after(seconds: i64) -> Timestamp {
        noon() + SignedDuration::from_secs(seconds)
    }

    fn pod(name: &str, started: bool, state: Value) -> Value {
        json!({
            "metadata": {"name": name}, "spec": {"nodeName": "node1", "containers": []},
            "status": {"containerStatuses": [{"name": "pgset", "image": "", "imageID": "", "ready": started,
                "started": started, "restartCount": 0, "state": state}]},
        })
    }

    fn seen(pods: Value) -> Observation {
        serde_json::from_value(json!({
            "name": "pgset", "namespace": "default", "pods": pods,
            "statefulSet": {"metadata": {"name": "pgset"}, "spec": {"replicas": 2, "selector": {}, "template": {}}},
        }))
        .unwrap()
    }

    #[test]
    fn a_member_that_starts_is_asked_about_only_when_it_takes_long() {
        let mut starting = seen(json!([pod("pgset-1", false, json!({"running": {}}))]));
        let mut inquiry = Inquiry::default();
        assert_eq!(inquiry.next(&mut starting, noon()), []);
        assert_eq!(inquiry.wake_at(&starting, noon()), Some(after(20)));
        assert_eq!(inquiry.next(&mut starting, after(19)), []);
        // A primary at last: from now on its replica's time counts.
        starting.answers.insert("pgset-0".to_owned(), Answer::Answered(Box::default()));
        assert_eq!(inquiry.next(&mut starting, after(19)), []);
        let [log, member] = [Question::Log("pgset-1".to_owned()), Question::Member("pgset-1".to_owned())];
        // One that knows nothing of it: the log is read soon, and not all the time.
        assert_eq!(inquiry.wake_at(&starting, after(19)), Some(after(19) + UNHEARD_OF));
        assert_eq!(inquiry.next(&mut starting, after(20)), []);
        assert_eq!(inquiry.next(&mut starting, after(19) + UNHEARD_OF), std::slice::from_ref(&log));
        assert_eq!(inquiry.next(&mut starting, after(21)), []);
        assert_eq!(inquiry.wake_at(&starting, after(21)), Some(after(19) + UNHEARD_OF + READ_AGAIN));
        assert_eq!(inquiry.next(&mut starting, after(28)), std::slice::from_ref(&log));
        assert_eq!(inquiry.next(&mut starting, after(29)), std::slice::from_ref(&member));
        assert_eq!(starting.late_since["pgset-1"], noon());
        let both = [log.clone(), member];
        assert_eq!(inquiry.next(&mut starting, after(34)), both);
        // One that has heard of it, or is being copied: it is on its way.
        let heard = super::super::observation::Standby { application_name: "pgset-1".to_owned(), ..Default::default() };
        let primary = Server { standbys: vec![heard], ..Server::default() };
        starting.answers.insert("pgset-0".to_owned(), Answer::Answered(Box::new(primary)));
        let mut heard_of = Inquiry { had_primary: true, ..Inquiry::default() };
        assert_eq!(heard_of.next(&mut starting, noon()), []);
        assert_eq!(heard_of.next(&mut starting, after(9)), []);
        assert_eq!(heard_of.next(&mut starting, after(10)), both);
        // Without a primary it takes longer.
        starting.answers.clear();
        let mut alone = Inquiry::default();
        assert_eq!(alone.next(&mut starting, noon()), []);
        assert_eq!(alone.next(&mut starting, after(20)), both);
    }

    #[test]
    fn what_was_learned_of_a_container_is_forgotten_with_it() {
        let mut late = seen(json!([pod("pgset-1", false, json!({"running": {}}))]));
        let mut inquiry = Inquiry::default();
        inquiry.next(&mut late, noon());
        late.running_logs.insert("pgset-1".to_owned(), vec!["x".to_owned()]);
        inquiry.next(&mut late, after(1));
        assert_eq!(late.running_logs.len(), 1);
        late.pods[0].status.as_mut().unwrap().container_statuses.as_mut().unwrap()[0].restart_count = 1;
        inquiry.next(&mut late, after(2));
        assert_eq!((late.running_logs.len(), late.late_since["pgset-1"]), (0, after(2)));
    }

    #[test]
    fn the_log_of_a_replica_that_had_streamed_is_read_within_a_second() {
        assert!(UNHEARD_OF <= SignedDuration::from_secs(2) && READ_AGAIN <= SignedDuration::from_secs(2));
        let mut late = seen(json!([pod("pgset-1", true, json!({"running": {}}))]));
        let replica = Server { in_recovery: true, ..Server::default() };
        late.answers.insert("pgset-1".to_owned(), Answer::Answered(Box::new(replica)));
        let mut inquiry = Inquiry::default();
        assert_eq!(inquiry.next(&mut late, noon()), []);
        assert_eq!(inquiry.wake_at(&late, noon()), Some(noon() + REJOINING));
        assert_eq!(inquiry.next(&mut late, noon() + REJOINING), [Question::Log("pgset-1".to_owned())]);
    }

    #[test]
    fn a_moment_of_streaming_is_not_enough_to_be_no_longer_late() {
        let mut late = seen(json!([pod("pgset-1", true, json!({"running": {}}))]));
        let replica = |status: &str| {
            let receiver = super::super::observation::WalReceiver { status: status.to_owned(), ..Default::default() };
            Answer::Answered(Box::new(Server { in_recovery: true, wal_receiver: Some(receiver), ..Server::default() }))
        };
        let mut inquiry = Inquiry::default();
        let mut at = |seconds: i64, status: &str| {
            late.answers.insert("pgset-1".to_owned(), replica(status));
            inquiry.next(&mut late, after(seconds));
            late.late_since.get("pgset-1").copied()
        };
        assert_eq!(at(0, "stopped"), Some(noon()));
        assert_eq!(at(1, "streaming"), Some(noon()));
        assert_eq!(at(2, "stopped"), Some(noon()));
        assert_eq!(at(4, "streaming"), Some(noon()));
        assert_eq!(at(5, "streaming"), None);
        assert_eq!(at(6, "stopped"), Some(after(6)));
    }

    #[test]
    fn a_replica_that_streams_and_a_primary_are_never_late() {
        let mut fine = seen(json!([pod("pgset-0", true, json!({"running": {}}))]));
        let primary = Server { in_recovery: false, ..Server::default() };
        fine.answers.insert("pgset-0".to_owned(), Answer::Answered(Box::new(primary)));
        assert!(everything(&fine).is_empty());
        let replica = Server { in_recovery: true, ..Server::default() };
        fine.answers.insert("pgset-0".to_owned(), Answer::Answered(Box::new(replica)));
        assert_eq!(everything(&fine), [Question::Log("pgset-0".to_owned())]);
    }

    #[test]
    fn volumes_are_asked_for_only_when_a_claim_is_stuck_or_a_mount_takes_long() {
        let mut creating = seen(json!([pod("pgset-0", false, json!({"waiting": {"reason": "ContainerCreating"}}))]));
        let mut inquiry = Inquiry::default();
        assert_eq!(inquiry.next(&mut creating, noon()), []);
        assert_eq!(inquiry.next(&mut creating, after(14)), []);
        assert_eq!(inquiry.next(&mut creating, after(15)), [Question::Volumes]);
        let mut pending = seen(json!([]));
        let claim = json!({"metadata": {"name": "data"}, "status": {"phase": "Pending"}});
        pending.claims = vec![serde_json::from_value(claim).unwrap()];
        assert!(everything(&pending).is_empty());
        let object = json!({"kind": "PersistentVolumeClaim", "name": "data"});
        let event = json!({"metadata": {}, "involvedObject": object, "reason": "FailedBinding"});
        pending.events = vec![serde_json::from_value(event).unwrap()];
        let mut inquiry = Inquiry::default();
        assert_eq!(inquiry.next(&mut pending, noon()), []);
        assert_eq!(inquiry.next(&mut pending, after(3)), [Question::Volumes]);
    }

    #[test]
    fn a_configmap_that_lacks_something_is_looked_at_at_once_and_again() {
        let message = "couldn't find key start.sh in ConfigMap default/pgset-config";
        let waiting = json!({"waiting": {"reason": "CreateContainerConfigError", "message": message}});
        let mut lacking = seen(json!([pod("pgset-0", false, waiting)]));
        let mut inquiry = Inquiry::default();
        let config = [Question::Keys("ConfigMap", "pgset-config".to_owned())];
        assert_eq!(inquiry.next(&mut lacking, noon()), config);
        assert_eq!(inquiry.next(&mut lacking, after(4)), []);
        assert_eq!(inquiry.wake_at(&lacking, after(4)), Some(after(5)));
        assert_eq!(inquiry.next(&mut lacking, after(5)), config);
    }

    #[test]
    fn nobody_listens_yet_is_no_answer_but_a_refused_password_is() {
        let mut starting = seen(json!([pod("pgset-1", false, json!({"running": {}}))]));
        starting.answers.insert("pgset-1".to_owned(), Answer::Silent("Connection refused".to_owned()));
        forget_silence(&mut starting);
        assert!(starting.answers.is_empty());
        starting.answers.insert("pgset-1".to_owned(), Answer::Silent("password authentication failed".to_owned()));
        forget_silence(&mut starting);
        assert_eq!(starting.answers.len(), 1);
    }
}
