//! The command line: what can be written, not what it means. Values are text here and become types in
//! [`settings`](crate::settings), where the environment and the settings file are heard too.

#![allow(clippy::doc_markdown, reason = "comments are help texts here, where backticks are noise")]

mod live;

use std::path::PathBuf;

use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

pub use self::live::*;
use crate::settings::Replicas;

/// A PostgreSQL primary and its streaming replicas on Kubernetes, with one command.
///
/// `pgset up` ends when the database is right: one primary, every replica streaming from it. When it cannot get there it
/// says why and what to do. Data is never deleted unless asked for by name.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "pgset",
    version,
    arg_required_else_help = true,
    subcommand_required = true,
    infer_subcommands = false,
    max_term_width = 100,
    after_help = "\
Examples:
  pgset up                      a primary and a replica in the context's namespace
  pgset up --replicas 3 -n db   three members in the namespace db
  pgset status                  who is primary, who streams, how far behind
  pgset down                    remove the set, keep the data

Settings come from flags, then the environment, then pgset.yaml, then defaults; `pgset settings` shows which.",
    after_long_help = "\
Examples:
  pgset up                      a primary and a replica in the context's namespace
  pgset up --replicas 3 -n db   three members in the namespace db
  pgset status                  who is primary, who streams, how far behind
  pgset down                    remove the set, keep the data

Settings come from flags, then the environment, then pgset.yaml, then defaults; `pgset settings` shows which.

Exit codes:
  0    done, healthy
  1    something could not be done
  2    the command line, the environment or the settings file is wrong
  3    the set is unhealthy, or cannot become healthy
  4    timed out
  5    something differs (diff)
  6    refused: a guard, or a question that nobody could answer
  130  interrupted"
)]
pub struct Cli {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub command: Command,
}

/// Flags that every command takes.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Common options")]
pub struct Common {
    /// Namespace of the set [env: PGSET_NAMESPACE] [default: the context's]
    #[arg(short, long, global = true, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// Name of the set [env: PGSET_NAME] [default: pgset]
    #[arg(long, global = true, value_name = "NAME")]
    pub name: Option<String>,
    /// Context of the kubeconfig to use [env: PGSET_CONTEXT] [default: the current one]
    #[arg(long, global = true, value_name = "CONTEXT")]
    pub context: Option<String>,
    /// Kubeconfig file [env: KUBECONFIG] [default: ~/.kube/config]
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Act as this user, as kubectl does
    #[arg(long = "as", global = true, value_name = "USER")]
    pub as_user: Option<String>,
    /// Act as a member of this group; may be repeated
    #[arg(long = "as-group", global = true, value_name = "GROUP", requires = "as_user", action = ArgAction::Append)]
    pub as_groups: Vec<String>,
    /// How long to wait, like 90s, 10m or 1h30m [env: PGSET_TIMEOUT] [default: 10m]
    #[arg(long, global = true, value_name = "TIME")]
    pub timeout: Option<String>,
    /// Answer every question with yes
    #[arg(short, long, global = true)]
    pub yes: bool,
    /// No progress, results and errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Which cluster, which steps, and what is done to single objects
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// When to use colour; NO_COLOR is heard too
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t)]
    pub color: Color,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    Always,
    Never,
}

impl Cli {
    /// The command line's definition under the name it was called by: `pgset`, or `kubectl pgset` as a plugin.
    #[must_use]
    pub fn command_as(program: &'static str) -> clap::Command {
        Self::command().bin_name(program)
    }

    /// The command line of this process; ends it with usage or help where that is what was asked for.
    #[must_use]
    pub fn of_process() -> Self {
        let matches = Self::command_as(program()).get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }
}

/// What a person types to run this: kubectl finds its plugins by the name `kubectl-pgset`.
#[must_use]
pub fn program() -> &'static str {
    let called = std::env::args_os().next().map(PathBuf::from);
    let name = called.as_ref().and_then(|path| path.file_name()?.to_str()).unwrap_or_default();
    if name.starts_with("kubectl-pgset") { "kubectl pgset" } else { "pgset" }
}

#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Bring the set up, or to its settings, and wait until it is healthy
    ///
    /// Checks the cluster, applies what is missing or different and waits until one primary is writable and every
    /// replica streams from it. Safe to repeat: on a healthy set with the same settings it changes nothing. Never
    /// deletes data or members; what Kubernetes lets nobody change on a StatefulSet is changed by making it anew around its
    /// running members, after asking.
    Up(UpArgs),
    /// Show members, roles, lag, endpoints and what is wrong; the exit code is the set's health
    Status(StatusArgs),
    /// List the sets of a namespace, or of all
    List(ListArgs),
    /// Change the number of members and wait until they stream
    ///
    /// Refuses to remove the primary. The data of members that go stays, and is named.
    Scale(ScaleArgs),
    /// Remove the set after asking; the data stays unless --delete-data is given
    Down(DownArgs),
    /// Wait until the set is healthy, as `up` does, and change nothing
    Wait(WaitArgs),
    /// Show what `up` would change, and how: at once, by restarts, or by making the StatefulSet anew
    ///
    /// Asks the API server (server-side dry run) and changes nothing. Passwords are never shown. Exit code 0: nothing
    /// differs, 5: something does.
    Diff(DiffArgs),
    /// Restart members one after another, each healthy again before the next, the primary last
    ///
    /// Pods are deleted in order and never by force: PostgreSQL shuts down, and the StatefulSet makes the pod again on the
    /// same data. Only a healthy set is restarted as a whole; a single member whenever asked for.
    Restart(RestartArgs),
    /// Make a replica the primary, and the primary a replica: a planned switchover
    ///
    /// The primary stops and comes back as a replica; the member has replayed all that it wrote; then the member is promoted,
    /// and the Service for writes leads to it. Writes pause meanwhile, for some seconds. Nothing that was acknowledged is
    /// lost, and where a step fails the old primary goes on as the primary. Interrupted, the same command goes on. Only of a
    /// healthy set, and not with a Crunchy image.
    Promote(PromoteArgs),
    /// Stop all members; data, Services and the number of members are kept for `start`
    ///
    /// The replicas stop first, then the primary, which writes a checkpoint before. Replicas with a lower number than the
    /// primary's stop at the same time as it.
    Stop(StopArgs),
    /// Start a stopped set with as many members as it had, and wait until it is healthy
    Start(StartArgs),
    /// Write on the primary, read it on every replica, check Services and passwords, and clean up
    Verify(VerifyArgs),
    /// Open psql on the primary or a replica
    ///
    /// Runs the psql of this machine over a private tunnel, or the one in the member where this machine has none. Its exit
    /// code is psql's.
    Psql(PsqlArgs),
    /// Listen on this machine and lead every connection to the primary, wherever it is
    PortForward(PortForwardArgs),
    /// Show the logs of all members, merged by time
    Logs(LogsArgs),
    /// Print how a client connects: inside the cluster, or on this machine through port-forward
    Dsn(DsnArgs),
    /// Look for everything that is wrong or will be, with the set or, where there is none, with the cluster
    ///
    /// On a set: what `status` knows and more, warnings included. Where there is no set: whether `up` would work here. With
    /// --bundle, everything needed to find a fault from afar, without any secret.
    Doctor(DoctorArgs),
    /// Say what a finding's code means, how pgset knows, and how to fix it
    Explain(ExplainArgs),
    /// Write the manifests to stdout; needs no cluster
    Render(RenderArgs),
    /// Show every setting, its value and where it came from
    Settings(SettingsArgs),
    /// Write the completion for a shell: commands and flags, and the cluster's namespaces, sets and members
    Completions(CompletionsArgs),
    /// Write a manual page to stdout, or all of them to a folder
    Man(ManArgs),
}

impl Command {
    /// Whether the result is wanted as JSON: `-o json`.
    #[must_use]
    pub fn wants_json(&self) -> bool {
        match self {
            Self::Up(UpArgs { output, .. })
            | Self::Scale(ScaleArgs { output, .. })
            | Self::Down(DownArgs { output, .. })
            | Self::Wait(WaitArgs { output, .. })
            | Self::Diff(DiffArgs { output, .. })
            | Self::Restart(RestartArgs { output, .. })
            | Self::Promote(PromoteArgs { output, .. })
            | Self::Stop(StopArgs { output, .. })
            | Self::Start(StartArgs { output })
            | Self::Doctor(DoctorArgs { output, .. }) => *output == ResultFormat::Json,
            Self::Status(args) => args.output == StatusFormat::Json,
            Self::List(args) => args.output == ListFormat::Json,
            Self::Verify(args) => args.output == VerifyFormat::Json,
            Self::Logs(args) => args.output == LogFormat::Json,
            Self::Explain(args) => args.output == ExplainFormat::Json,
            Self::Settings(args) => args.output == TableFormat::Json,
            Self::Psql(_)
            | Self::PortForward(_)
            | Self::Dsn(_)
            | Self::Render(_)
            | Self::Completions(_)
            | Self::Man(_) => false,
        }
    }
}

#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  pgset up
  pgset up --replicas 3 --size 20Gi --storage-class fast
  pgset up --memory 2Gi --dry-run
  pgset up --image docker.io/library/postgres:17-alpine --memory 2Gi
  pgset up --storage nfs --nfs-server 10.0.0.5 --nfs-path /nfsfileshare
  pgset up --set-parameter work_mem=16MB --set-parameter log_min_duration_statement=250ms
  CCP_IMAGE_TAG=centos7-9.6-1.2.7 pgset up    the 2017 example")]
pub struct UpArgs {
    /// Check everything and show what would be changed, as `diff` does; change nothing. Exit code 0:
    /// there is nothing to change; 5: there is
    #[arg(long)]
    pub dry_run: bool,
    /// Do not try the NFS export from a pod before any member waits for it
    #[arg(long)]
    pub no_preflight: bool,
    /// Delete pods that stay on a bad revision, which Kubernetes does not replace; asks before the primary's
    #[arg(long)]
    pub unstick: bool,
    /// Output format
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    pub output: ResultFormat,
    #[command(flatten)]
    pub settings: SettingsFlags,
}

#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  pgset status
  pgset status --watch
  pgset status -n db --name orders -o json")]
pub struct StatusArgs {
    /// Output format
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    pub output: StatusFormat,
    /// Keep showing it until interrupted
    #[arg(short, long)]
    pub watch: bool,
}

#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  pgset scale 3
  pgset scale 1 --yes")]
pub struct ScaleArgs {
    /// Members in all, the primary included: 1 to 32
    #[arg(value_name = "N")]
    pub replicas: Replicas,
    /// Output format
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    pub output: ResultFormat,
}

#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  pgset down                        asks, keeps the data: `pgset up` has it again
  pgset down --yes
  pgset down --delete-data --yes    the claims and everything in them go too")]
pub struct DownArgs {
    /// Delete the data as well; there is no way back
    #[arg(long)]
    pub delete_data: bool,
    /// Output format
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    pub output: ResultFormat,
}

#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  pgset render | kubectl apply -f -
  pgset render -f production.yaml > production/pgset.yaml
  pgset render --eject templates && pgset up --templates templates")]
pub struct RenderArgs {
    /// Write the built-in templates to this folder instead, to be changed and given to --templates
    #[arg(long, value_name = "DIR")]
    pub eject: Option<PathBuf>,
    /// Output format
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    pub output: ManifestFormat,
    #[command(flatten)]
    pub settings: SettingsFlags,
}

#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  pgset wait
  pgset wait --timeout 1h
  pgset wait --unstick")]
pub struct WaitArgs {
    /// Delete pods that stay on a bad revision, which Kubernetes does not replace; asks before the primary's
    #[arg(long)]
    pub unstick: bool,
    /// Output format
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    pub output: ResultFormat,
}

#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  pgset restart
  pgset restart --member 1
  pgset restart --member pgset-0 --yes")]
pub struct RestartArgs {
    /// Only this member: its number or its name
    #[arg(long, value_name = "MEMBER")]
    pub member: Option<String>,
    /// Output format
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    pub output: ResultFormat,
}

#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  pgset promote                  the replica, where there is one
  pgset promote pgset-1
  pgset promote 0 --yes          the member with this number, without a question")]
pub struct PromoteArgs {
    /// The member that becomes the primary: its number or its name [default: the replica with the most data]
    #[arg(value_name = "MEMBER")]
    pub member: Option<String>,
    /// Output format
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    pub output: ResultFormat,
}

#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  pgset stop
  pgset stop -n db --name orders")]
pub struct StopArgs {
    /// Output format
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    pub output: ResultFormat,
}

#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  pgset start
  pgset start --timeout 1h")]
pub struct StartArgs {
    /// Output format
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    pub output: ResultFormat,
}

#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  pgset diff --memory 2Gi
  pgset diff -f production.yaml -o json
  pgset diff --size 20Gi | less -R")]
pub struct DiffArgs {
    /// Output format
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    pub output: ResultFormat,
    #[command(flatten)]
    pub settings: SettingsFlags,
}

#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  pgset settings
  pgset settings -f production.yaml -o json
  NFS_SERVER=10.0.0.5 pgset settings")]
pub struct SettingsArgs {
    /// Output format
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    pub output: TableFormat,
    #[command(flatten)]
    pub settings: SettingsFlags,
}

#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  pgset doctor
  pgset doctor -n db -o json
  pgset doctor --bundle pgset.tar.gz    objects, events, logs and PostgreSQL's views, without secrets")]
pub struct DoctorArgs {
    /// Write a support bundle, safe to send
    #[arg(long, value_name = "FILE.tar.gz")]
    pub bundle: Option<PathBuf>,
    /// Output format
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    pub output: ResultFormat,
}

#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  pgset explain
  pgset explain PGS-IMAGE-NOT-FOUND
  pgset explain crash-loop
  pgset explain -o markdown")]
pub struct ExplainArgs {
    /// Code of a finding; all are listed without one
    #[arg(value_name = "CODE")]
    pub code: Option<String>,
    /// Output format
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    pub output: ExplainFormat,
}

/// How `explain` writes the catalogue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ExplainFormat {
    #[default]
    Text,
    Json,
    /// A table
    Markdown,
}

#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  pgset completions bash > /etc/bash_completion.d/pgset
  pgset completions zsh > /usr/share/zsh/site-functions/_pgset
  pgset completions fish > ~/.config/fish/completions/pgset.fish")]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    pub shell: Shell,
}

/// Shells that completion is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Shell {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bash => "bash",
            Self::Zsh => "zsh",
            Self::Fish => "fish",
        }
    }
}

#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  pgset man scale | man -l -
  pgset man --dir /usr/local/share/man/man1")]
pub struct ManArgs {
    /// The command to write about; without one, pgset itself
    #[arg(value_name = "COMMAND")]
    pub command: Option<String>,
    /// Write every page to this folder, which is made if need be
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    pub dir: Option<PathBuf>,
}

/// What shapes a set. Passwords are no flags, because every process of a machine can read a command line: PG_PASSWORD,
/// PG_ROOT_PASSWORD and PG_MASTER_PASSWORD set them, or pgset makes them.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Settings")]
pub struct SettingsFlags {
    /// Settings file [default: pgset.yaml, when there is one]
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Members in all, the primary included [env: PGSET_REPLICAS] [default: 2]
    #[arg(long, value_name = "N")]
    pub replicas: Option<String>,
    /// CPU request of a member [env: PGSET_CPU] [default: 100m]
    #[arg(long, value_name = "QUANTITY")]
    pub cpu: Option<String>,
    /// Memory of a member; PostgreSQL's memory settings follow it [env: PGSET_MEMORY] [default: 512Mi]
    #[arg(long, value_name = "QUANTITY")]
    pub memory: Option<String>,
    /// A folder whose templates replace built-in ones [env: PGSET_TEMPLATES] [default: templates below the base
    /// directory, when there is one]
    #[arg(long, value_name = "DIR")]
    pub templates: Option<String>,

    /// Container image [env: PGSET_IMAGE] [default: docker.io/library/postgres:17, or the Crunchy image when a tag is
    /// given]
    #[arg(long, value_name = "IMAGE", help_heading = "Image")]
    pub image: Option<String>,
    /// What the image is: crunchy or postgres [env: PGSET_FLAVOR] [default: from the image's name]
    #[arg(long, value_name = "FLAVOR", help_heading = "Image")]
    pub flavor: Option<String>,
    /// User and group id the members run as [env: PGSET_UID] [default: the image's own: 999, alpine 70, crunchy 26]
    #[arg(long, value_name = "ID", help_heading = "Image")]
    pub uid: Option<String>,
    /// Tag of the Crunchy image [env: CCP_IMAGE_TAG]
    #[arg(long, value_name = "TAG", help_heading = "Image")]
    pub ccp_image_tag: Option<String>,
    /// What stands before crunchy-postgres in the image's name [env: CCP_IMAGE_PREFIX] [default: crunchydata]
    #[arg(long, value_name = "PREFIX", help_heading = "Image")]
    pub ccp_image_prefix: Option<String>,
    /// Version of a Crunchy image whose tag does not end in it [env: PGSET_CRUNCHY_VERSION] [default: from the tag]
    #[arg(long, value_name = "VERSION", help_heading = "Image")]
    pub crunchy_version: Option<String>,
    /// Who makes a member of a Crunchy image the primary: image (its PG_MODE=set) or ordinal (the number in the pod's name)
    /// [env: PGSET_ROLE_BY] [default: image where the image can, else ordinal]
    #[arg(long, value_name = "WHO", help_heading = "Image")]
    pub role_by: Option<String>,
    /// A crunchy-containers checkout, whose own manifests are used [env: BUILDBASE]
    #[arg(long, value_name = "DIR", help_heading = "Image")]
    pub buildbase: Option<String>,
    /// Take the checkout's manifests as they are, but for what no cluster takes: apps/v1 and its selector
    #[arg(long, help_heading = "Image")]
    pub as_is: bool,

    /// What is behind the claims: nfs, hostpath or class [env: PGSET_STORAGE] [default: nfs when a variable of the 2017
    /// example is set, else class]
    #[arg(long, value_name = "STORAGE", help_heading = "Storage")]
    pub storage: Option<String>,
    /// Size of a claim [env: PGSET_SIZE] [default: 1Gi]
    #[arg(long, value_name = "QUANTITY", help_heading = "Storage")]
    pub size: Option<String>,
    /// One claim for all members or a claim each: shared or per-pod [env: PGSET_LAYOUT] [default: per-pod for class, else
    /// shared]
    #[arg(long, value_name = "LAYOUT", help_heading = "Storage")]
    pub layout: Option<String>,
    /// StorageClass, for class [env: PGSET_STORAGE_CLASS] [default: the cluster's]
    #[arg(long, value_name = "CLASS", help_heading = "Storage")]
    pub storage_class: Option<String>,
    /// Address or name of the NFS server, for nfs [env: NFS_SERVER, LOCAL_IP] [default: this machine's address]
    #[arg(long, value_name = "SERVER", help_heading = "Storage")]
    pub nfs_server: Option<String>,
    /// Exported path, for nfs [env: NFS_PATH] [default: /nfsfileshare]
    #[arg(long, value_name = "PATH", help_heading = "Storage")]
    pub nfs_path: Option<String>,
    /// Folder on the node, for hostpath [env: PGSET_HOST_PATH] [default: /nfsfileshare]
    #[arg(long, value_name = "PATH", help_heading = "Storage")]
    pub host_path: Option<String>,

    /// Database to create [env: PG_DATABASE] [default: userdb]
    #[arg(long, value_name = "NAME", help_heading = "Database")]
    pub database: Option<String>,
    /// User to create, the database's owner [env: PG_USER] [default: testuser]
    #[arg(long, value_name = "NAME", help_heading = "Database")]
    pub user: Option<String>,
    /// A parameter of postgresql.conf; may be repeated [env: PGSET_SET_PARAMETER, one a line]
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Database", action = ArgAction::Append)]
    pub set_parameter: Vec<String>,
}

/// How `up`, `scale`, `down` and `wait` say what they did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ResultFormat {
    /// For people
    #[default]
    Text,
    Json,
    Yaml,
}

/// How `status` shows a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum StatusFormat {
    #[default]
    Table,
    /// A table with more columns
    Wide,
    Json,
    Yaml,
}

/// How `settings` shows them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum TableFormat {
    #[default]
    Table,
    Json,
    Yaml,
}

/// How `render` writes manifests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ManifestFormat {
    #[default]
    Yaml,
}

#[cfg(test)]
mod tests {
    use clap::error::ErrorKind;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn common_flags_stand_before_and_after_the_command() {
        for line in ["pgset -n db --name a -y -vv status", "pgset status -n db --name a -y -vv"] {
            let common = parse(line).expect(line).common;
            assert_eq!((common.namespace.as_deref(), common.name.as_deref()), (Some("db"), Some("a")));
            assert_eq!((common.yes, common.verbose, common.quiet, common.color), (true, 2, false, Color::Auto));
        }
    }

    #[test]
    fn mistakes_are_usage_errors() {
        for (line, kind) in [
            ("pgset", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand),
            ("pgset upp", ErrorKind::InvalidSubcommand),
            ("pgset u", ErrorKind::InvalidSubcommand),
            ("pgset up --replica 3", ErrorKind::UnknownArgument),
            ("pgset up --password x", ErrorKind::UnknownArgument),
            ("pgset scale", ErrorKind::MissingRequiredArgument),
            ("pgset scale 0", ErrorKind::ValueValidation),
            ("pgset scale 33", ErrorKind::ValueValidation),
            ("pgset status -o xml", ErrorKind::InvalidValue),
            ("pgset status -q -v", ErrorKind::ArgumentConflict),
        ] {
            let error = parse(line).expect_err(line);
            assert_eq!((error.kind(), error.exit_code()), (kind, 2), "{line}");
        }
    }

    #[test]
    fn json_is_wanted_by_whoever_says_so_wherever_it_can_be_said() {
        let command = Cli::command();
        let mut can = 0;
        for verb in command.get_subcommands() {
            let values = verb.get_arguments().filter(|arg| arg.get_id() == "output");
            let json = values.flat_map(clap::Arg::get_possible_values).any(|value| value.get_name() == "json");
            let needed = if verb.get_name() == "scale" { " 3" } else { "" };
            let line = format!("pgset {}{needed}", verb.get_name());
            let Ok(plain) = parse(&line) else { continue };
            assert!(!plain.command.wants_json(), "{line}");
            if json {
                can += 1;
                assert!(parse(&format!("{line} -o json")).expect(&line).command.wants_json(), "{line}");
            }
        }
        assert_eq!(can, 16);
    }

    /// An example that does not work is worse than none.
    #[test]
    fn every_command_has_examples_and_they_parse() {
        let command = Cli::command();
        let mut seen = 0;
        for command in command.get_subcommands().chain([&command]) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples = help.lines().skip_while(|line| *line != "Examples:").skip(1);
            let examples: Vec<&str> = examples.take_while(|line| line.starts_with("  ")).collect();
            assert!(!examples.is_empty(), "{} has no examples", command.get_name());
            for example in examples {
                // Two lines in one, what is piped, read or written elsewhere, variables in front, a remark behind.
                for line in example.trim().split(" && ") {
                    let line = line.split(['|', '>', '<']).next().unwrap_or_default();
                    let line = line.find("pgset ").map_or(line, |start| &line[start..]);
                    let line = line.split("   ").next().unwrap_or_default();
                    assert!(parse(line).is_ok(), "{line}");
                    seen += 1;
                }
            }
        }
        assert!(seen > 15);
    }
}
