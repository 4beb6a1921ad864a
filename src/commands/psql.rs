//! `pgset psql`: the psql of this machine over a private tunnel, or the one in the member through exec.

use std::ffi::OsStr;
use std::fs::{OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use futures::{join, try_join};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::app::{App, patiently};
use super::dsn::identity;
use super::forward::{Ahead, Choice, Forwarder};
use super::status::no_such_set;
use crate::cli::PsqlArgs;
use crate::cluster::{ApiFailure, Cluster, Ended, Exec, Leads, Process, SetSecret, live_set};
use crate::error::{Failure, Kind, Outcome};
use crate::manifests::Names;
use crate::report::terminal;
use crate::set::dsn::passfile_line;
use crate::set::identity::SUPERUSER;
use crate::set::psql;

/// How long a session waits for a member it can be led to.
const WAIT: Duration = Duration::from_secs(30);

/// Runs psql and passes its exit code.
///
/// # Errors
/// There is no such set or member, psql cannot be run, or it ended with another code than 0.
pub async fn run(app: &App, args: PsqlArgs) -> Outcome {
    let (target, cluster) = app.target().await?;
    let names = Names::new(&target.name, &target.namespace);
    app.when_interrupted("", None);
    let session = Session { app, cluster: &cluster, names: &names, args: &args };
    let program = if args.exec { None } else { in_path("psql", std::env::var_os("PATH").as_deref()) };
    match program {
        Some(program) => session.local(&program).await,
        None => session.in_member().await,
    }
}

/// The first executable file of this name in the folders of PATH.
fn in_path(program: &str, path: Option<&OsStr>) -> Option<PathBuf> {
    let runs =
        |file: &PathBuf| file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0);
    std::env::split_paths(path?).map(|folder| folder.join(program)).find(runs)
}

/// The words of an exit: psql has said itself why.
fn passed(code: u8) -> Outcome {
    if code == 0 { Ok(()) } else { Err(Failure::new(Kind::Passed(code), "")) }
}

struct Session<'a> {
    app: &'a App,
    cluster: &'a Cluster,
    names: &'a Names,
    args: &'a PsqlArgs,
}

impl Session<'_> {
    /// The Service that leads to the wanted role.
    fn service(&self) -> String {
        if self.args.replica.is_some() { self.names.replica_service() } else { self.names.master_service() }
    }

    fn whom(&self) -> String {
        let set = self.names.set();
        match self.args.replica {
            Some(Some(n)) => self.names.member(n),
            Some(None) => format!("a replica of {set}"),
            None => format!("the primary of {set}"),
        }
    }

    /// This machine's psql, on a socket of its own that leads through the API server.
    async fn local(&self, program: &Path) -> Outcome {
        let (cluster, names) = (self.cluster, self.names);
        let namespace = names.namespace();
        let guess = names.member(match self.args.replica {
            Some(Some(n)) => n,
            Some(None) => 1,
            None => 0,
        });
        let ahead = Ahead::to(cluster, namespace, guess);
        let leads = Leads::start(cluster, namespace, &self.service());
        let passwords = names.passwords();
        let secret = SetSecret::read(cluster, namespace, &passwords);
        let looks = async { join!(live_set(cluster, namespace, names.set()), secret) };
        let (set, secret) = patiently(cluster, looks).await?;
        let Some(set) = set? else { return Err(no_such_set(self.app, cluster, names).await) };
        let secret = SetSecret::of_set(cluster, names, Some(&set), secret).await;
        let choice = self.choice(leads).await?;
        let identity = identity(&set, secret.as_ref().ok().and_then(Option::as_ref), names);
        let own_user = identity.as_ref().ok().map(|own| own.user.clone());
        let (database, user) = match (&self.args.dbname, &self.args.username, identity) {
            (Some(database), Some(user), _) => (database.clone(), user.clone()),
            (database, user, Ok(own)) => (
                database.clone().unwrap_or_else(|| own.database.clone()),
                user.clone().unwrap_or_else(|| own.user.clone()),
            ),
            (.., Err(failure)) => return Err(failure),
        };
        let place = Place::new()?;
        let known = self.known(secret, own_user)?;
        place.write_passfile(&known.iter().map(|(user, word)| passfile_line(user, word)).collect::<String>())?;
        let listener = UnixListener::bind(place.socket())
            .map_err(|error| Failure::error(format!("failed to listen on {}: {error}", place.socket().display())))?;
        let forwarder = Arc::new(Forwarder {
            cluster: cluster.clone(),
            namespace: namespace.to_owned(),
            whom: format!("{} in namespace {namespace}", self.whom()),
            choice,
            wait: WAIT,
            ui: self.app.ui.clone(),
            ahead,
        });
        let serving = tokio::spawn(forwarder.serve_unix(listener));
        let mut command = Command::new(program);
        command.args(&self.args.args);
        for name in psql::NOT_FOR_THE_TUNNEL {
            command.env_remove(name);
        }
        command.env("PGHOST", place.folder.path()).env("PGPORT", PORT).env("PGPASSFILE", place.passfile());
        // Whoever's password is known here logs in with that; everybody else's is the caller's business.
        if known.iter().any(|(name, _)| name == psql::user_of(&user, &self.args.args)) {
            command.env_remove(psql::PASSWORD);
        }
        command.env("PGDATABASE", database).env("PGUSER", user);
        // From here on Ctrl-C is psql's: it cancels a query there.
        self.app.leave_interrupts_to_child();
        let child =
            command.spawn().map_err(|error| Failure::error(format!("failed to run {}: {error}", program.display())))?;
        let status = Running(child).ended().await;
        serving.abort();
        passed(code(status?))
    }

    /// Whom the tunnel leads to; a replica named by number has to be one.
    async fn choice(&self, leads: Leads) -> Outcome<Choice> {
        let members = patiently(self.cluster, leads.listed()).await??;
        let Some(Some(n)) = self.args.replica else { return Ok(Choice::Service(leads)) };
        let member = self.names.member(n);
        if members.contains(&member) { Ok(Choice::Member(member)) } else { Err(self.no_replica(&member, &members)) }
    }

    fn no_replica(&self, member: &str, replicas: &[String]) -> Failure {
        let known = if replicas.is_empty() { "none".to_owned() } else { replicas.join(", ") };
        let namespace = self.names.namespace();
        Failure::error(format!(
            "{member} is no ready replica in namespace {namespace}: {known} {}",
            if replicas.len() > 1 { "are" } else { "is" }
        ))
        .hint(format!("see who is what: {}", self.app.command("status", self.names)))
    }

    /// Users and their passwords, as far as the Secret knows them: the set's own, and the superuser, so that `\c - postgres`
    /// works as well.
    fn known(
        &self,
        secret: Result<Option<SetSecret>, ApiFailure>,
        user: Option<String>,
    ) -> Outcome<Vec<(String, String)>> {
        let else_whose = || {
            let given = std::env::var_os(psql::PASSWORD).is_some_and(|word| !word.is_empty());
            if given { "so psql uses PGPASSWORD" } else { "so psql asks for the password" }
        };
        let secret = match secret {
            Ok(Some(secret)) => secret,
            Ok(None) => {
                self.app.ui.warn(&format!("Secret {} does not exist, {}", self.names.passwords(), else_whose()));
                return Ok(Vec::new());
            }
            Err(failure) if failure.is_forbidden() => {
                self.app.ui.warn(&format!("{failure}, {}", else_whose()));
                return Ok(Vec::new());
            }
            Err(failure) => return Err(failure.into()),
        };
        let users = [(user, "user"), (Some(SUPERUSER.to_owned()), "superuser")];
        let known = users.into_iter().filter_map(|(user, key)| Some((user?, secret.get(key)?.to_owned())));
        Ok(known.collect())
    }

    /// The psql in the member, over its socket: no password is needed there.
    async fn in_member(&self) -> Outcome {
        let (cluster, names) = (self.cluster, self.names);
        let namespace = names.namespace();
        let words: Option<Vec<String>> = self.args.args.iter().map(|word| word.to_str().map(str::to_owned)).collect();
        let words = words.ok_or_else(|| Failure::usage("psql's arguments have to be UTF-8 to be run in a member"))?;
        let member = self.member().await?;
        let interactive = terminal::is_interactive();
        let command = psql::in_member(self.args.username.as_deref(), self.args.dbname.as_deref(), &words);
        let exec = Exec { cluster, namespace, member: &member, command, stdin: true, terminal: interactive };
        let process = exec.start().await?;
        let ended = if interactive { with_terminal(process).await } else { with_pipes(process).await };
        match ended? {
            Ended::Code(code) => passed(code),
            Ended::Lost(words) => {
                Err(Failure::error(format!("lost psql in Pod {member} in namespace {namespace}: {words}"))
                    .hint(format!("see how the set is: {}", self.app.command("status", names))))
            }
        }
    }

    /// The member to run in: waited for if there is none at the moment.
    async fn member(&self) -> Outcome<String> {
        let (cluster, names) = (self.cluster, self.names);
        let leads = Leads::start(cluster, names.namespace(), &self.service());
        let mut members = patiently(cluster, leads.listed()).await??;
        if let Some(Some(n)) = self.args.replica {
            let member = names.member(n);
            return if members.contains(&member) { Ok(member) } else { Err(self.no_replica(&member, &members)) };
        }
        if members.is_empty() {
            if live_set(cluster, names.namespace(), names.set()).await?.is_none() {
                return Err(no_such_set(self.app, cluster, names).await);
            }
            self.app.ui.say(&format!("waiting for {} to be ready", self.whom()));
            members = timeout(WAIT, leads.other_than(&[])).await.unwrap_or_default();
        }
        members.into_iter().next().ok_or_else(|| {
            let words = format!("{} in namespace {} is not ready", self.whom(), names.namespace());
            Failure::new(Kind::TimedOut, words).hint(format!("see why: {}", self.app.command("status", names)))
        })
    }
}

/// The port in the socket's name.
const PORT: &str = "5432";

/// A folder nobody else can enter, for the socket and the password file; gone with everything in it when dropped.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Outcome<Self> {
        // A socket's path may have 107 bytes only, which some TMPDIRs take up alone.
        let usual = std::env::temp_dir();
        let root = if usual.as_os_str().len() > 60 { PathBuf::from("/tmp") } else { usual };
        let failed = |error: io::Error| Failure::error(format!("failed to make a private folder: {error}"));
        let mut builder = tempfile::Builder::new();
        builder.prefix("pgset-").permissions(Permissions::from_mode(0o700));
        Ok(Self { folder: builder.tempdir_in(root).map_err(failed)? })
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join(format!(".s.PGSQL.{PORT}"))
    }

    fn passfile(&self) -> PathBuf {
        self.folder.path().join("passfile")
    }

    fn write_passfile(&self, lines: &str) -> Outcome {
        let path = self.passfile();
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        file.and_then(|mut file| file.write_all(lines.as_bytes()))
            .map_err(|error| Failure::error(format!("failed to write {}: {error}", path.display())))
    }
}

/// A psql that is asked to end when nobody waits for it any more.
struct Running(Child);

impl Running {
    /// Waits for its end, or for the person's: a closed terminal must not leave the password file behind.
    async fn ended(mut self) -> Outcome<ExitStatus> {
        let failed = |error: io::Error| Failure::error(format!("failed to wait for psql: {error}"));
        let mut hangup = signal(SignalKind::hangup()).map_err(failed)?;
        tokio::select! {
            ended = self.0.wait() => ended.map_err(failed),
            _ = hangup.recv() => Err(Failure::new(Kind::Passed(129), "")),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        use rustix::process::{Pid, Signal, kill_process};
        // Not killed: it puts the terminal back first. `id` is none once it has ended.
        if let Some(pid) = self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
    }
}

/// As a shell would say it.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

/// A program at the person's terminal: every key goes there, every change of size too.
async fn with_terminal(mut process: Process) -> Outcome<Ended> {
    let failed = |error: io::Error| Failure::error(format!("failed to prepare the terminal: {error}"));
    let mut changes = signal(SignalKind::window_change()).map_err(failed)?;
    let mut resizer = process.resizer();
    if let (Some(resizer), Some(size)) = (resizer.as_mut(), terminal::size()) {
        resizer.resize(size).await;
    }
    let raw = terminal::Raw::enter().map_err(failed)?;
    let (input, output) = (process.stdin(), process.stdout());
    let resizing = async {
        while changes.recv().await.is_some() {
            if let (Some(resizer), Some(size)) = (resizer.as_mut(), terminal::size()) {
                resizer.resize(size).await;
            }
        }
    };
    let written = tokio::select! {
        written = write_out(output, io::stdout()) => written,
        never = feed(input) => never,
        () = resizing => Ok(()),
    };
    drop(raw);
    written?;
    Ok(process.ended().await)
}

/// A program between pipes.
async fn with_pipes(mut process: Process) -> Outcome<Ended> {
    let (input, output, errors) = (process.stdin(), process.stdout(), process.stderr());
    // Together: a program whose stdout nobody reads any more never comes to the end of its stderr.
    let written = async { try_join!(write_out(output, io::stdout()), write_out(errors, io::stderr())) };
    tokio::select! {
        written = written => written.map(|_| ())?,
        never = feed(input) => never?,
    }
    Ok(process.ended().await)
}

/// Copies what this process reads until it ends, then waits for ever: the program's end ends it all.
async fn feed(input: Option<impl AsyncWrite + Unpin>) -> Outcome {
    let (tell, mut read) = mpsc::channel::<Vec<u8>>(4);
    // A thread of its own: a terminal cannot be read in a way that can be given up.
    std::thread::spawn(move || {
        let mut buffer = vec![0; 32 << 10];
        while let Ok(count @ 1..) = io::stdin().lock().read(&mut buffer) {
            if tell.blocking_send(buffer[..count].to_vec()).is_err() {
                break;
            }
        }
    });
    if let Some(mut input) = input {
        while let Some(bytes) = read.recv().await {
            // A program that reads no more has ended or will.
            if input.write_all(&bytes).await.is_err() {
                break;
            }
        }
        let _ = input.shutdown().await;
    }
    std::future::pending().await
}

/// Copies what a program writes until it ends.
async fn write_out(output: Option<impl AsyncRead + Unpin>, mut to: impl Write) -> Outcome {
    let Some(mut output) = output else { return Ok(()) };
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = output.read(&mut buffer).await {
        if let Err(error) = to.write_all(&buffer[..count]).and_then(|()| to.flush()) {
            // Whoever reads has enough; psql itself would have ended by this signal.
            return match error.kind() {
                io::ErrorKind::BrokenPipe => passed(141),
                _ => Err(Failure::error(format!("failed to write what psql says: {error}"))),
            };
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn psql_is_found_where_it_can_be_run_only() {
        let folders: Vec<TempDir> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
        let path = std::env::join_paths(folders.iter().map(TempDir::path)).unwrap();
        assert_eq!(in_path("psql", Some(&path)), None);
        std::fs::create_dir(folders[0].path().join("psql")).unwrap();
        std::fs::write(folders[1].path().join("psql"), "").unwrap();
        let right = folders[2].path().join("psql");
        OpenOptions::new().write(true).create_new(true).mode(0o755).open(&right).unwrap();
        assert_eq!(in_path("psql", Some(&path)), Some(right));
        assert_eq!(in_path("psql", None), None);
    }

    #[test]
    fn exit_codes_are_a_shells() {
        let of = |raw| code(ExitStatus::from_raw(raw));
        assert_eq!([of(0), of(3 << 8), of(9)], [0, 3, 137]);
    }

    #[test]
    fn the_private_place_is_private_and_goes() {
        let place = Place::new().unwrap();
        place.write_passfile("secret\n").unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(place.folder.path()), mode(&place.passfile())), (0o700, 0o600));
        assert!(place.socket().as_os_str().len() < 108);
        let path = place.folder.path().to_owned();
        drop(place);
        assert!(!path.exists());
    }
}
