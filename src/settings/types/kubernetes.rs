//! Names that Kubernetes gives rules for.

use std::fmt;
use std::str::FromStr;

use super::{Invalid, invalid, named};

text_type!(
    /// The name of a set: a DNS label that starts with a letter, short enough that every object's and member's name
    /// fits: at most 52 characters.
    SetName
);

text_type!(
    /// A Kubernetes namespace: a DNS label.
    Namespace
);

text_type!(
    /// A StorageClass's name: a DNS subdomain.
    ClassName
);

impl SetName {
    /// Kubernetes labels a StatefulSet's pods with its name, a hyphen and a hash of up to 10 characters, and a label
    /// holds 63.
    pub const MAX: usize = 52;
}

impl FromStr for SetName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        label(text)?;
        if !text.starts_with(|c: char| c.is_ascii_lowercase()) {
            return invalid("expected a letter at the start: a Service's name may not start with a digit");
        }
        if text.len() > Self::MAX {
            return invalid(format!(
                "expected at most {} characters, found {}: Kubernetes puts the name and a hash of its pods' revision into \
                 a label, which holds 63",
                Self::MAX,
                text.len()
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl FromStr for Namespace {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        label(text)?;
        if text.len() > 63 {
            return invalid(format!("expected at most 63 characters, found {}", text.len()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl FromStr for ClassName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.len() > 253 {
            return invalid(format!("expected at most 253 characters, found {}", text.len()));
        }
        if text.is_empty() {
            return invalid("expected a name, found nothing");
        }
        for part in text.split('.') {
            label(part)?;
        }
        Ok(Self(text.to_owned()))
    }
}

/// Refuses what is not `[a-z0-9]([-a-z0-9]*[a-z0-9])?`; the length is the caller's.
fn label(text: &str) -> Result<(), Invalid> {
    if text.is_empty() {
        return invalid("expected a name, found nothing");
    }
    if let Some(c) = text.chars().find(|c| !c.is_ascii_lowercase() && !c.is_ascii_digit() && *c != '-') {
        return invalid(format!("expected lowercase letters, digits and hyphens only, found {}", named(c)));
    }
    if text.starts_with('-') || text.ends_with('-') {
        return invalid("expected a letter or digit at both ends, found a hyphen");
    }
    Ok(())
}

/// One pod of a set and the data folder behind it: `pgset-0`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member {
    pub set: SetName,
    pub ordinal: u32,
}

impl Member {
    #[must_use]
    pub fn new(set: SetName, ordinal: u32) -> Self {
        Self { set, ordinal }
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.set, self.ordinal)
    }
}

impl FromStr for Member {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let Some((set, digits)) = text.rsplit_once('-') else {
            return invalid("expected a set's name, a hyphen and a number, like pgset-0");
        };
        let canonical = digits == "0" || !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
        match digits.parse() {
            Ok(ordinal) if canonical => Ok(Self { set: set.parse()?, ordinal }),
            _ => invalid("expected a member's number after the last hyphen, like pgset-0"),
        }
    }
}

impl serde::Serialize for Member {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{accepted, refused};
    use super::*;

    #[test]
    fn set_names() {
        let longest = "a".repeat(52);
        accepted::<SetName>(&["pgset", "a", "a1", "my-pg--2", &longest]);
        let too_long = "a".repeat(53);
        refused::<SetName>(&[
            ("", "found nothing"),
            ("1pg", "letter at the start"),
            ("-pg", "both ends"),
            ("pg-", "both ends"),
            ("Pgset", "found 'P'"),
            ("pg_set", "found '_'"),
            ("pg.set", "found '.'"),
            ("pg set", "found a space"),
            ("pgset\n", "found a line break"),
            ("größe", "found 'ö'"),
            (&too_long, "at most 52 characters, found 53"),
        ]);
    }

    #[test]
    fn namespaces() {
        let longest = "0".repeat(63);
        accepted::<Namespace>(&["default", "1st", "kube-system", &longest]);
        let too_long = "0".repeat(64);
        refused::<Namespace>(&[("", "nothing"), ("a/b", "found '/'"), ("a-", "both ends"), (&too_long, "at most 63")]);
    }

    #[test]
    fn class_names() {
        accepted::<ClassName>(&["standard", "rook-ceph.rbd", "1.2"]);
        let too_long = "a.".repeat(127);
        refused::<ClassName>(&[
            ("", "nothing"),
            ("a..b", "nothing"),
            (".a", "nothing"),
            ("Fast", "found 'F'"),
            ("a.-b", "both ends"),
            (&too_long, "at most 253"),
        ]);
    }

    #[test]
    fn members() {
        accepted::<Member>(&["pgset-0", "my-pg-31", "a-1-2"]);
        assert_eq!("a-1-2".parse::<Member>().map(|m| (m.set.to_string(), m.ordinal)), Ok(("a-1".to_owned(), 2)));
        refused::<Member>(&[
            ("pgset", "a hyphen and a number"),
            ("pgset-", "after the last hyphen"),
            ("pgset-00", "after the last hyphen"),
            ("pgset-01", "after the last hyphen"),
            ("pgset-+1", "after the last hyphen"),
            ("pgset-99999999999", "after the last hyphen"),
            ("-1", "found nothing"),
            ("P-1", "found 'P'"),
        ]);
    }
}
