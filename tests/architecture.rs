//! The room plan (who may use what), read from the sources: clippy cannot fence per module.

#![allow(clippy::expect_used, reason = "a test that cannot go on says so and ends")]

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every source file under `folder`, with its path relative to `src/`.
fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).expect("a readable source folder") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root().join("src")).expect("a path under src");
            let text = fs::read_to_string(&path).expect("a readable source file");
            found.push((name.to_string_lossy().into_owned(), text));
        }
    }
}

/// The lines outside comments that mention `word` in files for which `fenced` holds.
fn mentions(word: &str, fenced: impl Fn(&str) -> bool) -> Vec<String> {
    let mut all = Vec::new();
    sources(&root().join("src"), &mut all);
    assert!(all.len() > 20, "the sources were not found");
    let mut lines = Vec::new();
    for (name, text) in all.iter().filter(|(name, _)| fenced(name)) {
        for (index, line) in text.lines().enumerate() {
            let code = line.trim_start();
            if !code.starts_with("//") && code.contains(word) {
                lines.push(format!("src/{name}:{}: {code}", index + 1));
            }
        }
    }
    lines
}

fn assert_none(lines: &[String]) {
    assert!(lines.is_empty(), "the room plan is broken:\n{}", lines.join("\n"));
}

#[test]
fn the_deciding_rooms_know_no_client_clock_or_terminal() {
    for word in ["kube::", "tokio", "tokio_postgres", "indicatif"] {
        assert_none(&mentions(word, |name| {
            ["set/", "manifests/", "settings/"].iter().any(|room| name.starts_with(room))
        }));
    }
}

#[test]
fn only_cluster_uses_the_kubernetes_client() {
    assert_none(&mentions("kube::", |name| !name.starts_with("cluster/")));
}

#[test]
fn only_postgres_uses_the_driver() {
    assert_none(&mentions("tokio_postgres", |name| !name.starts_with("postgres/")));
}

#[test]
fn only_the_yaml_module_uses_serde_yaml() {
    assert_none(&mentions("serde_yaml", |name| name != "yaml.rs"));
}

// But for tests, which may hold what a verb shows against the settings or manifests it is made from.
#[test]
fn nobody_but_lib_and_main_uses_commands() {
    assert_none(&mentions("commands::", |name| {
        let is_test = name.ends_with("tests.rs") || name.contains("/tests/");
        !name.starts_with("commands/") && name != "lib.rs" && name != "main.rs" && !is_test
    }));
}

#[test]
fn main_stays_short() {
    let text = fs::read_to_string(root().join("src/main.rs")).expect("src/main.rs");
    assert!(text.lines().count() < 30);
}
