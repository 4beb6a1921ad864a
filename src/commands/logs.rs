//! `pgset logs`: the logs of all members, merged by time.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::io::{self, IsTerminal};
use std::task::Poll;
use std::time::Duration;

use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use regex::Regex;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::app::{App, patiently};
use super::status::no_such_set;
use crate::cli::{LogFormat, LogsArgs};
use crate::cluster::{ApiFailure, Cluster, Exec, Fate, Life, Lives, Log, Part, live_set, lives};
use crate::error::{Failure, Outcome};
use crate::manifests::Names;
use crate::report::{Paint, Ui};
use crate::set::log::{Line, Merge, StreamId, harmless, read_files};

/// How long a line of one member may come later than a later one of another.
const UNDER_WAY: SignedDuration = SignedDuration::from_millis(300);

/// How long a log may take to begin.
const BEGINNING: SignedDuration = SignedDuration::from_secs(2);

/// A log whose connection broke is opened again this soon.
const AGAIN: Duration = Duration::from_millis(500);

/// Lines read ahead of each log.
const AHEAD: usize = 256;

/// Shows them.
///
/// # Errors
/// There is no such set or member, the logs may not be read, or a flag's value is wrong.
pub async fn run(app: &App, args: LogsArgs) -> Outcome {
    let (target, cluster) = app.target().await?;
    let names = Names::new(&target.name, &target.namespace);
    let since = args.since.as_deref().map(|text| since(text, app.started)).transpose()?;
    let grep = args.grep.as_deref().map(Regex::new).transpose().map_err(|error| {
        Failure::usage(format!("--grep is no regular expression: {}", error.to_string().replace('\n', " ")))
    })?;
    let part = Part { follow: args.follow, previous: args.previous, since, tail: args.tail };
    let show = Show { app, grep, format: args.output, terminal: io::stdout().is_terminal() };
    app.when_interrupted("", None);
    let reader = Reader { app, cluster: &cluster, names: &names, members: &args.member, part };
    if args.follow { reader.follow(&show).await } else { reader.read(&show).await }
}

/// `--since`: a time ago, or a moment.
fn since(text: &str, now: Timestamp) -> Outcome<Timestamp> {
    let ago =
        text.parse::<SignedDuration>().ok().filter(|ago| !ago.is_negative()).and_then(|ago| now.checked_sub(ago).ok());
    ago.or_else(|| text.parse().ok()).ok_or_else(|| {
        Failure::usage(format!("--since {text}: expected a time like 90s or 2h, or a moment like 2026-01-31T12:00:00Z"))
    })
}

/// How lines are shown, and which.
struct Show<'a> {
    app: &'a App,
    grep: Option<Regex>,
    format: LogFormat,
    terminal: bool,
}

impl Show<'_> {
    fn text(&self, line: &Line, width: usize) -> String {
        if self.grep.as_ref().is_some_and(|grep| !grep.is_match(&line.text)) {
            return String::new();
        }
        let safe = |text: &str| if self.terminal { harmless(text) } else { text.to_owned() };
        match self.format {
            LogFormat::Json => {
                // A line of text and two names always make a document.
                safe(&serde_json::to_string(line).unwrap_or_default()) + "\n"
            }
            LogFormat::Text => {
                let member = self.app.ui.paint_data(color(&line.member), &format!("{:width$}", line.member));
                format!("{member}  {}\n", safe(&line.text))
            }
        }
    }
}

/// The same member always has the same colour, whoever else is there.
fn color(member: &str) -> Paint {
    const COLORS: [Paint; 5] = [Paint::Green, Paint::Cyan, Paint::Yellow, Paint::Magenta, Paint::Blue];
    let ordinal = member.rsplit('-').next().and_then(|digits| digits.parse::<usize>().ok()).unwrap_or(0);
    COLORS[ordinal % COLORS.len()]
}

struct Reader<'a> {
    app: &'a App,
    cluster: &'a Cluster,
    names: &'a Names,
    /// Only these; all when empty.
    members: &'a [u8],
    part: Part,
}

impl Reader<'_> {
    /// What there is, to its end.
    async fn read(&self, show: &Show<'_>) -> Outcome {
        let namespace = self.names.namespace();
        let all = patiently(self.cluster, lives(self.cluster, namespace, self.names.set())).await??;
        let there: BTreeSet<String> = all.iter().map(|life| life.member.clone()).collect();
        if there.is_empty() && live_set(self.cluster, namespace, self.names.set()).await?.is_none() {
            return Err(no_such_set(self.app, self.cluster, self.names).await);
        }
        if let Some(missing) = self.members.iter().map(|n| self.names.member(*n)).find(|member| !there.contains(member))
        {
            let known =
                if there.is_empty() { "none".to_owned() } else { there.into_iter().collect::<Vec<_>>().join(", ") };
            return Err(Failure::error(format!("there is no member {missing} in namespace {namespace}"))
                .hint(format!("there is: {known}")));
        }
        let wanted: Vec<Life> = all.into_iter().filter(|life| self.wants(life)).collect();
        let opened = join_all(wanted.iter().map(|life| self.open(life))).await;
        let mut streams = Streams::new(None);
        for (life, log) in wanted.into_iter().zip(opened) {
            if life.files && life.running && !self.part.previous {
                streams.add_files(self, &life, &self.part);
            }
            if let Some(log) = log? {
                streams.add(life, log, Timestamp::MIN, Timestamp::now());
            }
        }
        if streams.open.is_empty() && self.part.previous {
            return Err(Failure::error(format!(
                "no member of {} in namespace {namespace} has restarted",
                self.names.set()
            ))
            .hint(format!("see the logs of now: {}", self.app.command("logs", self.names))));
        }
        while let Some(text) = streams.next(show).await {
            if !self.app.ui.more_data(&text)? {
                break;
            }
        }
        Ok(())
    }

    fn wants(&self, life: &Life) -> bool {
        let of_set = life.member.strip_prefix(self.names.set()).is_some_and(|rest| rest.starts_with('-'));
        of_set && (self.members.is_empty() || self.members.iter().any(|n| self.names.member(*n) == life.member))
    }

    /// Opens the log of a life; `None`, said, where there is none.
    async fn open(&self, life: &Life) -> Outcome<Option<Log>> {
        if !life.begun && !self.part.previous {
            self.app.ui.say(&format!("{} has no log yet: its container has not started", life.member));
            return Ok(None);
        }
        match Log::open(self.cluster, self.names.namespace(), &life.member, &self.part).await {
            Ok(log) => Ok(Some(log)),
            // The kubelet's way to say that there was no container before, or that it has forgotten it.
            Err(failure) if failure.code == Some(400) || failure.is_not_found() => {
                self.app.ui.say(&format!("{}: {}", life.member, failure.message));
                Ok(None)
            }
            Err(failure) => Err(failure.into()),
        }
    }

    /// What there is and what comes, of whoever comes.
    async fn follow(&self, show: &Show<'_>) -> Outcome {
        let mut lives = Lives::watch(self.cluster, self.names.namespace(), self.names.set());
        let mut streams = Streams::new(Some(UNDER_WAY));
        let mut known = patiently(self.cluster, lives.changed()).await??;
        if known.is_empty() && live_set(self.cluster, self.names.namespace(), self.names.set()).await?.is_none() {
            return Err(no_such_set(self.app, self.cluster, self.names).await);
        }
        let mut begun: Vec<Life> = Vec::new();
        let mut part = self.part.clone();
        let mut first = true;
        let mut away = false;
        loop {
            for life in known.iter().filter(|life| life.begun && self.wants(life)) {
                if !begun.iter().any(|known| known.is(life)) {
                    begun.push(life.clone());
                    if life.files && life.running {
                        // The files of one who comes later hold what was before as well.
                        let since = part.since.or((!first).then(Timestamp::now));
                        streams.add_files(self, life, &Part { since, ..part.clone() });
                    }
                    streams.follow(self, life.clone(), part.clone());
                }
            }
            first = false;
            // Whoever comes later is read from its beginning.
            part = Part { follow: true, ..Part::default() };
            tokio::select! {
                change = lives.changed() => match change {
                    Ok(changed) => {
                        known = changed;
                        if std::mem::take(&mut away) {
                            self.app.ui.say("the API server answers again");
                        }
                    }
                    Err(failure) if !std::mem::replace(&mut away, true) => self.app.ui.say(&waits_for(&failure)),
                    Err(_) => {}
                },
                text = streams.next(show) => {
                    if let Some(text) = text && !self.app.ui.more_data(&text)? {
                        return Ok(());
                    }
                }
            }
        }
    }
}

/// What a log that is followed waits for. A right that is gone may come back as well: who follows can be interrupted.
fn waits_for(failure: &ApiFailure) -> String {
    if failure.code.is_none() {
        return format!("the API server does not answer ({}); waiting for it", failure.message);
    }
    format!("{failure}; trying again")
}

/// The logs that are being read, and their lines in order.
struct Streams {
    merge: Merge,
    open: BTreeMap<StreamId, mpsc::Receiver<Line>>,
    count: StreamId,
    follows: bool,
    width: usize,
}

impl Streams {
    fn new(patience: Option<SignedDuration>) -> Self {
        Self { merge: Merge::new(patience), open: BTreeMap::new(), count: 0, follows: patience.is_some(), width: 0 }
    }

    /// Reads a log to its end.
    fn add(&mut self, life: Life, mut log: Log, mut before: Timestamp, now: Timestamp) {
        let (tell, lines) = mpsc::channel(AHEAD);
        let member = life.member.clone();
        tokio::spawn(async move {
            while let Some(raw) = log.line().await {
                let line = Line::read(&life.member, &raw, before);
                before = line.time;
                if tell.send(line).await.is_err() {
                    return;
                }
            }
        });
        self.insert(lines, &member, now);
    }

    /// Reads what PostgreSQL writes to files of its own in the member.
    fn add_files(&mut self, reader: &Reader<'_>, life: &Life, part: &Part) {
        let (tell, lines) = mpsc::channel(AHEAD);
        let files = InFiles {
            cluster: reader.cluster.clone(),
            namespace: reader.names.namespace().to_owned(),
            member: life.member.clone(),
            part: part.clone(),
            tell,
        };
        let ui = reader.app.ui.clone();
        tokio::spawn(async move {
            let member = files.member.clone();
            if let Err(failure) = files.read().await {
                ui.warn(&format!("PostgreSQL's own lines are in files of {member}, which cannot be read: {failure}"));
            }
        });
        let begins = if part.follow { Timestamp::now() + BEGINNING - UNDER_WAY } else { Timestamp::now() };
        self.insert(lines, &life.member, begins);
    }

    /// Reads a log until its container ends, through broken connections.
    fn follow(&mut self, reader: &Reader<'_>, life: Life, part: Part) {
        let (tell, lines) = mpsc::channel(AHEAD);
        let member = life.member.clone();
        let one = One {
            cluster: reader.cluster.clone(),
            namespace: reader.names.namespace().to_owned(),
            set: reader.names.set().to_owned(),
            ui: reader.app.ui.clone(),
            life,
            tell,
            last: Timestamp::MIN,
        };
        tokio::spawn(one.follow(part));
        let begins = Timestamp::now() + BEGINNING - UNDER_WAY;
        self.insert(lines, &member, begins);
    }

    fn insert(&mut self, lines: mpsc::Receiver<Line>, member: &str, begins: Timestamp) {
        self.width = self.width.max(member.len());
        self.merge.open(self.count, begins);
        self.open.insert(self.count, lines);
        self.count += 1;
    }

    /// The next lines that may be shown; `None` when no log has any more. Safe to be dropped half-way.
    async fn next(&mut self, show: &Show<'_>) -> Option<String> {
        loop {
            self.collect();
            let mut text = String::new();
            let now = Timestamp::now();
            while text.len() < 64 << 10
                && let Some(line) = self.merge.take(now)
            {
                text.push_str(&show.text(&line, self.width));
                self.collect();
            }
            if !text.is_empty() {
                return Some(text);
            }
            if self.open.is_empty() && self.merge.due().is_none() {
                if self.follows {
                    std::future::pending::<()>().await;
                }
                return None;
            }
            let due = self.merge.due().filter(|due| *due > now);
            let pause = due.and_then(|due| Duration::try_from(due.duration_since(now)).ok());
            tokio::select! {
                () = self.arrived() => {}
                () = async {
                    match pause {
                        Some(pause) => sleep(pause).await,
                        None => std::future::pending().await,
                    }
                } => {}
            }
        }
    }

    /// Takes every wanted line that is there already.
    fn collect(&mut self) {
        let now = Timestamp::now();
        let merge = &mut self.merge;
        self.open.retain(|stream, lines| {
            while merge.wants(*stream) {
                match lines.try_recv() {
                    Ok(line) => merge.offer(*stream, line, now),
                    Err(mpsc::error::TryRecvError::Empty) => return true,
                    Err(mpsc::error::TryRecvError::Disconnected) => {
                        merge.close(*stream);
                        return false;
                    }
                }
            }
            true
        });
    }

    /// Waits until a wanted line comes or a log ends.
    async fn arrived(&mut self) {
        let (merge, open) = (&mut self.merge, &mut self.open);
        poll_fn(|context| {
            let wanted: Vec<StreamId> = open.keys().copied().filter(|stream| merge.wants(*stream)).collect();
            let mut arrived = Poll::Pending;
            for stream in wanted {
                let Some(lines) = open.get_mut(&stream) else { continue };
                match lines.poll_recv(context) {
                    Poll::Ready(Some(line)) => merge.offer(stream, line, Timestamp::now()),
                    Poll::Ready(None) => {
                        merge.close(stream);
                        open.remove(&stream);
                    }
                    Poll::Pending => continue,
                }
                arrived = Poll::Ready(());
            }
            arrived
        })
        .await;
    }
}

/// The files in a member that PostgreSQL logs to, read through exec.
struct InFiles {
    cluster: Cluster,
    namespace: String,
    member: String,
    part: Part,
    tell: mpsc::Sender<Line>,
}

impl InFiles {
    async fn read(self) -> Result<(), ApiFailure> {
        let Self { cluster, namespace, member, part, tell } = self;
        let command = read_files(part.tail, part.follow);
        let exec =
            Exec { cluster: &cluster, namespace: &namespace, member: &member, command, stdin: true, terminal: false };
        let mut process = exec.start().await?;
        // Open as long as somebody reads.
        let stdin = process.stdin();
        let mut before = Timestamp::MIN;
        if let Some(output) = process.stdout() {
            let mut output = BufReader::new(output);
            let mut raw = Vec::new();
            while let Ok(1..) = output.read_until(b'\n', &mut raw).await {
                let line = Line::of_file(&member, &String::from_utf8_lossy(&raw), before);
                raw.clear();
                before = line.time;
                let wanted = part.since.is_none_or(|since| line.time >= since);
                if wanted && tell.send(line).await.is_err() {
                    break;
                }
            }
        }
        drop(stdin);
        Ok(())
    }
}

/// One life's log, followed.
struct One {
    cluster: Cluster,
    namespace: String,
    set: String,
    ui: Ui,
    life: Life,
    tell: mpsc::Sender<Line>,
    /// The time of the last line told.
    last: Timestamp,
}

impl One {
    async fn follow(mut self, first: Part) {
        let mut told = false;
        let mut part = first.clone();
        loop {
            match Log::open(&self.cluster, &self.namespace, &self.life.member, &part).await {
                Ok(log) => match self.read(log, &part).await {
                    Read::Unwanted => return,
                    // What has ended has no more than that.
                    Read::ToItsEnd if !part.follow => return,
                    Read::ToItsEnd | Read::Partly => {}
                },
                // The pod is gone, or its container: whoever comes next is another life.
                Err(failure) if failure.is_not_found() || failure.code == Some(400) => return,
                // That the API server does not answer is told once for all members.
                Err(failure) if failure.code.is_some() && !told => {
                    told = true;
                    self.ui.warn(&format!("{failure}: trying again"));
                }
                Err(_) => {}
            }
            // It ended with its container, or the connection broke and there is more to come.
            let rest = if self.last > Timestamp::MIN {
                Part { since: Some(self.last), ..Part::default() }
            } else {
                first.clone()
            };
            part = loop {
                sleep(AGAIN).await;
                match self.fate().await {
                    Some(Fate::Runs) => break Part { follow: true, ..rest },
                    Some(Fate::Ended) => break Part { follow: false, ..rest },
                    Some(Fate::Followed) => break Part { follow: false, previous: true, ..rest },
                    Some(Fate::Gone) => return,
                    None => {}
                }
            };
        }
    }

    /// `None` while the API server does not say.
    async fn fate(&self) -> Option<Fate> {
        let now = lives(&self.cluster, &self.namespace, &self.set).await.ok()?;
        Some(self.life.fate(&now))
    }

    /// Tells the lines that have not been told.
    async fn read(&mut self, mut log: Log, part: &Part) -> Read {
        // The API server opens the log of whatever container is there. Where this one still has that place afterwards, it
        // was the right one.
        match self.fate().await {
            Some(Fate::Gone) => return Read::Unwanted,
            Some(Fate::Followed) if !part.previous => return Read::Partly,
            Some(Fate::Runs | Fate::Ended | Fate::Followed) | None => {}
        }
        let from = self.last;
        while let Some(raw) = log.line().await {
            // A server that stops in order ends the stream anywhere; the whole line comes with the next try.
            if part.follow && !raw.ends_with('\n') {
                return Read::Partly;
            }
            let line = Line::read(&self.life.member, &raw, self.last);
            // It cuts at whole seconds: what was told before comes again.
            if line.time > from {
                self.last = line.time.max(self.last);
                if self.tell.send(line).await.is_err() {
                    return Read::Unwanted;
                }
            }
        }
        if log.is_broken() { Read::Partly } else { Read::ToItsEnd }
    }
}

/// How far a log was read.
enum Read {
    ToItsEnd,
    Partly,
    /// Nobody wants it, or it is another's.
    Unwanted,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_time_ago_or_a_moment() {
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        let told = |text: &str| since(text, now).ok().map(|moment| moment.to_string());
        for (text, moment) in [
            ("90s", Some("2026-01-31T11:58:30Z")),
            ("2h", Some("2026-01-31T10:00:00Z")),
            ("1h30m", Some("2026-01-31T10:30:00Z")),
            ("2026-01-30T00:00:00Z", Some("2026-01-30T00:00:00Z")),
            ("2026-01-30T01:00:00+01:00", Some("2026-01-30T00:00:00Z")),
            ("-90s", None),
            ("90", None),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(told(text).as_deref(), moment, "{text}");
        }
    }
}
