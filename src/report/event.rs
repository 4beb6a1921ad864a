//! What is said on stderr while a command works, as documents for machines: one line each, `kind: Event` of `pgset/v1`.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::error::{Failure, Kind};
use crate::set::Finding;
use crate::set::phase::Phase;
use crate::set::rollout::Event;

/// One event: which one it is stands in the field `event`.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Told<'a> {
    /// A member's phase is another one than before.
    Phase(MemberPhase<'a>),
    /// The phase is the same, and the member further on in it.
    Progress(MemberPhase<'a>),
    /// The member is no more.
    Gone {
        member: &'a str,
        waited_ms: u64,
    },
    /// Something is wrong or late: the fields of a finding in `status -o json`.
    Finding {
        waited_ms: u64,
        #[serde(flatten)]
        finding: Box<Finding>,
    },
    /// Nothing new for a while: what each unfinished member does, and what is missing for health.
    Waiting {
        waited_ms: u64,
        members: Vec<MemberPhase<'a>>,
        unmet: &'a [String],
    },
    /// Something was done or seen.
    Note {
        text: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        waited_ms: Option<u64>,
    },
    /// What only `--verbose` wants to know.
    Detail {
        text: String,
    },
    Warning {
        text: String,
    },
    /// A next step.
    Hint {
        text: String,
    },
    /// The last one of a command that fails. The exit code is the process's.
    Error {
        reason: &'static str,
        exit_code: u8,
        message: String,
        causes: Vec<String>,
        hints: Vec<String>,
    },
}

/// What one member does.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberPhase<'a> {
    member: &'a str,
    /// One of a few words that stay as they are.
    phase: &'static str,
    /// The same for people.
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    waited_ms: Option<u64>,
    /// Bytes of a clone, and of how many as far as PostgreSQL can tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_done: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_total: Option<u64>,
}

impl<'a> MemberPhase<'a> {
    fn new(member: &'a str, phase: &Phase, waited: Option<SignedDuration>) -> Self {
        let (bytes_done, bytes_total) = match phase {
            Phase::Cloning { done, total } => (Some(*done), *total),
            _ => (None, None),
        };
        let waited_ms = waited.map(milliseconds);
        Self { member, phase: phase.word(), text: phase.to_string(), waited_ms, bytes_done, bytes_total }
    }
}

fn milliseconds(time: SignedDuration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(0)
}

impl<'a> Told<'a> {
    /// An event of a wait, `waited` after its beginning.
    #[must_use]
    pub fn of(event: &'a Event, waited: SignedDuration) -> Self {
        let waited_ms = milliseconds(waited);
        match event {
            Event::Phase { member, phase } => Self::Phase(MemberPhase::new(member, phase, Some(waited))),
            Event::Progress { member, phase } => Self::Progress(MemberPhase::new(member, phase, Some(waited))),
            Event::Gone { member } => Self::Gone { member, waited_ms },
            Event::Found(finding) => Self::finding(finding.clone(), waited),
            Event::StillWaiting { members, unmet, .. } => {
                let members = members.iter().map(|(member, phase)| MemberPhase::new(member, phase, None)).collect();
                Self::Waiting { waited_ms, members, unmet }
            }
        }
    }

    /// A finding, `waited` after the command's beginning.
    #[must_use]
    pub fn finding(finding: Finding, waited: SignedDuration) -> Self {
        Self::Finding { waited_ms: milliseconds(waited), finding: Box::new(finding) }
    }

    /// Something about a wait as a whole.
    #[must_use]
    pub fn note(text: &str, waited: Option<SignedDuration>) -> Self {
        Self::Note { text: text.to_owned(), waited_ms: waited.map(milliseconds) }
    }

    /// How a command failed.
    #[must_use]
    pub fn failure(failure: &Failure) -> Self {
        let mut causes = failure.error.chain().map(ToString::to_string);
        let reason = match failure.kind {
            Kind::Error => "error",
            Kind::Usage => "usage",
            Kind::Unhealthy => "unhealthy",
            Kind::TimedOut => "timedOut",
            Kind::Differs => "differs",
            Kind::Refused => "refused",
            Kind::Interrupted => "interrupted",
            Kind::Passed(_) => "passed",
        };
        Self::Error {
            reason,
            exit_code: failure.kind.code(),
            message: causes.next().unwrap_or_default(),
            causes: causes.collect(),
            hints: failure.hints.clone(),
        }
    }

    /// The event as one line, without its end.
    #[must_use]
    pub fn line(&self, now: Timestamp) -> String {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Line<'a> {
            api_version: &'static str,
            kind: &'static str,
            time: Timestamp,
            #[serde(flatten)]
            told: &'a Told<'a>,
        }
        // Names, numbers and text always make a document.
        let line = Line { api_version: "pgset/v1", kind: "Event", time: now, told: self };
        serde_json::to_string(&line).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::set::Severity;
    use crate::set::findings::{Consequence, ObjectRef};

    #[track_caller]
    fn reads(told: &Told<'_>, mut expected: Value) {
        let line = told.line("2026-01-31T12:00:00Z".parse().unwrap());
        assert!(!line.contains('\n'), "{line}");
        for (key, value) in [("apiVersion", "pgset/v1"), ("kind", "Event"), ("time", "2026-01-31T12:00:00Z")] {
            expected[key] = value.into();
        }
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), expected);
    }

    const WAITED: SignedDuration = SignedDuration::from_millis(1250);

    fn cloning(total: Option<u64>) -> Phase {
        Phase::Cloning { done: 1 << 20, total }
    }

    #[test]
    fn phases_have_a_word_for_machines_and_a_clones_bytes() {
        let member = "pgset-1".to_owned();
        let event = Event::Phase { member: member.clone(), phase: Phase::Creating("pulling the image".to_owned()) };
        reads(
            &Told::of(&event, WAITED),
            json!({"event": "phase", "member": "pgset-1", "phase": "creating", "text": "pulling the image", "waitedMs": 1250}),
        );
        let event = Event::Progress { member: member.clone(), phase: cloning(Some(4 << 20)) };
        reads(
            &Told::of(&event, WAITED),
            json!({"event": "progress", "member": "pgset-1", "phase": "cloning", "text": "cloning: 1 MB of 4 MB",
                "waitedMs": 1250, "bytesDone": 1_048_576, "bytesTotal": 4_194_304}),
        );
        let event = Event::Progress { member: member.clone(), phase: cloning(None) };
        reads(
            &Told::of(&event, WAITED),
            json!({"event": "progress", "member": "pgset-1", "phase": "cloning", "text": "cloning: 1 MB",
                "waitedMs": 1250, "bytesDone": 1_048_576}),
        );
        reads(
            &Told::of(&Event::Gone { member }, WAITED),
            json!({"event": "gone", "member": "pgset-1", "waitedMs": 1250}),
        );
    }

    #[test]
    fn findings_are_whole_and_a_reminder_names_members_and_what_is_missing() {
        let object = |name: &str| ObjectRef { kind: "Pod".to_owned(), name: name.to_owned() };
        let finding = Finding {
            code: "PGS-X",
            severity: Severity::Fatal,
            object: object("pgset-0"),
            also: vec![object("pgset-1")],
            summary: "it is \"wrong\"".to_owned(),
            evidence: vec!["a\u{1b}line".to_owned()],
            fix: vec!["pgset up -n shop".to_owned()],
            consequences: vec![Consequence {
                code: "PGS-Y",
                object: object("pgset-2"),
                also: vec![],
                summary: "late".to_owned(),
            }],
            fatal_from: None,
            normal_until: None,
            lasting: None,
            wrong_since: None,
        };
        let pod = |name: &str| json!({"kind": "Pod", "name": name});
        reads(
            &Told::of(&Event::Found(finding), WAITED),
            json!({"event": "finding", "waitedMs": 1250, "code": "PGS-X", "severity": "fatal", "object": pod("pgset-0"),
                "also": [pod("pgset-1")], "summary": "it is \"wrong\"", "evidence": ["a\u{1b}line"],
                "fix": ["pgset up -n shop"],
                "consequences": [{"code": "PGS-Y", "object": pod("pgset-2"), "also": [], "summary": "late"}]}),
        );
        let event = Event::StillWaiting {
            waited: WAITED,
            members: vec![("pgset-1".to_owned(), cloning(None)), ("pgset-2".to_owned(), Phase::Absent)],
            unmet: vec!["no primary".to_owned()],
        };
        reads(
            &Told::of(&event, WAITED),
            json!({"event": "waiting", "waitedMs": 1250, "unmet": ["no primary"], "members": [
                {"member": "pgset-1", "phase": "cloning", "text": "cloning: 1 MB", "bytesDone": 1_048_576},
                {"member": "pgset-2", "phase": "absent", "text": "not there yet"}]}),
        );
    }

    #[test]
    fn words_are_told_as_what_they_are_and_an_error_with_causes_and_hints() {
        let text = || "two\nlines".to_owned();
        for (told, event) in [
            (Told::note("two\nlines", None), "note"),
            (Told::Detail { text: text() }, "detail"),
            (Told::Warning { text: text() }, "warning"),
            (Told::Hint { text: text() }, "hint"),
        ] {
            reads(&told, json!({"event": event, "text": "two\nlines"}));
        }
        reads(&Told::note("x", Some(WAITED)), json!({"event": "note", "text": "x", "waitedMs": 1250}));
        let error = anyhow::anyhow!("no route").context("failed to reach it");
        let failure = Failure::from(error).of(Kind::TimedOut).hint("wait on: pgset wait");
        reads(
            &Told::failure(&failure),
            json!({"event": "error", "reason": "timedOut", "exitCode": 4, "message": "failed to reach it",
                "causes": ["no route"], "hints": ["wait on: pgset wait"]}),
        );
        let reasons = [
            Kind::Error,
            Kind::Usage,
            Kind::Unhealthy,
            Kind::Differs,
            Kind::Refused,
            Kind::Interrupted,
            Kind::Passed(3),
        ]
        .map(|kind| match Told::failure(&Failure::new(kind, "x")) {
            Told::Error { reason, exit_code, .. } => (reason, exit_code),
            _ => ("", 0),
        });
        let expected = [
            ("error", 1),
            ("usage", 2),
            ("unhealthy", 3),
            ("differs", 5),
            ("refused", 6),
            ("interrupted", 130),
            ("passed", 3),
        ];
        assert_eq!(reasons, expected);
    }
}
