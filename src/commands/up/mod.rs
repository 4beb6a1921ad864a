//! `pgset up`: preflight, plan, apply, wait until healthy, how to connect.

mod apply;
mod export;
mod plan;
mod prepare;
mod preview;

use tokio::time::Instant;

use super::app::App;
use super::base::say_notes;
use super::result::{Settle, how_to_connect, settle};
use crate::cli::UpArgs;
use crate::error::Outcome;
use crate::report::text::and;
use crate::set::plan::{Change, claim_flags, never_changes};
use crate::set::volumes::Retake;

use apply::{apply, say_changes};
use export::Check;
use plan::Plan;
use prepare::Prepared;
pub use prepare::{Preflight, needs, prepare};
use preview::differs;
pub use preview::show;

/// Brings the set up.
///
/// # Errors
/// Whatever keeps it from becoming healthy; nothing is undone, and no data is deleted.
pub async fn run(app: &App, args: UpArgs) -> Outcome {
    let tries = !args.no_preflight && !args.dry_run;
    let prepared = Box::pin(prepare(app, &args.settings, Preflight::Check { export: tries })).await?;
    if let Some(base) = prepared.base.as_ref().filter(|_| differs(&prepared)) {
        say_notes(app, base, &prepared.notes);
    }
    if args.dry_run {
        let shown = show(app, &prepared, args.output);
        app.ui.say("dry run: nothing was changed");
        return shown;
    }
    let Prepared { settings, timeout, names, cluster, plan, secret, new_secret, export, base, notes: _ } = prepared;
    let given = &settings.passwords;
    let all_given = [&given.superuser, &given.replication, &given.user].iter().all(|one| one.is_some());
    ask_for_volumes(app, &plan, new_secret.is_some() && !all_given).await?;
    ask(app, &plan).await?;
    // Told where the image is new to the set, and not at every change of it.
    for line in settings.crunchy.iter().filter(|_| plan.image_is_new()).flat_map(|crunchy| crunchy.contract.warnings())
    {
        app.ui.warn(&line);
    }
    for line in &plan.stays {
        app.ui.warn(line);
    }
    if plan.is_stopped() {
        app.ui.say(&format!("{} was stopped: starting it with {} members", names.set(), plan.replicas));
    }
    if let Some(export) = export {
        if tries {
            let check = Check { app, cluster: &cluster, names: &names, output: args.output, timeout };
            export.check(check).await?;
        } else {
            export.clear(app, &cluster).await;
        }
    }
    app.when_interrupted(
        "interrupted: nothing is undone, and the set goes on starting by itself",
        format!("wait for it: {}, or repeat: {}", app.command("wait", &names), app.command("up", &names)),
    );
    let replicas = plan.replicas;
    let deadline = Instant::now() + timeout.get();
    let changes = apply(app, &cluster, &names, plan, new_secret, settings.size.as_str(), deadline).await?;
    say_changes(app, &names, &changes);
    if replicas != settings.replicas.get() {
        app.ui.hint(&format!(
            "the set keeps the {replicas} members it was scaled to; to change that: {}",
            app.command(&format!("scale {}", settings.replicas.get()), &names)
        ));
    }
    settle(Settle {
        app,
        cluster: &cluster,
        names: &names,
        timeout,
        secret,
        unstick: args.unstick,
        command: "up",
        output: args.output,
        changes: changes.words(),
    })
    .await?;
    how_to_connect(app, &names, &settings, base.is_some_and(|base| base.as_is));
    Ok(())
}

/// Asks before volumes are taken back from claims that are gone. Where the passwords went with them, new ones do not fit.
async fn ask_for_volumes(app: &App, plan: &Plan, new_passwords: bool) -> Outcome {
    let retakes: Vec<&Retake> = plan.retakes().collect();
    if retakes.is_empty() {
        return Ok(());
    }
    for Retake { volume, claim, uid: _ } in &retakes {
        app.ui.say(&format!(
            "PersistentVolume {volume} is Released: Kubernetes keeps it for claim {claim}, which is gone"
        ));
    }
    if new_passwords {
        app.ui.warn(
            "the set's passwords are gone as well; a database on the volume knows only those, and new ones are made",
        );
        app.ui.hint("where you know them: export PG_ROOT_PASSWORD=… PG_MASTER_PASSWORD=… PG_PASSWORD=…, and repeat");
    }
    if app.common.yes {
        return Ok(());
    }
    let names: Vec<String> = retakes.iter().map(|one| one.volume.clone()).collect();
    let question = format!("let the new claim have {}, with the data in it? [y/N]", and(&names));
    app.ui.confirm(&question, is_yes, ANSWER_BEFOREHAND).await
}

fn is_yes(answer: &str) -> bool {
    answer.eq_ignore_ascii_case("y") || answer.eq_ignore_ascii_case("yes")
}

const ANSWER_BEFOREHAND: &str = "answer beforehand: the same command with --yes, or see it with --dry-run";

/// Asks before a StatefulSet is deleted, though only to be made anew.
async fn ask(app: &App, plan: &Plan) -> Outcome {
    let Some(set) = plan.stateful_set() else { return Ok(()) };
    let Change::Recreated(paths) = &set.change else { return Ok(()) };
    // Deleted already, by whoever or by an `up` that was interrupted here: nothing is left to ask.
    if paths.is_empty() {
        return Ok(());
    }
    let name = &set.object.name;
    let never: Vec<&str> = paths.iter().map(String::as_str).filter(|path| never_changes(path)).collect();
    app.ui.say(&format!("Kubernetes lets nobody change this on a StatefulSet: {}", never.join(", ")));
    app.ui.say(&format!(
        "StatefulSet {name} has to be deleted and created again; its members run on, their claims and data stay"
    ));
    if app.common.yes {
        return Ok(());
    }
    let question = format!("delete StatefulSet {name} and create it again around its members? [y/N]");
    let asked = app.ui.confirm(&question, is_yes, ANSWER_BEFOREHAND).await;
    let keep = set.live.as_ref().map(|live| claim_flags(live, &set.result)).unwrap_or_default();
    match asked {
        Err(refused) if !keep.is_empty() => Err(refused.hint(format!("or keep what the set has: {}", keep.join(" ")))),
        asked => asked,
    }
}
