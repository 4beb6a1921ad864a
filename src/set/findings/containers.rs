//! A member's container starts and dies.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Event, Pod};

use super::super::Observation;
use super::super::observation::PodReading;
use super::data;
use super::references::{self, Lacking};
use super::revision::speaks;
use super::{Asked, Depth, Entry, Finding, Severity};

/// From this restart on a crash counts as a loop: one restart can come from the kubelet or the node, the second crash
/// in a row is the member's own.
const CRASHES: i32 = 2;

/// After the first death the kubelet tries again at once, after the second one 10 s later; a replica whose primary is still
/// beginning may die before that. What the dead container's words explain is told at once.
const CRASH_NORMAL: SignedDuration = SignedDuration::from_secs(10);

/// How long the kubelet takes for the try it has promised, and how far away that may be for somebody to wait for it.
const RESTART_GRACE: SignedDuration = SignedDuration::from_secs(10);
const SOON: SignedDuration = SignedDuration::from_secs(45);

/// An init container is a moment's work in most sets; one that cannot start gets as long as an image that cannot be had.
const INIT_NORMAL: SignedDuration = SignedDuration::from_secs(10);
const INIT_GRACE: SignedDuration = SignedDuration::from_secs(20);

/// The start script's exit codes (`stop_here` in `templates/scripts/lib.sh`): the volume cannot be read or written, …
const NOT_WRITABLE: i32 = 77;
/// … the data folder, or what the pod was given, does not fit, …
const REFUSED: i32 = 78;
/// … and another member is the primary already.
const ANOTHER_PRIMARY: i32 = 79;

pub(super) fn findings(asked: &Asked<'_>) -> Vec<Finding> {
    let current = asked.seen.pods.iter().filter(|pod| speaks(asked.seen, pod));
    current
        .filter_map(|pod| {
            initialising(asked, pod).or_else(|| killed_by_probe(asked, pod)).or_else(|| crash(asked, pod))
        })
        .collect()
}

/// The pod's own container waits for an init container that cannot start, fails or does not end. pgset's pods have none; an
/// overridden template or a webhook that adds to pods may bring one.
fn initialising(asked: &Asked<'_>, pod: &Pod) -> Option<Finding> {
    let name = pod.metadata.name.as_deref()?;
    let all = pod.status.as_ref()?.init_container_statuses.as_ref()?;
    let current = all.iter().find(|container| {
        let ended = container.state.as_ref().and_then(|state| state.terminated.as_ref());
        // "Started" says of a sidecar that the next container may begin, and of any other merely that it runs.
        let goes_on = container.started.unwrap_or(false) && is_sidecar(pod, &container.name);
        ended.is_none_or(|ended| ended.exit_code != 0) && !goes_on
    })?;
    let init = &current.name;
    let state = current.state.as_ref()?;
    let log = format!("read its log: kubectl -n {} logs {name} -c {init}", asked.seen.namespace);
    let about =
        |severity, summary: String| Finding::new("PGS-INIT-CONTAINER", severity, "Pod", name, summary).fix(log.clone());
    if state.running.is_some() {
        return Some(running_init(
            about(Severity::Waiting, format!("init container {init} has not ended yet")),
            asked,
            state,
        ));
    }
    if let Some(waiting) =
        state.waiting.as_ref().filter(|waiting| waiting.reason.as_deref() != Some("CrashLoopBackOff"))
    {
        let reason =
            waiting.reason.as_deref().filter(|reason| !matches!(*reason, "ContainerCreating" | "PodInitializing"))?;
        let finding = about(Severity::Blocking, format!("init container {init} cannot start: {reason}"));
        return Some(finding.evidence(waiting.message.as_deref().unwrap_or_default()).lasting(INIT_NORMAL, INIT_GRACE));
    }
    let ended = state.terminated.as_ref().or(current.last_state.as_ref()?.terminated.as_ref())?;
    let severity = if current.restart_count >= CRASHES { Severity::Fatal } else { Severity::Waiting };
    let words = message(ended).map_or_else(String::new, |words| format!(": {words}"));
    let finding = about(severity, format!("init container {init} ends with exit code {}{words}", ended.exit_code));
    Some(unless_it_loops(finding))
}

/// Whether an init container is meant to run beside the others.
fn is_sidecar(pod: &Pod, init: &str) -> bool {
    let all = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
    all.into_iter().any(|one| one.name == init && one.restart_policy.as_deref() == Some("Always"))
}

/// A death that may have been the only one.
fn unless_it_loops(finding: Finding) -> Finding {
    if finding.severity == Severity::Waiting { finding.normal_at_first(CRASH_NORMAL) } else { finding }
}

fn running_init(finding: Finding, asked: &Asked<'_>, state: &k8s_openapi::api::core::v1::ContainerState) -> Finding {
    let started = state.running.as_ref().and_then(|running| running.started_at.as_ref()).map(|time| time.0);
    finding.normal_for(started.max(asked.since), INIT_NORMAL)
}

/// The kubelet ended a PostgreSQL that did not answer its liveness probe, whatever code it ended with then.
fn killed_by_probe(asked: &Asked<'_>, pod: &Pod) -> Option<Finding> {
    let name = pod.metadata.name.as_deref()?;
    let container = pod.container()?;
    container.last_state.as_ref().and_then(|last| last.terminated.as_ref()).or(container
        .state
        .as_ref()?
        .terminated
        .as_ref())?;
    if pod.is_ready() {
        return None;
    }
    let killing = |event: &&Event| {
        event.reason.as_deref() == Some("Killing")
            && event.message.as_deref().is_some_and(|message| message.contains("failed liveness probe"))
    };
    asked.seen.events_of("Pod", name).filter(killing).last()?;
    let says =
        |event: &&Event| event.message.as_deref().is_some_and(|message| message.starts_with("Liveness probe failed"));
    let probe = asked.seen.events_of("Pod", name).filter(says).last().and_then(|event| event.message.clone());
    let running = container.state.as_ref().is_some_and(|state| state.running.is_some());
    let severity = if container.restart_count >= CRASHES && !running { Severity::Fatal } else { Severity::Waiting };
    let summary = "the kubelet restarted the member because it did not pass its liveness probe";
    Some(
        Finding::new("PGS-LIVENESS-KILLED", severity, "Pod", name, summary)
            .evidence(probe.unwrap_or_default())
            .evidence(format!("{name} was restarted {} times", container.restart_count))
            .fix(format!(
                "is the node overloaded, or its storage stuck? kubectl describe node {}",
                pod.node().unwrap_or("NODE")
            ))
            .fix(format!("what PostgreSQL said last: kubectl -n {} logs {name} --previous", asked.seen.namespace)),
    )
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
    let name = pod.metadata.name.as_deref()?;
    let finding = died(asked, pod, container, ended);
    Some(match next_try(asked, container, ended) {
        Some(next) if finding.severity == Severity::Fatal && !references::lacks_still(asked.seen, pod) => {
            old_news(asked, name, finding, next)
        }
        _ => finding,
    })
}

/// When the kubelet tries again after a death from before the wait; `None` for one that the wait has seen. Its cause may
/// have been mended since: that is often why somebody waits again.
fn next_try(asked: &Asked<'_>, container: &ContainerStatus, ended: &ContainerStateTerminated) -> Option<Timestamp> {
    let died = ended.finished_at.as_ref()?.0;
    // 10 s, 20 s, 40 s … 5 min, counted from the death; after the first one at once.
    let doublings = u32::try_from(container.restart_count).unwrap_or(0).checked_sub(1);
    let pause = doublings.map_or(0, |doublings| (10 << doublings.min(5)).min(300));
    asked.since.filter(|since| died < *since)?;
    died.checked_add(SignedDuration::from_secs(pause)).ok()
}

/// The next try decides, if it comes soon enough to be waited for.
fn old_news(asked: &Asked<'_>, pod: &str, finding: Finding, next: Timestamp) -> Finding {
    let at_once = format!("mended already? try again at once: kubectl -n {} delete pod {pod}", asked.seen.namespace);
    let finding = finding.fix(at_once);
    let soon = asked.since.is_some_and(|since| next.duration_since(since) <= SOON);
    if soon { finding.blocking_from(Some(next).max(asked.since), RESTART_GRACE) } else { finding }
}

/// The image's own programs cannot even be started, or the node is too busy for now to create a container.
fn never_ran(pod: &str, message: &str) -> Finding {
    let mut severity = Severity::Fatal;
    if message.contains("exec format error") {
        return wrong_architecture(pod);
    }
    let summary = if message.contains("no such file or directory") || message.contains("not found") {
        "the image has no /bin/sh, so pgset's start script cannot run in it"
    } else {
        severity = Severity::Waiting;
        "the container cannot be created"
    };
    Finding::new("PGS-CONTAINER-NOT-STARTED", severity, "Pod", pod, summary)
        .fix("choose an image with PostgreSQL's programs and a shell: pgset up --image …")
}

/// Which runtime says it where differs: some refuse to start the container, others start it and its first word is this.
fn wrong_architecture(pod: &str) -> Finding {
    let summary = "the image is made for another processor architecture than the node's";
    Finding::new("PGS-WRONG-ARCHITECTURE", Severity::Fatal, "Pod", pod, summary)
        .fix("choose an image that is made for the node's as well: kubectl get nodes -L kubernetes.io/arch; pgset up --image …")
}

fn died(asked: &Asked<'_>, dead: &Pod, container: &ContainerStatus, ended: &ContainerStateTerminated) -> Finding {
    let seen = asked.seen;
    let pod = dead.metadata.name.as_deref().unwrap_or_default();
    let lines: &[String] = seen.logs.get(pod).map_or(&[], Vec::as_slice);
    let tail = &lines[lines.len().saturating_sub(5)..];
    let code = ended.exit_code;
    let looping = if container.restart_count >= CRASHES { Severity::Fatal } else { Severity::Waiting };
    let about = |code, severity, summary: String| Finding::new(code, severity, "Pod", pod, summary);
    let script = script_says(lines, ended);
    let in_its_words = |otherwise: &str| script.unwrap_or(otherwise).to_owned();
    let denied = lines.iter().any(|line| line.contains("Permission denied") || line.contains("Read-only file system"));
    let logs = format!("read the whole log: kubectl -n {} logs {pod} --previous", seen.namespace);

    let foreign = "exec format error";
    let of_data = data::of_death(seen, pod, script, lines, looping);
    let finding = if let Some(words) = lines.iter().find(|line| line.contains("PG_MODE is not an accepted value")) {
        Finding::new("PGS-NO-SET-MODE", Severity::Fatal, "Pod", pod, "the image does not know PG_MODE=set")
            .evidence(words.trim())
            .fix("have the roles chosen by the pods' numbers: pgset up --role-by ordinal")
    } else if let Some(of_data) = of_data {
        of_data
    } else if lines.iter().any(|line| line.contains(foreign)) || message(ended).is_some_and(|m| m.contains(foreign)) {
        wrong_architecture(pod)
    } else if ended.reason.as_deref() == Some("OOMKilled") {
        about(
            "PGS-OOM-KILLED",
            looping,
            "PostgreSQL used more memory than the member's limit and was killed".to_owned(),
        )
        .fix("give it more: pgset up --memory …")
    } else if let Some(lacking) = script.filter(|_| code == REFUSED).and_then(|words| Lacking::password(seen, words)) {
        no_password(seen, dead, &lacking, script.unwrap_or_default())
    } else if code == REFUSED && script.is_some_and(|words| words.starts_with("the image has no ")) {
        about("PGS-IMAGE-NOT-POSTGRES", Severity::Fatal, in_its_words(""))
            .fix("choose an image with PostgreSQL's server and client programs: pgset up --image docker.io/library/postgres:17")
    } else if code == REFUSED {
        about("PGS-DATA-REFUSED", Severity::Fatal, in_its_words("the start script refuses the member's data folder"))
            .fix("the sentence above says what to do; nothing was touched, and the member tries again by itself")
    } else if code == ANOTHER_PRIMARY {
        about("PGS-SECOND-PRIMARY", Severity::Fatal, in_its_words("another member is the primary already")).fix(
            "nothing was touched: decide which of the two holds the data you want before anything is changed in either",
        )
    } else if code == NOT_WRITABLE || denied {
        about("PGS-DATA-NOT-WRITABLE", Severity::Fatal, in_its_words("the member may not write to its volume"))
            .fix(make_writable(seen, pod, script))
    } else if lines.iter().any(|line| line.contains("FATAL:") && line.contains("contains errors")) {
        let words = postgres_says(lines).unwrap_or_default();
        about("PGS-BAD-SETTINGS", Severity::Fatal, format!("PostgreSQL does not take its settings: {words}")).fix(
            data::in_its_own_file(seen, pod, "NAME")
                .unwrap_or_else(|| "correct it: pgset up --set-parameter NAME=VALUE".to_owned()),
        )
    } else if let Some((lacking, _)) = references::unread(dead, lines) {
        references::finding(seen, dead, &lacking)
    } else {
        let words = message(ended).or_else(|| postgres_says(lines));
        let words = words.map_or_else(String::new, |words| format!(": {words}"));
        let summary = format!("the member's container ended with exit code {code}{words}");
        unless_it_loops(about("PGS-CRASH-LOOP", looping, summary))
            .evidence(format!("{pod} was restarted {} times", container.restart_count))
            .fix(logs)
    };
    finding.evidence_lines(tail)
}

/// The Secret lacks a password, in the start script's words; or has it again.
fn no_password(seen: &Observation, dead: &Pod, lacking: &Lacking, words: &str) -> Finding {
    if lacking.is_there(seen) {
        return references::finding(seen, dead, lacking);
    }
    Finding::new("PGS-SECRET-MISSING", Severity::Fatal, "Secret", &lacking.object, words)
        .fix(references::put_back(seen))
}

/// The start script's last sentence: the termination message, or the log's last line where that is missing.
fn script_says<'a>(lines: &'a [String], ended: &'a ContainerStateTerminated) -> Option<&'a str> {
    message(ended).or_else(|| lines.last()?.strip_prefix("pgset: "))
}

/// The termination message, which only a start script that gave up leaves.
fn message(ended: &ContainerStateTerminated) -> Option<&str> {
    ended.message.as_deref().map(str::trim).filter(|message| !message.is_empty())
}

/// PostgreSQL's own reason. A `FATAL` that only counts the errors of a configuration file stands for the line before it.
fn postgres_says(lines: &[String]) -> Option<&str> {
    let said = |line: &'static str| move |text: &String| text.contains(line);
    let fatal = lines.iter().rposition(|line| said("FATAL:")(line) || said("PANIC:")(line))?;
    let before = lines[..fatal].iter().rfind(|line| said("LOG:")(line));
    let line = before.filter(|_| said("contains errors")(&lines[fatal])).unwrap_or(&lines[fatal]);
    let words = ["FATAL:", "PANIC:", "LOG:"].iter().find_map(|level| line.split_once(level));
    words.map(|(_, words)| words.trim())
}

/// What makes a member's volume its own; the start script's sentence says which uid it runs as and what it met.
fn make_writable(seen: &Observation, pod: &str, script: Option<&str>) -> String {
    let words = script.unwrap_or_default();
    let uid = words.rsplit_once("as uid ").map(|(_, rest)| rest.chars().take_while(char::is_ascii_digit).collect());
    let uid: String = uid.unwrap_or_else(|| "UID".to_owned());
    if words.contains("belongs to uid") {
        format!("in the directory behind the volume: chown -R {uid} {pod}")
    } else if let Some(on_server) = data::open_on_server(seen, pod, &uid) {
        on_server
    } else {
        format!("on the directory behind the volume: chown {uid} DIR, or chmod 777 DIR as the 2017 example did")
    }
}

/// What this family finds.
pub(super) const CATALOGUE: &[Entry] = &[
    Entry {
        code: "PGS-WRONG-ARCHITECTURE",
        severity: Severity::Fatal,
        depth: Depth::Set,
        title: "the image is for another processor architecture",
        meaning: "The programs in the image are made for other processors than the node has.",
        known_by: "The runtime's or the log's exec format error.",
        fix: "Choose an image that is made for the nodes' architecture as well.",
        doubt: "A script without its first line gives the same error; pgset starts none of the image's.",
    },
    Entry {
        code: "PGS-NO-SET-MODE",
        severity: Severity::Fatal,
        depth: Depth::Set,
        title: "the Crunchy image has no PG_MODE=set",
        meaning: "Crunchy images before 1.2.7 and from 4.5 on cannot choose a member's role by themselves.",
        known_by: "The image's own words: PG_MODE is not an accepted value.",
        fix: "pgset up --role-by ordinal, which is the default for these images.",
        doubt: "None known.",
    },
    Entry {
        code: "PGS-INIT-CONTAINER",
        severity: Severity::Fatal,
        depth: Depth::Member,
        title: "an init container is stuck",
        meaning: "A container that has to end before PostgreSQL may start cannot start, fails, or does not end.",
        known_by: "The pod's init container statuses.",
        fix: "Read its log; pgset's own pods have none, so an overridden template or a webhook brought it.",
        doubt: "One that copies much data takes its time.",
    },
    Entry {
        code: "PGS-LIVENESS-KILLED",
        severity: Severity::Fatal,
        depth: Depth::Member,
        title: "restarted by the liveness probe",
        meaning: "PostgreSQL did not answer its liveness probe for so long that the kubelet restarted it.",
        known_by: "A Killing event of the pod: failed liveness probe.",
        fix: "Look for an overloaded node or stuck storage.",
        doubt: "One such restart may be a moment's overload; the second in a row counts.",
    },
    Entry {
        code: "PGS-IMAGE-NOT-POSTGRES",
        severity: Severity::Fatal,
        depth: Depth::Set,
        title: "the image has no PostgreSQL",
        meaning: "Programs that every member needs are missing from the image.",
        known_by: "The start script ended with exit code 78 and names the program.",
        fix: "Choose an image with PostgreSQL's server and client programs.",
        doubt: "Programs in an unusual folder are not found; put them in PATH.",
    },
    Entry {
        code: "PGS-OOM-KILLED",
        severity: Severity::Fatal,
        depth: Depth::Member,
        title: "killed for using too much memory",
        meaning: "The kernel killed PostgreSQL because the member's memory limit was reached.",
        known_by: "The container's last state is OOMKilled.",
        fix: "Give the members more with --memory; PostgreSQL's own settings follow it.",
        doubt: "One kill may be one query's doing; the second in a row counts.",
    },
    Entry {
        code: "PGS-CONTAINER-NOT-STARTED",
        severity: Severity::Fatal,
        depth: Depth::Set,
        title: "the image cannot run the start script",
        meaning: "The container cannot even be started: there is no shell in the image.",
        known_by: "The container's CreateContainerError or RunContainerError, in the runtime's words.",
        fix: "Choose an image with PostgreSQL's programs and a shell.",
        doubt: "A node that is very busy may fail to create a container for a while; that alone is only waited for.",
    },
    Entry {
        code: "PGS-DATA-REFUSED",
        severity: Severity::Fatal,
        depth: Depth::Member,
        title: "the start script refuses the data folder",
        meaning: "What is in the member's folder does not fit the set or the image. Nothing was touched.",
        known_by: "The start script ended with exit code 78; its last sentence is shown.",
        fix: "The sentence says what to do.",
        doubt: "None known: the script has looked at the folder itself.",
    },
    Entry {
        code: "PGS-SECOND-PRIMARY",
        severity: Severity::Fatal,
        depth: Depth::Member,
        title: "another member is the primary already",
        meaning: "This member's folder is a primary's, but another primary at least as new answers.",
        known_by: "The start script ended with exit code 79; its last sentence is shown.",
        fix: "Decide which of the two holds the data you want before anything is changed in either.",
        doubt: "None known.",
    },
    Entry {
        code: "PGS-DATA-NOT-WRITABLE",
        severity: Severity::Fatal,
        depth: Depth::Member,
        title: "the volume cannot be written to",
        meaning: "PostgreSQL's user may not write to the member's volume.",
        known_by: "The start script ended with exit code 77, or its log has Permission denied or Read-only file system.",
        fix: "Change the owner or mode of the directory behind the volume.",
        doubt: "None known.",
    },
    Entry {
        code: "PGS-DATA-OTHER-MAJOR",
        severity: Severity::Fatal,
        depth: Depth::Member,
        title: "the data folder is of another major version",
        meaning: "The member's folder was made by another major version of PostgreSQL than the image has. Nothing was touched.",
        known_by: "The start script compared PG_VERSION with the image.",
        fix: "Use an image of the folder's version, or move the data with a dump.",
        doubt: "None known.",
    },
    Entry {
        code: "PGS-DATA-INCOMPLETE",
        severity: Severity::Fatal,
        depth: Depth::Member,
        title: "the data folder is half-made",
        meaning: "The member's folder is not empty, but not a whole data folder either. Nothing was touched.",
        known_by: "The start script found no PG_VERSION or no control file.",
        fix: "Move the folder aside; the member then clones or initialises.",
        doubt: "None known.",
    },
    Entry {
        code: "PGS-VOLUME-READ-ONLY",
        severity: Severity::Fatal,
        depth: Depth::Member,
        title: "the volume can only be read",
        meaning: "The file system behind the member's volume is mounted or exported read-only.",
        known_by: "Read-only file system, in the member's log.",
        fix: "Export it for writing, or mend the file system on the node.",
        doubt: "None known.",
    },
    Entry {
        code: "PGS-BAD-SETTINGS",
        severity: Severity::Fatal,
        depth: Depth::Set,
        title: "PostgreSQL does not take its settings",
        meaning: "A parameter is unknown to this PostgreSQL, or has a value it does not take, so no member starts.",
        known_by: "PostgreSQL's own last words name the parameter; with the same settings the next try ends the same.",
        fix: "Correct it with --set-parameter, in pgset.yaml or in the overridden template.",
        doubt: "None known.",
    },
    Entry {
        code: "PGS-CRASH-LOOP",
        severity: Severity::Fatal,
        depth: Depth::Member,
        title: "the container starts and dies",
        meaning: "A member ends with an error again and again.",
        known_by: "The container was restarted at least twice and does not run; its exit code, its last words and the end of its log are shown.",
        fix: "Read its last words; the whole log: kubectl logs --previous.",
        doubt: "A cause that passes by itself looks the same until the kubelet's next try.",
    },
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{event, noon, pod, seen};
    use super::*;

    fn found(restarts: i32, exit_code: i32, reason: &str, log: &[&str]) -> Vec<Finding> {
        ended(restarts, json!({"exitCode": exit_code, "reason": reason}), log)
    }

    fn ended(restarts: i32, terminated: serde_json::Value, log: &[&str]) -> Vec<Finding> {
        let container = json!({"restartCount": restarts, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": terminated}});
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
    fn each_exit_code_of_the_start_script_is_hopeless_at_once_in_its_own_words_even_without_the_log() {
        for (exit_code, words, code, fix) in [
            (
                77,
                "/pgdata/pgset-0 belongs to uid 0, but the pod runs as uid 999: PostgreSQL needs them to be the same",
                "PGS-DATA-NOT-WRITABLE",
                "chown -R 999 pgset-0",
            ),
            (
                77,
                "cannot write to /pgdata as uid 70: mkdir: can't create directory '/pgdata/pgset-0.tmp': Permission denied",
                "PGS-DATA-NOT-WRITABLE",
                "chown 70 DIR, or chmod 777 DIR",
            ),
            (78, "there is no password \"user\" in the Secret", "PGS-SECRET-MISSING", "edit secret pgset-passwords"),
            (
                78,
                "the control file of /pgdata/pgset-0 cannot be read: it is damaged",
                "PGS-DATA-REFUSED",
                "nothing was touched",
            ),
            (79, "pgset-1 is the primary already, on timeline 2", "PGS-SECOND-PRIMARY", "decide which"),
        ] {
            let terminated = json!({"exitCode": exit_code, "reason": "Error", "message": format!("{words}\n")});
            let found = &ended(0, terminated, &[])[0];
            assert_eq!((found.code, found.summary.as_str(), found.ends_wait(noon())), (code, words, true));
            assert!(found.fix[0].contains(fix), "{:?}", found.fix);
        }
    }

    #[test]
    fn a_password_that_is_back_in_the_secret_is_waited_for() {
        let words = "there is no password \"user\" in the Secret";
        let died = json!({"terminated": {"exitCode": 78, "reason": "Error", "message": words}});
        let container =
            json!({"restartCount": 4, "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": died});
        let mut seen = seen(json!([pod("pgset-0", container)]), json!([]));
        for (keys, ends) in [(vec!["superuser"], true), (vec!["superuser", "user"], false)] {
            let keys = keys.into_iter().map(str::to_owned).collect();
            seen.keys.insert("Secret pgset-passwords".to_owned(), Some(keys));
            assert!(super::super::lacking_objects(&seen).contains(&("Secret", "pgset-passwords".to_owned())));
            let found = &findings(&Asked { seen: &seen, since: Some(noon()) })[0];
            assert_eq!((found.code, found.ends_wait(noon())), ("PGS-SECRET-MISSING", ends));
        }
    }

    #[test]
    fn a_crash_is_told_in_postgresqls_words_and_not_in_those_the_script_said_before() {
        let log = [
            "pgset: starting PostgreSQL 17 as a primary",
            "2026-11-24 10:35:51.140 UTC [1] LOG:  invalid value for parameter \"max_connections\": \"banana\"",
            "2026-11-24 10:35:51.140 UTC [1] FATAL:  configuration file \"/pgset/config/postgresql.conf\" contains errors",
        ];
        // Not twice: nothing changes between two tries.
        let banana = &found(0, 1, "Error", &log)[0];
        let summary =
            "PostgreSQL does not take its settings: invalid value for parameter \"max_connections\": \"banana\"";
        assert_eq!((banana.code, banana.summary.as_str()), ("PGS-BAD-SETTINGS", summary));
        assert!(banana.ends_wait(noon()));
        let broken =
            &found(2, 1, "Error", &["x PANIC:  could not write to file: Input/output error", "x LOG:  bye"])[0];
        assert!(broken.summary.ends_with("exit code 1: could not write to file: Input/output error"), "{broken:?}");
        let silent = &found(2, 137, "Error", &["pgset: starting PostgreSQL 17 as a primary"])[0];
        assert_eq!(silent.summary, "the member's container ended with exit code 137");
    }

    #[test]
    fn a_death_from_before_the_wait_counts_only_if_the_next_try_is_far_away_or_does_not_come() {
        let seconds = SignedDuration::from_secs;
        let judged = |restarts: i32, since: Option<Timestamp>| {
            let died = json!({"exitCode": 77, "reason": "Error", "finishedAt": noon().to_string()});
            let container = json!({"restartCount": restarts, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": died}});
            let seen = seen(json!([pod("pgset-0", container)]), json!([]));
            findings(&Asked { seen: &seen, since }).remove(0)
        };
        // The wait has seen it, or there is none.
        for since in [None, Some(noon()), Some(noon() - seconds(1))] {
            assert!(judged(2, since).ends_wait(noon()), "{since:?}");
        }
        // After the second restart the kubelet pauses for 20 s.
        let waited = judged(2, Some(noon() + seconds(1)));
        assert!(!waited.ends_wait(noon() + seconds(20) + RESTART_GRACE - seconds(1)));
        assert!(waited.ends_wait(noon() + seconds(20) + RESTART_GRACE));
        assert_eq!(waited.fix[1], "mended already? try again at once: kubectl -n default delete pod pgset-0");
        // Once it has been due, it gets the grace from the beginning of the wait.
        let late = noon() + seconds(60);
        let due = judged(2, Some(late));
        assert!(!due.ends_wait(late) && due.ends_wait(late + RESTART_GRACE));
        // After the sixth it pauses for 5 min: nobody waits for that.
        assert!(judged(6, Some(noon() + seconds(300) - SOON)).severity == Severity::Blocking);
        assert!(judged(6, Some(noon() + seconds(299) - SOON)).ends_wait(noon() + seconds(1)));
    }

    #[test]
    fn a_container_that_can_never_run_is_told_from_one_that_the_node_is_too_busy_for() {
        let fault = |message: &str| {
            let waiting = json!({"state": {"waiting": {"reason": "CreateContainerError", "message": message}}});
            let seen = seen(json!([pod("pgset-0", waiting)]), json!([]));
            findings(&Asked { seen: &seen, since: None }).remove(0)
        };
        assert!(fault("exec /bin/sh: exec format error").ends_wait(noon()));
        assert!(fault("exec: \"/bin/sh\": stat /bin/sh: no such file or directory").ends_wait(noon()));
        assert!(!fault("context deadline exceeded").ends_wait(Timestamp::MAX));
    }

    #[test]
    fn an_image_of_another_architecture_is_named_at_the_first_crash() {
        let said = &found(0, 1, "Error", &["exec /bin/sh: exec format error"])[0];
        assert_eq!((said.code, said.ends_wait(noon())), ("PGS-WRONG-ARCHITECTURE", true));
    }

    #[test]
    fn an_image_without_postgresql_is_the_images_fault_and_not_the_folders() {
        let terminated =
            json!({"exitCode": 78, "reason": "Error", "message": "the image has no postgres: it needs …\n"});
        let found = ended(0, terminated, &[]);
        assert_eq!((found[0].code, found[0].ends_wait(noon())), ("PGS-IMAGE-NOT-POSTGRES", true));
    }

    #[test]
    fn what_the_liveness_probe_killed_is_told_whatever_code_it_ended_with() {
        let judged = |restarts: i32, state: serde_json::Value| {
            let container = json!({"restartCount": restarts, "state": state,
                "lastState": {"terminated": {"exitCode": 0, "reason": "Completed"}}});
            let events = json!([
                event(
                    "Pod",
                    "pgset-0",
                    "Unhealthy",
                    "Liveness probe failed: PostgreSQL does not answer on port 5432\n"
                ),
                event("Pod", "pgset-0", "Killing", "Container pgset failed liveness probe, will be restarted"),
            ]);
            let seen = seen(json!([pod("pgset-0", container)]), events);
            findings(&Asked { seen: &seen, since: None }).remove(0)
        };
        let backing_off = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        assert!(!judged(1, backing_off.clone()).ends_wait(noon()));
        let looping = judged(2, backing_off);
        assert_eq!((looping.code, looping.ends_wait(noon())), ("PGS-LIVENESS-KILLED", true));
        assert!(looping.evidence[0].contains("does not answer on port 5432"));
        assert!(!judged(2, json!({"running": {}})).ends_wait(noon()), "it is trying again");
    }

    #[test]
    fn an_init_container_that_is_stuck_is_named() {
        let judged = |restarts: i32, state: serde_json::Value| {
            let mut pod = pod("pgset-0", json!({"state": {"waiting": {"reason": "PodInitializing"}}}));
            pod["status"]["initContainerStatuses"] = json!([{"name": "prepare", "image": "", "imageID": "", "ready": false,
                "restartCount": restarts, "state": state, "lastState": {"terminated": {"exitCode": 3}}}]);
            let seen = seen(json!([pod]), json!([]));
            findings(&Asked { seen: &seen, since: None })
        };
        let crashed = |restarts| judged(restarts, json!({"waiting": {"reason": "CrashLoopBackOff"}})).remove(0);
        assert!(!crashed(CRASHES - 1).ends_wait(noon()) && crashed(CRASHES).ends_wait(noon()));
        assert_eq!(crashed(2).summary, "init container prepare ends with exit code 3");
        let mut pull = judged(0, json!({"waiting": {"reason": "ErrImagePull", "message": "not found"}})).remove(0);
        pull.met_at(noon());
        assert!(
            !pull.ends_wait(noon() + INIT_GRACE - SignedDuration::from_millis(1))
                && pull.ends_wait(noon() + INIT_GRACE)
        );
        let runs = judged(0, json!({"running": {"startedAt": noon().to_string()}})).remove(0);
        assert_eq!((runs.severity, runs.normal_until), (Severity::Waiting, Some(noon() + INIT_NORMAL)));
        assert!(judged(0, json!({"waiting": {"reason": "PodInitializing"}})).is_empty());
        assert!(judged(0, json!({"terminated": {"exitCode": 0}})).is_empty());
    }

    #[test]
    fn an_init_container_that_hangs_is_told_from_a_sidecar() {
        let judged = |policy: serde_json::Value| {
            let mut pod = pod("pgset-0", json!({"state": {"waiting": {"reason": "PodInitializing"}}}));
            pod["spec"]["initContainers"] = json!([{"name": "prepare", "restartPolicy": policy}]);
            let running = json!({"running": {"startedAt": noon().to_string()}});
            pod["status"]["initContainerStatuses"] = json!([{"name": "prepare", "image": "", "imageID": "", "ready": false,
                "restartCount": 0, "started": true, "state": running}]);
            findings(&Asked { seen: &seen(json!([pod]), json!([])), since: None })
        };
        let hangs = &judged(serde_json::Value::Null)[0];
        assert_eq!((hangs.code, hangs.severity), ("PGS-INIT-CONTAINER", Severity::Waiting));
        assert_eq!(hangs.normal_until, Some(noon() + INIT_NORMAL));
        assert!(hangs.summary.contains("init container prepare has not ended yet"), "{hangs:?}");
        assert!(judged(json!("Always")).is_empty());
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
