//! What a template rendered to is exactly the object that belongs there, and Kubernetes knows every field of it.

use std::fmt::Write as _;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim, Secret, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Object, ObjectKind};
use crate::yaml::{self, YamlError};

/// What is wrong with a rendered document, and on which of its lines.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub line: Option<usize>,
    pub message: String,
}

impl From<YamlError> for Problem {
    fn from(error: YamlError) -> Self {
        Self { line: (error.line > 0).then_some(error.line), message: without_positions(&error.message) }
    }
}

/// A YAML message without ` at line 3 column 5`: lines of what was rendered, which nobody sees.
fn without_positions(message: &str) -> String {
    let mut out = String::new();
    let mut rest = message;
    while let Some((before, after)) = rest.split_once(" at line ") {
        out.push_str(before);
        rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
        rest = rest.strip_prefix(" column ").unwrap_or(rest).trim_start_matches(|c: char| c.is_ascii_digit());
    }
    out + rest
}

/// Which object a template has to make.
pub(super) struct Expected<'a> {
    pub kind: ObjectKind,
    pub namespace: Option<&'a str>,
    pub name: &'a str,
}

/// The object in `text`.
pub(super) fn object(text: &str, expected: &Expected) -> Result<Object, Problem> {
    let body = yaml::parse(text)?;
    let Expected { kind, namespace, name } = *expected;
    identity(text, &body, &["apiVersion"], Some(kind.api_version()))?;
    identity(text, &body, &["kind"], Some(kind.as_str()))?;
    identity(text, &body, &["metadata", "name"], Some(name))?;
    identity(text, &body, &["metadata", "namespace"], namespace)?;
    let known = match kind {
        ObjectKind::PersistentVolume => known::<PersistentVolume>(text),
        ObjectKind::PersistentVolumeClaim => known::<PersistentVolumeClaim>(text),
        ObjectKind::ServiceAccount => known::<ServiceAccount>(text),
        ObjectKind::Role => known::<Role>(text),
        ObjectKind::RoleBinding => known::<RoleBinding>(text),
        ObjectKind::Secret => known::<Secret>(text),
        ObjectKind::ConfigMap => known::<ConfigMap>(text),
        ObjectKind::Service => known::<Service>(text),
        ObjectKind::PodDisruptionBudget => known::<PodDisruptionBudget>(text),
        ObjectKind::StatefulSet => known::<StatefulSet>(text),
    }?;
    if let Some(path) = lost(&body, &known) {
        let message = format!("Kubernetes knows no such field in a {}: {}", kind.as_str(), shown(&path));
        return Err(Problem { line: line_of(text, &path), message });
    }
    Ok(Object { kind, namespace: namespace.map(str::to_owned), name: name.to_owned(), body })
}

/// The object as Kubernetes' own types understand it.
fn known<T: DeserializeOwned + Serialize>(text: &str) -> Result<Value, Problem> {
    let typed: T = yaml::parse_as(text)?;
    serde_json::to_value(typed).map_err(|error| Problem { line: None, message: error.to_string() })
}

fn identity(text: &str, body: &Value, path: &[&str], expected: Option<&str>) -> Result<(), Problem> {
    let found = path.iter().try_fold(body, |value, key| value.get(key));
    if found.and_then(Value::as_str) == expected && found.is_some() == expected.is_some() {
        return Ok(());
    }
    let steps: Vec<Step> = path.iter().map(|key| Step::Key((*key).to_owned())).collect();
    let field = path.join(".");
    let message = match (expected, found) {
        (Some(expected), Some(found)) => format!("expected {field} {expected:?}, found {found}"),
        (Some(expected), None) => format!("expected {field} {expected:?}, found none"),
        (None, _) => format!("expected no {field}: the object belongs to no namespace"),
    };
    Err(Problem { line: line_of(text, &steps), message })
}

/// One step of the way to a value inside an object.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

fn shown(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Key(key) if text.is_empty() => text.push_str(key),
            Step::Key(key) => {
                text.push('.');
                text.push_str(key);
            }
            Step::Index(index) => {
                let _ = write!(text, "[{index}]");
            }
        }
    }
    text
}

/// The way to the first value of `given` that `kept` has not, or has otherwise.
fn lost(given: &Value, kept: &Value) -> Option<Vec<Step>> {
    let inside = |step: Step, inner: Option<&Value>, value: &Value| match inner {
        None => Some(vec![step]),
        Some(inner) => lost(value, inner).map(|mut path| {
            path.insert(0, step);
            path
        }),
    };
    match (given, kept) {
        (Value::Object(given), Value::Object(kept)) => {
            given.iter().find_map(|(key, value)| inside(Step::Key(key.clone()), kept.get(key), value))
        }
        (Value::Array(given), Value::Array(kept)) => {
            given.iter().enumerate().find_map(|(index, value)| inside(Step::Index(index), kept.get(index), value))
        }
        _ => (given != kept).then(Vec::new),
    }
}

/// The line of `text` on which the value at `path` stands, or the nearest thing around it that has a line.
///
/// Goes by the indentation of block style; what is inside `{…}` or `[…]` is on the line of the key before it.
fn line_of(text: &str, path: &[Step]) -> Option<usize> {
    let lines: Vec<Line> = text.lines().enumerate().flat_map(|(index, line)| Line::read(index + 1, line)).collect();
    let mut rest: &[Line] = &lines;
    let mut found = None;
    for step in path {
        let column = rest.first()?.column;
        let mut items = 0;
        let at = rest.iter().take_while(|line| line.column >= column).position(|line| {
            if line.column != column {
                return false;
            }
            match step {
                Step::Key(key) => line.key == Some(key.as_str()),
                Step::Index(index) => {
                    items += usize::from(line.key.is_none());
                    items == index + 1
                }
            }
        });
        let Some(at) = at else { break };
        found = Some(rest[at].number);
        rest = &rest[at + 1..];
        // What belongs to the key or item is indented more, or is a list at the same column as its key.
        let inner = rest.first().is_some_and(|next| {
            next.column > column || (matches!(step, Step::Key(_)) && next.column == column && next.key.is_none())
        });
        if !inner {
            break;
        }
    }
    found
}

/// A key or the dash of a list's item.
#[derive(Debug)]
struct Line<'a> {
    number: usize,
    column: usize,
    /// `None` for a dash.
    key: Option<&'a str>,
}

impl<'a> Line<'a> {
    /// A line holds several when it is `- - key: value`.
    fn read(number: usize, line: &'a str) -> Vec<Self> {
        let mut all = Vec::new();
        let mut rest = line.trim_start_matches(' ');
        let column = |rest: &str| line.len() - rest.len();
        while let Some(item) = rest.strip_prefix("- ").or_else(|| (rest == "-").then_some("")) {
            all.push(Self { number, column: column(rest), key: None });
            rest = item.trim_start_matches(' ');
        }
        if !rest.starts_with('#')
            && let Some((key, _)) = rest.split_once(':')
        {
            all.push(Self { number, column: column(rest), key: Some(key.trim_matches('"')) });
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
kind: Service
metadata:
  # name: not this one
  name: a

spec:
  ports:
  - name: one
    port: 1
  -
    name: two
    port: 2
  selector: {app: a}
";

    fn line(path: &[&str]) -> Option<usize> {
        let step = |part: &&str| part.parse().map_or_else(|_| Step::Key((*part).to_owned()), Step::Index);
        line_of(TEXT, &path.iter().map(step).collect::<Vec<_>>())
    }

    #[test]
    fn leaves_positions_out() {
        assert_eq!(without_positions("a at line 3 column 15, while b at line 1 column 1"), "a, while b");
        assert_eq!(without_positions("nothing to leave out"), "nothing to leave out");
    }

    #[test]
    fn finds_lines() {
        assert_eq!(line(&["kind"]), Some(1));
        assert_eq!(line(&["metadata", "name"]), Some(4));
        assert_eq!(line(&["metadata", "namespace"]), Some(2));
        assert_eq!(line(&["spec", "ports", "0", "port"]), Some(9));
        assert_eq!(line(&["spec", "ports", "1", "name"]), Some(11));
        assert_eq!(line(&["spec", "ports", "2"]), Some(7));
        assert_eq!(line(&["spec", "selector", "app"]), Some(13));
        assert_eq!(line(&["status"]), None);
    }
}
