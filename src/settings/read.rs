//! One setting at a time: flag, else environment, else file, else checkout, parsed, with what is wrong noted and not returned, so that
//! everything wrong is reported at once.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use super::file::SettingsFile;
use super::input::{Env, Variable};
use super::source::{Problem, Source, Sourced};
use super::table::Setting;
use super::types::{Folder, Invalid};

/// What was found for a setting.
pub(super) enum Read<T> {
    Given(Sourced<T>),
    Absent,
    /// Given, but not what it has to be; the problem is noted. Whatever depends on it is no problem of its own.
    Bad,
}

impl<T> Read<T> {
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    pub fn given(&self) -> Option<&Sourced<T>> {
        match self {
            Self::Given(sourced) => Some(sourced),
            Self::Absent | Self::Bad => None,
        }
    }
}

/// Reads settings and keeps what is wrong and where each value came from.
pub(super) struct Reader<'a> {
    env: &'a Env,
    file: &'a SettingsFile,
    pub problems: Vec<Problem>,
    pub sources: BTreeMap<Setting, Source>,
}

impl<'a> Reader<'a> {
    pub fn new(env: &'a Env, file: &'a SettingsFile) -> Self {
        Self { env, file, problems: file.problems.clone(), sources: BTreeMap::new() }
    }

    /// The text given for a setting, by whoever comes first.
    pub fn text(&mut self, setting: Setting, flag: Option<&str>) -> Read<String> {
        let names = setting.names();
        if let (Some(name), Some(text)) = (names.flag, flag) {
            return Read::Given(Sourced { value: text.to_owned(), source: Source::Flag(name) });
        }
        for name in names.variables {
            let source = Source::Env(name);
            match self.env.get(name) {
                Some(Variable::Text(value)) => return Read::Given(Sourced { value, source }),
                Some(Variable::NotUnicode) => {
                    self.refuse(setting, source, None, "expected UTF-8 text".to_owned(), None);
                    return Read::Bad;
                }
                None => {}
            }
        }
        let given = self.file.values.get(&setting).or_else(|| self.file.below.get(&setting));
        given.map_or(Read::Absent, |sourced| Read::Given(sourced.clone()))
    }

    /// The value given for a setting.
    pub fn read<T: FromStr<Err = Invalid>>(&mut self, setting: Setting, flag: Option<&str>) -> Read<T> {
        self.read_checked(setting, flag, |_| Ok(()))
    }

    /// The value given for a setting, when it also passes `check`.
    pub fn read_checked<T: FromStr<Err = Invalid>>(
        &mut self,
        setting: Setting,
        flag: Option<&str>,
        check: impl FnOnce(&T) -> Result<(), Invalid>,
    ) -> Read<T> {
        match self.text(setting, flag) {
            Read::Given(given) => self.parsed(setting, given, check),
            Read::Absent => Read::Absent,
            Read::Bad => Read::Bad,
        }
    }

    /// A text that was given, as a value.
    pub fn parsed<T: FromStr<Err = Invalid>>(
        &mut self,
        setting: Setting,
        given: Sourced<String>,
        check: impl FnOnce(&T) -> Result<(), Invalid>,
    ) -> Read<T> {
        let Sourced { value: text, source } = given;
        match text.parse::<T>().and_then(|value| check(&value).map(|()| value)) {
            Ok(value) => Read::Given(Sourced { value, source }),
            Err(Invalid { reason }) => {
                self.refuse(setting, source, Some(text), reason, None);
                Read::Bad
            }
        }
    }

    /// A folder on this machine that is there; one that a settings file names is sought from the file's own folder.
    pub fn folder(
        &mut self,
        setting: Setting,
        flag: Option<&str>,
        is_directory: impl FnOnce(&std::path::Path) -> bool,
    ) -> Read<PathBuf> {
        let (folder, source) = match self.read::<Folder>(setting, flag) {
            Read::Given(Sourced { value, source }) => (value.into_path(), source),
            Read::Absent => return Read::Absent,
            Read::Bad => return Read::Bad,
        };
        let base = match &source {
            Source::File { path, .. } => path.parent(),
            _ => None,
        };
        let value = base.map_or_else(|| folder.clone(), |base| base.join(&folder));
        if is_directory(&value) {
            return Read::Given(Sourced { value, source });
        }
        let reason = "expected a folder that exists on this machine".to_owned();
        self.refuse(setting, source, Some(value.display().to_string()), reason, None);
        Read::Bad
    }

    /// The value to use; where it came from is kept.
    pub fn settle<T>(&mut self, setting: Setting, read: Read<T>, default: impl FnOnce() -> Sourced<T>) -> Sourced<T>
    where
        T: Clone,
    {
        let settled = match read {
            Read::Given(given) => given,
            Read::Absent | Read::Bad => default(),
        };
        self.sources.insert(setting, settled.source.clone());
        settled
    }

    /// Notes that a value cannot be used.
    pub fn refuse(
        &mut self,
        setting: Setting,
        source: Source,
        value: Option<String>,
        reason: String,
        hint: Option<String>,
    ) {
        let value = value.filter(|_| !setting.is_secret());
        self.problems.push(Problem { setting: setting.key().to_owned(), source, value, reason, hint });
    }

    /// Notes what a later check found.
    pub fn check(&mut self, setting: Setting, source: &Source, value: &str, result: Result<(), Invalid>) {
        if let Err(Invalid { reason }) = result {
            self.refuse(setting, source.clone(), Some(value.to_owned()), reason, None);
        }
    }
}

/// A default that is written in the program.
pub(super) fn known<T: FromStr<Err = Invalid>>(text: &'static str) -> T {
    // A default is as constant as the check; `defaults_are_valid` tries them all.
    text.parse().unwrap_or_else(|error| unreachable!("the default {text:?} is invalid: {error}"))
}
