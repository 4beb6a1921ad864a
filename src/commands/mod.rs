//! One file a verb: its arguments in, `run` out.

pub mod render;
