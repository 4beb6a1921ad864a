//! Removing the members' folders from volumes that nobody else cleans: a one-shot pod that mounts the claims.

use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, LogParams, PostParams};
use kube::runtime::watcher::{self, watch_object};
use serde_json::json;

use super::{ApiFailure, Cluster};

/// Deleting files takes as long as it takes, but a pod that has not ended by now has another problem.
const PATIENCE: Duration = Duration::from_secs(300);

/// Removes folders of one set.
pub struct Cleaner<'a> {
    pub cluster: &'a Cluster,
    pub namespace: &'a str,
    pub set: &'a str,
}

impl Cleaner<'_> {
    /// Removes the folders of this set's members, half-made and set-aside ones included, from the claims' volumes;
    /// returns what could not be removed, in the pod's words.
    ///
    /// # Errors
    /// The API server refuses or does not answer, or the pod does not end.
    pub async fn remove_folders(&self, image: &str, uid: i64, claims: &[String]) -> Result<Vec<String>, ApiFailure> {
        let pods: Api<Pod> = Api::namespaced(self.cluster.client.clone(), self.namespace);
        let name = format!("{}-cleanup", self.set);
        let failed = |what: &str, error: &kube::Error| {
            ApiFailure::new(format!("failed to {what} Pod {name} in namespace {}", self.namespace), error)
        };
        let pod = self.pod(&name, image, uid, claims);
        // One that an interrupted run left behind would still mount the claims.
        self.delete(&pods, &name).await?;
        pods.create(&PostParams::default(), &pod).await.map_err(|error| failed("create", &error))?;
        let phase = tokio::time::timeout(PATIENCE, self.ended(&pods, &name)).await;
        let log = pods.logs(&name, &LogParams::default()).await;
        self.delete(&pods, &name).await?;
        match phase {
            Ok(true) => Ok(Vec::new()),
            Ok(false) => {
                let log = log.map_err(|error| failed("read the log of", &error))?;
                let lines: Vec<String> = log.lines().map(str::to_owned).collect();
                Ok(if lines.is_empty() { vec![format!("Pod {name} failed without a word")] } else { lines })
            }
            Err(_) => Ok(vec![format!("Pod {name} did not end within {} s", PATIENCE.as_secs())]),
        }
    }

    fn pod(&self, name: &str, image: &str, uid: i64, claims: &[String]) -> Pod {
        // Exactly the folders that the start script makes: NAME-<digits>, and the same with .tmp or .stale-… behind it.
        const SCRIPT: &str = r#"
code=0
for folder in /volumes/*/"$SET"-*; do
  number=${folder##*/"$SET"-}
  number=${number%.tmp}
  number=${number%.stale-*}
  case $number in
  '' | *[!0-9]*) continue ;;
  esac
  rm -rf -- "$folder" || code=1
done
exit $code"#;
        let volume = |(index, claim): (usize, &String)| json!({"name": format!("v{index}"), "persistentVolumeClaim": {"claimName": claim}});
        let volumes: Vec<_> = claims.iter().enumerate().map(volume).collect();
        let mounts: Vec<_> = (0..claims.len())
            .map(|index| json!({"name": format!("v{index}"), "mountPath": format!("/volumes/{index}")}))
            .collect();
        let pod = json!({
            "metadata": {"name": name, "labels": {
                "app.kubernetes.io/instance": self.set, "app.kubernetes.io/managed-by": "pgset",
            }},
            "spec": {
                "restartPolicy": "Never",
                "automountServiceAccountToken": false,
                "securityContext": {"runAsNonRoot": true, "runAsUser": uid, "runAsGroup": uid, "fsGroup": uid,
                    "seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [{
                    "name": "cleanup", "image": image,
                    "command": ["/bin/sh", "-c", SCRIPT],
                    "env": [{"name": "SET", "value": self.set}],
                    "volumeMounts": mounts,
                    "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
                }],
                "volumes": volumes,
            },
        });
        serde_json::from_value(pod).unwrap_or_default()
    }

    /// Waits for the pod's end; whether it succeeded.
    async fn ended(&self, pods: &Api<Pod>, name: &str) -> bool {
        let mut changes = std::pin::pin!(watch_object(pods.clone(), name));
        while let Some(change) = changes.next().await {
            let pod: Result<Option<Pod>, watcher::Error> = change;
            // A broken watch is tried again by itself; the caller bounds the whole.
            let Ok(Some(pod)) = pod else { continue };
            match pod.status.and_then(|status| status.phase).as_deref() {
                Some("Succeeded") => return true,
                Some("Failed") => return false,
                _ => {}
            }
        }
        false
    }

    async fn delete(&self, pods: &Api<Pod>, name: &str) -> Result<(), ApiFailure> {
        let what = || format!("failed to delete Pod {name} in namespace {}", self.namespace);
        match pods.delete(name, &DeleteParams::default()).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
            Err(error) => return Err(ApiFailure::new(what(), &error)),
        }
        while pods.get_metadata_opt(name).await.map_err(|error| ApiFailure::new(what(), &error))?.is_some() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }
}
