//! The commands of a day with a set that only read or connect.

#![allow(clippy::doc_markdown, reason = "comments are help texts here, where backticks are noise")]

use std::ffi::OsString;

use clap::{ArgAction, Args, ValueEnum};

use crate::settings::Timeout;

#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  pgset list
  pgset list -A --probe
  pgset list -A -o name
  pgset list -n db -o json")]
pub struct ListArgs {
    /// The sets of all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Ask PostgreSQL as well: healthy instead of only ready
    #[arg(long)]
    pub probe: bool,
    /// Output format
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    pub output: ListFormat,
}

/// How `list` shows the sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
    #[default]
    Table,
    Json,
    Yaml,
    /// Names only, one a line; NAMESPACE/NAME with -A
    Name,
}

#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  pgset dsn
  pgset dsn --replica --format jdbc
  pgset dsn --any --format libpq
  pgset dsn --local 15432           through pgset port-forward 15432
  pgset dsn --format env --show-password > .env")]
pub struct DsnArgs {
    /// Of the replicas, for reads
    #[arg(long, conflicts_with = "any")]
    pub replica: bool,
    /// Of all members by name: the client itself finds the primary among them
    #[arg(long)]
    pub any: bool,
    /// Through a port-forward to this port of this machine
    #[arg(long, value_name = "PORT", conflicts_with = "any", value_parser = clap::value_parser!(u16).range(1..))]
    pub local: Option<u16>,
    /// For which client
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    pub format: DsnFormat,
    /// With the password in it
    #[arg(long)]
    pub show_password: bool,
}

/// For which client a DSN is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum DsnFormat {
    /// postgresql://…, as libpq, psycopg, node-postgres and many others take it
    #[default]
    Uri,
    Jdbc,
    /// host=… port=…, as psql and libpq take it
    Libpq,
    /// Lines of export PGHOST=… for a shell
    Env,
    /// postgres://… for pgx and lib/pq
    Go,
    /// DATABASES of a settings.py
    Django,
}

#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  pgset psql
  pgset psql -U postgres -d postgres
  pgset psql --replica -- -c 'select pg_is_in_recovery()'
  pgset psql --replica=2
  pgset psql < schema.sql
  pgset psql -- -Atc 'table orders' | wc -l")]
pub struct PsqlArgs {
    /// A replica instead of the primary, of this number when one is given
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true)]
    #[allow(clippy::option_option, reason = "absent, given, and given with a number are three things")]
    pub replica: Option<Option<u8>>,
    /// Database [default: the set's]
    #[arg(short, long, value_name = "DB")]
    pub dbname: Option<String>,
    /// User; postgres is the superuser [default: the set's]
    #[arg(short = 'U', long, value_name = "USER")]
    pub username: Option<String>,
    /// Run the psql in the member, even when there is one here
    #[arg(long)]
    pub exec: bool,
    /// Arguments of psql
    #[arg(last = true, value_name = "ARGS")]
    pub args: Vec<OsString>,
}

#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  pgset port-forward
  pgset port-forward 15432
  pgset port-forward --replica 0    any free port
  pgset port-forward 15432 --format jdbc
  pgset port-forward --wait 2m")]
pub struct PortForwardArgs {
    /// To a replica instead of the primary
    #[arg(long)]
    pub replica: bool,
    /// The port to listen on, on this machine only; 0 takes any that is free
    #[arg(value_name = "LOCAL", default_value_t = 5432)]
    pub local: u16,
    /// How long a new connection waits while there is nobody to lead it to
    #[arg(long, value_name = "TIME", default_value = "30s")]
    pub wait: Timeout,
    /// For which client the DSN is printed
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    pub format: DsnFormat,
    /// Print the DSN with the password in it
    #[arg(long)]
    pub show_password: bool,
}

#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  pgset logs
  pgset logs -f --since 10m
  pgset logs --member 1 --previous
  pgset logs --grep 'ERROR|FATAL' --tail 1000
  pgset logs -o json")]
pub struct LogsArgs {
    /// Go on with new lines, also of members that restart or appear later
    #[arg(short, long)]
    pub follow: bool,
    /// Only this member's; may be repeated
    #[arg(long, value_name = "N", action = ArgAction::Append)]
    pub member: Vec<u8>,
    /// Only lines of the last time like 90s or 2h, or since a moment like 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Only the last lines of each member
    #[arg(long, value_name = "LINES")]
    pub tail: Option<u32>,
    /// Of the container before the last restart
    #[arg(short, long, conflicts_with = "follow")]
    pub previous: bool,
    /// Only lines in which this regular expression is found
    #[arg(long, value_name = "REGEX")]
    pub grep: Option<String>,
    /// Output format
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    pub output: LogFormat,
}

/// How `logs` shows lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    #[default]
    Text,
    /// One document a line
    Json,
}

#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  pgset verify
  pgset verify --within 30s
  pgset verify -o junit > verify.xml")]
pub struct VerifyArgs {
    /// How long a row may take from the primary to a replica
    #[arg(long, value_name = "TIME", default_value = "5s")]
    pub within: Timeout,
    /// Output format
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    pub output: VerifyFormat,
}

/// How `verify` shows its checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum VerifyFormat {
    #[default]
    Text,
    Json,
    Junit,
}
