//! The templates: built in, replaced one by one from a folder, rendered so that no value changes their shape.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tera::{Context, ErrorKind, Kwargs, State, Tera};

use super::checkout::Base;
use super::error::ManifestError;
use crate::settings::Flavor;

/// The built-in templates, by the name a person's folder may replace them under.
const BUILT_IN: &[(&str, &str)] = &[
    ("persistentvolume.yaml", include_str!("../../templates/persistentvolume.yaml")),
    ("persistentvolumeclaim.yaml", include_str!("../../templates/persistentvolumeclaim.yaml")),
    ("role.yaml", include_str!("../../templates/role.yaml")),
    ("rolebinding.yaml", include_str!("../../templates/rolebinding.yaml")),
    ("serviceaccount.yaml", include_str!("../../templates/serviceaccount.yaml")),
    ("configmap.yaml", include_str!("../../templates/configmap.yaml")),
    ("service.yaml", include_str!("../../templates/service.yaml")),
    ("service-master.yaml", include_str!("../../templates/service-master.yaml")),
    ("service-replica.yaml", include_str!("../../templates/service-replica.yaml")),
    ("poddisruptionbudget.yaml", include_str!("../../templates/poddisruptionbudget.yaml")),
    ("statefulset.yaml", include_str!("../../templates/statefulset.yaml")),
    ("statefulset-crunchy.yaml", include_str!("../../templates/statefulset-crunchy.yaml")),
    ("postgresql.conf", include_str!("../../templates/postgresql.conf")),
    ("scripts/lib.sh", include_str!("../../templates/scripts/lib.sh")),
    ("scripts/start.sh", include_str!("../../templates/scripts/start.sh")),
    ("scripts/ready.sh", include_str!("../../templates/scripts/ready.sh")),
    ("scripts/live.sh", include_str!("../../templates/scripts/live.sh")),
    ("scripts/stop.sh", include_str!("../../templates/scripts/stop.sh")),
    ("scripts/step-down.sh", include_str!("../../templates/scripts/step-down.sh")),
    ("scripts/pg_hba.conf", include_str!("../../templates/scripts/pg_hba.conf")),
    ("crunchy/lib.sh", include_str!("../../templates/crunchy/lib.sh")),
    ("crunchy/start.sh", include_str!("../../templates/crunchy/start.sh")),
    ("crunchy/ready.sh", include_str!("../../templates/crunchy/ready.sh")),
    ("crunchy/live.sh", include_str!("../../templates/crunchy/live.sh")),
    ("crunchy/stop.sh", include_str!("../../templates/crunchy/stop.sh")),
];

/// The folders of the members' scripts, one a flavor, which are no templates: taken as they are.
const SCRIPTS: &str = "scripts/";
const CRUNCHY: &str = "crunchy/";

/// The templates of one run.
#[derive(Clone, Debug)]
pub struct Templates {
    files: Vec<File>,
    /// A checkout whose objects take the place of what the templates make.
    base: Option<Box<Base>>,
}

#[derive(Clone, Debug)]
struct File {
    name: &'static str,
    /// The file as a person finds it.
    shown: String,
    text: String,
}

impl Templates {
    /// The templates that come with pgset.
    #[must_use]
    pub fn builtin() -> Self {
        let file = |&(name, text): &(&'static str, &str)| File {
            name,
            shown: format!("templates/{name}"),
            text: text.to_owned(),
        };
        Self { files: BUILT_IN.iter().map(file).collect(), base: None }
    }

    /// The same templates below a checkout's own manifests.
    #[must_use]
    pub fn below(mut self, base: Option<Base>) -> Self {
        self.base = base.map(Box::new);
        self
    }

    pub(super) fn base(&self) -> Option<&Base> {
        self.base.as_deref()
    }

    /// The built-in templates, with those in `dir` in place of the ones of the same name.
    ///
    /// # Errors
    ///
    /// When the folder cannot be read, or holds a file that replaces no template. Files whose name starts with a dot are
    /// not looked at.
    pub fn load(dir: Option<&Path>) -> Result<Self, ManifestError> {
        let mut templates = Self::builtin();
        if let Some(dir) = dir {
            for (path, name) in files_in(dir, "")? {
                let text = fs::read_to_string(&path).map_err(failed("read", &path))?;
                let Some(file) = templates.files.iter_mut().find(|file| file.name == name) else {
                    return Err(ManifestError::UnknownTemplate { path, known: names().collect() });
                };
                file.shown = path.display().to_string();
                file.text = text;
            }
        }
        Ok(templates)
    }

    /// Writes the built-in templates into `dir`, which is made if need be, and returns the files written.
    ///
    /// # Errors
    ///
    /// When a file of that name exists already, in which case nothing is written, or when writing fails.
    pub fn eject(dir: &Path) -> Result<Vec<PathBuf>, ManifestError> {
        let paths: Vec<PathBuf> = names().map(|name| dir.join(name)).collect();
        if let Some(path) = paths.iter().find(|path| path.symlink_metadata().is_ok()) {
            return Err(ManifestError::Exists { path: path.clone() });
        }
        for (path, (_, text)) in paths.iter().zip(BUILT_IN) {
            let folder = path.parent().unwrap_or(dir);
            fs::create_dir_all(folder).map_err(failed("make the folder", folder))?;
            fs::File::create_new(path)
                .and_then(|mut file| file.write_all(text.as_bytes()))
                .map_err(failed("write", path))?;
        }
        Ok(paths)
    }

    /// The members' scripts by the name they have in the pod.
    pub(super) fn scripts(&self, flavor: Flavor) -> impl Iterator<Item = (&'static str, &str)> {
        let folder = match flavor {
            Flavor::Postgres => SCRIPTS,
            Flavor::Crunchy => CRUNCHY,
        };
        self.files.iter().filter_map(move |file| Some((file.name.strip_prefix(folder)?, file.text.as_str())))
    }

    /// Makes the templates ready to render.
    pub(super) fn compile(&self) -> Result<Compiled<'_>, ManifestError> {
        let mut tera = Tera::new();
        tera.autoescape_on([".yaml"]);
        tera.set_escape_fn(write_quoted);
        tera.register_filter("conf", |text: &str, _: Kwargs, _: &State| conf_quoted(text));
        // Kubernetes expands $(NAME) in the value of a container's variable; a doubled $ is a plain one.
        tera.register_filter("env", |text: &str, _: Kwargs, _: &State| text.replace('$', "$$"));
        let mut compiled = Compiled { templates: self, tera };
        let is_script = |name: &str| [SCRIPTS, CRUNCHY].iter().any(|folder| name.starts_with(folder));
        let texts = self.files.iter().filter(|file| !is_script(file.name));
        let texts: Vec<(&str, &str)> = texts.map(|file| (file.name, file.text.as_str())).collect();
        compiled.tera.add_raw_templates(texts).map_err(|error| self.failure(&error, None))?;
        Ok(compiled)
    }

    /// The template as a person finds it.
    fn shown(&self, name: &str) -> String {
        let file = self.files.iter().find(|file| file.name == name);
        file.map_or_else(|| name.to_owned(), |file| file.shown.clone())
    }

    fn text(&self, name: &str) -> &str {
        self.files.iter().find(|file| file.name == name).map_or("", |file| &file.text)
    }

    fn failure(&self, error: &tera::Error, name: Option<&str>) -> ManifestError {
        match error.kind() {
            ErrorKind::SyntaxError(report) | ErrorKind::RenderingError(report) => ManifestError::Template {
                template: self.shown(report.filename()),
                line: Some(report.span().start_line),
                problem: report.message().to_owned(),
            },
            _ => ManifestError::Template {
                template: name.map_or_else(|| "templates".to_owned(), |name| self.shown(name)),
                line: None,
                problem: error.to_string(),
            },
        }
    }
}

/// Templates that render.
pub(super) struct Compiled<'a> {
    templates: &'a Templates,
    tera: Tera,
}

impl Compiled<'_> {
    pub(super) fn render(&self, name: &str, context: &Context) -> Result<String, ManifestError> {
        self.tera.render(name, context).map_err(|error| self.templates.failure(&error, Some(name)))
    }

    /// An error at a line of what a template rendered to, with the line of the template itself.
    pub(super) fn problem(&self, name: &str, context: &Context, line: Option<usize>, problem: String) -> ManifestError {
        let line = line.map(|line| self.source_line(name, context, line).unwrap_or(line));
        ManifestError::Template { template: self.templates.shown(name), line, problem }
    }

    /// The line of the template that made `line` of its output: renders once more with every line numbered.
    ///
    /// `None` when numbering changed the lines themselves, as it does beside `{%- … -%}`.
    fn source_line(&self, name: &str, context: &Context, line: usize) -> Option<usize> {
        const MARK: char = '\u{e000}';
        let mut tera = self.tera.clone();
        let plain = tera.render(name, context).ok()?;
        tera.add_raw_template(name, &numbered(self.templates.text(name), MARK)).ok()?;
        let marked = tera.render(name, context).ok()?;
        if plain.lines().count() != marked.lines().count() {
            return None;
        }
        let mut number = marked.lines().nth(line.checked_sub(1)?)?.split(MARK);
        number.nth(1)?.parse().ok()
    }
}

/// The template with `mark`, its number and `mark` again at the start of every line that starts outside of a tag.
fn numbered(text: &str, mark: char) -> String {
    let mut out = String::new();
    let mut open: Option<&str> = None;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        if open.is_none() {
            let _ = write!(out, "{mark}{}{mark}", index + 1);
        }
        out.push_str(line);
        let mut rest = line;
        loop {
            let found = match open {
                Some(close) => rest.find(close).map(|at| (at, None)),
                None => [("{{", "}}"), ("{%", "%}"), ("{#", "#}")]
                    .iter()
                    .filter_map(|(start, close)| Some((rest.find(start)?, Some(*close))))
                    .min(),
            };
            let Some((at, next)) = found else { break };
            rest = &rest[at + 2..];
            open = next;
        }
    }
    out
}

fn names() -> impl Iterator<Item = &'static str> {
    BUILT_IN.iter().map(|(name, _)| *name)
}

/// The files under `dir` with their names relative to it, in order.
fn files_in(dir: &Path, prefix: &str) -> Result<Vec<(PathBuf, String)>, ManifestError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed("read", dir))? {
        let entry = entry.map_err(failed("read", dir))?;
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        if path.is_dir() {
            found.extend(files_in(&path, &format!("{prefix}{name}/"))?);
        } else {
            found.push((path, format!("{prefix}{name}")));
        }
    }
    found.sort();
    Ok(found)
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ManifestError {
    let path = path.to_owned();
    move |source| ManifestError::Io { action, path, source }
}

/// Writes `text` as a JSON string that every YAML reader takes for the same text.
///
/// Beside what JSON asks for, this escapes what YAML would take for a line break or refuse.
fn write_quoted(text: &str, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(b"\"")?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(out, "\\{c}")?,
            '\n' => out.write_all(b"\\n")?,
            '\t' => out.write_all(b"\\t")?,
            '\0'..=' ' | '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
                if c != ' ' =>
            {
                write!(out, "\\u{:04x}", u32::from(c))?;
            }
            _ => write!(out, "{c}")?,
        }
    }
    out.write_all(b"\"")
}

/// `text` as a value of `postgresql.conf`.
fn conf_quoted(text: &str) -> String {
    let mut out = String::from("'");
    for c in text.chars() {
        match c {
            '\'' => out.push_str("''"),
            '\\' => out.push_str("\\\\"),
            // A quoted value ends with its line.
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            _ => out.push(c),
        }
    }
    out.push('\'');
    out
}
