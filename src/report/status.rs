//! The status of a set as people and machines read it. The view is versioned: `apiVersion` changes when a field does.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::text::{age, and, bytes, lapse};
use super::{Paint, Ui, table};
use crate::set::findings::{ObjectRef, clean};
use crate::set::health::Word;
use crate::set::observation::{CONTAINER, PodReading, Server, Standby};
use crate::set::phase::phase;
use crate::set::{Finding, Health, Lsn, Observation, Severity};

/// `kind: Status` of `pgset/v1`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusView {
    pub api_version: &'static str,
    pub kind: &'static str,
    pub name: String,
    pub namespace: String,
    pub healthy: bool,
    /// Whose word `healthy` is: `postgreSQL`'s, or only `kubernetes`'.
    pub word: Word,
    pub postgres_version: Option<String>,
    pub system_identifier: Option<String>,
    pub image: Option<String>,
    pub primary: Option<String>,
    pub replicas: i32,
    pub members: Vec<MemberView>,
    pub services: Vec<ServiceView>,
    /// What is missing for health, in words.
    pub unmet: Vec<String>,
    pub findings: Vec<Finding>,
}

/// One member.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberView {
    pub name: String,
    /// `primary`, `replica`, or `None` when PostgreSQL did not say.
    pub role: Option<&'static str>,
    pub phase: String,
    pub ready: bool,
    pub timeline: Option<u32>,
    pub lsn: Option<Lsn>,
    /// Bytes of log behind the primary.
    pub lag_bytes: Option<u64>,
    /// Milliseconds behind the primary.
    pub lag_ms: Option<u64>,
    pub restarts: i32,
    pub node: Option<String>,
    pub pod_ip: Option<String>,
    pub claim: Option<String>,
    pub volume: Option<String>,
    pub created: Option<Timestamp>,
}

/// One of the set's Services for clients.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceView {
    pub name: String,
    pub endpoints: Vec<String>,
}

impl StatusView {
    #[must_use]
    pub fn new(seen: &Observation, health: &Health, findings: Vec<Finding>) -> Self {
        let primary = match seen.primaries()[..] {
            [one] => Some(one.to_owned()),
            _ => None,
        };
        let server = primary.as_deref().and_then(|primary| seen.server(primary));
        let any = server.or_else(|| seen.answers.values().find_map(|answer| answer.server()));
        let template = seen.stateful_set.as_ref().and_then(|set| set.spec.template.spec.as_ref());
        let container = template.and_then(|spec| spec.containers.iter().find(|container| container.name == CONTAINER));
        let services = ["master", "replica"].map(|role| format!("{}-{role}", seen.name));
        Self {
            api_version: "pgset/v1",
            kind: "Status",
            name: seen.name.clone(),
            namespace: seen.namespace.clone(),
            healthy: health.is_healthy(),
            word: health.word,
            // Without the packager's words behind it: `17.6 (Debian 17.6-1)`.
            postgres_version: any.and_then(|server| server.version.split(' ').next()).map(str::to_owned),
            system_identifier: any.map(|server| server.system_identifier.clone()),
            image: container.and_then(|container| container.image.clone()),
            replicas: seen.wanted().unwrap_or(0),
            members: seen.members().iter().map(|member| MemberView::new(seen, health, member, server)).collect(),
            services: services
                .map(|name| ServiceView {
                    endpoints: seen.endpoints(&name).into_iter().map(str::to_owned).collect(),
                    name,
                })
                .to_vec(),
            primary,
            unmet: health.unmet.iter().map(|unmet| seen.mask.hide_known(&clean(&unmet.to_string()))).collect(),
            findings,
        }
    }

    /// The tables for people.
    #[must_use]
    pub fn text(&self, ui: &Ui, wide: bool, now: Timestamp) -> String {
        let mut text = self.headline(ui);
        text.push('\n');
        let mut headings =
            vec!["MEMBER", "ROLE", "READY", "TIMELINE", "LSN", "LAG", "RESTARTS", "NODE", "VOLUME", "AGE"];
        if wide {
            headings.extend(["IP", "CLAIM", "PHASE"]);
        }
        let rows: Vec<Vec<String>> = self.members.iter().map(|member| member.row(wide, now)).collect();
        text.push_str(&table(&headings, &rows));
        text.push('\n');
        let endpoints = |service: &ServiceView| vec![service.name.clone(), or_none(service.endpoints.join(","))];
        text.push_str(&table(&["SERVICE", "ENDPOINTS"], &self.services.iter().map(endpoints).collect::<Vec<_>>()));
        if wide {
            let image = self.image.clone().unwrap_or_default();
            let system = self.system_identifier.clone().unwrap_or_default();
            text.push('\n');
            text.push_str(&table(&["IMAGE", "SYSTEM IDENTIFIER"], &[vec![or_none(image), or_none(system)]]));
        }
        text.push_str(&self.troubles(ui));
        text
    }

    /// Whether the set is to have no members.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.replicas == 0
    }

    fn headline(&self, ui: &Ui) -> String {
        let health = if self.healthy {
            ui.paint_data(Paint::Green, "healthy")
        } else if self.is_stopped() {
            ui.paint_data(Paint::Yellow, "stopped")
        } else {
            ui.paint_data(Paint::Red, "not healthy")
        };
        let version =
            self.postgres_version.as_ref().map(|version| format!(", PostgreSQL {version}")).unwrap_or_default();
        let word = match self.word {
            Word::PostgreSQL => "",
            Word::Kubernetes => " (Kubernetes' word only: you may not ask PostgreSQL)",
        };
        format!("{} in namespace {}: {health}{word}{version}\n", self.name, self.namespace)
    }

    fn troubles(&self, ui: &Ui) -> String {
        let mut text = String::new();
        for finding in &self.findings {
            text.push('\n');
            text.push_str(&finding_text(finding, |paint, words| ui.paint_data(paint, words)));
        }
        if !self.healthy && !self.findings.iter().any(|finding| finding.severity <= Severity::Blocking) {
            text.push_str("\nnot healthy because:\n");
            text.extend(self.unmet.iter().map(|unmet| format!("  {unmet}\n")));
        }
        text
    }
}

/// A finding as people read it: cause, evidence, fix.
pub fn finding_text(finding: &Finding, paint: impl Fn(Paint, &str) -> String) -> String {
    let color = match finding.severity {
        Severity::Fatal | Severity::Blocking => Paint::Red,
        Severity::Waiting | Severity::Warning => Paint::Yellow,
    };
    let object = objects(&finding.object, &finding.also);
    let mut text = format!("{} {object}: {}\n", paint(color, finding.code), finding.summary);
    text.extend(finding.evidence.iter().map(|line| format!("  | {line}\n")));
    text.extend(
        finding.consequences.iter().map(|so| format!("  so {}: {}\n", objects(&so.object, &so.also), so.summary)),
    );
    text.extend(finding.fix.iter().map(|line| format!("  {} {line}\n", paint(Paint::Cyan, "fix:"))));
    text
}

/// `Pod pgset-0, pgset-1 and pgset-2`.
fn objects(first: &ObjectRef, also: &[ObjectRef]) -> String {
    let names: Vec<String> = [first].into_iter().chain(also).map(|object| object.name.clone()).collect();
    format!("{} {}", first.kind, and(&names))
}

impl MemberView {
    fn new(seen: &Observation, health: &Health, member: &str, primary: Option<&Server>) -> Self {
        let pod = seen.pod(member);
        let spec = pod.and_then(|pod| pod.spec.as_ref());
        let volumes = spec.and_then(|spec| spec.volumes.as_ref()).into_iter().flatten();
        let claim = volumes
            .filter_map(|volume| volume.persistent_volume_claim.as_ref())
            .map(|source| source.claim_name.clone())
            .next();
        let bound = seen.claims.iter().find(|found| found.metadata.name == claim);
        let server = seen.server(member);
        let row = primary.and_then(|primary| seen.standby(primary, member));
        let replica = server.filter(|server| server.in_recovery);
        let lag = replica.zip(primary).map(|(server, primary)| lag(server, primary, row));
        Self {
            name: member.to_owned(),
            role: server.map(|server| if server.in_recovery { "replica" } else { "primary" }),
            phase: phase(seen, health, member).to_string(),
            ready: pod.is_some_and(PodReading::is_ready),
            timeline: server.map(|server| server.timeline),
            lsn: server.map(|server| server.lsn),
            lag_bytes: lag.map(|(bytes, _)| bytes),
            lag_ms: lag.and_then(|(_, ms)| ms),
            restarts: pod.map_or(0, PodReading::restarts),
            node: spec.and_then(|spec| spec.node_name.clone()),
            pod_ip: pod.and_then(|pod| pod.status.as_ref()?.pod_ip.clone()),
            volume: bound.and_then(|claim| claim.spec.as_ref()?.volume_name.clone()),
            claim,
            created: pod.and_then(|pod| pod.metadata.creation_timestamp.as_ref()).map(|time| time.0),
        }
    }

    fn row(&self, wide: bool, now: Timestamp) -> Vec<String> {
        let text = |value: &Option<String>| or_none(value.clone().unwrap_or_default());
        let number = |value: Option<String>| or_none(value.unwrap_or_default());
        let lag = match (self.lag_bytes, self.lag_ms) {
            (Some(behind), Some(ms)) => format!("{}, {}", bytes(behind), lapse(ms)),
            (Some(behind), None) => bytes(behind),
            (None, _) => String::new(),
        };
        let created = self.created.map(|created| age(now.duration_since(created).max(SignedDuration::ZERO)));
        let mut row = vec![
            self.name.clone(),
            or_none(self.role.unwrap_or_default().to_owned()),
            if self.ready { "yes" } else { "no" }.to_owned(),
            number(self.timeline.map(|timeline| timeline.to_string())),
            number(self.lsn.map(|lsn| lsn.to_string())),
            or_none(lag),
            self.restarts.to_string(),
            text(&self.node),
            text(&self.volume),
            number(created),
        ];
        if wide {
            row.extend([text(&self.pod_ip), text(&self.claim), self.phase.clone()]);
        }
        row
    }
}

/// How far a replica is behind, in bytes and milliseconds. PostgreSQL forgets the time of a replica that has nothing
/// left to replay, and the age of its last transaction only says how quiet the primary is: nothing behind is no time.
fn lag(server: &Server, primary: &Server, row: Option<&Standby>) -> (u64, Option<u64>) {
    let behind = primary.lsn.bytes_since(server.lsn);
    if behind == 0 {
        return (0, Some(0));
    }
    (behind, row.and_then(|row| row.replay_lag_ms).or(server.replay_age_ms))
}

fn or_none(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}
