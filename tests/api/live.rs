//! Commands that go on, while the API server comes and goes: what they say, what they wait for, and that they end.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::fake::{Fake, Running};

/// Longer than anything here may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Starts `port-forward` on a free port; gives the port as well.
fn port_forward(fake: &Fake, wait: &str) -> (Running, u16) {
    let forward = fake.start(&["port-forward", "0", "--wait", wait]);
    forward.says("listening on 127.0.0.1:");
    let said = forward.stderr();
    let (_, after) = said.split_once("127.0.0.1:").unwrap();
    let port = after.split(' ').next().unwrap().parse().unwrap();
    assert!(forward.stdout().starts_with("postgresql://testuser@127.0.0.1:"), "{}", forward.stdout());
    (forward, port)
}

/// What a client is told that asks for a session: the first message's type and all of it, or as much as comes.
fn session(port: u16) -> (TcpStream, Vec<u8>) {
    let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let body = b"\0\x03\0\0user\0testuser\0\0";
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    client.write_all(&[&length[..], body].concat()).unwrap();
    let mut answer = vec![0; 5];
    client.read_exact(&mut answer).unwrap();
    let length = u32::from_be_bytes([answer[1], answer[2], answer[3], answer[4]]) as usize;
    answer.resize(length + 1, 0);
    client.read_exact(&mut answer[5..]).unwrap();
    (client, answer)
}

/// Asserts that a client is refused in PostgreSQL's own way, with these words.
#[track_caller]
fn is_refused(port: u16, words: &str) {
    let (mut client, answer) = session(port);
    let text = String::from_utf8_lossy(&answer).into_owned();
    assert_eq!(answer[0], b'E', "{text}");
    for word in ["SFATAL\0", "C57P03\0", words] {
        assert!(text.contains(word), "lacks {word:?}: {text:?}");
    }
    // Nothing comes after it, and the connection is closed in order.
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
}

/// Asserts that a client has a session, in which PostgreSQL hears what it says.
#[track_caller]
fn is_led(port: u16) -> TcpStream {
    let (mut client, answer) = session(port);
    assert_eq!(answer[0], b'R', "{:?}", String::from_utf8_lossy(&answer));
    let mut ready = [0; 6];
    client.read_exact(&mut ready).unwrap();
    assert_eq!(&ready, b"Z\0\0\0\x05I");
    client.write_all(b"hello").unwrap();
    let mut heard = [0; 5];
    client.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"hello");
    client
}

/// The endpoints of the primary's Service.
fn lead_to(fake: &Fake, members: &[&str]) {
    fake.change_where(
        |object| object["metadata"]["labels"]["kubernetes.io/service-name"] == "pgset-master",
        |slice| {
            let endpoint = |name: &&str| json!({"addresses": ["10.0.0.1"], "conditions": {"ready": true}, "targetRef": {"kind": "Pod", "name": name}});
            slice["endpoints"] = members.iter().map(endpoint).collect();
        },
    );
}

#[test]
fn without_a_primary_every_connection_waits_a_bounded_time_and_gets_postgresqls_own_refusal() {
    let fake = Fake::new();
    fake.forward();
    lead_to(&fake, &[]);
    let (mut forward, port) = port_forward(&fake, "3s");
    forward.says("nobody at the moment: new connections wait");
    let began = Instant::now();
    let clients: Vec<_> =
        (0..40).map(|_| thread::spawn(move || is_refused(port, "no member is ready (waited 3 s)"))).collect();
    for client in clients {
        client.join().unwrap();
    }
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(3) && took < Duration::from_secs(15), "{took:?}");
    forward.says("a connection waits for the primary of pgset in namespace rec-healthy: no member is ready");
    assert!(forward.goes_on());
}

#[test]
fn one_port_serves_many_sessions_at_once() {
    let fake = Fake::new();
    fake.forward();
    let (mut forward, port) = port_forward(&fake, "20s");
    let clients: Vec<_> = (0..40).map(|_| thread::spawn(move || is_led(port))).collect();
    let sessions: Vec<TcpStream> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    assert_eq!(sessions.len(), 40);
    assert!(forward.goes_on());
}

#[test]
fn a_port_stays_open_while_the_api_server_is_away_and_leads_to_whoever_is_the_primary_then() {
    let fake = Fake::new();
    fake.forward();
    let (mut forward, port) = port_forward(&fake, "20s");
    let mut before = is_led(port);
    fake.leave();
    // It went through the API server: its end is an end, and no silence.
    assert!(!matches!(before.read(&mut [0; 1]), Ok(1..)));
    forward.says("the API server does not answer (");
    forward.says("new connections wait for it");
    let waiting = thread::spawn(move || is_led(port));
    forward.says(
        "a connection waits for the primary of pgset in namespace rec-healthy: pgset-0: the API server does not answer",
    );
    lead_to(&fake, &["pgset-1"]);
    fake.come_back();
    waiting.join().unwrap();
    forward.says("now pgset-1");
    forward.says("the API server answers again");
    is_led(port);
    assert!(forward.goes_on());
    let opened = |member: &str| {
        fake.requests().iter().filter(|request| request.contains(&format!("{member}/portforward"))).count()
    };
    assert!(opened("pgset-0") >= 1 && opened("pgset-1") >= 1, "{:#?}", fake.requests());
}

#[test]
fn a_connection_that_waits_for_the_api_server_is_refused_in_time_as_well() {
    let fake = Fake::new();
    fake.forward();
    let (_forward, port) = port_forward(&fake, "1s");
    fake.leave();
    is_refused(port, "pgset-0: the API server does not answer");
    fake.come_back();
    is_led(port);
}

#[test]
fn a_log_that_is_followed_has_every_line_once_though_the_api_server_goes_and_comes_back() {
    let fake = Fake::new();
    for member in ["pgset-0", "pgset-1"] {
        fake.log(member, 1, &format!("LOG:  first of {member}"));
    }
    let mut logs = fake.start(&["logs", "-f"]);
    logs.says("first of pgset-0");
    logs.says("first of pgset-1");
    for round in 0..2 {
        fake.leave();
        logs.says("the API server does not answer (");
        for member in ["pgset-0", "pgset-1"] {
            // In the second that was read last, after what was read: by its time it is another line.
            fake.log(member, 1 + 20 * round, &format!("LOG:  missed in {round} of {member}"));
        }
        fake.come_back();
        for member in ["pgset-0", "pgset-1"] {
            logs.says(&format!("missed in {round} of {member}"));
        }
        logs.says("the API server answers again");
        for member in ["pgset-0", "pgset-1"] {
            fake.log(member, 21 + 20 * round, &format!("LOG:  heard in {round} of {member}"));
            logs.says(&format!("heard in {round} of {member}"));
        }
    }
    assert!(logs.goes_on());
    let lines: Vec<String> = logs.stdout().lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 10, "{lines:#?}");
    let told = logs.stderr();
    assert!(told.contains("waiting for it") && !told.contains("warning"), "{told}");
}

#[test]
fn a_wait_goes_on_with_what_is_so_once_the_api_server_is_back() {
    let fake = Fake::new();
    ready(&fake, "False");
    let mut wait = fake.start(&["wait"]);
    wait.says("pgset-1");
    fake.leave();
    wait.says("the API server does not answer (");
    assert!(wait.goes_on());
    ready(&fake, "True");
    fake.come_back();
    assert_eq!(wait.ends(), 0, "{}", wait.stderr());
    wait.says("the API server answers again");
    wait.says("is healthy");
}

/// Whether the replica is ready.
fn ready(fake: &Fake, status: &'static str) {
    fake.change("pods/pgset-1", |pod| {
        let conditions = pod["status"]["conditions"].as_array_mut().unwrap();
        let ready = conditions.iter_mut().find(|condition| condition["type"] == "Ready").unwrap();
        ready["status"] = status.into();
    });
}

#[test]
fn a_watch_that_has_expired_goes_on_with_what_is_so_by_then() {
    let fake = Fake::new();
    ready(&fake, "False");
    let mut wait = fake.start(&["wait"]);
    wait.says("pgset-1");
    let watches = || fake.requests().iter().filter(|request| request.ends_with("?watch=true")).count();
    let began = Instant::now();
    while watches() < 5 {
        assert!(began.elapsed() < PATIENCE && wait.goes_on(), "{}", wait.stderr());
        thread::sleep(Duration::from_millis(10));
    }
    ready(&fake, "True");
    fake.expire();
    assert_eq!(wait.ends(), 0, "{}", wait.stderr());
    wait.says("is healthy");
    // It is the API server's everyday business, and nothing to tell.
    assert!(!wait.stderr().contains("does not answer"), "{}", wait.stderr());
}

#[test]
fn where_every_watch_has_expired_before_it_begins_the_set_is_listed_again_and_not_all_the_time() {
    let fake = Fake::new();
    fake.let_no_watch_begin();
    ready(&fake, "False");
    let mut wait = fake.start(&["wait"]);
    wait.says("pgset-1");
    let lists = || fake.requests().iter().filter(|request| *request == "GET /api/v1/pods").count();
    let before = lists();
    let began = Instant::now();
    while lists() < before + 3 {
        assert!(began.elapsed() < PATIENCE && wait.goes_on(), "{}", wait.stderr());
        thread::sleep(Duration::from_millis(10));
    }
    ready(&fake, "True");
    assert_eq!(wait.ends(), 0, "{}", wait.stderr());
    assert!(!wait.stderr().contains("does not answer"), "{}", wait.stderr());
    // Five kinds, each listed and watched a handful of times, with ever longer pauses.
    assert!(fake.requests().len() < 150, "{} requests", fake.requests().len());
}

#[test]
fn a_wait_that_is_over_while_the_api_server_is_away_says_so_in_time() {
    let fake = Fake::new();
    fake.change("pods/pgset-1", |pod| pod["status"]["conditions"] = json!([]));
    let mut wait = fake.start(&["wait", "--timeout", "4s"]);
    wait.says("pgset-1");
    fake.leave();
    assert_eq!(wait.ends(), 4, "{}", wait.stderr());
    wait.says("the API server does not answer (");
    wait.says("is not healthy after 4");
}
