//! A fake API server: the objects of a recorded set, over plain HTTP on this machine, with a note of every request.
//!
//! It knows as much of the API as pgset's commands use: single objects and lists, dry runs and applies (merged, not owned by
//! fields), deletes, scales, logs, and watches that never say anything. PostgreSQL cannot be reached through it unless a test
//! wants to: a port-forward and an exec are forbidden, as for a user who lacks that right. It can be away for a while.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Message, WebSocket};

/// The namespace of the recorded set.
pub const NAMESPACE: &str = "rec-healthy";

/// The collections that pgset reads and writes, with the kind of each.
const COLLECTIONS: [(&str, &str); 12] = [
    ("/apis/apps/v1", "statefulsets StatefulSet"),
    ("/api/v1", "pods Pod"),
    ("/api/v1", "persistentvolumeclaims PersistentVolumeClaim"),
    ("/api/v1", "services Service"),
    ("/api/v1", "secrets Secret"),
    ("/api/v1", "configmaps ConfigMap"),
    ("/api/v1", "serviceaccounts ServiceAccount"),
    ("/api/v1", "events Event"),
    ("/apis/policy/v1", "poddisruptionbudgets PodDisruptionBudget"),
    ("/apis/discovery.k8s.io/v1", "endpointslices EndpointSlice"),
    ("/apis/rbac.authorization.k8s.io/v1", "roles Role"),
    ("/api/v1", "persistentvolumes PersistentVolume"),
];

#[derive(Default)]
struct Cluster {
    /// By address.
    objects: BTreeMap<String, Value>,
    requests: Vec<String>,
    /// Rights the user lacks, as `VERB RESOURCE`; `*` for all of them.
    denied: Vec<&'static str>,
    /// Collections that the user may not touch.
    closed: Vec<&'static str>,
    /// Members' lines, each with its time.
    logs: BTreeMap<String, Vec<String>>,
    /// PostgreSQL answers through a port-forward.
    forwards: bool,
    /// How often the watches that run have been told that they have expired.
    expiries: u32,
    /// No watch can begin any more: each has expired already.
    gone: bool,
    /// Nobody is answered, and every connection is closed.
    away: bool,
    connections: Vec<TcpStream>,
}

/// The server; it ends with the test's process.
pub struct Fake {
    folder: tempfile::TempDir,
    cluster: Arc<Mutex<Cluster>>,
}

/// What a command did.
pub struct Told {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    /// `METHOD address`, without what only says how long or how much; in the order of arrival.
    pub requests: Vec<String>,
}

impl Told {
    /// The requests that change something, in their order.
    pub fn changes(&self) -> Vec<&str> {
        let harmless = |request: &&str| {
            request.starts_with("GET ")
                || request.contains("dryRun=All")
                || request.contains("selfsubjectaccessreviews")
        };
        self.requests.iter().map(String::as_str).filter(|request| !harmless(request)).collect()
    }

    /// The events on stderr; whatever else stands there fails.
    #[track_caller]
    pub fn events(&self) -> Vec<Value> {
        let event = |line: &str| {
            let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            assert_eq!((&event["apiVersion"], &event["kind"]), (&"pgset/v1".into(), &"Event".into()), "{line}");
            assert!(event["time"].is_string() && event["event"].is_string(), "{line}");
            event
        };
        self.stderr.lines().map(event).collect()
    }

    #[track_caller]
    pub fn expect(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.code, code, "{}\n{}\n{:#?}", self.stdout, self.stderr, self.requests);
        for word in words {
            let told = self.stdout.contains(word) || self.stderr.contains(word);
            assert!(told, "lacks {word:?}:\n{}\n{}", self.stdout, self.stderr);
        }
        self
    }
}

impl Fake {
    /// A server with the healthy set of two members that was recorded, and what `pgset render` makes beside it.
    pub fn new() -> Self {
        let mut cluster = Cluster::default();
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/recorded/healthy.json");
        let seen: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        let mut config = Value::Null;
        for body in rendered() {
            if body["kind"] == "StatefulSet" {
                config = body["spec"]["template"]["metadata"]["annotations"].clone();
            }
            cluster.put(body);
        }
        let mut set = seen["statefulSet"].clone();
        set["kind"] = "StatefulSet".into();
        // The scripts and settings are today's, not those of the recording.
        set["spec"]["template"]["metadata"]["annotations"] = config;
        cluster.put(set);
        for (list, kind) in [
            ("pods", "Pod"),
            ("claims", "PersistentVolumeClaim"),
            ("endpointSlices", "EndpointSlice"),
            ("events", "Event"),
        ] {
            for body in seen[list].as_array().unwrap() {
                let mut body = body.clone();
                body["kind"] = kind.into();
                cluster.put(body);
            }
        }
        let base64 = "c2VjcmV0LXdvcmQ=";
        cluster.put(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pgset-passwords",
            "namespace": NAMESPACE, "resourceVersion": "1", "labels": {"app.kubernetes.io/managed-by": "pgset",
            "app.kubernetes.io/instance": "pgset", "app": "pgset"}},
            "data": {"superuser": base64, "replication": base64, "user": base64}}));

        let cluster = Arc::new(Mutex::new(cluster));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let folder = kubeconfig(&format!("http://{}", listener.local_addr().unwrap()));
        let shared = Arc::clone(&cluster);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let mut known = lock(&shared);
                // Dropped, and so closed, while the server is away.
                if !known.away {
                    known.connections.push(client.try_clone().unwrap());
                    let cluster = Arc::clone(&shared);
                    thread::spawn(move || serve(client, &cluster));
                }
            }
        });
        Self { folder, cluster }
    }

    /// A server that takes every connection and never says a word, in this scheme.
    pub fn silent(scheme: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let fake = Self::at(&format!("{scheme}://{}", listener.local_addr().unwrap()));
        let shared = Arc::clone(&fake.cluster);
        thread::spawn(move || listener.incoming().flatten().for_each(|client| lock(&shared).connections.push(client)));
        fake
    }

    /// Somebody else's server under this address; only its kubeconfig is made.
    pub fn at(server: &str) -> Self {
        Self { folder: kubeconfig(server), cluster: Arc::default() }
    }

    /// The same namespace before there is a set in it.
    pub fn empty() -> Self {
        let fake = Self::new();
        lock(&fake.cluster).objects.clear();
        fake
    }

    /// Takes rights from the user: `VERB RESOURCE`, or `*` for all.
    pub fn deny(&self, rights: &[&'static str]) {
        lock(&self.cluster).denied = rights.to_vec();
    }

    /// Takes every right to the objects of a collection, such as `secrets`.
    pub fn deny_objects(&self, plural: &'static str) {
        lock(&self.cluster).closed.push(plural);
    }

    /// From now on PostgreSQL can be reached: it lets everybody in and repeats what they say.
    pub fn forward(&self) {
        lock(&self.cluster).forwards = true;
    }

    /// A line in a member's log, in this second of the minute after the set was recorded.
    pub fn log(&self, member: &str, seconds: u32, text: &str) {
        let mut cluster = lock(&self.cluster);
        let lines = cluster.logs.entry(member.to_owned()).or_default();
        let line = format!("2026-11-25T07:41:{seconds:02}.{:09}Z {text}\n", lines.len());
        lines.push(line);
    }

    /// Tells every watch that runs that it has expired.
    pub fn expire(&self) {
        lock(&self.cluster).expiries += 1;
    }

    /// From now on every watch has expired before it begins.
    pub fn let_no_watch_begin(&self) {
        lock(&self.cluster).gone = true;
    }

    /// The server goes away, with everything that goes through it.
    pub fn leave(&self) {
        let mut cluster = lock(&self.cluster);
        cluster.away = true;
        for connection in cluster.connections.drain(..) {
            let _ = connection.shutdown(std::net::Shutdown::Both);
        }
    }

    /// It is back.
    pub fn come_back(&self) {
        lock(&self.cluster).away = false;
    }

    /// Changes one object before a command runs; `path` is what comes after the namespace, such as `pods/pgset-0`.
    pub fn change(&self, path: &str, change: impl FnOnce(&mut Value)) {
        let mut cluster = lock(&self.cluster);
        let (_, object) =
            cluster.objects.iter_mut().find(|(address, _)| address.ends_with(&format!("/{path}"))).unwrap();
        change(object);
    }

    /// Puts one more object there before a command runs.
    pub fn put(&self, body: Value) {
        lock(&self.cluster).put(body);
    }

    /// Takes away all objects of a collection, such as `persistentvolumeclaims`.
    pub fn forget(&self, plural: &str) {
        lock(&self.cluster).objects.retain(|address, _| !address.contains(&format!("/{plural}/")));
    }

    /// Changes the objects for which this holds.
    pub fn change_where(&self, holds: impl Fn(&Value) -> bool, change: impl Fn(&mut Value)) {
        lock(&self.cluster).objects.values_mut().filter(|object| holds(object)).for_each(change);
    }

    /// The requests since the last command that ran to its end.
    pub fn requests(&self) -> Vec<String> {
        lock(&self.cluster).requests.clone()
    }

    /// The kubeconfig that leads here.
    pub fn kubeconfig(&self) -> String {
        self.folder.path().join("config").to_str().unwrap().to_owned()
    }

    /// The command, not yet started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pgset"));
        command.args(arguments).env_clear().env("HOME", self.folder.path()).current_dir(self.folder.path());
        command.env("KUBECONFIG", self.folder.path().join("config")).env("PATH", "/nowhere").stdin(Stdio::null());
        command
    }

    /// Starts pgset against it.
    pub fn start(&self, arguments: &[&str]) -> Running {
        self.run(&mut self.command(arguments))
    }

    /// Starts a command that runs pgset.
    #[allow(clippy::unused_self, reason = "whoever runs one has a server for it")]
    pub fn run(&self, command: &mut Command) -> Running {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (stdout, stderr) = (collect(child.stdout.take().unwrap()), collect(child.stderr.take().unwrap()));
        Running { child, stdout, stderr }
    }

    /// Runs pgset against it.
    pub fn pgset(&self, arguments: &[&str]) -> Told {
        self.pgset_with(arguments, &[])
    }

    /// The same with these variables, which replace what a test's environment usually has.
    pub fn pgset_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Told {
        lock(&self.cluster).requests.clear();
        let output = self.command(arguments).envs(variables.iter().copied()).output().unwrap();
        let requests = lock(&self.cluster).requests.clone();
        Told {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            requests,
        }
    }
}

/// A home with a kubeconfig for this server.
fn kubeconfig(server: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = json!({"apiVersion": "v1", "kind": "Config", "current-context": "fake",
        "clusters": [{"name": "fake", "cluster": {"server": server}}],
        "users": [{"name": "fake", "user": {}}],
        "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake", "namespace": NAMESPACE}}]});
    std::fs::write(folder.path().join("config"), kubeconfig.to_string()).unwrap();
    folder
}

fn lock(cluster: &Mutex<Cluster>) -> MutexGuard<'_, Cluster> {
    cluster.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A command that goes on; killed when dropped.
pub struct Running {
    child: Child,
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
}

/// How long anything that should come may take on a loaded machine.
const SOON: Duration = Duration::from_secs(30);

impl Running {
    pub fn stdout(&self) -> String {
        self.stdout.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until one of its streams has these words.
    #[track_caller]
    pub fn says(&self, words: &str) {
        let began = Instant::now();
        while !self.stdout().contains(words) && !self.stderr().contains(words) {
            let late = began.elapsed() > SOON;
            assert!(!late, "{words:?} is not said:\n--- stdout\n{}\n--- stderr\n{}", self.stdout(), self.stderr());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Writes to its stdin, which has to be a pipe.
    pub fn answer(&mut self, words: &str) {
        self.child.stdin.as_mut().unwrap().write_all(words.as_bytes()).unwrap();
    }

    /// Whether it still goes on.
    pub fn goes_on(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Its exit code, once it has ended by itself.
    #[track_caller]
    pub fn ends(&mut self) -> i32 {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap();
            }
            assert!(began.elapsed() < SOON, "it does not end:\n{}\n{}", self.stdout(), self.stderr());
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads a stream to its end beside everything else.
fn collect(mut stream: impl std::io::Read + Send + 'static) -> Arc<Mutex<String>> {
    let text = Arc::new(Mutex::new(String::new()));
    let shared = Arc::clone(&text);
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut bytes) {
            let words = String::from_utf8_lossy(&bytes[..read]).into_owned();
            shared.lock().unwrap_or_else(PoisonError::into_inner).push_str(&words);
        }
    });
    text
}

/// The objects of the set as pgset makes them, in the recorded namespace.
fn rendered() -> Vec<Value> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgset"));
    let output = command.args(["render", "-n", NAMESPACE]).env_clear().output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    pgset::yaml::documents(&text).unwrap()
}

impl Cluster {
    fn put(&mut self, mut body: Value) {
        let kind = body["kind"].as_str().unwrap().to_owned();
        let of_kind = |(_, names): &&(&str, &str)| names.split_once(' ').is_some_and(|(_, one)| one == kind);
        let (group, names) = COLLECTIONS.iter().find(of_kind).unwrap_or_else(|| panic!("no collection of {kind}"));
        let (plural, _) = names.split_once(' ').unwrap();
        if body["metadata"]["resourceVersion"].is_null() {
            body["metadata"]["resourceVersion"] = "1".into();
        }
        let name = body["metadata"]["name"].as_str().unwrap();
        self.objects.insert(format!("{}{name}", addresses(group, plural)), body);
    }

    /// The answer to one request: status code and body.
    fn answer(&mut self, method: &str, path: &str, query: &str, body: &Value) -> (u16, Value) {
        if path == "/version" {
            return (
                200,
                json!({"major": "1", "minor": "36", "gitVersion": "v1.36.3", "gitCommit": "", "gitTreeState": "",
                "buildDate": "", "goVersion": "", "compiler": "", "platform": ""}),
            );
        }
        if path.ends_with("/selfsubjectaccessreviews") {
            let mut review = body.clone();
            let asked = &body["spec"]["resourceAttributes"];
            let word = |key: &str| asked[key].as_str().unwrap_or_default().to_owned();
            let right = format!("{} {}", word("verb"), word("resource"));
            let all = word("verb") == "*" && !self.denied.is_empty();
            review["status"] = json!({"allowed": !all && !self.lacks(&right)});
            return (201, review);
        }
        if self.lacks("*") || self.closed.iter().any(|plural| path.contains(&format!("/{plural}"))) {
            return refusal(403, "Forbidden", &format!("User \"x\" cannot do that to {path}"));
        }
        if path.ends_with("/portforward") || path.ends_with("/exec") {
            return refusal(403, "Forbidden", "pods \"pgset-0\" is forbidden: cannot reach into it");
        }
        if path == format!("/api/v1/namespaces/{NAMESPACE}") {
            return (
                200,
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}, "status": {"phase": "Active"}}),
            );
        }
        if path == "/api/v1/namespaces" {
            return (200, list("v1", "Namespace", vec![json!({"metadata": {"name": NAMESPACE}})]));
        }
        if path.ends_with("/storageclasses") {
            let class = json!({"metadata": {"name": "local-path", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}, "provisioner": "p"});
            return (200, list("storage.k8s.io/v1", "StorageClass", vec![class]));
        }
        let collection = COLLECTIONS.iter().find(|(_, names)| {
            let (plural, _) = names.split_once(' ').unwrap();
            path.ends_with(&format!("/{plural}"))
        });
        match (method, collection) {
            ("GET", Some((group, names))) => {
                let (plural, kind) = names.split_once(' ').unwrap();
                let prefix = addresses(group, plural);
                let items = self.objects.iter().filter(|(address, _)| address.starts_with(&prefix));
                let version = group.trim_start_matches("/apis/").trim_start_matches("/api/");
                (200, list(version, kind, items.map(|(_, object)| object.clone()).collect()))
            }
            ("POST", Some((_, names))) => {
                let (_, kind) = names.split_once(' ').unwrap();
                let mut made = body.clone();
                made["kind"] = kind.into();
                if !query.contains("dryRun") {
                    self.put(made.clone());
                }
                (201, made)
            }
            ("GET", None) => self.objects.get(path).map_or_else(missing, |object| (200, object.clone())),
            ("PATCH", None) => self.patch(path, query, body),
            ("DELETE", None) if query.contains("dryRun") => missing(),
            ("DELETE", None) => match self.objects.remove(path) {
                Some(_) => {
                    if path.ends_with("/statefulsets/pgset") {
                        // What the garbage collector does.
                        self.objects.retain(|address, _| !address.contains("/pods/"));
                    }
                    (200, json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}))
                }
                None => missing(),
            },
            _ => refusal(405, "MethodNotAllowed", "the fake API server does not know this"),
        }
    }

    fn lacks(&self, right: &str) -> bool {
        self.denied.iter().any(|denied| *denied == "*" || *denied == right)
    }

    fn patch(&mut self, path: &str, query: &str, body: &Value) -> (u16, Value) {
        if let Some(set) = path.strip_suffix("/scale") {
            let Some(object) = self.objects.get_mut(set) else { return missing() };
            object["spec"]["replicas"] = body["spec"]["replicas"].clone();
            let scale = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "pgset"}, "spec": body["spec"]});
            return (200, scale);
        }
        let applies = query.contains("fieldManager=pgset") && query.contains("force=true");
        let (code, mut result) = match self.objects.get(path) {
            Some(object) => (200, object.clone()),
            None if applies => (201, json!({})),
            None => return missing(),
        };
        merge(&mut result, body);
        if !query.contains("dryRun=All") {
            self.objects.insert(path.to_owned(), result.clone());
        }
        (code, result)
    }
}

/// The address that the names of a collection's objects are added to.
fn addresses(group: &str, plural: &str) -> String {
    match plural {
        "persistentvolumes" => format!("{group}/{plural}/"),
        _ => format!("{group}/namespaces/{NAMESPACE}/{plural}/"),
    }
}

fn list(version: &str, kind: &str, items: Vec<Value>) -> Value {
    json!({"apiVersion": version, "kind": format!("{kind}List"), "metadata": {"resourceVersion": "1"}, "items": items})
}

fn missing() -> (u16, Value) {
    refusal(404, "NotFound", "not found")
}

fn refusal(code: u16, reason: &str, message: &str) -> (u16, Value) {
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code,
        "reason": reason, "message": message});
    (code, status)
}

/// Fields are taken over one by one, lists as a whole where they differ in length, else item by item: what the API server
/// filled in stays.
fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (Value::Array(into), Value::Array(from)) if into.len() == from.len() => {
            into.iter_mut().zip(from).for_each(|(into, from)| merge(into, from));
        }
        (into, from) => *into = from.clone(),
    }
}

fn serve(client: TcpStream, cluster: &Mutex<Cluster>) {
    let mut out = client.try_clone().unwrap();
    let mut reader = BufReader::new(client);
    while let Some(Request { method, target, key, body }) = request(&mut reader) {
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let told: Vec<&str> = query.split('&').filter(|part| !part.is_empty() && !is_detail(part)).collect();
        let note =
            if told.is_empty() { format!("{method} {path}") } else { format!("{method} {path}?{}", told.join("&")) };
        let shared = cluster;
        let mut cluster = lock(shared);
        cluster.requests.push(note.replace(&format!("/namespaces/{NAMESPACE}"), ""));
        if path.ends_with("/portforward") && cluster.forwards {
            drop(cluster);
            forward(out, &key);
            return;
        }
        if path.ends_with("/log") && !cluster.logs.is_empty() {
            drop(cluster);
            let member = path.rsplit('/').nth(1).unwrap_or_default();
            log(&mut out, shared, member, query);
            return;
        }
        let watches = query.contains("watch=true");
        if watches && !cluster.gone {
            let before = cluster.expiries;
            drop(cluster);
            watch(&mut out, &mut reader, shared, before);
            return;
        }
        let (code, text) = if path.ends_with("/log") {
            let member = path.rsplit('/').nth(1).unwrap_or_default();
            (200, format!("2026-11-25T07:40:10.000000000Z LOG:  a word of {member}\n"))
        } else {
            let (code, answer) = if watches { expired() } else { cluster.answer(&method, path, query, &body) };
            (code, answer.to_string())
        };
        drop(cluster);
        let head =
            format!("HTTP/1.1 {code} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", text.len());
        if out.write_all(head.as_bytes()).and_then(|()| out.write_all(text.as_bytes())).is_err() {
            return;
        }
    }
}

/// A watch that says nothing until it has expired, or the client has had enough.
fn watch(out: &mut TcpStream, reader: &mut BufReader<TcpStream>, cluster: &Mutex<Cluster>, before: u32) {
    let head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n";
    let begun = out.write_all(head).and_then(|()| reader.get_ref().set_read_timeout(Some(Duration::from_millis(10))));
    if begun.is_err() {
        return;
    }
    loop {
        match reader.read(&mut [0]) {
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            Ok(_) | Err(_) => return,
        }
        if lock(cluster).expiries != before {
            let event = format!("{}\n", json!({"type": "ERROR", "object": expired().1}));
            let _ = out.write_all(event.as_bytes());
            let _ = out.shutdown(std::net::Shutdown::Both);
            return;
        }
    }
}

fn expired() -> (u16, Value) {
    refusal(410, "Expired", "too old resource version: 1 (2)")
}

/// What only says how long and how much.
fn is_detail(part: &str) -> bool {
    [
        "limit=",
        "timeoutSeconds=",
        "allowWatchBookmarks=",
        "resourceVersion",
        "labelSelector=",
        "fieldSelector=",
        "force=",
    ]
    .iter()
    .any(|detail| part.starts_with(detail))
}

/// PostgreSQL behind a port-forward: it lets everybody in, then repeats what they say.
fn forward(mut out: TcpStream, key: &str) {
    let accept = derive_accept_key(key.as_bytes());
    let head = format!(
        "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: v4.channel.k8s.io\r\n\r\n"
    );
    if out.write_all(head.as_bytes()).is_err() {
        return;
    }
    let mut socket = WebSocket::from_raw_socket(out, Role::Server, None);
    // Each of the two channels begins with the port.
    for channel in [0, 1] {
        let port = [&[channel], &5432_u16.to_le_bytes()[..]].concat();
        let _ = socket.send(Message::Binary(port.into()));
    }
    let mut greeted = false;
    while let Ok(message) = socket.read() {
        let Message::Binary(bytes) = message else { continue };
        // AuthenticationOk, ReadyForQuery.
        let answer = if greeted { bytes.to_vec() } else { b"\0R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I".to_vec() };
        greeted = true;
        if socket.send(Message::Binary(answer.into())).is_err() {
            return;
        }
    }
}

/// A member's log from `sinceTime` on, for as long as somebody follows it.
fn log(out: &mut TcpStream, cluster: &Mutex<Cluster>, member: &str, query: &str) {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n";
    if out.write_all(head.as_bytes()).is_err() {
        return;
    }
    let since = query.split('&').find_map(|part| part.strip_prefix("sinceTime=")).unwrap_or_default();
    let since = since.replace("%3A", ":");
    let since = since.trim_end_matches('Z');
    let mut told = 0;
    loop {
        let known = lock(cluster);
        let lines = known.logs.get(member).cloned().unwrap_or_default();
        let away = known.away;
        drop(known);
        for line in &lines[told..] {
            let chunk = format!("{:x}\r\n{line}\r\n", line.len());
            if line.as_str() >= since && out.write_all(chunk.as_bytes()).is_err() {
                return;
            }
        }
        told = lines.len();
        if !query.contains("follow=true") {
            let _ = out.write_all(b"0\r\n\r\n");
            return;
        }
        if away {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// What somebody asks.
struct Request {
    method: String,
    target: String,
    /// Of a WebSocket.
    key: String,
    body: Value,
}

/// The next request of a connection.
fn request(reader: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (mut length, mut key) = (0, String::new());
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().ok()?,
            "sec-websocket-key" => key = value.trim().to_owned(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    Some(Request { method, target, key, body })
}
