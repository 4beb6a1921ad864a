//! The scripts of the trial pods, run here: what they report is what is read.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so and ends")]

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use pgset::set::trial::{Closed, Report};

/// Runs a script with these words in place of its own; returns what it left as its termination message.
fn run(script: &str, replaced: &[(&str, &str)], env: (&str, &str)) -> String {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let mut text = script.replace("/dev/termination-log", log.to_str().unwrap());
    for (from, to) in replaced {
        assert!(text.contains(from), "the script has no {from}");
        text = text.replace(from, to);
    }
    let status = Command::new("/bin/sh").args(["-c", &text]).env(env.0, env.1).status().unwrap();
    assert!(status.success(), "{status}");
    fs::read_to_string(log).unwrap()
}

fn report(volume: &Path) -> Report {
    let script = include_str!("../src/set/trial.sh");
    let text = run(script, &[("/volumes/0", volume.to_str().unwrap())], ("SET", "pgset"));
    Report::read(&text).unwrap_or_else(|| panic!("{text}"))
}

#[test]
fn a_folder_that_can_be_used_is_measured_and_left_as_it_was() {
    let volume = tempfile::tempdir().unwrap();
    fs::set_permissions(volume.path(), fs::Permissions::from_mode(0o700)).unwrap();
    // Of a trial that was killed, and of a member.
    fs::create_dir(volume.path().join(".pgset-trial")).unwrap();
    fs::create_dir(volume.path().join("pgset-0")).unwrap();
    let report = report(volume.path());
    assert_eq!(report.failure, None);
    assert!(report.free.unwrap() > 0 && report.fsync_ms.is_some() && report.uid.is_some(), "{report:?}");
    assert!(report.whose().unwrap().contains("has mode drwx------"), "{report:?}");
    let left: Vec<_> = fs::read_dir(volume.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["pgset-0"]);
}

#[test]
fn a_folder_that_cannot_be_used_is_told_in_the_systems_words() {
    // Nothing can be made below a file, whoever asks; modes say nothing to root.
    let folder = tempfile::tempdir().unwrap();
    let volume = folder.path().join("file");
    fs::write(&volume, "").unwrap();
    let (step, words) = report(&volume).failure.unwrap();
    assert!(step == "make" && words.contains("Not a directory"), "{step}: {words}");
}

#[test]
fn an_open_port_is_told_from_a_closed_one() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let ask = |server: &str| run(include_str!("../src/set/trial-port.sh"), &[("2049", &port)], ("SERVER", server));
    assert_eq!(ask("127.0.0.1"), "port=open\n");
    assert_eq!(ask("no-such-name.invalid"), "port=unknown\n");
    drop(listener);
    let refused = ask("127.0.0.1");
    assert_eq!(Closed::read(&refused), Some(Closed::Refused), "{refused}");
}
