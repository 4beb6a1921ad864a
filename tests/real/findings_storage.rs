//! Storage that cannot be had: claims that do not bind, volumes that are gone, full or somebody else's.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::faults::{gives_up, hopeless};
use crate::harness::{ClusterObject, HostDirectory, Namespace, Run, cluster_is_ours, kubectl, kubectl_with, wait_for};

/// What kubectl is given when somebody goes around pgset's preflight.
fn applied(space: &Namespace, options: &[&str]) {
    let rendered = space.pgset(&[&["render"], options].concat()).expect(0);
    kubectl_with(&["--namespace", &space.name, "apply", "-f", "-"], &rendered.stdout);
}

#[test]
fn claims_without_their_volumes() {
    let space = Namespace::new("volumes");
    let directory = HostDirectory::new("volumes");
    let up =
        ["up", "--replicas", "1", "--layout", "per-pod", "--storage", "hostpath", "--host-path", directory.as_str()];
    space.pgset(&up).expect(0);
    space.psql("pgset-0", "create table kept as select 1 as row");

    // More members than volumes: a claim of no class, for which there is nothing.
    let volumes = kubectl(&["get", "pv", "-o", "name"]).lines().filter(|name| name.contains(&space.name)).count();
    let members = format!("--replicas={}", volumes + 1);
    let claim = format!("pgdata-pgset-{volumes}");
    space.kubectl(&["scale", "statefulset", "pgset", &members]);
    let about = format!("PersistentVolumeClaim {claim}");
    let words = [&about, "no PersistentVolume fits the claim; the nearest", "kubectl get pv"];
    gives_up(&space, &["wait"], "PGS-NO-VOLUME", &words);
    // Volumes made for it, but too small, or with the wrong access mode or class: what each lacks is said.
    let size =
        space.get("pvc", &claim).unwrap()["spec"]["resources"]["requests"]["storage"].as_str().unwrap().to_owned();
    for (capacity, mode, class, lacks) in [
        ("1Mi", "ReadWriteOnce", "", format!("it has 1Mi, the claim asks for {size}")),
        (size.as_str(), "ReadOnlyMany", "", "it allows ReadOnlyMany, the claim asks for ReadWriteOnce".to_owned()),
        // Too small as well: a volume that is made for a claim is bound to it whatever its class is.
        (
            "1Mi",
            "ReadWriteOnce",
            "gold",
            format!("its class is gold, the claim asks for none; it has 1Mi, the claim asks for {size}"),
        ),
    ] {
        let name = format!("{}-wrong", space.name);
        let manifest = format!(
            "apiVersion: v1\nkind: PersistentVolume\nmetadata: {{name: {name}}}\nspec:\n  capacity: {{storage: {capacity}}}\n  \
             accessModes: [{mode}]\n  storageClassName: '{class}'\n  hostPath: {{path: {path}}}\n  \
             claimRef: {{apiVersion: v1, kind: PersistentVolumeClaim, namespace: {space}, name: {claim}}}\n",
            path = directory.as_str(),
            space = space.name,
        );
        let volume = ClusterObject::new("persistentvolume", &name, &manifest);
        let run = space.pgset(&["status"]).expect(3);
        assert!(run.stdout.contains(&format!("the nearest, {name}: {lacks}")), "{lacks}: {}", run.stdout);
        drop(volume);
        wait_for("the end of the volume", || {
            kubectl(&["get", "pv", &name, "--ignore-not-found"]).is_empty().then_some(())
        });
    }
    space.kubectl(&["scale", "statefulset", "pgset", "--replicas=1"]);
    space.pgset(&["wait"]).expect(0);

    // A claim that somebody deleted stays while its pod runs; that pod is named, and what to do first.
    let volume = space.get("pvc", "pgdata-pgset-0").unwrap()["spec"]["volumeName"].as_str().unwrap().to_owned();
    space.kubectl(&["delete", "pvc", "pgdata-pgset-0", "--wait=false"]);
    let run = space.pgset(&["status"]).expect(0);
    for words in
        ["PGS-CLAIM-TERMINATING", "only pgset-0 still holds it", &format!("kubectl patch pv {volume}"), "Retain"]
    {
        assert!(run.stdout.contains(words), "{words}: {}", run.stdout);
    }
    // It goes with the pod; the claim that follows does not get the volume, which is kept for the one before.
    space.kubectl(&["delete", "pod", "pgset-0"]);
    let run = gives_up(&space, &["wait"], "PGS-VOLUME-RELEASED", &[&volume, "is Released", "kubectl patch pv"]);
    let patch =
        run.stderr.lines().find_map(|line| line.split_once("--type=json -p '")).unwrap().1.trim_end_matches('\'');
    kubectl(&["patch", "pv", &volume, "--type=json", "-p", patch]);
    space.pgset(&["wait"]).expect(0);
    assert_eq!(space.psql("pgset-0", "select row from kept"), "1");

    // A volume that was deleted under its claim. Its finalizer is in the way of that, as long as nobody forces it.
    kubectl(&["delete", "pv", &volume, "--wait=false"]);
    kubectl(&["patch", "pv", &volume, "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#]);
    wait_for("the loss", || space.get("pvc", "pgdata-pgset-0").filter(|claim| claim["status"]["phase"] == "Lost"));
    space.kubectl(&["delete", "pod", "pgset-0"]);
    let gone = format!("the claim's PersistentVolume {volume} is gone");
    gives_up(&space, &["wait"], "PGS-CLAIM-LOST", &["PersistentVolumeClaim pgdata-pgset-0", &gone, "restore"]);
}

#[test]
fn classes_that_are_not_there_and_volumes_of_somebody_else() {
    let space = Namespace::new("classes");
    applied(&space, &["--storage-class", "no-such-class"]);
    let words =
        ["PersistentVolumeClaim pgdata-pgset-0", "StorageClass no-such-class does not exist", "there is local-path"];
    gives_up(&space, &["wait"], "PGS-CLASS-MISSING", &words);

    // The claim names a volume that another claim has.
    let taken = Namespace::beside(&space, "taken");
    let directory = HostDirectory::new("taken");
    let rendered =
        taken.pgset(&["render", "--storage", "hostpath", "--host-path", directory.as_str()]).expect(0).stdout;
    let name = format!("{}-theirs", taken.name);
    let theirs = format!(
        "apiVersion: v1\nkind: PersistentVolume\nmetadata: {{name: {name}}}\nspec:\n  capacity: {{storage: 50Gi}}\n  \
         accessModes: [ReadWriteMany, ReadWriteOnce]\n  storageClassName: ''\n  hostPath: {{path: {path}}}\n  \
         claimRef: {{apiVersion: v1, kind: PersistentVolumeClaim, namespace: default, name: of-somebody-else}}\n",
        path = directory.as_str(),
    );
    let _theirs = ClusterObject::new("persistentvolume", &name, &theirs);
    let claim = "\nkind: PersistentVolumeClaim\n";
    let (before, of_claim) = rendered.split_once(claim).unwrap();
    let named = of_claim.replacen("\nspec:\n", &format!("\nspec:\n  volumeName: {name}\n"), 1);
    let without_volumes = format!("{before}{claim}{named}");
    let documents = without_volumes.split("\n---\n").filter(|one| !one.contains("kind: PersistentVolume\n"));
    kubectl_with(&["--namespace", &taken.name, "apply", "-f", "-"], &documents.collect::<Vec<_>>().join("\n---\n"));
    let words = [&name, "is claimed by default/of-somebody-else", "kubectl -n default get pvc of-somebody-else"];
    gives_up(&taken, &["wait"], "PGS-VOLUME-TAKEN", &words);
}

/// Makes the class the default again, also after a test that fails.
struct DefaultClass;
impl DefaultClass {
    fn is(value: &str) {
        let annotation = format!("storageclass.kubernetes.io/is-default-class={value}");
        kubectl(&["annotate", "--overwrite", "storageclass", "local-path", &annotation]);
    }
}
impl Drop for DefaultClass {
    fn drop(&mut self) {
        Self::is("true");
    }
}

#[test]
fn a_cluster_without_a_default_class() {
    if !cluster_is_ours() {
        return;
    }
    let space = Namespace::alone("no-default");
    DefaultClass::is("false");
    let default = DefaultClass;
    space.pgset(&["up"]).expect(1).says(&["the cluster has no default StorageClass", "--storage-class"]);
    applied(&space, &[]);
    let words =
        ["PersistentVolumeClaim pgdata-pgset-0", "no default StorageClass", "there is local-path", "--storage-class"];
    gives_up(&space, &["wait"], "PGS-NO-DEFAULT-CLASS", &words);
    // Kubernetes gives the claims the new default by itself.
    drop(default);
    wait_for("the class", || {
        space.get("pvc", "pgdata-pgset-0").filter(|claim| claim["spec"]["storageClassName"] == "local-path")
    });
}

/// A small file system of its own in a directory, gone with it.
struct Small<'a>(&'a Path);

impl<'a> Small<'a> {
    fn new(directory: &'a Path, options: &str) -> Self {
        let options = format!("mode=0777,{options}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(directory).status();
        assert!(mounted.unwrap().success(), "a tmpfs in {}", directory.display());
        Self(directory)
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}

#[test]
fn volumes_that_are_full_of_bytes_or_of_inodes() {
    if !cluster_is_ours() {
        return;
    }
    let space = Namespace::new("full");
    let directory = HostDirectory::new("full");
    let small = Small::new(&directory.path, "size=30m");
    let up = ["--replicas", "1", "--storage", "hostpath", "--host-path", directory.as_str()];
    let words = ["Pod pgset-0", "the member's volume is full: ", "of 30 MB and ", "df -h"];
    hopeless(&space, &up, "PGS-VOLUME-FULL", &words);
    space.pgset(&["down", "--yes"]).expect(0);
    drop(small);

    let second = Namespace::beside(&space, "inodes");
    let directory = HostDirectory::new("inodes");
    let _small = Small::new(&directory.path, "size=300m,nr_inodes=300");
    let up = ["--replicas", "1", "--storage", "hostpath", "--host-path", directory.as_str()];
    let words = ["Pod pgset-0", "the member's volume has no inodes left: ", "of 300 inodes are free", "df -i"];
    hopeless(&second, &up, "PGS-VOLUME-FULL", &words);
}

#[test]
fn a_volume_that_is_full_under_a_replica() {
    if !cluster_is_ours() {
        return;
    }
    let space = Namespace::new("full-replica");
    space.pgset(&["up"]).expect(0);
    space.psql("pgset-0", "create table kept as select 1 as row");
    space.pgset(&["scale", "1", "--yes"]).expect(0);
    let volume = space.kubectl(&["get", "pvc", "pgdata-pgset-1", "-o=jsonpath={.spec.volumeName}"]);
    let path = kubectl(&["get", "pv", &volume, "-o=jsonpath={.spec.hostPath.path}{.spec.local.path}"]);
    let small = Small::new(Path::new(path.trim()), "size=30m");
    let words = ["Pod pgset-1", "the member's volume is full", " MB are free on /pgdata", "-- df -h /pgdata"];
    gives_up(&space, &["scale", "2"], "PGS-VOLUME-FULL", &words);
    // The primary has nothing to do with it.
    assert_eq!(space.psql("pgset-0", "select row from kept"), "1");
    drop(small);
    space.kubectl(&["delete", "pod", "pgset-1"]);
    space.pgset(&["wait"]).expect(0);
}

#[test]
fn a_node_without_an_nfs_client() {
    // Only where that is so: the machine's own kernel and programs.
    let has_client = fs::metadata("/sbin/mount.nfs").is_ok();
    if !cluster_is_ours() || has_client {
        return;
    }
    let space = Namespace::new("nfs");
    let up = ["--storage", "nfs", "--nfs-server", "127.0.0.1", "--nfs-path", "/srv/none"];
    // The preflight tells it before there is any member, and leaves nothing behind.
    let words = ["NFS export 127.0.0.1:/srv/none", "cannot mount NFS", "apt-get install nfs-common", "--no-preflight"];
    hopeless(&space, &up, "PGS-NFS-HELPER-MISSING", &words);
    nothing_is_left(&space);

    // Interrupted, it cleans up all the same; killed, it cannot, and the next one does.
    let begun = || {
        let up = space.start(&[&["up"], &up[..]].concat());
        wait_for("the trial", || space.get("pod", "pgset-trial"));
        up
    };
    let interrupted = begun();
    assert!(Command::new("kill").args(["-INT", &interrupted.id().to_string()]).status().unwrap().success());
    let run = Run::of(interrupted.wait_with_output().unwrap()).expect(130);
    run.says(&["interrupted before anything was changed"]);
    nothing_is_left(&space);
    let mut killed = begun();
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(space.get("pod", "pgset-trial").is_some() && space.get("pvc", "pgset-trial").is_some());
    hopeless(&space, &up, "PGS-NFS-HELPER-MISSING", &words);
    nothing_is_left(&space);

    // The rights it takes are on the list, and how to do without.
    let user = format!("system:serviceaccount:{}:default", space.name);
    let subject = format!("--serviceaccount={}:default", space.name);
    space.kubectl(&["create", "rolebinding", "admin", "--clusterrole=admin", &subject]);
    let rules = format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{name: {name}}}\nrules:\n\
         - {{apiGroups: [''], resources: [persistentvolumes], verbs: [get, list, create, patch]}}\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {{name: {name}}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {name}}}\n\
         subjects: [{{kind: ServiceAccount, namespace: {name}, name: default}}]\n",
        name = space.name
    );
    let _role = ClusterObject::new("clusterrole", &space.name, &rules);
    let refused = space.pgset(&[&["up", "--as", &user], &up[..]].concat());
    kubectl(&["delete", "clusterrolebinding", &space.name]);
    refused.expect(1).says(&["one thing keeps pgset", "delete persistentvolumes cluster-wide", "--no-preflight"]);

    // Without it the members' own pods tell.
    let up = [&up[..], &["--no-preflight"]].concat();
    let words = ["Pod pgset-0", "cannot mount NFS", "apt-get install nfs-common"];
    hopeless(&space, &up, "PGS-NFS-HELPER-MISSING", &words);
}

/// Waits until neither a trial's objects nor any of the set's are there.
fn nothing_is_left(space: &Namespace) {
    wait_for("the end of the trial", || {
        let objects = space.kubectl(&["get", "pods,pvc,statefulset,service,secret", "-o", "name"]);
        let volumes = kubectl(&["get", "pv", "-o", "name"]);
        (objects.trim().is_empty() && !volumes.contains(&space.name)).then_some(())
    });
}
