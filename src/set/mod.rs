//! What is known about one set and what follows from it: observation, health, findings, plan and rollout.
//!
//! Pure: no client, no clock, no terminal. Every decision of pgset is made here, from an [`Observation`] and `now`.

pub mod dsn;
pub mod findings;
pub mod health;
pub mod identity;
pub mod listing;
pub mod log;
mod lsn;
pub mod observation;
pub mod phase;
pub mod plan;
pub mod psql;
pub mod rollout;
pub mod verify;

pub use findings::{Finding, Severity};
pub use health::{Health, Unmet};
pub use lsn::Lsn;
pub use observation::Observation;
