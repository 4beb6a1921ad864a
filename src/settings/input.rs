//! What settings are resolved from beside flags and file: environment, kubeconfig, this machine. The functions that look
//! at the real ones stand here; everything else takes what they found.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::path::Path;

use super::table::{CHECKOUT_VARIABLES, Setting};

/// The environment variables pgset knows.
#[derive(Clone, Default)]
pub struct Env {
    values: BTreeMap<String, OsString>,
}

/// What a variable holds.
pub(super) enum Variable {
    Text(String),
    NotUnicode,
}

impl Env {
    /// The process's own environment: the only place it is read.
    #[must_use]
    pub fn from_process() -> Self {
        let names = Setting::ALL.iter().flat_map(|setting| setting.names().variables).chain(&CHECKOUT_VARIABLES);
        names.filter_map(|name| Some((*name, std::env::var_os(name)?))).collect()
    }

    /// A variable's value as text; one that is empty, or no text, is not set.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        match self.get(name) {
            Some(Variable::Text(text)) => Some(text),
            Some(Variable::NotUnicode) | None => None,
        }
    }

    /// A variable's value; one that is empty is not set.
    pub(super) fn get(&self, name: &str) -> Option<Variable> {
        let value = self.values.get(name).filter(|value| !value.is_empty())?;
        Some(value.to_str().map_or(Variable::NotUnicode, |text| Variable::Text(text.to_owned())))
    }
}

/// The names alone: some values are passwords.
impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

impl<K: Into<String>, V: Into<OsString>> FromIterator<(K, V)> for Env {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self { values: pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect() }
    }
}

/// What is known beside flags, environment and file.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The namespace of the kubeconfig's context, as it stands there.
    pub namespace: Option<&'a str>,
    pub machine: &'a dyn Machine,
}

/// The machine pgset runs on, as far as settings depend on it.
pub trait Machine {
    fn is_directory(&self, path: &Path) -> bool;

    /// The addresses the machine's own name stands for, as `hostname --ip-address` prints them.
    ///
    /// # Errors
    ///
    /// When the machine's name is unknown to it or to its resolver.
    fn addresses(&self) -> io::Result<Vec<IpAddr>>;
}

/// The real one.
#[derive(Clone, Copy, Debug, Default)]
pub struct ThisMachine;

impl Machine for ThisMachine {
    fn is_directory(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn addresses(&self) -> io::Result<Vec<IpAddr>> {
        let name = hostname::get()?;
        let name = name.to_str().ok_or_else(|| io::Error::other("the host name is not valid UTF-8"))?;
        Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
    }
}

/// The address other machines most likely reach this one at.
pub(super) fn preferred(addresses: &[IpAddr]) -> Option<IpAddr> {
    let score = |address: &IpAddr| match address {
        _ if address.is_unspecified() || address.is_multicast() => 5,
        _ if address.is_loopback() => 4,
        IpAddr::V6(v6) if v6.is_unicast_link_local() => 3,
        IpAddr::V4(v4) if v4.is_link_local() => 2,
        IpAddr::V6(_) => 1,
        IpAddr::V4(_) => 0,
    };
    addresses.iter().min_by_key(|address| score(address)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefers_addresses_that_others_reach() {
        let pick = |texts: &[&str]| {
            let addresses: Vec<IpAddr> = texts.iter().map(|text| text.parse().expect(text)).collect();
            preferred(&addresses).map(|address| address.to_string())
        };
        assert_eq!(pick(&[]), None);
        assert_eq!(pick(&["127.0.1.1"]).as_deref(), Some("127.0.1.1"));
        assert_eq!(pick(&["127.0.1.1", "fe80::1", "fd00::1", "10.0.0.5", "10.0.0.6"]).as_deref(), Some("10.0.0.5"));
        assert_eq!(pick(&["::1", "fe80::1", "fd00::1"]).as_deref(), Some("fd00::1"));
        assert_eq!(pick(&["::1", "169.254.0.1"]).as_deref(), Some("169.254.0.1"));
    }

    #[test]
    fn this_machine_answers() {
        assert!(ThisMachine.is_directory(Path::new("/")));
        assert!(!ThisMachine.is_directory(Path::new("/nowhere-at-all")));
        // A container without a hosts entry for its own name may fail; it must not panic.
        let _ = ThisMachine.addresses();
    }

    #[test]
    fn empty_variables_are_not_set() {
        let env: Env = [("A", ""), ("B", "b")].into_iter().collect();
        assert!(env.get("A").is_none() && env.get("C").is_none());
        assert!(matches!(env.get("B"), Some(Variable::Text(text)) if text == "b"));
        assert_eq!(format!("{env:?}"), "{\"A\", \"B\"}", "values may be passwords");
    }
}
