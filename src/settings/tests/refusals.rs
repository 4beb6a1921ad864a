//! What is refused, and what a person reads then.

use super::*;

fn refused(flags: &[&str], env: &[(&str, &str)], file: &str) -> String {
    Given { flags, env, file, kubeconfig: None }.refused()
}

#[test]
fn everything_wrong_is_named_at_once() {
    let given = Given {
        flags: &["--replicas", "0", "--image", "Post gres", "--size", "1GB", "--set-parameter", "port=1"],
        env: &[("PGSET_CPU", "-1"), ("PG_PASSWORD", "hun\nter2"), ("NFS_PATH", "nfs"), ("PG_USER", "pg_x")],
        file: "layout: both\nreplica: 3\nmemory: 64Mi\npostgresql:\n  work_mem: [1]\n",
        kubeconfig: Some("Shop"),
    };
    insta::assert_snapshot!(failure(&given.resolve().expect_err("refused")).error, @r#"
    13 settings cannot be used:
      replica from conf/pgset.yaml:2: is not a setting: did you mean `replicas`?
      postgresql.work_mem from conf/pgset.yaml:5: expected one value, found a list
      namespace "Shop" from kubeconfig: expected lowercase letters, digits and hyphens only, found 'S'
      image "Post gres" from --image: expected an image reference, found a space in it
      replicas "0" from --replicas: expected a number of members from 1 to 32; `pgset stop` stops a set and keeps its data
      layout "both" from conf/pgset.yaml:1: expected one of shared, per-pod
      nfs-path "nfs" from NFS_PATH: expected an absolute path, one that starts with `/`
      size "1GB" from --size: "GB" is not a unit of Kubernetes: write Gi or G
      cpu "-1" from PGSET_CPU: expected an amount above zero
      memory "64Mi" from conf/pgset.yaml:3: expected at least 128Mi: PostgreSQL, a replica's clone and the page cache do not fit into less
      user "pg_x" from PG_USER: PostgreSQL reserves role names that start with `pg_`
      user-password from PG_PASSWORD: expected a password of one line without control characters
      postgresql "port=1" from --set-parameter: is pgset's to set: the Services, probes and replicas use port 5432
    "#);
}

#[test]
fn a_setting_of_another_storage_contradicts() {
    insta::assert_snapshot!(refused(&["--storage-class", "fast"], &[("CCP_IMAGE_TAG", "t")], ""), @r#"
    storage-class "fast" from --storage-class: is for storage class, and it is nfs as in the 2017 example, because of CCP_IMAGE_TAG
    hint: give --storage class, or leave out --storage-class
    "#);
    insta::assert_snapshot!(refused(&["--storage", "class", "--nfs-path", "/n"], &[], ""), @r#"
    nfs-path "/n" from --nfs-path: is for storage nfs, and it is class by --storage
    hint: give --storage nfs, or leave out --nfs-path
    "#);
    insta::assert_snapshot!(refused(&["--host-path", "/h"], &[], ""), @r#"
    host-path "/h" from --host-path: is for storage hostpath, and the default is class
    hint: give --storage hostpath, or leave out --host-path
    "#);
    insta::assert_snapshot!(refused(&[], &[("PGSET_STORAGE_CLASS", "fast")], "storage: nfs"), @r#"
    storage-class "fast" from PGSET_STORAGE_CLASS: is for storage class, and it is nfs by conf/pgset.yaml:1
    hint: set PGSET_STORAGE=class, or unset PGSET_STORAGE_CLASS
    "#);
    insta::assert_snapshot!(refused(&[], &[], "storage: nfs\nstorage-class: fast\n"), @r#"
    storage-class "fast" from conf/pgset.yaml:2: is for storage class, and it is nfs by conf/pgset.yaml:1
    hint: write `storage: class` in the settings file, or remove `storage-class`
    "#);
}

#[test]
fn what_weighs_less_gives_way_in_silence() {
    let file = "storage-class: fast\nhost-path: /h\n";
    assert_eq!(row("storage", &["--storage", "nfs"], &[], file), "nfs (--storage)");
    assert_eq!(row("storage", &[], &[("PGSET_STORAGE", "nfs")], file), "nfs (PGSET_STORAGE)");
    assert_eq!(
        row("storage", &["--storage", "class"], &[("NFS_PATH", "/n"), ("PGSET_HOST_PATH", "/h")], ""),
        "class (--storage)"
    );
}

#[test]
fn an_image_and_a_part_of_its_name_contradict() {
    insta::assert_snapshot!(refused(&["--image", "i", "--ccp-image-tag", "t"], &[], ""), @r#"
    ccp-image-tag "t" from --ccp-image-tag: is a part of an image's name, and --image gives the whole
    hint: leave out either --ccp-image-tag or --image
    "#);
    insta::assert_snapshot!(refused(&[], &[], "image: i\nccp-image-prefix: p\n"), @r#"
    ccp-image-prefix "p" from conf/pgset.yaml:2: is a part of an image's name, and conf/pgset.yaml:1 gives the whole
    hint: leave out either conf/pgset.yaml:2 or conf/pgset.yaml:1
    "#);
    insta::assert_snapshot!(refused(&["--ccp-image-prefix", "p"], &[], ""), @r#"
    ccp-image-prefix "p" from --ccp-image-prefix: names the Crunchy image, which needs a tag too
    hint: give --ccp-image-tag, or the whole name with --image
    "#);
    let long = "p/".repeat(125);
    let text = refused(&["--ccp-image-prefix", &long, "--ccp-image-tag", "t"], &[], "");
    assert!(text.contains("expected a name of at most 255 characters"), "{text}");
}

#[test]
fn the_crunchy_image_takes_less() {
    let env = [("CCP_IMAGE_TAG", "t"), ("PG_DATABASE", "My DB"), ("PG_USER", "App"), ("PG_ROOT_PASSWORD", "hunt/er2")];
    insta::assert_snapshot!(refused(&[], &env, ""), @r#"
    database "My DB" from PG_DATABASE: expected lowercase letters, digits and `_` only, no digit first: the Crunchy image quotes no names
    user "App" from PG_USER: expected lowercase letters, digits and `_` only, no digit first: the Crunchy image quotes no names
    superuser-password from PG_ROOT_PASSWORD: expected letters, digits, `_`, `.` and `-` only: the Crunchy image passes passwords through sed
    "#);
    let env = [("PG_DATABASE", "My DB"), ("PG_USER", "App"), ("PG_ROOT_PASSWORD", "hunt/er2")];
    assert!(Given { env: &env, ..Given::default() }.resolve().is_ok());
}

#[test]
fn this_machine_has_to_be_reachable_to_be_the_nfs_server() {
    let refused = |machine: Fake| {
        let given = Given { flags: &["--storage", "nfs"], ..Given::default() };
        joined(&given.resolve_on(&machine).expect_err("refused"))
    };
    insta::assert_snapshot!(refused(Fake(&["127.0.1.1", "::1"])), @r#"
    nfs-server "127.0.1.1" from this machine: is where this machine's name leads, and no other machine can reach it there
    hint: give the NFS server's address: --nfs-server ADDRESS, or NFS_SERVER
    "#);
    insta::assert_snapshot!(refused(Fake(&[])), @r#"
    nfs-server from this machine: failed to find this machine's address: Name or service not known
    hint: give the NFS server's address: --nfs-server ADDRESS, or NFS_SERVER
    "#);
    // Whoever says where the server is, or uses none, needs no name that resolves.
    for flags in [&["--storage", "nfs", "--nfs-server", "n"][..], &[]] {
        assert!(Given { flags, ..Given::default() }.resolve_on(&Fake(&[])).is_ok());
    }
}

#[test]
fn folders_have_to_exist() {
    insta::assert_snapshot!(refused(&["--templates", "/none"], &[("BUILDBASE", "/nowhere")], ""), @r#"
    buildbase "/nowhere" from BUILDBASE: expected a folder that exists on this machine
    templates "/none" from --templates: expected a folder that exists on this machine
    "#);
    insta::assert_snapshot!(refused(&[], &[], "templates: /mine/../none"), @r#"
    templates "/mine/../none" from conf/pgset.yaml:1: expected a folder that exists on this machine
    "#);
}

#[test]
fn odds_and_ends() {
    for (flags, part) in [
        (&["--storage", "hostpath", "--host-path", "/"][..], "not the node's whole file system"),
        (&["--storage", "ceph"], "expected one of nfs, hostpath, class"),
        (&["--set-parameter", "work_mem"], "expected NAME=VALUE"),
        (&["--set-parameter", "work_mem=1\n2"], "a line break"),
        (&["--set-parameter", "=1"], "a parameter's name, found nothing"),
        (&["--user", "postgres"], "the superuser's name"),
        (&["--database", "template1"], "template"),
        (&["--name", ""], "found nothing"),
        (&["--timeout", "soon"], "like 90s, 10m or 1h30m"),
    ] {
        let text = refused(flags, &[], "");
        assert!(text.contains(part), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
    let text = refused(&["--set-parameter", "1.api_token=hunter2"], &[], "");
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn what_is_not_unicode_is_refused() {
    use std::os::unix::ffi::OsStringExt as _;
    let env: Env = [("PG_PASSWORD", std::ffi::OsString::from_vec(vec![0xff]))].into_iter().collect();
    let (common, flags) = parse(&[]);
    let context = Context { namespace: None, machine: &MACHINE };
    let inputs = Inputs { common: &common, flags: &flags, env: &env, file: &SettingsFile::default(), context };
    let problems = resolve(&inputs).expect_err("refused");
    assert_eq!(joined(&problems), "user-password from PG_PASSWORD: expected UTF-8 text");
}
