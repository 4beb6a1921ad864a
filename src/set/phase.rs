//! Where one member is between nothing and healthy, for people to watch.

use std::fmt;

use k8s_openapi::api::core::v1::Event;

use super::bytes;
use super::findings::{clean, newest_of_image};
use super::health::{Health, Unmet};
use super::observation::{Observation, PodReading};

/// A member's phase, in the order of a start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    Absent,
    /// No node yet, and why when the scheduler said so.
    Pending,
    /// The pod has a node; its container is not running yet.
    Creating(String),
    /// The container runs; what its start script said last, if anything.
    Starting(String),
    /// A base backup of the primary is being copied: bytes done, and of how many as far as PostgreSQL can tell.
    Cloning {
        done: u64,
        total: Option<u64>,
    },
    /// PostgreSQL runs but something is still missing for health.
    Joining(String),
    Primary,
    Streaming,
    Stopping,
    /// Ready by Kubernetes' word, where PostgreSQL may not be asked.
    Ready,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("not there yet"),
            Self::Pending => f.write_str("waiting for a node"),
            Self::Creating(what) | Self::Starting(what) | Self::Joining(what) => f.write_str(what),
            Self::Cloning { done, total: Some(total) } => write!(f, "cloning: {} of {}", bytes(*done), bytes(*total)),
            Self::Cloning { done: 0, total: None } => f.write_str("cloning"),
            Self::Cloning { done, total: None } => write!(f, "cloning: {}", bytes(*done)),
            Self::Primary => f.write_str("primary"),
            Self::Streaming => f.write_str("replica, streaming"),
            Self::Stopping => f.write_str("stopping"),
            Self::Ready => f.write_str("ready"),
        }
    }
}

impl Phase {
    /// The phase's name for machines, which stays as it is.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Pending => "pending",
            Self::Creating(_) => "creating",
            Self::Starting(_) => "starting",
            Self::Cloning { .. } => "cloning",
            Self::Joining(_) => "joining",
            Self::Primary => "primary",
            Self::Streaming => "streaming",
            Self::Stopping => "stopping",
            Self::Ready => "ready",
        }
    }

    /// The same phase, only further on.
    #[must_use]
    pub fn goes_on_from(&self, earlier: &Self) -> bool {
        matches!((self, earlier), (Self::Cloning { .. }, Self::Cloning { .. }))
    }

    /// Nothing more is awaited of this member.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Primary | Self::Streaming | Self::Ready)
    }
}

/// The phase of one member.
#[must_use]
pub fn phase(seen: &Observation, health: &Health, member: &str) -> Phase {
    let Some(pod) = seen.pod(member) else { return Phase::Absent };
    if pod.is_terminating() {
        return Phase::Stopping;
    }
    if pod.spec.as_ref().is_none_or(|spec| spec.node_name.is_none()) {
        return Phase::Pending;
    }
    let state = pod.container().and_then(|container| container.state.as_ref());
    if state.is_none_or(|state| state.running.is_none()) {
        let waiting = state.and_then(|state| state.waiting.as_ref()).and_then(|waiting| waiting.reason.as_deref());
        return Phase::Creating(seen.mask.hide_known(&clean(&creating(seen, member, waiting))));
    }
    if !pod.has_started() {
        if let Some(clone) = seen.clone_progress(member) {
            return Phase::Cloning { done: clone.bytes_done, total: clone.bytes_total };
        }
        return Phase::Starting(probe_says(seen, member).unwrap_or_else(|| "starting PostgreSQL".to_owned()));
    }
    match (health.of_member(member).next(), seen.server(member)) {
        (Some(Unmet::NotAsked { .. } | Unmet::NotReady { .. }), _) => Phase::Joining("PostgreSQL is up".to_owned()),
        (Some(unmet), _) => Phase::Joining(seen.mask.hide_known(&clean(&unmet.to_string()))),
        (None, Some(server)) if server.in_recovery => Phase::Streaming,
        (None, Some(_)) => Phase::Primary,
        (None, None) => Phase::Ready,
    }
}

/// What a pod that has a node but no running container is doing.
fn creating(seen: &Observation, member: &str, waiting: Option<&str>) -> String {
    let newest = newest_of_image(seen, member).and_then(|event| event.reason.as_deref());
    match (waiting, newest) {
        (Some("ContainerCreating") | None, Some("Pulling")) => "pulling the image".to_owned(),
        (Some("ContainerCreating" | "PodInitializing") | None, _) => "creating the container".to_owned(),
        (Some("CrashLoopBackOff"), _) => "restarting after a crash".to_owned(),
        (Some(reason), _) => reason.to_owned(),
    }
}

/// The start script's phase as the probe of this container reported it last.
pub(super) fn probe_says(seen: &Observation, member: &str) -> Option<String> {
    let message = newest_probe(seen, member)?.message.as_deref()?;
    // "probe errored and resulted in unknown state": the kubelet's trouble with a container that has just ended.
    let (_, words) = message.split_once("probe failed: ")?;
    let line = words.lines().find(|line| !line.trim().is_empty())?;
    let words = line.trim().trim_start_matches("pgset: ").trim_start_matches(&format!("{member} "));
    Some(seen.mask.hide_known(&clean(words)))
}

/// The newest failed probe of this container; what one said of the container before is history.
pub(super) fn newest_probe<'a>(seen: &'a Observation, member: &'a str) -> Option<&'a Event> {
    let state = seen.pod(member)?.container()?.state.as_ref()?;
    let started = state.running.as_ref()?.started_at.as_ref().map(|time| time.0);
    let of_this = |event: &&Event| event.last_timestamp.as_ref().map(|time| time.0) >= started;
    let unhealthy = seen.events_of("Pod", member).filter(|event| event.reason.as_deref() == Some("Unhealthy"));
    unhealthy.filter(of_this).last()
}
