//! `pgset diff`: what `up` would change, and how.

use super::app::App;
use super::base::say_notes;
use super::up::{Preflight, prepare, show};
use crate::cli::DiffArgs;
use crate::error::Outcome;

/// Shows it.
///
/// # Errors
/// Something differs (exit code 5), or what would keep `up` from doing it.
pub async fn run(app: &App, args: DiffArgs) -> Outcome {
    let prepared = Box::pin(prepare(app, &args.settings, Preflight::Skip)).await?;
    if let Some(base) = &prepared.base {
        say_notes(app, base, &prepared.notes);
    }
    show(app, &prepared, args.output)
}
