//! The binary: parse, run, exit code.

use std::process::ExitCode;

use clap::Parser;
use pgset::cli::Cli;

fn main() -> ExitCode {
    ExitCode::from(pgset::commands::run(Cli::parse()))
}
