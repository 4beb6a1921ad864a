//! PostgreSQL runs, but not as a set: two primaries, another system, a password that does not fit.

use super::super::health::{self, Unmet};
use super::super::observation::{Answer, Asking};
use super::{Asked, Depth, Entry, Finding, Severity};

pub(super) fn findings(asked: &Asked<'_>) -> Vec<Finding> {
    let seen = asked.seen;
    if seen.asking == Asking::Forbidden {
        return Vec::new();
    }
    let mut found: Vec<Finding> = Vec::new();
    for (member, answer) in &seen.answers {
        if let Answer::Silent(reason) = answer
            && reason.contains("password authentication failed")
        {
            let secret = format!("{}-passwords", seen.name);
            found.push(
                Finding::new(
                    "PGS-PASSWORD-MISMATCH",
                    Severity::Fatal,
                    "Secret",
                    &secret,
                    "the database has another password than the Secret",
                )
                .evidence(format!("{member}: {reason}"))
                .fix(format!(
                    "put the old Secret back, or set the database's password to it: kubectl -n {} get secret {secret}",
                    seen.namespace
                )),
            );
        }
    }
    found.extend(health::health(seen).unmet.iter().filter_map(|unmet| roles(&seen.name, unmet)));
    found
}

/// What no waiting mends.
fn roles(set: &str, unmet: &Unmet) -> Option<Finding> {
    Some(match unmet {
        Unmet::SeveralPrimaries { .. } => {
            Finding::new("PGS-TWO-PRIMARIES", Severity::Fatal, "StatefulSet", set, unmet.to_string())
                .fix("stop writing now; decide which member holds the data you want before anything else is done")
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

    #[test]
    fn a_replica_on_its_way_is_no_finding() {
        let mut seen = seen(json!([]), json!([]));
        seen.answers.insert("pgset-0".to_owned(), server(false, "1"));
        seen.answers.insert("pgset-1".to_owned(), server(true, "1"));
        assert!(findings(&Asked { seen: &seen, since: None }).is_empty());
    }
}
