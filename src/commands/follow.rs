//! Following a set until it is healthy, cannot become so, or the time is over: what `up`, `scale` and `wait` share.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::sleep;

use super::app::App;
use super::ask::{Asker, superuser};
use super::foreign;
use super::learn::{learn, members, read_last_words};
use super::unstick::Unsticker;
use crate::cluster::{ApiFailure, Cluster, Members, SetSecret, Watch, look_at_nodes};
use crate::error::{Failure, Kind, Outcome};
use crate::manifests::Names;
use crate::report::progress::{Reporter, reporter};
use crate::report::status::StatusView;
use crate::set::findings::PINNED;
use crate::set::identity::image_labels_pods;
use crate::set::inquiry::{Inquiry, forget_silence};
use crate::set::observation::PodReading;
use crate::set::rollout::{Nodes, Rollout, Step, Verdict, members_to_ask, nodes_to_look_at};
use crate::set::{Finding, Observation, findings};

/// While members join, PostgreSQL is asked this often: joining is no change that the API server would tell of.
const JOINING: Duration = Duration::from_millis(200);

/// How a wait that was not cut short ended.
pub struct Followed {
    pub seen: Observation,
    pub view: StatusView,
    pub verdict: Verdict,
    pub waited: SignedDuration,
}

/// How often the nodes of members that are not well are looked at.
const NODES: SignedDuration = SignedDuration::from_secs(5);

/// What to follow, and since when the person waits.
pub struct Follower<'a> {
    pub app: &'a App,
    pub cluster: &'a Cluster,
    pub names: &'a Names,
    pub since: Timestamp,
    pub timeout: SignedDuration,
    /// The set's passwords, where they are known already.
    pub secret: Option<SetSecret>,
    /// Delete pods that stay on a bad revision.
    pub unstick: bool,
}

impl Follower<'_> {
    /// Follows the set to its end; live progress goes to stderr.
    ///
    /// # Errors
    /// The API server refuses to be watched, or does not answer in time.
    pub async fn follow(&self) -> Outcome<Followed> {
        let mut reporter = reporter(&self.app.ui);
        let followed = self.run(reporter.as_mut()).await;
        reporter.finish();
        followed
    }

    async fn run(&self, reporter: &mut dyn Reporter) -> Outcome<Followed> {
        let (set, namespace) = (self.names.set(), self.names.namespace());
        let watch = Watch::start(self.cluster, namespace, set);
        let (secret, listed) = futures::join!(self.secret(), self.within_deadline(watch.complete()));
        listed??;
        let mut seen = Observation { name: set.to_owned(), namespace: namespace.to_owned(), ..Observation::default() };
        watch.observe(&mut seen);
        let secret = SetSecret::of_set(self.cluster, self.names, seen.stateful_set.as_ref(), secret).await;
        let secret = self.readable(secret)?;
        let password = superuser(secret.as_ref(), &mut seen);
        let mut asker = Asker::new(self.cluster, namespace, password);
        let mut inquiry = Inquiry::default();
        let mut rollout = Rollout::new(self.since, self.timeout);
        let mut trouble = None;
        let mut nodes_seen = self.since;
        let mut all_seen = false;
        let mut unsticker = Unsticker::new();
        loop {
            watch.observe(&mut seen);
            let now_troubled = watch.trouble();
            if now_troubled.is_none() {
                let questions = inquiry.next(&mut seen, Timestamp::now());
                let mut asked = members_to_ask(&seen);
                // Who has answered once without being ready is asked again like the others: its session is open.
                asked.extend(members(&questions).into_iter().chain(seen.answers.keys().cloned()));
                asked.sort_unstable();
                asked.dedup();
                asked.retain(|member| seen.pod(member).is_some_and(|pod| !pod.is_terminating()));
                asker.ask(asked, &mut seen).await;
                forget_silence(&mut seen);
                read_last_words(self.cluster, rollout.logs_to_read(&seen), &mut seen).await;
                // Not at the beginning: a good start has no need of it. But the scheduler only counts the nodes that do not
                // take a pod, and what they have against it has to be known before it is told.
                let now = Timestamp::now();
                let nodes = nodes_to_look_at(&seen, now - NODES);
                let finds_none = nodes == Nodes::All;
                if now.duration_since(nodes_seen) >= NODES || finds_none && !all_seen {
                    nodes_seen = now;
                    seen.nodes = look_at_nodes(self.cluster, nodes).await;
                }
                all_seen = finds_none;
                learn(self.cluster, &asker, &questions, &mut seen).await;
            }
            let now = Timestamp::now();
            seen.at = Some(now);
            let waited = now.duration_since(self.since);
            tell_trouble(reporter, &mut trouble, now_troubled, waited);
            let step = rollout.step(&seen, now);
            for event in &step.events {
                reporter.event(event, waited);
            }
            // Somebody else's pods keep their labels, and their StatefulSet its own.
            if (step.hurry || !step.relabel.is_empty()) && foreign::owner(self.names, &seen).is_none() {
                self.relabel(&step, &seen).await?;
                if step.hurry {
                    self.hurry(now).await?;
                }
            }
            let unsticks = self.unstick
                && matches!(&step.verdict, Verdict::Failed(found) if found.iter().any(|finding| finding.code == PINNED))
                && unsticker.run(self.app, self.cluster, self.names, &seen).await?;
            // What is known is old while the API server is away: only the deadline counts then.
            let goes_on = match step.verdict {
                Verdict::Continue => true,
                Verdict::Failed(_) if unsticks => true,
                Verdict::Failed(_) | Verdict::Healthy => trouble.is_some(),
                Verdict::TimedOut(_) => false,
            };
            if !goes_on {
                let findings = match &step.verdict {
                    Verdict::Failed(found) | Verdict::TimedOut(found) => found.clone(),
                    Verdict::Healthy | Verdict::Continue => findings::diagnose(&seen, Some(self.since)),
                };
                let view = StatusView::new(&seen, &step.health, self.app.ui.carried_in(findings));
                return Ok(Followed { view, seen, verdict: step.verdict, waited });
            }
            let wake_at = inquiry.wake_at(&seen, now).map_or(step.wake_at, |at| at.min(step.wake_at));
            let until_wake = Duration::try_from(wake_at.duration_since(now)).unwrap_or_default();
            let pause = if seen.answers.is_empty() { until_wake } else { until_wake.min(JOINING) };
            let looks_again = Duration::try_from(NODES).unwrap_or_default();
            let pause = if nodes_to_look_at(&seen, now) == Nodes::None { pause } else { pause.min(looks_again) };
            tokio::select! {
                () = watch.changed() => {}
                () = sleep(pause) => {}
            }
        }
    }

    async fn secret(&self) -> Result<Option<SetSecret>, ApiFailure> {
        match &self.secret {
            Some(secret) => Ok(Some(secret.clone())),
            None => SetSecret::read(self.cluster, self.names.namespace(), &self.names.passwords()).await,
        }
    }

    async fn within_deadline<T>(&self, work: impl Future<Output = T>) -> Outcome<T> {
        let left = self.timeout.saturating_sub(Timestamp::now().duration_since(self.since));
        let left = Duration::try_from(left).unwrap_or_default();
        let done = tokio::time::timeout(left, work).await;
        done.map_err(|_| {
            Failure::new(Kind::TimedOut, format!("the API server {} does not answer", self.cluster.server))
        })
    }

    /// The Secret; `None`, said once, where it may not be read.
    fn readable(&self, secret: Result<Option<SetSecret>, ApiFailure>) -> Outcome<Option<SetSecret>> {
        match secret {
            Ok(secret) => Ok(secret),
            Err(failure) if failure.is_forbidden() => {
                self.app.ui.warn("you may not read the set's passwords, so health is Kubernetes' word only");
                Ok(None)
            }
            Err(failure) => Err(failure.into()),
        }
    }

    async fn hurry(&self, now: Timestamp) -> Outcome {
        let members = Members { cluster: self.cluster, namespace: self.names.namespace() };
        match members.hurry(self.names.set(), now).await {
            Ok(()) => self.app.ui.detail("asked the StatefulSet controller to try again at once"),
            // It then tries when its time has come.
            Err(failure) if failure.is_forbidden() || failure.is_not_found() || failure.is_transient() => {}
            Err(failure) => return Err(failure.into()),
        }
        Ok(())
    }

    async fn relabel(&self, step: &Step, seen: &Observation) -> Outcome {
        let image = seen.stateful_set.as_ref().is_some_and(image_labels_pods);
        let members = Members { cluster: self.cluster, namespace: self.names.namespace() };
        for relabel in &step.relabel {
            match members.relabel(relabel).await {
                Ok(()) if image => self.app.ui.say(&format!(
                    "labelled Pod {} name={}, which its image should have done",
                    relabel.pod, relabel.name
                )),
                Ok(()) => self.app.ui.detail(&format!("labelled Pod {} name={}", relabel.pod, relabel.name)),
                // The pod was replaced meanwhile, or the API server is away: the next look tells.
                Err(failure) if failure.is_not_found() || failure.is_transient() => {}
                Err(failure) => return Err(failure.into()),
            }
        }
        Ok(())
    }
}

fn tell_trouble(reporter: &mut dyn Reporter, before: &mut Option<String>, now: Option<String>, waited: SignedDuration) {
    match (&*before, &now) {
        (None, Some(trouble)) => {
            reporter.note(&format!("the API server does not answer ({trouble}); waiting for it"), waited);
        }
        (Some(_), None) => reporter.note("the API server answers again", waited),
        _ => {}
    }
    *before = now;
}

impl Followed {
    /// What the command returns: nothing when healthy, else a failure that names the causes.
    ///
    /// # Errors
    /// The set failed or the time is over.
    pub fn outcome(&self, app: &App, names: &Names) -> Outcome {
        let (set, namespace) = (names.set(), names.namespace());
        match &self.verdict {
            Verdict::Healthy | Verdict::Continue => Ok(()),
            Verdict::Failed(findings) => {
                let cause = findings.first().map(|finding| finding.summary.clone()).unwrap_or_default();
                let end = if self.view.is_stopped() { "is not healthy" } else { "cannot become healthy" };
                let failure = Failure::new(Kind::Unhealthy, format!("{set} in namespace {namespace} {end}: {cause}"));
                Ok::<(), Failure>(()).and(Err(with_fixes(failure, findings)))
            }
            Verdict::TimedOut(findings) => {
                let waited = crate::report::text::age(self.waited);
                let missing = self.view.unmet.join("; ");
                let failure = Failure::new(
                    Kind::TimedOut,
                    format!("{set} in namespace {namespace} is not healthy after {waited}: {missing}"),
                );
                let failure = failure.hint(format!("wait on: {} --timeout 1h", app.command("wait", names)));
                // A fix without what it is for would only puzzle.
                let failure = match findings.first() {
                    Some(finding) => failure.hint(format!("{}: {}", finding.object, finding.summary)),
                    None => failure,
                };
                Err(with_fixes(failure, findings))
            }
        }
    }
}

fn with_fixes(failure: Failure, findings: &[Finding]) -> Failure {
    findings.first().iter().flat_map(|finding| &finding.fix).fold(failure, |failure, fix| failure.hint(fix.clone()))
}
