//! What each command asks of the API server and changes there, against the fake one.

use crate::fake::Fake;

#[test]
fn explore() {
    for arguments in [
        &["list"][..],
        &["list", "-o", "name"],
        &["status"],
        &["dsn"],
        &["dsn", "--any", "--show-password"],
        &["logs"],
        &["logs", "--member", "1", "--previous"],
        &["diff"],
        &["diff", "--set-parameter", "work_mem=8MB"],
        &["up", "--dry-run"],
        &["scale", "2", "--timeout", "2s"],
        &["scale", "3", "--timeout", "1s"],
        &["scale", "1", "--timeout", "1s"],
        &["restart", "--timeout", "1s"],
        &["restart", "--member", "1", "--timeout", "1s"],
        &["stop", "--timeout", "1s"],
        &["start", "--timeout", "1s"],
        &["verify", "--timeout", "1s"],
        &["psql", "--", "-c", "select 1"],
        &["port-forward", "--timeout", "1s"],
        &["wait", "--timeout", "1s"],
        &["doctor", "--timeout", "1s"],
        &["down", "--yes", "--timeout", "5s"],
        &["down", "--timeout", "5s"],
        &["down", "--yes", "--delete-data", "--timeout", "5s"],
        &["up", "--timeout", "2s"],
    ] {
        let fake = Fake::new();
        let told = fake.pgset(arguments);
        println!("=== {arguments:?} {}\n{}--- {}\n{:#?}", told.code, told.stdout, told.stderr, told.requests);
    }
}
