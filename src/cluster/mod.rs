//! The only users of the Kubernetes client: connect, preflight, apply, watch, tunnel, delete.
//!
//! They do what they are told and decide nothing about a set; what they learn leaves as plain data.

mod apply;
mod around;
mod clean;
mod connect;
mod delete;
mod error;
mod gather;
mod look;
mod member;
mod preflight;
mod secret;
mod tunnel;
mod watch;

pub use apply::{Applied, Applier, describe};
pub use around::{all_nodes, look_at_nodes, look_inside, try_claim, try_pod};
pub use clean::Cleaner;
pub use connect::{Cluster, context_namespace};
pub use delete::Deleter;
pub use error::{ApiFailure, innermost};
pub use gather::{Gathered, gather, whole_log};
pub use look::{look, look_at_events, look_at_services, look_at_volumes, sets_named, volumes_of_sets_named};
pub use member::Members;
pub use preflight::{Need, Problem, missing_rights, preflight};
pub use secret::SetSecret;
pub use tunnel::tunnel;
pub use watch::Watch;
