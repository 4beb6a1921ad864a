//! Container image references.

use std::str::FromStr;

use super::{Invalid, invalid, named};

text_type!(
    /// A container image reference: `[registry[:port]/]path[:tag][@digest]`.
    Image
);

text_type!(
    /// What stands before the colon-separated tag of the seed's images: `crunchydata`, `registry:5000/crunchydata`.
    ImagePrefix
);

text_type!(
    /// An image's tag.
    ImageTag
);

impl Image {
    /// The last component of the path: `postgres` in `docker.io/library/postgres:17`.
    #[must_use]
    pub fn base_name(&self) -> &str {
        let name = split(&self.0).name;
        name.rsplit('/').next().unwrap_or(name)
    }

    /// The tag, when there is one.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        split(&self.0).tag
    }

    /// The digest, when there is one: `sha256:…`.
    #[must_use]
    pub fn digest(&self) -> Option<&str> {
        split(&self.0).digest
    }
}

impl FromStr for Image {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let Parts { name, tag, digest } = split(text);
        check_name(name)?;
        if let Some(tag) = tag {
            check_tag(tag)?;
        }
        if let Some(digest) = digest {
            check_digest(digest)?;
        }
        Ok(Self(text.to_owned()))
    }
}

impl FromStr for ImagePrefix {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        // A slash makes the last component one of a path, so that a tag's colon is not taken for one.
        let text = text.strip_suffix('/').unwrap_or(text);
        if text.is_empty() {
            return invalid("expected a registry or a path, found nothing");
        }
        check_name(&format!("{text}/image"))?;
        Ok(Self(text.to_owned()))
    }
}

impl FromStr for ImageTag {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        check_tag(text)?;
        Ok(Self(text.to_owned()))
    }
}

struct Parts<'a> {
    name: &'a str,
    tag: Option<&'a str>,
    digest: Option<&'a str>,
}

fn split(text: &str) -> Parts<'_> {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    };
    // A colon in any component but the last is a port's.
    let last = rest.rfind('/').map_or(0, |slash| slash + 1);
    match rest[last..].find(':') {
        Some(colon) => Parts { name: &rest[..last + colon], tag: Some(&rest[last + colon + 1..]), digest },
        None => Parts { name: rest, tag: None, digest },
    }
}

fn check_name(name: &str) -> Result<(), Invalid> {
    if name.is_empty() {
        return invalid("expected an image's name, found nothing");
    }
    if let Some(c) = name.chars().find(|c| !c.is_ascii_graphic()) {
        return invalid(format!("expected an image reference, found {} in it", named(c)));
    }
    if name.contains("://") {
        return invalid("expected an image reference, not a URL: leave out what stands before `://` and that itself");
    }
    if name.len() > 255 {
        return invalid(format!("expected a name of at most 255 characters, found {}", name.len()));
    }
    let path = match name.split_once('/') {
        Some((first, path)) if first == "localhost" || first.contains(['.', ':', '[']) => {
            check_registry(first)?;
            path
        }
        _ => name,
    };
    for component in path.split('/') {
        check_component(component)?;
    }
    Ok(())
}

fn check_registry(text: &str) -> Result<(), Invalid> {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, "")) => (address, None),
        Some((address, port)) => (address, Some(port.strip_prefix(':').unwrap_or(port))),
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if let Some(port) = port {
        let number = port.parse::<u16>().ok().filter(|n| *n > 0 && port.bytes().all(|b| b.is_ascii_digit()));
        if number.is_none() {
            return invalid(format!("expected a port from 1 to 65535 after the registry's name, found {port:?}"));
        }
    }
    if text.starts_with('[') {
        return match host.parse::<std::net::Ipv6Addr>() {
            Ok(_) => Ok(()),
            Err(_) => invalid("expected an IPv6 address between the brackets"),
        };
    }
    let good = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if host.split('.').all(good) { Ok(()) } else { invalid(format!("expected a registry's host name, found {host:?}")) }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn check_component(component: &str) -> Result<(), Invalid> {
    if component.is_empty() {
        return invalid("expected a name between slashes and at both ends, found nothing");
    }
    if component.contains(|c: char| c.is_ascii_uppercase()) {
        return invalid(format!("expected lowercase letters only in an image's path, found {component:?}"));
    }
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if let Some(c) = component.chars().find(|&c| !word(c) && !matches!(c, '.' | '_' | '-')) {
        return invalid(format!("expected letters, digits, `.`, `_` and `-` in an image's path, found {}", named(c)));
    }
    if !component.starts_with(word) || !component.ends_with(word) {
        return invalid(format!("expected a letter or digit at both ends of {component:?} in the image's path"));
    }
    let separator = |s: &str| matches!(s, "" | "." | "_" | "__") || s.bytes().all(|b| b == b'-');
    if component.split(word).all(separator) {
        Ok(())
    } else {
        invalid(format!("expected `.`, `_`, `__` or hyphens between the words of {component:?} in the image's path"))
    }
}

fn check_tag(tag: &str) -> Result<(), Invalid> {
    if tag.is_empty() {
        return invalid("expected a tag, found nothing");
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if let Some(c) = tag.chars().find(|&c| !allowed(c)) {
        return invalid(format!("expected letters, digits, `_`, `.` and `-` in an image's tag, found {}", named(c)));
    }
    if tag.starts_with(['.', '-']) {
        return invalid("expected a letter, digit or `_` at the start of an image's tag");
    }
    if tag.len() > 128 {
        return invalid(format!("expected a tag of at most 128 characters, found {}", tag.len()));
    }
    Ok(())
}

fn check_digest(digest: &str) -> Result<(), Invalid> {
    let length = match digest.split_once(':').map(|(algorithm, hex)| (algorithm, hex.len())) {
        Some(("sha256", length)) => length == 64,
        Some(("sha512", length)) => length == 128,
        _ => return invalid("expected a digest like sha256:… after the `@`"),
    };
    let hex = digest.rsplit(':').next().unwrap_or_default();
    if length && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
        Ok(())
    } else {
        invalid("expected 64 lowercase hexadecimal digits after `sha256:` (128 after `sha512:`)")
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{accepted, refused};
    use super::*;

    #[test]
    fn images() {
        let digest = format!("postgres@sha256:{}", "0a".repeat(32));
        let both = format!("quay.io/a/b:1@sha256:{}", "0a".repeat(32));
        accepted::<Image>(&[
            "postgres",
            "postgres:17",
            "docker.io/library/postgres:17.2-alpine3.21",
            "localhost/pg",
            "localhost:5000/pg:x",
            "registry.example.com:5000/team/a__b/c-d.e:V1_2",
            "REGISTRY.example.com/pg",
            "10.0.0.1:5000/pg",
            "[fd00::1]:5000/pg:1",
            "crunchydata/crunchy-postgres:centos7-9.6-1.2.7",
            &digest,
            &both,
        ]);
        let bad_digest = format!("postgres@sha256:{}", "0A".repeat(32));
        let long = "a".repeat(256);
        let long_tag = format!("a:{}", "b".repeat(129));
        refused::<Image>(&[
            ("", "found nothing"),
            (":17", "found nothing"),
            ("postgres:", "expected a tag"),
            ("postgres::17", "found ':'"),
            ("postgres:17:1", "found ':'"),
            ("Postgres:17", "lowercase"),
            ("docker.io/Library/postgres", "lowercase"),
            ("Library/postgres", "lowercase"),
            ("post gres", "found a space"),
            ("postgres:1 7", "found a space"),
            ("postgres\n", "found a line break"),
            ("postgrés", "found 'é'"),
            ("a//b", "found nothing"),
            ("/a", "found nothing"),
            ("a/", "found nothing"),
            ("a/:1", "found nothing"),
            ("a..b", "between the words"),
            ("a___b", "between the words"),
            ("a/-b", "both ends"),
            ("a/b_", "both ends"),
            ("postgres:.1", "at the start"),
            ("postgres:{{ x }}", "found '{'"),
            ("a$b", "found '$'"),
            ("https://docker.io/postgres", "not a URL"),
            ("r.io:x/pg", "expected a port"),
            ("r.io:/pg", "expected a port"),
            ("r.io:0/pg", "expected a port"),
            ("r.io:+5/pg", "expected a port"),
            ("r..io/pg", "registry's host name"),
            ("-r.io/pg", "registry's host name"),
            ("[zz]/pg", "IPv6"),
            ("postgres@", "digest"),
            ("postgres@sha256", "digest"),
            ("postgres@md5:00", "digest"),
            ("postgres@sha256:00", "64 lowercase"),
            (&bad_digest, "64 lowercase"),
            (&long, "at most 255"),
            (&long_tag, "at most 128"),
        ]);
    }

    #[test]
    fn parts() {
        let image: Image = "localhost:5000/team/pg:17-alpine".parse().expect("an image");
        assert_eq!((image.base_name(), image.tag(), image.digest()), ("pg", Some("17-alpine"), None));
        let image: Image = format!("pg@sha256:{}", "00".repeat(32)).parse().expect("an image");
        assert_eq!((image.base_name(), image.tag()), ("pg", None));
        assert!(image.digest().is_some_and(|digest| digest.starts_with("sha256:")));
    }

    #[test]
    fn prefixes_and_tags() {
        accepted::<ImagePrefix>(&["crunchydata", "registry:5000/crunchydata", "r.io", "localhost:5000"]);
        assert_eq!("r.io/a/".parse::<ImagePrefix>().map(|p| p.to_string()), Ok("r.io/a".to_owned()));
        refused::<ImagePrefix>(&[
            ("", "nothing"),
            ("/", "nothing"),
            ("Crunchy", "lowercase"),
            ("a:b", "expected a port"),
            ("a@b", "found '@'"),
        ]);
        accepted::<ImageTag>(&["centos7-9.6-1.2.7", "1"]);
        refused::<ImageTag>(&[("", "nothing"), ("a:b", "found ':'"), ("$TAG", "found '$'"), ("a b", "found a space")]);
    }
}
