//! StatefulSets of somebody else's under a set's name: shown, but never changed.

use serde_json::json;

use super::app::App;
use crate::error::{Failure, Outcome};
use crate::manifests::Names;
use crate::set::Observation;
use crate::set::plan::foreign_owner;

/// Whose the StatefulSet is, where it is not this set's own.
#[must_use]
pub fn owner(names: &Names, seen: &Observation) -> Option<String> {
    foreign_owner(names.set(), &json!(seen.stateful_set.as_ref()?))
}

/// Refuses to change a StatefulSet that is somebody else's.
///
/// # Errors
/// It is.
pub fn refuse(app: &App, names: &Names, seen: &Observation) -> Outcome {
    let Some(owner) = owner(names, seen) else { return Ok(()) };
    let (set, namespace) = (names.statefulset(), names.namespace());
    Err(Failure::refused(format!(
        "StatefulSet {set} in namespace {namespace} is not pgset's: it belongs to {owner}, so nothing was changed"
    ))
    .hint(format!("see which sets are: {}", app.command("list", names))))
}
