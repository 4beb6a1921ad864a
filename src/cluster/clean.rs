//! Removing the members' folders from volumes that nobody else cleans: a one-shot pod that mounts the claims.

use std::time::Duration;

use kube::api::DeleteParams;
use serde_json::Value;

use super::oneshot::{Ended, OneShots};
use super::{ApiFailure, Cluster};
use crate::set::oneshot::OneShot;

/// Deleting files takes as long as it takes, but a pod that has not ended by now has another problem.
const PATIENCE: Duration = Duration::from_secs(300);

/// Exactly the folders that the start script makes: NAME-<digits>, and the same with .tmp or .stale-… behind it.
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

/// Removes folders of one set.
pub struct Cleaner<'a> {
    pub cluster: &'a Cluster,
    pub namespace: &'a str,
    pub set: &'a str,
}

impl Cleaner<'_> {
    /// Removes the folders of this set's members, half-made and set-aside ones included, from the claims' volumes, in a pod
    /// like those of `template`; returns what could not be removed, in the pod's words.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn remove_folders(&self, template: &Value, claims: &[String]) -> Result<Vec<String>, ApiFailure> {
        let name = format!("{}-cleanup", self.set);
        // Later than whoever waits for it.
        let deadline = i64::try_from(2 * PATIENCE.as_secs()).unwrap_or(i64::MAX);
        let env = [("SET", self.set)];
        let pod = OneShot { name: &name, set: self.set, script: SCRIPT, env: &env, claims, deadline }.pod(template);
        let pods = OneShots { cluster: self.cluster, namespace: self.namespace };
        let params = DeleteParams::default();
        // One that an interrupted run left behind would still mount the claims.
        pods.remove(&name, &params).await?;
        pods.start(&name, pod).await?;
        let ended = tokio::time::timeout(PATIENCE, pods.ended(&name)).await;
        pods.remove(&name, &params).await?;
        Ok(match ended {
            Ok(Ended { succeeded: true, words: _ }) => Vec::new(),
            Ok(Ended { words, .. }) if words.trim().is_empty() => vec![format!("Pod {name} failed without a word")],
            Ok(Ended { words, .. }) => words.lines().map(str::to_owned).collect(),
            Err(_) => vec![format!("Pod {name} did not end within {} s", PATIENCE.as_secs())],
        })
    }
}
