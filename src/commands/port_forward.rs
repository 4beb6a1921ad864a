//! `pgset port-forward`: a port of this machine that leads to the primary, wherever that is.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use futures::join;
use tokio::net::TcpListener;

use super::app::{App, patiently};
use super::dsn::{LOOPBACK, identity, own_login, secret_to_show, shown_password, written};
use super::forward::{Ahead, Choice, Forwarder};
use super::status::no_such_set;
use crate::cli::PortForwardArgs;
use crate::cluster::{Leads, live_set};
use crate::error::{Failure, Outcome};
use crate::manifests::Names;
use crate::set::dsn::Dsn;
use crate::set::identity::Identity;

/// Listens until interrupted.
///
/// # Errors
/// There is no such set, or the port cannot be listened on.
pub async fn run(app: &App, args: PortForwardArgs) -> Outcome {
    let (target, cluster) = app.target().await?;
    let names = Names::new(&target.name, &target.namespace);
    let (set, namespace) = (names.set(), names.namespace());
    let service = if args.replica { names.replica_service() } else { names.master_service() };
    let leads = Leads::start(&cluster, namespace, &service);
    let secret = secret_to_show(&cluster, &names, args.show_password);
    let looks = async { join!(live_set(&cluster, namespace, set), secret, leads.listed()) };
    let (live, secret, listed) = patiently(&cluster, looks).await?;
    let Some(live) = live? else { return Err(no_such_set(app, &cluster, &names).await) };
    let mut members = listed?;
    let own = own_login(&cluster, &names, &live, secret, args.show_password).await?;
    let Identity { database, user, .. } = identity(&live, own.as_ref(), &names)?;
    let password = shown_password(own.as_ref(), args.show_password, &names)?;
    let listeners = listen(args.local).await.map_err(|error| in_use(args.local, &error))?;
    let port = listeners[0].local_addr().map_or(args.local, |address| address.port());

    let dsn = Dsn { hosts: vec![LOOPBACK.to_owned()], port, database, user, password, primary_only: false };
    app.ui.data(&written(&dsn, args.format))?;
    let role = if args.replica { "a replica" } else { "the primary" };
    app.ui
        .say(&format!("listening on 127.0.0.1:{port} for {role} of {set} in namespace {namespace}, {}", now(&members)));
    if !args.show_password {
        let dsn = format!("dsn --local {port} --show-password");
        app.ui.hint(&format!("with the password: {}", app.command(&dsn, &names)));
    }
    app.when_interrupted("", None);

    let forwarder = Arc::new(Forwarder {
        cluster,
        namespace: namespace.to_owned(),
        whom: format!("{role} of {set} in namespace {namespace}"),
        choice: Choice::Service(leads),
        wait: args.wait.get(),
        ui: app.ui.clone(),
        ahead: Ahead::default(),
    });
    for listener in listeners {
        tokio::spawn(Arc::clone(&forwarder).serve_tcp(listener));
    }
    let Choice::Service(leads) = &forwarder.choice else { return Ok(()) };
    let mut away = false;
    loop {
        tokio::select! {
            changed = leads.other_than(&members) => {
                members = changed;
                app.ui.say(&format!("{role} of {set}: {}", now(&members)));
            }
            trouble = leads.trouble_other_than(away) => {
                away = trouble.is_some();
                app.ui.say(&match trouble {
                    Some(words) => format!("the API server does not answer ({words}): new connections wait for it"),
                    None => format!("the API server answers again; {role} of {set}: {}", now(&leads.now())),
                });
            }
        }
    }
}

fn now(members: &[String]) -> String {
    match members {
        [] => "nobody at the moment: new connections wait".to_owned(),
        [member, ..] => format!("now {member}"),
    }
}

/// Listens on this machine's own addresses only: IPv4's always, IPv6's where there is one.
async fn listen(port: u16) -> io::Result<Vec<TcpListener>> {
    let first = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
    let port = first.local_addr()?.port();
    let second = TcpListener::bind(SocketAddr::from((Ipv6Addr::LOCALHOST, port))).await;
    Ok([Some(first), second.ok()].into_iter().flatten().collect())
}

fn in_use(port: u16, error: &io::Error) -> Failure {
    let failure = Failure::error(format!("failed to listen on 127.0.0.1:{port}: {error}"));
    match error.kind() {
        io::ErrorKind::AddrInUse => failure.hint("take any free port: pgset port-forward 0"),
        io::ErrorKind::PermissionDenied => failure.hint("take a port from 1024 on: pgset port-forward 15432"),
        _ => failure,
    }
}
