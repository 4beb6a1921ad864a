//! Counts, ids and times.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::{Invalid, invalid};

/// How many members a set has, the primary included: 1 to 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct Replicas(u8);

impl Replicas {
    pub const MAX: u8 = 32;

    #[must_use]
    pub fn get(self) -> u8 {
        self.0
    }
}

impl FromStr for Replicas {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match digits(text).and_then(|n| u8::try_from(n).ok()) {
            Some(n) if (1..=Self::MAX).contains(&n) => Ok(Self(n)),
            Some(0) => invalid(format!(
                "expected a number of members from 1 to {}; `pgset stop` stops a set and keeps its data",
                Self::MAX
            )),
            _ => invalid(format!("expected a number of members from 1 to {}", Self::MAX)),
        }
    }
}

impl fmt::Display for Replicas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The user and group id the members run as: not root's, which PostgreSQL refuses to run as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct Uid(u32);

impl Uid {
    /// Kubernetes' own limit.
    pub const MAX: u32 = i32::MAX as u32;

    #[must_use]
    pub fn get(self) -> u32 {
        self.0
    }
}

impl FromStr for Uid {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match digits(text).and_then(|n| u32::try_from(n).ok()) {
            Some(0) => invalid("expected an id other than 0: PostgreSQL refuses to run as root"),
            Some(n) if n <= Self::MAX => Ok(Self(n)),
            _ => invalid(format!("expected a numeric user id from 1 to {}", Self::MAX)),
        }
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How long to wait: `10m`, `90s`, `1h30m`; a bare number is seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timeout(Duration);

impl Timeout {
    /// A week: longer than any clone should take, short enough for every clock.
    pub const MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

    #[must_use]
    pub fn get(self) -> Duration {
        self.0
    }
}

impl Default for Timeout {
    fn default() -> Self {
        Self(Duration::from_secs(10 * 60))
    }
}

impl FromStr for Timeout {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let duration = match digits(text) {
            Some(seconds) => Some(Duration::from_secs(seconds)),
            None => text.parse::<jiff::SignedDuration>().ok().and_then(|d| Duration::try_from(d).ok()),
        };
        match duration {
            Some(duration) if duration < Duration::from_secs(1) => invalid("expected at least one second"),
            Some(duration) if duration > Self::MAX => invalid("expected at most a week (168h)"),
            Some(duration) => Ok(Self(duration)),
            None => invalid("expected a time like 90s, 10m or 1h30m"),
        }
    }
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        for (n, unit) in [(seconds / 3600, 'h'), (seconds / 60 % 60, 'm'), (seconds % 60, 's')] {
            if n > 0 {
                write!(f, "{n}{unit}")?;
            }
        }
        Ok(())
    }
}

impl serde::Serialize for Timeout {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A number written in digits alone: `parse` would take a sign too.
fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{accepted, refused};
    use super::*;

    #[test]
    fn replicas() {
        accepted::<Replicas>(&["1", "2", "32"]);
        let part = "from 1 to 32";
        refused::<Replicas>(&[
            ("", part),
            ("0", part),
            ("33", part),
            ("256", part),
            ("+2", part),
            ("-1", part),
            ("2.0", part),
            (" 2", part),
            ("two", part),
            ("٢", part),
            ("99999999999999999999999", part),
        ]);
    }

    #[test]
    fn uids() {
        accepted::<Uid>(&["1", "26", "999", "2147483647"]);
        refused::<Uid>(&[("0", "root"), ("2147483648", "from 1"), ("postgres", "numeric"), ("", "numeric")]);
    }

    #[test]
    fn timeouts() {
        for (text, seconds, shown) in [
            ("90", 90, "1m30s"),
            ("10m", 600, "10m"),
            ("1h30m", 5400, "1h30m"),
            ("1h 30m", 5400, "1h30m"),
            ("90s", 90, "1m30s"),
            ("1.5h", 5400, "1h30m"),
            ("168h", 604_800, "168h"),
            ("1", 1, "1s"),
        ] {
            let timeout: Timeout = text.parse().expect(text);
            assert_eq!((timeout.get().as_secs(), timeout.to_string().as_str()), (seconds, shown), "{text}");
        }
        refused::<Timeout>(&[
            ("", "expected a time"),
            ("0", "at least one second"),
            ("1ms", "at least one second"),
            ("-5m", "expected a time"),
            ("5m ago", "expected a time"),
            ("5x", "expected a time"),
            ("169h", "at most a week"),
            ("99999999999999999999", "expected a time"),
        ]);
        assert_eq!(Timeout::default().to_string(), "10m");
    }
}
