//! The only users of the PostgreSQL driver: sessions over a tunnel, and what is asked and said in them.

mod probe;
mod session;
pub mod wire;

pub use session::{Session, SqlError};
