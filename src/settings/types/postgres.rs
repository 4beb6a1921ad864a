//! What PostgreSQL gives rules for: names, parameters, passwords.

use std::fmt;
use std::str::FromStr;

use super::{Invalid, invalid, invisible, named};

text_type!(
    /// A PostgreSQL database or role name: 1 to 63 bytes, nothing invisible.
    ///
    /// What is true of a role but not of a database, or of one flavor, is [`check_role`](PgIdentifier::check_role)'s and
    /// its neighbours' to say.
    PgIdentifier
);

text_type!(
    /// A `postgresql.conf` parameter's name, in lowercase, and none that pgset sets itself.
    PgSetting
);

text_type!(
    /// A `postgresql.conf` parameter's value: one line.
    PgValue
);

impl PgIdentifier {
    /// PostgreSQL's `NAMEDATALEN - 1`, in bytes.
    pub const MAX: usize = 63;

    /// Whether a role that is not the superuser may have this name.
    ///
    /// # Errors
    ///
    /// When PostgreSQL reserves the name, or pgset has given it to a role of its own.
    pub fn check_role(&self) -> Result<(), Invalid> {
        match self.as_str() {
            "postgres" => invalid("is the superuser's name: choose another for the application's user"),
            // The names of the replication roles: `master` is the Crunchy container's, `primaryuser` its later one.
            "replicator" | "master" | "primaryuser" => invalid("is the replication role's name: choose another"),
            "public" | "none" => invalid("is reserved by PostgreSQL: choose another"),
            name if name.starts_with("pg_") => invalid("PostgreSQL reserves role names that start with `pg_`"),
            _ => Ok(()),
        }
    }

    /// Whether a database of one's own may have this name.
    ///
    /// # Errors
    ///
    /// When it is one of the databases new ones are copied from, or a client would take the name for something else.
    pub fn check_database(&self) -> Result<(), Invalid> {
        match self.as_str() {
            "template0" | "template1" => {
                invalid("is a template that PostgreSQL makes other databases from: choose another")
            }
            name if name.contains('=') || name.contains("://") => {
                invalid("expected a name without `=` and `://`: PostgreSQL's programs take it for a connection string")
            }
            _ => Ok(()),
        }
    }

    /// Whether the Crunchy container can make a database or role of this name.
    ///
    /// # Errors
    ///
    /// When its start script, which puts names into SQL unquoted, would break on it.
    pub fn check_crunchy(&self) -> Result<(), Invalid> {
        let first = |b: u8| b.is_ascii_lowercase() || b == b'_';
        let mut bytes = self.0.bytes();
        if bytes.next().is_some_and(first) && bytes.all(|b| first(b) || b.is_ascii_digit()) {
            Ok(())
        } else {
            invalid(
                "expected lowercase letters, digits and `_` only, no digit first: the Crunchy image quotes no names",
            )
        }
    }
}

impl FromStr for PgIdentifier {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() {
            return invalid("expected a name, found nothing");
        }
        if let Some(c) = invisible(text) {
            return invalid(format!("expected a name without invisible characters, found {}", named(c)));
        }
        if text.trim() != text {
            return invalid("expected a name without space at its ends");
        }
        if text.len() > Self::MAX {
            return invalid(format!(
                "expected at most {} bytes, found {}: PostgreSQL would cut it off",
                Self::MAX,
                text.len()
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl PgSetting {
    /// Whether the value of a parameter of this name is better not shown.
    #[must_use]
    pub fn may_hold_secret(name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        // How passwords are stored is none.
        name != "password_encryption"
            && ["passw", "passphrase", "secret", "token"].iter().any(|part| name.contains(part))
    }
}

impl FromStr for PgSetting {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() {
            return invalid("expected a parameter's name, found nothing");
        }
        let first = |c: char| c.is_ascii_alphabetic() || c == '_';
        for part in text.split('.') {
            let mut chars = part.chars();
            if let Some(c) = part.chars().find(|&c| !first(c) && !c.is_ascii_digit()) {
                return invalid(format!(
                    "expected letters, digits, `_` and `.` in a parameter's name, found {}",
                    named(c)
                ));
            }
            if !chars.next().is_some_and(first) {
                return invalid("expected a letter or `_` at the start of a parameter's name and after each `.`");
            }
        }
        if text.len() > PgIdentifier::MAX {
            return invalid(format!("expected at most {} bytes, found {}", PgIdentifier::MAX, text.len()));
        }
        // PostgreSQL ignores case here, so that `Port` is `port`.
        let name = text.to_ascii_lowercase();
        match owned_by_pgset(&name) {
            Some(reason) => invalid(format!("is pgset's to set: {reason}")),
            None => Ok(Self(name)),
        }
    }
}

/// Why a parameter is not for a person to set.
fn owned_by_pgset(name: &str) -> Option<&'static str> {
    Some(match name {
        "data_directory" => "it knows where a member's data is",
        "config_file" | "hba_file" | "ident_file" | "include" | "include_dir" | "include_if_exists" => {
            "it brings the configuration files and updates them"
        }
        "external_pid_file" | "unix_socket_directories" | "unix_socket_group" | "unix_socket_permissions" => {
            "its probes and scripts reach the server by its socket"
        }
        "listen_addresses" => "the Services reach every member on all its addresses",
        "port" => "the Services, probes and replicas use port 5432",
        "primary_conninfo" | "primary_slot_name" => "it tells each replica how to find the primary",
        "wal_level" => "replication needs `replica`",
        "hot_standby" => "the replicas serve reads, and are asked how far they are, only while it is on",
        "password_encryption" => "its pg_hba.conf asks for scram-sha-256",
        "cluster_name" | "application_name" => "replicas are told apart by it",
        "promote_trigger_file" | "trigger_file" | "standby_mode" => "it promotes without a file",
        "recovery_target"
        | "recovery_target_action"
        | "recovery_target_inclusive"
        | "recovery_target_lsn"
        | "recovery_target_name"
        | "recovery_target_time"
        | "recovery_target_timeline"
        | "recovery_target_xid" => "a replica that stops at a target no longer follows the primary",
        _ => return None,
    })
}

impl PgValue {
    pub const MAX: usize = 4096;
}

impl FromStr for PgValue {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if let Some(c) = invisible(text) {
            return invalid(format!("expected a value of one line without invisible characters, found {}", named(c)));
        }
        if text.len() > Self::MAX {
            return invalid(format!("expected at most {} bytes, found {}", Self::MAX, text.len()));
        }
        Ok(Self(text.to_owned()))
    }
}

/// A password: never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// More than anyone types, less than PostgreSQL's protocol takes.
    pub const MAX: usize = 512;

    /// The secret itself, for the Secret and the driver only.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    pub(in crate::settings) fn made(text: String) -> Self {
        Self(text)
    }

    /// Whether the Crunchy container can use this password.
    ///
    /// # Errors
    ///
    /// When its start script, which passes passwords through `sed` and `.pgpass` as they are, would break on it.
    pub fn check_crunchy(&self) -> Result<(), Invalid> {
        if self.0.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-')) {
            Ok(())
        } else {
            invalid("expected letters, digits, `_`, `.` and `-` only: the Crunchy image passes passwords through sed")
        }
    }
}

impl FromStr for Password {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() {
            return invalid("expected a password, found nothing");
        }
        // The reasons hold no character of it.
        if text.chars().any(char::is_control) {
            return invalid("expected a password of one line without control characters");
        }
        if text.len() > Self::MAX {
            return invalid(format!("expected at most {} bytes, found {}", Self::MAX, text.len()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{accepted, refused};
    use super::*;

    #[test]
    fn identifiers() {
        let longest = "é".repeat(31);
        accepted::<PgIdentifier>(&["userdb", "My \"App\"", "größe", "1", "a'b", "x=y", &longest]);
        let too_long = "é".repeat(32);
        refused::<PgIdentifier>(&[
            ("", "nothing"),
            ("a\nb", "a line break"),
            ("a\0", "NUL"),
            ("a\u{200b}", "U+200B"),
            (" a", "space at its ends"),
            (&too_long, "at most 63 bytes, found 64"),
        ]);
    }

    #[test]
    fn roles_databases_and_crunchy_names() {
        let name = |text: &str| text.parse::<PgIdentifier>().expect(text);
        for text in ["testuser", "Public", "pgx"] {
            assert_eq!(name(text).check_role(), Ok(()), "{text}");
        }
        for text in ["postgres", "replicator", "master", "primaryuser", "public", "none", "pg_monitor", "pg_"] {
            assert!(name(text).check_role().is_err(), "{text}");
        }
        for text in ["template0", "template1", "host=evil", "postgresql://x"] {
            assert!(name(text).check_database().is_err(), "{text}");
        }
        assert_eq!(name("pg_stats").check_database(), Ok(()));
        assert_eq!(name("postgres").check_database(), Ok(()));
        for text in ["userdb", "_a1"] {
            assert_eq!(name(text).check_crunchy(), Ok(()), "{text}");
        }
        for text in ["Userdb", "1a", "a-b", "a b", "é"] {
            assert!(name(text).check_crunchy().is_err(), "{text}");
        }
    }

    #[test]
    fn parameters() {
        accepted::<PgSetting>(&["work_mem", "auto_explain.log_min_duration", "_x", "a.b.c1"]);
        assert_eq!("TimeZone".parse::<PgSetting>().map(|s| s.to_string()), Ok("timezone".to_owned()));
        let long = "a".repeat(64);
        refused::<PgSetting>(&[
            ("", "nothing"),
            ("1a", "at the start"),
            (".a", "at the start"),
            ("a.", "at the start"),
            ("a..b", "at the start"),
            ("a-b", "found '-'"),
            ("a b", "found a space"),
            ("a\nb", "a line break"),
            ("a=b", "found '='"),
            ("Data_Directory", "where a member's data is"),
            ("include_dir", "configuration files"),
            ("port", "5432"),
            ("WAL_LEVEL", "replication"),
            ("recovery_target_lsn", "no longer follows"),
            (&long, "at most 63 bytes"),
        ]);
    }

    #[test]
    fn values() {
        let long = "x".repeat(4097);
        accepted::<PgValue>(&["", "8MB", "it's", "{{ x }}", "'a, b'", "%m [%p] "]);
        refused::<PgValue>(&[("a\nb", "one line"), ("a\0", "NUL"), (&long, "at most 4096")]);
    }

    #[test]
    fn passwords() {
        let password = |text: &str| text.parse::<Password>();
        for text in ["password", " a b ", "pä$$'\"\\{{", &"x".repeat(512)] {
            assert_eq!(password(text).map(|p| p.reveal().to_owned()), Ok(text.to_owned()));
        }
        for text in ["", "secret\n", "secret\0", "secret\u{85}", &"secret".repeat(100)] {
            let error = password(text).expect_err("refused");
            assert!(!error.reason.contains("secret"), "{error}");
        }
        assert_eq!(format!("{:?}", password("secret")), "Ok(Password(***))");
        assert_eq!(password("a_B.9-").map(|p| p.check_crunchy()), Ok(Ok(())));
        assert!(password("a/b").is_ok_and(|p| p.check_crunchy().is_err()));
    }
}
