//! A crunchy-containers checkout on a real cluster: `up` on its own manifests, the blog's Step 7, edits, `down`.

use std::fs;
use std::path::PathBuf;

use crate::harness::{HostDirectory, Namespace, Run, kubectl_with, wait_for};

const TAG: (&str, &str) = ("CCP_IMAGE_TAG", "centos7-9.6-1.2.8");

/// A checkout of a test's own.
fn checkout() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let manifests = "examples/kube/statefulset";
    let fixture = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/checkout-1.2.8");
    fs::create_dir_all(folder.path().join(manifests)).unwrap();
    for entry in fs::read_dir(fixture.join(manifests)).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), folder.path().join(manifests).join(entry.file_name())).unwrap();
    }
    fs::copy(fixture.join("examples/envvars.sh"), folder.path().join("examples/envvars.sh")).unwrap();
    folder
}

fn run(space: &Namespace, checkout: &tempfile::TempDir, arguments: &[&str]) -> Run {
    let mut command = space.command(arguments);
    Run::of(command.env("BUILDBASE", checkout.path()).env(TAG.0, TAG.1).output().unwrap())
}

/// The members' folders. A clone that broke off while the primary began is put aside under a dated name.
fn folders(folder: &HostDirectory) -> Vec<String> {
    folder.entries().into_iter().filter(|name| !name.contains(".stale-")).collect()
}

#[test]
fn the_seeds_own_manifests_become_a_healthy_set() {
    let space = Namespace::new("checkout");
    let (folder, checkout) = (HostDirectory::new("checkout"), checkout());
    let up = ["up", "--storage", "hostpath", "--host-path", folder.as_str()];
    let first = run(&space, &checkout, &up).expect(0);
    first.says(&["upgrades for today's clusters", "apps-v1", "secrets", "the volumes are on hostPath"]);

    // The blog's Step 7 in its own words, with the password of the checkout's manifests.
    let step7 = |service: &str, sql: &str| {
        let psql = format!("PGPASSWORD=password psql -h {service} -U postgres postgres -Atc '{sql}' 2>&1 || true");
        // kube-proxy follows the endpoints a moment later.
        wait_for("the Service to connect", || {
            let told = space.kubectl(&["exec", "pgset-1", "-c", "pgset", "--", "sh", "-c", &psql]);
            (!told.contains("Connection refused")).then_some(told)
        })
    };
    assert_eq!(step7("pgset-master", "select state from pg_stat_replication").trim(), "streaming");
    let refused = step7("pgset-replica", "create table foo (id int)");
    assert!(refused.contains("cannot execute CREATE TABLE in a read-only transaction"), "{refused}");
    step7("pgset-master", "create table kept as select 7 as n");
    run(&space, &checkout, &["scale", "3"]).expect(0);
    assert_eq!(folders(&folder), ["pgset-0", "pgset-1", "pgset-2"]);

    let again = run(&space, &checkout, &up).expect(0).says(&["nothing to change on pgset"]);
    assert!(!again.stderr.contains("upgrades"), "{}", again.stderr);

    // A person's edit arrives, and stays.
    let service = checkout.path().join("examples/kube/statefulset/set-master-service.json");
    let text = fs::read_to_string(&service).unwrap();
    fs::write(&service, text.replace("\"port\": 5432", "\"port\": 6543")).unwrap();
    let diff = run(&space, &checkout, &[&["diff"], &up[1..]].concat()).expect(5);
    assert!(diff.stdout.contains("6543") && diff.stderr.contains("primary-by-pod"), "{}\n{}", diff.stdout, diff.stderr);
    run(&space, &checkout, &up).expect(0);
    assert_eq!(space.kubectl(&["get", "service", "pgset-master", "-o=jsonpath={.spec.ports[0].port}"]), "6543");

    let down = run(&space, &checkout, &["down", "--yes"]).expect(0);
    assert!(down.stdout.contains("its data stays"), "{}", down.stdout);
    assert_eq!(space.kubectl(&["get", "statefulsets,services,roles,rolebindings", "-o", "name"]), "");
    assert_eq!(folders(&folder), ["pgset-0", "pgset-1", "pgset-2"]);
    run(&space, &checkout, &up).expect(0);
    assert_eq!(step7("pgset-replica", "table kept").trim(), "7");
    assert!(!checkout.path().join("examples/kube/statefulset/ran").exists());
}

#[test]
fn the_api_server_takes_what_is_rendered() {
    let space = Namespace::new("checkout-dry");
    let checkout = checkout();
    for flags in [
        &["--storage", "nfs", "--nfs-server", "10.0.0.1"][..],
        &["--storage", "hostpath", "--host-path", "/srv/pgset"],
        &["--storage", "class"],
        &["--storage", "nfs", "--nfs-server", "10.0.0.1", "--as-is"],
    ] {
        let manifests = run(&space, &checkout, &[&["render"], flags].concat()).expect(0).stdout;
        kubectl_with(&["apply", "--dry-run=server", "-f", "-"], &manifests);
    }
}
