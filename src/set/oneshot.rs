//! A pod that does one thing on a set's volumes and ends: as a member would, on a node that a member could be on.

use serde_json::{Value, json};

use super::observation::CONTAINER;
use super::plan::{INSTANCE, MANAGED_BY};

/// One such pod.
pub struct OneShot<'a> {
    pub name: &'a str,
    pub set: &'a str,
    /// What `/bin/sh` does.
    pub script: &'a str,
    pub env: &'a [(&'a str, &'a str)],
    /// Mounted as `/volumes/0`, `/volumes/1`, ….
    pub claims: &'a [String],
    /// A pod that nobody removes ends by itself after this many seconds.
    pub deadline: i64,
}

/// What decides where a pod of the set may run, and as whom.
const OF_POD: [&str; 8] = [
    "affinity",
    "imagePullSecrets",
    "nodeSelector",
    "priorityClassName",
    "runtimeClassName",
    "schedulerName",
    "securityContext",
    "tolerations",
];

/// The same of its container.
const OF_CONTAINER: [&str; 4] = ["image", "imagePullPolicy", "resources", "securityContext"];

impl OneShot<'_> {
    /// Its manifest, with image, user, groups and place of the members' pod template. The ServiceAccount is left out: a set
    /// that is not there yet has none.
    #[must_use]
    pub fn pod(&self, template: &Value) -> Value {
        let volumes: Vec<Value> = self.claims.iter().enumerate().map(volume).collect();
        let mounts: Vec<Value> = (0..self.claims.len()).map(mount).collect();
        let env: Vec<Value> = self.env.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        let mut container = json!({
            "name": CONTAINER,
            "command": ["/bin/sh", "-c", self.script],
            "env": env,
            "volumeMounts": mounts,
            // What it has to say is in its status then, which needs no right to read logs.
            "terminationMessagePolicy": "FallbackToLogsOnError",
        });
        copy(&OF_CONTAINER, container_of(template), &mut container);
        let mut spec = json!({
            "restartPolicy": "Never",
            "activeDeadlineSeconds": self.deadline,
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "containers": [container],
            "volumes": volumes,
        });
        copy(&OF_POD, &template["spec"], &mut spec);
        // Not the label `app`: it is no member.
        let labels = json!({MANAGED_BY.0: MANAGED_BY.1, INSTANCE: self.set});
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": self.name, "labels": labels}, "spec": spec})
    }
}

fn volume((index, claim): (usize, &String)) -> Value {
    json!({"name": format!("v{index}"), "persistentVolumeClaim": {"claimName": claim}})
}

fn mount(index: usize) -> Value {
    json!({"name": format!("v{index}"), "mountPath": format!("/volumes/{index}")})
}

fn copy(keys: &[&str], from: &Value, to: &mut Value) {
    for key in keys {
        if !from[key].is_null() {
            to[*key] = from[*key].clone();
        }
    }
}

/// PostgreSQL's container of a pod template; the first one where none has its name.
#[must_use]
pub fn container_of(template: &Value) -> &Value {
    let containers = &template["spec"]["containers"];
    let named = containers.as_array().and_then(|all| all.iter().find(|container| container["name"] == CONTAINER));
    named.unwrap_or(&containers[0])
}

/// A template of a set that has none any more, of which only image and uid are known.
#[must_use]
pub fn template_of(image: &str, uid: i64) -> Value {
    json!({"spec": {
        "securityContext": {"runAsNonRoot": true, "runAsUser": uid, "runAsGroup": uid, "fsGroup": uid,
            "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{
            "name": CONTAINER, "image": image,
            "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
        }],
    }})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_runs_where_and_as_whom_a_member_runs_and_is_no_member() {
        let template = json!({
            "metadata": {"labels": {"app": "pgset", "name": "pgset-replica"}},
            "spec": {
                "serviceAccountName": "pgset-sa", "nodeSelector": {"storage": "nfs"},
                "tolerations": [{"key": "nfs", "operator": "Exists"}],
                "securityContext": {"runAsUser": 999, "supplementalGroups": [65534]},
                "containers": [
                    {"name": "sidecar", "image": "other"},
                    {"name": "pgset", "image": "postgres:17", "command": ["start"], "env": [{"name": "POD_NAME"}],
                     "resources": {"limits": {"memory": "512Mi"}}, "readinessProbe": {},
                     "securityContext": {"readOnlyRootFilesystem": true}},
                ],
                "volumes": [{"name": "pgdata"}],
            },
        });
        let claims = ["a".to_owned(), "b".to_owned()];
        let one =
            OneShot { name: "x", set: "pgset", script: "true", env: &[("SET", "pgset")], claims: &claims, deadline: 9 };
        let pod = one.pod(&template);
        let spec = &pod["spec"];
        assert_eq!(spec["nodeSelector"], template["spec"]["nodeSelector"]);
        assert_eq!(spec["tolerations"], template["spec"]["tolerations"]);
        assert_eq!(spec["securityContext"], template["spec"]["securityContext"]);
        assert!(spec["serviceAccountName"].is_null() && pod["metadata"]["labels"]["app"].is_null());
        let container = &spec["containers"][0];
        assert_eq!((&container["image"], &container["name"]), (&json!("postgres:17"), &json!("pgset")));
        assert_eq!(container["resources"]["limits"]["memory"], "512Mi");
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
        assert_eq!(container["volumeMounts"][1]["mountPath"], "/volumes/1");
        assert_eq!(spec["volumes"][1]["persistentVolumeClaim"]["claimName"], "b");
        assert!(container["readinessProbe"].is_null());
        let _: k8s_openapi::api::core::v1::Pod = serde_json::from_value(pod).unwrap();
    }

    #[test]
    fn a_set_that_is_gone_has_at_least_image_and_user() {
        let one = OneShot { name: "x", set: "pgset", script: "true", env: &[], claims: &[], deadline: 9 };
        let pod = one.pod(&template_of("postgres:17", 70));
        assert_eq!(pod["spec"]["securityContext"]["runAsUser"], 70);
        assert_eq!(pod["spec"]["containers"][0]["image"], "postgres:17");
        assert_eq!(pod["spec"]["containers"][0]["securityContext"]["capabilities"]["drop"][0], "ALL");
    }
}
