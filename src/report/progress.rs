//! A wait as it is watched: live lines on a terminal, elsewhere one line a change, or one document for machines.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::{SignedDuration, Timestamp};

use super::event::Told;
use super::status::finding_text;
use super::text::lapse;
use super::{Paint, Ui};
use crate::set::phase::Phase;
use crate::set::rollout::Event;

/// Where the events of a wait go; chosen once.
pub trait Reporter {
    /// One event of the wait, `waited` after its beginning.
    fn event(&mut self, event: &Event, waited: SignedDuration);

    /// Something about the wait as a whole.
    fn note(&mut self, text: &str, waited: SignedDuration);

    /// The wait is over: what was live becomes still.
    fn finish(&mut self);
}

/// The reporter this terminal can show.
#[must_use]
pub fn reporter(ui: &Ui) -> Box<dyn Reporter> {
    let ui = ui.clone();
    if ui.tells_events() {
        Box::new(Events { ui, progressed: BTreeMap::new() })
    } else if ui.is_live() {
        Box::new(Live::new(ui))
    } else {
        Box::new(Lines { ui })
    }
}

fn stamp(waited: SignedDuration) -> String {
    let milliseconds = u64::try_from(waited.as_millis()).unwrap_or(0);
    format!("{:>7}", if milliseconds < 1000 { format!("0.{} s", milliseconds / 100) } else { lapse(milliseconds) })
}

/// How far a clone is, is told machines this often at most: whoever asks PostgreSQL does so far more often.
const PROGRESS: SignedDuration = SignedDuration::from_secs(1);

/// One document an event, for machines.
struct Events {
    ui: Ui,
    /// When each member's progress was told last.
    progressed: BTreeMap<String, SignedDuration>,
}

impl Events {
    /// Whether it is time to tell this.
    fn due(&mut self, event: &Event, waited: SignedDuration) -> bool {
        let Event::Progress { member, .. } = event else { return true };
        if self.progressed.get(member).is_some_and(|told| waited.saturating_sub(*told) < PROGRESS) {
            return false;
        }
        self.progressed.insert(member.clone(), waited);
        true
    }
}

impl Reporter for Events {
    fn event(&mut self, event: &Event, waited: SignedDuration) {
        if !self.due(event, waited) {
            return;
        }
        let mut told = Told::of(event, waited);
        if let Told::Finding { finding, .. } = &mut told {
            for fix in &mut finding.fix {
                *fix = self.ui.carried(fix);
            }
        }
        self.ui.tell(&told);
    }

    fn note(&mut self, text: &str, waited: SignedDuration) {
        self.ui.tell(&Told::note(text, Some(waited)));
    }

    fn finish(&mut self) {}
}

/// One line a change, for logs and pipes.
struct Lines {
    ui: Ui,
}

impl Reporter for Lines {
    fn event(&mut self, event: &Event, waited: SignedDuration) {
        let at = stamp(waited);
        match event {
            Event::Phase { member, phase } => self.ui.say(&format!("{at}  {member}  {phase}")),
            // The reminder tells how far it is: a line for every megabyte would bury the rest.
            Event::Progress { .. } => {}
            Event::Gone { member } => self.ui.say(&format!("{at}  {member}  gone")),
            Event::Found(finding) => {
                let text = self.ui.carried(&finding_text(finding, |paint, words| self.ui.paint(paint, words)));
                self.ui.say(&format!("{at}  {}", text.trim_end()));
            }
            Event::StillWaiting { members, unmet, .. } => {
                let members = members.iter().map(|(member, phase)| format!("{member}: {phase}"));
                let all: Vec<String> = members.chain(unmet.iter().cloned()).collect();
                self.ui.say(&format!("{at}  still waiting; {}", all.join("; ")));
            }
        }
    }

    fn note(&mut self, text: &str, waited: SignedDuration) {
        self.ui.say(&format!("{}  {text}", stamp(waited)));
    }

    fn finish(&mut self) {}
}

/// One living line a member, with what it does and for how long.
struct Live {
    ui: Ui,
    screen: MultiProgress,
    members: BTreeMap<String, (ProgressBar, Timestamp)>,
}

impl Live {
    fn new(ui: Ui) -> Self {
        let screen = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(15));
        Self { ui, screen, members: BTreeMap::new() }
    }

    fn line(&mut self, member: &str) -> ProgressBar {
        if let Some((bar, _)) = self.members.get(member) {
            return bar.clone();
        }
        let before = self.members.range(member.to_owned()..).next().map(|(_, (bar, _))| bar.clone());
        let bar = ProgressBar::new_spinner();
        let bar = match before {
            Some(next) => self.screen.insert_before(&next, bar),
            None => self.screen.add(bar),
        };
        bar.set_style(style("{spinner} {prefix}  {wide_msg} {elapsed:>4}"));
        bar.set_prefix(member.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        self.members.insert(member.to_owned(), (bar.clone(), Timestamp::now()));
        bar
    }

    fn settle(&self, bar: &ProgressBar, phase: &Phase) {
        let mark = if phase.is_final() { self.ui.paint(Paint::Green, "✓") } else { "·".to_owned() };
        bar.set_style(style(&format!("{mark} {{prefix}}  {{wide_msg}} {{elapsed:>4}}")));
    }
}

/// The template is one of two literals above, so it always parses; a plain spinner is the fallback all the same.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

impl Reporter for Live {
    fn event(&mut self, event: &Event, _waited: SignedDuration) {
        match event {
            Event::Phase { member, phase } => {
                let bar = self.line(member);
                bar.set_message(phase.to_string());
                if phase.is_final() {
                    self.settle(&bar, phase);
                    bar.disable_steady_tick();
                    bar.tick();
                } else {
                    bar.set_style(style("{spinner} {prefix}  {wide_msg} {elapsed:>4}"));
                    bar.enable_steady_tick(Duration::from_millis(120));
                }
            }
            Event::Progress { member, phase } => self.line(member).set_message(phase.to_string()),
            Event::Gone { member } => {
                if let Some((bar, _)) = self.members.remove(member) {
                    bar.finish_and_clear();
                }
            }
            Event::Found(finding) => {
                let text = self.ui.carried(&finding_text(finding, |paint, words| self.ui.paint(paint, words)));
                self.screen.suspend(|| self.ui.say(text.trim_end()));
            }
            // The living lines say it all the time.
            Event::StillWaiting { .. } => {}
        }
    }

    fn note(&mut self, text: &str, _waited: SignedDuration) {
        self.screen.suspend(|| self.ui.say(text));
    }

    fn finish(&mut self) {
        for (bar, _) in self.members.values() {
            bar.abandon();
        }
        self.members.clear();
    }
}

/// However the wait ends, nothing goes on drawing.
impl Drop for Live {
    fn drop(&mut self) {
        self.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::UiOptions;

    #[test]
    fn machines_are_told_how_far_a_clone_is_once_a_second_and_everything_else_at_once() {
        let mut events = Events { ui: Ui::resolve(UiOptions::default()), progressed: BTreeMap::new() };
        let progress = |member: &str| Event::Progress {
            member: member.to_owned(),
            phase: Phase::Cloning { done: 1, total: None },
        };
        let at = SignedDuration::from_millis;
        let told = [0, 200, 999, 1000, 1200, 2100].map(|ms| events.due(&progress("pgset-1"), at(ms)));
        assert_eq!(told, [true, false, false, true, false, true]);
        assert!(events.due(&progress("pgset-2"), at(2200)), "each member by itself");
        let gone = Event::Gone { member: "pgset-1".to_owned() };
        assert!(events.due(&gone, at(2200)) && events.due(&gone, at(2200)));
    }
}
