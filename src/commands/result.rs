//! How `up`, `scale` and `wait` end: the summary for people, the document for machines, the exit code.

use serde::Serialize;

use super::app::{App, patience};
use super::follow::{Followed, Follower};
use super::state;
use crate::cli::ResultFormat;
use crate::cluster::{Cluster, SetSecret};
use crate::error::Outcome;
use crate::manifests::Names;
use crate::report::status::StatusView;
use crate::report::text::{and, lapse};
use crate::report::{Paint, document};
use crate::set::health::Word;
use crate::set::rollout::Verdict;
use crate::settings::{Settings, Timeout};

/// `kind: Result` of `pgset/v1`: what `-o json` and `-o yaml` print at the end.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResultView<'a> {
    pub api_version: &'static str,
    pub kind: &'static str,
    pub command: &'a str,
    /// `healthy`, `failed`, `timedOut`, or `stopped` where that was asked for.
    pub outcome: &'static str,
    pub waited_ms: u64,
    pub changes: Vec<String>,
    pub status: &'a StatusView,
}

/// A change that was made, and the wait for its end.
pub struct Settle<'a> {
    pub app: &'a App,
    pub cluster: &'a Cluster,
    pub names: &'a Names,
    pub timeout: Timeout,
    /// The set's passwords, where they are known already.
    pub secret: Option<SetSecret>,
    /// Delete pods that stay on a bad revision.
    pub unstick: bool,
    pub command: &'a str,
    pub output: ResultFormat,
    pub changes: Vec<String>,
}

/// Follows the set to its end and reports.
///
/// # Errors
/// The set failed, the time is over, or the API server refuses to be watched.
pub async fn settle(change: Settle<'_>) -> Outcome {
    let Settle { app, cluster, names, timeout, secret, unstick, command, output, changes } = change;
    let follower = Follower { app, cluster, names, since: app.started, timeout: patience(timeout), secret, unstick };
    let followed = &follower.follow().await?;
    finish(Finish { app, cluster, names, followed, command, output, changes }).await
}

/// A wait's end.
pub struct Finish<'a> {
    pub app: &'a App,
    pub cluster: &'a Cluster,
    pub names: &'a Names,
    pub followed: &'a Followed,
    pub command: &'a str,
    pub output: ResultFormat,
    pub changes: Vec<String>,
}

/// Notes a healthy set's identity, reports, and turns the verdict into the exit code.
///
/// # Errors
/// The set failed or the time is over.
pub async fn finish(end: Finish<'_>) -> Outcome {
    let Finish { app, cluster, names, followed, command, output, changes } = end;
    let healthy = matches!(followed.verdict, Verdict::Healthy);
    if healthy && followed.view.word == Word::PostgreSQL {
        match state::record(cluster, names, &followed.seen).await {
            Err(failure) if failure.is_forbidden() => app.ui.warn(&format!(
                "{failure}: a member that loses its data while no other answers would start an empty database"
            )),
            recorded => recorded?,
        }
    }
    let waited_ms = u64::try_from(followed.waited.as_millis()).unwrap_or(0);
    if output == ResultFormat::Text {
        if healthy {
            app.ui.data(&format!("{} ({})\n", headline(app, &followed.view), lapse(waited_ms)))?;
        } else if app.ui.is_quiet() {
            for finding in &followed.view.findings {
                app.ui.found(finding, followed.waited);
            }
        }
    } else {
        let outcome = match followed.verdict {
            Verdict::Healthy | Verdict::Continue => "healthy",
            Verdict::Failed(_) => "failed",
            Verdict::TimedOut(_) => "timedOut",
        };
        let view = ResultView {
            api_version: "pgset/v1",
            kind: "Result",
            command,
            outcome,
            waited_ms,
            changes,
            status: &followed.view,
        };
        app.ui.data(&document(&view, output == ResultFormat::Yaml)?)?;
    }
    followed.outcome(app, names)
}

/// `pgset in namespace default is healthy: primary pgset-0, replica pgset-1 streaming`.
fn headline(app: &App, view: &StatusView) -> String {
    let healthy = app.ui.paint_data(Paint::Green, "healthy");
    let start = format!("{} in namespace {} is {healthy}", view.name, view.namespace);
    if view.word == Word::Kubernetes {
        return format!("{start} by Kubernetes' word: {} members ready; PostgreSQL was not asked", view.members.len());
    }
    let replicas: Vec<String> =
        view.members.iter().filter(|member| member.role == Some("replica")).map(|member| member.name.clone()).collect();
    let primary = view.primary.as_deref().unwrap_or("none");
    match replicas.len() {
        0 => format!("{start}: primary {primary}, no replica"),
        1 => format!("{start}: primary {primary}, replica {} streaming", and(&replicas)),
        _ => format!("{start}: primary {primary}, replicas {} streaming", and(&replicas)),
    }
}

/// Where to connect and what to type next.
///
/// `as_is`: the passwords are wherever the manifests have them.
pub fn how_to_connect(app: &App, names: &Names, settings: &Settings, as_is: bool) {
    let namespace = names.namespace();
    let secret = if as_is {
        app.command("dsn --show-password", names)
    } else {
        app.ui.carried(&format!(
            "kubectl -n {namespace} get secret {} -o go-template='{{{{.data.user|base64decode}}}}'",
            names.passwords()
        ))
    };
    app.ui.say(&format!(
        "  writes   {}.{namespace}.svc:5432\n  reads    {}.{namespace}.svc:5432\n  database {}, user {}; the password:\n           {secret}",
        names.master_service(),
        names.replica_service(),
        settings.database,
        settings.user
    ));
    let (psql, port_forward) = (app.command("psql", names), app.command("port-forward", names));
    app.ui.hint(&format!("from here: {psql}, or {port_forward} for other clients"));
    app.ui.hint(&format!(
        "{} · {} · {}",
        app.command("status", names),
        app.command("scale 3", names),
        app.command("down", names)
    ));
}
