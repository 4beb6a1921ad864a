//! `pgset.yaml`: flat keys named like the flags, and a `postgresql:` map. The only reader of the settings file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::source::{Problem, Source, Sourced};
use super::table::Setting;
use crate::yaml;

/// The file that is read from the current directory when none is named.
pub const DEFAULT_FILE: &str = "pgset.yaml";

/// More than any settings need; a larger file is a mistake. The YAML reader takes time by the square of the nesting, and
/// seconds for a megabyte of brackets.
const MAX_BYTES: u64 = 64 << 10;

/// What a settings file says, before any value is judged.
#[derive(Clone, Debug, Default)]
pub struct SettingsFile {
    /// Where it is; `None` when there is none.
    pub path: Option<PathBuf>,
    pub(super) values: BTreeMap<Setting, Sourced<String>>,
    /// The entries of `postgresql:`, in the order of their names.
    pub(super) parameters: Vec<(String, Sourced<String>)>,
    /// What stands below the file: a checkout's own values.
    pub(super) below: BTreeMap<Setting, Sourced<String>>,
    /// What is wrong with the file itself; [`resolve()`](super::resolve()) reports it with everything else.
    pub(super) problems: Vec<Problem>,
}

impl SettingsFile {
    /// Reads the named file, or `pgset.yaml` in the current directory when none is named and there is one.
    #[must_use]
    pub fn load(named: Option<&Path>) -> Self {
        let path = named.unwrap_or(Path::new(DEFAULT_FILE));
        match read(path) {
            Ok(text) => Self::parse(path, &text),
            Err(error) if named.is_none() && error.kind() == ErrorKind::NotFound => Self::default(),
            Err(error) => {
                let mut file = Self { path: Some(path.to_owned()), ..Self::default() };
                file.refuse(None, format!("failed to read the settings file: {error}"));
                file
            }
        }
    }

    /// The same file over these values, which count where neither it nor anything stronger says otherwise.
    #[must_use]
    pub fn over(mut self, below: BTreeMap<Setting, Sourced<String>>) -> Self {
        self.below = below;
        self
    }

    /// Takes `text` for the content of the file at `path`.
    #[must_use]
    pub fn parse(path: &Path, text: &str) -> Self {
        let mut file = Self { path: Some(path.to_owned()), ..Self::default() };
        match yaml::parse_verbatim(text) {
            Ok(Value::Object(entries)) => {
                for (key, value) in entries {
                    file.entry(text, &key, value);
                }
            }
            Ok(Value::Null) => {}
            Ok(_) => file.refuse(None, "expected settings like `replicas: 3`, one a line".to_owned()),
            Err(error) => file.refuse((error.line > 0).then_some(error.line), error.message),
        }
        // In the order a person reads the file.
        file.problems.sort_by_key(|problem| match problem.source {
            Source::File { line, .. } => line,
            _ => None,
        });
        file
    }

    fn entry(&mut self, text: &str, key: &str, value: Value) {
        let source = self.source(line_of(text, &[key]));
        let setting = Setting::ALL.into_iter().find(|setting| setting.key() == key && !setting.is_secret());
        match (setting, value) {
            (None, _) => self.problems.push(unknown(key, source)),
            (Some(_), Value::Null) => {}
            (Some(Setting::Parameters), Value::Object(entries)) => {
                for (name, value) in entries {
                    let source = self.source(line_of(text, &[key, &name]).or(line_of(text, &[key])));
                    match value {
                        Value::String(value) => self.parameters.push((name, Sourced { value, source })),
                        other => self.wrong_type(&format!("{key}.{name}"), source, "one value", &other),
                    }
                }
            }
            (Some(Setting::Parameters), other) => {
                self.wrong_type(key, source, "parameters like `work_mem: 16MB`, indented, one a line", &other);
            }
            (Some(setting), Value::String(value)) => {
                self.values.insert(setting, Sourced { value, source });
            }
            (Some(_), other) => self.wrong_type(key, source, "one value", &other),
        }
    }

    fn source(&self, line: Option<usize>) -> Source {
        Source::File { path: self.path.clone().unwrap_or_default(), line }
    }

    fn refuse(&mut self, line: Option<usize>, reason: String) {
        let source = self.source(line);
        self.problems.push(Problem { setting: String::new(), source, value: None, reason, hint: None });
    }

    fn wrong_type(&mut self, key: &str, source: Source, expected: &str, found: &Value) {
        let found = match found {
            Value::Null => "nothing",
            Value::Array(_) => "a list",
            Value::Object(_) => "a map",
            Value::Bool(_) | Value::Number(_) | Value::String(_) => "one value",
        };
        let reason = format!("expected {expected}, found {found}");
        self.problems.push(Problem { setting: key.to_owned(), source, value: None, reason, hint: None });
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(std::io::Error::other("it is larger than 64 KiB"));
    }
    String::from_utf8(bytes).map_err(|_| std::io::Error::other("it is not UTF-8 text"))
}

fn unknown(key: &str, source: Source) -> Problem {
    let problem =
        |reason: &str, hint| Problem { setting: key.to_owned(), source, value: None, reason: reason.to_owned(), hint };
    let plain = key.to_lowercase().replace(['_', ' '], "-");
    if plain.contains("passw") {
        let hint = "set PG_PASSWORD, PG_ROOT_PASSWORD or PG_MASTER_PASSWORD in the environment, or set none: pgset makes \
                    passwords and keeps them in a Secret";
        return problem("passwords do not belong in a file that is shared and committed", Some(hint.to_owned()));
    }
    let known = Setting::ALL.into_iter().filter(|setting| !setting.is_secret());
    // A variable's name or a flag's is a better guess than any spelling.
    let same = known.clone().find(|setting| {
        let names = setting.names();
        names.variables.contains(&key)
            || names.flag.is_some_and(|flag| flag.trim_start_matches('-') == plain.trim_start_matches('-'))
    });
    let near = || {
        let squashed = |text: &str| text.replace('-', "");
        known
            .map(|setting| (strsim::damerau_levenshtein(&squashed(&plain), &squashed(setting.key())), setting))
            .min_by_key(|(distance, _)| *distance)
            .filter(|(distance, setting)| *distance <= 1 + setting.key().len() / 4)
            .map(|(_, setting)| setting)
    };
    match same.or_else(near) {
        Some(setting) => problem(&format!("is not a setting: did you mean `{}`?", setting.key()), None),
        None => problem("is not a setting", Some("`pgset settings` lists every setting".to_owned())),
    }
}

/// The line, counted from 1, of a key of the document's own map, or of a map directly below it. A document in flow
/// style has none.
fn line_of(text: &str, path: &[&str]) -> Option<usize> {
    let (first, rest) = path.split_first()?;
    let mut lines = (1..).zip(text.lines());
    let top = |line: &str| !line.starts_with([' ', '\t', '#', '-']);
    let (found, _) = lines.find(|(_, line)| top(line) && key_of(line) == Some(*first))?;
    match rest {
        [] => Some(found),
        [child, ..] => lines
            .take_while(|(_, line)| line.is_empty() || !top(line) || line.starts_with('\r'))
            .find(|(_, line)| key_of(line) == Some(*child))
            .map(|(number, _)| number),
    }
}

/// The key a line of a block map starts with.
fn key_of(line: &str) -> Option<&str> {
    let line = line.trim_start();
    for quote in ['"', '\''] {
        if let Some((key, rest)) = line.strip_prefix(quote).and_then(|rest| rest.split_once(quote)) {
            return rest.trim_start().starts_with(':').then_some(key);
        }
    }
    line.split_once(':').map(|(key, _)| key.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> SettingsFile {
        SettingsFile::parse(Path::new("dir/pgset.yaml"), text)
    }

    fn problems(text: &str) -> Vec<String> {
        parse(text).problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn values_keep_their_text_and_their_line() {
        let file = parse(
            "# ours\n---\nreplicas: 3\nccp-image-tag: 1.10\n\"nfs-path\": '/a b'\nsize:\nlayout: ~\n\npostgresql:\n  # more\n  \
             work_mem: 16MB\n\n  random_page_cost: 1.10\n  autovacuum: true\nuser: x\n",
        );
        assert_eq!(file.problems, []);
        let found: Vec<_> = file
            .values
            .iter()
            .map(|(setting, given)| format!("{}={} {}", setting.key(), given.value, given.source))
            .collect();
        assert_eq!(
            found,
            [
                "ccp-image-tag=1.10 dir/pgset.yaml:4",
                "replicas=3 dir/pgset.yaml:3",
                "nfs-path=/a b dir/pgset.yaml:5",
                "user=x dir/pgset.yaml:15",
            ]
        );
        let found: Vec<_> =
            file.parameters.iter().map(|(name, given)| format!("{name}={} {}", given.value, given.source)).collect();
        assert_eq!(
            found,
            [
                "autovacuum=true dir/pgset.yaml:14",
                "random_page_cost=1.10 dir/pgset.yaml:13",
                "work_mem=16MB dir/pgset.yaml:11",
            ]
        );
    }

    #[test]
    fn flow_style_has_no_lines() {
        let file = parse("{replicas: 3, postgresql: {work_mem: 8MB}}");
        assert_eq!(file.values[&Setting::Replicas].source.to_string(), "dir/pgset.yaml");
        assert_eq!(file.parameters[0].1.source.to_string(), "dir/pgset.yaml");
    }

    #[test]
    fn an_empty_file_says_nothing() {
        for text in ["", "\n", "# only this\n", "---\n", "{}\n"] {
            let file = parse(text);
            assert!(file.values.is_empty() && file.problems.is_empty(), "{text:?}");
        }
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (text, expected) in [
            ("size: 1Gi\nreplica: 3\n", "replica from dir/pgset.yaml:2: is not a setting: did you mean `replicas`?"),
            ("nfsPath: /x\n", "nfsPath from dir/pgset.yaml:1: is not a setting: did you mean `nfs-path`?"),
            ("nfs_server: x\n", "nfs_server from dir/pgset.yaml:1: is not a setting: did you mean `nfs-server`?"),
            ("LOCAL_IP: x\n", "LOCAL_IP from dir/pgset.yaml:1: is not a setting: did you mean `nfs-server`?"),
            ("set-parameter: x\n", "set-parameter from dir/pgset.yaml:1: is not a setting: did you mean `postgresql`?"),
            ("wholly-other: x\n", "wholly-other from dir/pgset.yaml:1: is not a setting"),
            ("\"a\\nb\": x\n", "\"a\\nb\" from dir/pgset.yaml: is not a setting"),
            ("replicas: [3]\n", "replicas from dir/pgset.yaml:1: expected one value, found a list"),
            ("image:\n  name: x\n", "image from dir/pgset.yaml:1: expected one value, found a map"),
            (
                "postgresql: work_mem=1\n",
                "postgresql from dir/pgset.yaml:1: expected parameters like `work_mem: 16MB`, indented, one a line, \
                 found one value",
            ),
            (
                "postgresql:\n  work_mem: [1]\n",
                "postgresql.work_mem from dir/pgset.yaml:2: expected one value, found a list",
            ),
            (
                "postgresql:\n  work_mem:\n",
                "postgresql.work_mem from dir/pgset.yaml:2: expected one value, found nothing",
            ),
            ("- a\n", "dir/pgset.yaml: expected settings like `replicas: 3`, one a line"),
            ("replicas\n", "dir/pgset.yaml: expected settings like `replicas: 3`, one a line"),
            ("a: 1\n---\nb: 2\n", "dir/pgset.yaml: expected one document, found 2"),
        ] {
            assert_eq!(problems(text), [expected], "{text}");
        }
        let broken = problems("size: 1Gi\nimage: a: b\n");
        assert!(broken[0].starts_with("dir/pgset.yaml:2: mapping values are not allowed"), "{broken:?}");
        let twice = problems("size: 1Gi\nsize: 2Gi\n");
        assert!(twice[0].contains("the key \"size\" is given twice"), "{twice:?}");
    }

    #[test]
    fn passwords_are_refused_and_not_repeated() {
        for key in ["password", "PG_PASSWORD", "user-password", "superuserPassword", "passwd"] {
            let file = parse(&format!("{key}: hunter2\n"));
            let text = format!("{:?}", file.problems);
            assert!(text.contains("do not belong in a file") && text.contains("PG_ROOT_PASSWORD"), "{text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn files_that_cannot_be_read_are_problems() {
        let folder = tempfile::tempdir().expect("a folder");
        let load = |name: &str, content: Option<&[u8]>| {
            let path = folder.path().join(name);
            if let Some(content) = content {
                std::fs::write(&path, content).expect("written");
            }
            let file = SettingsFile::load(Some(&path));
            file.problems.iter().map(|problem| problem.reason.clone()).collect::<Vec<_>>().join("; ")
        };
        assert!(load("none", None).contains("No such file"));
        assert!(load("big", Some(&vec![b'#'; (64 << 10) + 1])).contains("larger than 64 KiB"));
        assert_eq!(load("largest", Some(&vec![b'#'; 64 << 10])), "");
        assert!(load("latin1", Some(b"user: f\xfcr")).contains("not UTF-8"));
        assert!(load(".", None).contains("failed to read"));
        assert_eq!(load("good", Some(b"\xef\xbb\xbfreplicas: 3\r\n")), "");
    }
}
