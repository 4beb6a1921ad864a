//! The only users of the Kubernetes client: connect, preflight, apply, watch, tunnel, delete.
//!
//! They do what they are told and decide nothing about a set; what they learn leaves as plain data.

mod apply;
mod connect;
mod delete;
mod error;
mod look;
mod preflight;
mod secret;
mod tunnel;
mod watch;

pub use apply::{Applied, Applier};
pub use connect::{Access, Cluster, context_namespace};
pub use delete::{Blocked, Deleter};
pub use error::{ApiFailure, innermost};
pub use look::{look, sets_named};
pub use preflight::{Need, Problem, preflight};
pub use secret::SetSecret;
pub use tunnel::tunnel;
pub use watch::Watch;
