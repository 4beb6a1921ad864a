//! `pgset list`: the sets of a namespace or of all, one line each.

use futures::StreamExt;
use futures::stream;
use jiff::Timestamp;

use super::app::{App, patiently};
use super::ask::{Asker, superuser};
use crate::cli::{ListArgs, ListFormat};
use crate::cluster::{Cluster, SetSecret, list};
use crate::error::{Failure, Outcome};
use crate::manifests::Names;
use crate::report::document;
use crate::report::list::ListView;
use crate::set::listing::observations;
use crate::set::rollout::members_to_ask;
use crate::set::{Observation, observation::Asking};
use crate::settings::{Namespace, SetName};

/// How many sets are probed at a time: each member is a connection of its own.
const AT_A_TIME: usize = 8;

/// Lists the sets.
///
/// # Errors
/// The API server refuses or does not answer.
pub async fn run(app: &App, args: ListArgs) -> Outcome {
    let (target, cluster) = app.target().await?;
    let namespace = (!args.all_namespaces).then(|| target.namespace.to_string());
    let listed = patiently(&cluster, list(&cluster, namespace.as_deref())).await?.map_err(|failure| {
        let forbidden = failure.is_forbidden();
        let failure = Failure::from(failure);
        match (forbidden, &namespace) {
            (true, None) => failure.hint("list the namespaces you have rights in: pgset list -n NAMESPACE"),
            _ => failure,
        }
    })?;
    let mut sets = observations(listed);
    if args.probe {
        sets = stream::iter(sets).map(|seen| probe(&cluster, seen)).buffered(AT_A_TIME).collect().await;
    }
    if sets.is_empty() {
        let place = namespace.as_ref().map_or_else(|| "anywhere".to_owned(), |name| format!("in namespace {name}"));
        app.ui.say(&format!("there is no set {place}"));
        if !args.all_namespaces {
            app.ui.hint("look everywhere: pgset list -A");
        }
    }
    let view = ListView::new(&sets);
    app.ui.data(&match args.output {
        ListFormat::Table if sets.is_empty() => String::new(),
        ListFormat::Table => view.text(args.all_namespaces, Timestamp::now()),
        ListFormat::Name => view.names(args.all_namespaces),
        ListFormat::Json => document(&view, false)?,
        ListFormat::Yaml => document(&view, true)?,
    })
}

/// Asks one set's members; where they may not be asked, Kubernetes' word stays.
async fn probe(cluster: &Cluster, mut seen: Observation) -> Observation {
    // Names the API server itself gave cannot be bad ones.
    let (Ok(name), Ok(namespace)) = (seen.name.parse::<SetName>(), seen.namespace.parse::<Namespace>()) else {
        return seen;
    };
    let names = Names::new(&name, &namespace);
    let secret = SetSecret::read(cluster, names.namespace(), &names.passwords()).await;
    let secret = SetSecret::of_set(cluster, &names, seen.stateful_set.as_ref(), secret).await.ok().flatten();
    seen.asking = Asking::Allowed;
    let password = superuser(secret.as_ref(), &mut seen);
    let mut asker = Asker::new(cluster, names.namespace(), password);
    asker.ask(members_to_ask(&seen), &mut seen).await;
    seen
}
