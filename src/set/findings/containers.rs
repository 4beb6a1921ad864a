//! A member's container starts and dies.

use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};

use super::super::observation::PodReading;
use super::revision::is_pinned;
use super::{Asked, Finding, Severity};

/// From this restart on a crash counts as a loop: one restart can come from the kubelet or the node, the second crash
/// in a row is the member's own.
const CRASHES: i32 = 2;

/// The start script's exit code for a data folder it must not touch (`EX_CONFIG` of sysexits).
const REFUSED: i32 = 78;

pub(super) fn findings(asked: &Asked<'_>) -> Vec<Finding> {
    let current = asked.seen.pods.iter().filter(|pod| !is_pinned(asked.seen, pod));
    current.filter_map(|pod| crash(asked, pod)).collect()
}

fn crash(asked: &Asked<'_>, pod: &Pod) -> Option<Finding> {
    let container = pod.container()?;
    let state = container.state.as_ref()?;
    if state.running.is_some() {
        return None;
    }
    let waiting = state.waiting.as_ref();
    if let Some(waiting) =
        waiting.filter(|w| matches!(w.reason.as_deref(), Some("CreateContainerError" | "RunContainerError")))
    {
        let name = pod.metadata.name.as_deref()?;
        let message = waiting.message.as_deref().unwrap_or_default();
        return Some(never_ran(name, message).evidence(message));
    }
    let ended =
        state.terminated.as_ref().or(container.last_state.as_ref().and_then(|last| last.terminated.as_ref()))?;
    if ended.exit_code == 0 {
        return None;
    }
    Some(died(asked, pod.metadata.name.as_deref()?, container, ended))
}

/// The image's own programs cannot even be started.
fn never_ran(pod: &str, message: &str) -> Finding {
    let summary = if message.contains("exec format error") {
        "the image is made for another processor architecture than the node's"
    } else if message.contains("no such file or directory") || message.contains("not found") {
        "the image has no /bin/sh, so pgset's start script cannot run in it"
    } else {
        "the container cannot be created"
    };
    Finding::new("PGS-CONTAINER-NOT-STARTED", Severity::Fatal, "Pod", pod, summary)
        .fix("choose an image with PostgreSQL's programs and a shell: pgset up --image …")
}

fn died(asked: &Asked<'_>, pod: &str, container: &ContainerStatus, ended: &ContainerStateTerminated) -> Finding {
    let seen = asked.seen;
    let lines: &[String] = seen.logs.get(pod).map_or(&[], Vec::as_slice);
    let tail = &lines[lines.len().saturating_sub(5)..];
    let code = ended.exit_code;
    let looping = if container.restart_count >= CRASHES { Severity::Fatal } else { Severity::Waiting };
    let about = |code, severity, summary: String| Finding::new(code, severity, "Pod", pod, summary);
    let last_words =
        lines.iter().rev().find(|line| line.starts_with("pgset: ")).map(|line| line.trim_start_matches("pgset: "));
    let denied = lines.iter().any(|line| line.contains("Permission denied") || line.contains("Read-only file system"));

    let finding = if ended.reason.as_deref() == Some("OOMKilled") {
        about(
            "PGS-OOM-KILLED",
            looping,
            "PostgreSQL used more memory than the member's limit and was killed".to_owned(),
        )
        .fix("give it more: pgset up --memory …")
    } else if code == REFUSED {
        let words = last_words.unwrap_or("the start script refuses the member's data folder").to_owned();
        return about("PGS-DATA-REFUSED", Severity::Fatal, words)
            .evidence(format!("{pod} ended with exit code {code}"))
            .evidence_lines(tail)
            .fix("the sentence above says what to do; nothing was touched, and the member tries again by itself");
    } else if denied {
        about("PGS-DATA-NOT-WRITABLE", Severity::Fatal, "the member may not write to its volume".to_owned())
            .fix("make the directory behind the volume writable for the image's user, such as: chmod 777 DIR (as in the seed), or chown it")
    } else {
        about(
            "PGS-CRASH-LOOP",
            looping,
            format!("PostgreSQL's container ended with exit code {code}, {} times restarted", container.restart_count),
        )
        .fix(format!("read the whole log: kubectl -n {} logs {pod} --previous", seen.namespace))
    };
    finding.evidence_lines(tail)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{noon, pod, seen};
    use super::*;

    fn found(restarts: i32, exit_code: i32, reason: &str, log: &[&str]) -> Vec<Finding> {
        let container = json!({"restartCount": restarts, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"exitCode": exit_code, "reason": reason}}});
        let mut seen = seen(json!([pod("pgset-0", container)]), json!([]));
        seen.logs.insert("pgset-0".to_owned(), log.iter().map(ToString::to_string).collect());
        findings(&Asked { seen: &seen, since: None })
    }

    #[test]
    fn one_crash_is_waited_for_and_the_second_in_a_row_is_a_loop() {
        assert!(!found(1, 1, "Error", &["FATAL: x"])[0].ends_wait(noon()));
        let looping = &found(2, 1, "Error", &["FATAL:  could not open file", "last words"])[0];
        assert_eq!((looping.code, looping.ends_wait(noon())), ("PGS-CRASH-LOOP", true));
        assert_eq!(looping.evidence.last().unwrap(), "last words");
    }

    #[test]
    fn a_refused_data_folder_is_hopeless_at_once_in_the_scripts_own_words() {
        let refused =
            &found(0, 78, "Error", &["pgset: /pgdata/pgset-0 was made by PostgreSQL 15, this image has 17"])[0];
        assert_eq!((refused.code, refused.ends_wait(noon())), ("PGS-DATA-REFUSED", true));
        assert_eq!(refused.summary, "/pgdata/pgset-0 was made by PostgreSQL 15, this image has 17");
    }

    #[test]
    fn a_volume_of_the_wrong_owner_is_named_at_the_first_crash() {
        let denied =
            &found(1, 1, "Error", &["mkdir: cannot create directory '/pgdata/pgset-0.tmp': Permission denied"])[0];
        assert_eq!((denied.code, denied.ends_wait(noon())), ("PGS-DATA-NOT-WRITABLE", true));
    }

    #[test]
    fn a_member_that_runs_again_is_no_finding() {
        let container = json!({"restartCount": 3, "state": {"running": {}},
            "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}}});
        assert!(
            findings(&Asked { seen: &seen(json!([pod("pgset-0", container)]), json!([])), since: None }).is_empty()
        );
    }
}
