//! An NFS export that was tried before any member waits for it: what the trial pod met, in the codes of the members' own
//! findings.

use k8s_openapi::api::core::v1::Node;

use super::mounts::exports_line;
use super::{Asked, Finding, ObjectRef, Severity, fix, mounts};
use crate::set::Observation;
use crate::set::bytes;
use crate::set::trial::{Closed, Report, Trial};

/// Less than this is not even enough for an empty database.
const LEAST_FREE: u64 = 64 << 20;

/// A commit waits for at least one of these; a disk needs about 10 ms.
const SLOW_FSYNC_MS: u64 = 100;

/// What the trial is about, in place of a pod that is gone when somebody reads this.
fn object(trial: &Trial) -> ObjectRef {
    ObjectRef { kind: "NFS export".to_owned(), name: super::clean(&trial.export()) }
}

/// The finding about the export, with commands that mean this set.
fn about(trial: &Trial, mut finding: Finding) -> Finding {
    finding.object = object(trial);
    for line in &mut finding.fix {
        *line = fix::addressed(line, &trial.set, &trial.namespace);
    }
    finding
}

/// Why the export cannot be mounted, in the kubelet's words about the trial pod.
pub(in crate::set) fn of_mount(trial: &Trial, seen: &Observation) -> Option<Finding> {
    let found = mounts::findings(&Asked { seen, since: None });
    found.into_iter().next().map(|finding| about(trial, finding))
}

/// Nobody answers on the server's port.
pub(in crate::set) fn of_port(trial: &Trial, closed: Closed, node: &str) -> Finding {
    let word = match closed {
        Closed::Refused => "connection refused",
        Closed::NoRoute => "no route to host",
        Closed::NoNetwork => "network is unreachable",
        Closed::TimedOut => "no answer within 5 s",
    };
    let finding = mounts::unreachable("Pod", "", node, &trial.server);
    about(trial, finding.evidence(format!("asked twice from a pod: {word}")))
}

/// What is wrong with an export that was mounted; `None` when a member can work there. `nodes` are the cluster's, as far as
/// they are known.
pub(in crate::set) fn of_report(trial: &Trial, report: &Report, nodes: &[Node]) -> Option<Finding> {
    let (server, path) = (&trial.server, &trial.path);
    let new = |code, summary: String| Finding::new(code, Severity::Fatal, "Pod", "", summary);
    if let Some((step, words)) = &report.failure {
        return Some(about(trial, of_failure(trial, report, step, words, nodes)));
    }
    if report.mounted_read_only() {
        let finding = new("PGS-VOLUME-READ-ONLY", format!("{path} of NFS server {server} is mounted read-only"))
            .fix("take ro out of the volume's mountOptions, or readOnly out of its nfs part");
        return Some(about(trial, finding.evidence(&report.mount)));
    }
    let free = report.free.filter(|free| *free < LEAST_FREE)?;
    Some(about(trial, full(trial, &format!("only {} are free", bytes(free)))))
}

fn of_failure(trial: &Trial, report: &Report, step: &str, words: &str, nodes: &[Node]) -> Finding {
    let (server, path) = (&trial.server, &trial.path);
    let new = |code, summary: String| Finding::new(code, Severity::Fatal, "Pod", "", summary).evidence(words);
    let says = |parts: &[&str]| parts.iter().any(|part| words.contains(part));
    let line = exports_line(path, nodes);
    let uid = report.uid.as_deref().unwrap_or("UID");
    if says(&["Read-only file system"]) {
        return new("PGS-VOLUME-READ-ONLY", format!("{path} of NFS server {server} can only be read"))
            .fix(format!("on {server}: rw instead of ro for it; in /etc/exports: {line}; then: exportfs -ra"));
    }
    if says(&["No space left", "quota exceeded"]) {
        return full(trial, "nothing is free").evidence(words);
    }
    if says(&["Stale file handle"]) {
        return new("PGS-NFS-STALE", format!("what NFS server {server} exports as {path} is gone from under it"))
            .fix(format!("on {server}: is the file system behind {path} mounted? then: exportfs -ra"));
    }
    let what = match step {
        "make" => "make a folder",
        "remove" => "remove a folder",
        _ => "write through to the disk (fsync)",
    };
    let whose = report.whose().map_or_else(String::new, |whose| format!(", which {whose}"));
    let finding =
        new("PGS-DATA-NOT-WRITABLE", format!("uid {uid} cannot {what} in {path} of NFS server {server}{whose}"));
    if says(&["Permission denied", "Operation not permitted"]) {
        finding
            .fix(format!(
                "on {server}: chown {uid} {path} && chmod 700 {path}, or chmod 777 {path} as the 2017 example did"
            ))
            .fix(format!("with root_squash, the default, that is enough: members are no root; in /etc/exports: {line}"))
    } else {
        finding.fix(format!("look at the disk and the log of {server}: dmesg, journalctl -u nfs-server"))
    }
}

fn full(trial: &Trial, how: &str) -> Finding {
    let Trial { server, path, .. } = trial;
    let summary = format!("{path} of NFS server {server} is full: {how}");
    Finding::new("PGS-VOLUME-FULL", Severity::Fatal, "Pod", "", summary)
        .fix(format!("on {server}: df -h {path}; make room there, or give another path with --nfs-path"))
}

/// What works and is worth a word all the same, a sentence each.
pub(in crate::set) fn warnings(trial: &Trial, report: &Report) -> Vec<String> {
    let export = trial.export();
    let mut lines = Vec::new();
    if let Some(free) = report.free.filter(|free| trial.size.is_some_and(|size| *free < size)) {
        let size = bytes(trial.size.unwrap_or_default());
        lines.push(format!("{export} has {} free, less than the {size} that the set asks for", bytes(free)));
    }
    if let Some(ms) = report.fsync_ms.filter(|ms| *ms > SLOW_FSYNC_MS) {
        lines.push(format!("writing through to the disk of {export} takes {ms} ms, and every commit waits for it"));
    }
    if report.options().any(|option| option == "soft") {
        lines.push(format!("{export} is mounted soft: where the server is slow PostgreSQL loses writes; use hard"));
    }
    lines
}
