//! The one question a member is asked, and the reading of its answer.

use serde_json::Value;

use crate::set::Lsn;
use crate::set::observation::{Server, Standby, WalReceiver};

/// One row with one JSON document, so that a probe is one round trip. Works on every PostgreSQL since 12: columns that
/// were renamed since are taken as whole rows and read by either name.
pub const SQL: &str = "
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
     from pg_stat_replication))::text";

/// Reads the document [`SQL`] returns.
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
    })
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
    fn an_answer_that_lacks_something_says_what() {
        assert_eq!(read("{}").unwrap_err(), "the answer lacks standbys");
        assert!(read("no json").unwrap_err().starts_with("unreadable answer"));
    }
}
