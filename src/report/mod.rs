//! What people and machines are shown: the terminal resolved once, tables, JSON and YAML views, progress.

mod address;
pub mod difference;
pub mod event;
pub mod list;
pub mod progress;
pub mod status;
mod table;
pub mod terminal;
pub mod text;
mod ui;

use serde::Serialize;

use crate::error::{Failure, Outcome};

pub use address::Address;
pub use table::table;
pub use ui::{ColorChoice, Paint, Ui, UiOptions};

/// A view as one JSON or YAML document.
///
/// # Errors
/// The view cannot be written as JSON, which is a defect of the view.
pub fn document(view: &impl Serialize, yaml: bool) -> Outcome<String> {
    let failed = |error: serde_json::Error| Failure::error(format!("failed to write the result: {error}"));
    if yaml {
        return Ok(crate::yaml::to_string(&serde_json::to_value(view).map_err(failed)?));
    }
    Ok(serde_json::to_string_pretty(view).map_err(failed)? + "\n")
}
