//! Runs the pods' scripts against real PostgreSQL, without Kubernetes: `tests/bootstrap/run.sh`, which says what it does.
//!
//! It needs root. `PGSET_LONG_TESTS=1` makes it the long run.

#![allow(clippy::expect_used, clippy::print_stderr, reason = "a test that cannot go on says so and ends")]

use std::path::Path;
use std::process::Command;

#[test]
fn scripts_against_real_postgresql() {
    if !is_root() {
        eprintln!("skipped: tests/bootstrap/run.sh needs root");
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bootstrap/run.sh");
    let status = Command::new(&script).status().expect("run.sh starts");
    assert!(status.success(), "run.sh ended with {status}");
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().expect("id runs");
    output.stdout.trim_ascii() == b"0"
}
