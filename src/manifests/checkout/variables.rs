//! `$VAR` and `${VAR}` in a checkout's manifests: which there may be, and what they stand for.
//!
//! The seed ran its files through `envsubst`. Here only variables of a fixed list are replaced, inside of values that are
//! parsed already, so that no value changes a manifest's shape.

use serde_json::{Map, Value};

use super::envvars::is_name;
use super::error::CheckoutError;
use crate::settings::{CHECKOUT_VARIABLES, Setting};

/// The later examples' part of a security context: not a value but members of an object, outside of any quotes.
const SECURITY_CONTEXT: &str = "CCP_SECURITY_CONTEXT";

/// The variables a manifest may name.
pub(super) fn known() -> impl Iterator<Item = &'static str> {
    let settings = Setting::ALL.into_iter().filter(|setting| !setting.is_secret());
    settings.flat_map(Setting::variables).copied().filter(|name| !name.starts_with("PGSET_")).chain(CHECKOUT_VARIABLES)
}

/// A piece of a text.
#[derive(Debug, PartialEq, Eq)]
enum Piece<'a> {
    Text(&'a str),
    Variable(&'a str),
}

/// The pieces of a text, as `envsubst` sees them.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut found = Vec::new();
    let mut start = 0;
    let mut at = 0;
    while let Some(dollar) = text[at..].find('$').map(|offset| at + offset) {
        let after = &text[dollar + 1..];
        let (name, end) = if let Some(inner) = after.strip_prefix('{') {
            inner.split_once('}').map_or(("", 0), |(name, _)| (name, dollar + 3 + name.len()))
        } else {
            let length = after.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(after.len());
            (&after[..length], dollar + 1 + length)
        };
        if is_name(name) {
            found.push(Piece::Text(&text[start..dollar]));
            found.push(Piece::Variable(name));
            (start, at) = (end, end);
        } else {
            at = dollar + 1;
        }
    }
    found.push(Piece::Text(&text[start..]));
    found.retain(|piece| *piece != Piece::Text(""));
    found
}

/// The variable that a text is, and nothing beside it.
pub(super) fn alone(text: &str) -> Option<&str> {
    match pieces(text)[..] {
        [Piece::Variable(name)] => Some(name),
        _ => None,
    }
}

/// The text with every variable replaced, or the first that has no value.
pub(super) fn filled(text: &str, value_of: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::new();
    for piece in pieces(text) {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Variable(name) => out.push_str(&value_of(name).ok_or_else(|| name.to_owned())?),
        }
    }
    Ok(out)
}

/// JSON with a variable outside of quotes as JSON: the variable becomes a text, or, where it stands for members of an
/// object, a member of its name.
pub(super) fn quoted(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut rest = json;
    let (mut inside, mut escaped) = (false, false);
    while let Some(c) = rest.chars().next() {
        if !inside
            && c == '$'
            && let Some(name) = match pieces(rest).first() {
                Some(Piece::Variable(name)) => Some((*name).to_owned()),
                _ => None,
            }
        {
            let braces = if rest[1..].starts_with('{') { 2 } else { 0 };
            out.push_str(&format!("\"${name}\""));
            if name == SECURITY_CONTEXT {
                out.push_str(": null");
            }
            rest = &rest[1 + braces + name.len()..];
            continue;
        }
        inside = match (inside, c) {
            (true, '"') => escaped,
            (false, '"') => true,
            (inside, _) => inside,
        };
        escaped = inside && c == '\\' && !escaped;
        out.push(c);
        rest = &rest[c.len_utf8()..];
    }
    out
}

/// Looks at every text of a document, keys included.
///
/// # Errors
///
/// A variable that is not on the list, with where it stands.
pub(super) fn check(file: &str, document: &Value) -> Result<(), CheckoutError> {
    visit(document, String::new(), &mut |at, text| {
        let stranger = pieces(text).into_iter().find_map(|piece| match piece {
            Piece::Variable(name) if !known().any(|one| one == name) => Some(name.to_owned()),
            _ => None,
        });
        match stranger {
            None => Ok(()),
            Some(name) => Err(CheckoutError::new(file, at, format!("unknown variable ${name}"))
                .hinted(format!("the variables that are replaced: {}", known().collect::<Vec<_>>().join(", ")))
                .hinted_for_pods()),
        }
    })
}

impl CheckoutError {
    fn hinted_for_pods(mut self) -> Self {
        if let Some(hint) = &mut self.hint {
            hint.push_str("; a container's own variable is written $(NAME)");
        }
        self
    }
}

fn visit(
    value: &Value,
    at: String,
    look: &mut impl FnMut(&str, &str) -> Result<(), CheckoutError>,
) -> Result<(), CheckoutError> {
    match value {
        Value::String(text) => look(&at, text),
        Value::Array(items) => {
            items.iter().enumerate().try_for_each(|(index, item)| visit(item, format!("{at}[{index}]"), look))
        }
        Value::Object(entries) => entries.iter().try_for_each(|(key, item)| {
            look(&format!("{at}.{key}"), key)?;
            visit(item, format!("{at}.{key}"), look)
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

/// The document with every variable replaced.
///
/// # Errors
///
/// A variable without a value, with where it stands.
pub(super) fn fill(
    file: &str,
    document: &Value,
    value_of: &dyn Fn(&str) -> Option<String>,
) -> Result<Value, CheckoutError> {
    fill_at(
        document,
        "",
        &|at, text| {
            filled(text, value_of).map_err(|name| {
                CheckoutError::new(file, at, format!("${name} has no value"))
                    .hinted(format!("export {name}=…, or write the value into the file"))
            })
        },
        value_of,
    )
}

fn fill_at(
    value: &Value,
    at: &str,
    text: &dyn Fn(&str, &str) -> Result<String, CheckoutError>,
    value_of: &dyn Fn(&str) -> Option<String>,
) -> Result<Value, CheckoutError> {
    Ok(match value {
        Value::String(given) => Value::String(text(at, given)?),
        Value::Array(items) => {
            let item = |(index, item)| fill_at(item, &format!("{at}[{index}]"), text, value_of);
            Value::Array(items.iter().enumerate().map(item).collect::<Result<_, _>>()?)
        }
        Value::Object(entries) => {
            let mut out = Map::new();
            for (key, item) in entries {
                let path = format!("{at}.{key}");
                if alone(key) == Some(SECURITY_CONTEXT) {
                    out.extend(members(&path, value_of, text)?);
                } else {
                    out.insert(text(&path, key)?, fill_at(item, &path, text, value_of)?);
                }
            }
            Value::Object(out)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    })
}

/// What `$CCP_SECURITY_CONTEXT` stands for: nothing, or members such as `"fsGroup":26`.
fn members(
    at: &str,
    value_of: &dyn Fn(&str) -> Option<String>,
    text: &dyn Fn(&str, &str) -> Result<String, CheckoutError>,
) -> Result<Map<String, Value>, CheckoutError> {
    let Some(given) = value_of(SECURITY_CONTEXT).filter(|given| !given.trim().is_empty()) else {
        return Ok(Map::new());
    };
    match crate::yaml::json_documents(&format!("{{{given}}}")).as_deref() {
        Ok([Value::Object(members)]) => Ok(members.clone()),
        // Asked for by its name, it is told with the file.
        _ => text(at, "").and_then(|_| {
            Err(CheckoutError::new(at, "", format!("${SECURITY_CONTEXT} is no list of members like \"fsGroup\":26")))
        }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn value_of(name: &str) -> Option<String> {
        match name {
            "NFS_PATH" => Some("/nfs".to_owned()),
            "LOCAL_IP" => Some("10.0.0.1".to_owned()),
            "CCP_IMAGE_TAG" => Some("x\", \"y\": \"z".to_owned()),
            "CCP_SECURITY_CONTEXT" => Some("\"fsGroup\": 26".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn texts_are_filled() {
        for (text, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("$NFS_PATH", "/nfs"),
            ("${NFS_PATH}/$LOCAL_IP-x", "/nfs/10.0.0.1-x"),
            ("$$NFS_PATH", "$/nfs"),
            ("a$ $(NFS_PATH) $5 ${} ${A-b} $", "a$ $(NFS_PATH) $5 ${} ${A-b} $"),
            ("${NFS_PATH", "${NFS_PATH"),
            ("ü$NFS_PATHü", "ü/nfsü"),
        ] {
            assert_eq!(filled(text, &value_of).as_deref(), Ok(expected), "{text}");
        }
        assert_eq!(filled("$NFS_PATH$CCP_CLI", &value_of), Err("CCP_CLI".to_owned()));
        assert_eq!((alone("$A"), alone("${A}"), alone("$A "), alone("A")), (Some("A"), Some("A"), None, None));
    }

    #[test]
    fn no_value_changes_the_shape() {
        let document = json!({"image": "p:$CCP_IMAGE_TAG", "list": [1, "$LOCAL_IP"], "${LOCAL_IP}": null});
        let filled = fill("set.json", &document, &value_of).expect("all have values");
        assert_eq!(filled, json!({"image": "p:x\", \"y\": \"z", "list": [1, "10.0.0.1"], "10.0.0.1": null}));
    }

    #[test]
    fn unknown_and_empty_variables_are_named_with_their_place() {
        let document = json!({"spec": {"containers": [{"env": [{"value": "$PGHOST"}]}]}});
        let error = check("set.json", &document).expect_err("unknown");
        assert_eq!(error.to_string(), "set.json: .spec.containers[0].env[0].value: unknown variable $PGHOST");
        assert!(error.hint.expect("a hint").contains("CCP_IMAGE_TAG, CCP_IMAGE_PREFIX"));
        assert_eq!(check("a", &json!({"$B": 1})).expect_err("unknown").to_string(), "a: .$B: unknown variable $B");
        assert_eq!(check("a", &json!(["$NFS_PATH", "${CCP_STORAGE_MODE}", 1, null, true])), Ok(()));
        let error = fill("pv1.json", &json!({"spec": ["$CCP_NFS_IP"]}), &value_of).expect_err("no value");
        assert_eq!(error.to_string(), "pv1.json: .spec[0]: $CCP_NFS_IP has no value");
        assert!(!known().any(|name| name.contains("PASSWORD")));
    }

    #[test]
    fn variables_outside_of_quotes() {
        let read = |text: &str| crate::yaml::json_documents(&quoted(text));
        assert_eq!(read("{\"a\": $A, \"b\\\"$B\": ${C}}"), Ok(vec![json!({"a": "$A", "b\"$B": "$C"})]));
        let document = read("{\"securityContext\": {\n\t$CCP_SECURITY_CONTEXT\n}}").expect("json").remove(0);
        assert_eq!(check("a", &document), Ok(()));
        assert_eq!(fill("a", &document, &value_of), Ok(json!({"securityContext": {"fsGroup": 26}})));
        assert_eq!(fill("a", &document, &|_| None), Ok(json!({"securityContext": {}})));
        let error = fill("a", &document, &|_| Some("}, {".to_owned())).expect_err("no members");
        assert!(error.to_string().contains("no list of members"), "{error}");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[ -~ü$\\{\\}]{0,40}") {
            let _ = quoted(&text);
            let plain = filled(&text, &|name| Some(format!("${name}")));
            prop_assert!(plain.is_ok());
            let document = json!({"a": [text.clone()]});
            let _ = check("a", &document);
            let _ = fill("a", &document, &value_of);
        }

        #[test]
        fn json_without_variables_stays(a in "[^$]{0,20}", b in "\\PC{0,20}") {
            let text = json!({"a": a, "b": b}).to_string();
            prop_assert_eq!(crate::yaml::json_documents(&quoted(&text)), Ok(vec![json!({"a": a, "b": b})]));
        }
    }
}
