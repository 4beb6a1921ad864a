//! The binary's exit code, stdout and stderr, without any cluster.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so and ends")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

struct Run {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Run {
    #[track_caller]
    fn expect(self, code: i32, words: &[&str]) -> Self {
        let all = format!("--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr);
        assert_eq!(self.code, code, "exit code\n{all}");
        for word in words {
            assert!(self.stderr.contains(word), "stderr lacks {word:?}\n{all}");
        }
        self
    }
}

/// Runs pgset in `folder` with nothing in its environment but these variables.
fn pgset(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgset"));
    command.args(arguments).current_dir(folder).env_clear().env("HOME", folder).envs(variables.iter().copied());
    let output = command.stdin(Stdio::null()).output().unwrap();
    Run {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn usage_errors_end_with_2_and_nothing_on_stdout() {
    let here = folder();
    for arguments in [
        &["up", "--no-such-flag"][..],
        &["scale"],
        &["scale", "0"],
        &["scale", "33"],
        &["fly"],
        &["status", "-o", "xml"],
        &["dsn", "--replica", "--any"],
        &["dsn", "--local", "5432", "--any"],
        &["dsn", "--local", "0"],
        &["port-forward", "--format", "odbc"],
        &["psql", "--replica=x"],
        &["psql", "select 1"],
        &["port-forward", "65536"],
        &["port-forward", "--wait", "0"],
        &["logs", "-f", "--previous"],
        &["verify", "--within", "soon"],
    ] {
        let run = pgset(here.path(), arguments, &[]).expect(2, &["error:"]);
        assert_eq!(run.stdout, "", "{arguments:?}");
    }
    assert!(pgset(here.path(), &["--help"], &[]).expect(0, &[]).stdout.contains("Exit codes:"));
}

#[test]
fn all_bad_values_are_told_at_once_with_where_they_came_from() {
    let here = folder();
    fs::write(here.path().join("pgset.yaml"), "size: much\nreplcias: 3\n").unwrap();
    let run =
        pgset(here.path(), &["render", "--replicas", "99"], &[("PGSET_MEMORY", "1x"), ("PG_PASSWORD", "tab\there")]);
    let run = run.expect(2, &["--replicas", "PGSET_MEMORY", "pgset.yaml:1", "pgset.yaml:2", "replicas", "PG_PASSWORD"]);
    assert!(!run.stderr.contains("tab\there"), "{}", run.stderr);
}

#[test]
fn render_needs_no_cluster_and_never_shows_a_password() {
    let here = folder();
    let run = pgset(here.path(), &["render"], &[("PG_PASSWORD", "s3cret-of-mine")]).expect(0, &[]);
    assert!(
        run.stdout.contains("kind: StatefulSet")
            && run.stdout.contains("kubectl create secret generic pgset-passwords")
    );
    assert!(!run.stdout.contains("s3cret-of-mine"));
    let settings = pgset(here.path(), &["settings", "-o", "json"], &[("PG_PASSWORD", "s3cret-of-mine")]).expect(0, &[]);
    assert!(settings.stdout.contains("\"***\"") && !settings.stdout.contains("s3cret-of-mine"), "{}", settings.stdout);
}

#[test]
fn templates_are_ejected_once_and_their_mistakes_have_file_and_line() {
    let here = folder();
    pgset(here.path(), &["render", "--eject", "mine"], &[]).expect(0, &["hint: change them"]);
    pgset(here.path(), &["render", "--eject", "mine"], &[]).expect(6, &["mine/"]);
    let same = pgset(here.path(), &["render", "--templates", "mine"], &[]).expect(0, &[]);
    assert_eq!(same.stdout, pgset(here.path(), &["render"], &[]).expect(0, &[]).stdout);

    let service = here.path().join("mine/service.yaml");
    let text = fs::read_to_string(&service).unwrap();
    fs::write(&service, text.replace("  ports:", "  prots:")).unwrap();
    pgset(here.path(), &["render", "--templates", "mine"], &[]).expect(1, &["mine/service.yaml:", "prots"]);
    fs::write(&service, format!("{text}{{% if %}}\n")).unwrap();
    pgset(here.path(), &["render", "--templates", "mine"], &[]).expect(1, &["mine/service.yaml:"]);
}

#[test]
fn without_a_cluster_the_next_step_is_named() {
    let here = folder();
    pgset(here.path(), &["status"], &[]).expect(1, &["there is no kubeconfig", "hint: "]);
    pgset(here.path(), &["status", "--kubeconfig", "absent"], &[]).expect(1, &["failed to read the kubeconfig absent"]);
    let config = "apiVersion: v1\nkind: Config\nclusters: [{name: a, cluster: {server: 'https://127.0.0.1:9'}}]\n\
        users: [{name: a, user: {token: x}}]\ncontexts: [{name: a, context: {cluster: a, user: a}}]\ncurrent-context: a\n";
    fs::write(here.path().join("config"), config).unwrap();
    let refused = pgset(here.path(), &["up"], &[("KUBECONFIG", "config")]);
    refused.expect(3, &["failed to reach the API server https://127.0.0.1:9/", "onnection refused", "hint: "]);
    pgset(here.path(), &["down", "--yes"], &[("KUBECONFIG", "config")]).expect(3, &["onnection refused"]);
}

#[test]
fn a_crunchy_images_limits_are_refused_with_the_reason() {
    let here = folder();
    let seed = |tag| [("CCP_IMAGE_TAG", tag), ("NFS_SERVER", "10.0.0.1")];
    let render = |tag, more: &[&str]| pgset(here.path(), &[&["render"], more].concat(), &seed(tag));
    let article = render("centos7-9.5-1.2.6", &[]).expect(0, &[]).stdout;
    assert!(article.contains("crunchydata/crunchy-postgres:centos7-9.5-1.2.6") && !article.contains("kind: Role"));
    assert!(render("centos7-9.5-1.2.7", &[]).expect(0, &[]).stdout.contains("kind: RoleBinding"));
    render("centos7-9.5-1.2.6", &["--role-by", "image"]).expect(2, &["1.2.6 has no PG_MODE=set", "--role-by ordinal"]);
    render("centos7-9.5-1.2.8", &["--role-by", "image", "--name", "pg-set"]).expect(2, &["`pg-set` has a hyphen"]);
    render("centos7-9.5-1.2.8", &["--name", "pg-set"]).expect(0, &[]);
    render("centos7-9.5-1.2.8", &["--set-parameter", "work_mem=8MB"]).expect(2, &["writes postgresql.conf itself"]);
    pgset(here.path(), &["render", "--role-by", "ordinal"], &[]).expect(2, &["is for Crunchy images"]);
}

#[test]
fn as_kubectls_plugin_it_says_so() {
    let here = folder();
    let plugin = here.path().join("kubectl-pgset");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_pgset"), &plugin).unwrap();
    let help = Command::new(&plugin).args(["scale", "--help"]).env_clear().output().unwrap();
    assert!(String::from_utf8(help.stdout).unwrap().contains("Usage: kubectl pgset scale [OPTIONS] <N>"));
    assert!(pgset(here.path(), &["scale", "--help"], &[]).expect(0, &[]).stdout.contains("Usage: pgset scale"));
}

#[test]
fn shells_complete_commands_flags_and_values() {
    let here = folder();
    for (shell, words) in [("bash", "complete -o nospace"), ("zsh", "#compdef pgset"), ("fish", "--command pgset")] {
        let script = pgset(here.path(), &["completions", shell], &[]).expect(0, &[]).stdout;
        assert!(script.contains(words) && script.contains("PGSET_COMPLETE"), "{script}");
    }
    pgset(here.path(), &["completions", "tcsh"], &[]).expect(2, &["tcsh"]);
    let complete = |words: &[&str]| {
        let index = (words.len() - 1).to_string();
        let asked = [&["--"], words].concat();
        let variables = [("PGSET_COMPLETE", "bash"), ("_CLAP_COMPLETE_INDEX", &index), ("_CLAP_IFS", "\n")];
        pgset(here.path(), &asked, &variables).expect(0, &[]).stdout
    };
    assert_eq!(complete(&["pgset", "sta"]), "status\nstart");
    assert_eq!(complete(&["pgset", "up", "--dry"]), "--dry-run");
    assert_eq!(complete(&["pgset", "status", "--output", "w"]), "wide");
    assert_eq!(
        complete(&["pgset", "restart", "--member", ""]),
        "",
        "without a cluster there are no names, and no complaint"
    );
}

/// The shells themselves, as far as they go without a terminal: what zsh would show is printed instead.
#[test]
fn zsh_and_fish_complete_a_line() {
    let here = folder();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_pgset"), here.path().join("pgset")).unwrap();
    let path = format!("{}:{}", here.path().display(), std::env::var("PATH").unwrap());
    let fish = r#"source (pgset completions fish | psub); complete -C "pgset sta""#;
    let zsh = r#"autoload -U compinit; compinit -D -u; source <(pgset completions zsh)
        _describe() { eval "print -rl -- \"\${${3}[@]}\"" }
        words=(pgset sta); CURRENT=2; ${_comps[pgset]}"#;
    for (shell, arguments, between) in
        [("fish", &["--no-config", "-c", fish][..], '\t'), ("zsh", &["-f", "-c", zsh], ':')]
    {
        let mut shell_command = Command::new(shell);
        shell_command.args(arguments).env_clear().env("PATH", &path).env("HOME", here.path());
        let output = shell_command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{shell}: {error}"));
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let words: Vec<&str> = told.lines().filter_map(|line| line.split(between).next()).collect();
        assert_eq!(words, ["status", "start"], "{shell}: {told}{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// The commands that the help lists.
fn commands(here: &Path) -> Vec<String> {
    let help = pgset(here, &["--help"], &[]).expect(0, &[]).stdout;
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let named = |line: &str| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')).map(str::to_owned);
    // A command's line; the next ones, deeper, go on with its description.
    let commands = commands.filter_map(|line| Some(named(line)?.split_whitespace().next()?.to_owned()));
    commands.filter(|name| name != "help").collect()
}

#[test]
fn every_commands_help_shows_how_it_is_typed() {
    let here = folder();
    let commands = commands(here.path());
    assert!(commands.len() >= 20, "{commands:?}");
    for command in commands {
        for flag in ["-h", "--help"] {
            let help = pgset(here.path(), &[&command, flag], &[]).expect(0, &[]).stdout;
            let (_, examples) = help.split_once("\nExamples:\n").unwrap_or_else(|| panic!("{command}: {help}"));
            let first = examples.lines().next().unwrap_or_default();
            assert!(first.starts_with("  ") && first.contains(&format!("pgset {command}")), "{command}: {first}");
        }
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let here = folder();
    pgset(here.path(), &["man", "--dir", "pages"], &[]).expect(0, &["wrote"]);
    let mut pages: Vec<String> = fs::read_dir(here.path().join("pages"))
        .unwrap()
        .map(|page| page.unwrap().file_name().into_string().unwrap())
        .collect();
    pages.sort();
    let mut expected = vec!["pgset.1".to_owned()];
    expected.extend(commands(here.path()).iter().map(|name| format!("pgset-{name}.1")));
    expected.sort();
    assert_eq!(pages, expected);
    assert!(pgset(here.path(), &["man", "restart"], &[]).expect(0, &[]).stdout.contains(".TH pgset-restart 1"));
    pgset(here.path(), &["man", "fly"], &[]).expect(2, &["there is no command fly"]);
}

/// The README's table is the catalogue's own: `UPDATE_README=1` writes it anew.
#[test]
fn the_readmes_findings_are_those_of_explain() {
    let (begin, end) = ("<!-- findings: pgset explain -o markdown -->\n", "<!-- /findings -->");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = fs::read_to_string(path).unwrap();
    let (before, rest) = readme.split_once(begin).unwrap();
    let (table, after) = rest.split_once(end).unwrap();
    let here = folder();
    let told = pgset(here.path(), &["explain", "-o", "markdown"], &[]).expect(0, &[]).stdout;
    if std::env::var_os("UPDATE_README").is_some() {
        fs::write(path, format!("{before}{begin}{told}{end}{after}")).unwrap();
        return;
    }
    assert_eq!(table, told, "the README is behind: UPDATE_README=1 cargo test --test cli");
}
