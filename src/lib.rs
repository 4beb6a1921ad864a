//! pgset puts a PostgreSQL primary and its streaming replicas on Kubernetes with one command.

pub mod cli;
pub mod error;
pub mod manifests;
pub mod settings;
pub mod yaml;
