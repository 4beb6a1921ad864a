//! The questions a member is asked, and the reading of its answers.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::set::Lsn;
use crate::set::observation::{CloneProgress, Server, Slot, Standby, Upkeep, WalReceiver};

/// PostgreSQL's version, as far as the questions depend on it: 9.5 and 9.6 differ, from 10 on the first number counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release {
    major: u32,
    /// 0 from 10 on.
    minor: u32,
}

impl Release {
    /// Reads `server_version`, such as `9.5.25` or `17.2 (Debian …)`; an unreadable one is older than every other.
    #[must_use]
    pub fn of(server_version: &str) -> Self {
        let mut numbers = server_version.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse().unwrap_or(0));
        let (major, minor) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        Self { major, minor: if major < 10 { minor } else { 0 } }
    }

    fn since(self, major: u32, minor: u32) -> bool {
        self >= Self { major, minor }
    }

    /// The question in this version's words: it is written in those of 10 and later.
    fn words(self, sql: &str) -> String {
        if self.since(10, 0) {
            return sql.to_owned();
        }
        let old = [
            ("pg_walfile_name", "pg_xlogfile_name"),
            ("pg_current_wal_lsn", "pg_current_xlog_location"),
            ("pg_last_wal_replay_lsn", "pg_last_xlog_replay_location"),
            ("pg_is_wal_replay_paused", "pg_is_xlog_replay_paused"),
            ("pg_wal_lsn_diff", "pg_xlog_location_diff"),
            ("replay_lsn", "replay_location"),
            ("replay_lag", "null::interval"),
            ("backend_type = 'client backend'", "pid is not null"),
        ];
        old.iter().fold(sql.to_owned(), |sql, (new, old)| sql.replace(new, old))
    }
}

/// The question that is asked all the time while members join: one row with one JSON document, so that a probe is one
/// round trip. Works on every PostgreSQL since 9.5: columns that were renamed since 10 are taken as whole rows and read by
/// either name, and what older ones lack is asked only where it is.
#[must_use]
pub fn sql(release: Release) -> String {
    let (system, timeline, receiver) = if release.since(9, 6) { (SYSTEM, TIMELINE, RECEIVER) } else { CONTROL_FILE };
    let sql = SQL.replace("{clones}", if release.since(13, 0) { CLONES } else { "'[]'::json" });
    release.words(&sql.replace("{system}", system).replace("{timeline}", timeline).replace("{receiver}", receiver))
}

const SYSTEM: &str = "(select system_identifier::text from pg_control_system())";
/// Of a standby that receives nothing, the control file tells: its checkpoint may be older than the last change of timeline.
const TIMELINE: &str = "coalesce((select received_tli from pg_stat_wal_receiver),
     (select greatest(timeline_id, min_recovery_end_timeline) from pg_control_checkpoint(), pg_control_recovery()))";
const RECEIVER: &str = "(select to_json(r) from pg_stat_wal_receiver r)";

/// The same three on 9.5, which has none of these views. Its control file begins with the system identifier and has the
/// checkpoint's timeline at byte 56; a standby that has received WAL has a receiver, of which nothing else is known.
const CONTROL_FILE: (&str, &str, &str) = (
    "(select sum(get_byte(file, byte)::bigint << (8 * byte))::text
      from pg_read_binary_file('global/pg_control', 0, 8) file, generate_series(0, 7) byte)",
    "(select sum(get_byte(file, byte)::bigint << (8 * byte))::int
      from pg_read_binary_file('global/pg_control', 56, 4) file, generate_series(0, 3) byte)",
    "case when pg_last_xlog_receive_location() is not null then json_build_object('status', 'untold') end",
);

const CLONES: &str = "(select coalesce(json_agg(json_build_object(
       'client', (select host(client_addr) from pg_stat_activity where pg_stat_activity.pid = progress.pid),
       'bytesDone', backup_streamed, 'bytesTotal', backup_total)), '[]')
     from pg_stat_progress_basebackup progress)";

const SQL: &str = "
select json_build_object(
  'version', current_setting('server_version'),
  'inRecovery', pg_is_in_recovery(),
  'systemIdentifier', {system},
  'timeline', case when pg_is_in_recovery()
     then {timeline}
     else ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int end,
  'lsn', case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end,
  'replayAgeMs', case when pg_is_in_recovery()
     then greatest(0, extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp()) * 1000)::bigint end,
  'replayPaused', case when pg_is_in_recovery() then pg_is_wal_replay_paused() else false end,
  'receiver', {receiver},
  'standbys', (select coalesce(json_agg(json_build_object(
       'applicationName', application_name, 'client', host(client_addr), 'state', state, 'syncState', sync_state,
       'replayLsn', replay_lsn,
       'replayLagMs', (extract(epoch from replay_lag) * 1000)::bigint) order by application_name), '[]')
     from pg_stat_replication),
  'clones', {clones},
  'limits', json_build_object('max_connections', current_setting('max_connections')::bigint,
     'max_worker_processes', current_setting('max_worker_processes')::bigint,
     'max_wal_senders', current_setting('max_wal_senders')::bigint,
     'max_prepared_transactions', current_setting('max_prepared_transactions')::bigint,
     'max_locks_per_transaction', current_setting('max_locks_per_transaction')::bigint))::text";

/// What only `status` asks: it looks at every session, slot and database.
#[must_use]
pub fn upkeep(release: Release) -> String {
    let checksums = if release.since(12, 0) { CHECKSUMS } else { "'{}'::json" };
    let reserved = if release.since(16, 0) { "current_setting('reserved_connections')::bigint" } else { "0" };
    let log_file = if release.since(10, 0) {
        "coalesce(pg_current_logfile(), current_setting('log_directory'))"
    } else {
        "current_setting('log_directory')"
    };
    let sql = UPKEEP.replace("{checksums}", checksums).replace("{reserved}", reserved).replace("{log_file}", log_file);
    release.words(&sql)
}

const CHECKSUMS: &str =
    "(select coalesce(json_object_agg(coalesce(datname, 'the shared tables'), checksum_failures), '{}')
     from pg_stat_database where checksum_failures > 0)";

const UPKEEP: &str = "
select json_build_object(
  'slots', (select coalesce(json_agg(json_build_object('name', slot_name, 'active', active,
       'retained', greatest(0, pg_wal_lsn_diff(case when pg_is_in_recovery() then pg_last_wal_replay_lsn()
          else pg_current_wal_lsn() end, restart_lsn))::bigint) order by slot_name), '[]')
     from pg_replication_slots where restart_lsn is not null),
  'checksumFailures', {checksums},
  'connections', (select count(*) from pg_stat_activity where backend_type = 'client backend'),
  'connectionsAllowed', current_setting('max_connections')::bigint
     - current_setting('superuser_reserved_connections')::bigint - {reserved},
  'oldestDatabase', (select datname from pg_database order by age(datfrozenxid) desc limit 1),
  'oldestAge', (select max(age(datfrozenxid)) from pg_database),
  'freezeAge', current_setting('autovacuum_freeze_max_age')::bigint,
  'logFile', case when current_setting('logging_collector')::bool then {log_file} end)::text";

/// The end of the log file, where the log does not go to the container's own.
#[must_use]
pub fn log_file(release: Release) -> String {
    let name = if release.since(10, 0) { "pg_current_logfile()" } else { NEWEST_FILE };
    LOG_FILE.replace("{name}", name)
}

/// Before 10 nobody tells which file it is: the one written to last. It may be away again when it is looked at.
const NEWEST_FILE: &str = "(select path from (select current_setting('log_directory') || '/' || file as path
       from pg_ls_dir(current_setting('log_directory'), true, false) file) files, pg_stat_file(path, true) stat
     order by stat.modification desc nulls last limit 1)";

const LOG_FILE: &str = "
select pg_read_file(name, greatest(0, size - 8192), 8192)
  from (select {name} as name) newest, pg_stat_file(name, true)
 where current_setting('logging_collector')::bool and name is not null and size is not null";

/// Reads the document [`sql`] returns.
///
/// # Errors
/// What is missing or of the wrong type.
pub fn read(text: &str) -> Result<Server, String> {
    let answer: Value = serde_json::from_str(text).map_err(|error| format!("unreadable answer: {error}"))?;
    let text = |key: &str| answer[key].as_str().map(str::to_owned).ok_or_else(|| format!("the answer lacks {key}"));
    let flag = |key: &str| answer[key].as_bool().ok_or_else(|| format!("the answer lacks {key}"));
    let standbys = answer["standbys"].as_array().ok_or("the answer lacks standbys")?;
    let timeline = answer["timeline"].as_u64().and_then(|number| u32::try_from(number).ok());
    Ok(Server {
        version: text("version")?,
        in_recovery: flag("inRecovery")?,
        system_identifier: text("systemIdentifier")?,
        timeline: timeline.ok_or("the answer lacks timeline")?,
        // A replica that has replayed nothing yet has no position.
        lsn: lsn(&answer["lsn"]).unwrap_or_default(),
        replay_age_ms: answer["replayAgeMs"].as_u64(),
        replay_paused: flag("replayPaused")?,
        wal_receiver: answer["receiver"].as_object().map(|_| receiver(&answer["receiver"])),
        standbys: standbys.iter().map(standby).collect(),
        clones: rows(&answer["clones"]).iter().map(clone_progress).collect(),
        limits: numbers(&answer["limits"]),
    })
}

/// Reads the document [`upkeep`] returns.
///
/// # Errors
/// It is no JSON.
pub fn read_upkeep(text: &str) -> Result<Upkeep, String> {
    let answer: Value = serde_json::from_str(text).map_err(|error| format!("unreadable answer: {error}"))?;
    let number = |key: &str| answer[key].as_u64().unwrap_or_default();
    Ok(Upkeep {
        slots: rows(&answer["slots"]).iter().map(slot).collect(),
        checksum_failures: numbers(&answer["checksumFailures"]),
        connections: number("connections"),
        connections_allowed: number("connectionsAllowed"),
        oldest_database: answer["oldestDatabase"].as_str().unwrap_or_default().to_owned(),
        oldest_age: number("oldestAge"),
        freeze_age: number("freezeAge"),
        log_file: answer["logFile"].as_str().map(str::to_owned),
    })
}

fn rows(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn numbers(value: &Value) -> BTreeMap<String, u64> {
    let fields = value.as_object().into_iter().flatten();
    fields.filter_map(|(name, value)| Some((name.clone(), value.as_u64()?))).collect()
}

fn slot(row: &Value) -> Slot {
    Slot {
        name: row["name"].as_str().unwrap_or_default().to_owned(),
        active: row["active"].as_bool().unwrap_or_default(),
        retained: row["retained"].as_u64().unwrap_or_default(),
    }
}

fn clone_progress(row: &Value) -> CloneProgress {
    CloneProgress {
        client: row["client"].as_str().unwrap_or_default().to_owned(),
        bytes_done: row["bytesDone"].as_u64().unwrap_or_default(),
        bytes_total: row["bytesTotal"].as_u64(),
    }
}

fn receiver(row: &Value) -> WalReceiver {
    let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
    WalReceiver {
        status: text("status"),
        sender_host: text("sender_host"),
        // `received_lsn` in 12, `flushed_lsn` since 13.
        received_lsn: lsn(&row["flushed_lsn"]).or_else(|| lsn(&row["received_lsn"])),
    }
}

fn standby(row: &Value) -> Standby {
    let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
    Standby {
        application_name: text("applicationName"),
        client: row["client"].as_str().map(str::to_owned),
        state: text("state"),
        sync_state: text("syncState"),
        replay_lsn: lsn(&row["replayLsn"]),
        replay_lag_ms: row["replayLagMs"].as_u64(),
    }
}

fn lsn(value: &Value) -> Option<Lsn> {
    value.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_primary_and_a_replica() {
        let primary = r#"{"version":"17.6","inRecovery":false,"systemIdentifier":"7446744073709551615","timeline":1,
            "lsn":"0/3000148","replayAgeMs":null,"replayPaused":false,"receiver":null,"standbys":[
            {"applicationName":"pgset-1","state":"streaming","syncState":"async","replayLsn":"0/3000148","replayLagMs":3}]}"#;
        let primary = read(primary).unwrap();
        assert_eq!((primary.in_recovery, primary.timeline, primary.standbys[0].replay_lag_ms), (false, 1, Some(3)));
        let replica = r#"{"version":"12.1","inRecovery":true,"systemIdentifier":"1","timeline":2,"lsn":null,"replayAgeMs":7,
            "replayPaused":true,"receiver":{"status":"streaming","sender_host":"pgset-0.pgset","received_lsn":"0/5"},"standbys":[]}"#;
        let replica = read(replica).unwrap();
        assert_eq!(replica.wal_receiver.unwrap().received_lsn, Some(Lsn(5)));
        assert_eq!((replica.lsn, replica.replay_age_ms), (Lsn(0), Some(7)));
    }

    #[test]
    fn reads_how_far_a_clone_is_and_what_a_standby_needs() {
        let primary = r#"{"version":"17.6","inRecovery":false,"systemIdentifier":"1","timeline":1,"lsn":"0/3","standbys":[],
            "replayPaused":false,"clones":[{"client":"10.0.0.2","bytesDone":5,"bytesTotal":null}],"limits":{"max_connections":100}}"#;
        let primary = read(primary).unwrap();
        assert_eq!((primary.clones[0].bytes_done, primary.clones[0].bytes_total), (5, None));
        assert_eq!(primary.limits["max_connections"], 100);
        let asks = |version: &str| sql(Release::of(version)).contains("pg_stat_progress_basebackup");
        assert!(asks("13.1") && !asks("12.22"));
    }

    #[test]
    fn reads_what_only_a_keeper_wants_to_know() {
        let upkeep = r#"{"slots":[{"name":"old","active":false,"retained":7}],"checksumFailures":{"userdb":2},"connections":3,
            "connectionsAllowed":97,"oldestDatabase":"userdb","oldestAge":9,"freezeAge":200000000,"logFile":"log/x.log"}"#;
        let upkeep = read_upkeep(upkeep).unwrap();
        assert_eq!((upkeep.slots[0].retained, upkeep.checksum_failures["userdb"]), (7, 2));
        assert_eq!(upkeep.log_file.as_deref(), Some("log/x.log"));
    }

    #[test]
    fn every_version_is_asked_in_its_own_words() {
        let release = Release::of;
        assert!(
            release("9.5.25") < release("9.6")
                && release("9.6.24") < release("10.4")
                && release("10.4") == release("10")
        );
        assert_eq!(release("17.2 (Debian 17.2-1.pgdg120+1)"), release("17"));
        assert_eq!(release(""), Release::default());
        for (version, old, new) in
            [("9.5.3", true, false), ("9.6.24", true, false), ("10.23", false, true), ("18", false, true)]
        {
            let all = sql(release(version)) + &upkeep(release(version)) + &log_file(release(version));
            assert!(!all.contains('{') || !all.contains("{name}") && !all.contains("{system}"), "{version}: {all}");
            assert_eq!(all.contains("xlog") || all.contains("replay_location"), old, "{version}");
            assert_eq!(all.contains("wal_lsn") && all.contains("replay_lag"), new, "{version}");
        }
        assert!(
            sql(release("9.5.3")).contains("global/pg_control") && !sql(release("9.6.1")).contains("global/pg_control")
        );
        assert!(!sql(release("9.5.3")).contains("pg_stat_wal_receiver"));
    }

    #[test]
    fn an_answer_that_lacks_something_says_what() {
        assert_eq!(read("{}").unwrap_err(), "the answer lacks standbys");
        assert!(read("no json").unwrap_err().starts_with("unreadable answer"));
    }
}
