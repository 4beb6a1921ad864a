//! The ways into a cluster that a kubeconfig and flags know, pgset as kubectl's plugin, and what a shell completes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::harness::{Namespace, Run, kubeconfig, kubectl, kubectl_command, pgset, wait_for};

/// The tests' kubeconfig, changed by this `kubectl config` command.
fn changed_kubeconfig(folder: &Path, arguments: &[&str]) -> String {
    let file = folder.join("kubeconfig");
    std::fs::copy(kubeconfig(), &file).unwrap();
    let file = file.to_str().unwrap().to_owned();
    kubectl(&[&["--kubeconfig", &file, "config"], arguments].concat());
    file
}

#[test]
fn other_users_plugins_for_credentials_and_proxies_are_what_kubectl_makes_of_them() {
    let space = Namespace::new("client");
    let folder = tempfile::tempdir().unwrap();
    space
        .pgset(&["status", "--as", "jane", "--as-group", "db"])
        .expect(3)
        .says(&["User \"jane\" cannot", "PGS-API-FORBIDDEN"]);
    space.pgset(&["status", "--as-group", "db"]).expect(2).says(&["--as <USER>"]);
    space.pgset(&["status", "--context", "nowhere"]).expect(1).says(&["has no context nowhere"]);

    // A program that says who one is.
    space.kubectl(&["create", "serviceaccount", "plugin"]);
    let token = space.kubectl(&["create", "token", "plugin"]);
    // Below the kubeconfig's folder: kubectl writes the path down relative to it.
    std::fs::create_dir(folder.path().join("bin")).unwrap();
    let program = folder.path().join("bin/credentials");
    let answer = format!(
        "#!/bin/sh\necho '{{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\"status\":{{\"token\":\"{}\"}}}}'\n",
        token.trim()
    );
    std::fs::write(&program, answer).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let file = changed_kubeconfig(
        folder.path(),
        &[
            "set-credentials",
            "plugin",
            "--exec-api-version=client.authentication.k8s.io/v1",
            "--exec-interactive-mode=Never",
            "--exec-command",
            program.to_str().unwrap(),
        ],
    );
    kubectl(&["--kubeconfig", &file, "config", "set-context", "--current", "--user=plugin"]);
    let who = format!("User \"system:serviceaccount:{}:plugin\" cannot", space.name);
    let status = || Run::of(space.command(&["status"]).env("KUBECONFIG", &file).output().unwrap());
    status().expect(3).says(&[&who]);
    space.kubectl(&[
        "create",
        "rolebinding",
        "plugin",
        "--clusterrole=view",
        &format!("--serviceaccount={}:plugin", space.name),
    ]);
    status().expect(1).says(&["there is no set pgset"]);
    std::fs::remove_file(&program).unwrap();
    status().expect(1).says(&["bin/credentials", "hint: "]);

    // A proxy, by the kubeconfig and by the environment.
    let proxy = Proxy::start();
    let cluster = kubectl(&["config", "view", "--minify", "-o=jsonpath={.clusters[0].name}"]);
    let file = changed_kubeconfig(folder.path(), &["set-cluster", &cluster, "--proxy-url", &proxy.address]);
    let status = Run::of(space.command(&["status"]).env("KUBECONFIG", &file).output().unwrap());
    status.expect(1).says(&["there is no set pgset"]);
    let first = proxy.served.load(Ordering::SeqCst);
    assert!(first > 0, "the proxy saw nobody");
    Run::of(space.command(&["status"]).env("HTTPS_PROXY", &proxy.address).output().unwrap()).expect(1);
    assert!(proxy.served.load(Ordering::SeqCst) > first, "the proxy saw nobody more");
}

#[test]
fn kubectl_finds_its_plugin_and_a_shell_completes_names_of_the_cluster() {
    let space = Namespace::new("plugin");
    space.pgset(&["up", "--replicas", "1"]).expect(0);
    let folder = tempfile::tempdir().unwrap();
    symlink(env!("CARGO_BIN_EXE_pgset"), folder.path().join("kubectl-pgset")).unwrap();
    symlink(env!("CARGO_BIN_EXE_pgset"), folder.path().join("pgset")).unwrap();
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let plugin = |arguments: &[&str]| {
        // The script's kubectl puts flags before the plugin's name where the cluster is not its own.
        let installed = Command::new("kubectl").arg("version").arg("--client").output().is_ok();
        let mut kubectl = if installed { Command::new("kubectl") } else { kubectl_command() };
        kubectl.env("PATH", &path).env("KUBECONFIG", kubeconfig()).arg("pgset").args(arguments);
        Run::of(kubectl.stdin(Stdio::null()).output().unwrap())
    };
    let status = plugin(&["status", "-n", &space.name]).expect(0);
    assert!(status.stdout.contains("pgset-0"), "{}", status.stdout);
    assert!(plugin(&["status", "--help"]).expect(0).stdout.contains("Usage: kubectl pgset status"));
    plugin(&["status", "-n", &space.name, "--name", "other"]).expect(1).says(&["kubectl pgset up --name other"]);

    // As bash calls it: the words so far, the last of them unfinished.
    let complete = |words: &[&str]| {
        let script = r#"source <(pgset completions bash)
            COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_TYPE=9
            _clap_complete_pgset pgset "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
            printf '%s\n' "${COMPREPLY[@]}""#;
        let mut bash = Command::new("bash");
        bash.args(["--norc", "-c", script, "bash"]).args(words).env_clear().env("PATH", &path);
        let output =
            bash.env("KUBECONFIG", kubeconfig()).env("HOME", folder.path()).stdin(Stdio::null()).output().unwrap();
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect::<Vec<String>>()
    };
    // A machine that is busy with other tests may miss the time that is set for names.
    let completes = |words: &[&str], expected: &str| {
        wait_for(&format!("{words:?} is completed"), || {
            complete(words).iter().any(|name| name == expected).then_some(())
        });
    };
    let of_space = ["pgset", "restart", "-n", &space.name];
    completes(&[&of_space[..], &["--member", ""]].concat(), "pgset-0");
    completes(&[&of_space[..], &["--name", "pg"]].concat(), "pgset");
    completes(&["pgset", "status", "-n", &space.name[..space.name.len() - 1]], &space.name);
    assert_eq!(complete(&["pgset", "sta"]), ["status", "start"]);

    // A cluster that does not answer costs no more than the time that is set for it.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", silent.local_addr().unwrap());
    let cluster = kubectl(&["config", "view", "--minify", "-o=jsonpath={.clusters[0].name}"]);
    let file = changed_kubeconfig(folder.path(), &["set-cluster", &cluster, "--server", &address]);
    let began = Instant::now();
    let mut asked = pgset(&["--", "pgset", "status", "-n", ""]);
    asked.env("PGSET_COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", "3").env("KUBECONFIG", &file);
    Run::of(asked.output().unwrap()).expect(0);
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

/// An HTTP proxy that knows CONNECT and counts it.
struct Proxy {
    address: String,
    served: Arc<AtomicUsize>,
}

impl Proxy {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let served = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&served);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let counter = Arc::clone(&counter);
                std::thread::spawn(move || serve(client, &counter));
            }
        });
        Self { address, served }
    }
}

fn serve(mut client: TcpStream, counter: &AtomicUsize) {
    let mut reader = BufReader::new(client.try_clone().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let Some(target) = line.strip_prefix("CONNECT ").and_then(|rest| rest.split_whitespace().next()) else { return };
    let target = target.to_owned();
    while line.trim() != "" {
        line.clear();
        reader.read_line(&mut line).unwrap();
    }
    let server = TcpStream::connect(target).unwrap();
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
    counter.fetch_add(1, Ordering::SeqCst);
    let (to_server, to_client) = ((reader.into_inner(), server.try_clone().unwrap()), (server, client));
    let back = std::thread::spawn(move || pump(to_client.0, to_client.1));
    pump(to_server.0, to_server.1);
    back.join().unwrap();
}

fn pump(mut from: impl Read, mut to: TcpStream) {
    // Either side may hang up whenever it likes.
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}
