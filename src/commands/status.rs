//! `pgset status`: one look at a set, or a live view of it; the exit code is its health.

use std::time::Duration;

use futures::join;
use jiff::Timestamp;
use tokio::time::sleep;

use super::app::{App, patiently};
use super::ask::{Asker, superuser};
use super::learn::{learn, members, read_all_last_words};
use crate::cli::{StatusArgs, StatusFormat};
use crate::cluster::{Cluster, SetSecret, Watch, live_set, look, look_at_events, look_at_nodes, sets_named};
use crate::error::{Failure, Kind, Outcome};
use crate::manifests::Names;
use crate::report::document;
use crate::report::status::StatusView;
use crate::set::inquiry::{Inquiry, everything, forget_silence};
use crate::set::rollout::{members_to_ask, nodes_to_look_at};
use crate::set::{Observation, findings, health::health};

/// How often a live view asks PostgreSQL again: positions move without any change the API server would tell of.
const LIVE: Duration = Duration::from_secs(1);

/// A replica that is behind is looked at again after this long, to see whether it catches up.
const TREND: Duration = Duration::from_millis(700);

/// Shows the set.
///
/// # Errors
/// There is no such set, or it is not healthy.
pub async fn run(app: &App, args: StatusArgs) -> Outcome {
    let (target, cluster) = app.target().await?;
    let names = Names::new(&target.name, &target.namespace);
    if args.watch {
        return watch(app, &cluster, &names, args.output).await;
    }
    let view = patiently(&cluster, once(app, &cluster, &names)).await??;
    app.ui.data(&shown(app, &view, args.output)?)?;
    verdict(&view)
}

async fn once(app: &App, cluster: &Cluster, names: &Names) -> Outcome<StatusView> {
    let namespace = names.namespace();
    let secret = names.passwords();
    let mut asker = Asker::new(cluster, namespace, None);
    asker.open_ahead([0, 1].map(|ordinal| names.member(ordinal)));
    let (seen, secret) = join!(look(cluster, namespace, names.set()), SetSecret::read(cluster, namespace, &secret));
    let mut seen = seen?;
    if seen.stateful_set.is_none() {
        return Err(no_such_set(app, cluster, names).await);
    }
    // Without the right to the passwords, or without passwords, what Kubernetes knows is still worth showing.
    let secret = SetSecret::of_set(cluster, names, seen.stateful_set.as_ref(), secret).await;
    asker.log_in_with(superuser(secret.ok().flatten().as_ref(), &mut seen));
    asker.look_after();
    asker.ask(members_to_ask(&seen), &mut seen).await;
    if !health(&seen).is_healthy() {
        let nodes = nodes_to_look_at(&seen, Timestamp::now());
        let (events, nodes) = join!(look_at_events(cluster, namespace, names.set()), look_at_nodes(cluster, nodes));
        (seen.events, seen.nodes) = (events, nodes);
        read_all_last_words(cluster, &mut seen).await;
        look_closer(cluster, &mut asker, &mut seen).await;
    }
    compare_distance(&mut asker, &mut seen).await;
    Ok(judged(app, &seen))
}

/// What an unhealthy set leaves open: volumes, Services, members that are not ready yet, logs of those that run.
pub async fn look_closer(cluster: &Cluster, asker: &mut Asker, seen: &mut Observation) {
    let questions = everything(seen);
    let mut asked = members_to_ask(seen);
    let more = members(&questions);
    if !more.is_empty() {
        asked.extend(more);
        asker.ask(asked, seen).await;
        forget_silence(seen);
    }
    learn(cluster, asker, &questions, seen).await;
}

/// Asks again after a moment where a replica is far behind: whether it catches up is worth the wait.
async fn compare_distance(asker: &mut Asker, seen: &mut Observation) {
    let behind = findings::far_behind(seen);
    if behind.is_empty() {
        return;
    }
    let began = Timestamp::now();
    sleep(TREND).await;
    let members = seen.answers.keys().cloned().collect();
    asker.ask(members, seen).await;
    forget_silence(seen);
    let ago = u64::try_from(Timestamp::now().duration_since(began).as_millis()).unwrap_or(0);
    seen.behind_before = behind.into_iter().map(|(member, bytes)| (member, (bytes, ago))).collect();
}

fn judged(app: &App, seen: &Observation) -> StatusView {
    StatusView::new(seen, &health(seen), app.ui.carried_in(findings::diagnose(seen, None)))
}

fn shown(app: &App, view: &StatusView, format: StatusFormat) -> Outcome<String> {
    Ok(match format {
        StatusFormat::Table => view.text(&app.ui, false, Timestamp::now()),
        StatusFormat::Wide => view.text(&app.ui, true, Timestamp::now()),
        StatusFormat::Json => document(view, false)?,
        StatusFormat::Yaml => document(view, true)?,
    })
}

/// Exit code 3 for a set that is not healthy; what is wrong has been shown.
fn verdict(view: &StatusView) -> Outcome {
    if view.healthy {
        return Ok(());
    }
    let how = if view.is_stopped() { "stopped" } else { "not healthy" };
    Err(Failure::new(Kind::Unhealthy, format!("{} in namespace {} is {how}", view.name, view.namespace)))
}

/// Shows the set again at every change until interrupted.
async fn watch(app: &App, cluster: &Cluster, names: &Names, format: StatusFormat) -> Outcome {
    let namespace = names.namespace();
    // The watches below go on through an outage; one that is there from the beginning should end it.
    if patiently(cluster, live_set(cluster, namespace, names.set())).await??.is_none() {
        return Err(no_such_set(app, cluster, names).await);
    }
    let watch = Watch::start(cluster, namespace, names.set());
    let secret = names.passwords();
    let (listed, secret) = join!(watch.complete(), SetSecret::read(cluster, namespace, &secret));
    listed?;
    let mut seen =
        Observation { name: names.set().to_owned(), namespace: namespace.to_owned(), ..Observation::default() };
    watch.observe(&mut seen);
    let secret = SetSecret::of_set(cluster, names, seen.stateful_set.as_ref(), secret).await;
    let password = superuser(secret.ok().flatten().as_ref(), &mut seen);
    let mut asker = Asker::new(cluster, namespace, password);
    let mut inquiry = Inquiry::default();
    app.when_interrupted("", None);
    loop {
        watch.observe(&mut seen);
        seen.at = Some(Timestamp::now());
        if seen.stateful_set.is_none() {
            return Err(no_such_set(app, cluster, names).await);
        }
        let questions = inquiry.next(&mut seen, Timestamp::now());
        asker.ask(members_to_ask(&seen), &mut seen).await;
        read_all_last_words(cluster, &mut seen).await;
        learn(cluster, &asker, &questions, &mut seen).await;
        let view = judged(app, &seen);
        app.ui.screen(&shown(app, &view, format)?)?;
        tokio::select! {
            () = watch.changed() => {}
            () = sleep(LIVE) => {}
        }
    }
}

/// The set is not where it was looked for; where sets of that name are, if the user may see that.
pub async fn no_such_set(app: &App, cluster: &Cluster, names: &Names) -> Failure {
    let (set, namespace) = (names.set(), names.namespace());
    let failure = Failure::error(format!("there is no set {set} in namespace {namespace}"));
    let elsewhere = sets_named(cluster, set).await;
    if elsewhere.is_empty() {
        return failure
            .hint(format!("bring one up: {}", app.command("up", names)))
            .hint("look in another namespace with -n, or for another name with --name");
    }
    elsewhere
        .iter()
        .fold(failure, |failure, other| failure.hint(format!("there is one in namespace {other}: -n {other}")))
}
