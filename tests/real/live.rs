//! A day with a set: list, dsn, psql, logs, port-forward, verify.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::faults_access::Credentials;
use crate::findings::Started;
use crate::harness::{Going, Namespace, Run, cluster, cluster_is_ours, wait_for};

/// The command with this machine's programs in PATH, psql among them.
fn with_path(space: &Namespace, arguments: &[&str]) -> Command {
    let path = std::env::var_os("PATH").unwrap();
    let found = std::env::split_paths(&path).any(|folder| folder.join("psql").is_file());
    assert!(found, "this test needs a psql: apt-get install postgresql-client");
    let mut command = space.command(&[]);
    // The namespace goes first: everything after `--` is psql's.
    command.args(arguments).env("PATH", path);
    command
}

fn to_its_end(command: &mut Command, input: &str) -> Run {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let run = Run::of(child.wait_with_output().unwrap());
    writer.join().unwrap().unwrap();
    run
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Private folders of psql's tunnels, of this user's and in this folder.
fn private_folders(temporary: &std::path::Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(temporary).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("pgset-")).collect()
}

#[test]
fn list_dsn_psql_and_logs_of_a_set_with_awkward_names() {
    let space = Namespace::new("day");
    let names = [("PG_DATABASE", "My \"App\"/x"), ("PG_USER", "o'neil $(id):")];
    Run::of(space.command(&["up"]).envs(names).output().unwrap()).expect(0);
    lists(&space);
    data_sources(&space);
    for exec in [false, true] {
        queries(&space, exec);
    }
    at_a_terminal(&space);
    leaves_nothing_behind(&space);
    tells_what_was_logged(&space);
}

fn lists(space: &Namespace) {
    let table = space.pgset(&["list"]).expect(0).stdout;
    assert!(table.starts_with("NAME   MEMBERS  PRIMARY  HEALTH"), "{table}");
    assert!(table.contains("pgset  2/2      pgset-0  ready "), "{table}");
    let probed = space.pgset(&["list", "--probe", "-o", "json"]).expect(0).json();
    let set = &probed["items"][0];
    assert_eq!(
        (&set["healthy"], &set["word"], &set["primary"]),
        (&true.into(), &"postgreSQL".into(), &"pgset-0".into())
    );
    assert_eq!((&set["size"], &set["namespace"]), (&"1Gi".into(), &Value::from(space.name.as_str())));
    let everywhere = space.pgset(&["list", "-A", "-o", "name"]).expect(0).stdout;
    assert!(everywhere.lines().any(|line| line == format!("{}/pgset", space.name)), "{everywhere}");

    let nothing = Namespace::beside(space, "nothing");
    let none = nothing.pgset(&["list"]).expect(0).says(&["there is no set in namespace", "pgset list -A"]);
    assert_eq!(none.stdout, "");

    space.kubectl(&["create", "serviceaccount", "viewer"]);
    let account = format!("--serviceaccount={}:viewer", space.name);
    space.kubectl(&["create", "rolebinding", "viewer", "--clusterrole=view", &account]);
    let viewer = Credentials::with_token("viewer", space.kubectl(&["create", "token", "viewer"]).trim());
    viewer.pgset(&["list", "-n", &space.name]).expect(0);
    let refused = viewer.pgset(&["list", "-A"]).expect(3);
    refused.says(&["failed to list", "of all namespaces", "pgset list -n NAMESPACE"]);
    // Kubernetes' word has to do for whoever may not read the passwords.
    let probed = viewer.pgset(&["list", "--probe", "-n", &space.name, "-o", "json"]).expect(0).json();
    assert_eq!(probed["items"][0]["word"], "kubernetes");
}

/// Every form leads a client inside the cluster to the right member.
fn data_sources(space: &Namespace) {
    let password = space.password("user");
    let who = "select current_user, current_database(), pg_is_in_recovery(), current_setting('cluster_name')";
    let inside = |words: &[&str]| space.kubectl(&[&["exec", "pgset-1", "-c", "pgset", "--"], words].concat());
    let plain = space.pgset(&["dsn"]).expect(0).says(&["get secret pgset-passwords", "--show-password"]);
    assert!(!plain.stdout.contains(&password), "{}", plain.stdout);
    for (flags, member) in [(&[][..], "f|pgset-0"), (&["--replica"], "t|pgset-1"), (&["--any"], "f|pgset-0")] {
        let dsn = |format: &str| {
            let run = space.pgset(&[&["dsn", "--show-password", "--format", format], flags].concat());
            run.expect(0).stdout.trim_end().to_owned()
        };
        let expected = format!("o'neil $(id):|My \"App\"/x|{member}");
        for format in ["uri", "libpq", "go"] {
            assert_eq!(inside(&["psql", &dsn(format), "-XAtc", who]).trim_end(), expected, "{format} {flags:?}");
        }
        let script = format!("{}\nexec psql -XAtc \"{who}\"", dsn("env"));
        assert_eq!(inside(&["sh", "-c", &script]).trim_end(), expected, "env {flags:?}");
        let jdbc = dsn("jdbc");
        assert!(jdbc.starts_with("jdbc:postgresql://") && jdbc.contains("user=o%27neil%20%24%28id%29%3A"), "{jdbc}");
        let python = format!("{}\nprint(DATABASES['default']['USER'], DATABASES['default']['NAME'])", dsn("django"));
        let read = Run::of(Command::new("python3").args(["-c", &python]).output().unwrap()).expect(0).stdout;
        assert_eq!(read.trim_end(), "o'neil $(id): My \"App\"/x");
    }
}

/// The same answers over the tunnel and in the member.
fn queries(space: &Namespace, exec: bool) {
    let psql = |flags: &[&str], words: &[&str]| {
        let way: &[&str] = if exec { &["--exec"] } else { &[] };
        with_path(space, &[&["psql"], way, flags, &["--"], words].concat())
    };
    let query = |flags: &[&str], sql: &str| to_its_end(&mut psql(flags, &["-XAtc", sql]), "");
    let who = "select current_user, current_database(), pg_is_in_recovery(), current_setting('cluster_name')";
    let own = query(&[], who).expect(0);
    assert_eq!((own.stdout.as_str(), own.stderr.as_str()), ("o'neil $(id):|My \"App\"/x|f|pgset-0\n", ""));
    let other = query(&["-U", "postgres", "-d", "postgres", "--replica"], who).expect(0);
    assert_eq!(other.stdout, "postgres|postgres|t|pgset-1\n");
    assert_eq!(query(&["--replica=1"], "select 1").expect(0).stdout, "1\n");
    query(&["--replica=0"], "select 1").expect(1).says(&["pgset-0 is no ready replica", "pgset-1 is", "pgset status"]);

    // psql's own exit codes: a failed statement, a failed script, one that cannot log in.
    query(&[], "select 1/0").expect(1).says(&["division by zero"]);
    let script = "select 1;\nselect 1/0;\nselect 2;\n";
    let stopped = to_its_end(&mut psql(&[], &["-XAtv", "ON_ERROR_STOP=1"]), script).expect(3);
    assert_eq!(stopped.stdout, "1\n");
    query(&["-d", "none"], "select 1").expect(2).says(&["database \"none\" does not exist"]);

    // Much, in both directions, and all of it.
    let rows: String = (0..100_000).map(|n| format!("{n} some text\n")).collect();
    let table = if exec { "much_exec" } else { "much" };
    query(&[], &format!("create table {table} (line text)")).expect(0);
    let copy = format!("\\copy {table} from stdin");
    to_its_end(&mut psql(&[], &["-Xqc", &copy]), &rows).expect(0);
    let back = query(&[], &format!("select line from {table} order by split_part(line, ' ', 1)::int")).expect(0);
    assert!(back.stdout == rows, "{} of {} bytes came back", back.stdout.len(), rows.len());

    // Whoever reads may have enough.
    let mut many = psql(&[], &["-XAtc", "select generate_series(1, 1000000)"]);
    let mut child = many.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert_eq!(first, "1\n");
    assert_ne!(child.wait().unwrap().code(), Some(0));
}

/// A person's terminal: prompts, Ctrl-C to psql, its size, and the terminal as it was afterwards.
fn at_a_terminal(space: &Namespace) {
    // Python has a pseudo-terminal at hand. It says what it waits for before each thing it types.
    const PERSON: &str = r#"
import fcntl, os, pty, struct, sys, termios, time
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
seen = b""
def until(text):
    global seen
    while text not in seen:
        try:
            seen += os.read(terminal, 65536)
        except OSError:
            sys.exit(f"the program ended before {text}: {seen.decode()}")
    seen = seen[seen.index(text) + len(text):]
def size(rows, columns):
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
size(41, 123)
before = termios.tcgetattr(terminal)
until(b"=> ")
os.write(terminal, b"select 40+2 as answer;\n")
until(b"42")
until(b"=> ")
os.write(terminal, b"select pg_sleep(1000);\n")
until(b"1000);\r\n")
time.sleep(0.5)
os.write(terminal, b"\x03")
until(b"canceling statement due to user request")
until(b"=> ")
os.write(terminal, b"\\! stty size\n")
until(b"41 123")
size(50, 99)
until(b"=> ")
os.write(terminal, b"\\! sleep 0.5; stty size\n")
until(b"50 99")
until(b"=> ")
os.write(terminal, b"\\q\n")
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
same = termios.tcgetattr(terminal) == before
print("ended with", code, "and a terminal", "as before" if same else "in disorder")
"#;
    for way in [&["psql"][..], &["psql", "--exec"]] {
        let command = with_path(space, way);
        let mut person = Command::new("timeout");
        person.args(["60", "python3", "-c", PERSON]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                person.env(name, value);
            }
        }
        let run = Run::of(person.env("TERM", "xterm").stdin(Stdio::null()).output().unwrap()).expect(0);
        assert_eq!(run.stdout, "ended with 0 and a terminal as before\n", "{way:?}");
    }
}

/// The password is in no command line, only in a private file, which goes however pgset ends.
fn leaves_nothing_behind(space: &Namespace) {
    let temporary = tempfile::tempdir().unwrap();
    let password = space.password("user");
    for end in ["-TERM", "-HUP"] {
        let mut command = with_path(space, &["psql", "--", "-XAtc", "select pg_sleep(1000)"]);
        let mut child = command.env("TMPDIR", temporary.path()).stdout(Stdio::null()).spawn().unwrap();
        let asleep =
            "select count(*) from pg_stat_activity where query like 'select pg_sleep(1000)%' and state = 'active'";
        wait_for("the query", || (space.psql("pgset-0", asleep) == "1").then_some(()));
        let folders = private_folders(temporary.path());
        let mode = |path: &PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let passfile = folders[0].join("passfile");
        assert_eq!((folders.len(), mode(&folders[0]), mode(&passfile)), (1, 0o700, 0o600));
        assert!(fs::read_to_string(&passfile).unwrap().contains(&password));
        let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path().join("cmdline"));
        let told = processes
            .filter_map(|path| fs::read(path).ok())
            .filter(|line| line.windows(password.len()).any(|window| window == password.as_bytes()));
        assert_eq!(told.count(), 0, "the password is in a command line");
        signal(&child, end);
        assert!(!child.wait().unwrap().success());
        assert_eq!(private_folders(temporary.path()), Vec::<PathBuf>::new(), "after {end}");
        // And psql went with it, so its query did too.
        space.psql(
            "pgset-0",
            "select pg_terminate_backend(pid) from pg_stat_activity where query like 'select pg_sleep(1000)%'",
        );
    }
}

fn tells_what_was_logged(space: &Namespace) {
    space.psql("pgset-0", "do $$ begin raise log 'mark one \u{1b}[31m'; end $$");
    space.psql("pgset-1", "do $$ begin raise log 'mark two'; end $$");
    space.psql("pgset-0", "do $$ begin raise log 'mark three'; end $$");
    let marks = ["--grep", "LOG:  mark (one|two|three)"];
    let lines = wait_for("the marks in the log", || {
        let run = space.pgset(&[&["logs", "-o", "json"], &marks[..]].concat()).expect(0);
        let lines: Vec<Value> = run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (lines.len() == 3).then_some(lines)
    });
    let members: Vec<&str> = lines.iter().map(|line| line["member"].as_str().unwrap()).collect();
    assert_eq!(members, ["pgset-0", "pgset-1", "pgset-0"]);
    let all = space.pgset(&["logs", "-o", "json"]).expect(0).stdout;
    let times: Vec<String> = all
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["time"].as_str().unwrap().to_owned())
        .collect();
    assert!(times.len() > 20 && times.is_sorted(), "{all}");
    let one = space.pgset(&[&["logs", "--member", "1"], &marks[..]].concat()).expect(0).stdout;
    assert!(one.starts_with("pgset-1  ") && one.lines().count() == 1, "{one}");
    assert_eq!(space.pgset(&["logs", "--tail", "3"]).expect(0).stdout.lines().count(), 6);
    assert_eq!(space.pgset(&["logs", "--since", "2099-01-01T00:00:00Z"]).expect(0).stdout, "");
    space.pgset(&["logs", "--member", "7"]).expect(1).says(&["there is no member pgset-7", "pgset-0, pgset-1"]);
    space.pgset(&["logs", "--previous"]).expect(1).says(&["has restarted"]);
    space.pgset(&["logs", "--grep", "("]).expect(2).says(&["--grep"]);
    for command in [&["logs"][..], &["logs", "-f"], &["dsn"], &["port-forward"], &["verify"], &["psql", "--exec"]] {
        space.pgset(&[&["--name", "none"], command].concat()).expect(1).says(&["there is no set none"]);
    }
}

/// A running `port-forward`: its port, and what it says.
struct Forward {
    child: Child,
    dsn: String,
}

impl Forward {
    fn start(space: &Namespace, flags: &[&str]) -> Self {
        let mut child = space.start(&[&["port-forward", "0"], flags].concat());
        let mut dsn = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut dsn).unwrap();
        Self { child, dsn: dsn.trim_end().to_owned() }
    }

    /// The first column of the first row, through it.
    async fn ask(&self, sql: &str) -> Result<String, tokio_postgres::Error> {
        ask(&self.dsn, sql).await
    }

    /// Interrupts it and gives what it said.
    fn end(mut self) -> String {
        signal(&self.child, "-INT");
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(130), "{said}");
        said
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The first column of the first row.
async fn ask(dsn: &str, sql: &str) -> Result<String, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(dsn, tokio_postgres::NoTls).await?;
    let connection = tokio::spawn(connection);
    let rows = client.simple_query(sql).await?;
    drop(client);
    connection.await.unwrap()?;
    Ok(rows
        .iter()
        .find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        })
        .unwrap())
}

/// Who answers at this address, in a thread of its own.
fn who_answers(dsn: &str) -> std::thread::JoinHandle<String> {
    let dsn = dsn.to_owned();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(ask(&dsn, "select current_setting('cluster_name') || pg_is_in_recovery()")).unwrap()
    })
}

/// Runs a script in a member that goes on while nobody can be asked; `mark WORD` in it writes a line to PostgreSQL's log.
fn leave_in(space: &Namespace, member: &str, script: &str) {
    let mark = r#"mark() { psql -h 127.0.0.1 -U postgres -Xqc "do \$\$ begin raise log 'mark $1'; end \$\$"; }"#;
    let script = format!("{mark}\n{script}");
    let password = format!("PGPASSWORD={}", space.password("superuser"));
    let outer = "nohup sh -c \"$1\" >/dev/null 2>&1 </dev/null &";
    space.kubectl(&["exec", member, "-c", "pgset", "--", "env", &password, "sh", "-c", outer, "sh", &script]);
}

#[test]
fn the_api_server_may_go_and_come_back_under_a_port_and_a_log() {
    if !cluster_is_ours() {
        return;
    }
    let space = Namespace::alone("outage");
    space.pgset(&["up"]).expect(0);
    let mut logs =
        Going::start(&mut space.command(&["logs", "-f", "-o", "json", "--grep", "LOG:  mark |starting PostgreSQL"]));
    logs.says("starting PostgreSQL", 2);
    let mut forward = Going::start(&mut space.command(&["port-forward", "0", "--show-password", "--wait", "90s"]));
    forward.says("listening on", 1);
    let dsn = forward.stdout().trim_end().to_owned();
    assert_eq!(who_answers(&dsn).join().unwrap(), "pgset-0false");

    // A line a second in both, before, while and after nobody can be asked.
    for member in ["pgset-0", "pgset-1"] {
        leave_in(&space, member, "n=100; while [ $n -lt 125 ]; do mark $n.; n=$((n + 1)); sleep 1; done");
    }
    logs.says("LOG:  mark 102.", 2);
    cluster(&["stop-apiserver"]);
    let back = Started("kube-apiserver");
    for going in [&logs, &forward] {
        going.says("the API server does not answer", 1);
    }
    let waiting = who_answers(&dsn);
    forward.says("a connection waits for the primary", 1);
    drop(back);
    assert_eq!(waiting.join().unwrap(), "pgset-0false");
    for going in [&logs, &forward] {
        going.says("the API server answers again", 1);
    }
    logs.says("LOG:  mark 124.", 2);
    for n in 100..125 {
        let told = logs.stdout().matches(&format!("mark {n}.")).count();
        assert_eq!(told, 2, "mark {n}, of both members once:\n{}", logs.stdout());
    }

    // A container that ends and comes back meanwhile: its last words, and its successor's first ones.
    leave_in(&space, "pgset-1", "sleep 5; mark last-words; kill -QUIT 1");
    cluster(&["stop-apiserver"]);
    let back = Started("kube-apiserver");
    logs.says("the API server does not answer", 2);
    // Nobody can be asked whether it has happened.
    std::thread::sleep(std::time::Duration::from_secs(12));
    drop(back);
    logs.says("starting PostgreSQL", 3);
    logs.says("mark last-words", 1);
    assert_eq!(logs.stdout().matches("mark last-words").count(), 1, "{}", logs.stdout());
    assert_eq!(who_answers(&dsn).join().unwrap(), "pgset-0false");
    assert!(logs.goes_on() && forward.goes_on());
    let waits_for = |going: &Going| going.stderr().matches("the API server does not answer").count();
    assert!(waits_for(&logs) == 2, "it is said once an outage:\n{}", logs.stderr());
    space.pgset(&["wait"]).expect(0);
}

#[test]
fn one_port_leads_to_the_primary_through_restarts_replacement_and_promotion() {
    let space = Namespace::new("forward");
    space.pgset(&["up"]).expect(0);
    let logs = space.start(&["logs", "-f", "-o", "json", "--tail", "0"]);
    let forward = Forward::start(&space, &["--show-password"]);
    let impatient = Forward::start(&space, &["--show-password", "--wait", "1s"]);
    assert!(forward.dsn.contains(&format!(":{}@127.0.0.1:", space.password("user"))), "{}", forward.dsn);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let name = "select current_setting('cluster_name') || pg_is_in_recovery()";

    let many = runtime.block_on(futures::future::join_all((0..30).map(|_| forward.ask(name))));
    assert!(many.iter().all(|answer| answer.as_ref().is_ok_and(|name| name == "pgset-0false")), "{many:?}");

    // The container: the pod stays, its PostgreSQL starts anew. A connection waits for it.
    space.kubectl(&["exec", "pgset-0", "-c", "pgset", "--", "sh", "-c", "kill -QUIT 1"]);
    assert_eq!(runtime.block_on(forward.ask(name)).unwrap(), "pgset-0false");

    // The pod: while there is none, the patient wait and the impatient are told.
    space.kubectl(&["delete", "pod", "pgset-0", "--wait=false"]);
    let endpoints = ["get", "endpointslices", "-l", "kubernetes.io/service-name=pgset-master", "-o"];
    let ready = || space.kubectl(&[&endpoints[..], &["jsonpath={.items[*].endpoints[*].conditions.ready}"]].concat());
    wait_for("the primary to be gone", || (ready() != "true").then_some(()));
    assert_eq!(runtime.block_on(forward.ask(name)).unwrap(), "pgset-0false");

    // A switchover.
    space.pgset(&["wait"]).expect(0);
    space.pgset(&["promote", "pgset-1", "--yes"]).expect(0);
    wait_for("the new primary", || {
        runtime.block_on(forward.ask(name)).is_ok_and(|name| name == "pgset-1false").then_some(())
    });
    space.pgset(&["wait"]).expect(0);
    let replica = Forward::start(&space, &["--show-password", "--replica"]);
    assert_eq!(runtime.block_on(replica.ask(name)).unwrap(), "pgset-0true");
    replica.end();
    space.pgset(&["verify"]).expect(0);

    space.kubectl(&["scale", "statefulset", "pgset", "--replicas=0"]);
    wait_for("the members to be gone", || (!ready().contains("true")).then_some(()));
    let refused = runtime.block_on(impatient.ask(name)).unwrap_err();
    let refused = refused.as_db_error().unwrap_or_else(|| panic!("{refused}"));
    assert_eq!((refused.code().code(), refused.severity()), ("57P03", "FATAL"));
    assert!(refused.message().contains("the primary of pgset in namespace"), "{}", refused.message());
    impatient.end();
    let said = forward.end();
    for words in ["now pgset-0", "nobody at the moment: new connections wait", "now pgset-1"] {
        assert!(said.contains(words), "{words} is not in\n{said}");
    }
    told_once_each(logs);
}

/// The followed logs have every start of every member, and no line twice.
fn told_once_each(logs: Child) {
    signal(&logs, "-INT");
    let run = Run::of(logs.wait_with_output().unwrap()).expect(130);
    let mut lines: Vec<&str> = run.stdout.lines().collect();
    let starts = |member: &str| {
        let of = |line: &&&str| {
            line.contains(&format!("\"member\":\"{member}\"")) && line.contains("pgset: starting PostgreSQL")
        };
        lines.iter().filter(of).count()
    };
    // Its container anew, its pod anew, its pod anew as a replica.
    assert_eq!((starts("pgset-0"), starts("pgset-1")), (3, 0), "{}", run.stdout);
    let all = lines.len();
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines.len(), all, "lines were told twice");
}

#[test]
fn verify_says_what_is_wrong_and_leaves_nothing() {
    let space = Namespace::new("verify");
    space.pgset(&["up"]).expect(0);
    let text = space.pgset(&["verify"]).expect(0).stdout;
    for words in [
        "pgset-0 takes a row, as the member pgset-master leads to",
        "pgset-1 has the row after",
        "pgset-1 refuses a write with SQLSTATE 25006",
        "pgset-master from pgset-1: pgset-0 answers by the Service's name",
        "pgset-replica from pgset-1: pgset-1 answers by the Service's name",
        "testuser logs in to userdb with the Secret's user",
        "replicator logs in",
        "is verified: ",
    ] {
        assert!(text.contains(words), "{words} is not in\n{text}");
    }
    let schemas = "select count(*) from pg_namespace where nspname like 'pgset%'";
    assert_eq!(space.psql("pgset-0", schemas), "0");

    // What an interrupted run left goes; what is somebody's own stays.
    let comment = "comment on schema pgset_verify is 'made by pgset verify, which removes it'";
    space.psql("pgset-0", &format!("create schema pgset_verify; create table pgset_verify.marker (n int); {comment}"));
    let json = space.pgset(&["verify", "-o", "json"]).expect(0).says(&["removing what an interrupted run left"]).json();
    assert_eq!((&json["passed"], &json["kind"]), (&true.into(), &"Verification".into()));
    assert_eq!(space.psql("pgset-0", schemas), "0");
    space.psql("pgset-0", "create schema pgset_verify");
    space.pgset(&["verify"]).expect(3).says(&["1 of ", "pgset status", "pgset wait"]);
    assert_eq!(space.psql("pgset-0", schemas), "1");
    space.psql("pgset-0", "drop schema pgset_verify");

    // A replica that lags, a password that is not the database's, a Service that leads nowhere.
    space.psql("pgset-1", "select pg_wal_replay_pause()");
    space.psql("pgset-0", "alter role testuser password 'another'");
    let nobody = r#"{"spec":{"selector":{"statefulset.kubernetes.io/pod-name":"none"}}}"#;
    space.kubectl(&["patch", "service", "pgset-master", "-p", nobody]);
    let endpoints = ["get", "endpointslices", "-l", "kubernetes.io/service-name=pgset-master", "-o"];
    wait_for("the Service to lead nowhere", || {
        let found = space.kubectl(&[&endpoints[..], &["jsonpath={.items[*].endpoints[*].targetRef.name}"]].concat());
        found.is_empty().then_some(())
    });
    let junit = space.pgset(&["verify", "--within", "1s", "-o", "junit"]).expect(3).stdout;
    for words in [
        "failures=\"5\"",
        "leads to nobody, not to pgset-0",
        "took a row, but pgset-master does not lead to it",
        "the row has not arrived after 1.",
        "cannot log in with the Secret&apos;s user",
        "name=\"connection\"",
    ] {
        assert!(junit.contains(&words.replace("&apos;", "'")), "{words} is not in\n{junit}");
    }
    space.psql("pgset-1", "select pg_wal_replay_resume()");
    assert_eq!(space.psql("pgset-0", schemas), "0");
}

#[test]
fn nothing_hangs_where_there_is_no_cluster() {
    let nowhere = Credentials::to_nowhere("live-nowhere");
    for command in
        [&["list"][..], &["dsn"], &["psql", "--exec"], &["port-forward", "0"], &["logs"], &["logs", "-f"], &["verify"]]
    {
        nowhere.pgset(command).expect(3).says(&["Connection refused", "config current-context"]);
    }
    Run::of(nowhere.command(&["psql"]).env("PATH", std::env::var_os("PATH").unwrap()).output().unwrap())
        .expect(3)
        .says(&["Connection refused", "config current-context"]);
}
