//! What each command asks of the API server and changes there, against the fake one. Its user may do everything but reach into
//! pods, so these are also the ways of a user without that right.

use serde_json::{Value, json};

use crate::fake::{self, Fake};

const NOTES: &str = "PATCH /api/v1/configmaps/pgset-state?fieldManager=pgset";
const SCALE: &str = "PATCH /apis/apps/v1/statefulsets/pgset/scale?fieldManager=pgset-live";

#[test]
fn commands_that_only_look_change_nothing_and_ask_for_each_thing_once() {
    let fake = Fake::new();
    for (arguments, code, words, requests) in [
        (&["list"][..], 0, &["pgset  2/2      pgset-0  ready"][..], 4),
        (&["list", "-o", "name"], 0, &["pgset\n"], 4),
        (&["status"], 0, &["Kubernetes' word only", "pgset-replica  pgset-1"], 7),
        (&["dsn"], 0, &["postgresql://testuser@pgset-master.rec-healthy.svc:5432/userdb"], 1),
        (
            &["dsn", "--any", "--show-password"],
            0,
            &["testuser:secret-word@pgset-0.pgset", "target_session_attrs=read-write"],
            2,
        ),
        (&["logs"], 0, &["pgset-0  LOG:  a word of pgset-0", "pgset-1  LOG:  a word of pgset-1"], 3),
        (&["logs", "--member", "1", "--previous"], 0, &["a word of pgset-1"], 2),
        (&["verify"], 3, &["pgset-0 does not answer", "cannot reach into it", "checks failed"], 7),
    ] {
        let told = fake.pgset(arguments).expect(code, words);
        assert_eq!(told.changes(), [""; 0], "{arguments:?}");
        assert_eq!(told.requests.len(), requests, "{arguments:?}: {:#?}", told.requests);
    }
    let previous = fake.pgset(&["logs", "--member", "1", "--previous"]);
    let log = "GET /api/v1/pods/pgset-1/log?container=pgset&previous=true&timestamps=true";
    assert!(previous.requests.iter().any(|request| request == log), "{:#?}", previous.requests);
}

#[test]
fn a_difference_is_found_by_dry_runs_alone() {
    let fake = Fake::new();
    for command in [&["diff"][..], &["up", "--dry-run"]] {
        let same = fake.pgset(command).expect(0, &["would change nothing"]);
        assert_eq!(same.changes(), [""; 0]);
        let other = fake.pgset(&[command, &["--set-parameter", "work_mem=8MB"]].concat());
        let words = ["+    work_mem = '8MB'", "restart pgset-1, then pgset-0 (the primary)"];
        let other = other.expect(5, &words);
        assert_eq!(other.changes(), [""; 0]);
    }
    // As it would be without the namespace's set: all of it is tried, nothing is made.
    fake.pgset(&["down", "--yes"]).expect(0, &[]);
    let anew = fake.pgset(&["up", "--dry-run"]).expect(5, &["create"]);
    assert_eq!(anew.changes(), [""; 0]);
}

#[test]
fn storage_classes_are_listed_once_where_several_things_depend_on_them() {
    let fake = Fake::new();
    // The claims name a class, the settings none, and they are smaller than wanted: three reasons to know.
    for command in [&["diff", "--size", "2Gi"][..], &["up", "--dry-run", "--size", "2Gi"]] {
        let told = fake.pgset(command);
        let lists = told.requests.iter().filter(|request| request.ends_with("/storageclasses")).count();
        assert_eq!(lists, 1, "{command:?}: {:#?}", told.requests);
        told.expect(5, &["pgdata-pgset-0 stays at 1Gi", "does not allow expansion"]);
    }
}

#[test]
fn up_on_a_healthy_set_writes_nothing_and_a_change_is_applied_once() {
    let fake = Fake::new();
    assert_eq!(fake.pgset(&["up"]).expect(0, &["nothing to change"]).changes(), [""; 0]);
    let changed =
        fake.pgset(&["up", "--set-parameter", "work_mem=8MB"]).expect(0, &["configured ConfigMap pgset-config"]);
    let expected = [
        "PATCH /api/v1/configmaps/pgset-config?fieldManager=pgset",
        // Last, since its pods need the rest.
        "PATCH /apis/apps/v1/statefulsets/pgset?fieldManager=pgset",
    ];
    assert_eq!(changed.changes(), expected);
}

#[test]
fn scaling_touches_the_number_of_members_and_never_without_postgresqls_word_downwards() {
    let fake = Fake::new();
    let same = fake.pgset(&["scale", "2"]).expect(0, &["has 2 members already"]);
    assert_eq!(same.changes(), [""; 0]);
    let down = fake.pgset(&["scale", "1"]).expect(6, &["needs PostgreSQL's word on who is primary"]);
    assert_eq!(down.changes(), [""; 0]);
    let up = fake.pgset(&["scale", "3", "--timeout", "1s"]).expect(4, &["from 2 to 3", "pgset-2 does not exist yet"]);
    assert_eq!(up.changes(), [SCALE]);
}

#[test]
fn a_restart_deletes_one_pod_and_all_of_them_only_by_postgresqls_word() {
    let fake = Fake::new();
    let all = fake.pgset(&["restart"]).expect(6, &["needs PostgreSQL's word on who is primary"]);
    assert_eq!(all.changes(), [""; 0]);
    fake.pgset(&["restart", "--member", "7"]).expect(2, &["has no member 7", "it has pgset-0 and pgset-1"]);
    let one = fake.pgset(&["restart", "--member", "1", "--timeout", "1s"]).expect(4, &["restarting pgset-1"]);
    assert_eq!(one.changes(), ["DELETE /api/v1/pods/pgset-1"]);
}

#[test]
fn a_promotion_is_refused_before_anything_is_changed() {
    let fake = Fake::new();
    let refuse = |arguments: &[&str], code: i32, words: &[&str]| {
        let told = fake.pgset(&[&["promote", "--yes"], arguments].concat()).expect(code, words);
        assert_eq!(told.changes(), [""; 0], "{arguments:?}");
    };
    refuse(&["2"], 2, &["has no member 2", "it has pgset-0 and pgset-1"]);
    refuse(&["orders-0"], 2, &["has no member orders-0"]);
    refuse(&["1"], 6, &["needs PostgreSQL's word", "pods/portforward"]);
    fake.deny(&["patch services", "create pods"]);
    let rights = ["create pods/exec in namespace rec-healthy", "create pods/portforward", "patch services"];
    refuse(&["1"], 1, &rights);
    fake.deny(&[]);
    fake.change("services/pgset-master", |service| service["spec"]["selector"] = serde_json::json!({"name": "x"}));
    refuse(&["1"], 6, &["Service pgset-master does not select a member by its name"]);
    fake.change("statefulsets/pgset", |set| set["spec"]["replicas"] = 1.into());
    refuse(&[], 6, &["no replica to promote", "pgset scale 2"]);
    fake.change("statefulsets/pgset", |set| set["spec"]["replicas"] = 0.into());
    refuse(&[], 6, &["is stopped", "pgset start"]);
    fake.change("statefulsets/pgset", |set| {
        let env = &mut set["spec"]["template"]["spec"]["containers"][0]["env"];
        env.as_array_mut().unwrap().push(serde_json::json!({"name": "PG_MODE", "value": "set"}));
    });
    refuse(&["1"], 6, &["runs a Crunchy image", "two primaries", "pgset restart"]);
    fake.change("statefulsets/pgset", |set| set["metadata"]["labels"] = serde_json::json!({"app": "pgset"}));
    refuse(&["1"], 6, &["StatefulSet pgset in namespace rec-healthy is not this set's"]);
    fake.forget("statefulsets");
    refuse(&[], 1, &["there is no set pgset"]);
}

#[test]
fn stopping_notes_how_many_there_were_and_starting_brings_them_back() {
    let fake = Fake::new();
    let running = fake.pgset(&["start"]).expect(0, &["is not stopped"]);
    assert_eq!(running.changes(), [""; 0]);
    // The fake cluster has no controller that would remove the pods.
    let stop = fake
        .pgset(&["stop", "--timeout", "1s"])
        .expect(4, &["stopping pgset-0 and pgset-1", "pgset stop --timeout 1h"]);
    assert_eq!(stop.changes(), [NOTES, SCALE]);
    fake.pgset(&["scale", "2"]).expect(6, &["is stopped", "pgset start"]);
    let start = fake.pgset(&["start"]).expect(0, &["started pgset with 2 members"]);
    assert_eq!(start.changes(), [SCALE, NOTES]);
}

#[test]
fn down_asks_first_deletes_in_an_order_that_ends_and_keeps_the_data() {
    let fake = Fake::new();
    let asked = fake.pgset(&["down"]).expect(6, &["--yes"]);
    assert_eq!(asked.changes(), [""; 0]);
    let down = fake.pgset(&["down", "--yes"]).expect(0, &["pgdata-pgset-0", "pgset up"]);
    let changes = down.changes();
    assert_eq!(changes.first(), Some(&"DELETE /apis/apps/v1/statefulsets/pgset"));
    let kept = |request: &&&str| request.contains("persistentvolumeclaims") || request.contains("secrets");
    assert_eq!(changes.iter().find(kept), None, "{changes:#?}");
    for service in ["pgset", "pgset-master", "pgset-replica"] {
        let delete = format!("DELETE /api/v1/services/{service}");
        assert!(changes.contains(&delete.as_str()), "{changes:#?}");
    }
    fake.pgset(&["down", "--yes"]).expect(0, &["pgdata-pgset-0"]);
}

#[test]
fn somebody_elses_objects_are_refused_and_left() {
    let fake = Fake::new();
    fake.change("services/pgset-master", |service| {
        service["metadata"]["labels"] = serde_json::json!({"app.kubernetes.io/managed-by": "Helm"});
    });
    let up = fake.pgset(&["up", "--set-parameter", "work_mem=8MB"]).expect(6, &["Service pgset-master", "Helm"]);
    assert_eq!(up.changes(), [""; 0]);
    let down = fake.pgset(&["down", "--yes"]).expect(0, &["Service pgset-master", "belongs to Helm", "stays"]);
    assert!(!down.changes().contains(&"DELETE /api/v1/services/pgset-master"), "{:#?}", down.changes());
}

#[test]
fn psql_in_the_member_needs_the_right_to_get_there() {
    let fake = Fake::new();
    let psql = fake.pgset(&["psql", "--", "-c", "select 1"]).expect(3, &["cannot reach into it"]);
    assert_eq!(psql.changes(), [""; 0]);
    let exec = psql.requests.iter().find(|request| request.contains("/exec?")).unwrap();
    // To the member that the Service of the primary leads to, and no password on a command line.
    assert!(exec.starts_with("GET /api/v1/pods/pgset-0/exec?"), "{exec}");
    assert!(!exec.contains("secret-word"), "{exec}");
}

#[test]
fn doctor_says_whether_up_would_work_and_so_does_its_exit_code() {
    let fake = Fake::empty();
    let doctor = fake.pgset(&["doctor"]).expect(0, &["there is no set pgset", "nothing keeps a set from coming up"]);
    assert_eq!(doctor.changes(), [""; 0]);

    fake.deny(&["create statefulsets", "patch configmaps"]);
    let list = ["you may not create statefulsets.apps in namespace", "you may not patch configmaps in namespace"];
    let words =
        [&list[..], &["ask whoever runs the cluster", "pgset in namespace rec-healthy would not come up"]].concat();
    let doctor = fake.pgset(&["doctor"]).expect(3, &words);
    assert!(!doctor.stdout.contains("nothing keeps"), "{}", doctor.stdout);
    for format in ["json", "yaml"] {
        let doctor = fake.pgset(&["doctor", "-o", format]).expect(3, &list);
        assert_eq!(doctor.changes(), [""; 0]);
    }
    let json: Value = serde_json::from_str(&fake.pgset(&["doctor", "-o", "json"]).stdout).unwrap();
    assert_eq!((json["status"].is_null(), json["problems"].as_array().unwrap().len()), (true, 2), "{json:#}");

    // Who may not even look is told all of it as well.
    fake.deny(&["*"]);
    fake.pgset(&["doctor"]).expect(3, &["you may not list statefulsets.apps", "you may not watch pods"]);
}

#[test]
fn doctor_of_a_set_says_which_rights_its_commands_would_need() {
    let fake = Fake::new();
    let doctor = fake.pgset(&["doctor"]).expect(0, &["you may do everything that pgset does with a set"]);
    assert_eq!(doctor.changes(), [""; 0]);
    fake.deny(&["delete pods"]);
    fake.pgset(&["doctor"])
        .expect(3, &["you may not delete pods in namespace rec-healthy", "is healthy, but you lack rights"]);
}

/// A volume of the recorded set's that is kept for a claim that is gone.
fn released(labels: &serde_json::Value, path: &str) -> serde_json::Value {
    serde_json::json!({"apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {"name": "rec-healthy.pgset.pv1", "labels": labels}, "status": {"phase": "Released"},
        "spec": {"hostPath": {"path": path, "type": "Directory"}, "claimRef": {"apiVersion": "v1",
            "kind": "PersistentVolumeClaim", "namespace": "rec-healthy", "name": "pgset-pvc", "uid": "of-old"}}})
}

#[test]
fn a_released_volume_is_asked_for_first_and_let_go_before_anything_else() {
    let fake = Fake::new();
    fake.pgset(&["down", "--yes"]).expect(0, &[]);
    fake.forget("persistentvolumeclaims");
    let labels = serde_json::json!({"app.kubernetes.io/managed-by": "pgset", "app.kubernetes.io/instance": "pgset"});
    fake.put(released(&labels, "/srv/pg"));
    let up = ["up", "--storage", "hostpath", "--host-path", "/srv/pg"];
    let asked = fake.pgset(&up).expect(6, &["pv1 is Released", "rec-healthy/pgset-pvc, which is gone", "--yes"]);
    assert_eq!(asked.changes(), [""; 0]);
    let tried = fake.pgset(&[&up[..], &["--dry-run"]].concat());
    let tried = tried.expect(5, &["take PersistentVolume rec-healthy.pgset.pv1 back from claim rec-healthy/pgset-pvc"]);
    assert_eq!(tried.changes(), [""; 0]);
    let other = fake.pgset(&["up", "--yes", "--storage", "hostpath", "--host-path", "/elsewhere"]);
    let other = other.expect(6, &["leads to /srv/pg on the node", "lead to /elsewhere on the node"]);
    assert_eq!(other.changes(), [""; 0]);
    let taken = fake.pgset(&[&up[..], &["--yes", "--timeout", "1s"]].concat());
    let taken = taken.expect(4, &["took back PersistentVolume rec-healthy.pgset.pv1 for rec-healthy/pgset-pvc"]);
    let first = "PATCH /api/v1/persistentvolumes/rec-healthy.pgset.pv1?fieldManager=pgset-live";
    assert_eq!(taken.changes().first(), Some(&first), "{:#?}", taken.changes());
}

#[test]
fn another_sets_folder_and_a_volume_of_somebody_else_are_refused_before_anything_is_made() {
    let fake = Fake::new();
    fake.pgset(&["down", "--yes"]).expect(0, &[]);
    fake.forget("persistentvolumeclaims");
    let up = ["up", "--yes", "--storage", "hostpath", "--host-path", "/srv/pg"];
    let mut theirs = released(&serde_json::json!({}), "/srv/pg");
    fake.put(theirs.clone());
    let foreign = fake.pgset(&up).expect(6, &["is not this set's", "claimed by rec-healthy/pgset-pvc"]);
    assert_eq!(foreign.changes(), [""; 0]);
    fake.forget("persistentvolumes");
    theirs["metadata"]["name"] = "by-hand".into();
    fake.put(theirs);
    let shared = fake.pgset(&up).expect(6, &["by-hand leads claim rec-healthy/pgset-pvc to the same folder, /srv/pg"]);
    assert_eq!(shared.changes(), [""; 0]);
    let below = fake.pgset(&["up", "--dry-run", "--storage", "hostpath", "--host-path", "/srv/pg/pgset"]);
    assert_eq!(below.expect(5, &["create"]).changes(), [""; 0]);
}

/// A checkout of 1.2.8 whose StatefulSet takes the superuser's password from a Secret.
fn checkout_with_secret(folder: &std::path::Path) {
    let from = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/checkout-1.2.8/.");
    assert!(std::process::Command::new("cp").arg("-r").arg(from).arg(folder).status().unwrap().success());
    for file in ["set.json", "set.json.dynamic"] {
        let path = folder.join("examples/kube/statefulset").join(file);
        let mut set: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let env = set["spec"]["template"]["spec"]["containers"][0]["env"].as_array_mut().unwrap();
        let root = env.iter_mut().find(|variable| variable["name"] == "PG_ROOT_PASSWORD").unwrap();
        *root = json!({"name": "PG_ROOT_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "mine", "key": "root"}}});
        std::fs::write(path, set.to_string()).unwrap();
    }
}

#[test]
fn a_password_that_a_checkout_takes_from_a_secret_is_that_ones() {
    let fake = Fake::empty();
    let folder = tempfile::tempdir().unwrap();
    checkout_with_secret(folder.path());
    let base = folder.path().to_str().unwrap();
    let up = ["diff", "--buildbase", base, "--ccp-image-tag", "centos7-9.6-1.2.8", "--storage", "class", "-v"];
    let says = ["takes the password superuser from Secret mine", "there is none", "export PG_ROOT_PASSWORD=…"];
    let missing = fake.pgset(&up).expect(1, &says);
    assert_eq!(missing.changes(), [""; 0]);
    let secret = |data: Value| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mine", "namespace": fake::NAMESPACE}, "data": data});
    fake.put(secret(json!({"other": "eA=="})));
    fake.pgset(&up).expect(1, &["has no key root"]);
    // `a b`: the image's scripts would take it apart.
    fake.put(secret(json!({"root": "YSBi"})));
    fake.pgset(&up).expect(1, &["its key root will not do"]);
    fake.put(secret(json!({"root": "b3duLXBhc3N3b3Jk"})));
    fake.pgset(&up).expect(5, &[]);
    let given = fake.pgset_with(&up, &[("PG_ROOT_PASSWORD", "another")]);
    assert_eq!(given.code, 5, "{}", given.stderr);
    assert!(!given.requests.iter().any(|request| request.contains("secrets/mine")), "{:?}", given.requests);
}
