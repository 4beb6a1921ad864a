//! What each code means: the one source of `pgset explain`, of the README's table and of what explains what.

use super::{FAMILIES, Severity};

/// One kind of finding. Every family registers its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Stable, such as `PGS-IMAGE-NOT-FOUND`.
    pub code: &'static str,
    /// As heavy as it can get; a single finding may weigh less, such as a first crash.
    pub severity: Severity,
    /// Where between root and symptom it stands.
    pub depth: Depth,
    /// A few words.
    pub title: &'static str,
    /// What it means for the set.
    pub meaning: &'static str,
    /// The objects, fields or answers it is read from.
    pub known_by: &'static str,
    pub fix: &'static str,
    /// What could make it wrong.
    pub doubt: &'static str,
}

/// How far a finding is from the root: it explains only what stands deeper than itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Depth {
    /// A node, DNS, the control plane: every set on it is hit.
    Cluster,
    /// What all members share: the namespace's rules, their Secret, their account.
    Set,
    /// One member's pod, volume or container.
    #[default]
    Member,
    /// PostgreSQL itself.
    Database,
    /// What is seen when something else is wrong: no primary, an empty Service, a probe that fails.
    Symptom,
}

/// Every kind of finding, in the order in which a start meets them.
pub fn entries() -> impl Iterator<Item = &'static Entry> {
    FAMILIES.iter().flat_map(|family| family.catalogue)
}

/// The entry of a code, however it is written: `pgs-quota`, `quota`.
#[must_use]
pub fn entry(code: &str) -> Option<&'static Entry> {
    let wanted = normal(code);
    entries().find(|entry| entry.code == wanted)
}

/// The code most like this one, if any is like it.
#[must_use]
pub fn nearest(code: &str) -> Option<&'static str> {
    let wanted = normal(code);
    let alike = |entry: &Entry| strsim::jaro_winkler(&entry.code["PGS-".len()..], &wanted["PGS-".len()..]);
    let best = entries().max_by(|a, b| alike(a).total_cmp(&alike(b)))?;
    (alike(best) > 0.7).then_some(best.code)
}

fn normal(code: &str) -> String {
    let code = code.trim().to_uppercase().replace(['_', ' '], "-");
    if code.starts_with("PGS-") { code } else { format!("PGS-{code}") }
}

/// Where a finding with this code stands.
pub(super) fn depth(code: &str) -> Depth {
    entries().find(|entry| entry.code == code).map(|entry| entry.depth).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// Every `"PGS-…"` in the sources, tests aside.
    fn raised() -> BTreeSet<String> {
        fn walk(folder: &Path, found: &mut BTreeSet<String>) {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, found);
                    continue;
                }
                let text = std::fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]").next().unwrap_or_default();
                let lines = code.lines().filter(|line| {
                    let line = line.trim_start();
                    !line.starts_with("//") && !line.starts_with("code: \"")
                });
                for line in lines {
                    let code = |word: &&str| {
                        let rest = word.strip_prefix("PGS-").unwrap_or_default();
                        !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-')
                    };
                    found.extend(line.split('"').filter(code).map(str::to_owned));
                }
            }
        }
        let mut found = BTreeSet::new();
        walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
        found
    }

    #[test]
    fn every_code_that_is_raised_has_one_entry_and_every_entry_is_raised() {
        let listed: Vec<String> = entries().map(|entry| entry.code.to_owned()).collect();
        let known: BTreeSet<String> = listed.iter().cloned().collect();
        assert_eq!(listed.len(), known.len(), "a code has two entries");
        let raised = raised();
        assert!(raised.len() > 20, "the codes were not found: {raised:?}");
        assert_eq!(raised.difference(&known).collect::<Vec<_>>(), [] as [&String; 0], "raised without an entry");
        assert_eq!(known.difference(&raised).collect::<Vec<_>>(), [] as [&String; 0], "an entry that nothing raises");
    }

    #[test]
    fn entries_are_sentences_for_people() {
        for entry in entries() {
            let of = entry.code;
            assert!(of.starts_with("PGS-") && of.bytes().all(|b| b.is_ascii_uppercase() || b == b'-'), "{of}");
            assert!(!entry.title.is_empty() && !entry.title.ends_with('.') && !entry.title.contains('|'), "{of}");
            for text in [entry.meaning, entry.known_by, entry.fix, entry.doubt] {
                assert!(text.ends_with('.') && !text.contains('\n') && !text.contains('|'), "{of}: {text}");
            }
        }
    }

    #[test]
    fn a_code_is_found_however_it_is_written_and_a_typo_has_a_nearest() {
        for code in ["PGS-QUOTA", "pgs-quota", "quota", " Pgs_Quota "] {
            assert_eq!(entry(code).map(|entry| entry.code), Some("PGS-QUOTA"), "{code}");
        }
        assert_eq!(nearest("PGS-IMAGE-NOTFOUND"), Some("PGS-IMAGE-NOT-FOUND"));
        assert_eq!(nearest("crashloop"), Some("PGS-CRASH-LOOP"));
        assert_eq!(nearest("xyzzy"), None);
        assert_eq!(nearest(""), None);
    }
}
