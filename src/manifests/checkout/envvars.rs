//! `examples/envvars.sh` as data: the `export` lines a shell would set, read and never run.

use std::collections::BTreeMap;

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Envvars {
    pub exports: BTreeMap<String, Export>,
    /// The lines that say something else, counted from 1, each with the reason it was not looked at.
    pub ignored: Vec<(usize, String)>,
}

/// One exported variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Export {
    pub value: Exported,
    /// Counted from 1.
    pub line: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Exported {
    Text(String),
    /// `hostname --ip-address`: this machine's address.
    MachineAddress,
}

/// The lines of `text`. `outside` is a variable of the environment, which stands above the file's.
pub(super) fn parse(text: &str, outside: &dyn Fn(&str) -> Option<String>) -> Envvars {
    let mut found = Envvars::default();
    for (index, line) in text.lines().enumerate() {
        let (number, line) = (index + 1, line.trim());
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match export(line, &found, outside) {
            Ok((name, value)) => {
                found.exports.insert(name, Export { value, line: number });
            }
            Err(reason) => found.ignored.push((number, reason)),
        }
    }
    found
}

fn export(
    line: &str,
    before: &Envvars,
    outside: &dyn Fn(&str) -> Option<String>,
) -> Result<(String, Exported), String> {
    let not_an_export = || "is no export".to_owned();
    let rest = line.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t'])).ok_or_else(not_an_export)?;
    let (name, word) = rest.trim_start().split_once('=').ok_or_else(|| "exports without giving a value".to_owned())?;
    if !is_name(name) {
        return Err(format!("exports what is no variable's name: {name:?}"));
    }
    let lookup = |name: &str| {
        // Only a text can stand inside another: an address that is asked of this machine is not known here.
        outside(name).or_else(|| match &before.exports.get(name)?.value {
            Exported::Text(text) => Some(text.clone()),
            Exported::MachineAddress => None,
        })
    };
    let whole = bare(word);
    if is_address_call(whole) {
        return Ok((name.to_owned(), Exported::MachineAddress));
    }
    // What is another variable alone may be the machine's address as well.
    if let Some(other) = whole.strip_prefix('$').map(|other| other.trim_start_matches('{').trim_end_matches('}'))
        && outside(other).is_none()
        && before.exports.get(other).is_some_and(|export| export.value == Exported::MachineAddress)
    {
        return Ok((name.to_owned(), Exported::MachineAddress));
    }
    Ok((name.to_owned(), Exported::Text(value(word, &lookup)?)))
}

pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The word without a comment behind it and the double quotes around it.
fn bare(word: &str) -> &str {
    let word = word.split_once(" #").map_or(word, |(word, _)| word).trim();
    word.strip_prefix('"').and_then(|word| word.strip_suffix('"')).unwrap_or(word)
}

fn is_address_call(word: &str) -> bool {
    let inner = word
        .strip_prefix('`')
        .and_then(|word| word.strip_suffix('`'))
        .or_else(|| word.strip_prefix("$(").and_then(|word| word.strip_suffix(')')));
    let words: Vec<&str> = inner.unwrap_or_default().split_whitespace().collect();
    matches!(
        words[..],
        ["hostname" | "/bin/hostname" | "/usr/bin/hostname", "--ip-address" | "-i" | "-I" | "--all-ip-addresses"]
    )
}

/// One word of the shell: quotes taken off, variables put in.
fn value(word: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = word;
    let mut double = false;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        rest = match c {
            '\'' if !double => {
                let (text, after) = after.split_once('\'').ok_or("has a quote that does not end")?;
                out.push_str(text);
                after
            }
            '"' => {
                double = !double;
                after
            }
            '\\' => {
                let next = after.chars().next().ok_or("goes on in another line")?;
                // Inside double quotes a backslash stands for itself but before these.
                if double && !matches!(next, '$' | '`' | '"' | '\\') {
                    out.push('\\');
                }
                out.push(next);
                &after[next.len_utf8()..]
            }
            '`' => return Err("runs a command".to_owned()),
            '$' => {
                let (text, after) = variable(after, lookup)?;
                out.push_str(&text);
                after
            }
            ' ' | '\t' if !double => {
                let after = after.trim_start();
                if after.is_empty() || after.starts_with('#') {
                    return Ok(out);
                }
                return Err("says more than one value".to_owned());
            }
            ';' | '&' | '|' | '<' | '>' | '(' | ')' if !double => return Err("does more than export".to_owned()),
            '~' | '*' | '?' | '[' if !double => return Err(format!("has a {c} that the shell would replace")),
            c => {
                out.push(c);
                after
            }
        };
    }
    if double { Err("has a quote that does not end".to_owned()) } else { Ok(out) }
}

/// What stands behind a `$`, and what comes after it.
fn variable<'a>(after: &'a str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<(String, &'a str), String> {
    let known = |name: &str| lookup(name).ok_or_else(|| format!("names ${name}, which has no value before it"));
    if let Some(inner) = after.strip_prefix('{') {
        let (name, rest) = inner.split_once('}').ok_or("has a brace that does not end")?;
        if !is_name(name) {
            return Err("works on a variable".to_owned());
        }
        return Ok((known(name)?, rest));
    }
    let end = after.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(after.len());
    let (name, rest) = after.split_at(end);
    if name.is_empty() && !rest.starts_with(['(', '?', '!', '@', '*', '#', '$', '-']) {
        return Ok(("$".to_owned(), rest));
    }
    if !is_name(name) {
        return Err(
            if rest.starts_with('(') { "runs a command" } else { "names a variable of the shell's own" }.to_owned()
        );
    }
    Ok((known(name)?, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text_of(found: &Envvars, name: &str) -> Option<String> {
        match &found.exports.get(name)?.value {
            Exported::Text(text) => Some(text.clone()),
            Exported::MachineAddress => Some("(address)".to_owned()),
        }
    }

    fn nothing(_: &str) -> Option<String> {
        None
    }

    #[test]
    fn values_are_the_shells() {
        for (word, expected) in [
            ("default", "default"),
            ("/nfsfileshare   # where it is", "/nfsfileshare"),
            ("'a $B `c` \"d\"'", "a $B `c` \"d\""),
            ("\"a \\\"b\\\" \\$c \\d\"", "a \"b\" $c \\d"),
            ("a'b c'd\"e f\"\\ g", "ab cde f g"),
            ("", ""),
            ("$EARLIER/sub", "/earlier/sub"),
            ("\"${EARLIER}er\"", "/earlierer"),
            ("$OUT-x", "outside-x"),
            ("5$", "5$"),
            ("a#b", "a#b"),
            ("`hostname --ip-address`", "(address)"),
            ("\"$(hostname  -i)\"  # here", "(address)"),
            ("$ADDRESS", "(address)"),
            ("\"${ADDRESS}\"", "(address)"),
        ] {
            let text = format!("export EARLIER=/earlier\n  export ADDRESS=`hostname --ip-address`\nexport A={word}\n");
            let outside = |name: &str| (name == "OUT").then(|| "outside".to_owned());
            let found = parse(&text, &outside);
            assert_eq!(text_of(&found, "A").as_deref(), Some(expected), "{word}: {:?}", found.ignored);
            assert_eq!((found.exports["A"].line, &found.ignored[..]), (3, &[][..]), "{word}");
        }
    }

    #[test]
    fn what_is_no_plain_export_is_ignored_with_the_reason() {
        for (line, reason) in [
            ("echo hello", "is no export"),
            ("exportA=b", "is no export"),
            ("A=b", "is no export"),
            ("export A", "without giving a value"),
            ("export A B=c", "no variable's name"),
            ("export A=`date`", "runs a command"),
            ("export A=$(date)", "runs a command"),
            ("export A=\"$(rm -rf /)\"", "runs a command"),
            ("export A=x$(hostname --ip-address)", "runs a command"),
            ("export A=b; rm -rf /", "more than export"),
            ("export A=b && c", "more than one value"),
            ("export A=b c", "more than one value"),
            ("export A='b", "does not end"),
            ("export A=\"b", "does not end"),
            ("export A=b\\", "goes on"),
            ("export A=$NOWHERE", "$NOWHERE, which has no value"),
            ("export A=${B:-c}", "works on a variable"),
            ("export A=${B", "does not end"),
            ("export A=$?", "shell's own"),
            ("export A=$1", "shell's own"),
            ("export A=~/b", "replace"),
            ("export A=*", "replace"),
        ] {
            let found = parse(&format!("\n# comment\n{line}\n"), &nothing);
            assert!(found.exports.is_empty(), "{line}: {:?}", found.exports);
            assert!(found.ignored[0].0 == 3 && found.ignored[0].1.contains(reason), "{line}: {:?}", found.ignored);
        }
    }

    #[test]
    fn the_environment_stands_above_and_the_last_export_counts() {
        let found = parse("export A=1\nexport B=$A\nexport A=2\n", &|name: &str| (name == "A").then(|| "0".to_owned()));
        assert_eq!((text_of(&found, "B").as_deref(), text_of(&found, "A").as_deref()), (Some("0"), Some("2")));
        assert_eq!(found.exports["A"].line, 3);
    }

    proptest! {
        #[test]
        fn no_text_panics_and_every_line_is_accounted_for(text in "(export [A-C]=)?[ -~\\n]{0,80}") {
            let found = parse(&text, &nothing);
            let said = text.lines().filter(|line| !line.trim().is_empty() && !line.trim().starts_with('#')).count();
            prop_assert!(found.ignored.len() + found.exports.len() <= said);
            let exports = text.lines().filter(|line| line.trim().starts_with("export")).count();
            prop_assert!(found.ignored.len() + exports >= said);
        }
    }
}
