//! The trial of an NFS export before any member waits for it: a volume, a claim and two pods that are there for seconds.
//!
//! One pod mounts the export as a member would and does a member's first things; the other asks the server's port, because
//! mount itself says nothing of a server that is not there for minutes.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::findings::{self, Finding};
use super::inquiry::is_mounting;
use super::observation::{Observation, PodReading};
use super::oneshot::OneShot;
use super::plan::{INSTANCE, MANAGED_BY};
use super::volumes::TRIAL;
use crate::manifests::Names;
use crate::settings::Quantity;

/// A mount that works takes less; what the port says counts from then on.
const MOUNTED_BY_NOW: SignedDuration = SignedDuration::from_secs(8);

/// A pod that no node takes for so long is the members' trouble as well, and theirs to tell.
const SCHEDULED_BY_NOW: SignedDuration = SignedDuration::from_secs(15);

/// The kubelet's own word on a server that is not there comes after 125 to 200 s.
const PATIENCE: SignedDuration = SignedDuration::from_secs(300);

/// Pods that nobody removes end by themselves.
const DEADLINE_SECONDS: i64 = 600;

/// One set's trial of one export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    pub set: String,
    pub namespace: String,
    pub server: String,
    pub path: String,
    /// What the set's claims ask for, in bytes.
    pub size: Option<u64>,
}

impl Trial {
    /// The trial that a set with this volume needs; `None` where it is not on NFS.
    #[must_use]
    pub fn of(names: &Names, volume: &Value) -> Option<Self> {
        let nfs = &volume["spec"]["nfs"];
        let size = volume["spec"]["capacity"]["storage"].as_str().and_then(|size| size.parse::<Quantity>().ok());
        Some(Self {
            set: names.set().to_owned(),
            namespace: names.namespace().to_owned(),
            server: nfs["server"].as_str()?.to_owned(),
            path: nfs["path"].as_str()?.to_owned(),
            size: size.map(|size| size.bytes()),
        })
    }

    /// `10.0.0.5:/nfsfileshare`.
    #[must_use]
    pub fn export(&self) -> String {
        format!("{}:{}", self.server, self.path)
    }

    /// The name of its claim and of the pod that mounts it.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}-trial", self.set)
    }

    /// The name of the pod that asks the port.
    #[must_use]
    pub fn port_name(&self) -> String {
        format!("{}-trial-port", self.set)
    }

    /// The name of its volume, which belongs to no namespace.
    #[must_use]
    pub fn volume_name(&self) -> String {
        format!("{}.{}.trial", self.namespace, self.set)
    }

    fn labels(&self) -> Value {
        json!({MANAGED_BY.0: MANAGED_BY.1, INSTANCE: self.set, TRIAL.0: TRIAL.1})
    }

    /// Whether an object with these labels is one of this trial's, left behind by an `up` that was killed.
    #[must_use]
    pub fn owns(&self, labels: &Value) -> bool {
        [(MANAGED_BY.0, MANAGED_BY.1), (INSTANCE, &self.set), TRIAL].iter().all(|(key, value)| labels[*key] == *value)
    }

    /// A volume like this one of the set's, mount options included.
    #[must_use]
    pub fn volume(&self, like: &Value) -> Value {
        let mut spec = like["spec"].clone();
        spec["claimRef"] = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": self.namespace,
            "name": self.name()});
        spec["storageClassName"] = "".into();
        spec["persistentVolumeReclaimPolicy"] = "Retain".into();
        json!({"apiVersion": "v1", "kind": "PersistentVolume",
            "metadata": {"name": self.volume_name(), "labels": self.labels()}, "spec": spec})
    }

    /// The claim for it.
    #[must_use]
    pub fn claim(&self, like: &Value) -> Value {
        let spec = &like["spec"];
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": self.name(), "labels": self.labels()},
            "spec": {"storageClassName": "", "volumeName": self.volume_name(), "accessModes": spec["accessModes"],
                "resources": {"requests": {"storage": spec["capacity"]["storage"]}}}})
    }

    /// The pod that mounts it, like the members of this template.
    #[must_use]
    pub fn pod(&self, template: &Value) -> Value {
        let script = include_str!("trial.sh");
        self.one_shot(&self.name(), script, ("SET", &self.set), &[self.name()], template)
    }

    /// The pod that asks the server's port, without the volume.
    #[must_use]
    pub fn port_pod(&self, template: &Value) -> Value {
        let script = include_str!("trial-port.sh");
        self.one_shot(&self.port_name(), script, ("SERVER", &self.server), &[], template)
    }

    fn one_shot(&self, name: &str, script: &str, env: (&str, &str), claims: &[String], template: &Value) -> Value {
        let set = &self.set;
        let mut pod = OneShot { name, set, script, env: &[env], claims, deadline: DEADLINE_SECONDS }.pod(template);
        pod["metadata"]["labels"] = self.labels();
        pod
    }
}

// ---- what the pods say ----------------------------------------------------------------------------------------------

/// What the pod that mounts the export reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub uid: Option<String>,
    /// The export's mode and owner as `ls` writes them: `drwxr-xr-x`, `0:0`.
    pub mode: Option<String>,
    pub owner: Option<String>,
    /// File system and options, such as `nfs4 rw,hard,vers=4.1`.
    pub mount: String,
    /// Bytes.
    pub free: Option<u64>,
    /// Milliseconds that one small write takes to reach the disk.
    pub fsync_ms: Option<u64>,
    /// The step that failed (`make`, `write`, `remove`), and why.
    pub failure: Option<(String, String)>,
}

impl Report {
    /// Reads a termination message; `None` when it is no whole report.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        let owned = |key: &str| value(key).map(findings::clean).filter(|text| !text.is_empty());
        let steps = ["make", "write", "remove"];
        let failure = steps.iter().find_map(|step| Some(((*step).to_owned(), owned(step)?)));
        if failure.is_none() && value("done") != Some("yes") {
            return None;
        }
        let seconds = |key: &str| value(key)?.trim().parse::<f64>().ok().filter(|seconds| seconds.is_finite());
        let took = seconds("began").zip(seconds("ended")).map(|(began, ended)| ended - began);
        Some(Self {
            uid: owned("uid"),
            mode: owned("mode"),
            owner: owned("owner"),
            mount: owned("mount").unwrap_or_default(),
            free: value("free").and_then(|kib| kib.trim().parse::<u64>().ok()?.checked_mul(1024)),
            fsync_ms: took.filter(|took| *took >= 0.0).map(tenth_in_ms),
            failure,
        })
    }

    /// The options it is mounted with.
    pub fn options(&self) -> impl Iterator<Item = &str> {
        self.mount.split_once(' ').map(|(_, options)| options).unwrap_or_default().split(',')
    }

    #[must_use]
    pub fn mounted_read_only(&self) -> bool {
        self.options().any(|option| option == "ro")
    }

    /// `belongs to 0:0 and has mode drwxr-xr-x`, where that was seen.
    #[must_use]
    pub fn whose(&self) -> Option<String> {
        let (owner, mode) = self.owner.as_ref().zip(self.mode.as_ref())?;
        Some(format!("belongs to {owner} and has mode {mode}"))
    }
}

/// A tenth of some seconds, for the ten writes that were timed together.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and a float saturates")]
fn tenth_in_ms(seconds: f64) -> u64 {
    (seconds * 100.0).round() as u64
}

/// How the server's port is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    Refused,
    NoRoute,
    NoNetwork,
    TimedOut,
}

impl Closed {
    /// Reads a termination message; `None` when the port is open, or nothing could be told. A name that the pod does not
    /// know may be known to the node, which asks other servers.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        match text.trim().strip_prefix("port=")? {
            "refused" => Some(Self::Refused),
            "no-route" => Some(Self::NoRoute),
            "no-network" => Some(Self::NoNetwork),
            "timed-out" => Some(Self::TimedOut),
            _ => None,
        }
    }
}

// ---- what follows ---------------------------------------------------------------------------------------------------

/// What the trial has come to.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Look again.
    Wait,
    /// A member can work there; with what is worth a word all the same.
    Passed(Vec<String>),
    /// No member could.
    Failed(Box<Finding>),
    /// It cannot tell, and why: the members' own start will.
    Unknown(String),
}

impl Trial {
    /// Judges pods, events and nodes `waited` after the pods were made; `now` is the time of the events.
    #[must_use]
    pub fn judge(&self, seen: &Observation, now: Timestamp, waited: SignedDuration) -> Next {
        let Some(pod) = seen.pod(&self.name()) else {
            return Next::Unknown(format!("Pod {} was deleted", self.name()));
        };
        if let Some(ended) = message(pod) {
            return self.reported(ended, seen);
        }
        let mount = seen.pods.iter().filter(|pod| pod.metadata.name.as_deref() == Some(&self.name())).cloned();
        let alone = Observation { pods: mount.collect(), ..seen.clone() };
        let failing = findings::export::of_mount(self, &alone);
        if let Some(finding) = failing {
            return if finding.ends_wait(now) { Next::Failed(Box::new(finding)) } else { Next::Wait };
        }
        if let Some(closed) = seen.pod(&self.port_name()).and_then(|port| Closed::read(message(port)?))
            && waited >= MOUNTED_BY_NOW
            && is_mounting(seen, pod)
            && !has_sandbox(pod)
        {
            return Next::Failed(Box::new(findings::export::of_port(self, closed, pod.node().unwrap_or("NODE"))));
        }
        match self.hopeless(pod, waited) {
            Some(why) => Next::Unknown(why),
            None => Next::Wait,
        }
    }

    fn reported(&self, words: &str, seen: &Observation) -> Next {
        let Some(report) = Report::read(words) else {
            let words = findings::clean(words);
            let words = if words.is_empty() { "it ended without a word".to_owned() } else { words };
            return Next::Unknown(format!("Pod {}: {words}", self.name()));
        };
        match findings::export::of_report(self, &report, &seen.nodes) {
            Some(finding) => Next::Failed(Box::new(finding)),
            None => Next::Passed(findings::export::warnings(self, &report)),
        }
    }

    /// Why the pod will not come to its end, for reasons that are not the export's.
    fn hopeless(&self, pod: &Pod, waited: SignedDuration) -> Option<String> {
        let name = self.name();
        if let Some(condition) = findings::finds_no_node(pod).filter(|_| waited >= SCHEDULED_BY_NOW) {
            let words = findings::clean(condition.message.as_deref().unwrap_or_default());
            return Some(format!("no node takes Pod {name}: {words}"));
        }
        let waiting = pod.container().and_then(|container| container.state.as_ref()?.waiting.as_ref());
        let reason = waiting.and_then(|waiting| waiting.reason.as_deref()).unwrap_or_default();
        if !matches!(reason, "" | "ContainerCreating" | "PodInitializing") {
            return Some(format!("Pod {name} does not start: {}", findings::clean(reason)));
        }
        (waited >= PATIENCE).then(|| format!("Pod {name} has not ended after {} s", waited.as_secs()))
    }
}

/// Whether the pod's sandbox is made, which comes after its volumes are mounted; older kubelets do not say.
fn has_sandbox(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|c| c.type_ == "PodReadyToStartContainers" && c.status == "True"))
}

/// The termination message of a pod whose container has ended.
fn message(pod: &Pod) -> Option<&str> {
    let state = pod.container()?.state.as_ref()?;
    state.terminated.as_ref().map(|ended| ended.message.as_deref().unwrap_or_default())
}

#[cfg(test)]
mod tests;
