//! The terminal, resolved once: colour, quietness, and whether a live view makes sense.

use std::io::{self, IsTerminal, Write};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::oneshot;

use super::address::Address;
use super::event::Told;
use super::status::finding_text;
use crate::error::{Failure, Kind, Outcome};
use crate::set::Finding;

/// `--color`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ColorChoice {
    #[default]
    Auto,
    Always,
    Never,
}

/// What the common flags say about output.
#[derive(Clone, Debug, Default)]
pub struct UiOptions {
    pub color: ColorChoice,
    pub quiet: bool,
    pub verbose: bool,
    /// The result is JSON, so whoever started this is a program, which reads events rather than lines.
    pub json: bool,
    /// What the commands in hints are given.
    pub address: Address,
}

/// stdout carries data, stderr progress, warnings and hints.
#[allow(clippy::struct_excessive_bools, reason = "four independent facts about a terminal")]
#[derive(Clone, Debug)]
pub struct Ui {
    color: bool,
    quiet: bool,
    verbose: bool,
    live: bool,
    color_data: bool,
    events: bool,
    address: Address,
}

impl Ui {
    /// Resolves flags, `NO_COLOR`, `TERM` and the terminals behind stdout and stderr.
    #[must_use]
    pub fn resolve(options: UiOptions) -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let wanted = |terminal: bool| match options.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => terminal && !dumb && !set("NO_COLOR"),
        };
        let (out, err) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        Self {
            color: wanted(err),
            color_data: wanted(out),
            quiet: options.quiet,
            verbose: options.verbose,
            live: err && !dumb && !options.quiet,
            // A person at the terminal reads lines, whatever becomes of the result.
            events: options.json && !err,
            address: options.address,
        }
    }

    /// A live view is possible: stderr is a terminal that can move its cursor.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.live
    }

    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Writes data to stdout.
    ///
    /// # Errors
    /// stdout is full or gone; a closed pipe is no error, the reader just has enough.
    pub fn data(&self, text: &str) -> Outcome {
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::error(format!("failed to write to stdout: {error}")))
            }
            _ => Ok(()),
        }
    }

    /// Writes a part of endless data to stdout; says whether somebody still reads.
    ///
    /// # Errors
    /// stdout is full or gone.
    pub fn more_data(&self, text: &str) -> Outcome<bool> {
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(Failure::error(format!("failed to write to stdout: {error}"))),
        }
    }

    /// stderr carries events for machines instead of lines.
    #[must_use]
    pub fn tells_events(&self) -> bool {
        self.events
    }

    /// Tells an event of a wait; nothing with `--quiet`.
    pub fn tell(&self, event: &Told<'_>) {
        if !self.quiet {
            to_stderr(&event.line(Timestamp::now()));
        }
    }

    /// A line for people, or what it is for machines.
    fn line_or(&self, line: impl FnOnce() -> String, event: impl FnOnce() -> Told<'static>) {
        to_stderr(&if self.events { event().line(Timestamp::now()) } else { line() });
    }

    /// Says something about progress on stderr; nothing with `--quiet`.
    pub fn say(&self, line: &str) {
        if !self.quiet {
            self.line_or(|| line.to_owned(), || Told::note(line, None));
        }
    }

    /// Says on stderr what only `--verbose` wants to know.
    pub fn detail(&self, line: &str) {
        if self.verbose {
            self.line_or(|| self.paint(Paint::Dim, line), || Told::Detail { text: line.to_owned() });
        }
    }

    /// Warns on stderr, quiet or not.
    pub fn warn(&self, line: &str) {
        let shown = || format!("{} {line}", self.paint(Paint::Yellow, "warning:"));
        self.line_or(shown, || Told::Warning { text: line.to_owned() });
    }

    /// Points to a next step on stderr; nothing with `--quiet`.
    pub fn hint(&self, line: &str) {
        if !self.quiet {
            let line = self.carried(line);
            let shown = || format!("{} {line}", self.paint(Paint::Cyan, "hint:"));
            self.line_or(shown, || Told::Hint { text: line.clone() });
        }
    }

    /// The text with what this run was given in every command that it names.
    #[must_use]
    pub fn carried(&self, text: &str) -> String {
        self.address.carried(text)
    }

    /// The findings with what this run was given in the commands of their fixes.
    #[must_use]
    pub fn carried_in(&self, mut findings: Vec<Finding>) -> Vec<Finding> {
        for fix in findings.iter_mut().flat_map(|finding| &mut finding.fix) {
            *fix = self.carried(fix);
        }
        findings
    }

    /// Shows how a command failed.
    pub fn failure(&self, mut failure: Failure) {
        // An interrupt at the end of a live view, a difference that has been shown, a child's own failure: the exit code says
        // the rest.
        let silent = matches!(failure.kind, Kind::Interrupted | Kind::Differs | Kind::Passed(_));
        if silent && failure.error.to_string().is_empty() {
            return;
        }
        for hint in &mut failure.hints {
            *hint = self.carried(hint);
        }
        if self.events {
            to_stderr(&Told::failure(&failure).line(Timestamp::now()));
            return;
        }
        let mut causes = failure.error.chain().map(ToString::to_string);
        let first = causes.next().unwrap_or_default();
        to_stderr(&format!("{} {first}", self.paint(Paint::Red, "error:")));
        for cause in causes {
            to_stderr(&format!("  caused by: {cause}"));
        }
        for hint in &failure.hints {
            to_stderr(&format!("{} {hint}", self.paint(Paint::Cyan, "hint:")));
        }
    }

    /// Shows a finding that even `--quiet` must not swallow, `waited` after the command's beginning.
    pub fn found(&self, finding: &Finding, waited: SignedDuration) {
        let shown = || finding_text(finding, |paint, words| self.paint(paint, words)).trim_end().to_owned();
        self.line_or(shown, || Told::finding(finding.clone(), waited));
    }

    /// Text for stderr in a colour, where colours are wanted there.
    #[must_use]
    pub fn paint(&self, paint: Paint, text: &str) -> String {
        if self.color { paint.around(text) } else { text.to_owned() }
    }

    /// Text for stdout in a colour, where colours are wanted there.
    #[must_use]
    pub fn paint_data(&self, paint: Paint, text: &str) -> String {
        if self.color_data { paint.around(text) } else { text.to_owned() }
    }

    /// Shows data as a screen that replaces the one before; where stdout is no terminal, one after the other.
    ///
    /// # Errors
    /// stdout is full or gone.
    pub fn screen(&self, text: &str) -> Outcome {
        if io::stdout().is_terminal() {
            // Home, each line cleared to its end, then everything below: no flicker, unlike clearing first.
            let lines = text.replace('\n', "\u{1b}[K\n");
            return self.data(&format!("\u{1b}[H{lines}\u{1b}[J"));
        }
        self.data(&format!("{text}\n"))
    }

    /// Asks a question; `accepts` says whether an answer is a yes. An interrupt ends the command while it is open.
    ///
    /// # Errors
    /// Refused when nobody can answer, or the answer is a no.
    pub async fn confirm(&self, question: &str, accepts: impl Fn(&str) -> bool, instead: &str) -> Outcome {
        if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
            return Err(Failure::refused("nobody can answer the question here, so nothing was changed").hint(instead));
        }
        let mut err = io::stderr().lock();
        let asked = write!(err, "{question} ").and_then(|()| err.flush());
        drop(err);
        let failed = |error: io::Error| Failure::error(format!("failed to ask: {error}"));
        asked.map_err(failed)?;
        let (tell, told) = oneshot::channel();
        // A thread of its own: a terminal cannot be read in a way that can be given up. It ends with the process.
        std::thread::spawn(move || {
            let mut answer = String::new();
            let read = io::stdin().read_line(&mut answer);
            let _ = tell.send(read.map(|_| answer));
        });
        let open = OpenQuestion;
        let answer = told.await.unwrap_or_else(|_| Ok(String::new())).map_err(failed)?;
        // The person's own Enter has ended the line.
        std::mem::forget(open);
        if accepts(answer.trim()) { Ok(()) } else { Err(Failure::refused("not confirmed, so nothing was changed")) }
    }
}

/// A question whose line is ended when nobody waits for its answer any more.
struct OpenQuestion;

impl Drop for OpenQuestion {
    fn drop(&mut self) {
        to_stderr("");
    }
}

/// The few colours used; everything is understandable without them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    Red,
    Green,
    Yellow,
    Cyan,
    Blue,
    Magenta,
    Bold,
    Dim,
}

impl Paint {
    fn around(self, text: &str) -> String {
        let code = match self {
            Self::Red => "1;31",
            Self::Green => "32",
            Self::Yellow => "33",
            Self::Cyan => "36",
            Self::Blue => "34",
            Self::Magenta => "35",
            Self::Bold => "1",
            Self::Dim => "2",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

/// A closed or full stderr leaves nobody to tell.
fn to_stderr(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
