//! From a kubeconfig to a client.

use std::time::Duration;

use http::header::{HeaderValue, USER_AGENT};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::error::{Failure, Outcome};
use crate::settings::Connection;

/// A connection to one cluster.
#[derive(Clone)]
pub struct Cluster {
    pub client: Client,
    /// The API server's address, for messages.
    pub server: String,
    /// The context's name, for messages; empty inside a cluster.
    pub context: String,
}

/// Long enough for a slow link, short enough that an unreachable cluster is said to be so while the person still looks.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

impl Cluster {
    /// Reads the kubeconfig and prepares a client; nothing is sent yet.
    ///
    /// # Errors
    /// The kubeconfig is missing or broken, or has no such context.
    pub async fn connect(connection: &Connection) -> Outcome<Self> {
        let (mut config, context) = config(connection).await?;
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        // A quiet watch is no dead connection: only connecting is bounded, each request's end is its caller's business.
        config.read_timeout = None;
        // So that the API server's audit log says who it was.
        config.headers.push((USER_AGENT, HeaderValue::from_static(concat!("pgset/", env!("CARGO_PKG_VERSION")))));
        config.write_timeout = None;
        if let Some(user) = &connection.as_user {
            config.auth_info.impersonate = Some(user.clone());
            config.auth_info.impersonate_groups =
                (!connection.as_groups.is_empty()).then(|| connection.as_groups.clone());
        }
        let server = config.cluster_url.to_string();
        let plugin = config.auth_info.exec.as_ref().and_then(|exec| exec.command.clone());
        let client = super::transport::client(config).map_err(|error| {
            let cause = super::error::innermost(&error);
            match plugin {
                Some(plugin) => Failure::error(format!("failed to log in to {server} by running {plugin}: {cause}"))
                    .hint("the kubeconfig names this program: is it installed, and does it work by itself?"),
                None => Failure::error(format!("failed to prepare a client for {server}: {cause}")),
            }
        })?;
        Ok(Self { client, server, context })
    }
}

async fn config(connection: &Connection) -> Outcome<(Config, String)> {
    let Some(kubeconfig) = read(connection)? else {
        let config = Config::incluster().map_err(|_| no_kubeconfig())?;
        return Ok((config, String::new()));
    };
    let context = connection.context.clone().or_else(|| kubeconfig.current_context.clone()).unwrap_or_default();
    let known: Vec<String> = kubeconfig.contexts.iter().map(|context| context.name.clone()).collect();
    if context.is_empty() || !known.contains(&context) {
        return Err(no_such_context(&context, &known));
    }
    let options = KubeConfigOptions { context: Some(context.clone()), ..KubeConfigOptions::default() };
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
    let config = config.map_err(|error| {
        let cause = super::error::innermost(&error);
        Failure::error(format!("failed to use context {context} of the kubeconfig: {cause}"))
    })?;
    Ok((config, context))
}

/// The kubeconfig that the flags and the environment name; `None` when there is none.
fn read(connection: &Connection) -> Outcome<Option<Kubeconfig>> {
    if let Some(path) = &connection.kubeconfig {
        let read = Kubeconfig::read_from(path);
        return read.map(Some).map_err(|error| broken(&path.display().to_string(), "--kubeconfig", &error));
    }
    let named = std::env::var("KUBECONFIG").unwrap_or_default();
    if let Some(config) = Kubeconfig::from_env().map_err(|error| broken(&named, "KUBECONFIG", &error))? {
        return Ok(Some(config));
    }
    let Some(path) = std::env::home_dir().map(|home| home.join(".kube/config")).filter(|path| path.exists()) else {
        return Ok(None);
    };
    Kubeconfig::read_from(&path).map(Some).map_err(|error| broken(&path.display().to_string(), "", &error))
}

/// A kubeconfig that cannot be read; `source` is what named it, if anything did.
fn broken(path: &str, source: &str, error: &kube::config::KubeconfigError) -> Failure {
    let from = if source.is_empty() { String::new() } else { format!(" (from {source})") };
    Failure::error(format!("failed to read the kubeconfig {path}{from}: {}", super::error::innermost(error)))
        .hint("name another one with --kubeconfig FILE, or export KUBECONFIG=FILE")
}

/// The namespace the chosen context names, without touching the cluster; `None` where nothing says one.
#[must_use]
pub fn context_namespace(connection: &Connection) -> Option<String> {
    let kubeconfig = read(connection).ok()??;
    let name = connection.context.as_ref().or(kubeconfig.current_context.as_ref())?;
    kubeconfig.contexts.iter().find(|context| context.name == *name)?.context.as_ref()?.namespace.clone()
}

/// The names of the kubeconfig's contexts.
#[must_use]
pub fn contexts(connection: &Connection) -> Vec<String> {
    let kubeconfig = read(connection).ok().flatten();
    kubeconfig.map(|config| config.contexts.into_iter().map(|context| context.name).collect()).unwrap_or_default()
}

fn no_kubeconfig() -> Failure {
    Failure::error("there is no kubeconfig: neither --kubeconfig, KUBECONFIG nor ~/.kube/config names a cluster")
        .hint("have a cluster? export KUBECONFIG=FILE")
        .hint("none yet? kind create cluster, then try again")
}

fn no_such_context(context: &str, known: &[String]) -> Failure {
    let failure = if context.is_empty() {
        Failure::error("the kubeconfig has no current context")
            .hint("choose one: kubectl config use-context NAME, or --context NAME")
    } else {
        Failure::error(format!("the kubeconfig has no context {context}"))
    };
    failure.hint(format!("it has: {}", if known.is_empty() { "none".to_owned() } else { known.join(", ") }))
}
