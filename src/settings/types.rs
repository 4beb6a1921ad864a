//! The validated types: parsed once at the edge, passed on as they are.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Why a value was refused; `setting` is added by whoever knows where the value came from.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{reason}")]
pub struct Invalid {
    pub reason: String,
}

fn invalid<T>(reason: impl Into<String>) -> Result<T, Invalid> {
    Err(Invalid { reason: reason.into() })
}

macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// For tests of what happens when a value is not what its type promises.
            #[cfg(test)]
            pub(crate) fn unchecked(text: &str) -> Self {
                Self(text.to_owned())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_type!(
    /// The name of a set: a DNS label short enough that every object's and member's name fits.
    SetName
);
text_type!(
    /// A Kubernetes namespace: a DNS label.
    Namespace
);
text_type!(
    /// A container image reference.
    Image
);
text_type!(
    /// An absolute path without `..`, control characters or a trailing slash.
    AbsolutePath
);
text_type!(
    /// A StorageClass's name: a DNS subdomain.
    ClassName
);
text_type!(
    /// A PostgreSQL database or role name, at most 63 bytes.
    PgIdentifier
);
text_type!(
    /// A `postgresql.conf` parameter's name.
    PgSetting
);
text_type!(
    /// A Kubernetes quantity in its canonical text.
    Quantity
);

/// A password: never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// The secret itself, for the Secret and the driver only.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(***)")
    }
}

/// How many members a set has, the primary included: 1 to 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
        match text.parse::<u8>() {
            Ok(n) if (1..=Self::MAX).contains(&n) => Ok(Self(n)),
            _ => invalid(format!("expected a number of members from 1 to {}", Self::MAX)),
        }
    }
}

/// What the image is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavor {
    /// The Crunchy container's environment contract.
    Crunchy,
    /// Any image with PostgreSQL's programs; pgset brings the start script.
    Postgres,
}

/// Where data lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One ReadWriteMany claim, a folder per member.
    Shared,
    /// A claim per member.
    PerPod,
}
