//! What a person's machine has to do with it: events for programs, hints that can be pasted, psql here, completion.

use serde_json::{Value, json};

use crate::fake::Fake;

fn of_kind<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["event"] == kind).collect()
}

#[test]
fn with_json_stderr_is_one_event_a_line_and_stdout_the_result() {
    let fake = Fake::new();
    let up = fake.pgset(&["up", "--set-parameter", "work_mem=8MB", "-o", "json", "-v"]).expect(0, &[]);
    let result: Value = serde_json::from_str(&up.stdout).unwrap();
    assert_eq!((&result["kind"], &result["outcome"]), (&json!("Result"), &json!("healthy")));
    let events = up.events();
    let phases: Vec<(&str, &str)> = of_kind(&events, "phase")
        .iter()
        .map(|event| (event["member"].as_str().unwrap(), event["phase"].as_str().unwrap()))
        .collect();
    assert_eq!(phases, [("pgset-0", "ready"), ("pgset-1", "ready")]);
    assert!(of_kind(&events, "phase").iter().all(|event| event["waitedMs"].is_u64()), "{events:#?}");
    let notes = of_kind(&events, "note");
    assert!(
        notes.iter().any(|note| note["text"].as_str().unwrap().starts_with("configured ConfigMap pgset-config")),
        "{events:#?}"
    );
    let detail = of_kind(&events, "detail");
    assert!(detail.iter().any(|event| event["text"].as_str().unwrap().starts_with("context fake")), "{events:#?}");
    assert_eq!(of_kind(&events, "error"), [&Value::Null; 0]);

    // The same for people.
    let text = fake.pgset(&["up"]).expect(0, &["pgset-1  ready", "hint: "]);
    assert!(!text.stderr.contains("{\""), "{}", text.stderr);
    let yaml = fake.pgset(&["wait", "-o", "yaml"]).expect(0, &["pgset-1  ready"]);
    assert!(!yaml.stderr.contains("{\""), "{}", yaml.stderr);
}

#[test]
fn with_json_a_finding_what_is_waited_for_and_the_error_are_events() {
    let fake = Fake::new();
    fake.change("pods/pgset-1", |pod| {
        let status = &mut pod["status"]["containerStatuses"][0];
        status["ready"] = false.into();
        status["started"] = false.into();
        status["state"] = json!({"waiting": {"reason": "InvalidImageName",
            "message": "Failed to apply default image tag \"X\": couldn't parse image name"}});
        pod["status"]["conditions"] = json!([]);
    });
    let wait = fake.pgset(&["wait", "-o", "json"]).expect(3, &[]);
    let events = wait.events();
    let found = of_kind(&events, "finding");
    assert_eq!(found.len(), 1, "{events:#?}");
    assert_eq!((&found[0]["code"], &found[0]["severity"]), (&json!("PGS-IMAGE-INVALID"), &json!("fatal")));
    assert_eq!(found[0]["object"], json!({"kind": "Pod", "name": "pgset-1"}));
    assert!(found[0]["fix"][0].as_str().unwrap().contains("pgset up -n rec-healthy --image"), "{:#}", found[0]);
    let error = events.last().unwrap();
    assert_eq!(
        (&error["event"], &error["reason"], &error["exitCode"]),
        (&json!("error"), &json!("unhealthy"), &json!(3))
    );
    assert!(error["message"].as_str().unwrap().contains("pgset in namespace rec-healthy cannot become healthy"));
    assert_eq!(error["hints"], found[0]["fix"]);

    // Quiet, only what went wrong is left.
    let quiet = fake.pgset(&["wait", "-o", "json", "-q"]).expect(3, &[]).events();
    assert_eq!(quiet.iter().map(|event| &event["event"]).collect::<Vec<_>>(), ["error"]);
    let refused = fake.pgset(&["down", "-o", "json"]).expect(6, &[]);
    let events = refused.events();
    let (error, said) = events.split_last().unwrap();
    assert_eq!((&error["event"], &error["reason"]), (&json!("error"), &json!("refused")));
    assert_eq!(error["hints"], json!(["answer beforehand: pgset down --yes"]));
    assert!(said.iter().any(|event| event["text"].as_str().unwrap().starts_with("goes:  ")), "{said:#?}");
}

#[test]
fn with_json_every_commands_failure_is_an_event() {
    let fake = Fake::empty();
    for command in [
        &["status"][..],
        &["wait"],
        &["scale", "3"],
        &["restart"],
        &["stop"],
        &["start"],
        &["verify"],
        &["logs"],
        &["logs", "-f"],
        &["diff", "--nfs-path", "/x", "--storage", "class"],
        &["explain", "no-such-code"],
    ] {
        let told = fake.pgset(&[command, &["-o", "json"]].concat());
        let events = told.events();
        let error = events.last().unwrap_or_else(|| panic!("{command:?} says nothing"));
        assert_eq!(error["event"], "error", "{command:?}: {events:#?}");
        assert_eq!(error["exitCode"], told.code, "{command:?}");
        assert_eq!(told.stdout, "", "{command:?}");
    }
    for command in [&["list"][..], &["down"], &["settings"], &["doctor"]] {
        let told = fake.pgset(&[command, &["-o", "json"]].concat()).expect(0, &[]);
        assert_eq!(of_kind(&told.events(), "error"), [&Value::Null; 0], "{command:?}");
    }
}

/// Every command in a hint or fix of pgset's and kubectl's that asks the cluster, with what stands behind it.
fn commands(text: &str) -> Vec<&str> {
    let local =
        |command: &&str| ["pgset render", "pgset explain", "pgset settings"].iter().all(|l| !command.starts_with(l));
    let shown = ["hint:", "fix:", "base64decode", "pgset up -n"];
    let lines = text.lines().filter(|line| shown.iter().any(|mark| line.contains(mark)));
    lines
        .flat_map(|line| {
            let starts: Vec<usize> = ["pgset ", "kubectl "]
                .iter()
                .flat_map(|program| line.match_indices(program).map(|(at, _)| at))
                .filter(|at| line[..*at].chars().next_back().is_none_or(|c| " `(".contains(c)))
                .collect();
            starts.into_iter().map(|at| &line[at..])
        })
        .filter(local)
        .collect()
}

#[test]
fn every_hint_carries_what_was_given_to_reach_the_set() {
    let broken = Fake::new();
    broken.change("pods/pgset-1", |pod| {
        pod["status"]["conditions"] = json!([]);
        pod["status"]["containerStatuses"][0]["state"] =
            json!({"waiting": {"reason": "InvalidImageName", "message": "couldn't parse"}});
    });
    let (healthy, empty, closed) = (Fake::new(), Fake::empty(), Fake::new());
    closed.deny(&["*"]);
    let no_roles = Fake::new();
    no_roles.change("statefulsets/pgset", |set| set["spec"]["template"]["spec"]["containers"][0]["env"] = json!([]));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap().port().to_string();
    let mut seen = 0;
    for (fake, command, code) in [
        (&healthy, &["up"][..], 0),
        (&healthy, &["dsn"], 0),
        (&healthy, &["down"], 6),
        (&healthy, &["down", "--delete-data"], 6),
        (&healthy, &["scale", "1"], 6),
        (&healthy, &["scale", "3", "--timeout", "1s"], 4),
        (&healthy, &["restart", "--member", "7"], 2),
        (&healthy, &["verify"], 3),
        (&healthy, &["psql", "--replica=0"], 1),
        (&healthy, &["port-forward", &taken], 1),
        (&no_roles, &["dsn"], 1),
        (&no_roles, &["port-forward", "0"], 1),
        (&broken, &["wait"], 3),
        (&broken, &["status"], 3),
        (&broken, &["status", "-o", "json"], 3),
        (&broken, &["doctor"], 3),
        (&broken, &["doctor", "-o", "yaml"], 3),
        (&empty, &["status"], 1),
        (&empty, &["start"], 1),
        (&empty, &["list"], 0),
        (&empty, &["doctor"], 0),
        (&closed, &["list"], 3),
        (&closed, &["status"], 3),
        (&closed, &["up"], 1),
    ] {
        let file = fake.kubeconfig();
        let given = ["--context", "fake", "--kubeconfig", &file, "-n", "rec-healthy", "--as", "eve"];
        let told = fake.pgset(&[command, &given].concat()).expect(code, &[]);
        let there = format!("--context fake --kubeconfig {file} --as eve");
        let text = format!("{}{}", told.stderr, told.stdout).replace("coming up here: ", "hint: ");
        for line in commands(&text) {
            seen += 1;
            assert!(line.contains(&there), "{command:?}: {line}");
            assert!(line.contains(" -n ") || line.ends_with(" -A"), "{command:?}: {line}");
        }
    }
    assert!(seen > 25, "{seen}");
}

/// The DSN as each client takes it, through a port of this machine.
fn local_forms(port: &str, password: Option<&str>) -> [(&'static str, String); 6] {
    let colon = password.map(|word| format!(":{word}")).unwrap_or_default();
    let with = |before: &str, after: &str| password.map(|word| format!("{before}{word}{after}")).unwrap_or_default();
    [
        ("uri", format!("postgresql://testuser{colon}@127.0.0.1:{port}/userdb\n")),
        ("jdbc", format!("jdbc:postgresql://127.0.0.1:{port}/userdb?user=testuser{}\n", with("&password=", ""))),
        ("libpq", format!("host=127.0.0.1 port={port} dbname=userdb user=testuser{}\n", with(" password=", ""))),
        ("go", format!("postgres://testuser{colon}@127.0.0.1:{port}/userdb?sslmode=disable\n")),
        (
            "env",
            format!(
                "export PGHOST=127.0.0.1\nexport PGPORT={port}\nexport PGDATABASE=userdb\nexport PGUSER=testuser\n{}",
                with("export PGPASSWORD=", "\n")
            ),
        ),
        (
            "django",
            format!(
                "DATABASES = {{\n    \"default\": {{\n        \"ENGINE\": \"django.db.backends.postgresql\",\n        \
                 \"HOST\": \"127.0.0.1\",\n        \"PORT\": \"{port}\",\n        \"NAME\": \"userdb\",\n        \
                 \"USER\": \"testuser\",\n{}    }}\n}}\n",
                with("        \"PASSWORD\": \"", "\",\n")
            ),
        ),
    ]
}

#[test]
fn a_dsn_through_a_port_of_this_machine_is_the_same_from_dsn_and_port_forward() {
    let fake = Fake::new();
    for (format, expected) in local_forms("15432", None) {
        let dsn = fake.pgset(&["dsn", "--local", "15432", "--format", format]).expect(0, &["pgset port-forward 15432"]);
        assert_eq!(dsn.stdout, expected);
        assert!(!dsn.requests.iter().any(|request| request.contains("secrets")), "{:#?}", dsn.requests);
    }
    for (format, expected) in local_forms("15432", Some("secret-word")) {
        let dsn = fake.pgset(&["dsn", "--local", "15432", "--format", format, "--show-password"]).expect(0, &[]);
        assert_eq!(dsn.stdout, expected);
        assert!(!dsn.stderr.contains("secret-word"), "{}", dsn.stderr);
    }
    fake.pgset(&["dsn", "--local", "15432", "--replica"]).expect(0, &["pgset port-forward --replica 15432"]);

    for shows in [false, true] {
        for index in 0..6 {
            let format = local_forms("", None)[index].0;
            let command = ["port-forward", "0", "--format", format, "--show-password"];
            let forward = fake.start(&command[..if shows { 5 } else { 4 }]);
            forward.says("listening on 127.0.0.1:");
            let said = forward.stderr();
            let port = said.split("127.0.0.1:").nth(1).unwrap().split(' ').next().unwrap();
            let expected = &local_forms(port, shows.then_some("secret-word"))[index].1;
            forward.says(expected);
            assert_eq!(forward.stdout(), *expected);
            if !shows {
                forward.says(&format!("pgset dsn --local {port} --show-password"));
            }
            assert!(!forward.stderr().contains("secret-word"));
        }
    }
    // Without the right to the Secret there is no DSN with a password, and nothing listens.
    fake.forget("secrets");
    for command in [&["dsn", "--local", "1"][..], &["port-forward", "0"]] {
        let told = fake.pgset(&[command, &["--show-password"]].concat()).expect(1, &["has no password user"]);
        assert_eq!(told.stdout, "");
    }
}

/// A folder with a psql that only says how it was run, and how its surroundings were then.
fn telling_psql() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"#!/bin/sh
for word in "$@"; do echo "argument $word"; done
echo "as $PGUSER to $PGDATABASE on port $PGPORT, PGPASSWORD=${PGPASSWORD-unset} PGSSLMODE=${PGSSLMODE-unset}"
echo "folder $PGHOST $(stat -c %a "$PGHOST") passfile $(stat -c %a "$PGPASSFILE") socket $(stat -c %F "$PGHOST/.s.PGSQL.$PGPORT")"
while read -r line; do echo "known $line"; done < "$PGPASSFILE"
exit 7
"#;
    std::fs::write(folder.path().join("psql"), script).unwrap();
    let runs = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path().join("psql"), runs).unwrap();
    folder
}

#[test]
fn psql_here_has_a_private_socket_and_passfile_no_password_on_its_command_line_and_passes_its_exit_code() {
    let (fake, here) = (Fake::new(), telling_psql());
    let path = format!("{}:/usr/bin:/bin", here.path().display());
    let temporary = tempfile::tempdir().unwrap();
    let surroundings = [
        ("PATH", path.as_str()),
        ("TMPDIR", temporary.path().to_str().unwrap()),
        ("PGPASSWORD", "mine"),
        ("PGSSLMODE", "require"),
    ];
    let psql = |arguments: &[&str]| {
        let told = fake.pgset_with(&[&["psql"], arguments].concat(), &surroundings).expect(7, &[]);
        assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0, "nothing stays behind");
        assert_eq!(told.changes(), [""; 0]);
        told.stdout
    };
    let of_set = psql(&["--", "-c", "select 'a b'"]);
    let folder = of_set.lines().find_map(|line| line.strip_prefix("folder ")?.split(' ').next()).unwrap();
    assert!(folder.starts_with(temporary.path().to_str().unwrap()), "{of_set}");
    let expected = format!(
        "argument -c\nargument select 'a b'\n\
         as testuser to userdb on port 5432, PGPASSWORD=unset PGSSLMODE=unset\n\
         folder {folder} 700 passfile 600 socket socket\n\
         known *:*:*:testuser:secret-word\nknown *:*:*:postgres:secret-word\n"
    );
    assert_eq!(of_set, expected);

    // Of whom the Secret knows nothing, the caller may know it.
    for (arguments, words) in [
        (&["-U", "postgres", "-d", "postgres"][..], "as postgres to postgres on port 5432, PGPASSWORD=unset"),
        (&["-U", "eve"], "as eve to userdb on port 5432, PGPASSWORD=mine"),
        (&["--", "-U", "eve"], "as testuser to userdb on port 5432, PGPASSWORD=mine"),
        (&["-U", "eve", "--", "--username=testuser"], "as eve to userdb on port 5432, PGPASSWORD=unset"),
    ] {
        let told = psql(arguments);
        assert!(told.contains(words), "{arguments:?}: {told}");
        assert!(!told.contains("argument secret-word"), "{told}");
    }
    fake.deny_objects("secrets");
    let told = fake.pgset_with(&["psql"], &surroundings).expect(7, &["so psql uses PGPASSWORD"]);
    assert!(told.stdout.contains("PGPASSWORD=mine") && !told.stdout.contains("known"), "{}", told.stdout);
    let told = fake.pgset_with(&["psql"], &surroundings[..2]).expect(7, &["so psql asks for the password"]);
    assert!(told.stdout.contains("PGPASSWORD=unset"), "{}", told.stdout);
}

#[test]
fn somebody_elses_statefulset_is_looked_at_and_never_changed() {
    let fake = Fake::new();
    fake.change("statefulsets/pgset", |set| {
        set["metadata"]["labels"] = json!({"app": "pgset", "app.kubernetes.io/managed-by": "Helm"});
        set["metadata"]["annotations"] = json!({"meta.helm.sh/release-name": "shop"});
    });
    for command in [
        &["wait", "--unstick"][..],
        &["scale", "5"],
        &["restart"],
        &["restart", "--member", "1"],
        &["stop"],
        &["start"],
    ] {
        let told = fake.pgset(command).expect(6, &["StatefulSet pgset in namespace rec-healthy", "Helm release shop"]);
        assert_eq!(told.changes(), [""; 0], "{command:?}");
    }
    for command in [&["wait"][..], &["status"], &["logs"]] {
        assert_eq!(fake.pgset(command).expect(0, &[]).changes(), [""; 0], "{command:?}");
    }
    // Another set of pgset's that claims the name is no better.
    fake.change("statefulsets/pgset", |set| {
        set["metadata"]["labels"] =
            json!({"app.kubernetes.io/managed-by": "pgset", "app.kubernetes.io/instance": "other"});
    });
    fake.pgset(&["scale", "5"]).expect(6, &["set other of pgset"]);
}

#[test]
fn the_time_of_down_does_not_run_while_its_question_is_open() {
    let fake = Fake::new();
    // A terminal of its own, so that there is somebody to answer.
    let mut script = std::process::Command::new("script");
    let down = format!("{} down --timeout 2s", env!("CARGO_BIN_EXE_pgset"));
    script.args(["-qec", &down, "/dev/null"]).env("KUBECONFIG", fake.kubeconfig()).env("TERM", "dumb");
    let mut down = fake.run(script.stdin(std::process::Stdio::piped()));
    down.says("remove pgset from namespace rec-healthy? [y/N]");
    assert_eq!(fake.requests().iter().filter(|request| request.starts_with("DELETE")).count(), 0);
    // Longer than the time that is given: only its passing can show that it does not count.
    std::thread::sleep(std::time::Duration::from_millis(2500));
    down.answer("y\n");
    assert_eq!(down.ends(), 0, "{}", down.stdout());
    down.says("pgset is gone from namespace rec-healthy");
}

/// What a shell is told about the last of these words.
fn completed(fake: &Fake, words: &[&str]) -> Vec<String> {
    let index = (words.len() - 1).to_string();
    let variables = [("PGSET_COMPLETE", "bash"), ("_CLAP_COMPLETE_INDEX", index.as_str()), ("_CLAP_IFS", "\n")];
    let told = fake.pgset_with(&[&["--"], words].concat(), &variables).expect(0, &[]);
    assert_eq!((told.stderr.as_str(), told.changes()), ("", vec![]), "{words:?}");
    told.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn names_are_completed_from_the_cluster() {
    let fake = Fake::new();
    fake.put(json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "orders",
        "namespace": "rec-healthy", "labels": {"app.kubernetes.io/managed-by": "pgset"}}, "spec": {}}));
    for (words, expected) in [
        (&["pgset", "status", "--name", ""][..], &["orders", "pgset"][..]),
        (&["pgset", "status", "--name", "or"], &["orders"]),
        (&["pgset", "restart", "--member", ""], &["pgset-0", "pgset-1"]),
        (&["pgset", "restart", "--member", "pgset-1"], &["pgset-1"]),
        (&["pgset", "logs", "-n", "rec"], &["rec-healthy"]),
        (&["pgset", "--context", ""], &["fake"]),
        (&["pgset", "status", "--name", "none"], &[]),
    ] {
        // A machine that is busy with other tests may miss the time that is set for names.
        let within = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while completed(&fake, words) != expected {
            let told = completed(&fake, words);
            assert!(std::time::Instant::now() < within, "{words:?}: {told:?}");
        }
    }
    fake.deny(&["*"]);
    assert_eq!(completed(&fake, &["pgset", "status", "--name", ""]), [""; 0]);
}

#[test]
fn a_server_that_says_nothing_does_not_hold_the_shell() {
    // Connections are taken and nothing is said on them for as long as this is there.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    silent.set_nonblocking(true).unwrap();
    let fake = Fake::at(&format!("http://{}", silent.local_addr().unwrap()));
    let within = std::time::Instant::now() + std::time::Duration::from_secs(30);
    for words in
        [&["pgset", "status", "-n", ""][..], &["pgset", "status", "--name", ""], &["pgset", "restart", "--member", ""]]
    {
        let index = (words.len() - 1).to_string();
        // On a busy machine the time that is set may be over before the cluster is asked.
        let client = loop {
            assert!(std::time::Instant::now() < within, "the cluster is not asked for {words:?}");
            let mut asked = fake.command(&[&["--"], words].concat());
            asked.env("PGSET_COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", &index);
            let mut asked = fake.run(&mut asked);
            assert_eq!(asked.ends(), 0);
            assert_eq!((asked.stdout(), asked.stderr()), (String::new(), String::new()));
            if let Ok((client, _)) = silent.accept() {
                break client;
            }
        };
        // It stays open, so that nothing but the shell's own limit has ended the wait.
        drop(client);
    }
}

#[test]
fn logs_are_chosen_by_member_time_number_and_words_and_are_documents_for_machines() {
    let fake = Fake::new();
    for (second, text) in [(1, "LOG:  one"), (3, "ERROR:  two"), (5, "LOG:  three \u{1b}[31m")] {
        fake.log("pgset-0", second, text);
    }
    fake.log("pgset-1", 2, "FATAL:  of the other");
    let logs = |arguments: &[&str]| fake.pgset(&[&["logs"], arguments].concat()).expect(0, &[]);
    let lines = |told: &crate::fake::Told| {
        let documents = told.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        documents
            .map(|line| (line["member"].as_str().unwrap().to_owned(), line["text"].as_str().unwrap().to_owned()))
            .collect::<Vec<_>>()
    };
    let all = logs(&["-o", "json"]);
    let expected = [
        ("pgset-0", "LOG:  one"),
        ("pgset-1", "FATAL:  of the other"),
        ("pgset-0", "ERROR:  two"),
        ("pgset-0", "LOG:  three \u{1b}[31m"),
    ]
    .map(|(member, text)| (member.to_owned(), text.to_owned()));
    assert_eq!(lines(&all), expected);
    let first: Value = serde_json::from_str(all.stdout.lines().next().unwrap()).unwrap();
    assert_eq!(first["time"], "2026-11-25T07:41:01Z");

    assert_eq!(lines(&logs(&["-o", "json", "--grep", "ERROR|FATAL"])), expected[1..3]);
    assert_eq!(logs(&["--grep", "FATAL", "--member", "1"]).stdout, "pgset-1  FATAL:  of the other\n");
    assert_eq!(logs(&["--grep", "nothing like it"]).stdout, "");
    let since = logs(&["--since", "2026-11-25T07:41:03Z", "--tail", "7"]);
    assert_eq!(since.stdout.lines().count(), 2, "{}", since.stdout);
    let asked = |member: &str| {
        let of = |request: &&String| request.contains(&format!("/pods/{member}/log?"));
        since.requests.iter().find(of).unwrap_or_else(|| panic!("{:#?}", since.requests)).clone()
    };
    for member in ["pgset-0", "pgset-1"] {
        let request = asked(member);
        assert!(request.contains("tailLines=7") && request.contains("sinceTime=2026-11-25T07%3A41%3A03Z"), "{request}");
    }
    for (arguments, words) in [
        (&["--since", "yesterday"][..], "--since yesterday: expected a time like 90s"),
        (&["--grep", "("], "--grep is no regular expression"),
    ] {
        assert_eq!(fake.pgset(&[&["logs"], arguments].concat()).expect(2, &[words]).stdout, "");
    }
    fake.pgset(&["logs", "--member", "7"]).expect(1, &["there is no member pgset-7", "there is: pgset-0, pgset-1"]);
}

#[test]
fn a_verification_that_fails_says_so_in_every_form() {
    let fake = Fake::new();
    let json = fake.pgset(&["verify", "-o", "json"]).expect(3, &[]);
    let view: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(
        (&view["apiVersion"], &view["kind"], &view["passed"]),
        (&json!("pgset/v1"), &json!("Verification"), &json!(false))
    );
    let failed = view["checks"].as_array().unwrap().iter().filter(|check| check["outcome"] == "failed").count();
    let error = json.events().pop().unwrap();
    assert!(failed > 0 && error["message"].as_str().unwrap().starts_with(&format!("{failed} of ")), "{error:#}");
    let junit = fake.pgset(&["verify", "-o", "junit"]).expect(3, &["error: ", "hint: see what is wrong: pgset status"]);
    assert!(
        junit.stdout.starts_with("<?xml") && junit.stdout.contains(&format!("failures=\"{failed}\"")),
        "{}",
        junit.stdout
    );
    assert!(junit.stdout.contains("pgset verify: pgset in namespace rec-healthy"), "{}", junit.stdout);
    fake.forget("secrets");
    fake.pgset(&["verify"]).expect(1, &["has no password superuser", "describe secret pgset-passwords"]);
}

#[test]
fn sets_are_listed_in_every_form_and_by_kubernetes_word_where_postgresql_may_not_be_asked() {
    let fake = Fake::new();
    let list = |arguments: &[&str]| fake.pgset(&[&["list"], arguments].concat()).expect(0, &[]).stdout;
    let everywhere = list(&["-A"]);
    assert!(everywhere.starts_with("NAMESPACE") && everywhere.contains("rec-healthy  pgset"), "{everywhere}");
    assert_eq!(list(&["-A", "-o", "name"]), "rec-healthy/pgset\n");
    for probe in [&[][..], &["--probe"]] {
        let json: Value = serde_json::from_str(&list(&[&["-o", "json"], probe].concat())).unwrap();
        let set = &json["items"][0];
        assert_eq!(
            (&set["name"], &set["namespace"], &set["word"]),
            (&json!("pgset"), &json!("rec-healthy"), &json!("kubernetes"))
        );
        let yaml = list(&[&["-o", "yaml"], probe].concat());
        assert_eq!(pgset::yaml::documents(&yaml).unwrap(), [json]);
    }
    fake.forget("statefulsets");
    let none = fake.pgset(&["list"]).expect(0, &["there is no set in namespace rec-healthy", "pgset list -A"]);
    assert_eq!(none.stdout, "");
    let json: Value = serde_json::from_str(&list(&["-o", "json"])).unwrap();
    assert_eq!(json["items"], json!([]));
    fake.deny(&["*"]);
    fake.pgset(&["list", "-A"]).expect(3, &["of all namespaces", "pgset list -n NAMESPACE"]);
}
