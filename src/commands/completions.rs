//! `pgset completions SHELL`, and the answers to a shell that completes a line: words from the command line's definitions,
//! names from the cluster.

use std::ffi::OsStr;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clap::{Command, FromArgMatches};
use clap_complete::CompletionCandidate;
use clap_complete::engine::ArgValueCompleter;
use clap_complete::env::{CompleteEnv, Shells};

use super::app::App;
use crate::cli::{Cli, Common, CompletionsArgs};
use crate::cluster::{Cluster, context_namespace, contexts, members_of, namespaces, sets_in};
use crate::error::{Failure, Outcome};
use crate::settings::{self, Connection, Env, SettingsFile};

/// The variable by which the shell's part asks; one of our own, so that no other program's means us.
const VARIABLE: &str = "PGSET_COMPLETE";

/// The cluster's part of a completion. Together with start and kubeconfig the answer is there within 200 ms, or without
/// names.
const PATIENCE: Duration = Duration::from_millis(150);

/// Writes the shell's part of the completion.
///
/// # Errors
/// stdout is gone, or the shell's part cannot be written.
pub fn run(app: &App, args: &CompletionsArgs) -> Outcome {
    let shell = args.shell.name();
    let mut script = Vec::new();
    let shells = Shells::builtins();
    let Some(completer) = shells.completer(shell) else {
        return Err(Failure::error(format!("there is no completion for {shell}")));
    };
    let written = completer.write_registration(VARIABLE, "pgset", "pgset", "pgset", &mut script);
    written.map_err(|error| Failure::error(format!("failed to write the completion for {shell}: {error}")))?;
    app.ui.data(&String::from_utf8_lossy(&script))
}

/// Answers a shell that completes a line, and ends the process; returns when no shell asked.
pub fn answer() {
    if std::env::var_os(VARIABLE).is_some_and(|shell| !shell.is_empty()) {
        CompleteEnv::with_factory(completing).var(VARIABLE).bin("pgset").completer("pgset").complete();
    }
}

/// The command line with a source of names behind each argument that takes one.
fn completing() -> Command {
    let mut command = Cli::command_as("pgset")
        .mut_arg("namespace", |arg| arg.add(ArgValueCompleter::new(|word: &OsStr| names(word, Names::Namespaces))))
        .mut_arg("name", |arg| arg.add(ArgValueCompleter::new(|word: &OsStr| names(word, Names::Sets))))
        .mut_arg("context", |arg| arg.add(ArgValueCompleter::new(|word: &OsStr| names(word, Names::Contexts))));
    let of_members = |command: &Command| command.get_arguments().any(|arg| arg.get_id() == "member");
    let verbs: Vec<String> =
        command.get_subcommands().filter(|verb| of_members(verb)).map(|verb| verb.get_name().to_owned()).collect();
    for verb in verbs {
        command = command.mut_subcommand(verb, |verb| {
            verb.mut_arg("member", |arg| arg.add(ArgValueCompleter::new(|word: &OsStr| names(word, Names::Members))))
        });
    }
    command
}

#[derive(Clone, Copy)]
enum Names {
    Namespaces,
    Sets,
    Members,
    Contexts,
}

/// The names that begin with `word`. Nothing is said when there are none or the cluster does not answer: a person is in
/// the middle of a line.
fn names(word: &OsStr, which: Names) -> Vec<CompletionCandidate> {
    let Some(word) = word.to_str() else { return Vec::new() };
    let common = given(std::env::args().skip_while(|word| word != "--").skip(1));
    let (send, answer) = mpsc::channel();
    // A thread of its own, because what a kubeconfig runs to log in may block; it ends with the process.
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let found = runtime.ok().and_then(|runtime| runtime.block_on(look_up(&common, which)));
        // Nobody listens any more when this took too long.
        let _ = send.send(found.unwrap_or_default());
    });
    let found = answer.recv_timeout(PATIENCE).unwrap_or_default();
    found.into_iter().filter(|name| name.starts_with(word)).map(CompletionCandidate::new).collect()
}

/// The common flags on a line that is not finished.
fn given(words: impl IntoIterator<Item = String>) -> Common {
    let matches = Cli::command_as("pgset").ignore_errors(true).try_get_matches_from(words);
    matches.ok().and_then(|matches| Common::from_arg_matches(&matches).ok()).unwrap_or_default()
}

async fn look_up(common: &Common, which: Names) -> Option<Vec<String>> {
    let (env, file) = (Env::from_process(), SettingsFile::load(None));
    let connection = settings::connection(common, &env, &file).ok()?;
    if matches!(which, Names::Contexts) {
        return Some(contexts(&connection));
    }
    let cluster = Cluster::connect(&connection).await.ok()?;
    if matches!(which, Names::Namespaces) {
        return namespaces(&cluster).await.ok();
    }
    let (set, namespace) = target(common, &env, &file, &connection)?;
    match which {
        Names::Sets => sets_in(&cluster, &namespace).await.ok(),
        Names::Members => members_of(&cluster, &namespace, &set).await.ok(),
        Names::Namespaces | Names::Contexts => None,
    }
}

/// The set and namespace the line is about. The name may be the very word that is being written, and no name yet.
fn target(common: &Common, env: &Env, file: &SettingsFile, connection: &Connection) -> Option<(String, String)> {
    let in_context = context_namespace(connection);
    let unnamed = Common { name: None, ..common.clone() };
    let target = settings::target(common, env, file, in_context.as_deref())
        .or_else(|_| settings::target(&unnamed, env, file, in_context.as_deref()));
    target.ok().map(|target| (target.name.to_string(), target.namespace.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Common {
        given(line.split(' ').map(str::to_owned))
    }

    #[test]
    fn an_unfinished_line_says_which_cluster_and_namespace() {
        let common = of("pgset restart -n db --name orders --context prod --member ");
        assert_eq!(common.namespace.as_deref(), Some("db"));
        assert_eq!(common.name.as_deref(), Some("orders"));
        assert_eq!(common.context.as_deref(), Some("prod"));
        assert_eq!(of("pgset --namespace=db restart --member pg").namespace.as_deref(), Some("db"));
        assert_eq!(of("pgset fly --nonsense").namespace, None);
    }

    #[test]
    fn every_argument_that_takes_a_name_has_a_source_of_names() {
        let command = completing();
        let sourced = |command: &Command, id: &str| {
            let arg = command.get_arguments().find(|arg| arg.get_id() == id).unwrap();
            arg.get::<ArgValueCompleter>().is_some()
        };
        assert!(["namespace", "name", "context"].iter().all(|id| sourced(&command, id)));
        assert!(sourced(command.find_subcommand("restart").unwrap(), "member"));
    }
}
