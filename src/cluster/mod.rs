//! The only users of the Kubernetes client: connect, preflight, apply, watch, tunnel, delete.
//!
//! They do what they are told and decide nothing about a set; what they learn leaves as plain data.

mod apply;
mod around;
mod clean;
mod connect;
mod delete;
mod error;
mod exec;
mod gather;
mod leads;
mod list;
mod logs;
mod look;
mod member;
mod names;
mod oneshot;
mod preflight;
mod secret;
mod storage;
mod transport;
mod trial;
mod tunnel;
mod volumes;
mod watch;

pub use apply::{Applied, Applier, describe};
pub use around::{all_nodes, look_at_nodes, look_inside, try_claim, try_pod};
pub use clean::Cleaner;
pub use connect::{Cluster, context_namespace, contexts};
pub use delete::Deleter;
pub use error::{ApiFailure, innermost};
pub use exec::{Ended, Exec, Process, Written};
pub use gather::{Gathered, gather, whole_log};
pub use leads::Leads;
pub use list::list;
pub use logs::{Fate, Life, Lives, Log, Part, lives};
pub use look::{keys_of, live_set, look, look_at_events, look_at_services, look_at_volumes, sets_named};
pub use member::Members;
pub use names::{members_of, namespaces, sets_in};
pub use preflight::{Need, Problem, missing_rights, preflight};
pub use secret::SetSecret;
pub use storage::{Classes, ClassesOnce, claims_of, grow_claim};
pub use trial::Trials;
pub use tunnel::{Tunnel, TunnelAhead, tunnel};
pub use volumes::{all_volumes, retake};
pub use watch::Watch;
