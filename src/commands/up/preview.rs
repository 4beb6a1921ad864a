//! The plan as `diff` and `up --dry-run` show it.

use super::plan::{Plan, Planned};
use super::prepare::Prepared;
use crate::cli::ResultFormat;
use crate::commands::app::App;
use crate::error::{Failure, Kind, Outcome};
use crate::report::difference::{DiffView, ObjectDiff, steps};
use crate::report::document;
use crate::set::plan::{Change, Effect};

/// Shows what `up` would do, in words, YAML or JSON.
///
/// # Errors
/// It would do something (exit code 5), or the view cannot be written.
pub fn show(app: &App, prepared: &Prepared, output: ResultFormat) -> Outcome {
    let view = view(prepared);
    app.ui.data(&match output {
        ResultFormat::Text => view.text(&app.ui),
        ResultFormat::Json => document(&view, false)?,
        ResultFormat::Yaml => document(&view, true)?,
    })?;
    if differs(prepared) { Err(Failure::new(Kind::Differs, "")) } else { Ok(()) }
}

/// Whether `up` would change anything.
pub fn differs(prepared: &Prepared) -> bool {
    !prepared.plan.is_empty() || prepared.new_secret.is_some()
}

fn view(prepared: &Prepared) -> DiffView {
    let Prepared { names, plan, new_secret, settings, notes, .. } = prepared;
    let Plan { objects, grow, stays, primary, replicas } = plan;
    let retake = plan.retakes().map(|one| {
        let (volume, claim) = (&one.volume, &one.claim);
        format!("take PersistentVolume {volume} back from claim {claim}, which is gone, after asking")
    });
    let diff = |one: &Planned| ObjectDiff::new(&one.object, &one.change, one.live.as_ref(), &one.result);
    let secret = new_secret.iter().filter_map(|secret| ObjectDiff::new(secret, &Change::Created, None, &secret.body));
    let mut objects: Vec<ObjectDiff> = objects.iter().filter_map(diff).chain(secret).collect();
    let size = &settings.size;
    let enlarge = grow
        .iter()
        .map(|claim| format!("ask for {size} instead of {} for PersistentVolumeClaim {}", claim.size, claim.name));
    let rolling = plan.rolling();
    if !rolling.is_empty() {
        // PostgreSQL reads its settings and scripts when it starts.
        let config = |object: &&mut ObjectDiff| object.kind == "ConfigMap" && object.effect == Effect::Live;
        objects.iter_mut().filter(config).for_each(|object| object.effect = Effect::Rolling);
    }
    let start = plan.is_stopped().then_some(*replicas);
    let steps = steps(&objects, &retake.chain(enlarge).collect::<Vec<_>>(), &rolling, primary, start);
    DiffView {
        api_version: "pgset/v1",
        kind: "Diff",
        name: names.set().to_owned(),
        namespace: names.namespace().to_owned(),
        differs: differs(prepared),
        objects,
        rolling: if start.is_some() { Vec::new() } else { rolling },
        steps,
        stays: stays.clone(),
        upgrades: notes.upgrades.clone(),
    }
}
