//! What surrounds a set: the nodes its members are on, the network as they see it, and tries that store nothing.

use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod};
use kube::Api;
use kube::api::{ListParams, PostParams};
use serde_json::Value;

use super::{ApiFailure, Cluster, Exec};
use crate::set::inside;
use crate::set::observation::Inside;
use crate::set::rollout::Nodes;

/// A cluster of more nodes is not judged by looking at each.
const MANY: u32 = 500;

/// Longer than the steps of the look from inside may take together, but for the time that it tries the Service.
const PATIENCE: Duration = Duration::from_secs(20);

/// These nodes, as far as they exist and the user may see them: nothing rests on it.
pub async fn look_at_nodes(cluster: &Cluster, which: Nodes) -> Vec<Node> {
    match which {
        Nodes::None => Vec::new(),
        Nodes::All => all_nodes(cluster).await.unwrap_or_default(),
        Nodes::Named(names) => {
            let nodes: Api<Node> = Api::all(cluster.client.clone());
            let found = join_all(names.iter().map(|name| nodes.get_opt(name))).await;
            found.into_iter().filter_map(|node| node.ok().flatten()).collect()
        }
    }
}

/// The cluster's nodes, at most 500.
///
/// # Errors
/// The API server refuses or does not answer.
pub async fn all_nodes(cluster: &Cluster) -> Result<Vec<Node>, ApiFailure> {
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let listed = nodes.list(&ListParams::default().limit(MANY)).await;
    listed.map(|list| list.items).map_err(|error| ApiFailure::new("failed to list nodes", &error))
}

/// Looks at DNS and the Service for writes from inside a member; a Service that does not connect is tried again for
/// `try_for`, in whole seconds.
///
/// # Errors
/// The API server refuses, or the look does not end.
pub async fn look_inside(
    cluster: &Cluster,
    namespace: &str,
    member: &str,
    try_for: Duration,
) -> Result<Inside, ApiFailure> {
    let command = inside::command(try_for);
    let look = Exec { cluster, namespace, member, command, stdin: false, terminal: false };
    let patience = PATIENCE + try_for;
    match tokio::time::timeout(patience, look.output()).await {
        // What it did not come to say is not known; that is what the caller is told then.
        Ok(written) => Ok(inside::read(&written?.stdout)),
        Err(_) => Err(ApiFailure {
            what: format!("failed to look from inside Pod {member} in namespace {namespace}"),
            code: None,
            reason: String::new(),
            message: format!("no answer within {} s", patience.as_secs()),
        }),
    }
}

/// Has a pod admitted without creating it.
///
/// # Errors
/// Why the API server would not take it.
pub async fn try_pod(cluster: &Cluster, namespace: &str, pod: Value) -> Result<(), ApiFailure> {
    let pod: Pod = serde_json::from_value(pod).map_err(|error| unreadable("Pod", &error))?;
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
    let tried = pods.create(&PostParams { dry_run: true, ..PostParams::default() }, &pod).await;
    tried
        .map(|_| ())
        .map_err(|error| ApiFailure::new(format!("a Pod is not admitted in namespace {namespace}"), &error))
}

/// Has a claim admitted without creating it.
///
/// # Errors
/// Why the API server would not take it.
pub async fn try_claim(cluster: &Cluster, namespace: &str, claim: Value) -> Result<(), ApiFailure> {
    let claim: PersistentVolumeClaim =
        serde_json::from_value(claim).map_err(|error| unreadable("PersistentVolumeClaim", &error))?;
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(cluster.client.clone(), namespace);
    let tried = claims.create(&PostParams { dry_run: true, ..PostParams::default() }, &claim).await;
    let what = || format!("a PersistentVolumeClaim is not admitted in namespace {namespace}");
    tried.map(|_| ()).map_err(|error| ApiFailure::new(what(), &error))
}

fn unreadable(kind: &str, error: &serde_json::Error) -> ApiFailure {
    let what = format!("failed to make a {kind} from the manifest");
    ApiFailure { what, code: Some(400), reason: String::new(), message: error.to_string() }
}
