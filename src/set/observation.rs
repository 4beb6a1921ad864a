//! Everything seen of one set at one moment: the API server's objects as they are and PostgreSQL's answers.
//!
//! Plain data that serialises, so that every diagnosis can be replayed from a recording.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Event, PersistentVolumeClaim, Pod};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde::{Deserialize, Serialize};

use super::Lsn;

/// One set at one moment.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Observation {
    pub name: String,
    pub namespace: String,
    pub stateful_set: Option<StatefulSet>,
    /// The pods with the set's `app` label.
    pub pods: Vec<Pod>,
    pub claims: Vec<PersistentVolumeClaim>,
    pub endpoint_slices: Vec<EndpointSlice>,
    pub events: Vec<Event>,
    /// The last log lines of a member's container (the previous one's where it restarted), by member.
    pub logs: BTreeMap<String, Vec<String>>,
    /// What PostgreSQL said, by member.
    pub answers: BTreeMap<String, Answer>,
    pub asking: Asking,
}

/// When an event happened last.
#[must_use]
pub fn happened(event: &Event) -> Option<Timestamp> {
    let series = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref());
    let micro = series.or(event.event_time.as_ref()).map(|time| time.0);
    micro.max(event.last_timestamp.as_ref().map(|time| time.0))
}

/// Whether PostgreSQL can be asked at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Asking {
    #[default]
    Allowed,
    /// The user may not port-forward or may not read the passwords: Kubernetes' word has to do.
    Forbidden,
}

/// What a member's PostgreSQL answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Answer {
    Answered(Box<Server>),
    /// No answer, and why in PostgreSQL's or the tunnel's words.
    Silent(String),
}

impl Answer {
    #[must_use]
    pub fn server(&self) -> Option<&Server> {
        match self {
            Self::Answered(server) => Some(server),
            Self::Silent(_) => None,
        }
    }
}

/// One PostgreSQL server's own word.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Server {
    /// `server_version`, such as `17.2`.
    pub version: String,
    pub in_recovery: bool,
    /// `pg_control_system()`'s, as text: it does not fit every reader's integers.
    pub system_identifier: String,
    pub timeline: u32,
    /// The write position of a primary, the replay position of a replica.
    pub lsn: Lsn,
    /// When the last replayed transaction was committed, milliseconds ago; `None` on a primary or before the first.
    pub replay_age_ms: Option<u64>,
    pub replay_paused: bool,
    pub wal_receiver: Option<WalReceiver>,
    /// The rows of `pg_stat_replication`.
    pub standbys: Vec<Standby>,
}

/// `pg_stat_wal_receiver`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct WalReceiver {
    pub status: String,
    pub sender_host: String,
    pub received_lsn: Option<Lsn>,
}

/// A row of `pg_stat_replication`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Standby {
    pub application_name: String,
    pub state: String,
    pub sync_state: String,
    pub replay_lsn: Option<Lsn>,
    /// Milliseconds.
    pub replay_lag_ms: Option<u64>,
}

impl Observation {
    /// The members the set should have; `None` while there is no StatefulSet.
    #[must_use]
    pub fn wanted(&self) -> Option<i32> {
        self.stateful_set.as_ref()?.spec.replicas.or(Some(1))
    }

    /// The name of the member with this ordinal.
    #[must_use]
    pub fn member_name(&self, ordinal: i32) -> String {
        format!("{}-{ordinal}", self.name)
    }

    /// The ordinal in a member's name; `None` when the name is not one of this set's members.
    #[must_use]
    pub fn ordinal(&self, member: &str) -> Option<i32> {
        let digits = member.strip_prefix(&self.name)?.strip_prefix('-')?;
        let ordinal: i32 = digits.parse().ok()?;
        (ordinal >= 0 && ordinal.to_string() == digits).then_some(ordinal)
    }

    /// The wanted members' names and those of surplus members that still exist, by ordinal.
    #[must_use]
    pub fn members(&self) -> Vec<String> {
        let mut ordinals: Vec<i32> = (0..self.wanted().unwrap_or(0)).collect();
        ordinals.extend(self.pods.iter().filter_map(|pod| self.ordinal(pod.metadata.name.as_deref()?)));
        ordinals.sort_unstable();
        ordinals.dedup();
        ordinals.into_iter().map(|ordinal| self.member_name(ordinal)).collect()
    }

    #[must_use]
    pub fn pod(&self, member: &str) -> Option<&Pod> {
        self.pods.iter().find(|pod| pod.metadata.name.as_deref() == Some(member))
    }

    /// The member's PostgreSQL, when it answered.
    #[must_use]
    pub fn server(&self, member: &str) -> Option<&Server> {
        self.answers.get(member)?.server()
    }

    /// The members that say they are not in recovery.
    #[must_use]
    pub fn primaries(&self) -> Vec<&str> {
        let primary = |answer: &Answer| answer.server().is_some_and(|server| !server.in_recovery);
        self.answers.iter().filter(|(_, answer)| primary(answer)).map(|(member, _)| member.as_str()).collect()
    }

    /// The members behind a Service that receive connections: ready endpoints, sorted.
    #[must_use]
    pub fn endpoints(&self, service: &str) -> Vec<&str> {
        let of_service = |slice: &&EndpointSlice| {
            let labels = slice.metadata.labels.as_ref();
            labels.and_then(|labels| labels.get("kubernetes.io/service-name")).is_some_and(|name| name == service)
        };
        let mut members: Vec<&str> = self
            .endpoint_slices
            .iter()
            .filter(of_service)
            .flat_map(|slice| slice.endpoints.iter().flatten())
            // An unset condition counts as ready: the API's documented default.
            .filter(|endpoint| endpoint.conditions.as_ref().and_then(|c| c.ready).unwrap_or(true))
            .filter_map(|endpoint| endpoint.target_ref.as_ref()?.name.as_deref())
            .collect();
        members.sort_unstable();
        members.dedup();
        members
    }

    /// The events about one object, oldest first as the API server gave them.
    pub fn events_of<'a>(&'a self, kind: &'a str, name: &'a str) -> impl Iterator<Item = &'a Event> {
        self.events.iter().filter(move |event| {
            let object = &event.involved_object;
            object.kind.as_deref() == Some(kind) && object.name.as_deref() == Some(name)
        })
    }
}

/// Short readings of a pod that several judgements share.
pub trait PodReading {
    fn is_ready(&self) -> bool;
    fn is_terminating(&self) -> bool;
    fn revision(&self) -> Option<&str>;
    /// Restarts of the PostgreSQL container.
    fn restarts(&self) -> i32;
    /// The PostgreSQL container has passed its startup probe.
    fn has_started(&self) -> bool;
    fn container(&self) -> Option<&k8s_openapi::api::core::v1::ContainerStatus>;
}

impl PodReading for Pod {
    fn is_ready(&self) -> bool {
        let conditions = self.status.as_ref().and_then(|status| status.conditions.as_ref());
        conditions.is_some_and(|all| all.iter().any(|c| c.type_ == "Ready" && c.status == "True"))
    }

    fn is_terminating(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    fn revision(&self) -> Option<&str> {
        self.metadata.labels.as_ref()?.get("controller-revision-hash").map(String::as_str)
    }

    fn restarts(&self) -> i32 {
        self.container().map_or(0, |container| container.restart_count)
    }

    fn has_started(&self) -> bool {
        self.container().and_then(|container| container.started).unwrap_or(false)
    }

    fn container(&self) -> Option<&k8s_openapi::api::core::v1::ContainerStatus> {
        self.status.as_ref()?.container_statuses.as_ref()?.iter().find(|container| container.name == CONTAINER)
    }
}

/// The PostgreSQL container's name, as in the seed.
pub const CONTAINER: &str = "pgset";
