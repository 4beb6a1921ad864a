//! Static volumes for years: taken back from claims that are gone, and never somebody else's, on one node's directory.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

use crate::harness::{ClusterObject, HostDirectory, Namespace, kubectl, kubectl_with, wait_for};

/// A set of one member on a directory, shared layout.
fn up(directory: &str) -> [&str; 7] {
    ["up", "--replicas", "1", "--storage", "hostpath", "--host-path", directory]
}

/// Deletes the set's claim as somebody does who reads the 2017 example's cleanup, and waits until its volume is let go.
fn lose_the_claim(space: &Namespace) -> String {
    let volume = space.get("pvc", "pgset-pvc").unwrap()["spec"]["volumeName"].as_str().unwrap().to_owned();
    space.kubectl(&["delete", "pvc", "pgset-pvc"]);
    wait_for("the release", || {
        (kubectl(&["get", "pv", &volume, "-o=jsonpath={.status.phase}"]) == "Released").then_some(())
    });
    volume
}

#[test]
fn a_volume_whose_claim_was_deleted_is_taken_back_after_asking() {
    let space = Namespace::new("retake");
    let directory = HostDirectory::new("retake");
    let up = up(directory.as_str());
    space.pgset(&up).expect(0);
    space.psql("pgset-0", "create table kept as select 7 as row");
    for round in 1..=4 {
        space.pgset(&["down", "--yes"]).expect(0);
        let volume = lose_the_claim(&space);
        // Nobody can be asked here, so it is left as it is, and said.
        let words = [&volume, "is Released", "pgset-pvc, which is gone", "nobody can answer", "--yes"];
        space.pgset(&up).expect(6).says(&words);
        assert!(space.get("statefulset", "pgset").is_none(), "round {round}");
        let planned = space.pgset(&[&up[..], &["--dry-run"]].concat()).expect(5);
        assert!(planned.stdout.contains(&format!("take PersistentVolume {volume} back")), "{}", planned.stdout);
        space.pgset(&[&up[..], &["--yes"]].concat()).expect(0).says(&["took back PersistentVolume", &volume]);
        assert_eq!(space.psql("pgset-0", "select row from kept"), "7", "round {round}");
    }
    space.pgset(&up).expect(0).says(&["nothing to change"]);
}

#[test]
fn a_namespace_that_was_removed_finds_its_data_again() {
    let space = Namespace::new("remade");
    let directory = HostDirectory::new("remade");
    let up = up(directory.as_str());
    space.pgset(&up).expect(0);
    space.psql("pgset-0", "create table kept as select 7 as row");
    let variables = [("PG_ROOT_PASSWORD", "superuser"), ("PG_MASTER_PASSWORD", "replication"), ("PG_PASSWORD", "user")];
    let passwords = variables.map(|(variable, key)| (variable, space.password(key)));
    kubectl(&["delete", "namespace", &space.name]);
    kubectl(&["create", "namespace", &space.name]);
    let mut again = space.command(&[&up[..], &["--yes"]].concat());
    again.envs(passwords);
    crate::harness::Run::of(again.output().unwrap()).expect(0).says(&["took back PersistentVolume"]);
    assert_eq!(space.psql("pgset-0", "select row from kept"), "7");
}

#[test]
fn up_and_down_ten_times_over_is_the_same_data_on_the_same_volumes() {
    let space = Namespace::new("ten");
    let directory = HostDirectory::new("ten");
    let up = up(directory.as_str());
    let volumes = || {
        let names = kubectl(&["get", "pv", "-o=jsonpath={range .items[*]}{.metadata.name}={.metadata.uid} {end}"]);
        let mut ours: Vec<String> =
            names.split_whitespace().filter(|name| name.starts_with(&space.name)).map(str::to_owned).collect();
        ours.sort();
        ours
    };
    space.pgset(&up).expect(0);
    space.psql("pgset-0", "create table rounds (n int)");
    let before = volumes();
    assert_eq!(before.len(), 3, "{before:?}");
    for round in 1..=10 {
        space.psql("pgset-0", &format!("insert into rounds values ({round})"));
        space.pgset(&["down", "--yes"]).expect(0);
        space.pgset(&up).expect(0);
        assert_eq!(space.psql("pgset-0", "select count(*) from rounds"), round.to_string());
        assert_eq!(volumes(), before, "round {round}");
    }
}

#[test]
fn a_volume_that_leads_elsewhere_is_refused_with_both_sides() {
    let space = Namespace::new("elsewhere");
    let first = HostDirectory::new("elsewhere");
    let second = HostDirectory::new("elsewhere-2");
    space.pgset(&up(first.as_str())).expect(0);
    space.pgset(&["down", "--yes"]).expect(0);
    let volume = lose_the_claim(&space);
    let there = format!("leads to {} on the node", first.as_str());
    let here = format!("these settings lead to {} on the node", second.as_str());
    let refused = space.pgset(&[&up(second.as_str())[..], &["--yes"]].concat()).expect(6);
    refused.says(&["PersistentVolume", &there, &here, "kubectl delete pv"]);
    let server = ["up", "--storage", "nfs", "--nfs-server", "10.0.0.5", "--nfs-path", "/pg", "--yes"];
    space.pgset(&server).expect(6).says(&[&there, "these settings lead to 10.0.0.5:/pg"]);
    assert_eq!(kubectl(&["get", "pv", &volume, "-o=jsonpath={.status.phase}"]), "Released");
    assert_eq!(second.entries(), Vec::<String>::new());
}

#[test]
fn a_volume_of_somebody_else_is_never_taken() {
    let space = Namespace::new("theirs");
    let directory = HostDirectory::new("theirs");
    let theirs = |name: &str, labels: &str, claim: &str| {
        format!(
            "apiVersion: v1\nkind: PersistentVolume\nmetadata: {{name: {name}, labels: {{{labels}}}}}\nspec:\n  \
             capacity: {{storage: 5Gi}}\n  accessModes: [ReadWriteMany]\n  storageClassName: ''\n  \
             persistentVolumeReclaimPolicy: Retain\n  hostPath: {{path: {}}}\n  \
             claimRef: {{apiVersion: v1, kind: PersistentVolumeClaim, {claim}, uid: 6a8f1d1c-0000-4000-8000-000000000000}}\n",
            directory.as_str()
        )
    };
    let name = format!("{}.pgset.pv1", space.name);
    let released = || {
        wait_for("the release", || {
            (kubectl(&["get", "pv", &name, "-o=jsonpath={.status.phase}"]) == "Released").then_some(())
        });
    };
    let untouched = |run: crate::harness::Run, words: &[&str]| {
        run.expect(6).says(words);
        let claim = kubectl(&["get", "pv", &name, "-o=jsonpath={.spec.claimRef.uid}"]);
        assert_eq!(claim, "6a8f1d1c-0000-4000-8000-000000000000");
        assert!(space.get("statefulset", "pgset").is_none());
    };
    let up = [&up(directory.as_str())[..], &["--yes"]].concat();
    // Without the set's labels, for a claim of somebody else's.
    let manifest = theirs(&name, "app: shop", "namespace: default, name: of-somebody-else");
    let unlabelled = ClusterObject::new("persistentvolume", &name, &manifest);
    released();
    let words = [&name, "not this set's", "kubectl-client-side-apply", "claimed by default/of-somebody-else"];
    untouched(space.pgset(&up), &words);
    drop(unlabelled);
    wait_for("the volume's end", || kubectl(&["get", "pv", &name, "--ignore-not-found"]).is_empty().then_some(()));
    // With the set's labels, and still of another claim.
    let labels = "app.kubernetes.io/managed-by: pgset, app.kubernetes.io/instance: pgset";
    let manifest = theirs(&name, labels, "namespace: default, name: pgset-pvc");
    let _labelled = ClusterObject::new("persistentvolume", &name, &manifest);
    released();
    let claim = format!("this set's claim is {}/pgset-pvc", space.name);
    untouched(space.pgset(&up), &[&name, "kept for claim default/pgset-pvc", &claim]);
}

#[test]
fn two_sets_on_one_folder_are_refused_unless_each_has_its_own_below() {
    let space = Namespace::new("one-folder");
    let directory = HostDirectory::new("one-folder");
    space.pgset(&up(directory.as_str())).expect(0);
    // The same name elsewhere, another name here, and a way into a member's folder.
    let beside = Namespace::beside(&space, "one-folder-b");
    let owner = format!("set pgset in namespace {}", space.name);
    let same = format!("to the same folder, {} on the node", directory.as_str());
    for run in [
        beside.pgset(&up(directory.as_str())),
        space.pgset(&[&up(directory.as_str())[..], &["--name", "orders"]].concat()),
    ] {
        run.expect(6).says(&[&owner, &same, "would write to each other's data", "--host-path"]);
    }
    let inside = format!("{}/pgset-0/x", directory.as_str());
    beside.pgset(&up(&inside)).expect(6).says(&[&owner, "into the folders of members"]);
    // A volume that pgset did not make.
    let other = HostDirectory::new("one-folder-c");
    let name = format!("{}-by-hand", space.name);
    let manifest = format!(
        "apiVersion: v1\nkind: PersistentVolume\nmetadata: {{name: {name}}}\nspec:\n  capacity: {{storage: 5Gi}}\n  \
         accessModes: [ReadWriteMany]\n  storageClassName: ''\n  hostPath: {{path: {}}}\n",
        other.as_str()
    );
    let _by_hand = ClusterObject::new("persistentvolume", &name, &manifest);
    beside.pgset(&up(other.as_str())).expect(6).says(&[&name, "to the same folder"]);
    assert!(beside.get("statefulset", "pgset").is_none());

    // Who may not list volumes is told what was not looked at.
    let rights = format!("{}-volumes", space.name);
    let rules = format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{name: {rights}}}\nrules:\n\
         - {{apiGroups: [''], resources: [persistentvolumes], verbs: [get, create, patch]}}\n"
    );
    let _role = ClusterObject::new("clusterrole", &rights, &rules);
    let subject = format!("--serviceaccount={}:default", beside.name);
    kubectl(&["create", "clusterrolebinding", &rights, &format!("--clusterrole={rights}"), &subject]);
    beside.kubectl(&["create", "rolebinding", "edit", "--clusterrole=admin", &subject]);
    let user = format!("system:serviceaccount:{}:default", beside.name);
    let unseen = beside.pgset(&[&up(other.as_str())[..], &["--as", &user, "--timeout", "1s"]].concat());
    kubectl(&["delete", "clusterrolebinding", &rights]);
    unseen.expect(4).says(&["failed to list persistentvolumes", "make sure that no other set uses the same folder"]);
    beside.pgset(&["down", "--yes", "--delete-data"]).expect(0);

    let below = directory.path.join("orders");
    fs::create_dir(&below).unwrap();
    fs::set_permissions(&below, fs::Permissions::from_mode(0o700)).unwrap();
    chown(&below, Some(999), Some(999)).unwrap();
    beside.pgset(&up(below.to_str().unwrap())).expect(0);
}

#[test]
fn the_volumes_of_run_sh_are_named_as_what_they_are() {
    let space = Namespace::new("run-sh");
    let directory = HostDirectory::new("run-sh");
    let name = format!("{}.pgset.pv1", space.name);
    let manifest = format!(
        r#"{{"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {{"name": "{name}", "labels": {{"app": "pgset"}}}},
            "spec": {{"capacity": {{"storage": "150M"}}, "accessModes": ["ReadWriteMany"], "hostPath": {{"path": "/nfsfileshare"}}}}}}"#
    );
    kubectl_with(&["create", "-f", "-"], &manifest);
    let run = space.pgset(&up(directory.as_str()));
    kubectl(&["delete", "pv", &name]);
    run.expect(6).says(&[
        &name,
        "field manager kubectl-create",
        "leads to /nfsfileshare on the node",
        directory.as_str(),
    ]);
}

#[test]
fn the_folder_of_another_set_is_refused_and_stays_as_it_is() {
    let (space, folder) = (Namespace::new("folder-own"), HostDirectory::new("folder-own"));
    let (other, stranger) = (Namespace::beside(&space, "folder-other"), HostDirectory::new("folder-other"));
    for (space, folder) in [(&space, &folder), (&other, &stranger)] {
        space.pgset(&up(folder.as_str())).expect(0);
        space.psql("pgset-0", &format!("create table kept as select '{}'::text as row", space.name));
        space.pgset(&["down", "--yes"]).expect(0);
    }
    let (own, aside) = (folder.path.join("pgset-0"), folder.path.join("aside"));
    fs::rename(&own, &aside).unwrap();
    fs::rename(stranger.path.join("pgset-0"), &own).unwrap();
    let words = ["PGS-OTHER-SYSTEM", "is of another database system", "mv pgset-0 pgset-0.aside"];
    space.pgset(&up(folder.as_str())).expect(3).says(&words);

    // Each finds its own again.
    for space in [&space, &other] {
        space.pgset(&["down", "--yes"]).expect(0);
    }
    fs::rename(&own, stranger.path.join("pgset-0")).unwrap();
    fs::rename(&aside, &own).unwrap();
    for (space, folder) in [(&space, &folder), (&other, &stranger)] {
        space.pgset(&up(folder.as_str())).expect(0);
        assert_eq!(space.psql("pgset-0", "select row from kept"), space.name);
    }
}
