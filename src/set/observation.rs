//! Everything seen of one set at one moment: the API server's objects as they are and PostgreSQL's answers.
//!
//! Plain data that serialises, so that every diagnosis can be replayed from a recording.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Event, Node, NodeCondition, PersistentVolume, PersistentVolumeClaim, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::storage::v1::StorageClass;
use serde::{Deserialize, Serialize};

use super::{Lsn, Mask};

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
    /// The cluster's nodes, where they were looked at and may be.
    pub nodes: Vec<Node>,
    /// What was seen from inside members, by member, where somebody looked.
    pub inside: BTreeMap<String, Inside>,
    /// The last log lines of a member's container (the previous one's where it restarted), by member.
    pub logs: BTreeMap<String, Vec<String>>,
    /// The last log lines of a container that runs although its member does not stream, by member.
    pub running_logs: BTreeMap<String, Vec<String>>,
    /// What PostgreSQL said, by member.
    pub answers: BTreeMap<String, Answer>,
    pub asking: Asking,
    /// Every PersistentVolume, asked for only while a claim does not bind; `None` when not asked, or not allowed.
    pub volumes: Option<Vec<PersistentVolume>>,
    /// Every StorageClass, like the volumes.
    pub classes: Option<Vec<StorageClass>>,
    /// The set's Services, asked for only while one leads elsewhere than it should; `None` when not asked, or not allowed.
    pub services: Option<Vec<Service>>,
    /// The keys, and never the values, of the set's own Secret and of ConfigMaps that something was said to be missing of, by
    /// kind and name (`ConfigMap pgset-config`); `None` for one that is not there.
    pub keys: BTreeMap<String, Option<BTreeSet<String>>>,
    /// Since when a member that runs has not been streaming, as far as whoever watches has seen.
    pub late_since: BTreeMap<String, Timestamp>,
    /// When the Secret with the passwords was made.
    pub secret_created: Option<Timestamp>,
    /// What only somebody who looks after the set wants to know, by member; asked for by `status` alone.
    pub upkeep: BTreeMap<String, Upkeep>,
    /// How many bytes a replica was behind a while ago, and how many milliseconds ago that was, by member.
    pub behind_before: BTreeMap<String, (u64, u64)>,
    /// When all this was seen; what a judgement needs to tell how old something is.
    pub at: Option<Timestamp>,
    /// The passwords known to whoever looked. Never part of a recording, and never shown.
    #[serde(skip)]
    pub mask: Mask,
}

/// The network as seen from inside a member; `None` where that could not be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Inside {
    /// DNS translates the name of the set's Service for writes.
    pub dns: Option<bool>,
    /// That Service's address answers.
    pub service: Option<bool>,
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
    /// The rows of `pg_stat_progress_basebackup`, which PostgreSQL 12 does not have.
    pub clones: Vec<CloneProgress>,
    /// The settings of which a standby needs at least as much as its primary has, by name.
    pub limits: BTreeMap<String, u64>,
}

/// A base backup under way: a member that is being cloned.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CloneProgress {
    /// The address it goes to: a pod's.
    pub client: String,
    pub bytes_done: u64,
    /// PostgreSQL's estimate; `None` until it has made one.
    pub bytes_total: Option<u64>,
}

/// What a server's owner should know although the set is healthy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Upkeep {
    pub slots: Vec<Slot>,
    /// Failed checks of data pages, by database.
    pub checksum_failures: BTreeMap<String, u64>,
    pub connections: u64,
    /// Connections that are not kept for superusers.
    pub connections_allowed: u64,
    /// The database with the oldest transaction that is not frozen, and that transaction's age.
    pub oldest_database: String,
    pub oldest_age: u64,
    /// `autovacuum_freeze_max_age`: from here on autovacuum freezes whether it is on or off.
    pub freeze_age: u64,
    /// The file that the log goes to instead of the pod's log.
    pub log_file: Option<String>,
}

/// A row of `pg_replication_slots` of a primary.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Slot {
    pub name: String,
    pub active: bool,
    /// Bytes of log that are kept for it.
    pub retained: u64,
}

/// `pg_stat_wal_receiver`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct WalReceiver {
    pub status: String,
    pub sender_host: String,
    pub received_lsn: Option<Lsn>,
}

impl WalReceiver {
    /// Whether it streams, as far as the replica can tell. PostgreSQL 9.5 does not tell; there the primary's list alone says.
    #[must_use]
    pub fn streams(&self) -> bool {
        matches!(self.status.as_str(), "streaming" | UNTOLD)
    }
}

/// The status of a WAL receiver that PostgreSQL has no view of.
pub const UNTOLD: &str = "untold";

/// A row of `pg_stat_replication`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Standby {
    pub application_name: String,
    /// The address it comes from: a pod's. Absent from recordings older than this field.
    pub client: Option<String>,
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

    /// Whether a claim is one of the members' that the set should have, or of a pod that is there. One that a scale-down
    /// left behind is nobody's any more.
    #[must_use]
    pub fn needs_claim(&self, claim: &str) -> bool {
        let (of, number) = claim.rsplit_once('-').unwrap_or((claim, ""));
        let ordinal = number.parse::<i32>().ok().filter(|_| of.ends_with(&format!("-{}", self.name)));
        ordinal.is_none_or(|ordinal| ordinal < self.wanted().unwrap_or(0))
            || self.pods.iter().any(|pod| pod.claims().contains(&claim))
    }

    /// The base backup that goes to this member.
    #[must_use]
    pub fn clone_progress(&self, member: &str) -> Option<&CloneProgress> {
        let addresses = self.pod(member)?.status.as_ref()?.pod_ips.as_ref()?;
        let of_member = |one: &&CloneProgress| addresses.iter().any(|address| address.ip == one.client);
        self.answers.values().filter_map(Answer::server).flat_map(|server| &server.clones).find(of_member)
    }

    /// The member whose pod has this address.
    #[must_use]
    pub fn member_at(&self, address: &str) -> Option<&str> {
        let has = |pod: &&Pod| {
            let addresses = pod.status.as_ref().and_then(|status| status.pod_ips.as_ref()).into_iter().flatten();
            addresses.into_iter().any(|one| one.ip == address)
        };
        self.pods.iter().find(has)?.metadata.name.as_deref()
    }

    /// The primary's row about this member: by its name, else by its pod's address. Whoever set a replica up by hand may
    /// have given it another name.
    #[must_use]
    pub fn standby<'a>(&self, primary: &'a Server, member: &str) -> Option<&'a Standby> {
        let by_name = primary.standbys.iter().find(|row| row.application_name == member);
        by_name.or_else(|| {
            let unnamed = |row: &&Standby| self.ordinal(&row.application_name).is_none();
            let at = |row: &&Standby| row.client.as_deref().and_then(|client| self.member_at(client)) == Some(member);
            primary.standbys.iter().filter(unnamed).find(at)
        })
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
        let ready = self.listed(service).into_iter().filter(|(_, ready)| *ready);
        let members: BTreeSet<&str> = ready.map(|(member, _)| member).collect();
        members.into_iter().collect()
    }

    /// The members that a Service's endpoints list, ready or not, each with whether it is.
    #[must_use]
    pub fn listed(&self, service: &str) -> Vec<(&str, bool)> {
        let of_service = |slice: &&EndpointSlice| {
            let labels = slice.metadata.labels.as_ref();
            labels.and_then(|labels| labels.get("kubernetes.io/service-name")).is_some_and(|name| name == service)
        };
        let slices = self.endpoint_slices.iter().filter(of_service);
        let members = slices.flat_map(|slice| slice.endpoints.iter().flatten()).filter_map(|endpoint| {
            // An unset condition counts as ready: the API's documented default.
            let ready = endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true);
            Some((endpoint.target_ref.as_ref()?.name.as_deref()?, ready))
        });
        members.collect()
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
    /// The PostgreSQL container runs, whatever it does.
    fn is_running(&self) -> bool;
    /// The claims that the pod mounts.
    fn claims(&self) -> Vec<&str>;
    /// The node it was given to.
    fn node(&self) -> Option<&str>;
    /// When it was given to that node.
    fn scheduled_at(&self) -> Option<Timestamp>;
    /// Since when the pod has been ready.
    fn ready_since(&self) -> Option<Timestamp>;
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

    fn is_running(&self) -> bool {
        self.container().and_then(|container| container.state.as_ref()).is_some_and(|state| state.running.is_some())
    }

    fn claims(&self) -> Vec<&str> {
        let volumes = self.spec.as_ref().and_then(|spec| spec.volumes.as_ref()).into_iter().flatten();
        let sources = volumes.filter_map(|volume| volume.persistent_volume_claim.as_ref());
        sources.map(|source| source.claim_name.as_str()).collect()
    }

    fn node(&self) -> Option<&str> {
        self.spec.as_ref()?.node_name.as_deref()
    }

    fn scheduled_at(&self) -> Option<Timestamp> {
        let conditions = self.status.as_ref()?.conditions.as_ref()?;
        let scheduled = conditions.iter().find(|c| c.type_ == "PodScheduled" && c.status == "True")?;
        scheduled.last_transition_time.as_ref().map(|time| time.0)
    }

    fn ready_since(&self) -> Option<Timestamp> {
        let conditions = self.status.as_ref()?.conditions.as_ref()?;
        let ready = conditions.iter().find(|c| c.type_ == "Ready" && c.status == "True")?;
        ready.last_transition_time.as_ref().map(|time| time.0)
    }

    fn container(&self) -> Option<&k8s_openapi::api::core::v1::ContainerStatus> {
        self.status.as_ref()?.container_statuses.as_ref()?.iter().find(|container| container.name == CONTAINER)
    }
}

/// One of a node's conditions, such as `Ready`.
#[must_use]
pub fn condition<'a>(node: &'a Node, kind: &str) -> Option<&'a NodeCondition> {
    node.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == kind)
}

/// The PostgreSQL container's name, as in the seed.
pub const CONTAINER: &str = "pgset";
