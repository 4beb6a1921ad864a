//! What people and machines are shown: the terminal resolved once, tables, JSON and YAML views, progress.

pub mod progress;
pub mod status;
mod table;
pub mod text;
mod ui;

pub use table::table;
pub use ui::{ColorChoice, Paint, Ui, UiOptions};
