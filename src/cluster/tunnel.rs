//! A byte stream to a member's PostgreSQL through the API server's port-forward.

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use tokio::io::DuplexStream;

use super::{ApiFailure, Cluster};

/// PostgreSQL's port in every member.
pub const PORT: u16 = 5432;

/// Opens a stream to the member's port 5432.
///
/// # Errors
/// The API server refuses or does not answer; that nobody listens in the pod shows only when the stream is used.
pub async fn tunnel(cluster: &Cluster, namespace: &str, member: &str) -> Result<DuplexStream, ApiFailure> {
    let what = || format!("failed to open a tunnel to Pod {member} in namespace {namespace}");
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
    let mut forwarder = pods.portforward(member, &[PORT]).await.map_err(|error| ApiFailure::new(what(), &error))?;
    forwarder.take_stream(PORT).ok_or_else(|| ApiFailure {
        what: what(),
        code: None,
        reason: String::new(),
        message: "the stream was taken already".to_owned(),
    })
}
