//! Where a value came from, and what is wrong with it.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

use super::types::invisible;
use crate::error::Failure;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A flag, hyphens included.
    Flag(&'static str),
    /// An environment variable.
    Env(&'static str),
    /// The settings file; the line is counted from 1.
    File { path: PathBuf, line: Option<usize> },
    /// A file of the crunchy-containers checkout and the place in it, such as `examples/envvars.sh:12`.
    Checkout(String),
    /// The namespace of the kubeconfig's context.
    Kubeconfig,
    /// Found below the base directory.
    BuildBase,
    /// This machine's own address.
    Machine,
    /// Nobody said; the text says why it is this value.
    Default(Cow<'static, str>),
}

impl Source {
    /// A default, and why it is this one.
    pub(super) fn default_because(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Default(reason.into())
    }

    /// How much a source weighs against another: flag, environment, file, checkout, everything else.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Self::Flag(_) => 4,
            Self::Env(_) => 3,
            Self::File { .. } => 2,
            Self::Checkout(_) => 1,
            Self::Kubeconfig | Self::BuildBase | Self::Machine | Self::Default(_) => 0,
        }
    }

    /// Whether this is one of the seed's variables, or of its files. The variables are exported for good in many a shell
    /// profile, as the 2017 example asks for, and so must give way to what is said to pgset itself instead of
    /// contradicting it.
    pub(super) fn is_seed(&self) -> bool {
        match self {
            Self::Env(name) => !name.starts_with("PGSET_"),
            Self::Checkout(_) => true,
            _ => false,
        }
    }

    /// Whether a person gave the value to pgset itself: by a flag, the environment or the settings file.
    #[must_use]
    pub fn is_given(&self) -> bool {
        matches!(self, Self::Flag(_) | Self::Env(_) | Self::File { .. })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) | Self::Env(name) => f.write_str(name),
            Self::File { path, line: Some(line) } => write!(f, "{}:{line}", path.display()),
            Self::File { path, line: None } => path.display().fmt(f),
            Self::Checkout(place) => f.write_str(place),
            Self::Kubeconfig => f.write_str("kubeconfig"),
            Self::BuildBase => f.write_str("BUILDBASE"),
            Self::Machine => f.write_str("this machine"),
            Self::Default(reason) if reason.is_empty() => f.write_str("default"),
            Self::Default(reason) => write!(f, "default: {reason}"),
        }
    }
}

/// A value and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sourced<T> {
    pub value: T,
    pub source: Source,
}

/// One thing that is wrong with what was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The setting's name, as in the settings file; empty when it is the file as a whole.
    pub setting: String,
    pub source: Source,
    /// What was given; never a password's.
    pub value: Option<String>,
    pub reason: String,
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { setting, source, value, reason, hint: _ } = self;
        if setting.is_empty() {
            return write!(f, "{source}: {reason}");
        }
        // A key of the settings file may be anything.
        if invisible(setting).is_some() {
            write!(f, "{setting:?}")?;
        } else {
            f.write_str(setting)?;
        }
        if let Some(value) = value {
            write!(f, " {}", shown(value))?;
        }
        match source {
            Source::Default(_) => write!(f, ": {reason}"),
            source => write!(f, " from {source}: {reason}"),
        }
    }
}

/// A value in quotes, escaped, cut where it stops being of use.
fn shown(value: &str) -> String {
    const MAX: usize = 60;
    match value.char_indices().nth(MAX) {
        Some((end, _)) => format!("{:?}…", &value[..end]),
        None => format!("{value:?}"),
    }
}

/// More lines than this help nobody: what is wrong is one thing.
const MAX_LINES: usize = 20;

/// All that is wrong as one failure: exit code 2.
#[must_use]
pub fn failure(problems: &[Problem]) -> Failure {
    let message = match problems {
        [problem] => problem.to_string(),
        problems => {
            let mut lines: Vec<String> =
                problems.iter().take(MAX_LINES).map(|problem| format!("\n  {problem}")).collect();
            if problems.len() > MAX_LINES {
                lines.push(format!("\n  … and {} more", problems.len() - MAX_LINES));
            }
            format!("{} settings cannot be used:{}", problems.len(), lines.concat())
        }
    };
    let mut failure = Failure::usage(message);
    for hint in problems.iter().take(MAX_LINES).filter_map(|problem| problem.hint.clone()) {
        if !failure.hints.contains(&hint) {
            failure.hints.push(hint);
        }
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(source: Source) -> Problem {
        Problem {
            setting: "replicas".to_owned(),
            source,
            value: Some("0".to_owned()),
            reason: "expected more".to_owned(),
            hint: Some("give more".to_owned()),
        }
    }

    #[test]
    fn problems_name_setting_value_source_and_reason() {
        let file = |line| Source::File { path: "pgset.yaml".into(), line };
        for (source, expected) in [
            (Source::Flag("--replicas"), "replicas \"0\" from --replicas: expected more"),
            (Source::Env("PGSET_REPLICAS"), "replicas \"0\" from PGSET_REPLICAS: expected more"),
            (file(Some(7)), "replicas \"0\" from pgset.yaml:7: expected more"),
            (file(None), "replicas \"0\" from pgset.yaml: expected more"),
            (Source::default_because("why"), "replicas \"0\": expected more"),
        ] {
            assert_eq!(problem(source).to_string(), expected);
        }
        let whole = Problem { setting: String::new(), ..problem(file(Some(2))) };
        assert_eq!(whole.to_string(), "pgset.yaml:2: expected more");
        let long = Problem { value: Some("\u{202e}\n".repeat(50)), ..problem(Source::Machine) };
        assert!(long.to_string().starts_with("replicas \"\\u{202e}\\n\\u{202e}"), "{long}");
        assert!(long.to_string().contains("\"… from this machine"), "{long}");
    }

    #[test]
    fn failures_are_usage_errors_with_each_hint_once() {
        let failure = failure(&[problem(Source::Flag("--replicas")), problem(Source::Machine)]);
        assert_eq!(failure.kind.code(), 2);
        assert_eq!(
            failure.error.to_string(),
            "2 settings cannot be used:\n  replicas \"0\" from --replicas: expected more\n  replicas \"0\" from this machine: expected more"
        );
        assert_eq!(failure.hints, ["give more"]);
        let many = super::failure(&vec![problem(Source::Machine); 22]).error.to_string();
        assert!(many.starts_with("22 settings cannot be used:\n") && many.ends_with("\n  … and 2 more"), "{many}");
        assert_eq!(many.lines().count(), 22);
    }
}
