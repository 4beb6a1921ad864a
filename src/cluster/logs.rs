//! The members' logs as the kubelet keeps them, and which containers there are to read.

use std::collections::BTreeMap;

use futures::{AsyncBufRead, AsyncBufReadExt, StreamExt};
use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, LogParams};
use kube::runtime::watcher;
use kube::{Api, ResourceExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::watch::{failure, watching};
use super::{ApiFailure, Cluster};
use crate::set::identity::logs_to_files;
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
    /// PostgreSQL's own lines are not in its log but in files of the data folder.
    pub files: bool,
}

impl Life {
    /// The life that a pod's container is in.
    #[must_use]
    fn of(pod: &Pod) -> Self {
        let state = pod.container().and_then(|container| container.state.as_ref());
        let running = state.is_some_and(|state| state.running.is_some());
        let begun = running || state.is_some_and(|state| state.terminated.is_some());
        let files = pod.spec.as_ref().is_some_and(logs_to_files);
        let (member, uid) = (pod.name_any(), pod.uid().unwrap_or_default());
        Self { member, pod: uid, restarts: pod.restarts(), begun, running, files }
    }

    /// What has become of it, where these are the lives now.
    #[must_use]
    pub fn fate(&self, now: &[Self]) -> Fate {
        let there = now.iter().find(|life| (&life.member, &life.pod) == (&self.member, &self.pod));
        match there {
            Some(life) if life.restarts == self.restarts && life.running => Fate::Runs,
            Some(life) if life.restarts == self.restarts => Fate::Ended,
            Some(life) if life.restarts == self.restarts + 1 => Fate::Followed,
            Some(_) | None => Fate::Gone,
        }
    }

    /// The same life, however far it has come.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        (&self.member, &self.pod, self.restarts) == (&other.member, &other.pod, other.restarts)
    }
}

/// What has become of a life, and so where the rest of its log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Runs,
    /// Nothing comes any more, but its log is there.
    Ended,
    /// Another container of the same pod has taken its place: its log is the one before.
    Followed,
    /// So is its log.
    Gone,
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
pub struct Log {
    stream: Box<dyn AsyncBufRead + Send + Unpin>,
    broken: bool,
}

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
        Ok(Self { stream: Box::new(Box::pin(log)), broken: false })
    }

    /// The next line; `None` at the log's end, or where the connection breaks. A line that was cut off by that is not told.
    pub async fn line(&mut self) -> Option<String> {
        let mut bytes = Vec::new();
        match self.stream.read_until(b'\n', &mut bytes).await {
            Ok(0) => None,
            Ok(_) => Some(String::from_utf8_lossy(&bytes).into_owned()),
            Err(_) => {
                self.broken = true;
                None
            }
        }
    }

    /// Whether the connection broke before the log's end.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.broken
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
            let mut stream = std::pin::pin!(watching(pods, config));
            let mut known = BTreeMap::new();
            let mut incoming = BTreeMap::new();
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
                    Ok(watcher::Event::InitDone) => known = std::mem::take(&mut incoming),
                    Ok(watcher::Event::Apply(pod)) => {
                        known.insert(pod.name_any(), Life::of(&pod));
                    }
                    Ok(watcher::Event::Delete(pod)) => {
                        known.remove(&pod.name_any());
                    }
                    Err(error) => {
                        if let Some(failure) = failure(error, &what)
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

    /// Waits for the next change. What is known still holds after an error, and the watch goes on: it is told again how
    /// things are once the API server answers again.
    ///
    /// # Errors
    /// The API server refuses to be watched, or does not answer.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn life(pod: &str, restarts: i32, running: bool) -> Life {
        Life { member: "pgset-0".to_owned(), pod: pod.to_owned(), restarts, begun: true, running, files: false }
    }

    #[test]
    fn the_rest_of_a_log_is_where_its_container_has_left_it() {
        let one = life("a", 1, true);
        for (now, fate) in [
            (vec![life("a", 1, true)], Fate::Runs),
            (vec![life("a", 1, false)], Fate::Ended),
            (vec![life("a", 2, false)], Fate::Followed),
            (vec![life("a", 3, true)], Fate::Gone),
            (vec![life("b", 1, true)], Fate::Gone),
            (vec![], Fate::Gone),
        ] {
            assert_eq!(one.fate(&now), fate, "{now:?}");
        }
    }
}
