//! What is known about one set and what follows from it: observation, health, findings, plan and rollout.
//!
//! Pure: no client, no clock, no terminal. Every decision of pgset is made here, from an [`Observation`] and `now`.

mod bytes;
pub mod dsn;
pub mod findings;
pub mod health;
pub mod home;
pub mod identity;
pub mod inquiry;
pub mod inside;
pub mod listing;
pub mod log;
mod lsn;
pub mod mask;
pub mod observation;
pub mod oneshot;
pub mod order;
pub mod own;
pub mod phase;
pub mod plan;
pub mod promote;
pub mod psql;
pub mod redact;
pub mod rollout;
pub mod trial;
pub mod verify;
pub mod volumes;

pub use bytes::bytes;
pub use findings::{Finding, Severity};
pub use health::{Health, Unmet};
pub use lsn::Lsn;
pub use mask::Mask;
pub use observation::Observation;
