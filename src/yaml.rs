//! YAML in and out, as [`serde_json::Value`]: the only user of `serde_yaml` (deprecated upstream).
//!
//! Stricter than YAML: duplicate keys, tags, non-finite numbers and documents that grow by aliases are refused. What it
//! writes means the same to a YAML 1.1 reader (kubectl, PyYAML) as to a YAML 1.2 one. Reads and writes no files.

use std::cell::Cell;
use std::fmt;

use serde::Deserialize as _;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error as _, MapAccess, SeqAccess, Visitor,
};
use serde_json::{Map, Number, Value};
use thiserror::Error;

/// Where and why a text is not the YAML pgset accepts.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{message}{}", position(*.line, *.column))]
pub struct YamlError {
    /// Counted from 1; 0 when unknown.
    pub line: usize,
    /// Counted from 1; 0 when unknown.
    pub column: usize,
    pub message: String,
}

fn position(line: usize, column: usize) -> String {
    if line == 0 { String::new() } else { format!(" at line {line} column {column}") }
}

impl From<serde_yaml::Error> for YamlError {
    fn from(error: serde_yaml::Error) -> Self {
        let (line, column) = error.location().map_or((0, 0), |at| (at.line(), at.column()));
        let text = error.to_string();
        let message = text.strip_suffix(&position(line, column)).unwrap_or(&text).to_owned();
        Self { line, column, message }
    }
}

/// The one document in `text`; an empty text is `Null`.
///
/// # Errors
///
/// When the text is not YAML, holds more than one document, or holds what this module refuses.
pub fn parse(text: &str) -> Result<Value, YamlError> {
    let mut all = documents(text)?;
    match all.len() {
        0 => Ok(Value::Null),
        1 => Ok(all.remove(0)),
        n => Err(YamlError { line: 0, column: 0, message: format!("expected one document, found {n}") }),
    }
}

/// The documents in `text`, in order, without the empty ones.
///
/// # Errors
///
/// When the text is not YAML or holds what this module refuses.
pub fn documents(text: &str) -> Result<Vec<Value>, YamlError> {
    let budget = Cell::new(budget(text));
    let mut all = Vec::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        let value = Node { budget: &budget }.deserialize(document)?;
        if !value.is_null() {
            all.push(value);
        }
    }
    Ok(all)
}

/// The JSON documents in `text`, one after another as kubectl takes them, with what this module refuses refused.
///
/// # Errors
///
/// When the text is not JSON or holds what this module refuses.
pub fn json_documents(text: &str) -> Result<Vec<Value>, YamlError> {
    let budget = Cell::new(budget(text));
    let mut stream = serde_json::Deserializer::from_str(text);
    let mut all = Vec::new();
    while stream.end().is_err() {
        let value = Node { budget: &budget }.deserialize(&mut stream).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let text = error.to_string();
            let message = text.strip_suffix(&position(line, column)).unwrap_or(&text).to_owned();
            YamlError { line, column, message }
        })?;
        all.push(value);
    }
    Ok(all)
}

/// Like [`parse`], with every scalar but null as the text that was written: `1.10` stays `1.10`.
///
/// # Errors
///
/// As [`parse`].
pub fn parse_verbatim(text: &str) -> Result<Value, YamlError> {
    let shape = parse(text)?;
    if shape.is_null() {
        return Ok(shape);
    }
    // A leading `---` or comment-only document makes several, of which `parse` found one that is not empty.
    for document in serde_yaml::Deserializer::from_str(text) {
        let value = Verbatim(&shape).deserialize(document);
        if let Ok(value) = value {
            return Ok(value);
        }
    }
    Ok(shape)
}

/// The one document in `text` as a `T`, for texts that [`parse`] accepts: an error says where in the text it is.
///
/// # Errors
///
/// When the document is not a `T`.
pub fn parse_as<T: DeserializeOwned>(text: &str) -> Result<T, YamlError> {
    Ok(serde_yaml::from_str(text)?)
}

/// `value` as one YAML document, block style, ending in a newline.
#[must_use]
pub fn to_string(value: &Value) -> String {
    let mut marker = String::from("&\u{e000}");
    while holds(value, &marker) {
        marker.push('\u{e000}');
    }
    // A JSON value has string keys and finite numbers only, which always serialise.
    let text = serde_yaml::to_string(&mark(value, &marker)).unwrap_or_default();
    text.replace(&marker, "")
}

/// Bytes and nodes a document may amount to once its aliases are followed.
fn budget(text: &str) -> usize {
    text.len().saturating_mul(4).saturating_add(1024)
}

struct Node<'a> {
    budget: &'a Cell<usize>,
}

impl Node<'_> {
    fn spend<E: serde::de::Error>(&self, cost: usize) -> Result<(), E> {
        let left = self.budget.get().checked_sub(cost.saturating_add(1));
        self.budget.set(left.unwrap_or(0));
        left.map(|_| ()).ok_or_else(|| E::custom("the document grows too large when its aliases are followed"))
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value that JSON can hold")
    }

    fn visit_bool<E: serde::de::Error>(self, v: bool) -> Result<Value, E> {
        self.spend(0)?;
        Ok(Value::Bool(v))
    }

    fn visit_i64<E: serde::de::Error>(self, v: i64) -> Result<Value, E> {
        self.spend(0)?;
        Ok(Value::from(v))
    }

    fn visit_u64<E: serde::de::Error>(self, v: u64) -> Result<Value, E> {
        self.spend(0)?;
        Ok(Value::from(v))
    }

    fn visit_f64<E: serde::de::Error>(self, v: f64) -> Result<Value, E> {
        self.spend(0)?;
        Number::from_f64(v).map(Value::Number).ok_or_else(|| E::custom("expected a finite number"))
    }

    fn visit_str<E: serde::de::Error>(self, v: &str) -> Result<Value, E> {
        self.spend(v.len())?;
        Ok(Value::String(v.to_owned()))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Value, E> {
        self.spend(0)?;
        Ok(Value::Null)
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<Value, E> {
        self.visit_unit()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        self.spend(0)?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(Node { budget: self.budget })? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        self.spend(0)?;
        let mut entries = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            self.spend(key.len())?;
            if entries.contains_key(&key) {
                return Err(A::Error::custom(format!("the key {key:?} is given twice")));
            }
            let value = map.next_value_seed(Node { budget: self.budget })?;
            entries.insert(key, value);
        }
        Ok(Value::Object(entries))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<Value, A::Error> {
        Err(A::Error::custom("tags (`!name`) are not accepted"))
    }
}

/// Reads again what [`Node`] has read and judged, asking for text where it found a scalar.
struct Verbatim<'a>(&'a Value);

impl<'de> DeserializeSeed<'de> for Verbatim<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        match self.0 {
            Value::Null => <()>::deserialize(deserializer).map(|()| Value::Null),
            Value::Array(_) => deserializer.deserialize_seq(self),
            Value::Object(_) => deserializer.deserialize_map(self),
            Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                String::deserialize(deserializer).map(Value::String)
            }
        }
    }
}

impl<'de> Visitor<'de> for Verbatim<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the same document again")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        for shape in self.0.as_array().into_iter().flatten() {
            items.extend(seq.next_element_seed(Verbatim(shape))?);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = map.next_value_seed(Verbatim(&self.0[&key]))?;
            entries.insert(key, value);
        }
        Ok(Value::Object(entries))
    }
}

/// Whether a YAML 1.1 reader would take the plain text `s` for something other than a string although `serde_yaml`,
/// a 1.2 writer, leaves it unquoted: `yes`, `on`, `1_000`, `12:30`, `2026-01-01`.
fn ambiguous(s: &str) -> bool {
    const WORDS: [&str; 9] = ["y", "yes", "n", "no", "on", "off", "=", "<<", "-"];
    if WORDS.iter().any(|word| s.eq_ignore_ascii_case(word)) {
        return true;
    }
    let number_like = s.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.'));
    number_like && s.contains(['_', ':', '-', '+'])
}

/// Puts `marker` before every ambiguous string. It starts with an indicator, so the writer must quote it; removing the
/// marker afterwards leaves the quotes.
fn mark(value: &Value, marker: &str) -> Value {
    let text = |s: &str| if ambiguous(s) { format!("{marker}{s}") } else { s.to_owned() };
    match value {
        Value::String(s) => Value::String(text(s)),
        Value::Array(items) => items.iter().map(|item| mark(item, marker)).collect(),
        Value::Object(entries) => entries.iter().map(|(key, item)| (text(key), mark(item, marker))).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

fn holds(value: &Value, marker: &str) -> bool {
    match value {
        Value::String(s) => s.contains(marker),
        Value::Array(items) => items.iter().any(|item| holds(item, marker)),
        Value::Object(entries) => entries.iter().any(|(key, item)| key.contains(marker) || holds(item, marker)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_what_json_can_hold() {
        let text = "a: 1\nb: [x, 2.5, true, ~]\nc:\n  d: |\n    one\n    two\n1: numeric key\n";
        let expected = json!({"a": 1, "b": ["x", 2.5, true, null], "c": {"d": "one\ntwo\n"}, "1": "numeric key"});
        assert_eq!(parse(text), Ok(expected));
        assert_eq!(parse(""), Ok(Value::Null));
        assert_eq!(parse("# nothing\n---\na: b\n"), Ok(json!({"a": "b"})));
        assert_eq!(documents("a: 1\n---\n---\nb: 2\n"), Ok(vec![json!({"a": 1}), json!({"b": 2})]));
    }

    #[test]
    fn refuses_with_a_place_and_a_reason() {
        let bomb = format!("a: &a [{}]\nb: &b [{}]\nc: [{}]\n", "x, ".repeat(50), "*a, ".repeat(50), "*b, ".repeat(50));
        let long_bomb = format!("a: &a {}\nb: [{}]\n", "x".repeat(5000), "*a, ".repeat(1000));
        let deep = "[".repeat(200);
        for (text, line, part) in [
            ("a: 1\na: 2\n", 1, "given twice"),
            ("a: 1\nb: {c: 1, c: 2}\n", 2, "given twice"),
            ("a: !secret x\n", 1, "tags"),
            ("a: .nan\n", 1, "finite"),
            ("a: [1, 2\nb: 3\n", 2, "did not find expected"),
            ("a: b: c\n", 1, "mapping values are not allowed"),
            ("? [a]\n: b\n", 1, "expected a string"),
            (&bomb, 0, "aliases"),
            (&long_bomb, 0, "aliases"),
            (&deep, 0, ""),
            ("a: 1\n---\nb: 2\n", 0, "one document"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.message.contains(part), "{text}: {error}");
            assert!(line == 0 || error.line == line, "{text}: {error:?}");
        }
    }

    #[test]
    fn json_documents_follow_each_other() {
        assert_eq!(
            json_documents("{\"a\":\t1}\n\n{\"b\": [true, null]} "),
            Ok(vec![json!({"a": 1}), json!({"b": [true, null]})])
        );
        assert_eq!(json_documents("  \n"), Ok(Vec::new()));
        let deep = "[".repeat(200);
        for (text, line, part) in [
            ("{\"a\": 1,\n \"a\": 2}", 2, "given twice"),
            ("{\"a\": 1,\n}", 2, "trailing comma"),
            ("{} x", 1, "expected value"),
            (&deep, 1, "recursion limit"),
        ] {
            let error = json_documents(text).expect_err(text);
            assert!(error.message.contains(part) && error.line == line, "{text}: {error:?}");
        }
    }

    #[test]
    fn verbatim_keeps_the_text() {
        let text =
            "---\ntag: 1.10\nzeros: 007\nbig: 1_000\nyes: true\nquoted: \"1.10\"\nnone: ~\nmap: {a: 1e3, b: [0x10]}\n";
        let expected = json!({
            "tag": "1.10", "zeros": "007", "big": "1_000", "yes": "true", "quoted": "1.10", "none": null,
            "map": {"a": "1e3", "b": ["0x10"]}
        });
        assert_eq!(parse_verbatim(text), Ok(expected));
        assert_eq!(parse_verbatim("# nothing\n"), Ok(Value::Null));
        assert_eq!(parse_verbatim("7"), Ok(json!("7")));
    }

    #[test]
    fn writes_what_a_yaml_1_1_reader_takes_for_strings() {
        let words = [
            "y",
            "Yes",
            "no",
            "on",
            "OFF",
            "true",
            "null",
            "~",
            "",
            "1_000",
            "0o17",
            "017",
            "0x1f",
            "1e3",
            "12:30:45",
            "2026-01-01",
            "2026-01-01T10:00:00Z",
            ".5",
            "-",
            "=",
            "<<",
            "+1",
            "0b1",
            ".inf",
            "&x",
            "*x",
        ];
        for word in words {
            let text = to_string(&json!({ word: word }));
            assert!(text.starts_with(['\'', '"']), "{text}");
            assert!(text.trim_end().ends_with(['\'', '"']), "{text}");
        }
        for word in ["pgset", "1Gi", "500m", "10.0.0.1", "nodes", "fd00::1", "postgres:17", "pgset-0"] {
            assert_eq!(to_string(&json!({ "a": word })), format!("a: {word}\n"));
        }
        assert_eq!(to_string(&json!({ "a": "x\ny\n" })), "a: |\n  x\n  y\n");
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let text =
            prop_oneof!["\\PC{0,20}", "[-+.0-9_:eE]{0,8}", "[\\x00-\\x7f]{0,12}", Just("&\u{e000}yes".to_owned())];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            text.clone().prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 5, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(text.clone(), inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(value in any_value()) {
            let text = to_string(&value);
            prop_assert_eq!(parse(&text), Ok(value), "{}", text);
        }

        #[test]
        fn no_text_panics(text in any::<String>()) {
            let _ = documents(&text);
            let _ = json_documents(&text);
            let _ = parse_verbatim(&text);
        }
    }
}
