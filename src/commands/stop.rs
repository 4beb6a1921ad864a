//! `pgset stop` and `pgset start`: to no members and back, with data, Services and the number of members kept.

use tokio::time::timeout;

use super::app::{App, patience};
use super::ask::{ask_members, checkpoint};
use super::gone::members_gone;
use super::result::{ResultView, Settle, settle};
use super::state;
use super::status::no_such_set;
use crate::cli::{ResultFormat, StartArgs, StopArgs};
use crate::cluster::{Cluster, Members, look};
use crate::error::{Failure, Kind, Outcome};
use crate::manifests::Names;
use crate::report::document;
use crate::report::status::StatusView;
use crate::report::text::{age, and};
use crate::set::order::stop_steps;
use crate::set::{Observation, findings, health::health};

/// Stops the set.
///
/// # Errors
/// There is no such set, the members do not end in time, or the API server refuses.
pub async fn stop(app: &App, args: StopArgs) -> Outcome {
    let (target, cluster) = app.target().await?;
    let names = Names::new(&target.name, &target.namespace);
    let mut seen = look(&cluster, names.namespace(), names.set()).await?;
    let Some(current) = seen.wanted() else { return Err(no_such_set(app, &cluster, &names).await) };
    app.when_interrupted(
        "interrupted: the members that were asked to stop do so",
        format!("go on: {}, or back: {}", app.command("stop", &names), app.command("start", &names)),
    );
    let stopping = async {
        let mut changes = Vec::new();
        if current > 0 {
            ask_members(&cluster, &names, &mut seen).await?;
            changes = stop_members(app, &cluster, &names, &seen, current).await?;
        }
        members_gone(app, &cluster, &names, 0).await?;
        Ok::<_, Failure>(changes)
    };
    let unfinished = |_| {
        let limit = age(patience(target.timeout));
        Failure::new(Kind::TimedOut, format!("stopping {} took longer than {limit}", names.set()))
            .hint(format!("wait on: {} --timeout 1h", app.command("stop", &names)))
    };
    let changes = timeout(target.timeout.get(), stopping).await.map_err(unfinished)??;
    report(app, &cluster, &names, args.output, changes).await
}

/// Asks the members to stop, replicas first, and returns what was done.
async fn stop_members(
    app: &App,
    cluster: &Cluster,
    names: &Names,
    seen: &Observation,
    current: i32,
) -> Outcome<Vec<String>> {
    // A note that says more is from a stop that was interrupted after the replicas.
    let noted = state::read(cluster, names).await?.replicas.map(i32::from);
    if let Ok(replicas) = u8::try_from(noted.unwrap_or(0).max(current)) {
        state::remember_replicas(cluster, names, replicas).await?;
    }
    let primary = match seen.primaries()[..] {
        [one] => Some(one.to_owned()),
        _ => None,
    };
    let ordinal = primary.as_deref().and_then(|primary| seen.ordinal(primary));
    let members = Members { cluster, namespace: names.namespace() };
    let (mut changes, mut left) = (Vec::new(), current);
    for step in stop_steps(current, ordinal) {
        let going: Vec<String> = (i32::from(step)..left).map(|ordinal| seen.member_name(ordinal)).collect();
        if step == 0 {
            say_how(app, primary.as_deref(), &going);
            if let Some(primary) = &primary {
                // Only shortens the shutdown, which writes one of its own.
                if let Err(failure) =
                    checkpoint(cluster, names, seen, primary, std::time::Duration::from_secs(300)).await
                {
                    app.ui.warn(&format!("{:#}", failure.error));
                }
            }
        } else {
            let replicas = if going.len() == 1 { "replica" } else { "replicas" };
            app.ui.say(&format!("stopping the {replicas} {}", and(&going)));
        }
        members.scale(names.statefulset(), step).await?;
        members_gone(app, cluster, names, i32::from(step)).await?;
        changes.push(format!("stopped {}", and(&going)));
        left = i32::from(step);
    }
    Ok(changes)
}

fn say_how(app: &App, primary: Option<&str>, going: &[String]) {
    match (primary, going) {
        (Some(primary), [_]) => app.ui.say(&format!("stopping the primary, {primary}")),
        (Some(primary), _) => app.ui.say(&format!(
            "stopping the primary, {primary}, and at the same time the replicas with lower numbers: Kubernetes removes the highest first"
        )),
        (None, _) => app.ui.say(&format!("stopping {} at the same time: no member says that it is the primary", and(going))),
    }
}

async fn report(app: &App, cluster: &Cluster, names: &Names, output: ResultFormat, changes: Vec<String>) -> Outcome {
    let (set, namespace) = (names.set(), names.namespace());
    if output == ResultFormat::Text {
        let again = if changes.is_empty() { " already" } else { "" };
        app.ui.data(&format!("{set} in namespace {namespace} is stopped{again}; its data and Services stay\n"))?;
        app.ui.hint(&format!("start it again: {}", app.command("start", names)));
        return Ok(());
    }
    let seen = look(cluster, namespace, set).await?;
    let status = StatusView::new(&seen, &health(&seen), findings::diagnose(&seen, None));
    let view = ResultView {
        api_version: "pgset/v1",
        kind: "Result",
        command: "stop",
        outcome: "stopped",
        waited_ms: app.waited_ms(),
        changes,
        status: &status,
    };
    app.ui.data(&document(&view, output == ResultFormat::Yaml)?)
}

/// Starts a stopped set with as many members as it had.
///
/// # Errors
/// There is no such set, nothing says how many members it had, or it does not become healthy.
pub async fn start(app: &App, args: StartArgs) -> Outcome {
    let (target, cluster) = app.target().await?;
    let names = Names::new(&target.name, &target.namespace);
    let seen = look(&cluster, names.namespace(), names.set()).await?;
    let Some(current) = seen.wanted() else { return Err(no_such_set(app, &cluster, &names).await) };
    let (set, namespace) = (names.set(), names.namespace());
    let mut changes = Vec::new();
    let noted = state::read(&cluster, &names).await?.replicas;
    match noted {
        // Stopped, or half stopped when somebody interrupted it.
        Some(replicas) if current < i32::from(replicas) => {
            Members { cluster: &cluster, namespace }.scale(names.statefulset(), replicas).await?;
            state::forget_replicas(&cluster, &names).await?;
            changes.push(format!("started {set} with {replicas} members"));
            app.ui.say(&changes.join(", "));
        }
        None if current == 0 => {
            return Err(Failure::refused(format!(
                "{set} in namespace {namespace} was not stopped by pgset, so nothing says how many members it had"
            ))
            .hint(format!("say it: {}", app.command("scale 2", &names))));
        }
        _ => app.ui.say(&format!("{set} in namespace {namespace} is not stopped")),
    }
    app.when_interrupted(
        "interrupted: nothing is undone, and the set goes on starting by itself",
        format!("wait for it: {}", app.command("wait", &names)),
    );
    settle(Settle {
        app,
        cluster: &cluster,
        names: &names,
        timeout: target.timeout,
        secret: None,
        unstick: false,
        command: "start",
        output: args.output,
        changes,
    })
    .await
}
