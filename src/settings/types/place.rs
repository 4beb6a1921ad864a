//! Where things are: paths and NFS servers.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::{Invalid, invalid, invisible, named};

text_type!(
    /// An absolute path without `.`, `..`, invisible characters, repeated slashes or a trailing slash.
    AbsolutePath
);

impl AbsolutePath {
    /// Linux' `PATH_MAX`, the terminating NUL left out.
    pub const MAX: usize = 4095;

    /// Whether this is `/` itself.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0 == "/"
    }
}

impl FromStr for AbsolutePath {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        check_path(text)?;
        if !text.starts_with('/') {
            return invalid("expected an absolute path, one that starts with `/`");
        }
        let mut path = String::with_capacity(text.len());
        for component in text.split('/').filter(|component| !matches!(*component, "" | ".")) {
            if component == ".." {
                return invalid("expected a path without `..`, which could lead anywhere");
            }
            if component.len() > 255 {
                return invalid("expected names of at most 255 bytes between the slashes, as in every file system");
            }
            path.push('/');
            path.push_str(component);
        }
        Ok(Self(if path.is_empty() { "/".to_owned() } else { path }))
    }
}

/// A folder on this machine; may be relative.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder(PathBuf);

impl Folder {
    #[must_use]
    pub fn as_path(&self) -> &Path {
        &self.0
    }

    #[must_use]
    pub fn into_path(self) -> PathBuf {
        self.0
    }
}

impl FromStr for Folder {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        check_path(text)?;
        Ok(Self(PathBuf::from(text)))
    }
}

fn check_path(text: &str) -> Result<(), Invalid> {
    if text.is_empty() {
        return invalid("expected a path, found nothing");
    }
    if let Some(c) = invisible(text) {
        return invalid(format!("expected a path without invisible characters, found {}", named(c)));
    }
    if text.len() > AbsolutePath::MAX {
        return invalid(format!("expected a path of at most {} bytes, found {}", AbsolutePath::MAX, text.len()));
    }
    Ok(())
}

/// Where an NFS export is: an address or a host name.
///
/// Shown as Kubernetes wants it: an IPv6 address without brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NfsServer {
    Address(IpAddr),
    Host(String),
}

impl FromStr for NfsServer {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() {
            return invalid("expected an address or a host name, found nothing");
        }
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        if let Ok(address) = bare.parse::<IpAddr>() {
            if address.is_unspecified() || address.is_multicast() {
                return invalid("expected the address of one server");
            }
            return Ok(Self::Address(address));
        }
        host(text)?;
        Ok(Self::Host(text.to_owned()))
    }
}

fn host(text: &str) -> Result<(), Invalid> {
    if text.contains('/') || text.contains(":/") {
        return invalid("expected the server's address or host name alone: the path is a setting of its own, nfs-path");
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if let Some(c) = text.chars().find(|&c| !allowed(c)) {
        return invalid(format!("expected an address or a host name, found {} in it", named(c)));
    }
    if text.len() > 253 {
        return invalid(format!("expected a host name of at most 253 characters, found {}", text.len()));
    }
    let good = |label: &str| (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-');
    let labels = text.strip_suffix('.').unwrap_or(text);
    if !labels.split('.').all(good) {
        return invalid("expected a host name of parts of 1 to 63 characters, with no hyphen at a part's end");
    }
    // No top-level domain is a number, so this is an address gone wrong: 10.0.0.256, 10.0.0.
    if labels.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit())) {
        return invalid("expected an address like 10.0.0.5, or a host name");
    }
    Ok(())
}

impl fmt::Display for NfsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Host(host) => host.fmt(f),
        }
    }
}

impl serde::Serialize for NfsServer {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{accepted, refused};
    use super::*;

    #[test]
    fn absolute_paths() {
        accepted::<AbsolutePath>(&["/", "/nfsfileshare", "/a b/ü", "/a:b", "/..a/b.."]);
        for (text, path) in [("/a/", "/a"), ("//a//b/./", "/a/b"), ("/.", "/"), ("///", "/")] {
            assert_eq!(text.parse::<AbsolutePath>().map(|p| p.to_string()), Ok(path.to_owned()));
        }
        let long = format!("/{}", "a/".repeat(2048));
        let long_name = format!("/{}", "a".repeat(256));
        refused::<AbsolutePath>(&[
            ("", "nothing"),
            ("nfs", "starts with `/`"),
            ("./nfs", "starts with `/`"),
            ("~/nfs", "starts with `/`"),
            ("/a/../b", "without `..`"),
            ("/..", "without `..`"),
            ("/a\n", "a line break"),
            ("/a\0b", "NUL"),
            ("/a\u{202e}b", "U+202E"),
            (&long, "at most 4095 bytes"),
            (&long_name, "at most 255 bytes"),
        ]);
    }

    #[test]
    fn nfs_servers() {
        accepted::<NfsServer>(&[
            "10.0.0.5",
            "fd00::1",
            "127.0.0.1",
            "nfs",
            "nfs.example.com",
            "nfs_1.local",
            "n.example.",
        ]);
        assert_eq!("[fd00::1]".parse(), Ok(NfsServer::Address("fd00::1".parse().expect("an address"))));
        assert_eq!("nfs".parse(), Ok(NfsServer::Host("nfs".to_owned())));
        let long = "a.".repeat(128);
        let long_label = "a".repeat(64);
        refused::<NfsServer>(&[
            ("", "nothing"),
            ("0.0.0.0", "one server"),
            ("::", "one server"),
            ("224.0.0.1", "one server"),
            ("10.0.0.256", "like 10.0.0.5"),
            ("10.0.0", "like 10.0.0.5"),
            ("10", "like 10.0.0.5"),
            ("10.0.0.5:/nfs", "nfs-path"),
            ("10.0.0.5 10.0.0.6", "a space"),
            ("10.0.0.5:2049", "found ':'"),
            ("fe80::1%eth0", "found ':'"),
            ("`hostname --ip-address`", "found '`'"),
            ("-nfs", "hyphen"),
            ("a..b", "parts"),
            (".", "parts"),
            (&long_label, "parts"),
            (&long, "at most 253"),
        ]);
    }

    #[test]
    fn folders() {
        assert_eq!("a/../b".parse::<Folder>().map(Folder::into_path), Ok(PathBuf::from("a/../b")));
        refused::<Folder>(&[("", "nothing"), ("a\nb", "a line break")]);
    }
}
