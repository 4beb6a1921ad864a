//! Objects made fit to be sent to a stranger: by their type first, then whatever still looks like a secret.

use serde_json::{Map, Value};

use super::{Mask, Observation};

/// Environment variables whose literal values are no secret: pgset's own, and those of the 2017 example that only name
/// things. Of all others nobody knows.
fn is_harmless(variable: &str) -> bool {
    const NAMES: [&str; 12] = [
        "PG_MODE",
        "PGHOST",
        "PGDATA",
        "PG_MASTER_HOST",
        "PG_MASTER_PORT",
        "PG_MASTER_USER",
        "PG_PRIMARY_HOST",
        "PG_PRIMARY_PORT",
        "PG_USER",
        "PG_DATABASE",
        "TZ",
        "LANG",
    ];
    (variable.starts_with("PGSET_") && !variable.contains("PASS")) || NAMES.contains(&variable)
}

/// An object without what must not be sent: a Secret's data, values of unknown environment variables, and copies of the
/// object in its own annotations.
#[must_use]
pub fn object(kind: &str, mut object: Value, mask: &Mask) -> Value {
    if kind == "Secret" {
        for field in ["data", "stringData"] {
            if let Some(values) = object[field].as_object_mut() {
                hide_values(values);
            }
        }
    }
    hide_by_type(&mut object);
    masked(object, mask)
}

/// Everything that was seen of a set, to be diagnosed again by whoever gets it. It holds no Secret and no ConfigMap.
///
/// # Errors
/// It cannot be written as JSON.
pub fn observation(seen: &Observation) -> Result<Value, serde_json::Error> {
    let mut value = serde_json::to_value(seen)?;
    hide_by_type(&mut value);
    Ok(masked(value, &seen.mask))
}

/// Any document with everything hidden in it that is known to be a secret or looks like one.
#[must_use]
pub fn masked(value: Value, mask: &Mask) -> Value {
    match value {
        Value::String(text) => Value::String(mask.hide(&text)),
        Value::Array(items) => Value::Array(items.into_iter().map(|item| masked(item, mask)).collect()),
        Value::Object(fields) => {
            Value::Object(fields.into_iter().map(|(key, value)| (mask.hide_known(&key), masked(value, mask))).collect())
        }
        other => other,
    }
}

/// Its keys stay: that one is missing is often the fault.
fn hide_values(values: &mut Map<String, Value>) {
    for value in values.values_mut() {
        *value = Value::String("***".to_owned());
    }
}

/// Values of environment variables wherever containers are (in pods, in templates, in init and ephemeral ones), and what
/// metadata repeats of the object.
fn hide_by_type(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("managedFields");
            for (key, value) in fields {
                match (key.as_str(), value) {
                    ("env", Value::Array(variables)) => variables.iter_mut().for_each(hide_variable),
                    ("annotations", Value::Object(annotations)) => {
                        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
                    }
                    (_, value) => hide_by_type(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(hide_by_type),
        _ => {}
    }
}

fn hide_variable(variable: &mut Value) {
    let harmless = variable["name"].as_str().is_some_and(is_harmless);
    if !harmless && variable.get("value").is_some() {
        variable["value"] = Value::String("***".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_secrets_data_goes_and_its_keys_stay() {
        let secret = json!({"metadata": {"name": "s", "managedFields": [1], "annotations": {
            "kubectl.kubernetes.io/last-applied-configuration": "{\"data\":{\"user\":\"Z2VoZWlt\"}}"}},
            "data": {"user": "Z2VoZWlt"}, "stringData": {"x": "geheim"}});
        let safe = object("Secret", secret, &Mask::default());
        assert_eq!(safe["data"]["user"], "***");
        assert!(!safe.to_string().contains("Z2VoZWlt") && !safe.to_string().contains("geheim"), "{safe}");
    }

    #[test]
    fn of_environment_variables_only_the_known_harmless_keep_their_values() {
        let env = json!([{"name": "PGSET_SET", "value": "orders"}, {"name": "PG_PASSWORD", "value": "x1"},
            {"name": "API", "value": "x2"}, {"name": "PGSET_PASSWORD", "value": "x3"},
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]);
        let pod = json!({"spec": {"containers": [{"env": env}], "initContainers": [{"env": env}]}});
        let set = json!({"spec": {"template": pod}});
        for safe in [object("Pod", pod.clone(), &Mask::default()), object("StatefulSet", set.clone(), &Mask::default())]
        {
            let text = safe.to_string();
            assert!(text.contains("orders") && text.contains("metadata.name"), "{text}");
            assert!(!["x1", "x2", "x3"].iter().any(|secret| text.contains(secret)), "{text}");
        }
    }

    #[test]
    fn an_observation_reads_as_it_was_but_for_its_secrets() {
        let pod = json!({"metadata": {"name": "pgset-0", "managedFields": [{"manager": "m"}]},
            "spec": {"containers": [{"name": "pgset", "env": [{"name": "API_KEY", "value": "x1"}]}]}});
        let seen: Observation = serde_json::from_value(json!({"name": "pgset", "pods": [pod],
            "logs": {"pgset-0": ["FATAL: password geheim-1 is wrong"]}}))
        .unwrap();
        let seen = Observation { mask: Mask::of(["geheim-1"]), ..seen };
        let safe = observation(&seen).unwrap();
        let text = safe.to_string();
        assert!(!["managedFields", "x1", "geheim-1"].iter().any(|secret| text.contains(secret)), "{text}");
        let again: Observation = serde_json::from_value(safe).unwrap();
        assert_eq!((again.name.as_str(), again.pods.len()), ("pgset", 1));
        assert_eq!(again.logs["pgset-0"][0], "FATAL: password *** is wrong");
    }

    #[test]
    fn known_passwords_and_what_looks_like_one_go_everywhere() {
        let config = json!({"data": {"notes": "login geheim-1", "conninfo": "host=a password=other"}});
        let text = object("ConfigMap", config, &Mask::of(["geheim-1"])).to_string();
        assert!(!text.contains("geheim-1") && !text.contains("other"), "{text}");
    }
}
