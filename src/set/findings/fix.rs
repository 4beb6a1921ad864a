//! A fix's commands, made to mean this very set.

/// What pgset does with one set.
const VERBS: [&str; 10] = ["up", "wait", "scale", "start", "stop", "restart", "down", "status", "verify", "psql"];

/// The fix with the namespace, and the name where it is not the usual one, in every command of pgset's: pasted as it stands
/// it must not meet another set.
pub(super) fn addressed(fix: &str, set: &str, namespace: &str) -> String {
    let mut rest = fix;
    let mut line = String::new();
    while let Some((before, after)) = rest.split_once("pgset ") {
        line.push_str(before);
        line.push_str("pgset ");
        rest = after;
        // A pod's or container's name may end in the same letters.
        let whole = before.is_empty() || before.ends_with(' ');
        let end = after.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(after.len());
        let (verb, options) = after.split_at(end);
        if whole && VERBS.contains(&verb) && !options.starts_with(" -n ") {
            line.push_str(verb);
            if set != "pgset" {
                line.push_str(" --name ");
                line.push_str(set);
            }
            line.push_str(" -n ");
            line.push_str(namespace);
            rest = options;
        }
    }
    line + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_of_pgset_mean_the_set_they_are_told_of() {
        for (fix, said) in [
            ("put it back: pgset up", "put it back: pgset up --name orders -n shop"),
            (
                "pgset up --image …; nothing was touched",
                "pgset up --name orders -n shop --image …; nothing was touched",
            ),
            (
                "once it is gone: pgset wait, then pgset scale 3",
                "once it is gone: pgset wait --name orders -n shop, then pgset scale --name orders -n shop 3",
            ),
            ("elsewhere: pgset up -n …", "elsewhere: pgset up -n …"),
            ("pgset render --eject DIR", "pgset render --eject DIR"),
            ("kubectl exec p -c pgset -- psql; mypgset up", "kubectl exec p -c pgset -- psql; mypgset up"),
            ("nothing to do with it", "nothing to do with it"),
        ] {
            assert_eq!(addressed(fix, "orders", "shop"), said);
        }
        assert_eq!(addressed("pgset up", "pgset", "shop"), "pgset up -n shop");
    }
}
