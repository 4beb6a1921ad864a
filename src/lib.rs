//! pgset puts a PostgreSQL primary and its streaming replicas on Kubernetes with one command.

pub mod cli;
pub mod cluster;
pub mod commands;
pub mod error;
pub mod manifests;
pub mod postgres;
pub mod report;
pub mod set;
pub mod settings;
pub mod yaml;
