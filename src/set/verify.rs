//! What `verify` checks, in statements and judgements; running them is the command's business.

use std::fmt::Write as _;

use serde::Serialize;

use super::Observation;

/// The schema of the marker table, in the database `postgres`.
pub const SCHEMA: &str = "pgset_verify";

/// By this comment a run knows what an interrupted one left behind from what is somebody's own.
const COMMENT: &str = "made by pgset verify, which removes it";

/// Held while a run is under way, so that two do not remove each other's row.
pub const LOCK: &str = "select pg_try_advisory_lock(hashtext('pgset verify'))";

/// The comment of the schema that is there; no row when there is none.
pub const LEFTOVER: &str =
    "select coalesce(obj_description(oid, 'pg_namespace'), '') from pg_namespace where nspname = 'pgset_verify'";

pub const CHECKSUMS: &str = "show data_checksums";

/// Removes everything a run made.
pub const CLEAN_UP: &str = "drop schema if exists pgset_verify cascade";

/// A write that needs no table.
pub const WRITE_ANYTHING: &str = "create temporary table pgset_verify_written ()";

/// `read_only_sql_transaction`.
pub const READ_ONLY: &str = "25006";

/// Whether a schema that is there was left by an interrupted run.
#[must_use]
pub fn is_leftover(comment: &str) -> bool {
    comment == COMMENT
}

/// Makes the marker table anew, with one row: one transaction. `token` is letters and digits.
#[must_use]
pub fn write(token: &str) -> String {
    format!(
        "{CLEAN_UP}; create schema {SCHEMA}; comment on schema {SCHEMA} is '{COMMENT}'; \
         create table {SCHEMA}.marker (token text primary key); {}",
        insert(token)
    )
}

/// Writes one more row.
#[must_use]
pub fn insert(token: &str) -> String {
    format!("insert into {SCHEMA}.marker values ('{token}')")
}

/// Whether the row is there: `t` or `f`.
#[must_use]
pub fn read(token: &str) -> String {
    format!("select exists (select from {SCHEMA}.marker where token = '{token}')")
}

/// Errors that only say that the row's table has not arrived yet: no such table, no such schema.
#[must_use]
pub fn is_not_yet(code: &str) -> bool {
    matches!(code, "42P01" | "3F000")
}

/// One thing checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// Stable, such as `replication`.
    pub check: &'static str,
    /// The member, Service or password it is about.
    pub object: String,
    pub outcome: Outcome,
    /// What was seen, in words.
    pub words: String,
    pub took_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    Passed,
    Failed,
    /// It could not be checked, and why is in the words; that is no failure of the set.
    Skipped,
}

impl Check {
    #[must_use]
    pub fn passed(check: &'static str, object: &str, words: impl Into<String>) -> Self {
        Self { check, object: object.to_owned(), outcome: Outcome::Passed, words: words.into(), took_ms: 0 }
    }

    #[must_use]
    pub fn failed(check: &'static str, object: &str, words: impl Into<String>) -> Self {
        Self { outcome: Outcome::Failed, ..Self::passed(check, object, words) }
    }

    #[must_use]
    pub fn skipped(check: &'static str, object: &str, words: impl Into<String>) -> Self {
        Self { outcome: Outcome::Skipped, ..Self::passed(check, object, words) }
    }

    #[must_use]
    pub fn took(self, took_ms: u64) -> Self {
        Self { took_ms, ..self }
    }
}

/// The members' roles by their own word.
#[must_use]
pub fn roles(seen: &Observation) -> Vec<Check> {
    let wanted = (0..seen.wanted().unwrap_or(0)).map(|ordinal| seen.member_name(ordinal));
    let mut checks: Vec<Check> = wanted
        .map(|member| match (seen.server(&member), seen.answers.get(&member)) {
            (Some(server), _) if server.in_recovery => Check::passed("answer", &member, "answers as a replica"),
            (Some(_), _) => Check::passed("answer", &member, "answers as the primary"),
            (None, Some(super::observation::Answer::Silent(reason))) => {
                Check::failed("answer", &member, format!("does not answer: {reason}"))
            }
            (None, _) => Check::failed("answer", &member, "is not there"),
        })
        .collect();
    let primaries = seen.primaries();
    if primaries.len() != 1 {
        let found =
            if primaries.is_empty() { "no member is".to_owned() } else { format!("{} are", primaries.join(", ")) };
        checks.push(Check::failed("primary", &seen.name, format!("{found} the primary, where one should be")));
    }
    checks
}

/// The Services lead where they should: the primary's to it alone, the replicas' to all others.
#[must_use]
pub fn services(seen: &Observation, primary: &str, replicas: &[String]) -> Vec<Check> {
    let check = |role: &str, want: &[String]| {
        let service = format!("{}-{role}", seen.name);
        let have = seen.endpoints(&service);
        let list = |members: &[String]| if members.is_empty() { "nobody".to_owned() } else { members.join(", ") };
        if have == *want {
            return Check::passed("service", &service, format!("leads to {}", list(want)));
        }
        let have: Vec<String> = have.into_iter().map(str::to_owned).collect();
        Check::failed("service", &service, format!("leads to {}, not to {}", list(&have), list(want)))
    };
    let mut sorted = replicas.to_vec();
    sorted.sort_unstable();
    vec![check("master", &[primary.to_owned()]), check("replica", &sorted)]
}

/// A member's own try at each Service by name, with the password it has been given: `SERVICE NAME RECOVERY`, or
/// `SERVICE ! WHY`. Whoever answers says its member name, or its pod's
/// address where nobody gave it the name.
const SCRIPT: &str = concat!(
    include_str!("member.sh"),
    r#"
for service; do
  sql="select coalesce(nullif(current_setting('cluster_name'), ''), host(inet_server_addr())), pg_is_in_recovery()"
  if answer=$(timeout 10 psql -XAtq -F ' ' -d "$(conninfo "$service$domain" any)" -c "$sql" 2>&1); then
    printf '%s %s\n' "$service" "$answer"
  else
    printf '%s ! %s\n' "$service" "$(printf '%s' "$answer" | tr '\n' ' ')"
  fi
done"#
);

/// The command line that asks the Services from inside a member.
#[must_use]
pub fn from_inside(services: &[String]) -> Vec<String> {
    ["sh", "-c", SCRIPT, "verify"].into_iter().map(str::to_owned).chain(services.iter().cloned()).collect()
}

/// Judges what [`from_inside`] printed: each Service has to be answered by one of its members, in the right role.
#[must_use]
pub fn judge_inside(
    seen: &Observation,
    member: &str,
    stdout: &str,
    expected: &[(String, Vec<String>, bool)],
) -> Vec<Check> {
    let named = |name: &str| seen.member_at(name).unwrap_or(name).to_owned();
    let judge = |(service, members, in_recovery): &(String, Vec<String>, bool)| {
        let line = stdout.lines().find_map(|line| line.strip_prefix(service.as_str())?.strip_prefix(' '));
        let failed = |words: String| Check::failed("connection", service, format!("from {member}: {words}"));
        let Some(line) = line else { return failed("no answer".to_owned()) };
        if let Some(why) = line.strip_prefix("! ") {
            return failed(why.trim().to_owned());
        }
        let (name, recovery) = line.rsplit_once(' ').unwrap_or((line, ""));
        let name = named(name);
        if !members.contains(&name) {
            return failed(format!("{name} answers, which it should not lead to"));
        }
        if (recovery == "t") != *in_recovery {
            return failed(format!(
                "{name} answers, but not as a {}",
                if *in_recovery { "replica" } else { "primary" }
            ));
        }
        Check::passed("connection", service, format!("from {member}: {name} answers by the Service's name"))
    };
    expected.iter().map(judge).collect()
}

/// What a replica made of a write: an SQLSTATE and words, or nothing when it was done.
#[must_use]
pub fn judge_write(member: &str, refused: Option<(&str, &str)>) -> Check {
    match refused {
        Some((READ_ONLY, _)) => Check::passed("read-only", member, "refuses a write with SQLSTATE 25006"),
        Some((code, words)) => {
            Check::failed("read-only", member, format!("refuses a write, but with SQLSTATE {code}: {words}"))
        }
        None => Check::failed("read-only", member, "accepted a write: it is no replica"),
    }
}

/// JUnit's XML, as CI systems read it.
#[must_use]
pub fn junit(suite: &str, checks: &[Check], took_ms: u64) -> String {
    let seconds = |ms: u64| format!("{}.{:03}", ms / 1000, ms % 1000);
    let count = |outcome: Outcome| checks.iter().filter(|check| check.outcome == outcome).count();
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    let _ = writeln!(
        xml,
        "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"{}\" time=\"{}\">",
        escaped(suite),
        checks.len(),
        count(Outcome::Failed),
        count(Outcome::Skipped),
        seconds(took_ms)
    );
    for check in checks {
        let (name, object, words) = (check.check, escaped(&check.object), escaped(&check.words));
        let head = format!("    <testcase classname=\"{object}\" name=\"{name}\" time=\"{}\"", seconds(check.took_ms));
        let _ = match check.outcome {
            Outcome::Passed => writeln!(xml, "{head}/>"),
            Outcome::Failed => writeln!(xml, "{head}><failure message=\"{words}\"/></testcase>"),
            Outcome::Skipped => writeln!(xml, "{head}><skipped message=\"{words}\"/></testcase>"),
        };
    }
    xml.push_str("  </testsuite>\n</testsuites>\n");
    xml
}

/// Text in an attribute; control characters have no place in XML.
fn escaped(text: &str) -> String {
    let mut xml = String::with_capacity(text.len());
    for c in super::log::harmless(text).chars() {
        match c {
            '&' => xml.push_str("&amp;"),
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            '"' => xml.push_str("&quot;"),
            '\t' => xml.push(' '),
            c => xml.push(c),
        }
    }
    xml
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::set::observation::{Answer, Server};

    fn seen(replicas: i32, master: &[&str], replica: &[&str]) -> Observation {
        let slice = |role: &str, members: &[&str]| {
            let endpoints: Vec<_> =
                members.iter().map(|name| json!({"addresses": ["10.0.0.1"], "targetRef": {"name": name}})).collect();
            serde_json::from_value(json!({"addressType": "IPv4", "endpoints": endpoints,
                "metadata": {"labels": {"kubernetes.io/service-name": format!("pgset-{role}")}}}))
            .unwrap()
        };
        let set = json!({"metadata": {}, "spec": {"replicas": replicas, "selector": {}, "serviceName": "pgset", "template": {}}});
        let answer = |in_recovery| Answer::Answered(Box::new(Server { in_recovery, ..Server::default() }));
        let mut seen = Observation {
            name: "pgset".to_owned(),
            stateful_set: serde_json::from_value(set).unwrap(),
            endpoint_slices: vec![slice("master", master), slice("replica", replica)],
            ..Observation::default()
        };
        for ordinal in 0..replicas {
            seen.answers.insert(seen.member_name(ordinal), answer(ordinal > 0));
        }
        seen
    }

    fn outcomes(checks: &[Check]) -> Vec<Outcome> {
        checks.iter().map(|check| check.outcome).collect()
    }

    use Outcome::{Failed, Passed};

    #[test]
    fn every_member_has_to_answer_and_one_to_be_the_primary() {
        assert_eq!(outcomes(&roles(&seen(2, &[], &[]))), [Passed, Passed]);
        let mut silent = seen(3, &[], &[]);
        silent.answers.insert("pgset-0".to_owned(), Answer::Silent("refused".to_owned()));
        silent.answers.remove("pgset-2");
        let checks = roles(&silent);
        assert_eq!(outcomes(&checks), [Failed, Passed, Failed, Failed]);
        assert_eq!(checks[3].words, "no member is the primary, where one should be");
    }

    #[test]
    fn services_lead_to_exactly_their_members() {
        let replicas = ["pgset-1".to_owned(), "pgset-2".to_owned()];
        let judge =
            |master: &[&str], replica: &[&str]| outcomes(&services(&seen(3, master, replica), "pgset-0", &replicas));
        assert_eq!(judge(&["pgset-0"], &["pgset-2", "pgset-1"]), [Passed, Passed]);
        assert_eq!(judge(&["pgset-1"], &["pgset-0", "pgset-1", "pgset-2"]), [Failed, Failed]);
        assert_eq!(outcomes(&services(&seen(1, &["pgset-0"], &[]), "pgset-0", &[])), [Passed, Passed]);
    }

    #[test]
    fn a_connection_from_inside_is_judged_by_who_answers() {
        let expected = [
            ("pgset-master".to_owned(), vec!["pgset-0".to_owned()], false),
            ("pgset-replica".to_owned(), vec!["pgset-1".to_owned()], true),
        ];
        let judge = |stdout: &str| judge_inside(&Observation::default(), "pgset-1", stdout, &expected);
        assert_eq!(outcomes(&judge("pgset-master pgset-0 f\npgset-replica pgset-1 t\n")), [Passed, Passed]);
        let wrong = judge("pgset-master pgset-0 t\npgset-replica pgset-0 f\n");
        assert_eq!(outcomes(&wrong), [Failed, Failed]);
        let lost = judge("pgset-master ! psql: error: could not translate host name \"pgset-master\" \n");
        assert_eq!(outcomes(&lost), [Failed, Failed]);
        assert!(lost[0].words.contains("could not translate host name"), "{}", lost[0].words);
    }

    #[test]
    fn a_write_is_to_be_refused_for_the_right_reason() {
        assert_eq!(judge_write("p", Some(("25006", "read-only"))).outcome, Passed);
        assert_eq!(judge_write("p", Some(("42501", "permission denied"))).outcome, Failed);
        assert_eq!(judge_write("p", None).outcome, Failed);
    }

    #[test]
    fn one_statement_makes_the_marker_and_another_finds_it() {
        let sql = write("a1");
        assert!(sql.starts_with("drop schema if exists pgset_verify cascade; create schema pgset_verify;"), "{sql}");
        assert!(sql.ends_with("insert into pgset_verify.marker values ('a1')"), "{sql}");
        assert!(sql.contains(COMMENT) && is_leftover(COMMENT) && !is_leftover(""));
        assert!(is_not_yet("42P01") && !is_not_yet("25006"));
    }

    #[test]
    fn junit_is_well_formed_whatever_the_words() {
        let checks = [
            Check::passed("answer", "pgset-0", "x").took(1234),
            Check::failed("service", "pgset-master", "a \"b\" <c> & \u{1b}[0m\n"),
            Check::skipped("connection", "pgset-replica", "no"),
        ];
        assert_eq!(
            junit("pgset", &checks, 2001),
            r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites>
  <testsuite name="pgset" tests="3" failures="1" errors="0" skipped="1" time="2.001">
    <testcase classname="pgset-0" name="answer" time="1.234"/>
    <testcase classname="pgset-master" name="service" time="0.000"><failure message="a &quot;b&quot; &lt;c&gt; &amp; ^[[0m^J"/></testcase>
    <testcase classname="pgset-replica" name="connection" time="0.000"><skipped message="no"/></testcase>
  </testsuite>
</testsuites>
"#
        );
    }
}
