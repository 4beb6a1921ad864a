//! `pgset restart`: member after member, each healthy again before the next, the primary last.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::app::{App, patience};
use super::ask::{ask_members, checkpoint};
use super::follow::Follower;
use super::foreign;
use super::promote::named;
use super::result::{Finish, finish};
use super::status::no_such_set;
use crate::cli::RestartArgs;
use crate::cluster::{Cluster, Members, look};
use crate::error::{Failure, Outcome};
use crate::manifests::Names;
use crate::report::text::lapse;
use crate::set::Observation;
use crate::set::health::health;
use crate::set::observation::Asking;
use crate::set::order::restart_order;
use crate::set::rollout::Verdict;

/// Restarts the set, or one member of it.
///
/// # Errors
/// There is no such set or member, the set is not healthy to begin with, or does not become so again.
pub async fn run(app: &App, args: RestartArgs) -> Outcome {
    let (target, cluster) = app.target().await?;
    let names = Names::new(&target.name, &target.namespace);
    let mut seen = look(&cluster, names.namespace(), names.set()).await?;
    let Some(wanted) = seen.wanted() else { return Err(no_such_set(app, &cluster, &names).await) };
    foreign::refuse(app, &names, &seen)?;
    if wanted == 0 {
        return Err(Failure::refused(format!("{} in namespace {} is stopped", names.set(), names.namespace()))
            .hint(format!("start it: {}", app.command("start", &names))));
    }
    ask_members(&cluster, &names, &mut seen).await?;
    let order = match &args.member {
        Some(text) => vec![one(app, &names, &seen, text).await?],
        None => all(app, &names, &seen)?,
    };
    let restart =
        Restart { app, cluster: &cluster, names: &names, timeout: patience(target.timeout), alone: order.len() == 1 };
    let mut done = Vec::new();
    let last = order.len().saturating_sub(1);
    for (index, member) in order.iter().enumerate() {
        let began = Timestamp::now();
        restart.delete(&seen, member).await?;
        let waited = restart.follow(began).await?;
        done.push(format!("restarted {member}"));
        let healthy = matches!(waited.verdict, Verdict::Healthy);
        if !healthy || index == last {
            let (cluster, names, followed) = (&cluster, &names, &waited);
            return finish(Finish {
                app,
                cluster,
                names,
                followed,
                command: "restart",
                output: args.output,
                changes: done,
            })
            .await;
        }
        let took = u64::try_from(waited.waited.as_millis()).unwrap_or(0);
        app.ui.say(&format!("{member} is back after {}", lapse(took)));
        seen = waited.seen;
    }
    Ok(())
}

/// The one member that was asked for. A broken one may always be restarted; a primary only of a healthy set, or knowingly.
async fn one(app: &App, names: &Names, seen: &Observation, text: &str) -> Outcome<String> {
    let member = named(seen, text)?;
    let unmet = health(seen).unmet;
    if !seen.primaries().contains(&member.as_str()) || unmet.is_empty() || app.common.yes {
        return Ok(member);
    }
    let unmet: Vec<String> = unmet.iter().map(ToString::to_string).collect();
    app.ui.warn(&format!("{member} is the primary of a set that is not healthy: {}", unmet.join("; ")));
    let question = format!("restart {member} all the same? [y/N]");
    let yes = |answer: &str| answer.eq_ignore_ascii_case("y") || answer.eq_ignore_ascii_case("yes");
    let instead = app.command(&format!("restart --member {text} --yes"), names);
    app.ui.confirm(&question, yes, &format!("answer beforehand: {instead}")).await?;
    Ok(member)
}

/// Every member, the primary last; only of a set that is healthy by PostgreSQL's own word.
fn all(app: &App, names: &Names, seen: &Observation) -> Outcome<Vec<String>> {
    let (set, namespace) = (names.set(), names.namespace());
    if seen.asking == Asking::Forbidden {
        return Err(Failure::refused(format!(
            "restarting {set} needs PostgreSQL's word on who is primary, and you may not ask it"
        ))
        .hint("ask whoever runs the cluster for the rights to create pods/portforward and to get the set's Secret"));
    }
    let unmet: Vec<String> = health(seen).unmet.iter().map(ToString::to_string).collect();
    let primaries = seen.primaries();
    match (&unmet[..], &primaries[..]) {
        ([], [primary]) => Ok(restart_order(set, seen.wanted().unwrap_or(0), primary)),
        _ => Err(Failure::refused(format!(
            "{set} in namespace {namespace} is not healthy, and restarting all of it could take away what still works: {}",
            unmet.join("; ")
        ))
        .hint(format!("see what is wrong: {}", app.command("status", names)))
        .hint(format!("restart the broken member alone: {}", app.command("restart --member N", names)))),
    }
}

struct Restart<'a> {
    app: &'a App,
    cluster: &'a Cluster,
    names: &'a Names,
    timeout: SignedDuration,
    /// Whether only this member is restarted.
    alone: bool,
}

impl Restart<'_> {
    async fn delete(&self, seen: &Observation, member: &str) -> Outcome {
        let Self { app, cluster, names, .. } = *self;
        let primary = seen.primaries().contains(&member);
        if primary {
            let left = Duration::try_from(self.left()).unwrap_or_default();
            match checkpoint(cluster, names, seen, member, left).await {
                // A primary that cannot write one may need the restart all the more; that was asked for by name.
                Err(failure) if self.alone => app.ui.warn(&format!("{:#}", failure.error)),
                written => written?,
            }
        }
        app.when_interrupted(
            "interrupted: the member that was asked to restart does so by itself",
            format!("wait for it: {}", app.command("wait", names)),
        );
        app.ui.say(&format!("restarting {member}{}", if primary { ", the primary" } else { "" }));
        // A pod that is not there is on its way already.
        let Some(pod) = seen.pod(member) else { return Ok(()) };
        Ok(Members { cluster, namespace: names.namespace() }.delete(pod).await?)
    }

    async fn follow(&self, since: Timestamp) -> Outcome<super::follow::Followed> {
        let Self { app, cluster, names, .. } = *self;
        Follower { app, cluster, names, since, timeout: self.left(), secret: None, unstick: false }.follow().await
    }

    fn left(&self) -> SignedDuration {
        self.timeout.saturating_sub(Timestamp::now().duration_since(self.app.started))
    }
}
