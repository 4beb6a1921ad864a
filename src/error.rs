//! How a command fails: a kind that decides the exit code, an error with its cause chain, and hints.
//!
//! Owns the exit codes. Decides nothing about when a command fails and prints nothing.

use std::fmt;

/// Why a command ended, and so its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Something could not be done: exit code 1.
    Error,
    /// The command line, the environment or the settings file is wrong: exit code 2.
    Usage,
    /// The set is unhealthy, or cannot become healthy, or the cluster cannot be used, and a finding says why: exit code 3.
    Unhealthy,
    /// The time given ran out: exit code 4.
    TimedOut,
    /// `diff` found differences: exit code 5.
    Differs,
    /// A guard refused, or a question that nobody could answer: exit code 6.
    Refused,
    /// Interrupted by the person: exit code 130.
    Interrupted,
    /// A program that pgset ran ended with this code, and has said itself why.
    Passed(u8),
}

impl Kind {
    /// The process's exit code.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Error => 1,
            Self::Usage => 2,
            Self::Unhealthy => 3,
            Self::TimedOut => 4,
            Self::Differs => 5,
            Self::Refused => 6,
            Self::Interrupted => 130,
            Self::Passed(code) => code,
        }
    }
}

/// A command's failure: shown as `error: …`, its causes, then one `hint: …` line each.
#[derive(Debug)]
pub struct Failure {
    pub kind: Kind,
    pub error: anyhow::Error,
    pub hints: Vec<String>,
}

/// What every command returns.
pub type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    pub fn new(kind: Kind, message: impl fmt::Display) -> Self {
        Self { kind, error: anyhow::anyhow!("{message}"), hints: Vec::new() }
    }

    /// A failure of kind [`Kind::Error`].
    pub fn error(message: impl fmt::Display) -> Self {
        Self::new(Kind::Error, message)
    }

    /// A failure of kind [`Kind::Usage`].
    pub fn usage(message: impl fmt::Display) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// A failure of kind [`Kind::Refused`].
    pub fn refused(message: impl fmt::Display) -> Self {
        Self::new(Kind::Refused, message)
    }

    /// The same failure with the next command or the line to change.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The same failure of another kind.
    #[must_use]
    pub fn of(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self { kind: Kind::Error, error, hints: Vec::new() }
    }
}
