//! Commands in hints, made to mean the cluster and the person that this run was given: pasted as they stand they must not
//! meet another one.

use crate::set::dsn::shell_word;

/// What pgset does through the API server.
const VERBS: [&str; 17] = [
    "up",
    "wait",
    "scale",
    "start",
    "stop",
    "restart",
    "down",
    "status",
    "verify",
    "psql",
    "list",
    "logs",
    "dsn",
    "diff",
    "doctor",
    "port-forward",
    "promote",
];

/// What it does without one.
const ELSEWHERE: [&str; 5] = ["explain", "render", "settings", "completions", "man"];

/// How this run reached its set, as far as its command line said it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Address {
    /// What a person types to run this, where it is not `pgset`.
    program: Option<&'static str>,
    /// Flags of pgset's own, by name and value.
    of_set: Vec<(&'static str, String)>,
    /// Flags that kubectl has as well.
    of_cluster: Vec<(&'static str, String)>,
}

impl Address {
    /// Flags are pairs of a name and a value, as they were given: those that say which set, and those that say which cluster
    /// and as whom.
    #[must_use]
    pub fn new<'a>(
        program: &'static str,
        of_set: impl IntoIterator<Item = (&'static str, &'a str)>,
        of_cluster: impl IntoIterator<Item = (&'static str, &'a str)>,
    ) -> Self {
        let owned = |(flag, value): (&'static str, &str)| (flag, word(value));
        Self {
            program: (program != "pgset").then_some(program),
            of_set: of_set.into_iter().map(owned).collect(),
            of_cluster: of_cluster.into_iter().map(owned).collect(),
        }
    }

    /// The text with the flags in every command of pgset's and kubectl's that asks the cluster, but for those that it has.
    #[must_use]
    pub fn carried(&self, text: &str) -> String {
        let mut line = String::new();
        let mut rest = text;
        while let Some(start) = next_command(rest) {
            line.push_str(&rest[..start]);
            let command = &rest[start..];
            let (program, after) = command.split_once(' ').unwrap_or((command, ""));
            let end = next_command(after).unwrap_or(after.len());
            // With the blank before it.
            let has = &command[program.len()..][..=end];
            if program == "kubectl" {
                line.push_str("kubectl");
                line.push_str(&lacking(&self.of_cluster, has));
                line.push(' ');
                rest = after;
                continue;
            }
            let verb = verb(after);
            let as_plugin = line.ends_with("kubectl ");
            line.push_str(self.program.filter(|_| !as_plugin).unwrap_or("pgset"));
            line.push(' ');
            line.push_str(verb);
            if VERBS.contains(&verb) {
                // A list is of all sets.
                let of_set = self.of_set.iter().filter(|(flag, _)| verb != "list" || *flag != "--name");
                line.push_str(&lacking(of_set, has));
                line.push_str(&lacking(&self.of_cluster, has));
            }
            rest = &after[verb.len()..];
        }
        line + rest
    }
}

/// The flags that a command's words do not have.
fn lacking<'a>(flags: impl IntoIterator<Item = &'a (&'static str, String)>, words: &str) -> String {
    let lacks = |(flag, value): &&(&'static str, String)| match *flag {
        // Who names a place means that place.
        "-n" => ![" -n ", " --namespace ", " -A"].iter().any(|named| words.contains(named)),
        // May be there several times.
        "--as-group" => !words.contains(&format!(" {flag} {value}")),
        _ => !words.contains(&format!(" {flag} ")),
    };
    flags.into_iter().filter(lacks).map(|(flag, value)| format!(" {flag} {value}")).collect()
}

/// Where the next word is that runs pgset, or kubectl but as pgset's own name.
fn next_command(text: &str) -> Option<usize> {
    let whole = |at: &usize| text[..*at].chars().next_back().is_none_or(|c| matches!(c, ' ' | '`' | '(' | ';'));
    // Without a verb behind it, it is the name of a set or a container.
    let runs = |at: &usize| {
        let verb = verb(&text[at + "pgset ".len()..]);
        VERBS.contains(&verb) || ELSEWHERE.contains(&verb)
    };
    let pgset = text.match_indices("pgset ").map(|(at, _)| at).filter(runs).find(whole);
    let kubectl = text.match_indices("kubectl ").map(|(at, _)| at);
    let kubectl = kubectl.filter(|at| !text[*at..].starts_with("kubectl pgset ")).find(whole);
    pgset.into_iter().chain(kubectl).min()
}

/// The word that the text begins with.
fn verb(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_lowercase() && c != '-').unwrap_or(text.len());
    &text[..end]
}

/// A word of a shell, as plain as it may be.
fn word(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._,@:/+=%".contains(c);
    if !value.is_empty() && value.chars().all(plain) { value.to_owned() } else { shell_word(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_that_asks_the_cluster_carries_how_it_was_reached() {
        let cluster = [("--context", "prod"), ("--kubeconfig", "/etc/my config"), ("--as", "eve")];
        let given = Address::new("pgset", [("--name", "orders"), ("-n", "db")], cluster);
        let there = "--context prod --kubeconfig '/etc/my config' --as eve";
        let set = format!("--name orders -n db {there}");
        for (text, carried) in [
            ("put it back: pgset up -n shop", "put it back: pgset up --name orders THERE -n shop"),
            ("keep it: pgset scale 3 is the least that does", "keep it: pgset scale SET 3 is the least that does"),
            ("kubectl -n db get secret x", "kubectl THERE -n db get secret x"),
            (
                "pgset down && kubectl -n db delete pvc x && pgset up --size …",
                "pgset down SET && kubectl THERE -n db delete pvc x && pgset up SET --size …",
            ),
            (
                "from here: pgset psql SET, or pgset port-forward",
                "from here: pgset psql SET, or pgset port-forward SET",
            ),
            ("look everywhere: pgset list -A", "look everywhere: pgset list THERE -A"),
            ("kubectl exec p -c pgset -- psql; mypgset up", "kubectl THERE exec p -c pgset -- psql; mypgset up"),
            ("kubectl describe statefulset pgset -o yaml", "kubectl THERE describe statefulset pgset -o yaml"),
            ("`pgset status` shows it", "`pgset status SET` shows it"),
            // These ask no cluster.
            ("pgset render --eject DIR; pgset explain PGS-X", "pgset render --eject DIR; pgset explain PGS-X"),
            ("until pgset is newer", "until pgset is newer"),
            ("nothing to do with it", "nothing to do with it"),
        ] {
            let whole = |text: &str| text.replace("SET", &set).replace("THERE", there);
            assert_eq!(given.carried(&whole(text)), whole(carried));
            assert_eq!(given.carried(&whole(carried)), whole(carried), "once is enough");
        }
        let groups = Address::new("pgset", [], [("--as", "eve"), ("--as-group", "a"), ("--as-group", "b")]);
        assert_eq!(groups.carried("pgset wait"), "pgset wait --as eve --as-group a --as-group b");
    }

    #[test]
    fn as_kubectls_plugin_commands_are_kubectls() {
        let plugin = Address::new("kubectl pgset", [], []);
        assert_eq!(plugin.carried("put it back: pgset up -n db"), "put it back: kubectl pgset up -n db");
        assert_eq!(plugin.carried("kubectl pgset up; kubectl get pods"), "kubectl pgset up; kubectl get pods");
        let there = Address::new("kubectl pgset", [], [("--context", "prod")]);
        assert_eq!(there.carried("pgset up"), "kubectl pgset up --context prod");
        assert_eq!(there.carried("kubectl pgset up --context prod"), "kubectl pgset up --context prod");
        assert_eq!(there.carried("all codes: pgset explain x"), "all codes: kubectl pgset explain x");
    }

    #[test]
    fn without_flags_nothing_changes() {
        let text = "pgset down && kubectl delete pvc x";
        assert_eq!(Address::new("pgset", [], []).carried(text), text);
    }
}
