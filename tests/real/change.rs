//! Changing a set: what `diff` foretells and `up` does, a StatefulSet made anew around its members, data that stays where it
//! is.

use std::collections::BTreeMap;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::harness::{ClusterObject, HostDirectory, Namespace, kubectl, wait_for};

/// Which pods there are, and which very ones.
fn pods(space: &Namespace) -> BTreeMap<String, String> {
    let list =
        space.kubectl(&["get", "pods", "-o=jsonpath={range .items[*]}{.metadata.name} {.metadata.uid}{\"\\n\"}{end}"]);
    list.lines().filter_map(|line| line.split_once(' ')).map(|(name, uid)| (name.to_owned(), uid.to_owned())).collect()
}

/// Every object's version: equal when nothing was written. (Not the endpoints', which follow the pods.)
fn versions(space: &Namespace) -> String {
    let form = "-o=jsonpath={range .items[*]}{.kind} {.metadata.name} {.metadata.resourceVersion}{\"\\n\"}{end}";
    space.kubectl(&["get", "statefulsets,services,configmaps,secrets,serviceaccounts,pvc", form])
}

/// The default StorageClass under another name, whose claims may grow.
fn growing_class(name: &str) -> ClusterObject {
    let classes: Value = serde_json::from_str(&kubectl(&["get", "storageclasses", "-o", "json"])).unwrap();
    let is_default =
        |class: &&Value| class["metadata"]["annotations"]["storageclass.kubernetes.io/is-default-class"] == "true";
    let mut class = classes["items"].as_array().unwrap().iter().find(is_default).unwrap().clone();
    class["metadata"] = json!({"name": name});
    class["allowVolumeExpansion"] = true.into();
    ClusterObject::new("storageclass", name, &class.to_string())
}

#[test]
fn diff_foretells_and_a_larger_size_makes_the_statefulset_anew_around_its_members() {
    let space = Namespace::new("diff");
    let made = space.pgset(&["diff", "--replicas", "1", "-o", "json"]).expect(5);
    let created =
        made.json()["objects"].as_array().unwrap().iter().map(|object| object["change"].clone()).collect::<Vec<_>>();
    assert!(created.len() >= 8 && created.iter().all(|change| change == "created"), "{created:?}");
    assert!(space.get("configmap", "pgset-config").is_none());
    space.pgset(&["up"]).expect(0);
    let same = space.pgset(&["diff"]).expect(0);
    assert!(same.stdout.contains("pgset up would change nothing"), "{}", same.stdout);

    let before = versions(&space);
    let rolling = ["--memory", "640Mi", "--set-parameter", "x.password=hunter2"];
    let diff = space.pgset(&[&["diff"], &rolling[..]].concat()).expect(5);
    for words in [
        "+++ up/StatefulSet pgset",
        "-            memory: 512Mi",
        "+            memory: 640Mi",
        "StatefulSet pgset: rolling",
        "restart pgset-1, then pgset-0 (the primary)",
        "x.password = '***'",
    ] {
        assert!(diff.stdout.contains(words), "{words} is not in\n{}", diff.stdout);
    }
    assert!(
        !diff.stdout.contains("hunter2") && !diff.stdout.contains("managedFields") && !diff.stdout.contains("uid:")
    );
    assert!(!diff.stdout.contains('\u{1b}'), "colour without a terminal");
    let coloured = space.pgset(&[&["diff", "--color", "always"], &rolling[..]].concat()).expect(5);
    assert!(coloured.stdout.contains("\u{1b}[32m+"), "{}", coloured.stdout);
    let dry = space.pgset(&[&["up", "--dry-run", "-o", "json"], &rolling[..]].concat()).expect(5);
    let view = dry.json();
    assert_eq!((&view["differs"], &view["rolling"]), (&true.into(), &json!(["pgset-1", "pgset-0"])));
    dry.says(&["nothing was changed"]);
    assert_eq!(versions(&space), before);

    // The default class does not let claims grow, so the limits in PostgreSQL's settings do not either: nothing rolls.
    let larger = ["up", "--size", "2Gi"];
    let foretold = space.pgset(&["diff", "--size", "2Gi"]).expect(5).stdout;
    assert!(foretold.contains("needs recreate") && foretold.contains("stays at 1Gi"), "{foretold}");
    assert!(!foretold.contains("restart "), "{foretold}");
    let (members, set) = (pods(&space), space.get("statefulset", "pgset").unwrap()["metadata"]["uid"].clone());
    space.pgset(&larger).expect(6).says(&[
        "volumeClaimTemplates",
        "nobody can answer",
        "--yes",
        "keep what the set has: --size 1Gi",
    ]);
    assert_eq!(versions(&space), before);
    let up = space.pgset(&[&larger[..], &["--yes"]].concat()).expect(0);
    up.says(&["its members run on", "created StatefulSet pgset anew", "pgdata-pgset-1 stays at 1Gi"]);
    assert_eq!(pods(&space), members, "the members did not run on");
    let anew = space.get("statefulset", "pgset").unwrap();
    assert_ne!(anew["metadata"]["uid"], set);
    assert_eq!(anew["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"], "2Gi");
    space.pgset(&larger).expect(0).says(&["nothing to change"]);
    assert_eq!(pods(&space), members);
}

#[test]
fn claims_grow_where_their_class_lets_them() {
    let space = Namespace::new("grow");
    let class = growing_class(&format!("{}-class", space.name));
    let up = ["up", "--replicas", "1", "--storage-class", class.name()];
    space.pgset(&up).expect(0);
    let larger = [&up[..], &["--size", "2Gi"]].concat();
    let foretold = space.pgset(&[&["diff"], &larger[1..]].concat()).expect(5).stdout;
    assert!(foretold.contains("ask for 2Gi instead of 1Gi for PersistentVolumeClaim pgdata-pgset-0"), "{foretold}");
    space.pgset(&[&larger[..], &["--yes"]].concat()).expect(0).says(&["enlarged PersistentVolumeClaim pgdata-pgset-0"]);
    let claim = space.get("pvc", "pgdata-pgset-0").unwrap();
    assert_eq!(claim["spec"]["resources"]["requests"]["storage"], "2Gi");
    assert_eq!(space.psql("pgset-0", "show max_wal_size"), "256MB", "the limits did not grow with the claim");
    space.pgset(&larger).expect(0).says(&["nothing to change"]);
}

#[test]
fn an_up_killed_after_it_deleted_the_statefulset_is_finished_by_the_next() {
    let space = Namespace::new("anew");
    space.pgset(&["up", "--replicas", "1"]).expect(0);
    space.pgset(&["scale", "2"]).expect(0);
    space.psql("pgset-0", "create table notes as select 1 as n");
    let members = pods(&space);

    // Held there by a finalizer, the StatefulSet cannot go, and pgset waits between deletion and creation.
    let finalizers = |list: &str| {
        let patch = format!("{{\"metadata\":{{\"finalizers\":{list}}}}}");
        space.kubectl(&["patch", "statefulset", "pgset", "--type=merge", "-p", &patch]);
    };
    finalizers(r#"["pgset.test/hold"]"#);
    let mut up = space.command(&["up", "--replicas", "1", "--size", "2Gi", "--yes"]);
    let mut up = up.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for("the StatefulSet is being deleted, without its members", || {
        let set = space.get("statefulset", "pgset").unwrap();
        let orphans = space.get("pod", "pgset-1").unwrap()["metadata"]["ownerReferences"].is_null();
        (set["metadata"]["deletionTimestamp"].is_string() && orphans).then_some(())
    });
    up.kill().unwrap();
    up.wait().unwrap();
    let status = space.pgset(&["up", "--replicas", "1", "--size", "2Gi", "--timeout", "2s"]).expect(4);
    status.says(&["is still being deleted", "pgset.test/hold"]);
    finalizers("[]");
    wait_for("the StatefulSet is gone", || space.get("statefulset", "pgset").is_none().then_some(()));
    assert_eq!(pods(&space), members);

    space.pgset(&["up", "--replicas", "1", "--size", "2Gi"]).expect(0).says(&["keeps the 2 members"]);
    assert_eq!(pods(&space), members, "the members did not run on");
    assert_eq!(space.psql("pgset-1", "select n from notes"), "1");
    let state = space.get("configmap", "pgset-state").unwrap();
    assert!(state["data"]["replicas"].is_null(), "{state}");
}

#[test]
fn up_never_leaves_data_behind_and_down_says_the_way_back() {
    let space = Namespace::new("home");
    let directory = HostDirectory::new("home");
    let storage = ["--storage", "hostpath", "--host-path", directory.as_str()];
    space.pgset(&[&["up", "--replicas", "1"], &storage[..]].concat()).expect(0);
    space.psql("pgset-0", "create table notes as select 1 as n");
    let way = format!("--storage hostpath --host-path {} --layout shared", directory.as_str());
    let before = versions(&space);
    space.pgset(&["up"]).expect(6).says(&["these settings lead elsewhere", &way]);
    assert_eq!(versions(&space), before);

    let down = space.pgset(&["down", "--yes"]).expect(0);
    let back = down.stderr.lines().find_map(|line| line.split_once("everything in it: pgset ")).unwrap().1.to_owned();
    assert!(back.contains(&way) && back.contains("--replicas 1"), "{back}");
    // Nothing of a new, empty set is made beside the old one's claim.
    space.pgset(&["up"]).expect(6).says(&[&way]);
    let elsewhere = ["up", "--storage", "hostpath", "--host-path", "/elsewhere"];
    space.pgset(&elsewhere).expect(6).says(&[&format!("--host-path {}", directory.as_str())]);
    assert!(space.get("statefulset", "pgset").is_none() && space.get("configmap", "pgset-config").is_none());
    let back: Vec<&str> = back.split_whitespace().filter(|word| *word != "-n" && *word != space.name).collect();
    space.pgset(&back).expect(0);
    assert_eq!(space.psql("pgset-0", "select n from notes"), "1");
}
