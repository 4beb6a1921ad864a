//! A replica does not stream, and why: in the words of its own log, its start script and its server.
//!
//! The log is that of a container that runs: a WAL receiver that fails says so once a second, and nothing else tells.

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Pod;

use super::super::bytes;
use super::super::identity::{Identity, is_crunchy};
use super::super::observation::{Asking, Observation, PodReading, Server, WalReceiver};
use super::super::phase::probe_says;
use super::network;
use super::revision::speaks;
use super::{Asked, Depth, Entry, Finding, Severity};

/// A WAL receiver and the start script try again every second: what they were told a dozen times in a row stays so.
const GRACE: SignedDuration = SignedDuration::from_secs(12);

/// While a switchover is under way, a replica may be ahead of the primary that it has found.
const SWITCHING: SignedDuration = SignedDuration::from_secs(5);

/// A DNS server that was restarted answers again within a minute, and what resolvers remember is forgotten by then.
const DNS_GRACE: SignedDuration = SignedDuration::from_secs(60);

/// A small set's data is copied within this time.
const SMALL_CLONE: SignedDuration = SignedDuration::from_secs(10);

/// Less than this is the normal distance of a replica in a busy moment: four segments of the log, and a minute.
const FAR_BYTES: u64 = 64 << 20;
const FAR_MS: u64 = 60_000;

pub(super) fn findings(asked: &Asked<'_>) -> Vec<Finding> {
    if asked.seen.asking == Asking::Forbidden && asked.seen.running_logs.is_empty() {
        return Vec::new();
    }
    let running = asked.seen.pods.iter().filter(|pod| speaks(asked.seen, pod) && pod.is_running());
    running.flat_map(|pod| of_member(asked, pod)).collect()
}

fn of_member(asked: &Asked<'_>, pod: &Pod) -> Vec<Finding> {
    let seen = asked.seen;
    let Some(member) = pod.metadata.name.as_deref() else { return Vec::new() };
    let server = seen.server(member);
    if server.is_some_and(|server| !server.in_recovery) {
        return Vec::new();
    }
    let primary = match seen.primaries()[..] {
        [one] => seen.server(one).map(|server| (one, server)),
        _ => None,
    };
    let streams = server.and_then(|server| server.wal_receiver.as_ref()).is_some_and(WalReceiver::streams);
    if let Some((server, (primary_name, primary))) = server.zip(primary) {
        if let Some(finding) = limits(asked, member, server, primary_name, primary, streams) {
            return vec![finding];
        }
        if server.replay_paused {
            return vec![paused(seen, member, server, primary)];
        }
        if streams {
            return distance(asked, member, server, primary_name, primary).into_iter().collect();
        }
    }
    if streams {
        return Vec::new();
    }
    if let Some(clone) = seen.clone_progress(member) {
        let total = clone.bytes_total.map_or_else(String::new, |total| format!(" of {}", bytes(total)));
        let summary = format!("the member is being cloned: {}{total}", bytes(clone.bytes_done));
        let finding = Finding::new("PGS-CLONING", Severity::Waiting, "Pod", member, summary);
        let finding = finding.fix("nothing is wrong: a clone takes as long as the data is large");
        return vec![finding.normal_at_first(SMALL_CLONE)];
    }
    not_streaming(asked, pod, member).into_iter().collect()
}

// ---- what the log says ----------------------------------------------------------------------------------------------

/// Why a replica does not stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Password,
    Role,
    Hba,
    Dns,
    WalRemoved,
    Timeline,
    System,
    Full,
}

/// The cause that some text names, if it is one that somebody has to mend.
fn cause(text: &str) -> Option<Cause> {
    let says = |words: &[&str]| words.iter().any(|words| text.contains(words));
    Some(if says(&["password authentication failed", "refuses the password of the replication user"]) {
        Cause::Password
    } else if says(&[
        "permission denied to start WAL sender",
        "must be superuser or replication role",
        "does not let the replication user",
    ]) || (text.contains("role \"") && says(&["is not permitted to log in", "does not exist"]))
    {
        Cause::Role
    } else if says(&["no pg_hba.conf entry", "pg_hba.conf rejects"]) {
        Cause::Hba
    } else if text.contains("requested WAL segment") && text.contains("already been removed") {
        Cause::WalRemoved
    } else if says(&[
        "is behind recovery timeline",
        "forked off current database system timeline",
        "is not a child of this server's history",
        "is not in this server's history",
        "older than its own",
    ]) {
        Cause::Timeline
    } else if says(&["database system identifier differs between", "is the primary of another system"]) {
        Cause::System
    } else if says(&["No space left on device", "are free on", "is full: "]) {
        Cause::Full
    } else if says(&["DNS does not know"]) {
        Cause::Dns
    } else {
        return None;
    })
}

/// One entry of a log: a line that begins with a time or is the start script's, with the lines that belong to it.
fn entries(lines: &[String]) -> Vec<String> {
    let mut entries: Vec<String> = Vec::new();
    for line in lines {
        let continues = line.starts_with(['\t', ' ']) || detail(line);
        match entries.last_mut().filter(|_| continues) {
            Some(entry) => {
                entry.push('\n');
                entry.push_str(line.trim());
            }
            None => entries.push(line.clone()),
        }
    }
    entries
}

/// A line that explains the one before it.
fn detail(line: &str) -> bool {
    level(line).is_some_and(|level| ["DETAIL", "HINT", "CONTEXT", "STATEMENT"].contains(&level))
}

/// The level of a log line that is the server's own; `None` for one about a client's session, which has its user and
/// database before the level.
fn level(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("] ")?;
    let (level, _) = rest.split_once(':')?;
    level.bytes().all(|byte| byte.is_ascii_uppercase()).then_some(level)
}

/// The newest entry that tells how the last try went, and its cause.
fn newest_cause(lines: &[String], master: &str) -> Option<(Cause, String)> {
    let entries = entries(lines);
    let attempts = entries.iter().rev().filter(|entry| {
        entry.starts_with("pgset: ")
            || matches!(level(entry), Some("FATAL" | "PANIC" | "ERROR"))
            || entry.contains("forked off current database system timeline")
    });
    let newest = attempts.into_iter().next()?;
    // Names of members that do not exist yet are always among those that were tried; the Service's always exists.
    let unknown = format!("could not translate host name \"{master}");
    let dns = newest.contains(&unknown).then_some(Cause::Dns);
    Some((cause(newest).or(dns)?, newest.clone()))
}

fn not_streaming(asked: &Asked<'_>, pod: &Pod, member: &str) -> Option<Finding> {
    let seen = asked.seen;
    let master = format!("{}-master", seen.name);
    let log: &[String] = seen.running_logs.get(member).map_or(&[], Vec::as_slice);
    let script = probe_says(seen, member).filter(|_| !pod.has_started());
    let spoken = script.as_deref().and_then(|words| Some((cause(words)?, words.to_owned())));
    let (cause, evidence) = newest_cause(log, &master).or(spoken)?;
    let late = seen.late_since.get(member).copied();
    let clones = !pod.has_started() && !is_newer(&evidence) && !crunchy(seen);
    let finding =
        told(seen, member, cause, clones).evidence_lines(&evidence.lines().map(str::to_owned).collect::<Vec<_>>());
    let finding = finding.wrong_since(late.max(asked.since));
    let finding = if cause == Cause::Timeline { finding.normal_for(late.max(asked.since), SWITCHING) } else { finding };
    let grace = if cause == Cause::Dns { DNS_GRACE } else { GRACE };
    // A member that has not streamed since it started asks its primary itself, and clones again where that is the answer.
    // But never where its own data is on the newer timeline: that may be the data somebody wants.
    let mends_itself = clones && matches!(cause, Cause::WalRemoved | Cause::Timeline);
    Some(if mends_itself {
        Finding { severity: Severity::Waiting, ..finding }
    } else {
        finding.blocking_from(late.max(asked.since), grace)
    })
}

/// The commands after which a member that runs is cloned again, whatever its folder holds; that stays beside the new one.
pub(super) fn aside(namespace: &str, member: &str) -> String {
    format!(
        "then let it clone again, with the old folder kept: kubectl -n {namespace} exec {member} -c pgset -- mv /pgdata/{member} /pgdata/{member}.stale-aside && kubectl -n {namespace} delete pod {member}"
    )
}

/// Whether the replica's own timeline is newer than its primary's.
fn is_newer(words: &str) -> bool {
    words.contains("is behind recovery timeline") || words.contains("older than its own")
}

/// A Crunchy image starts whatever folder is there, and its `postgresql.conf` is not pgset's.
fn crunchy(seen: &Observation) -> bool {
    seen.stateful_set.as_ref().is_some_and(is_crunchy)
}

/// The finding of a cause, without its weight. `clones`: the member clones again by itself where that is the answer.
fn told(seen: &Observation, member: &str, cause: Cause, clones: bool) -> Finding {
    let namespace = &seen.namespace;
    let primary = seen.primaries().first().map_or_else(|| "PRIMARY".to_owned(), ToString::to_string);
    let secret = format!("{}-passwords", seen.name);
    let about = |code, summary: &str| Finding::new(code, Severity::Blocking, "Pod", member, summary);
    let psql = |member: &str, sql: &str| {
        format!("kubectl -n {namespace} exec -it {member} -c pgset -- psql -U postgres {sql}")
    };
    let role = seen.stateful_set.as_ref().and_then(Identity::of);
    let role = role.map_or_else(|| "replicator".to_owned(), |identity| identity.replication_user);
    let again = if crunchy(seen) {
        aside(namespace, member)
    } else {
        format!(
            "its data can be copied again: kubectl -n {namespace} delete pod {member}; it then clones, and the old folder stays beside the new one"
        )
    };
    match cause {
        Cause::Password => about(
            "PGS-REPLICATION-PASSWORD",
            "the replica cannot log in to the primary: the Secret has another replication password than the database",
        )
        .fix(format!(
            "see the Secret's: kubectl -n {namespace} get secret {secret} -o go-template='{{{{.data.replication|base64decode}}}}'"
        ))
        .fix(format!("give it to the database: {}", psql(&primary, &format!("-c '\\password {role}'"))))
        .fix(format!(
            "or put the old one back into the Secret, then: kubectl -n {namespace} delete pod {member}"
        )),
        Cause::Role => about("PGS-REPLICATION-ROLE", "the primary does not let the replication role log in or replicate")
            .fix(psql(&primary, &format!("-c 'ALTER ROLE {role} LOGIN REPLICATION'"))),
        Cause::Hba => about("PGS-REPLICATION-HBA", "the primary's pg_hba.conf does not let the replica in")
            .fix("it needs the line: host replication all all scram-sha-256")
            .fix("pg_hba.conf is one of the templates: mend the overridden one, or leave --templates away, then: pgset up"),
        Cause::Dns => network::dns(seen),
        Cause::WalRemoved => {
            let finding = about("PGS-WAL-REMOVED", "the replica needs WAL that the primary has removed already");
            if clones {
                finding.fix("nothing: it is about to be cloned again by itself")
            } else if crunchy(seen) {
                finding.fix(again)
            } else {
                finding
                    .fix(again)
                    .fix("to let replicas miss more the next time: pgset up --set-parameter wal_keep_size=…")
            }
        }
        Cause::Timeline => {
            let summary = "the replica's data went another way than the primary's: it is on another timeline";
            let finding = about("PGS-OTHER-TIMELINE", summary);
            if clones {
                finding.fix(format!("nothing, if {primary} is the primary you want: the member is cloned again by itself"))
            } else {
                finding
                    .fix(format!("is {primary} the primary you want? what only {member} has is not in a new clone"))
                    .fix(aside(namespace, member))
            }
        }
        Cause::System => about("PGS-OTHER-SYSTEM", "the replica's data is of another database system than the primary's")
            .fix(format!("its folder was made for another set: move /pgdata/{member} aside, and the member clones anew")),
        Cause::Full => about("PGS-VOLUME-FULL", "the member's volume is full")
            .fix(format!("how full: kubectl -n {namespace} exec {member} -c pgset -- df -h /pgdata; and in files: df -i /pgdata"))
            .fix("make room on it, or give it more; the member tries again by itself"),
    }
}

// ---- what the servers say -------------------------------------------------------------------------------------------

/// A setting of which the replica has less than its primary: it stops replaying at once, and does not start again.
fn limits(
    asked: &Asked<'_>,
    member: &str,
    server: &Server,
    primary_name: &str,
    primary: &Server,
    streams: bool,
) -> Option<Finding> {
    let less = server.limits.iter().filter_map(|(name, have)| {
        let need = primary.limits.get(name)?;
        (have < need).then_some((name, have, need))
    });
    let less: Vec<_> = less.collect();
    let (name, have, need) = less.first()?;
    let summary = format!(
        "the replica has {name} = {have}, less than its primary's {need}: it cannot replay what comes after that change"
    );
    let finding = Finding::new("PGS-STANDBY-SETTINGS", Severity::Warning, "Pod", member, summary)
        .evidence_lines(
            &less
                .iter()
                .map(|(name, have, need)| format!("{name}: {member} {have}, {primary_name} {need}"))
                .collect::<Vec<_>>(),
        )
        .fix(if crunchy(asked.seen) {
            let namespace = &asked.seen.namespace;
            format!(
                "raise it: kubectl -n {namespace} exec {member} -c pgset -- psql -U postgres -c \"alter system set {name} = {need}\"; then: kubectl -n {namespace} delete pod {member}"
            )
        } else {
            format!("raise it for all members: pgset up --set-parameter {name}={need}")
        });
    if streams {
        return Some(finding);
    }
    let late = asked.seen.late_since.get(member).copied();
    Some(finding.blocking_from(late.max(asked.since), GRACE))
}

fn paused(seen: &Observation, member: &str, server: &Server, primary: &Server) -> Finding {
    let behind = bytes(primary.lsn.bytes_since(server.lsn));
    let summary = format!("the replica does not replay: its recovery is paused, {behind} behind the primary");
    let resume = "psql -U postgres -c 'select pg_wal_replay_resume()'";
    Finding::new("PGS-REPLAY-PAUSED", Severity::Warning, "Pod", member, summary)
        .evidence(format!("pg_is_wal_replay_paused() is true; replayed up to {}", server.lsn))
        .fix(format!("kubectl -n {} exec {member} -c pgset -- {resume}", seen.namespace))
}

/// The replicas that are far behind, and by how many bytes: whether they catch up shows only a moment later.
#[must_use]
pub fn far_behind(seen: &Observation) -> Vec<(String, u64)> {
    let [primary] = seen.primaries()[..] else { return Vec::new() };
    let Some(primary) = seen.server(primary) else { return Vec::new() };
    let replicas = seen.answers.iter().filter_map(|(member, answer)| {
        let server = answer.server().filter(|server| server.in_recovery && !server.replay_paused)?;
        far(seen, member, server, primary).map(|(behind, _)| (member.clone(), behind))
    });
    replicas.collect()
}

/// Bytes, and milliseconds where they are known, by which a replica is behind, if that is far.
fn far(seen: &Observation, member: &str, server: &Server, primary: &Server) -> Option<(u64, Option<u64>)> {
    let behind = primary.lsn.bytes_since(server.lsn);
    let row = seen.standby(primary, member);
    let late = row.and_then(|row| row.replay_lag_ms).or(server.replay_age_ms).filter(|_| behind > 0);
    (behind >= FAR_BYTES || late.is_some_and(|ms| ms >= FAR_MS)).then_some((behind, late))
}

/// A replica that streams, but so far behind that reads from it are old. Told where a set is looked at, not during a wait:
/// a member that has just joined catches up.
fn distance(asked: &Asked<'_>, member: &str, server: &Server, primary_name: &str, primary: &Server) -> Option<Finding> {
    let (behind, late) = far(asked.seen, member, server, primary).filter(|_| asked.since.is_none())?;
    let time = late.map_or_else(String::new, |ms| format!(", {} s", ms / 1000));
    let trend = asked.seen.behind_before.get(member).map(|before| trend(*before, behind));
    let trend = trend.map_or_else(String::new, |words| format!(", and {words}"));
    let summary = format!("the replica is {}{time} behind {primary_name}{trend}", bytes(behind));
    let namespace = &asked.seen.namespace;
    let received = server.wal_receiver.as_ref().and_then(|receiver| receiver.received_lsn);
    let unplayed = received.map(|received| received.bytes_since(server.lsn));
    let finding = Finding::new("PGS-FAR-BEHIND", Severity::Warning, "Pod", member, summary)
        .evidence(format!("replayed up to {}, {primary_name} writes at {}", server.lsn, primary.lsn));
    // What has arrived and is not replayed waits for a query or for the disk; what has not arrived waits for the network.
    Some(if unplayed.is_some_and(|unplayed| unplayed * 2 >= behind) {
        let blocked =
            "select pid, now() - xact_start, query from pg_stat_activity where xact_start is not null order by 2 desc";
        finding.fix(format!(
            "the log has arrived but is not replayed; is a long query in its way? kubectl -n {namespace} exec {member} -c pgset -- psql -U postgres -c \"{blocked}\""
        ))
    } else {
        finding.fix(format!(
            "the log has not arrived: look at the network and the load between {primary_name} and {member}"
        ))
    })
}

/// How a distance changes, from what it was some milliseconds ago.
fn trend((before, ago_ms): (u64, u64), now: u64) -> String {
    let per_second = |change: u64| change.saturating_mul(1000) / ago_ms.max(1);
    let (grows, shrinks) = (per_second(now.saturating_sub(before)), per_second(before.saturating_sub(now)));
    if grows > 0 {
        return format!("falls behind by {} more a second", bytes(grows));
    }
    match now.checked_div(shrinks) {
        Some(seconds) => format!("catches up: {seconds} s to go at {} a second", bytes(shrinks)),
        None => "does not catch up".to_owned(),
    }
}

/// What this family finds.
pub(super) const CATALOGUE: &[Entry] = &[
    Entry {
        code: "PGS-CLONING",
        severity: Severity::Waiting,
        depth: Depth::Member,
        title: "a member is being cloned",
        meaning: "The member copies the primary's data.",
        known_by: "pg_stat_progress_basebackup on the primary.",
        fix: "Nothing is wrong: a clone takes as long as the data is large.",
        doubt: "The total is PostgreSQL's estimate from the beginning.",
    },
    Entry {
        code: "PGS-REPLICATION-PASSWORD",
        severity: Severity::Blocking,
        depth: Depth::Database,
        title: "the replication password is not the database's",
        meaning: "A replica cannot log in to its primary.",
        known_by: "The replica's log, or its start script: password authentication failed.",
        fix: "Give the Secret's password to the database, or put the old one back into the Secret.",
        doubt: "None known: the primary said so.",
    },
    Entry {
        code: "PGS-REPLICATION-ROLE",
        severity: Severity::Blocking,
        depth: Depth::Database,
        title: "the replication role may not log in or replicate",
        meaning: "The role exists without LOGIN or REPLICATION, or does not exist.",
        known_by: "The replica's log, in the primary's words.",
        fix: "ALTER ROLE replicator LOGIN REPLICATION on the primary.",
        doubt: "None known: the primary said so.",
    },
    Entry {
        code: "PGS-REPLICATION-HBA",
        severity: Severity::Blocking,
        depth: Depth::Database,
        title: "pg_hba.conf does not let the replica in",
        meaning: "The primary's pg_hba.conf has no line for replication from the members.",
        known_by: "The replica's log: no pg_hba.conf entry.",
        fix: "Put the replication line back and run pgset up.",
        doubt: "None known: the primary said so.",
    },
    Entry {
        code: "PGS-WAL-REMOVED",
        severity: Severity::Blocking,
        depth: Depth::Database,
        title: "the replica needs WAL that is gone",
        meaning: "A replica was away, or too slow, for longer than the primary keeps its log.",
        known_by: "The replica's log: requested WAL segment has already been removed.",
        fix: "Delete its pod: it is cloned again, and the old folder stays beside the new one.",
        doubt: "A replica that has not streamed since it started is cloned again by itself.",
    },
    Entry {
        code: "PGS-OTHER-TIMELINE",
        severity: Severity::Blocking,
        depth: Depth::Database,
        title: "the replica's data went another way",
        meaning: "The replica is on a timeline that is not in its primary's history.",
        known_by: "The replica's log, in the words of PostgreSQL's recovery.",
        fix: "Make sure that the primary is the one you want; then delete the replica's pod.",
        doubt: "During a switchover a replica may say so for a moment.",
    },
    Entry {
        code: "PGS-VOLUME-FULL",
        severity: Severity::Blocking,
        depth: Depth::Member,
        title: "the member's volume is full",
        meaning: "PostgreSQL or the start script cannot write for want of space or of inodes.",
        known_by: "The member's log: No space left on device, or the start script's own count.",
        fix: "Make room on the volume or give it more.",
        doubt: "Somebody may have made room meanwhile; the next try tells.",
    },
    Entry {
        code: "PGS-STANDBY-SETTINGS",
        severity: Severity::Blocking,
        depth: Depth::Database,
        title: "the replica has less than its primary",
        meaning: "A setting such as max_connections is lower on the replica, which cannot replay beyond the change.",
        known_by: "The settings of both, as they answered.",
        fix: "Raise the setting for all members with --set-parameter.",
        doubt: "While it still streams, the set is healthy and this is a warning only.",
    },
    Entry {
        code: "PGS-REPLAY-PAUSED",
        severity: Severity::Warning,
        depth: Depth::Database,
        title: "the replica's replay is paused",
        meaning: "Somebody paused recovery: the replica receives the log but does not apply it.",
        known_by: "pg_is_wal_replay_paused() on the replica.",
        fix: "select pg_wal_replay_resume().",
        doubt: "A backup tool may have paused it on purpose.",
    },
    Entry {
        code: "PGS-FAR-BEHIND",
        severity: Severity::Warning,
        depth: Depth::Database,
        title: "a replica is far behind",
        meaning: "A replica is 64 MB of log or a minute behind the primary, so reads from it are old.",
        known_by: "The positions of both, asked twice to see the trend.",
        fix: "Look for a long query on the replica, or at the network.",
        doubt: "After a large load a replica needs a while to catch up.",
    },
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::observation::{Answer, CloneProgress, Standby, WalReceiver};
    use super::super::testing::{event, noon, pod, seen};
    use super::*;

    /// A set whose replica runs; `started` when it has streamed before.
    fn late(started: bool, log: &[&str]) -> Observation {
        let running = json!({"started": started, "state": {"running": {}}});
        let mut replica = pod("pgset-1", running);
        replica["status"]["podIPs"] = json!([{"ip": "10.0.0.7"}]);
        let mut seen = seen(json!([replica]), json!([]));
        let lines = log.iter().map(ToString::to_string).collect();
        seen.running_logs.insert("pgset-1".to_owned(), lines);
        seen.late_since.insert("pgset-1".to_owned(), noon());
        seen.answers.insert("pgset-0".to_owned(), Answer::Answered(Box::default()));
        seen
    }

    fn replica(change: impl FnOnce(&mut Server)) -> Answer {
        let receiver = WalReceiver { status: "streaming".to_owned(), ..WalReceiver::default() };
        let mut server = Server { in_recovery: true, wal_receiver: Some(receiver), ..Server::default() };
        change(&mut server);
        Answer::Answered(Box::new(server))
    }

    fn found(seen: &Observation) -> Vec<Finding> {
        findings(&Asked { seen, since: None })
    }

    #[test]
    fn each_cause_in_the_words_of_the_log_has_its_code_and_ends_a_wait_after_its_grace() {
        let at = "2026-11-24 12:00:00.000 UTC [33] ";
        let connect = "FATAL:  could not connect to the primary server: connection to server at \"pgset-master.default.svc.cluster.local.\" (10.96.0.1), port 5432 failed: ";
        for (line, code, fix) in [
            (
                format!("{at}{connect}FATAL:  password authentication failed for user \"replicator\""),
                "PGS-REPLICATION-PASSWORD",
                "\\password replicator",
            ),
            (
                format!("{at}{connect}FATAL:  role \"replicator\" is not permitted to log in"),
                "PGS-REPLICATION-ROLE",
                "ALTER ROLE replicator LOGIN REPLICATION",
            ),
            (
                format!("{at}{connect}FATAL:  permission denied to start WAL sender"),
                "PGS-REPLICATION-ROLE",
                "ALTER ROLE",
            ),
            (
                format!(
                    "{at}{connect}FATAL:  no pg_hba.conf entry for replication connection from host \"10.0.0.7\", user \"replicator\", no encryption"
                ),
                "PGS-REPLICATION-HBA",
                "host replication",
            ),
            (
                format!(
                    "{at}FATAL:  could not receive data from WAL stream: ERROR:  requested WAL segment 000000010000000000000005 has already been removed"
                ),
                "PGS-WAL-REMOVED",
                "delete pod pgset-1",
            ),
            (
                format!("{at}FATAL:  highest timeline 1 of the primary is behind recovery timeline 2"),
                "PGS-OTHER-TIMELINE",
                "the primary you want",
            ),
            (
                format!(
                    "{at}LOG:  new timeline 2 forked off current database system timeline 1 before current recovery point 0/5000098"
                ),
                "PGS-OTHER-TIMELINE",
                "the primary you want",
            ),
            (
                format!("{at}FATAL:  database system identifier differs between the primary and standby"),
                "PGS-OTHER-SYSTEM",
                "move /pgdata/pgset-1 aside",
            ),
            (
                format!("{at}FATAL:  could not write to file \"pg_wal/xlogtemp.33\": No space left on device"),
                "PGS-VOLUME-FULL",
                "df -h /pgdata",
            ),
        ] {
            let seen = late(
                true,
                &[
                    &format!("{at}LOG:  waiting"),
                    &line,
                    &format!("{at}LOG:  waiting for WAL to become available at 0/5002000"),
                ],
            );
            let found = &found(&seen)[0];
            assert_eq!((found.code, found.object.name.as_str()), (code, "pgset-1"), "{line}");
            assert!(found.fix.iter().any(|line| line.contains(fix)), "{:?}", found.fix);
            assert!(!found.ends_wait(noon() + GRACE - SignedDuration::from_millis(1)), "{code}");
            assert!(found.ends_wait(noon() + GRACE), "{code}");
        }
    }

    #[test]
    fn names_that_do_not_exist_yet_are_no_dead_dns_but_an_unknown_service_is() {
        let at = "2026-11-24 12:00:00.000 UTC [33] FATAL:  could not connect to the primary server: ";
        let refused = format!(
            "{at}connection to server at \"pgset-master.default\" (10.0.0.1), port 5432 failed: Connection refused"
        );
        let unknown = "\tcould not translate host name \"pgset-3.pgset.default\" to address: Name or service not known";
        assert!(found(&late(true, &[&refused, unknown])).is_empty());
        let dead = format!("{at}could not translate host name \"pgset-master.default\" to address: Temporary failure");
        let found = &found(&late(true, &[&dead, unknown]))[0];
        assert_eq!(found.code, "PGS-DNS");
        assert!(!found.ends_wait(noon() + DNS_GRACE - SignedDuration::from_millis(1)));
        assert!(found.ends_wait(noon() + DNS_GRACE));
    }

    #[test]
    fn only_the_servers_own_newest_words_count() {
        let at = "2026-11-24 12:00:00.000 UTC [33] ";
        let client = format!("{at}testuser@userdb FATAL:  password authentication failed for user \"testuser\"");
        assert!(found(&late(true, &[&client])).is_empty());
        let old =
            format!("{at}FATAL:  could not connect: FATAL:  password authentication failed for user \"replicator\"");
        let new = format!("{at}FATAL:  could not connect to the primary server: Connection refused");
        assert!(found(&late(true, &[&old, &new])).is_empty());
        assert_eq!(found(&late(true, &[&new, &old]))[0].code, "PGS-REPLICATION-PASSWORD");
    }

    #[test]
    fn what_the_start_script_mends_by_itself_is_waited_for() {
        let removed = "2026-11-24 12:00:00.000 UTC [33] FATAL:  could not receive data from WAL stream: ERROR:  requested WAL segment 000000010000000000000005 has already been removed";
        let found = &found(&late(false, &[removed]))[0];
        assert_eq!((found.code, found.severity), ("PGS-WAL-REMOVED", Severity::Waiting));
    }

    #[test]
    fn the_start_scripts_own_words_count_while_it_waits() {
        let log = "pgset: pgset-1 has no data yet: waiting for the primary to clone it from: a member refuses the password of the replication user \"replicator\"";
        assert_eq!(found(&late(false, &[log]))[0].code, "PGS-REPLICATION-PASSWORD");
        let mut spoken = late(false, &[]);
        let message = "Startup probe failed: the replica does not stream: DNS does not know pgset-master";
        spoken.events = vec![serde_json::from_value(event("Pod", "pgset-1", "Unhealthy", message)).unwrap()];
        assert_eq!(found(&spoken)[0].code, "PGS-DNS");
        let waiting = "pgset: pgset-1 has no data yet: waiting for the primary to clone it from: no member of pgset answers as the primary";
        assert!(found(&late(false, &[waiting])).is_empty());
    }

    #[test]
    fn a_clone_is_only_waited_for_and_says_how_far_it_is() {
        let mut seen = late(false, &[]);
        let clone =
            CloneProgress { client: "10.0.0.7".to_owned(), bytes_done: 1288 << 20, bytes_total: Some(3482 << 20) };
        let server = Server { clones: vec![clone], ..Server::default() };
        seen.answers.insert("pgset-0".to_owned(), Answer::Answered(Box::new(server)));
        let found = &found(&seen)[0];
        assert_eq!((found.code, found.severity), ("PGS-CLONING", Severity::Waiting));
        assert_eq!(found.summary, "the member is being cloned: 1.2 GB of 3.4 GB");
    }

    #[test]
    fn a_replica_with_less_than_its_primary_is_named_with_the_setting() {
        let mut seen = late(true, &[]);
        let limits = |max: u64| [("max_connections".to_owned(), max)].into();
        let primary = Server { limits: limits(150), ..Server::default() };
        seen.answers.insert("pgset-0".to_owned(), Answer::Answered(Box::new(primary)));
        seen.answers.insert(
            "pgset-1".to_owned(),
            replica(|server| {
                server.limits = limits(100);
                server.replay_paused = true;
            }),
        );
        let streaming = &found(&seen)[0];
        assert_eq!((streaming.code, streaming.severity), ("PGS-STANDBY-SETTINGS", Severity::Warning));
        assert!(streaming.summary.contains("max_connections = 100, less than its primary's 150"));
        assert!(streaming.fix[0].contains("--set-parameter max_connections=150"));
        seen.answers.insert(
            "pgset-1".to_owned(),
            replica(|server| {
                server.limits = limits(100);
                server.wal_receiver = None;
            }),
        );
        let stopped = &found(&seen)[0];
        assert!(!stopped.ends_wait(noon()) && stopped.ends_wait(noon() + GRACE));
        seen.answers.insert("pgset-1".to_owned(), replica(|server| server.limits = limits(150)));
        assert!(found(&seen).is_empty());
    }

    #[test]
    fn a_paused_replay_is_a_warning_with_the_command_that_ends_it() {
        let mut seen = late(true, &[]);
        seen.answers.insert("pgset-1".to_owned(), replica(|server| server.replay_paused = true));
        let found = &found(&seen)[0];
        assert_eq!((found.code, found.severity), ("PGS-REPLAY-PAUSED", Severity::Warning));
        assert!(found.fix[0].contains("pg_wal_replay_resume()"));
    }

    #[test]
    fn a_replica_far_behind_is_told_with_its_trend_from_the_threshold_on_and_never_in_a_wait() {
        let far = |behind: u64, ms: u64| {
            let mut seen = late(true, &[]);
            let row = Standby { application_name: "pgset-1".to_owned(), replay_lag_ms: Some(ms), ..Standby::default() };
            let primary = Server { lsn: super::super::super::Lsn(1 << 40), standbys: vec![row], ..Server::default() };
            let at = super::super::super::Lsn((1 << 40) - behind);
            seen.answers.insert("pgset-0".to_owned(), Answer::Answered(Box::new(primary)));
            seen.answers.insert("pgset-1".to_owned(), replica(|server| server.lsn = at));
            seen
        };
        assert!(found(&far(FAR_BYTES - 1, FAR_MS - 1)).is_empty());
        assert_eq!(found(&far(1, FAR_MS))[0].code, "PGS-FAR-BEHIND");
        let mut seen = far(FAR_BYTES, 3000);
        seen.behind_before.insert("pgset-1".to_owned(), (FAR_BYTES - (10 << 20), 1000));
        assert_eq!(
            found(&seen)[0].summary,
            "the replica is 64 MB, 3 s behind pgset-0, and falls behind by 10 MB more a second"
        );
        seen.behind_before.insert("pgset-1".to_owned(), (FAR_BYTES + (16 << 20), 2000));
        assert!(found(&seen)[0].summary.ends_with("catches up: 8 s to go at 8 MB a second"));
        assert!(findings(&Asked { seen: &seen, since: Some(noon()) }).is_empty());
    }

    #[test]
    fn a_replica_that_streams_is_no_finding_whatever_its_log_says() {
        let mut seen = late(
            true,
            &["2026-11-24 12:00:00.000 UTC [33] FATAL:  password authentication failed for user \"replicator\""],
        );
        seen.answers.insert("pgset-1".to_owned(), replica(|_| ()));
        assert!(found(&seen).is_empty());
    }
}
