//! `up`: fresh, repeated, interrupted, changed, and over what others have applied or scaled.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Namespace, Run, cluster, cluster_is_ours, kubectl, kubectl_with, wait_for};

/// Every object of the set with its version: what no command may change when it changes nothing.
fn versions(space: &Namespace) -> String {
    let columns = "-o=jsonpath={range .items[*]}{.kind} {.metadata.name} {.metadata.resourceVersion}{\"\\n\"}{end}";
    let kinds = "statefulsets,services,serviceaccounts,configmaps,secrets,poddisruptionbudgets,pods,pvc";
    space.kubectl(&["get", kinds, "-l", "app=pgset", columns])
}

fn system_identifier(space: &Namespace) -> String {
    space.psql("pgset-0", "select system_identifier from pg_control_system()")
}

#[test]
fn without_any_option_a_primary_and_a_streaming_replica_come_up() {
    let space = Namespace::new("fresh");
    let up = space.pgset(&["up"]).expect(0);
    assert!(!up.stderr.contains("PGS-"), "a good start has a finding:\n{}", up.stderr);
    assert!(up.stdout.starts_with(&format!(
        "pgset in namespace {} is healthy: primary pgset-0, replica pgset-1 streaming",
        space.name
    )));
    assert_eq!(space.psql("pgset-0", "select application_name, state from pg_stat_replication"), "pgset-1|streaming");

    let before = versions(&space);
    assert!(before.lines().count() >= 11, "{before}");
    let again = space.pgset(&["up"]).expect(0).says(&["nothing to change on pgset"]);
    assert!(again.stdout.contains("is healthy"));
    assert_eq!(versions(&space), before, "a second up changed something");

    // Somebody else scales; `up` leaves it so, and says how to change it.
    space.kubectl(&["scale", "statefulset", "pgset", "--replicas=3"]);
    let up = space.pgset(&["up"]).expect(0).says(&["keeps the 3 members it was scaled to", "pgset scale 2"]);
    assert!(up.stdout.contains("replicas pgset-1 and pgset-2 streaming"), "{}", up.stdout);
}

/// The requests of pgset, but for watches, that came after the first `from` bytes of the API server's audit log.
fn requests_after(log: &Path, from: usize) -> Vec<String> {
    // Another request behind those of pgset: once it stands in the log, they do as well.
    let marker = format!("/version?marker={from}");
    kubectl(&["get", "--raw", &marker]);
    let lines = wait_for("the request that ends the log", || {
        let text = String::from_utf8_lossy(&fs::read(log).unwrap()[from..]).into_owned();
        text.contains(&marker).then_some(text)
    });
    let of_pgset = |line: &str| {
        let entry: Value = serde_json::from_str(line).ok()?;
        let ours = entry["userAgent"].as_str()?.starts_with("pgset/") && entry["verb"] != "watch";
        (ours && entry["stage"] != "ResponseStarted").then(|| format!("{} {}", entry["verb"], entry["requestURI"]))
    };
    lines.lines().filter_map(of_pgset).collect()
}

#[test]
fn a_fresh_set_takes_thirty_requests() {
    if !cluster_is_ours() {
        eprintln!("not tried: another cluster's audit log is not ours to read");
        return;
    }
    let space = Namespace::alone("requests");
    let log = PathBuf::from(cluster(&["audit-log"]).trim());
    let (from, began) = (fs::metadata(&log).unwrap().len(), Instant::now());
    space.pgset(&["up"]).expect(0);
    // Nodes are looked at every 5 s where members are late, which on a busy machine they are.
    let most = 30 + began.elapsed().as_secs() / 5;
    let requests = requests_after(&log, usize::try_from(from).unwrap());
    assert!(requests.len() >= 10, "the log lacks them: {requests:#?}");
    assert!(requests.len() as u64 <= most, "{} of at most {most}: {requests:#?}", requests.len());
}

#[test]
fn five_members_at_once() {
    let space = Namespace::new("fresh5");
    let up = space.pgset(&["up", "--replicas", "5", "-q", "-o", "json"]).expect(0);
    assert_eq!((up.stderr.as_str(), up.json()["status"]["members"].as_array().unwrap().len()), ("", 5));
    assert_eq!(space.psql("pgset-0", "select count(*) from pg_stat_replication where state = 'streaming'"), "4");
}

#[test]
fn what_kubectl_applied_from_render_is_taken_over() {
    let space = Namespace::new("rendered");
    let manifests = space.pgset(&["render", "--set-parameter", "work_mem=5MB"]).expect(0).stdout;
    kubectl_with(&["apply", "-f", "-"], &manifests);
    space.pgset(&["up", "--set-parameter", "work_mem=5MB"]).expect(0).says(&["created Secret pgset-passwords"]);
    assert_eq!(space.psql("pgset-1", "show work_mem"), "5MB");
    space.pgset(&["up", "--set-parameter", "work_mem=5MB"]).expect(0).says(&["nothing to change"]);
}

/// Interrupts a command after a moment, as Ctrl-C does.
fn interrupt(space: &Namespace, arguments: &[&str], moment: u64) -> Run {
    let child = space.start(arguments);
    std::thread::sleep(Duration::from_millis(moment));
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    Run::of(child.wait_with_output().unwrap())
}

#[test]
fn a_killed_or_interrupted_up_is_finished_by_the_next_one() {
    let space = Namespace::new("resumed");
    for moment in [5, 20, 40, 60, 100, 300, 900, 2000, 3500, 5000] {
        let mut up = space.start(&["up"]);
        std::thread::sleep(Duration::from_millis(moment));
        up.kill().unwrap();
        up.wait().unwrap();
    }
    space.pgset(&["up"]).expect(0);
    let system = system_identifier(&space);
    space.psql("pgset-0", "create table kept as select generate_series(1, 1000) as n");

    // The same in the middle of a change: the members roll, and nothing is lost.
    let change = ["up", "--set-parameter", "work_mem=7MB"];
    for moment in [30, 70, 150] {
        let run = interrupt(&space, &change, moment);
        match run.code {
            130 => assert!(run.stderr.contains("error: interrupted"), "{}", run.stderr),
            // Faster than the signal, or not yet far enough to hear it.
            0 => {}
            _ => assert_eq!((run.code, run.stderr.as_str()), (-1, "")),
        }
    }
    // Whatever those have done, this one has something to do.
    let change = ["up", "--set-parameter", "work_mem=8MB"];
    interrupt(&space, &change, 1500).expect(130).says(&["nothing is undone", "pgset wait", "pgset up"]);
    space.pgset(&change).expect(0);
    assert_eq!(space.psql("pgset-1", "show work_mem"), "8MB");
    assert_eq!(
        (system_identifier(&space), space.psql("pgset-1", "select count(*) from kept")),
        (system, "1000".to_owned())
    );
}
