//! The questions a member is asked, and the reading of its answers.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::set::Lsn;
use crate::set::observation::{CloneProgress, Server, Slot, Standby, Upkeep, WalReceiver};

/// The question that is asked all the time while members join: one row with one JSON document, so that a probe is one
/// round trip. Works on every PostgreSQL since 12: columns that were renamed since are taken as whole rows and read by
/// either name, and the one view that 12 lacks is asked only where it is.
#[must_use]
pub fn sql(major: u32) -> String {
    SQL.replace("{clones}", if major >= 13 { CLONES } else { "'[]'::json" })
}

const CLONES: &str = "(select coalesce(json_agg(json_build_object(
       'client', (select host(client_addr) from pg_stat_activity where pg_stat_activity.pid = progress.pid),
       'bytesDone', backup_streamed, 'bytesTotal', backup_total)), '[]')
     from pg_stat_progress_basebackup progress)";

const SQL: &str = "
select json_build_object(
  'version', current_setting('server_version'),
  'inRecovery', pg_is_in_recovery(),
  'systemIdentifier', (select system_identifier::text from pg_control_system()),
  'timeline', case when pg_is_in_recovery()
     then coalesce((select received_tli from pg_stat_wal_receiver), (select timeline_id from pg_control_checkpoint()))
     else ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int end,
  'lsn', case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end,
  'replayAgeMs', case when pg_is_in_recovery()
     then greatest(0, extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp()) * 1000)::bigint end,
  'replayPaused', case when pg_is_in_recovery() then pg_is_wal_replay_paused() else false end,
  'receiver', (select to_json(r) from pg_stat_wal_receiver r),
  'standbys', (select coalesce(json_agg(json_build_object(
       'applicationName', application_name, 'state', state, 'syncState', sync_state, 'replayLsn', replay_lsn,
       'replayLagMs', (extract(epoch from replay_lag) * 1000)::bigint) order by application_name), '[]')
     from pg_stat_replication),
  'clones', {clones},
  'limits', json_build_object('max_connections', current_setting('max_connections')::bigint,
     'max_worker_processes', current_setting('max_worker_processes')::bigint,
     'max_wal_senders', current_setting('max_wal_senders')::bigint,
     'max_prepared_transactions', current_setting('max_prepared_transactions')::bigint,
     'max_locks_per_transaction', current_setting('max_locks_per_transaction')::bigint))::text";

/// What only `status` asks: it looks at every session, slot and database.
pub const UPKEEP: &str = "
select json_build_object(
  'slots', (select coalesce(json_agg(json_build_object('name', slot_name, 'active', active,
       'retained', greatest(0, pg_wal_lsn_diff(case when pg_is_in_recovery() then pg_last_wal_replay_lsn()
          else pg_current_wal_lsn() end, restart_lsn))::bigint) order by slot_name), '[]')
     from pg_replication_slots where restart_lsn is not null),
  'checksumFailures', (select coalesce(json_object_agg(coalesce(datname, 'the shared tables'), checksum_failures), '{}')
     from pg_stat_database where checksum_failures > 0),
  'connections', (select count(*) from pg_stat_activity where backend_type = 'client backend'),
  'connectionsAllowed', current_setting('max_connections')::bigint
     - current_setting('superuser_reserved_connections')::bigint
     - coalesce(current_setting('reserved_connections', true)::bigint, 0),
  'oldestDatabase', (select datname from pg_database order by age(datfrozenxid) desc limit 1),
  'oldestAge', (select max(age(datfrozenxid)) from pg_database),
  'freezeAge', current_setting('autovacuum_freeze_max_age')::bigint,
  'logFile', case when current_setting('logging_collector')::bool
     then coalesce(pg_current_logfile(), current_setting('log_directory')) end)::text";

/// The end of the log file, where the log does not go to the container's own.
pub const LOG_FILE: &str = "
select pg_read_file(name, greatest(0, size - 8192), 8192)
  from pg_current_logfile() name, pg_stat_file(name, true)
 where current_setting('logging_collector')::bool and size is not null";

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

/// Reads the document [`UPKEEP`] returns.
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
        assert!(sql(13).contains("pg_stat_progress_basebackup") && !sql(12).contains("pg_stat_progress_basebackup"));
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
    fn an_answer_that_lacks_something_says_what() {
        assert_eq!(read("{}").unwrap_err(), "the answer lacks standbys");
        assert!(read("no json").unwrap_err().starts_with("unreadable answer"));
    }
}
