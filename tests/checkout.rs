//! A crunchy-containers checkout through the binary, without any cluster: what is rendered of it, what is said about it,
//! and that nothing of it is run.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so and ends")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// A copy of a fixture that a test may change.
fn copied(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let manifests = "examples/kube/statefulset";
    fs::create_dir_all(folder.path().join(manifests)).unwrap();
    for entry in fs::read_dir(fixture(name).join(manifests)).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), folder.path().join(manifests).join(entry.file_name())).unwrap();
    }
    let envvars = fixture(name).join("examples/envvars.sh");
    if envvars.exists() {
        fs::copy(envvars, folder.path().join("examples/envvars.sh")).unwrap();
    }
    folder
}

struct Run {
    code: i32,
    stdout: String,
    stderr: String,
}

/// Runs pgset in an empty folder with nothing in its environment but the base directory and these variables.
fn pgset(buildbase: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Run {
    let here = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgset"));
    command.args(arguments).current_dir(here.path()).env_clear().env("HOME", here.path()).env("BUILDBASE", buildbase);
    let output = command.envs(variables.iter().copied()).stdin(Stdio::null()).output().unwrap();
    Run {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[track_caller]
fn good(buildbase: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Run {
    let run = pgset(buildbase, arguments, variables);
    assert_eq!(run.code, 0, "{}\n{}", run.stdout, run.stderr);
    run
}

const SEED: [(&str, &str); 2] = [("CCP_IMAGE_TAG", "centos7-9.6-1.2.8"), ("NFS_SERVER", "10.0.0.1")];

const LATER: [(&str, &str); 7] = [
    ("CCP_IMAGE_TAG", "centos7-10.4-2.0.0"),
    ("CCP_IMAGE_PREFIX", "crunchydata"),
    ("CCP_NAMESPACE", "demo"),
    ("CCP_NFS_IP", "10.0.0.1"),
    ("CCP_STORAGE_PATH", "/nfsfileshare"),
    ("CCP_STORAGE_CAPACITY", "1G"),
    ("CCP_SECURITY_CONTEXT", "\"supplementalGroups\": [65534]"),
];

/// The manifests without the ConfigMap, whose files have tests of their own, and without its hash.
fn shape(manifests: &str) -> String {
    let documents = manifests.split("---\n").filter(|document| !document.contains("\nkind: ConfigMap"));
    let text = documents.collect::<Vec<_>>().join("---\n");
    let line = |line: &str| match line.split_once("pgset/config-hash: ") {
        Some((before, _)) => format!("{before}pgset/config-hash: (a hash)\n"),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[test]
fn every_kind_of_checkout_on_every_storage() {
    for (name, variables) in [("checkout-1.2.8", &SEED[..]), ("checkout-4.1", &LATER), ("checkout-yaml", &LATER)] {
        for (storage, flags) in [
            ("as-the-files-say", &[][..]),
            ("hostpath", &["--storage", "hostpath", "--host-path", "/srv/pgset"]),
            ("class", &["--storage", "class", "--storage-class", "fast"]),
            ("as-is", &["--as-is"]),
        ] {
            let run = good(&fixture(name), &[&["render"], flags].concat(), variables);
            insta::assert_snapshot!(format!("{name}-{storage}"), shape(&run.stdout));
            insta::assert_snapshot!(format!("{name}-{storage}-said"), run.stderr);
        }
    }
}

#[test]
fn a_base_directory_with_templates_alone_overrides_those() {
    let folder = tempfile::tempdir().unwrap();
    let own =
        fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("templates/service-replica.yaml")).unwrap();
    let mine = own.replacen("metadata:\n", "metadata:\n  annotations:\n    mine: of-the-base-directory\n", 1);
    assert_ne!(own, mine, "the template begins otherwise");
    fs::create_dir(folder.path().join("templates")).unwrap();
    fs::write(folder.path().join("templates/service-replica.yaml"), mine).unwrap();
    let run = good(folder.path(), &["render"], &SEED);
    let replica = run.stdout.split("---\n").find(|document| document.contains("mine: of-the-base-directory")).unwrap();
    insta::assert_snapshot!("templates-only", replica);
    assert!(!run.stderr.contains("checkout"), "{}", run.stderr);
}

#[test]
fn settings_name_the_line_and_the_environment_beats_it() {
    let ask = ["settings", "-o", "json"];
    let run = good(&fixture("checkout-1.2.8"), &ask, &[("NFS_SERVER", "10.0.0.1")]);
    insta::assert_snapshot!("settings", run.stdout.replace(fixture("checkout-1.2.8").to_str().unwrap(), "CHECKOUT"));
    assert!(!run.stdout.contains("\"value\": \"password\""), "{}", run.stdout);
    let run = good(&fixture("checkout-1.2.8"), &ask, &[("NFS_SERVER", "10.0.0.1"), ("NFS_PATH", "/other")]);
    let settings: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    let rows = settings["settings"].as_array().unwrap();
    let path = rows.iter().find(|row| row["setting"] == "nfs-path").unwrap();
    assert_eq!((&path["value"], &path["source"]), (&"/other".into(), &"NFS_PATH".into()));
}

#[test]
fn nothing_of_a_checkout_is_run() {
    let folder = copied("checkout-1.2.8");
    let ran = folder.path().join("ran");
    let mut envvars = fs::read_to_string(folder.path().join("examples/envvars.sh")).unwrap();
    envvars.push_str(&format!("export A=`touch {0}`\nexport B=$(touch {0})\ntouch {0}\n", ran.display()));
    fs::write(folder.path().join("examples/envvars.sh"), envvars).unwrap();
    let run = good(folder.path(), &["render", "-v"], &SEED);
    assert!(run.stderr.contains("examples/envvars.sh:15 is ignored: it runs a command"), "{}", run.stderr);
    assert!(run.stderr.contains("no manifests, and never run: cleanup.sh, notes.txt, run.sh"), "{}", run.stderr);
    assert!(!ran.exists() && !folder.path().join("examples/kube/statefulset/ran").exists());
}

#[test]
fn mistakes_are_told_with_file_place_and_what_to_do() {
    let folder = copied("checkout-1.2.8");
    let set = folder.path().join("examples/kube/statefulset/set.json");
    let text = fs::read_to_string(&set).unwrap();
    let said = |from: &str, to: &str| {
        assert!(text.contains(from));
        fs::write(&set, text.replacen(from, to, 1)).unwrap();
        let run = pgset(folder.path(), &["render"], &SEED);
        assert_eq!((run.code, run.stdout.as_str()), (1, ""), "{}", run.stderr);
        run.stderr
    };
    insta::assert_snapshot!("unknown-variable", said("$CCP_IMAGE_TAG", "$MY_TAG"));
    insta::assert_snapshot!("unknown-field", said("\"volumeMounts\"", "\"volumeMount\""));
    insta::assert_snapshot!("no-json", said("\"kind\":", "kind:"));
    fs::write(&set, &text).unwrap();
    fs::remove_file(folder.path().join("examples/envvars.sh")).unwrap();
    let run = pgset(folder.path(), &["render"], &[("NFS_SERVER", "10.0.0.1")]);
    assert_eq!(run.code, 2, "{}", run.stderr);
    insta::assert_snapshot!("no-tag", run.stderr);
    let run = pgset(folder.path(), &["render", "--as-is"], &[&SEED[..], &[("PG_PASSWORD", "secret-of-mine")]].concat());
    assert!(run.code == 2 && run.stderr.contains("PG_PASSWORD cannot give one"), "{}", run.stderr);
    assert!(!run.stderr.contains("secret-of-mine"));
}

#[test]
fn another_image_or_an_empty_folder_leaves_the_manifests_alone() {
    let run = good(&fixture("checkout-1.2.8"), &["render", "--image", "postgres:17"], &SEED);
    assert!(run.stderr.contains("postgres:17 is no Crunchy image"), "{}", run.stderr);
    assert!(run.stdout.contains("image: postgres:17") && !run.stdout.contains("PG_MODE"), "{}", run.stdout);
    let empty = tempfile::tempdir().unwrap();
    let run = good(empty.path(), &["render"], &SEED);
    assert!(run.stderr.contains("neither templates/ nor examples/kube/statefulset/"), "{}", run.stderr);
    let run = pgset(empty.path(), &["render", "--as-is"], &SEED);
    assert!(run.code == 2 && run.stderr.contains("--as-is is for the manifests"), "{}", run.stderr);
}
