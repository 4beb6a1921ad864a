//! A server that takes the connection and says nothing: every command ends by itself, and says so.

use crate::fake::Fake;

/// Every command that asks the cluster for something, with what it needs to get that far.
const COMMANDS: [&[&str]; 18] = [
    &["up", "--yes"],
    &["up", "--dry-run"],
    &["wait"],
    &["status"],
    &["status", "--watch"],
    &["list"],
    &["scale", "3"],
    &["down", "--yes"],
    &["diff"],
    &["verify"],
    &["psql", "--", "-c", "select 1"],
    &["logs"],
    &["port-forward"],
    &["dsn", "--show-password"],
    &["restart", "--yes"],
    &["stop", "--yes"],
    &["start"],
    &["doctor"],
];

fn all_end(scheme: &str) {
    let words = "it took the connection, and has said nothing for";
    let silent = Fake::silent(scheme);
    // At the same time, since each waits as long as the others.
    let mut running: Vec<_> = COMMANDS.iter().map(|command| (command, silent.start(command))).collect();
    for (command, running) in &mut running {
        let code = running.ends();
        let stderr = running.stderr();
        assert!(code != 0 && stderr.contains(words), "{command:?} ends with {code}:\n{}\n{stderr}", running.stdout());
    }
}

#[test]
fn every_command_ends_when_the_api_server_never_answers() {
    all_end("http");
}

#[test]
fn every_command_ends_when_the_api_server_never_speaks_tls() {
    all_end("https");
}
