//! The only users of the Kubernetes client: connect, preflight, apply, watch, tunnel, delete.
//!
//! They do what they are told and decide nothing about a set; what they learn leaves as plain data.

mod apply;
mod clean;
mod connect;
mod delete;
mod error;
mod exec;
mod leads;
mod list;
mod logs;
mod look;
mod member;
mod preflight;
mod secret;
mod tunnel;
mod watch;

pub use apply::{Applied, Applier, describe};
pub use clean::Cleaner;
pub use connect::{Cluster, context_namespace};
pub use delete::Deleter;
pub use error::{ApiFailure, innermost};
pub use exec::{Ended, Exec, Process, Written};
pub use leads::Leads;
pub use list::list;
pub use logs::{Life, Lives, Log, Part, lives};
pub use look::{live_set, look, look_at_events, sets_named, volumes_of_sets_named};
pub use member::Members;
pub use preflight::{Need, Problem, preflight};
pub use secret::SetSecret;
pub use tunnel::{Tunnel, tunnel};
pub use watch::Watch;
