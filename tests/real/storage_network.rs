//! Storage behind a network: a real NFS server, and a shared file system that is mounted on the nodes.
//!
//! They run only where somebody says what to use. `PGSET_TEST_NFS` is the address of an NFS server with the exports `/pg`
//! (rw, no_root_squash, owned by 999), `/squash` (root_squash, root's, mode 0755), `/ro` (ro), `/others` (for another address
//! alone) and `/denied` (sec=krb5 alone); the nodes that can mount them carry the label `storage=nfs` and the taint `nfs=only:NoSchedule`. `PGSET_TEST_NFS_EXPORTS` is the directory of this
//! machine that holds `pg`, `squash` and `ro`. `PGSET_TEST_GLUSTER` is a directory on a shared file system on the node.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::harness::{Namespace, Run, kubectl, wait_for};

/// One at a time: the server is small.
static SERVER: Mutex<()> = Mutex::new(());

/// A variable that is set, or the word that a test is skipped.
fn wanted(variable: &str, test: &str) -> Option<String> {
    let value = std::env::var(variable).ok().filter(|value| !value.is_empty());
    if value.is_none() {
        eprintln!("skipped {test}: {variable} is not set");
    }
    value
}

/// The server, and templates that bring the members to the nodes that can mount it.
struct Nfs {
    server: String,
    /// A folder for this test below the export `/pg`, as the server and as this machine see it.
    path: String,
    here: Option<PathBuf>,
    templates: tempfile::TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl Nfs {
    fn new(test: &str) -> Option<Self> {
        let server = wanted("PGSET_TEST_NFS", test)?;
        let alone = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
        let exports = wanted("PGSET_TEST_NFS_EXPORTS", "a look at the folders on the server");
        let name = format!("{test}-{}", std::process::id());
        let here = exports.map(|exports| Path::new(&exports).join("pg").join(&name));
        let path = if let Some(here) = &here {
            fs::create_dir(here).unwrap();
            fs::set_permissions(here, fs::Permissions::from_mode(0o700)).unwrap();
            chown(here, Some(999), Some(999)).unwrap();
            format!("/pg/{name}")
        } else {
            "/pg".to_owned()
        };
        let templates = tempfile::tempdir().unwrap();
        let ejected = templates.path().join("ejected");
        Run::of(crate::harness::pgset(&["render", "--eject", ejected.to_str().unwrap()]).output().unwrap()).expect(0);
        let text = fs::read_to_string(ejected.join("statefulset.yaml")).unwrap();
        fs::remove_dir_all(ejected).unwrap();
        let place = "    spec:\n      nodeSelector:\n        storage: nfs\n      tolerations:\n        - key: nfs\n          \
                     operator: Equal\n          value: only\n          effect: NoSchedule\n      serviceAccountName";
        let placed = text.replacen("    spec:\n      serviceAccountName", place, 1);
        assert_ne!(text, placed, "the template begins otherwise");
        // An emulated node has its hands full with a probe a second.
        let patient = |line: &str| match line.split_once("Seconds: ") {
            Some((what, _)) if what.trim() == "period" => format!("{what}Seconds: 15"),
            Some((what, _)) if what.trim() == "timeout" => format!("{what}Seconds: 60"),
            _ => line.to_owned(),
        };
        let text: Vec<String> = placed.lines().map(patient).collect();
        fs::write(templates.path().join("statefulset.yaml"), text.join("\n")).unwrap();
        Some(Self { server, path, here, templates, _alone: alone })
    }

    /// `up` on this export, with options.
    fn up(&self, space: &Namespace, path: &str, options: &[&str]) -> Run {
        self.up_at(space, &self.server, path, options)
    }

    fn up_at(&self, space: &Namespace, server: &str, path: &str, options: &[&str]) -> Run {
        let templates = self.templates.path().to_str().unwrap();
        let mut command = space.command(&["up", "--timeout", "20m", "--templates", templates]);
        // The 2017 example's own variables.
        command.args(options).env("NFS_PATH", path).env("LOCAL_IP", server);
        Run::of(command.output().unwrap())
    }
}

impl Drop for Nfs {
    fn drop(&mut self) {
        if let Some(here) = &self.here {
            let _ = fs::remove_dir_all(here);
        }
    }
}

/// SQL in a member through one of the set's Services.
fn psql(space: &Namespace, member: &str, host: &str, sql: &str) -> Result<String, String> {
    let password = format!("PGPASSWORD={}", space.password("superuser"));
    let client =
        ["exec", member, "-c", "pgset", "--", "env", &password, "psql", "-h", host, "-U", "postgres", "-XAtqc", sql];
    let mut command = crate::harness::kubectl_command();
    let output = command.args(["--namespace", &space.name]).args(client).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().trim_end().to_owned();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

fn nothing_left(space: &Namespace) {
    wait_for("the trial's end", || {
        let pods = space.kubectl(&["get", "pods,pvc,statefulset,service", "-o", "name"]);
        let volume = kubectl(&["get", "pv", "-o", "name"]);
        (pods.trim().is_empty() && !volume.contains(&space.name)).then_some(())
    });
}

#[test]
fn the_example_of_2017_on_a_real_nfs_server() {
    let Some(nfs) = Nfs::new("example") else { return };
    let space = Namespace::new("nfs-example");
    let export = format!("NFS export {}:{} can be mounted and written to", nfs.server, nfs.path);
    nfs.up(&space, &nfs.path, &[]).expect(0).says(&[&export]);
    nothing_of_the_trial(&space);

    // The article's Step 7.
    let standbys = psql(&space, "pgset-1", "pgset-master", "table pg_stat_replication").unwrap();
    assert!(standbys.contains("pgset-1") && standbys.contains("streaming"), "{standbys}");
    psql(&space, "pgset-1", "pgset-master", "create table kept as select 7 as row").unwrap();
    let refused = psql(&space, "pgset-0", "pgset-replica", "create table foo (id int)").unwrap_err();
    assert!(refused.contains("read-only transaction"), "{refused}");
    space.pgset(&["verify", "--timeout", "10m"]).expect(0);
    for member in ["pgset-0", "pgset-1"] {
        let Some(here) = &nfs.here else { break };
        let folder = fs::metadata(here.join(member)).unwrap();
        assert_eq!((folder.uid(), folder.mode() & 0o7777), (999, 0o700), "{member}");
    }

    // On a set that runs the export is not tried again, and nothing changes.
    let again = nfs.up(&space, &nfs.path, &[]).expect(0).says(&["nothing to change"]);
    assert!(!again.stderr.contains("trying NFS export"), "{}", again.stderr);
    space.pgset(&["down", "--yes", "--timeout", "20m"]).expect(0);
    nfs.up(&space, &nfs.path, &[]).expect(0);
    assert_eq!(space.psql("pgset-0", "select row from kept"), "7");

    // The claim is deleted by hand: the volume is taken back, and the data is there.
    space.pgset(&["down", "--yes", "--timeout", "20m"]).expect(0);
    space.kubectl(&["delete", "pvc", "pgset-pvc"]);
    nfs.up(&space, &nfs.path, &["--yes"]).expect(0).says(&["took back PersistentVolume"]);
    assert_eq!(space.psql("pgset-0", "select row from kept"), "7");
    space
        .pgset(&["down", "--yes", "--delete-data", "--timeout", "20m"])
        .expect(0)
        .says(&["deleted the members' folders"]);
    if let Some(here) = &nfs.here {
        assert_eq!(fs::read_dir(here).unwrap().count(), 0);
    }
}

fn nothing_of_the_trial(space: &Namespace) {
    wait_for("the trial's end", || {
        let objects = space.kubectl(&["get", "pods,pvc", "-o", "name"]);
        let volumes = kubectl(&["get", "pv", "-o", "name"]);
        let left = objects.contains("trial") || volumes.contains(&format!("{}.pgset.trial", space.name));
        (!left).then_some(())
    });
}

#[test]
fn what_is_wrong_with_an_export_is_told_before_any_member_waits() {
    let Some(nfs) = Nfs::new("preflight") else { return };
    let space = Namespace::new("nfs-preflight");
    // An address of the server's own network that nobody has.
    let (network, _) = nfs.server.rsplit_once('.').unwrap();
    let absent = format!("{network}.251");
    let exports = [
        (
            nfs.server.as_str(),
            "/no/such/path",
            "PGS-NFS-PATH-MISSING",
            vec!["does not export", "/no/such/path", "exportfs -ra"],
        ),
        (&nfs.server, "/others", "PGS-NFS-PATH-MISSING", vec!["or not to node", "let all nodes in"]),
        (&nfs.server, "/denied", "PGS-NFS-DENIED", vec!["does not let node", "/etc/exports"]),
        (&absent, "/pg", "PGS-NFS-UNREACHABLE", vec!["port 2049", "--nfs-server"]),
        (
            &nfs.server,
            "/squash",
            "PGS-DATA-NOT-WRITABLE",
            vec!["uid 999 cannot make a folder", "belongs to 0:0", "chown 999 /squash"],
        ),
        (&nfs.server, "/ro", "PGS-VOLUME-READ-ONLY", vec!["can only be read", "rw instead of ro"]),
    ];
    for (server, path, code, words) in exports {
        let began = Instant::now();
        let run = nfs.up_at(&space, server, path, &["-o", "json"]).expect(3);
        let took = began.elapsed();
        eprintln!("{code}: {:.1} s", took.as_secs_f32());
        let result = run.json();
        assert_eq!(result["status"]["findings"][0]["code"], code, "{result:#}");
        let export = format!("{server}:{path}");
        run.says(&[code, "NFS export", &export, "nothing was changed", "--no-preflight"]).says(&words);
        nothing_left(&space);
    }
    // Beside the export, and with the export's own word on a folder of another set.
    nfs.up(&space, &nfs.path, &["--dry-run"]).expect(5);
    nothing_left(&space);
}

/// The same faults where nobody tried the export first, as the kubelet, the kernel and the start script tell of them.
#[test]
fn what_is_wrong_with_an_export_is_told_of_the_members_too() {
    let Some(nfs) = Nfs::new("members") else { return };
    let (network, _) = nfs.server.rsplit_once('.').unwrap();
    let absent = format!("{network}.251");
    let faults = [
        ("path", nfs.server.as_str(), "/no/such/path", "PGS-NFS-PATH-MISSING", "does not export /no/such/path"),
        ("denied", &nfs.server, "/denied", "PGS-NFS-DENIED", "/etc/exports"),
        ("squash", &nfs.server, "/squash", "PGS-DATA-NOT-WRITABLE", "cannot write to /pgdata as uid 999"),
        ("ro", &nfs.server, "/ro", "PGS-VOLUME-READ-ONLY", "rw"),
        ("absent", &absent, "/pg", "PGS-NFS-UNREACHABLE", "port 2049"),
    ];
    let first = Namespace::new("nfs-members");
    for (name, server, path, code, words) in faults {
        let space = Namespace::beside(&first, &format!("nfs-{name}"));
        let began = Instant::now();
        let run = nfs.up_at(&space, server, path, &["--no-preflight", "-o", "json"]).expect(3);
        eprintln!("{code}: {:.1} s", began.elapsed().as_secs_f32());
        let result = run.json();
        assert_eq!(result["status"]["findings"][0]["code"], code, "{result:#}");
        run.says(&[code, "cannot become healthy", words]);
        space.pgset(&["down", "--yes", "--timeout", "10m"]).expect(0);
    }
}

#[test]
fn a_shared_file_system_on_the_nodes_is_a_host_path() {
    let Some(directory) = wanted("PGSET_TEST_GLUSTER", "a_shared_file_system_on_the_nodes_is_a_host_path") else {
        return;
    };
    let space = Namespace::new("gluster");
    let folder = Path::new(&directory).join(format!("pgset-{}", std::process::id()));
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    let up = ["up", "--storage", "hostpath", "--host-path", folder.to_str().unwrap(), "--timeout", "20m"];
    space.pgset(&up).expect(0);
    space.psql("pgset-0", "create table kept as select 7 as row");
    space.pgset(&["down", "--yes", "--timeout", "10m"]).expect(0);
    space.pgset(&up).expect(0);
    space.pgset(&["scale", "3", "--timeout", "20m"]).expect(0);
    for member in ["pgset-0", "pgset-1", "pgset-2"] {
        wait_for("the row", || (space.psql(member, "select row from kept") == "7").then_some(()));
        assert!(folder.join(member).is_dir());
    }
    space.pgset(&["down", "--yes", "--delete-data", "--timeout", "10m"]).expect(0);
    fs::remove_dir_all(&folder).unwrap();
}
