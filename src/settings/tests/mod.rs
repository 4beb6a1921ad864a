//! What the whole of the module promises: who wins, what is refused and how, and that nothing bad gets through.

mod hostile;
mod precedence;
mod refusals;

use std::io;
use std::net::IpAddr;
use std::path::Path;

use clap::Parser as _;

use super::*;
use crate::cli::{Cli, Command, Common, SettingsFlags};
use crate::commands::settings::{Row, rows};

/// What a person gave, and where.
#[derive(Clone, Copy, Default)]
pub(crate) struct Given<'a> {
    pub flags: &'a [&'a str],
    pub env: &'a [(&'a str, &'a str)],
    pub file: &'a str,
    /// The namespace of the kubeconfig's context.
    pub kubeconfig: Option<&'a str>,
}

/// A machine at 10.0.0.1 with the folders `/base`, `/base/templates`, `/mine` and `conf/mine`.
struct Fake(&'static [&'static str]);

const MACHINE: Fake = Fake(&["127.0.1.1", "10.0.0.1"]);

impl Machine for Fake {
    fn is_directory(&self, path: &Path) -> bool {
        ["/base", "/base/templates", "/mine", "conf/mine"].iter().any(|known| path == Path::new(known))
    }

    fn addresses(&self) -> io::Result<Vec<IpAddr>> {
        if self.0.is_empty() {
            return Err(io::Error::other("Name or service not known"));
        }
        Ok(self.0.iter().map(|address| address.parse().expect(address)).collect())
    }
}

impl Given<'_> {
    pub(crate) fn resolve(self) -> Result<Resolved, Vec<Problem>> {
        self.resolve_on(&MACHINE)
    }

    fn resolve_on(self, machine: &dyn Machine) -> Result<Resolved, Vec<Problem>> {
        let (common, flags) = parse(self.flags);
        let env: Env = self.env.iter().copied().collect();
        let file = SettingsFile::parse(Path::new("conf/pgset.yaml"), self.file);
        let context = Context { namespace: self.kubeconfig, machine };
        resolve(&Inputs { common: &common, flags: &flags, env: &env, file: &file, context })
    }

    /// The row of a setting: `VALUE (SOURCE)`; empty when the setting is not in use.
    fn row(self, setting: &str) -> String {
        let resolved = self.resolve().unwrap_or_else(|problems| panic!("{setting}: {}", joined(&problems)));
        let found = rows(&resolved).into_iter().find(|row| row.setting == setting);
        found.map_or(String::new(), |Row { value, source, .. }| format!("{value} ({source})"))
    }

    /// Everything that is wrong, a line each, with the hints.
    fn refused(self) -> String {
        self.resolve().map_or_else(|problems| joined(&problems), |_| panic!("accepted: {:?}", self.flags))
    }
}

/// The row of a setting, as [`Given::row`] shows it.
fn row(setting: &str, flags: &[&str], env: &[(&str, &str)], file: &str) -> String {
    Given { flags, env, file, kubeconfig: None }.row(setting)
}

fn joined(problems: &[Problem]) -> String {
    let failure = failure(problems);
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let hints: Vec<String> = failure.hints.iter().map(|hint| format!("hint: {hint}")).collect();
    [lines, hints].concat().join("\n")
}

fn parse(flags: &[&str]) -> (Common, SettingsFlags) {
    let words = ["pgset", "settings"].iter().chain(flags);
    let cli = Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{error}"));
    match cli.command {
        Command::Settings(args) => (cli.common, args.settings),
        other => panic!("parsed as {other:?}"),
    }
}
