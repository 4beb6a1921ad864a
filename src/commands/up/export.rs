//! The preflight for NFS: the export is tried before any member waits for it, where no member runs on it already.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::time::sleep;

use super::plan::{Plan, Planned};
use crate::cli::ResultFormat;
use crate::cluster::{ApiFailure, Cluster, Need, Trials, look};
use crate::commands::app::{App, patience};
use crate::commands::result::ResultView;
use crate::error::{Failure, Kind, Outcome};
use crate::manifests::{Names, ObjectKind};
use crate::report::document;
use crate::report::status::StatusView;
use crate::report::text::lapse;
use crate::set::health::health;
use crate::set::observation::PodReading;
use crate::set::trial::{Next, Trial};
use crate::set::{Finding, Observation};
use crate::settings::Timeout;

/// How often the pods are looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(300);

/// An export that should be tried, with the volume and the pods that will use it.
pub struct Export {
    trial: Trial,
    volume: Value,
    template: Value,
}

impl Export {
    /// The export of a set on NFS none of whose members runs; whoever runs has mounted it.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn to_try(cluster: &Cluster, names: &Names, plan: &Plan) -> Outcome<Option<Self>> {
        let volumes = plan.objects.iter().filter(|one| one.object.kind == ObjectKind::PersistentVolume);
        let found = volumes.map(|one| &one.object.body).find_map(|body| Some((Trial::of(names, body)?, body.clone())));
        let (Some((trial, volume)), Some(set)) = (found, plan.stateful_set()) else { return Ok(None) };
        if has_ready_members(set) {
            return Ok(None);
        }
        let seen = look(cluster, names.namespace(), names.set()).await?;
        let template = set.object.body["spec"]["template"].clone();
        let runs = seen.pods.iter().any(PodReading::is_running);
        Ok((!runs).then_some(Self { trial, volume, template }))
    }

    /// The rights that trying it takes beside those of `up` itself.
    #[must_use]
    pub fn needs() -> Vec<Need> {
        let mut needs = vec![Need::new("list", "", "events")];
        needs.extend(["get", "create", "delete"].map(|verb| Need::new(verb, "", "pods")));
        needs.push(Need::new("delete", "", "persistentvolumeclaims"));
        needs.push(Need::new("delete", "", "persistentvolumes").cluster_wide());
        needs
    }

    /// Removes what an `up` that was killed may have left behind. Who may not do so leaves it.
    pub async fn clear(&self, app: &App, cluster: &Cluster) {
        if let Err(failure) = (Trials { cluster, trial: &self.trial }).remove().await {
            app.ui.detail(&failure.to_string());
        }
    }

    /// Tries it and removes whatever that took, on any end.
    ///
    /// # Errors
    /// No member could work there, the time is over, or the API server does not answer.
    pub async fn check(&self, check: Check<'_>) -> Outcome {
        let Check { app, cluster, names, output, timeout } = check;
        let trials = Trials { cluster, trial: &self.trial };
        let export = self.trial.export();
        app.ui.say(&format!("trying NFS export {export} from a pod before any member waits for it"));
        let began = Timestamp::now();
        let clean_up = async {
            if let Err(failure) = trials.remove().await {
                app.ui.warn(&format!("{failure}: remove it, or let the next up do it"));
            }
        };
        // Boxed: looks are large.
        let work = Box::pin(self.follow(app, &trials, timeout));
        let next = app.cleaning_up(work, Box::pin(clean_up)).await?;
        match next {
            Next::Passed(warnings) => {
                let took = u64::try_from(Timestamp::now().duration_since(began).as_millis()).unwrap_or(0);
                app.ui.say(&format!("NFS export {export} can be mounted and written to ({})", lapse(took)));
                for line in &warnings {
                    app.ui.warn(line);
                }
                Ok(())
            }
            Next::Failed(finding) => Err(failed(app, names, output, &finding)?),
            Next::Unknown(why) => {
                app.ui.warn(&format!("NFS export {export} could not be tried: {why}; the members will tell"));
                Ok(())
            }
            Next::Wait => Ok(()),
        }
    }

    async fn follow(&self, app: &App, trials: &Trials<'_>, timeout: Timeout) -> Outcome<Next> {
        let (made, nodes) = futures::join!(trials.make(&self.volume, &self.template), trials.nodes());
        if let Err(failure) = made {
            return untried(failure);
        }
        let began = Timestamp::now();
        loop {
            let seen = match trials.look(nodes.clone()).await {
                Ok(seen) => seen,
                Err(failure) => return untried(failure),
            };
            let now = Timestamp::now();
            let next = self.trial.judge(&seen, now, now.duration_since(began));
            if next != Next::Wait {
                return Ok(next);
            }
            if is_over(app, now, timeout) {
                let export = self.trial.export();
                return Err(Failure::new(
                    Kind::TimedOut,
                    format!("the time is over before NFS export {export} could be tried; nothing else was changed"),
                )
                .hint("give it longer with --timeout, or leave it out with --no-preflight"));
            }
            sleep(LOOK_AGAIN).await;
        }
    }
}

/// Where and how an export is tried.
pub struct Check<'a> {
    pub app: &'a App,
    pub cluster: &'a Cluster,
    pub names: &'a Names,
    pub output: ResultFormat,
    pub timeout: Timeout,
}

fn has_ready_members(set: &Planned) -> bool {
    let ready = set.live.as_ref().and_then(|live| live["status"]["readyReplicas"].as_u64());
    ready.is_some_and(|ready| ready > 0)
}

fn is_over(app: &App, now: Timestamp, timeout: Timeout) -> bool {
    let waited: SignedDuration = now.duration_since(app.started);
    waited >= patience(timeout)
}

/// What the API server refuses the trial, such as one more pod than a quota allows, is no word about the export.
fn untried(failure: ApiFailure) -> Outcome<Next> {
    if failure.is_transient() { Err(failure.into()) } else { Ok(Next::Unknown(failure.to_string())) }
}

/// Tells the finding as a wait's end does.
fn failed(app: &App, names: &Names, output: ResultFormat, finding: &Finding) -> Outcome<Failure> {
    let (set, namespace) = (names.set(), names.namespace());
    let found = app.ui.carried_in(vec![finding.clone()]);
    for finding in &found {
        app.ui.found(finding, Timestamp::now().duration_since(app.started));
    }
    if output != ResultFormat::Text {
        let seen = Observation { name: set.to_owned(), namespace: namespace.to_owned(), ..Observation::default() };
        let status = StatusView::new(&seen, &health(&seen), found);
        let view = ResultView {
            api_version: "pgset/v1",
            kind: "Result",
            command: "up",
            outcome: "failed",
            waited_ms: app.waited_ms(),
            changes: Vec::new(),
            status: &status,
        };
        app.ui.data(&document(&view, output == ResultFormat::Yaml)?)?;
    }
    let failure = Failure::new(
        Kind::Unhealthy,
        format!("{set} in namespace {namespace} cannot become healthy: {}", finding.summary),
    );
    let failure = finding.fix.iter().fold(failure, |failure, fix| failure.hint(fix.clone()));
    Ok(failure.hint("nothing was changed; to go on all the same: the same command with --no-preflight"))
}
