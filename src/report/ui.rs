//! The terminal, resolved once: colour, quietness, and whether a live view makes sense.

use std::io::{self, IsTerminal, Write};

use crate::error::{Failure, Kind, Outcome};

/// `--color`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ColorChoice {
    #[default]
    Auto,
    Always,
    Never,
}

/// What the common flags say about output.
#[derive(Clone, Copy, Debug, Default)]
pub struct UiOptions {
    pub color: ColorChoice,
    pub quiet: bool,
    pub verbose: bool,
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

    /// Says something about progress on stderr; nothing with `--quiet`.
    pub fn say(&self, line: &str) {
        if !self.quiet {
            to_stderr(line);
        }
    }

    /// Says on stderr what only `--verbose` wants to know.
    pub fn detail(&self, line: &str) {
        if self.verbose {
            to_stderr(&self.paint(Paint::Dim, line));
        }
    }

    /// Warns on stderr, quiet or not.
    pub fn warn(&self, line: &str) {
        to_stderr(&format!("{} {line}", self.paint(Paint::Yellow, "warning:")));
    }

    /// Points to a next step on stderr; nothing with `--quiet`.
    pub fn hint(&self, line: &str) {
        self.say(&format!("{} {line}", self.paint(Paint::Cyan, "hint:")));
    }

    /// Shows how a command failed.
    pub fn failure(&self, failure: &Failure) {
        // An interrupt at the end of a live view, a difference that has been shown, a child's own failure: the exit code says
        // the rest.
        let silent = matches!(failure.kind, Kind::Interrupted | Kind::Differs | Kind::Passed(_));
        if silent && failure.error.to_string().is_empty() {
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

    /// Says something on stderr that even `--quiet` must not swallow: the causes of a failure.
    pub fn insist(&self, text: &str) {
        if !text.is_empty() {
            to_stderr(text);
        }
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

    /// Asks a question; `accepts` says whether an answer is a yes.
    ///
    /// # Errors
    /// Refused when nobody can answer, or the answer is a no.
    pub fn confirm(&self, question: &str, accepts: impl Fn(&str) -> bool, instead: &str) -> Outcome {
        if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
            return Err(Failure::refused("nobody can answer the question here, so nothing was changed").hint(instead));
        }
        let mut err = io::stderr().lock();
        let asked = write!(err, "{question} ").and_then(|()| err.flush());
        drop(err);
        let mut answer = String::new();
        let read = asked.and_then(|()| io::stdin().read_line(&mut answer));
        read.map_err(|error| Failure::error(format!("failed to ask: {error}")))?;
        if accepts(answer.trim()) { Ok(()) } else { Err(Failure::refused("not confirmed, so nothing was changed")) }
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
