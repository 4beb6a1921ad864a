//! The logs of several members made into one: lines read, put in the order of time, and made harmless.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

/// One line of one member's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// When the container wrote it, by its node's clock.
    pub time: Timestamp,
    pub member: String,
    pub text: String,
}

impl Line {
    /// Reads a line as the API server writes it with timestamps: `2026-01-31T12:00:00.123456789Z text`. What has no
    /// time, such as the kubelet's own words, happened when the line before it did.
    #[must_use]
    pub fn read(member: &str, raw: &str, before: Timestamp) -> Self {
        let raw = raw.trim_end_matches(['\n', '\r']);
        let (time, text) = raw.split_once(' ').unwrap_or((raw, ""));
        let (time, text) = time.parse().map_or((before, raw), |time| (time, text));
        Self { time, member: member.to_owned(), text: text.to_owned() }
    }

    /// Reads a line of PostgreSQL's own log file, whose prefix begins with the time: `2026-01-31 12:00:00 UTC [7]: …`, with
    /// a fraction or without. The line stays whole. What has no time belongs to the line before it; a time in another zone
    /// than UTC is not known to us, and is none.
    #[must_use]
    pub fn of_file(member: &str, raw: &str, before: Timestamp) -> Self {
        let text = raw.trim_end_matches(['\n', '\r']);
        let mut words = text.split(' ');
        let time = match (words.next(), words.next(), words.next()) {
            (Some(day), Some(clock), Some("UTC" | "GMT")) => format!("{day}T{clock}Z").parse().ok(),
            _ => None,
        };
        Self { time: time.unwrap_or(before), member: member.to_owned(), text: text.to_owned() }
    }
}

/// The program that reads the files a Crunchy image logs to, the oldest first; with `follow`, the newest from its end on, and
/// whichever comes after it, until nobody is connected any more.
#[must_use]
pub fn read_files(tail: Option<u32>, follow: bool) -> Vec<String> {
    let files = r#"cd "${PGDATA:-/pgdata/$(hostname)}" || exit; set -- $(ls -tr pg_log/*.log log/*.log 2>/dev/null)"#;
    let script = if follow {
        let from = tail.map_or_else(|| "+1".to_owned(), |lines| lines.to_string());
        // stdin ends with the connection, and the readers with it: a file that nothing is written to would keep them.
        format!(
            r#"from={from}
(known= reader=
trap 'kill $reader; exit' TERM
while :; do
  {files}
  while [ $# -gt 1 ]; do shift; done
  if [ -n "$1" ] && [ "$1" != "$known" ]; then
    [ -z "$reader" ] || kill "$reader"
    tail -n "$from" -F "$1" 2>/dev/null &
    reader=$! known=$1 from=+1
  fi
  sleep 1
done) & watcher=$!
cat >/dev/null
kill "$watcher""#
        )
    } else {
        let last = tail.map_or_else(String::new, |lines| format!(" | tail -n {lines}"));
        format!(r#"{files}; [ $# = 0 ] || cat "$@"{last}"#)
    };
    vec!["sh".to_owned(), "-c".to_owned(), script]
}

/// Text that a terminal shows and does not obey: control characters, and those that turn the direction of writing, are
/// shown as what they are.
#[must_use]
pub fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => shown.push(c),
            '\0'..='\u{1f}' => shown.extend(['^', char::from(c as u8 + b'@')]),
            '\u{7f}' => shown.push_str("^?"),
            '\u{80}'..='\u{9f}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                shown.extend(c.escape_unicode());
            }
            _ => shown.push(c),
        }
    }
    shown
}

/// A stream of lines to be merged; a member has a new one after every restart.
pub type StreamId = u64;

/// Streams merged by time. Each is in order by itself, so the earliest of their next lines is the next of all, once every
/// stream has said what its next one is. One that is followed may have nothing to say for hours: it is waited for only
/// as long as a line may be under way.
#[derive(Debug)]
pub struct Merge {
    streams: BTreeMap<StreamId, Next>,
    /// How long a line may be under way; `None` waits for every stream's next line or end.
    patience: Option<SignedDuration>,
}

#[derive(Debug)]
enum Next {
    /// Its next line, and when that came.
    Line(Line, Timestamp),
    /// Nothing since.
    Quiet(Timestamp),
}

impl Merge {
    #[must_use]
    pub fn new(patience: Option<SignedDuration>) -> Self {
        Self { streams: BTreeMap::new(), patience }
    }

    /// A new stream, from which a first line is expected until `at`.
    pub fn open(&mut self, stream: StreamId, at: Timestamp) {
        self.streams.insert(stream, Next::Quiet(at));
    }

    /// The stream has ended; what it said before is still told.
    pub fn close(&mut self, stream: StreamId) {
        if let Some(Next::Quiet(_)) = self.streams.get(&stream) {
            self.streams.remove(&stream);
        }
    }

    /// Whether the stream's next line is wanted: it has none waiting.
    #[must_use]
    pub fn wants(&self, stream: StreamId) -> bool {
        matches!(self.streams.get(&stream), Some(Next::Quiet(_)))
    }

    /// The stream's next line, which came now.
    pub fn offer(&mut self, stream: StreamId, line: Line, now: Timestamp) {
        self.streams.insert(stream, Next::Line(line, now));
    }

    /// The next line of all; `None` while one that is earlier may still come.
    pub fn take(&mut self, now: Timestamp) -> Option<Line> {
        if self.due()? > now {
            return None;
        }
        let stream = self.earliest()?;
        match self.streams.insert(stream, Next::Quiet(now)) {
            Some(Next::Line(line, _)) => Some(line),
            _ => None,
        }
    }

    /// From when on the next line may be told although not every stream has said its own; `None` when there is nothing to
    /// tell, or a stream has to be waited for.
    #[must_use]
    pub fn due(&self) -> Option<Timestamp> {
        let Next::Line(line, came) = self.streams.get(&self.earliest()?)? else { return None };
        let quiet = self.streams.values().filter_map(|next| match next {
            Next::Quiet(since) => Some(*since),
            Next::Line(..) => None,
        });
        let Some(quiet) = quiet.max() else { return Some(Timestamp::MIN) };
        let patience = self.patience?;
        // A line of long ago is under way no more, whenever it came; one that comes from a clock that is ahead waits no
        // longer than others.
        let from = (*came).min(line.time).max(quiet);
        Some(from.saturating_add(patience).unwrap_or(Timestamp::MAX))
    }

    fn earliest(&self) -> Option<StreamId> {
        let lines = self.streams.iter().filter_map(|(stream, next)| match next {
            Next::Line(line, _) => Some((line.time, *stream)),
            Next::Quiet(_) => None,
        });
        lines.min().map(|(_, stream)| stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn line(member: &str, seconds: i64) -> Line {
        Line { time: at(seconds), member: member.to_owned(), text: seconds.to_string() }
    }

    #[test]
    fn lines_of_a_log_file_have_the_time_of_their_prefix() {
        let read = |raw| Line::of_file("pgset-0", raw, at(5));
        let line = read("2027-01-15 08:00:00 UTC [7]: [1-1] LOG:  ready\n");
        assert_eq!((line.time, line.text.as_str()), (at(0), "2027-01-15 08:00:00 UTC [7]: [1-1] LOG:  ready"));
        assert_eq!(read("2027-01-15 08:00:00.500 GMT [7] LOG:  x").time, at(0) + SignedDuration::from_millis(500));
        for raw in ["\tselect 1", "2027-01-15 08:00:00 CET [7]: LOG:  x", "", "2027-01-15 08:00:00"] {
            assert_eq!((read(raw).time, read(raw).text.as_str()), (at(5), raw));
        }
    }

    #[test]
    fn lines_are_read_with_and_without_a_time() {
        let read = Line::read("pgset-0", "2026-01-31T12:00:00.123456789Z LOG:  a b\r\n", at(0));
        assert_eq!(
            (read.time.to_string().as_str(), read.text.as_str()),
            ("2026-01-31T12:00:00.123456789Z", "LOG:  a b")
        );
        assert_eq!(Line::read("pgset-0", "2026-01-31T12:00:00Z", at(0)).text, "");
        let without = Line::read("pgset-0", "failed to create fsnotify watcher", at(7));
        assert_eq!((without.time, without.text.as_str()), (at(7), "failed to create fsnotify watcher"));
    }

    #[test]
    fn nothing_is_left_that_a_terminal_obeys() {
        assert_eq!(harmless("a\u{1b}]0;x\u{7}\tb\r\u{7f}"), "a^[]0;x^G\tb^M^?");
        assert_eq!(harmless("\u{9b}31m \u{202e}é"), "\\u{9b}31m \\u{202e}é");
    }

    /// Everything of streams that end, merged.
    fn merged(streams: &[&[i64]]) -> Vec<i64> {
        let mut merge = Merge::new(None);
        let mut rest: Vec<Vec<i64>> = streams.iter().map(|stream| stream.iter().rev().copied().collect()).collect();
        (0..).zip(&rest).for_each(|(stream, _)| merge.open(stream, at(0)));
        let mut all = Vec::new();
        loop {
            for (stream, lines) in (0..).zip(&mut rest) {
                if merge.wants(stream) {
                    match lines.pop() {
                        Some(seconds) => merge.offer(stream, line("m", seconds), at(0)),
                        None => merge.close(stream),
                    }
                }
            }
            match merge.take(at(0)) {
                Some(line) => all.push(line.text.parse().unwrap()),
                None => return all,
            }
        }
    }

    #[test]
    fn streams_that_end_are_merged_whole() {
        assert_eq!(merged(&[&[1, 4, 5], &[2, 3, 9], &[]]), [1, 2, 3, 4, 5, 9]);
        assert_eq!(merged(&[]), [0; 0]);
    }

    proptest::proptest! {
        #[test]
        fn merging_sorted_streams_sorts_and_loses_nothing(
            streams in proptest::collection::vec(proptest::collection::vec(proptest::num::i16::ANY, 0..12), 0..5),
        ) {
            let streams: Vec<Vec<i64>> = streams
                .into_iter()
                .map(|stream| {
                    let mut stream: Vec<i64> = stream.into_iter().map(i64::from).collect();
                    stream.sort_unstable();
                    stream
                })
                .collect();
            let mut expected: Vec<i64> = streams.concat();
            expected.sort_unstable();
            let streams: Vec<&[i64]> = streams.iter().map(Vec::as_slice).collect();
            proptest::prop_assert_eq!(merged(&streams), expected);
        }
    }

    fn following() -> Merge {
        let mut merge = Merge::new(Some(SignedDuration::from_secs(1)));
        merge.open(0, at(0));
        merge.open(1, at(0));
        merge
    }

    #[test]
    fn a_quiet_stream_is_waited_for_only_as_long_as_a_line_is_under_way() {
        let mut merge = following();
        merge.offer(0, line("a", 100), at(100));
        assert_eq!((merge.take(at(100)), merge.due()), (None, Some(at(101))));
        merge.offer(1, line("b", 99), at(100));
        assert_eq!(merge.take(at(100)).unwrap().member, "b");
        assert_eq!(merge.take(at(100)), None);
        assert_eq!(merge.take(at(101)).unwrap().member, "a");
        assert_eq!(merge.due(), None);
    }

    #[test]
    fn a_backlog_beside_a_quiet_stream_flows_without_a_pause() {
        let mut merge = following();
        for seconds in 10..20 {
            merge.offer(0, line("a", seconds), at(500));
            assert_eq!(merge.take(at(500)).unwrap().time, at(seconds));
        }
        // A clock that is ahead delays a line no longer than any other.
        merge.offer(0, line("a", 9000), at(500));
        assert_eq!(merge.due(), Some(at(501)));
    }

    #[test]
    fn an_ended_stream_still_tells_its_last_line_and_holds_nobody_up() {
        let mut merge = following();
        merge.offer(0, line("a", 100), at(100));
        merge.close(0);
        merge.close(1);
        assert_eq!(merge.take(at(100)).unwrap().member, "a");
        merge.close(0);
        merge.offer(2, line("c", 1), at(100));
        assert_eq!(merge.take(at(100)).unwrap().member, "c");
    }
}
