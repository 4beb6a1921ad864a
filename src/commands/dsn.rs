//! `pgset dsn`: how a client connects, inside the cluster or through a port-forward.

use futures::join;
use k8s_openapi::api::apps::v1::StatefulSet;

use super::app::{App, patiently};
use super::status::no_such_set;
use crate::cli::{DsnArgs, DsnFormat};
use crate::cluster::{ApiFailure, Cluster, SetSecret, live_set};
use crate::error::{Failure, Outcome};
use crate::manifests::Names;
use crate::set::dsn::Dsn;
use crate::set::identity::Identity;

/// PostgreSQL's port on members and Services.
const PORT: u16 = 5432;

/// Prints it.
///
/// # Errors
/// There is no such set, or its password may not be read.
pub async fn run(app: &App, args: DsnArgs) -> Outcome {
    let (target, cluster) = app.target().await?;
    let names = Names::new(&target.name, &target.namespace);
    let live = live_set(&cluster, names.namespace(), names.set());
    let secret = secret_to_show(&cluster, &names, args.show_password);
    let (live, secret) = patiently(&cluster, async { join!(live, secret) }).await?;
    let Some(set) = live? else { return Err(no_such_set(app, &cluster, &names).await) };
    let namespace = names.namespace();
    let hosts = if args.local.is_some() {
        vec![LOOPBACK.to_owned()]
    } else if args.any {
        let members = u8::try_from(set.spec.replicas.unwrap_or(1)).unwrap_or(0);
        (0..members.max(1)).map(|n| format!("{}.{}.{namespace}.svc", names.member(n), names.service())).collect()
    } else {
        let service = if args.replica { names.replica_service() } else { names.master_service() };
        vec![format!("{service}.{namespace}.svc")]
    };
    let Identity { database, user, .. } = identity(&set, &names)?;
    let password = shown_password(secret, &names)?;
    let port = args.local.unwrap_or(PORT);
    let dsn = Dsn { hosts, port, database, user, password, primary_only: args.any };
    app.ui.data(&written(&dsn, args.format))?;
    if let Some(port) = args.local {
        let whom = if args.replica { "--replica " } else { "" };
        app.ui.hint(&format!(
            "while this goes on somewhere: {}",
            app.command(&format!("port-forward {whom}{port}"), &names)
        ));
    }
    if !args.show_password {
        app.ui.hint(&format!(
            "the password is the Secret's: kubectl -n {namespace} get secret {} -o go-template='{{{{.data.user|base64decode}}}}'",
            names.passwords()
        ));
        app.ui.hint("or have it in here: --show-password");
    }
    Ok(())
}

/// Where `port-forward` listens.
pub const LOOPBACK: &str = "127.0.0.1";

/// A DSN as this client takes it, with the end of its last line.
#[must_use]
pub fn written(dsn: &Dsn, format: DsnFormat) -> String {
    match format {
        DsnFormat::Uri => dsn.uri() + "\n",
        DsnFormat::Jdbc => dsn.jdbc() + "\n",
        DsnFormat::Libpq => dsn.libpq() + "\n",
        DsnFormat::Go => dsn.go() + "\n",
        DsnFormat::Env => dsn.env(),
        DsnFormat::Django => dsn.django(),
    }
}

/// The set's Secret where its password is to be shown, and only there: `None` where it is not.
pub async fn secret_to_show(
    cluster: &Cluster,
    names: &Names,
    show_password: bool,
) -> Option<Result<Option<SetSecret>, ApiFailure>> {
    if show_password { Some(SetSecret::read(cluster, names.namespace(), &names.passwords()).await) } else { None }
}

/// The password of the set's user out of what [`secret_to_show`] found.
///
/// # Errors
/// It is to be shown, and the Secret cannot be read or lacks it.
pub fn shown_password(secret: Option<Result<Option<SetSecret>, ApiFailure>>, names: &Names) -> Outcome<Option<String>> {
    let Some(secret) = secret else { return Ok(None) };
    password(secret?.as_ref(), "user", names).map(Some)
}

/// The set's database and user.
///
/// # Errors
/// The StatefulSet does not name them.
pub fn identity(set: &StatefulSet, names: &Names) -> Outcome<Identity> {
    Identity::of(set).ok_or_else(|| {
        let (set, namespace) = (names.set(), names.namespace());
        Failure::error(format!(
            "StatefulSet {set} in namespace {namespace} names no database and user: pgset did not make it"
        ))
        .hint("name them to psql: pgset psql -d DB -U USER")
    })
}

/// One of the set's passwords.
///
/// # Errors
/// There is no Secret, or it lacks this one.
pub fn password(secret: Option<&SetSecret>, key: &str, names: &Names) -> Outcome<String> {
    secret.and_then(|secret| secret.get(key)).map(str::to_owned).ok_or_else(|| {
        let (secret, namespace) = (names.passwords(), names.namespace());
        Failure::error(format!("Secret {secret} in namespace {namespace} has no password {key}"))
            .hint(format!("see what it has: kubectl -n {namespace} describe secret {secret}"))
    })
}
