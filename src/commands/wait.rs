//! `pgset wait`: what `up` and `scale` do after their change, for whoever interrupted them.

use super::app::{App, patience};
use super::follow::Follower;
use super::result::{Finish, finish};
use super::status::no_such_set;
use crate::cli::WaitArgs;
use crate::cluster::look;
use crate::error::Outcome;
use crate::manifests::Names;

/// Waits until the set is healthy.
///
/// # Errors
/// There is no such set, it cannot become healthy, or the time is over.
pub async fn run(app: &App, args: WaitArgs) -> Outcome {
    let (target, cluster) = app.target().await?;
    let names = Names::new(&target.name, &target.namespace);
    if look(&cluster, names.namespace(), names.set()).await?.stateful_set.is_none() {
        return Err(no_such_set(&cluster, &names).await);
    }
    app.when_interrupted(
        "interrupted: nothing is undone, and the set goes on by itself",
        format!("wait for it: {}", app.command("wait", &names)),
    );
    let follower = Follower {
        app,
        cluster: &cluster,
        names: &names,
        since: app.started,
        timeout: patience(target.timeout),
        secret: None,
        unstick: args.unstick,
    };
    let followed = follower.follow().await?;
    let changes = Vec::new();
    let (cluster, names, followed) = (&cluster, &names, &followed);
    finish(Finish { app, cluster, names, followed, command: "wait", output: args.output, changes }).await
}
