//! The set is healthy, but somebody who looks after it should know: what fills the disk, runs out, or hides.

use super::super::bytes;
use super::super::identity::is_crunchy;
use super::super::observation::{Observation, Upkeep};
use super::{Asked, Depth, Entry, Finding, Severity};

/// What a slot may keep before it is worth a word: a replica that was away for a moment needs no more.
const SLOT_BYTES: u64 = 64 << 20;

/// Nine tenths of the connections: the next wave of clients is refused.
const CONNECTIONS: (u64, u64) = (9, 10);

/// PostgreSQL itself warns 40 million transactions before it stops taking them at two billion. One and a half times the
/// age at which autovacuum begins to freeze whatever else it does, it has been kept from it for long.
const AGE: (u64, u64) = (3, 2);

pub(super) fn findings(asked: &Asked<'_>) -> Vec<Finding> {
    asked.seen.upkeep.iter().flat_map(|(member, upkeep)| of_member(asked.seen, member, upkeep)).collect()
}

fn of_member(seen: &Observation, member: &str, upkeep: &Upkeep) -> Vec<Finding> {
    let exec = format!("kubectl -n {} exec {member} -c pgset --", seen.namespace);
    let psql = format!("{exec} psql -U postgres -c");
    let about = |code, summary: String| Finding::new(code, Severity::Warning, "Pod", member, summary);
    let mut found = Vec::new();
    for slot in upkeep.slots.iter().filter(|slot| slot.retained >= SLOT_BYTES) {
        let kept = bytes(slot.retained);
        let state = if slot.active { "" } else { ", and nobody uses it" };
        let finding = about("PGS-SLOT-HOLDS-WAL", format!("replication slot {} keeps {kept} of WAL{state}", slot.name));
        found.push(finding.fix(format!(
            "if its reader is gone for good: {psql} \"select pg_drop_replication_slot('{}')\"",
            slot.name
        )));
    }
    for (database, failures) in &upkeep.checksum_failures {
        let finding =
            about("PGS-CHECKSUM-FAILURES", format!("{failures} data pages of {database} failed their checksum"));
        found.push(
            finding
                .evidence(format!("pg_stat_database.checksum_failures = {failures}"))
                .fix("the storage under this member returns other data than was written: take a backup of the healthy members now")
                .fix(format!("a replica is cloned again with its folder moved aside; which relation it is, is in the log: kubectl -n {} logs {member}", seen.namespace)),
        );
    }
    if upkeep.connections_allowed > 0
        && upkeep.connections * CONNECTIONS.1 >= upkeep.connections_allowed * CONNECTIONS.0
    {
        let summary = format!("{} of {} connections are in use", upkeep.connections, upkeep.connections_allowed);
        let who =
            "select usename, application_name, state, count(*) from pg_stat_activity group by 1, 2, 3 order by 4 desc";
        found.push(
            about("PGS-CONNECTIONS-LOW", summary)
                .fix(format!("see who has them: {psql} \"{who}\""))
                .fix("allow more: pgset up --set-parameter max_connections=…, or put a connection pool before it"),
        );
    }
    let old = upkeep.oldest_age * AGE.1 >= upkeep.freeze_age * AGE.0;
    // A replica has its primary's; once is enough.
    if upkeep.freeze_age > 0 && old && seen.server(member).is_none_or(|server| !server.in_recovery) {
        let database = &upkeep.oldest_database;
        let summary = format!(
            "the oldest transaction of database {database} is {} transactions old: PostgreSQL stops at two thousand million",
            count(upkeep.oldest_age)
        );
        let holders = "select pid, backend_xmin, state, query from pg_stat_activity where backend_xmin is not null order by age(backend_xmin) desc";
        found.push(
            about("PGS-TRANSACTION-AGE", summary)
                .fix(format!("find what keeps autovacuum from freezing (a long transaction, a slot, a prepared one): {psql} \"{holders}\""))
                .fix(format!("then: {exec} vacuumdb -U postgres --freeze {database}")),
        );
    }
    // A Crunchy image logs to a file by design, and the start script shows it.
    let by_design = seen.stateful_set.as_ref().is_some_and(is_crunchy);
    if let Some(file) = upkeep.log_file.as_ref().filter(|_| !by_design) {
        let summary = "PostgreSQL's log goes to a file in the pod, not to the pod's log: what goes wrong is not seen from outside";
        found.push(
            about("PGS-LOG-HIDDEN", summary.to_owned())
                .evidence(format!("logging_collector = on; the log is {file} in the data folder"))
                .fix(format!("read it: {exec} tail -n 50 /pgdata/{member}/{file}"))
                .fix("send it to the pod's log: pgset up --set-parameter logging_collector=off"),
        );
    }
    found
}

/// `150 thousand`, `300 million`.
fn count(number: u64) -> String {
    match number {
        0..10_000 => number.to_string(),
        10_000..10_000_000 => format!("{} thousand", number / 1000),
        _ => format!("{} million", number / 1_000_000),
    }
}

/// What this family finds.
pub(super) const CATALOGUE: &[Entry] = &[
    Entry {
        code: "PGS-SLOT-HOLDS-WAL",
        severity: Severity::Warning,
        depth: Depth::Database,
        title: "a replication slot keeps WAL",
        meaning: "The primary keeps its log for a slot and may run out of disk.",
        known_by: "pg_replication_slots.restart_lsn.",
        fix: "Drop the slot if its reader is gone for good.",
        doubt: "Its reader may only be away for a while.",
    },
    Entry {
        code: "PGS-CHECKSUM-FAILURES",
        severity: Severity::Warning,
        depth: Depth::Database,
        title: "data pages are damaged",
        meaning: "The storage returned other data than was written.",
        known_by: "pg_stat_database.checksum_failures.",
        fix: "Back up the healthy members now; clone a damaged replica again.",
        doubt: "The count stays until the statistics are reset.",
    },
    Entry {
        code: "PGS-CONNECTIONS-LOW",
        severity: Severity::Warning,
        depth: Depth::Database,
        title: "nearly all connections are in use",
        meaning: "The next clients will be refused.",
        known_by: "pg_stat_activity beside max_connections.",
        fix: "Raise max_connections, or use a connection pool.",
        doubt: "A short peak.",
    },
    Entry {
        code: "PGS-TRANSACTION-AGE",
        severity: Severity::Warning,
        depth: Depth::Database,
        title: "old transactions are not frozen",
        meaning: "PostgreSQL stops taking transactions at two thousand million; something keeps autovacuum from its work.",
        known_by: "age(datfrozenxid) beside autovacuum_freeze_max_age.",
        fix: "End what holds the oldest transaction, then vacuum with freeze.",
        doubt: "A freeze may be under way.",
    },
    Entry {
        code: "PGS-LOG-HIDDEN",
        severity: Severity::Warning,
        depth: Depth::Database,
        title: "the log goes to a file in the pod",
        meaning: "The logging collector is on: what goes wrong is not in the pod's log.",
        known_by: "logging_collector and pg_current_logfile().",
        fix: "Turn it off with --set-parameter logging_collector=off, or read the file.",
        doubt: "Somebody may ship the file elsewhere.",
    },
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::observation::Slot;
    use super::super::testing::seen;
    use super::*;

    fn found(change: impl FnOnce(&mut Upkeep)) -> Vec<&'static str> {
        let mut upkeep = Upkeep {
            connections: 1,
            connections_allowed: 100,
            oldest_database: "userdb".to_owned(),
            freeze_age: 200_000_000,
            ..Upkeep::default()
        };
        change(&mut upkeep);
        let mut seen = seen(json!([]), json!([]));
        seen.upkeep.insert("pgset-0".to_owned(), upkeep);
        let found = findings(&Asked { seen: &seen, since: None });
        assert!(found.iter().all(|finding| finding.severity == Severity::Warning && !finding.fix.is_empty()));
        found.into_iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn each_warning_begins_at_its_threshold() {
        assert!(found(|_| ()).is_empty());
        let slot = |retained| vec![Slot { name: "old".to_owned(), active: false, retained }];
        assert!(found(|upkeep| upkeep.slots = slot(SLOT_BYTES - 1)).is_empty());
        assert_eq!(found(|upkeep| upkeep.slots = slot(SLOT_BYTES)), ["PGS-SLOT-HOLDS-WAL"]);
        assert_eq!(
            found(|upkeep| upkeep.checksum_failures = [("userdb".to_owned(), 1)].into()),
            ["PGS-CHECKSUM-FAILURES"]
        );
        assert!(found(|upkeep| upkeep.connections = 89).is_empty());
        assert_eq!(found(|upkeep| upkeep.connections = 90), ["PGS-CONNECTIONS-LOW"]);
        assert!(found(|upkeep| upkeep.oldest_age = 299_999_999).is_empty());
        assert_eq!(found(|upkeep| upkeep.oldest_age = 300_000_000), ["PGS-TRANSACTION-AGE"]);
        assert_eq!(found(|upkeep| upkeep.log_file = Some("log/x.log".to_owned())), ["PGS-LOG-HIDDEN"]);
    }
}
