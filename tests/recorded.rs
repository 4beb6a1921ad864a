//! Diagnoses of observations from elsewhere: what this machine's own cluster cannot be made to do.
//!
//! `tests/fixtures/` holds one observation a file. Those under `recorded/` are whole, as `pgset doctor --bundle` wrote them on
//! a real cluster, and show what `status` makes of them. Those of NFS have the words of a real kernel client (Linux, NFS 4.1,
//! against nfs-ganesha) in the kubelet's events and the start script's last sentence; the objects around them are cut down
//! to what a diagnosis reads.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so and ends")]

use std::path::Path;

use pgset::report::status::StatusView;
use pgset::report::{ColorChoice, Ui, UiOptions, document};
use pgset::set::findings::diagnose;
use pgset::set::health::health;
use pgset::set::{Finding, Observation, Severity};

fn observation(name: &str) -> Observation {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/{name}.json"));
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

fn found(name: &str) -> Finding {
    diagnose(&observation(name), None).remove(0)
}

/// What a person and a machine are shown: the tables, the wide ones, and the versioned view.
#[test]
fn the_status_of_recorded_sets() {
    let ui = Ui::resolve(UiOptions { color: ColorChoice::Never, ..UiOptions::default() });
    for name in ["healthy", "image", "refused"] {
        let seen = observation(&format!("recorded/{name}"));
        let view = StatusView::new(&seen, &health(&seen), diagnose(&seen, None));
        let at = seen.at.unwrap();
        let (table, wide) = (view.text(&ui, false, at), view.text(&ui, true, at));
        insta::assert_snapshot!(format!("status-{name}"), format!("{table}\n---- wide\n{wide}"));
        insta::assert_snapshot!(format!("status-{name}.yaml"), document(&view, true).unwrap());
    }
}

#[test]
fn recorded_nfs_faults_are_named_with_the_server_and_what_to_do_there() {
    for (name, code, severity, words) in [
        ("nfs-no-route", "PGS-NFS-UNREACHABLE", Severity::Blocking, "systemctl status nfs-server"),
        ("nfs-refused", "PGS-NFS-UNREACHABLE", Severity::Blocking, "pgset up -n default --nfs-server"),
        ("nfs-timed-out", "PGS-NFS-UNREACHABLE", Severity::Blocking, "firewalls"),
        ("nfs-wrong-path", "PGS-NFS-PATH-MISSING", Severity::Blocking, "on 192.168.76.1: mkdir -p /pg"),
        ("nfs-denied", "PGS-NFS-DENIED", Severity::Blocking, "in /etc/exports: /pg NODES(rw,"),
        ("nfs-stale", "PGS-NFS-STALE", Severity::Blocking, "exportfs -ra"),
        ("nfs-root-squash", "PGS-DATA-NOT-WRITABLE", Severity::Fatal, "on 192.168.76.1: chown 999 /squash"),
        ("nfs-read-only", "PGS-VOLUME-READ-ONLY", Severity::Fatal, "rw instead of ro for /squash"),
        ("nfs-silent", "PGS-NFS-MOUNTING", Severity::Waiting, "nc -vz 192.168.76.1 2049"),
    ] {
        let found = found(name);
        assert_eq!((found.code, found.severity), (code, severity), "{name}: {found:?}");
        assert_eq!((found.object.kind.as_str(), found.object.name.as_str()), ("Pod", "pgset-0"), "{name}");
        assert!(found.fix.iter().any(|line| line.contains(words)), "{name}: {:?}", found.fix);
    }
}
