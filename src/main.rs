//! The binary: parse, run, exit code.

use std::process::ExitCode;

use pgset::cli::Cli;

fn main() -> ExitCode {
    pgset::commands::complete();
    ExitCode::from(pgset::commands::run(Cli::of_process()))
}
