//! The only users of the Kubernetes client: connect, preflight, apply, watch, tunnel, delete.
//!
//! They do what they are told and decide nothing about a set; what they learn leaves as plain data.

mod apply;
mod clean;
mod connect;
mod delete;
mod error;
mod look;
mod member;
mod names;
mod preflight;
mod secret;
mod storage;
mod tunnel;
mod watch;

pub use apply::{Applied, Applier, describe};
pub use clean::Cleaner;
pub use connect::{Cluster, context_namespace, contexts};
pub use delete::Deleter;
pub use error::{ApiFailure, innermost};
pub use look::{look, look_at_events, sets_named, volumes_of_sets_named};
pub use member::Members;
pub use names::{members_of, namespaces, sets_in};
pub use preflight::{Need, Problem, preflight, rights};
pub use secret::SetSecret;
pub use storage::{Classes, claims_of, grow_claim};
pub use tunnel::tunnel;
pub use watch::Watch;
