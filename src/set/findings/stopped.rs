//! A set that is stopped: nothing is wrong with it, and nothing will happen by waiting.

use super::{Asked, Depth, Entry, Finding, Severity};

pub(super) const CATALOGUE: &[Entry] = &[Entry {
    code: "PGS-STOPPED",
    severity: Severity::Fatal,
    depth: Depth::Cluster,
    title: "the set is stopped",
    meaning: "The set was asked to have no members. Its claims, passwords and Services are kept.",
    known_by: "The StatefulSet's spec.replicas is 0.",
    fix: "Start it: pgset start.",
    doubt: "Somebody else may have scaled it to 0 with kubectl or an autoscaler, and may do so again.",
}];

pub(super) fn findings(asked: &Asked<'_>) -> Vec<Finding> {
    let seen = asked.seen;
    if seen.wanted() != Some(0) {
        return Vec::new();
    }
    let finding = Finding::new(
        "PGS-STOPPED",
        Severity::Fatal,
        "StatefulSet",
        &seen.name,
        "the set is stopped: it has no members, and its data stays",
    );
    vec![finding.fix("pgset start")]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{diagnose, testing};

    #[test]
    fn a_stopped_set_ends_a_wait_with_the_way_to_start_it() {
        let mut seen = testing::seen(json!([]), json!([]));
        assert!(diagnose(&seen, None).iter().all(|finding| finding.code != "PGS-STOPPED"));
        seen.stateful_set.as_mut().unwrap().spec.replicas = Some(0);
        let findings = diagnose(&seen, None);
        assert_eq!((findings[0].code, findings[0].ends_wait(testing::noon())), ("PGS-STOPPED", true));
        assert_eq!(findings[0].fix, ["pgset start -n default"]);
    }
}
