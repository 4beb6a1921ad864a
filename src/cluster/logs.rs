//! The members' logs as the kubelet keeps them, and which containers there are to read.

use std::collections::BTreeMap;

use futures::{AsyncBufRead, AsyncBufReadExt, StreamExt};
use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, LogParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, ResourceExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::watch::{Pace, failure};
use super::{ApiFailure, Cluster};
use crate::set::observation::{CONTAINER, PodReading};

/// One life of a member's container: another one after every restart.
#[derive(Clone, Debug)]
pub struct Life {
    pub member: String,
    /// The pod's uid: a new pod of the same name is another one.
    pub pod: String,
    pub restarts: i32,
    /// It has begun, so it has a log.
    pub begun: bool,
    /// It has begun and not yet ended.
    pub running: bool,
}

impl Life {
    /// The life that a pod's container is in.
    #[must_use]
    fn of(pod: &Pod) -> Self {
        let state = pod.container().and_then(|container| container.state.as_ref());
        let running = state.is_some_and(|state| state.running.is_some());
        let begun = running || state.is_some_and(|state| state.terminated.is_some());
        Self { member: pod.name_any(), pod: pod.uid().unwrap_or_default(), restarts: pod.restarts(), begun, running }
    }

    /// The same life, however far it has come.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        (&self.member, &self.pod, self.restarts) == (&other.member, &other.pod, other.restarts)
    }
}

/// Which part of a log to read.
#[derive(Clone, Debug, Default)]
pub struct Part {
    pub follow: bool,
    /// The log of the container before.
    pub previous: bool,
    /// Lines from then on, to the second.
    pub since: Option<Timestamp>,
    /// At most this many of the last lines.
    pub tail: Option<u32>,
}

/// A log being read, line by line.
pub struct Log(Box<dyn AsyncBufRead + Send + Unpin>);

impl Log {
    /// Opens a member's log; every line begins with its time.
    ///
    /// # Errors
    /// The API server refuses or does not answer, or there is no such log.
    pub async fn open(cluster: &Cluster, namespace: &str, member: &str, part: &Part) -> Result<Self, ApiFailure> {
        let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
        let params = LogParams {
            container: Some(CONTAINER.to_owned()),
            follow: part.follow,
            previous: part.previous,
            // Down to the second: the client would round, and lose what was written before.
            since_time: part.since.map(whole_seconds),
            tail_lines: part.tail.map(i64::from),
            timestamps: true,
            ..LogParams::default()
        };
        let what = || format!("failed to read the log of Pod {member} in namespace {namespace}");
        let log = pods.log_stream(member, &params).await.map_err(|error| ApiFailure::new(what(), &error))?;
        Ok(Self(Box::new(Box::pin(log))))
    }

    /// The next line; `None` at the log's end, or where the connection breaks.
    pub async fn line(&mut self) -> Option<String> {
        let mut bytes = Vec::new();
        match self.0.read_until(b'\n', &mut bytes).await {
            Ok(1..) => Some(String::from_utf8_lossy(&bytes).into_owned()),
            _ => None,
        }
    }
}

/// The last whole second.
fn whole_seconds(time: Timestamp) -> Timestamp {
    let down = TimestampRound::new().smallest(Unit::Second).mode(RoundMode::Floor);
    time.round(down).unwrap_or(time)
}

/// The lives of a set's containers now, by member.
///
/// # Errors
/// The API server refuses or does not answer.
pub async fn lives(cluster: &Cluster, namespace: &str, set: &str) -> Result<Vec<Life>, ApiFailure> {
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
    let listed = pods.list(&ListParams::default().labels(&format!("app={set}"))).await;
    let what = || format!("failed to list pods in namespace {namespace}");
    Ok(listed.map_err(|error| ApiFailure::new(what(), &error))?.items.iter().map(Life::of).collect())
}

/// The lives of a set's containers as they change.
pub struct Lives {
    changes: mpsc::Receiver<Result<Vec<Life>, ApiFailure>>,
    watching: JoinHandle<()>,
}

impl Lives {
    #[must_use]
    pub fn watch(cluster: &Cluster, namespace: &str, set: &str) -> Self {
        let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
        let what = format!("failed to watch pods in namespace {namespace}");
        let config = watcher::Config::default().labels(&format!("app={set}"));
        let (tell, changes) = mpsc::channel(16);
        let watching = tokio::spawn(async move {
            let stream = watcher(pods, config).backoff(Pace::default());
            let mut stream = std::pin::pin!(stream);
            let mut known = BTreeMap::new();
            let mut incoming = BTreeMap::new();
            let mut listed = false;
            while let Some(event) = stream.next().await {
                match event {
                    Ok(watcher::Event::Init) => {
                        incoming.clear();
                        continue;
                    }
                    Ok(watcher::Event::InitApply(pod)) => {
                        incoming.insert(pod.name_any(), Life::of(&pod));
                        continue;
                    }
                    Ok(watcher::Event::InitDone) => {
                        listed = true;
                        known = std::mem::take(&mut incoming);
                    }
                    Ok(watcher::Event::Apply(pod)) => {
                        known.insert(pod.name_any(), Life::of(&pod));
                    }
                    Ok(watcher::Event::Delete(pod)) => {
                        known.remove(&pod.name_any());
                    }
                    // What is known still holds while the API server is away; before that, somebody waits.
                    Err(error) => {
                        if let Some(failure) =
                            failure(error, &what).filter(|failure| !listed || !failure.is_transient())
                            && tell.send(Err(failure)).await.is_err()
                        {
                            return;
                        }
                        continue;
                    }
                }
                if tell.send(Ok(known.values().cloned().collect())).await.is_err() {
                    return;
                }
            }
        });
        Self { changes, watching }
    }

    /// Waits for the next change.
    ///
    /// # Errors
    /// The API server refuses to be watched, or did not answer the first time.
    pub async fn changed(&mut self) -> Result<Vec<Life>, ApiFailure> {
        match self.changes.recv().await {
            Some(change) => change,
            // The watch ends only with the command.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Lives {
    fn drop(&mut self) {
        self.watching.abort();
    }
}
