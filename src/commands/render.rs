//! `pgset render`: the manifests on stdout, or the built-in templates in a folder.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use k8s_openapi::api::apps::v1::StatefulSet;
use serde::Deserialize as _;

use super::app::App;
use super::base::{Found, resolve, say_notes};
use crate::cli::RenderArgs;
use crate::error::Outcome;
use crate::manifests::{self, Context, Manifests, Names, ObjectKind, Templates};
use crate::set::own::logins;
use crate::yaml;

/// Renders, or ejects the templates.
///
/// # Errors
///
/// Settings or templates that cannot be used.
pub fn run(app: &App, args: &RenderArgs) -> Outcome {
    if let Some(dir) = &args.eject {
        let written = eject(dir)?;
        app.ui.data(&written.iter().map(|path| format!("{}\n", path.display())).collect::<String>())?;
        app.ui.hint(&format!("change them, then: pgset up --templates {}", dir.display()));
        return Ok(());
    }
    let found = resolve(app, &args.settings)?;
    let manifests = render(&found)?;
    if let Some(base) = &found.base {
        say_notes(app, base, &manifests.notes);
    }
    app.ui.data(&documents(&manifests))
}

/// The manifests of a set that is made anew.
fn render(found: &Found) -> Outcome<Manifests> {
    let settings = &found.resolved.settings;
    Ok(manifests::render(settings, &Context::new(settings), &found.templates()?)?)
}

/// Writes the built-in templates and scripts into `dir` and returns the files written.
///
/// # Errors
///
/// When one of the files exists already, or cannot be written.
pub fn eject(dir: &Path) -> Outcome<Vec<PathBuf>> {
    Ok(Templates::eject(dir)?)
}

/// The manifests as one YAML stream, ready for `kubectl apply -f -` or a repository.
///
/// The Secret is not in it: a comment at the top says how it comes about, unless the manifests have passwords of their own.
#[must_use]
pub fn documents(manifests: &Manifests) -> String {
    let mut text = Names::of(manifests).map(|names| header(&names, has_its_own(manifests, &names))).unwrap_or_default();
    for object in &manifests.objects {
        text.push_str("---\n");
        text.push_str(&yaml::to_string(&object.body));
    }
    text
}

fn has_its_own(manifests: &Manifests, names: &Names) -> bool {
    let set = manifests.objects.iter().find(|object| object.kind == ObjectKind::StatefulSet);
    let set = set.and_then(|object| StatefulSet::deserialize(&object.body).ok());
    set.is_some_and(|set| !logins(&set, &names.passwords()).is_empty())
}

fn header(names: &Names, has_its_own: bool) -> String {
    let (set, namespace, secret) = (names.set(), names.namespace(), names.passwords());
    let mut text = String::new();
    let _ = writeln!(text, "# The set {set} in the namespace {namespace}, written by `pgset render`.");
    if has_its_own {
        return text;
    }
    let _ = writeln!(text, "#");
    let _ = writeln!(text, "# The passwords are not in here. `pgset up` makes their Secret; without it, make it once:");
    let _ = writeln!(text, "#");
    let _ = writeln!(text, "#   kubectl create secret generic {secret} --namespace {namespace} \\");
    for (index, key) in ["superuser", "replication", "user"].iter().enumerate() {
        let end = if index == 2 { "" } else { " \\" };
        let _ = writeln!(text, "#     --from-literal={key}=\"$(openssl rand -hex 24)\"{end}");
    }
    text
}
