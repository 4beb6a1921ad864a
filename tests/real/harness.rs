//! One cluster for all tests, a namespace a test, and the binary run as a person would run it.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{
    Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError,
};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long a condition that should come true may take on a loaded machine.
pub const SOON: Duration = Duration::from_secs(120);

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// One verb of the test cluster's script; panics with its words when it fails.
pub fn cluster(arguments: &[&str]) -> String {
    let output =
        Command::new(root().join("tests/cluster/cluster.sh")).args(arguments).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "cluster.sh {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The kubeconfig of the cluster, which is made when there is none.
pub fn kubeconfig() -> &'static Path {
    static KUBECONFIG: OnceLock<PathBuf> = OnceLock::new();
    KUBECONFIG.get_or_init(|| {
        cluster(&["up"]);
        PathBuf::from(cluster(&["kubeconfig"]).trim())
    })
}

/// Whether the cluster is the script's own, so that its components may be stopped.
pub fn cluster_is_ours() -> bool {
    std::env::var_os("PGSET_TEST_KUBECONFIG").is_none_or(|value| value.is_empty())
}

static CLUSTER: RwLock<()> = RwLock::new(());

/// How many sets come up at the same time: more only slow each other down.
static PLACES: [Mutex<()>; 2] = [Mutex::new(()), Mutex::new(())];

/// A namespace, removed with everything in it at the end of the test.
pub struct Namespace {
    pub name: String,
    // Dropped after the namespace is asked to go, so that the next test may have the place.
    _hold: Option<(Hold, MutexGuard<'static, ()>)>,
}

/// A place nobody has; one that a failed test left behind is as good as any.
fn free(place: &'static Mutex<()>) -> Option<MutexGuard<'static, ()>> {
    match place.try_lock() {
        Ok(place) => Some(place),
        Err(TryLockError::Poisoned(place)) => Some(place.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

enum Hold {
    Shared { _guard: RwLockReadGuard<'static, ()> },
    Alone { _guard: RwLockWriteGuard<'static, ()> },
}

impl Namespace {
    /// A new namespace, beside other tests.
    pub fn new(name: &str) -> Self {
        let guard = CLUSTER.read().unwrap_or_else(PoisonError::into_inner);
        Self::create(name, Hold::Shared { _guard: guard })
    }

    /// A new namespace while no other test uses the cluster.
    pub fn alone(name: &str) -> Self {
        let guard = CLUSTER.write().unwrap_or_else(PoisonError::into_inner);
        Self::create(name, Hold::Alone { _guard: guard })
    }

    fn create(name: &str, hold: Hold) -> Self {
        let place = loop {
            if let Some(place) = PLACES.iter().find_map(free) {
                break place;
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        Self::named(name, Some((hold, place)))
    }

    /// One more namespace for a test that has one.
    pub fn beside(_first: &Self, name: &str) -> Self {
        Self::named(name, None)
    }

    fn named(name: &str, hold: Option<(Hold, MutexGuard<'static, ()>)>) -> Self {
        let name = format!("pgset-test-{name}-{}", std::process::id());
        kubectl(&["create", "namespace", &name]);
        Self { name, _hold: hold }
    }

    /// Runs pgset in this namespace to its end.
    pub fn pgset(&self, arguments: &[&str]) -> Run {
        Run::of(self.command(arguments).output().unwrap())
    }

    /// The command, not yet started: for environment variables, other users, or to interrupt it.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = pgset(arguments);
        command.args(["--namespace", &self.name]);
        command
    }

    /// Starts pgset without waiting for it.
    pub fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// kubectl in this namespace; panics with its words when it fails.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        let mut all = vec!["--namespace", self.name.as_str()];
        all.extend(arguments);
        kubectl(&all)
    }

    /// An object as JSON; `None` when there is none.
    pub fn get(&self, kind: &str, name: &str) -> Option<Value> {
        let text = self.kubectl(&["get", kind, name, "--ignore-not-found", "-o", "json"]);
        if text.trim().is_empty() { None } else { Some(serde_json::from_str(&text).unwrap()) }
    }

    /// SQL in a member, as the superuser; unaligned rows without headings.
    pub fn psql(&self, member: &str, sql: &str) -> String {
        self.try_psql(member, sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// The same, with PostgreSQL's own words when it fails.
    pub fn try_psql(&self, member: &str, sql: &str) -> Result<String, String> {
        let password = self.password("superuser");
        let password = format!("PGPASSWORD={password}");
        let client = ["exec", member, "-c", "pgset", "--", "env", &password, "psql"];
        let options = ["-h", "127.0.0.1", "-U", "postgres", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql];
        let output = kubectl_command().args(["--namespace", &self.name]).args(client).args(options).output().unwrap();
        if output.status.success() {
            return Ok(String::from_utf8(output.stdout).unwrap().trim_end().to_owned());
        }
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// One of the set's passwords: `superuser`, `replication` or `user`.
    pub fn password(&self, key: &str) -> String {
        let template = format!("-o=go-template={{{{.data.{key}|base64decode}}}}");
        self.kubectl(&["get", "secret", "pgset-passwords", &template])
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.kubectl(&["get", "pods,pvc,events", "-o", "wide"]));
        }
        // Static volumes are cluster-wide; the set's labels and this namespace say whose they are.
        let claimed = format!("-o=jsonpath={{.items[?(@.spec.claimRef.namespace=='{}')].metadata.name}}", self.name);
        let volumes = kubectl(&["get", "persistentvolumes", "-l", "app.kubernetes.io/managed-by=pgset", &claimed]);
        kubectl(&["delete", "namespace", &self.name, "--wait=false"]);
        for volume in volumes.split_whitespace() {
            kubectl(&["delete", "persistentvolume", volume, "--ignore-not-found", "--wait=false"]);
        }
    }
}

/// An object outside every namespace, removed at the end of the test, also of one that fails.
pub struct ClusterObject {
    kind: &'static str,
    name: String,
}

impl ClusterObject {
    /// Creates it from a manifest of this kind and name.
    pub fn new(kind: &'static str, name: &str, manifest: &str) -> Self {
        let object = Self { kind, name: name.to_owned() };
        kubectl_with(&["apply", "-f", "-"], manifest);
        object
    }

    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for ClusterObject {
    fn drop(&mut self) {
        let _ =
            kubectl_command().args(["delete", self.kind, &self.name, "--ignore-not-found", "--wait=false"]).output();
    }
}

/// What a run of pgset left.
#[derive(Debug)]
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    pub fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let stderr = text(output.stderr).lines().map(words).collect();
        Self { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr }
    }

    /// The run, if it ended with this exit code; panics with everything it said otherwise.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "exit code\n--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr);
        self
    }

    /// Asserts that stderr has these words, each somewhere.
    #[track_caller]
    pub fn says(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.stderr.contains(word), "stderr lacks {word:?}:\n{}", self.stderr);
        }
        self
    }

    /// stdout as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }
}

/// A line of stderr; of an event, which is what `-o json` makes of it, the words in it, one a line.
fn words(line: &str) -> String {
    fn texts(value: &Value, into: &mut String) {
        match value {
            Value::String(text) => {
                into.push_str(text);
                into.push('\n');
            }
            Value::Array(values) => values.iter().for_each(|value| texts(value, into)),
            // An object of the cluster, as people are told it.
            Value::Object(fields)
                if fields.len() == 2 && fields.contains_key("kind") && fields.contains_key("name") =>
            {
                let [kind, name] = ["kind", "name"].map(|field| fields[field].as_str().unwrap_or_default());
                into.push_str(&format!("{kind} {name}\n"));
            }
            Value::Object(fields) => fields.values().for_each(|value| texts(value, into)),
            _ => {}
        }
    }
    let event = serde_json::from_str::<Value>(line).ok().filter(|event| event["kind"] == "Event");
    let mut words = String::new();
    match event {
        Some(mut event) => {
            // As people are told them.
            for hint in event["hints"].as_array_mut().into_iter().flatten() {
                *hint = format!("hint: {}", hint.as_str().unwrap_or_default()).into();
            }
            texts(&event, &mut words);
        }
        None => words = format!("{line}\n"),
    }
    words
}

/// A command that goes on; killed when dropped.
pub struct Going {
    child: Child,
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
}

impl Going {
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (stdout, stderr) = (collect(child.stdout.take().unwrap()), collect(child.stderr.take().unwrap()));
        Self { child, stdout, stderr }
    }

    pub fn stdout(&self) -> String {
        self.stdout.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until one of its streams has had these words so many times.
    #[track_caller]
    pub fn says(&self, words: &str, times: usize) {
        let began = Instant::now();
        let told = || self.stdout().matches(words).count() + self.stderr().matches(words).count();
        while told() < times {
            let late = began.elapsed() > SOON;
            assert!(!late, "{words:?} is not said:\n--- stdout\n{}\n--- stderr\n{}", self.stdout(), self.stderr());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Whether it still goes on.
    pub fn goes_on(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads a stream to its end beside everything else.
fn collect(mut stream: impl Read + Send + 'static) -> Arc<Mutex<String>> {
    let text = Arc::new(Mutex::new(String::new()));
    let shared = Arc::clone(&text);
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut bytes) {
            let words = String::from_utf8_lossy(&bytes[..read]).into_owned();
            shared.lock().unwrap_or_else(PoisonError::into_inner).push_str(&words);
        }
    });
    text
}

/// pgset without a namespace flag, in a clean environment.
pub fn pgset(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgset"));
    command.args(arguments).stdin(Stdio::null()).env_clear().env("KUBECONFIG", kubeconfig());
    command.env("HOME", std::env::temp_dir()).current_dir(std::env::temp_dir());
    command
}

/// kubectl, as the cluster's administrator.
pub fn kubectl_command() -> Command {
    let mut command = Command::new(root().join("tests/cluster/cluster.sh"));
    // Asked first, because it makes the cluster.
    let kubeconfig = kubeconfig();
    command.arg("kubectl").env("KUBECONFIG", kubeconfig).stdin(Stdio::null());
    command
}

/// kubectl to its end; panics with its words when it fails.
#[track_caller]
pub fn kubectl(arguments: &[&str]) -> String {
    let output = kubectl_command().args(arguments).output().unwrap();
    assert!(output.status.success(), "kubectl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The same with something on its stdin.
#[track_caller]
pub fn kubectl_with(arguments: &[&str], input: &str) -> String {
    use std::io::Write;
    let mut command = kubectl_command();
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "kubectl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Waits until `condition` gives something.
#[track_caller]
pub fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(began.elapsed() < SOON, "{what} did not come true within {} s", SOON.as_secs());
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A directory on the node that the members may write to, removed at the end; only on a cluster of this machine.
pub struct HostDirectory {
    pub path: PathBuf,
}

impl HostDirectory {
    /// Made as the seed makes it: mode 777.
    pub fn new(name: &str) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let path = PathBuf::from(format!("/var/lib/pgset-test-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        Self { path }
    }

    pub fn as_str(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// The names in it, sorted.
    pub fn entries(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut entries: Vec<String> = entries.collect();
        entries.sort();
        entries
    }
}

impl Drop for HostDirectory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}
