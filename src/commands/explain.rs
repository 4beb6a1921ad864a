//! `pgset explain`: what a finding's code means, how pgset knows, and what to do.

use serde::Serialize;

use super::app::App;
use crate::cli::{ExplainArgs, ExplainFormat};
use crate::error::{Failure, Outcome};
use crate::report::{Paint, document, table};
use crate::set::Severity;
use crate::set::findings::catalogue::{Entry, entries, entry, nearest};

/// `kind: Codes` of `pgset/v1`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Catalogue {
    api_version: &'static str,
    kind: &'static str,
    codes: Vec<&'static Entry>,
}

/// Explains one code, or lists them all.
///
/// # Errors
/// There is no such code.
pub fn run(app: &App, args: &ExplainArgs) -> Outcome {
    let chosen: Vec<&Entry> = match &args.code {
        Some(code) => vec![entry(code).ok_or_else(|| no_such_code(code))?],
        None => entries().collect(),
    };
    let text = match args.output {
        ExplainFormat::Text if args.code.is_some() => chosen.iter().map(|entry| explained(app, entry)).collect(),
        ExplainFormat::Text => listed(&chosen),
        ExplainFormat::Markdown => markdown(&chosen),
        ExplainFormat::Json => document(&Catalogue { api_version: "pgset/v1", kind: "Codes", codes: chosen }, false)?,
    };
    app.ui.data(&text)
}

fn no_such_code(code: &str) -> Failure {
    let failure = Failure::usage(format!("there is no code {code:?}"));
    let failure = match nearest(code) {
        Some(near) => failure.hint(format!("did you mean {near}? pgset explain {near}")),
        None => failure,
    };
    failure.hint("all codes: pgset explain")
}

fn explained(app: &App, entry: &Entry) -> String {
    let rows = [
        ("means", entry.meaning),
        ("known by", entry.known_by),
        ("weight", weight(entry.severity)),
        ("fix", entry.fix),
        ("may be wrong", entry.doubt),
    ];
    let mut text = format!("{}: {}\n", app.ui.paint_data(Paint::Bold, entry.code), entry.title);
    text.extend(rows.iter().map(|(label, words)| format!("\n{}\n  {words}\n", app.ui.paint_data(Paint::Cyan, label))));
    text
}

fn weight(severity: Severity) -> &'static str {
    match severity {
        Severity::Fatal => "Fatal: up, wait and scale end at once, because waiting does not mend it.",
        Severity::Blocking => "Blocking: up, wait and scale end when it has had time to mend itself and has not.",
        Severity::Waiting => "Waiting: never ends a wait; it is what is being waited for.",
        Severity::Warning => "Warning: the set is healthy, but somebody should know.",
    }
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Fatal => "fatal",
        Severity::Blocking => "blocking",
        Severity::Waiting => "waiting",
        Severity::Warning => "warning",
    }
}

fn listed(entries: &[&Entry]) -> String {
    let row = |entry: &&Entry| vec![entry.code.to_owned(), word(entry.severity).to_owned(), entry.title.to_owned()];
    table(&["CODE", "WEIGHT", "WHAT"], &entries.iter().map(row).collect::<Vec<_>>())
}

/// The README's table.
fn markdown(entries: &[&Entry]) -> String {
    let mut text = "| code | weight | what | fix |\n|---|---|---|---|\n".to_owned();
    for entry in entries {
        text.push_str(&format!(
            "| `{}` | {} | {} | {} |\n",
            entry.code,
            word(entry.severity),
            entry.title,
            entry.fix.replace('<', "&lt;")
        ));
    }
    text
}
