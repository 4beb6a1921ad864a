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
        (&closed, &["list"], 1),
        (&closed, &["status"], 1),
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
