//! PostgreSQL runs, but not as a set: two primaries, another system, a password that does not fit.

use jiff::SignedDuration;

use super::super::health::{self, Unmet};
use super::super::identity::is_crunchy;
use super::super::observation::{Answer, Asking, Observation};
use super::replication::aside;
use super::{Asked, Depth, Entry, Finding, Severity};

/// Sessions come and go; a pool that holds all connections for this long does not give them back.
const CONNECTIONS_GRACE: SignedDuration = SignedDuration::from_secs(30);

/// A switchover leaves a set without a primary for a few seconds.
const NO_PRIMARY_GRACE: SignedDuration = SignedDuration::from_secs(20);

/// `up` makes the Secret just before the claims; one that is younger by more than this was made another time.
const SAME_TIME: SignedDuration = SignedDuration::from_secs(60);

pub(super) fn findings(asked: &Asked<'_>) -> Vec<Finding> {
    let seen = asked.seen;
    if seen.asking == Asking::Forbidden {
        return Vec::new();
    }
    let mut found: Vec<Finding> = Vec::new();
    for (member, answer) in &seen.answers {
        if let Answer::Silent(reason) = answer {
            if reason.contains("password authentication failed") {
                found.push(password(asked, member, reason));
            } else if reason.contains("too many clients") || reason.contains("connection slots") {
                found.push(no_connection_left(asked, member, reason));
            }
        }
    }
    found.extend(health::health(seen).unmet.iter().filter_map(|unmet| roles(seen, unmet)));
    found.extend(no_primary(asked));
    found
}

fn password(asked: &Asked<'_>, member: &str, reason: &str) -> Finding {
    let seen = asked.seen;
    let namespace = &seen.namespace;
    let secret = format!("{}-passwords", seen.name);
    let claims = seen.claims.iter().filter_map(|claim| claim.metadata.creation_timestamp.as_ref());
    let data = claims.map(|time| time.0).min();
    let newer = data.zip(seen.secret_created).filter(|(data, secret)| secret.duration_since(*data) > SAME_TIME);
    let psql = format!("kubectl -n {namespace} exec -it {member} -c pgset -- psql -U postgres");
    let into_database =
        format!("or give the Secret's to the database: {psql} -c '\\password postgres' (and testuser, replicator)");
    let about = |code, summary: &str| {
        Finding::new(code, Severity::Fatal, "Secret", &secret, summary).evidence(format!("{member}: {reason}"))
    };
    match newer {
        Some((data, made)) => about(
            "PGS-SECRET-NEWER",
            "the Secret is newer than the data, which knows only the old passwords",
        )
        .evidence(format!("the Secret was made at {made}, the data's claim at {data}"))
        .fix(format!(
            "put the old passwords back, from wherever they are kept: kubectl -n {namespace} edit secret {secret}"
        ))
        .fix(into_database),
        None => about("PGS-PASSWORD-MISMATCH", "the database has another password than the Secret")
            .fix(format!("put the old Secret back: kubectl -n {namespace} edit secret {secret}"))
            .fix(into_database),
    }
}

fn no_connection_left(asked: &Asked<'_>, member: &str, reason: &str) -> Finding {
    let summary = "all of PostgreSQL's connections are in use, those kept for superusers as well";
    Finding::new("PGS-CONNECTIONS-EXHAUSTED", Severity::Blocking, "Pod", member, summary)
        .evidence(reason)
        .fix("find who holds them: a connection pool that is larger than max_connections, or one that leaks")
        .fix("allow more: pgset up --set-parameter max_connections=…")
        .blocking_from(asked.since, CONNECTIONS_GRACE)
}

/// Every member has answered, and each is a replica.
fn no_primary(asked: &Asked<'_>) -> Option<Finding> {
    let seen = asked.seen;
    let wanted = seen.wanted().unwrap_or(0);
    let replicas: Option<Vec<_>> = (0..wanted)
        .map(|ordinal| seen.member_name(ordinal))
        .map(|member| seen.server(&member).filter(|server| server.in_recovery).map(|server| (member, server)))
        .collect();
    let replicas = replicas.filter(|all| !all.is_empty())?;
    let (newest, _) = replicas.iter().max_by_key(|(_, server)| (server.timeline, server.lsn))?;
    let summary = "no member is the primary: all are replicas";
    let psql = format!("kubectl -n {} exec {newest} -c pgset -- psql -U postgres", seen.namespace);
    let positions =
        replicas.iter().map(|(member, server)| format!("{member}: timeline {}, {}", server.timeline, server.lsn));
    let finding = Finding::new("PGS-NO-PRIMARY", Severity::Blocking, "StatefulSet", &seen.name, summary)
        .evidence_lines(&positions.collect::<Vec<_>>());
    // With a Crunchy image nothing else but a person's own hand does it.
    let finding = if seen.stateful_set.as_ref().is_some_and(is_crunchy) {
        finding
    } else {
        finding.fix("go on with a switchover that was cut short, or have the member with the most data: pgset promote")
    };
    let finding =
        finding.fix(format!("make the one with the most data the primary, {newest}: {psql} -c 'select pg_promote()'"));
    Some(finding.blocking_from(seen.late_since.values().max().copied().max(asked.since), NO_PRIMARY_GRACE))
}

/// What no waiting mends.
fn roles(seen: &Observation, unmet: &Unmet) -> Option<Finding> {
    let set = &seen.name;
    Some(match unmet {
        Unmet::SeveralPrimaries { .. } => {
            Finding::new("PGS-TWO-PRIMARIES", Severity::Fatal, "StatefulSet", set, unmet.to_string())
                .fix("stop writing now; decide which member holds the data you want before anything else is done")
                .fix(aside(&seen.namespace, "MEMBER").replacen("it clone", "the other, MEMBER, clone", 1))
        }
        Unmet::OtherSystem { member, .. } => {
            Finding::new("PGS-OTHER-SYSTEM", Severity::Fatal, "Pod", member, unmet.to_string())
                .fix("its folder was made for another set: move it aside, and the member clones anew")
        }
        _ => return None,
    })
}

/// What this family finds.
pub(super) const CATALOGUE: &[Entry] = &[
    Entry {
        code: "PGS-PASSWORD-MISMATCH",
        severity: Severity::Fatal,
        depth: Depth::Database,
        title: "the Secret's password is not the database's",
        meaning: "PostgreSQL refuses the password that the set's Secret holds.",
        known_by: "PostgreSQL's own answer: password authentication failed.",
        fix: "Put the old Secret back, or set the database's password to the Secret's.",
        doubt: "None known.",
    },
    Entry {
        code: "PGS-SECRET-NEWER",
        severity: Severity::Fatal,
        depth: Depth::Database,
        title: "the Secret is newer than the data",
        meaning: "The Secret was made anew; the data knows only the old passwords.",
        known_by: "PostgreSQL refuses the password, and the Secret is younger than the claims.",
        fix: "Put the old passwords back, or give the new ones to the database.",
        doubt: "None known.",
    },
    Entry {
        code: "PGS-CONNECTIONS-EXHAUSTED",
        severity: Severity::Blocking,
        depth: Depth::Database,
        title: "no connection is left",
        meaning: "Every connection is in use, those kept for superusers as well.",
        known_by: "PostgreSQL's own answer.",
        fix: "Find who holds them; raise max_connections.",
        doubt: "Sessions may end at any moment; it ends a wait only after 30 s.",
    },
    Entry {
        code: "PGS-NO-PRIMARY",
        severity: Severity::Blocking,
        depth: Depth::Database,
        title: "no member is the primary",
        meaning: "Every member answers, and each is a replica.",
        known_by: "pg_is_in_recovery() of all members.",
        fix: "pgset promote goes on with a switchover that was cut short, or promotes the member with the most data.",
        doubt: "A switchover has no primary for a few seconds.",
    },
    Entry {
        code: "PGS-TWO-PRIMARIES",
        severity: Severity::Fatal,
        depth: Depth::Database,
        title: "two members are primaries",
        meaning: "Two members accept writes; their data drifts apart with every one.",
        known_by: "Both answer that they are not in recovery.",
        fix: "Stop writing; decide which member holds the data you want before anything else is done.",
        doubt: "None known: both said so themselves.",
    },
    Entry {
        code: "PGS-OTHER-SYSTEM",
        severity: Severity::Fatal,
        depth: Depth::Database,
        title: "a member holds another database",
        meaning: "A replica's folder was made for another set.",
        known_by: "Its system identifier differs from the primary's.",
        fix: "Move its folder aside; the member then clones anew.",
        doubt: "None known.",
    },
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::observation::Server;
    use super::super::testing::{noon, seen};
    use super::*;

    fn server(in_recovery: bool, system: &str) -> Answer {
        Answer::Answered(Box::new(Server { in_recovery, system_identifier: system.to_owned(), ..Server::default() }))
    }

    #[test]
    fn two_primaries_and_a_foreign_system_are_hopeless() {
        for (answers, code) in [
            ([server(false, "1"), server(false, "1")], "PGS-TWO-PRIMARIES"),
            ([server(false, "1"), server(true, "2")], "PGS-OTHER-SYSTEM"),
        ] {
            let mut seen = seen(json!([]), json!([]));
            seen.answers = answers.into_iter().enumerate().map(|(n, answer)| (format!("pgset-{n}"), answer)).collect();
            let found = findings(&Asked { seen: &seen, since: None });
            assert_eq!((found[0].code, found[0].ends_wait(noon())), (code, true));
        }
    }

    fn silent(reason: &str) -> Vec<Finding> {
        let mut seen = seen(json!([]), json!([]));
        seen.answers.insert("pgset-0".to_owned(), Answer::Silent(reason.to_owned()));
        findings(&Asked { seen: &seen, since: Some(noon()) })
    }

    #[test]
    fn connections_that_are_all_taken_block_after_a_grace() {
        for reason in ["sorry, too many clients already", "remaining connection slots are reserved for superusers"] {
            let found = &silent(reason)[0];
            assert_eq!(found.code, "PGS-CONNECTIONS-EXHAUSTED");
            assert!(!found.ends_wait(noon() + CONNECTIONS_GRACE - SignedDuration::from_millis(1)));
            assert!(found.ends_wait(noon() + CONNECTIONS_GRACE));
        }
        assert!(silent("the database system is starting up").is_empty());
    }

    #[test]
    fn a_secret_younger_than_the_data_is_told_from_one_that_was_edited() {
        let mut seen = seen(json!([]), json!([]));
        let refused = Answer::Silent("password authentication failed for user \"postgres\"".to_owned());
        seen.answers.insert("pgset-0".to_owned(), refused);
        let claim = json!({"metadata": {"name": "data", "creationTimestamp": noon().to_string()}});
        seen.claims = vec![serde_json::from_value(claim).unwrap()];
        for (age, code) in
            [(None, "PGS-PASSWORD-MISMATCH"), (Some(60), "PGS-PASSWORD-MISMATCH"), (Some(61), "PGS-SECRET-NEWER")]
        {
            seen.secret_created = age.map(|age| noon() + SignedDuration::from_secs(age));
            let found = &findings(&Asked { seen: &seen, since: None })[0];
            assert_eq!((found.code, found.object.name.as_str()), (code, "pgset-passwords"), "{age:?}");
            assert!(found.ends_wait(noon()));
        }
    }

    #[test]
    fn without_a_primary_the_member_with_the_most_data_is_named_once_all_have_answered() {
        let mut seen = seen(json!([]), json!([]));
        let at = |lsn: u64| Server {
            in_recovery: true,
            timeline: 1,
            lsn: super::super::super::Lsn(lsn),
            ..Server::default()
        };
        seen.answers.insert("pgset-0".to_owned(), Answer::Answered(Box::new(at(5))));
        assert!(findings(&Asked { seen: &seen, since: None }).is_empty());
        seen.answers.insert("pgset-1".to_owned(), Answer::Answered(Box::new(at(9))));
        let found = &findings(&Asked { seen: &seen, since: Some(noon()) })[0];
        assert_eq!(found.code, "PGS-NO-PRIMARY");
        assert!(found.fix[0].contains("pgset promote"), "{:?}", found.fix);
        assert!(found.fix[1].contains("the most data the primary, pgset-1:"), "{:?}", found.fix);
        assert!(!found.ends_wait(noon() + NO_PRIMARY_GRACE - SignedDuration::from_millis(1)));
        assert!(found.ends_wait(noon() + NO_PRIMARY_GRACE));
    }

    #[test]
    fn a_replica_on_its_way_is_no_finding() {
        let mut seen = seen(json!([]), json!([]));
        seen.answers.insert("pgset-0".to_owned(), server(false, "1"));
        seen.answers.insert("pgset-1".to_owned(), server(true, "1"));
        assert!(findings(&Asked { seen: &seen, since: None }).is_empty());
    }
}
