//! The test cluster's script says what keeps it from working before it builds anything.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test that cannot go on says so and ends")]

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A copy of the script that every user may run, with a state and caches of its own beside it.
struct Script {
    folder: TempDir,
}

impl Script {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let from = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cluster");
        assert!(Command::new("cp").arg("-r").arg(from).arg(folder.path()).status().unwrap().success());
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The script's exit code and everything it says; it may not begin what takes minutes.
    fn run(&self, before: &[&str], arguments: &[&str], environment: &[(&str, &str)]) -> (i32, String) {
        let script = self.path("cluster/cluster.sh");
        let words: Vec<&str> = before.iter().copied().chain([script.to_str().unwrap()]).collect();
        let said = self.path("said");
        let log = fs::File::create(&said).unwrap();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).args(arguments).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        command.env_remove("PGSET_TEST_KUBECONFIG").env("PGSET_TEST_PROVIDER", "bare");
        command.env("PGSET_TEST_STATE", self.path("state")).env("PGSET_TEST_CACHE", self.path("cache"));
        let mut child = command.envs(environment.iter().copied()).spawn().unwrap();
        let began = Instant::now();
        let code = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status.code().unwrap();
            }
            if began.elapsed() > Duration::from_secs(60) {
                child.kill().unwrap();
                panic!("it goes on: {}", fs::read_to_string(said).unwrap());
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        (code, fs::read_to_string(said).unwrap())
    }

    #[track_caller]
    fn refuses(&self, before: &[&str], arguments: &[&str], environment: &[(&str, &str)], words: &[&str]) {
        let (code, said) = self.run(before, arguments, environment);
        assert_eq!(code, 1, "{said}");
        for word in words {
            assert!(said.contains(word), "lacks {word:?}:\n{said}");
        }
        assert!(!said.contains("building"), "{said}");
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn words_that_it_does_not_know_are_refused() {
    let script = Script::new();
    let (code, said) = script.run(&[], &["upp"], &[]);
    assert!(code == 2 && said.contains("usage: cluster.sh VERB"), "{code}: {said}");
    script.refuses(&[], &["logs", "kublet"], &[], &["no component \"kublet\"", "kubelet"]);
    script.refuses(&[], &["up"], &[("PGSET_TEST_PROVIDER", "podman")], &["podman", "set it to kind or bare"]);
    script.refuses(&[], &["up"], &[("PGSET_TEST_STATE", "state")], &["\"state\" will not do", "absolute paths"]);
}

#[test]
fn who_is_not_root_learns_of_the_other_ways() {
    let nobody: &[&str] =
        if is_root() { &["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"] } else { &[] };
    Script::new().refuses(nobody, &["up"], &[], &["needs root", "sudo", "kind", "PGSET_TEST_KUBECONFIG"]);
}

#[test]
fn a_disk_without_room_is_refused_before_anything_is_built() {
    if !is_root() {
        eprintln!("not tried: only root can mount a file system without room");
        return;
    }
    let script = Script::new();
    let state = script.path("state");
    fs::create_dir(&state).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=10m", "tmpfs"]).arg(&state).status().unwrap();
    assert!(mounted.success());
    let (code, said) = script.run(&[], &["up"], &[]);
    assert!(Command::new("umount").arg(&state).status().unwrap().success());
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("needs 1500 MB") && said.contains("make room there") && !said.contains("building"), "{said}");
}

#[test]
fn a_port_that_is_taken_is_refused_before_anything_is_built() {
    if !is_root() {
        eprintln!("not tried: only root gets as far as the ports");
        return;
    }
    // The cluster of the other tests has it where it runs, and then it is that one's.
    let _taken = TcpListener::bind("127.245.0.1:2379");
    Script::new().refuses(&[], &["up"], &[], &["port 127.245.0.1:2379", "is taken by", "PGSET_TEST_KUBECONFIG"]);
}
