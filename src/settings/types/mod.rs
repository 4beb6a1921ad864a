//! The validated types: parsed once at the edge, passed on as they are.
//!
//! Every type is made by `FromStr` alone, so a value of it is a good one. Reasons are fragments without the value: the
//! setting, its source and the value are put before them by whoever knows them.

/// A type that holds text which passed its `FromStr`.
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
            #[allow(dead_code)] // Not every type's is needed.
            pub(crate) fn unchecked(text: &str) -> Self {
                Self(text.to_owned())
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    };
}

/// A type with a fixed list of words.
macro_rules! word_type {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant),+
        }

        impl $name {
            /// Every word, in the order shown to a person.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = Invalid;

            fn from_str(text: &str) -> Result<Self, Invalid> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => invalid(format!("expected one of {}", Self::WORDS.join(", "))),
                }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}

mod image;
mod kubernetes;
mod number;
mod place;
mod postgres;
mod quantity;

use thiserror::Error;

pub use image::{Image, ImagePrefix, ImageTag};
pub use kubernetes::{ClassName, Member, Namespace, SetName};
pub use number::{Replicas, Timeout, Uid};
pub use place::{AbsolutePath, Folder, NfsServer};
pub use postgres::{Password, PgIdentifier, PgSetting, PgValue};
pub use quantity::Quantity;

/// Why a value was refused; `setting` is added by whoever knows where the value came from.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{reason}")]
pub struct Invalid {
    pub reason: String,
}

fn invalid<T>(reason: impl Into<String>) -> Result<T, Invalid> {
    Err(Invalid { reason: reason.into() })
}

word_type!(
    /// What the image is.
    Flavor {
        /// The Crunchy container's environment contract.
        Crunchy = "crunchy",
        /// Any image with PostgreSQL's programs; pgset brings the start script.
        Postgres = "postgres",
    }
);

word_type!(
    /// Who decides whether a member of a Crunchy image is the primary.
    RoleBy {
        /// The image itself: `PG_MODE=set`, which also labels the pod through the Kubernetes API.
        Image = "image",
        /// The number in the pod's name: pgset's start script sets the mode, and nothing calls the API.
        Ordinal = "ordinal",
    }
);

word_type!(
    /// Where data lives.
    Layout {
        /// One ReadWriteMany claim, a folder per member.
        Shared = "shared",
        /// A claim per member.
        PerPod = "per-pod",
    }
);

word_type!(
    /// What kind of thing is behind the claims.
    StorageKind {
        /// An NFS export, as in the seed.
        Nfs = "nfs",
        /// A folder on the node, for clusters of one node or a file system mounted on all of them.
        HostPath = "hostpath",
        /// A StorageClass.
        Class = "class",
    }
);

/// The first character a person cannot see or a line-based format cannot hold, if there is one.
///
/// Beside the control characters these are the line and paragraph separators and the characters that change the
/// direction of what follows: a value that shows as something else is a trap.
pub(super) fn invisible(text: &str) -> Option<char> {
    text.chars().find(|&c| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    })
}

/// How a character is named in a reason.
fn named(c: char) -> String {
    match c {
        '\n' => "a line break".to_owned(),
        '\t' => "a tab".to_owned(),
        ' ' => "a space".to_owned(),
        '\0' => "a NUL character".to_owned(),
        c if invisible(c.encode_utf8(&mut [0; 4])).is_some() => {
            format!("the invisible character U+{:04X}", u32::from(c))
        }
        c => format!("{c:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asserts the reason each text is refused for holds the part given.
    pub(super) fn refused<T: std::str::FromStr<Err = Invalid> + std::fmt::Debug>(cases: &[(&str, &str)]) {
        for (text, part) in cases {
            let reason = match text.parse::<T>() {
                Ok(value) => panic!("{text:?} is accepted as {value:?}"),
                Err(error) => error.reason,
            };
            assert!(reason.contains(part), "{text:?}: {reason}");
        }
    }

    /// Asserts each text is accepted and shown as it is.
    pub(super) fn accepted<T: std::str::FromStr<Err = Invalid> + ToString>(texts: &[&str]) {
        for text in texts {
            assert_eq!(text.parse::<T>().map(|value| value.to_string()), Ok((*text).to_owned()));
        }
    }

    #[test]
    fn words() {
        accepted::<Flavor>(Flavor::WORDS);
        accepted::<Layout>(Layout::WORDS);
        accepted::<RoleBy>(RoleBy::WORDS);
        accepted::<StorageKind>(StorageKind::WORDS);
        refused::<Layout>(&[("", "shared, per-pod"), ("Shared", "shared, per-pod"), ("per_pod", "shared, per-pod")]);
    }

    #[test]
    fn characters_are_named() {
        assert_eq!(named('\n'), "a line break");
        assert_eq!(named('\u{202e}'), "the invisible character U+202E");
        assert_eq!(named('"'), "'\"'");
        assert_eq!(named('é'), "'é'");
    }
}
