//! Secrets kept out of everything that is shown: what looks like one, and what is known to be one.

use std::fmt;
use std::sync::LazyLock;

use regex::{Captures, Regex};

/// What stands in the place of a secret.
const HIDDEN: &str = "***";

/// A shorter password would tear holes into every text and hide nothing: who guesses it needs no log.
const SHORTEST: usize = 4;

/// The 2017 example's own password, and the superuser's name: words that messages need, and that are no secret.
const WORDS: [&str; 2] = ["password", "postgres"];

/// The passwords that whoever looks at the set happens to know, so that none of them is ever shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Mask {
    known: Vec<String>,
}

impl Mask {
    #[must_use]
    pub fn of(secrets: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let secrets = secrets.into_iter().map(Into::into);
        let mut known: Vec<String> =
            secrets.filter(|secret| secret.len() >= SHORTEST && !WORDS.contains(&secret.as_str())).collect();
        // The longest first: one password may be the beginning of another.
        known.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self { known }
    }

    /// The text with everything hidden that is a secret or looks like one.
    #[must_use]
    pub fn hide(&self, text: &str) -> String {
        hide(&self.hide_known(text))
    }

    /// The text without the known passwords.
    #[must_use]
    pub fn hide_known(&self, text: &str) -> String {
        self.known.iter().fold(text.to_owned(), |text, secret| {
            if text.contains(secret.as_str()) { text.replace(secret.as_str(), HIDDEN) } else { text }
        })
    }
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mask of {} secrets", self.known.len())
    }
}

/// What gives a secret away by its shape; the group `secret` is what must go.
static SHAPES: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let shapes = [
        // PGPASSWORD=x, password = 'x y', "password": "x". Not `"passwords" : …`, which is a volume's name.
        r#"(?i)(?:(?:passw(?:or)?d|secret_?key|api_?key)["']?(?:\s*=\s*|:\s*)|token["']?(?:\s*=\s*|"\s*:\s*))(?<secret>"(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.|'')*'?|[^\s,;&"')]+)"#,
        // ALTER ROLE x PASSWORD 'y'.
        r"(?i)password\s+(?<secret>'(?:[^']|'')*'?)",
        // postgres://user:x@host.
        r"://[^:/@\s]*:(?<secret>[^@\s]+)@",
        r"(?i)bearer\s+(?<secret>[A-Za-z0-9._~+/=-]{8,})",
        r"(?<secret>SCRAM-SHA-256\$[^\s'\x22]+)",
        r"\b(?<secret>md5[0-9a-f]{32})\b",
        r"(?<secret>-----BEGIN [A-Z ]*PRIVATE KEY-----.*)",
    ];
    // Each is a constant that a test has seen to parse.
    shapes.iter().filter_map(|shape| Regex::new(shape).ok()).collect()
});

/// The text with everything hidden that looks like a secret.
#[must_use]
pub fn hide(text: &str) -> String {
    SHAPES.iter().fold(text.to_owned(), |text, shape| {
        let hidden = shape.replace_all(&text, |found: &Captures<'_>| {
            let whole = found.get(0).map(|whole| (whole.start(), whole.as_str())).unwrap_or_default();
            let secret = found.name("secret").map(|secret| (secret.start() - whole.0, secret.end() - whole.0));
            let (start, end) = secret.unwrap_or((0, whole.1.len()));
            format!("{}{HIDDEN}{}", &whole.1[..start], &whole.1[end..])
        });
        hidden.into_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_parses() {
        assert_eq!(SHAPES.len(), 7);
    }

    #[test]
    fn what_looks_like_a_secret_is_hidden() {
        for (text, hidden) in [
            ("env PGPASSWORD=geheim psql", "env PGPASSWORD=*** psql"),
            ("host=a password='ge heim' user=b", "host=a password=*** user=b"),
            ("host=a password = geheim", "host=a password = ***"),
            (r#"{"password": "geheim", "user": "b"}"#, r#"{"password": ***, "user": "b"}"#),
            ("PG_ROOT_PASSWORD=a,PG_PASSWORD=b", "PG_ROOT_PASSWORD=***,PG_PASSWORD=***"),
            (
                "STATEMENT:  ALTER ROLE x PASSWORD 'it''s' VALID UNTIL 'x'",
                "STATEMENT:  ALTER ROLE x PASSWORD *** VALID UNTIL 'x'",
            ),
            ("postgres://me:geheim@db:5432/x", "postgres://me:***@db:5432/x"),
            ("Authorization: Bearer eyJhbGciOi.abc", "Authorization: Bearer ***"),
            ("SCRAM-SHA-256$4096:salt$key:key", "***"),
            ("truncated: password='geheim", "truncated: password=***"),
        ] {
            assert_eq!(hide(text), hidden);
        }
    }

    #[test]
    fn messages_about_passwords_stay_readable() {
        for text in [
            "password authentication failed for user \"replicator\"",
            "MountVolume.SetUp failed for volume \"passwords\" : secret \"pgset-passwords\" not found",
            "there is no password \"replication\" in the Secret (looked for /pgset/passwords/replication)",
            "failed to read Secret pgset-passwords: forbidden",
            "10.0.0.5:/nfsfileshare",
        ] {
            assert_eq!(hide(text), text);
        }
    }

    #[test]
    fn known_passwords_never_appear_whatever_stands_around_them() {
        let mask = Mask::of(["geheim", "geheimnis", "abc", "password"]);
        assert_eq!(mask.hide("xgeheimnisx geheim abc"), "x***x *** abc");
        let message = "password authentication failed";
        assert_eq!(mask.hide(message), message, "the word that the messages themselves need");
        assert_eq!(format!("{mask:?}"), "Mask of 2 secrets");
    }
}
