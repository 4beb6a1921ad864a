//! Objects made fit to be sent to a stranger: by their type first, then whatever still looks like a secret.

use serde_json::{Map, Value};

use super::Mask;

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
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        }
    }
    if kind == "Secret" {
        for field in ["data", "stringData"] {
            if let Some(values) = object[field].as_object_mut() {
                hide_values(values);
            }
        }
    }
    hide_environment(&mut object);
    masked(object, mask)
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

/// Wherever containers are: in pods, in templates, in init and ephemeral ones.
fn hide_environment(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                if key == "env" && value.is_array() {
                    for variable in value.as_array_mut().into_iter().flatten() {
                        let harmless = variable["name"].as_str().is_some_and(is_harmless);
                        if !harmless && variable.get("value").is_some() {
                            variable["value"] = Value::String("***".to_owned());
                        }
                    }
                } else {
                    hide_environment(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(hide_environment),
        _ => {}
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
    fn known_passwords_and_what_looks_like_one_go_everywhere() {
        let config = json!({"data": {"notes": "login geheim-1", "conninfo": "host=a password=other"}});
        let text = object("ConfigMap", config, &Mask::of(["geheim-1"])).to_string();
        assert!(!text.contains("geheim-1") && !text.contains("other"), "{text}");
    }
}
