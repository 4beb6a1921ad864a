//! `pgset wait`: what `up` and `scale` do after their change, for whoever interrupted them.

use super::app::App;
use super::foreign;
use super::result::{Settle, settle};
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
    let seen = look(&cluster, names.namespace(), names.set()).await?;
    if seen.stateful_set.is_none() {
        return Err(no_such_set(app, &cluster, &names).await);
    }
    // Whoever only waits changes nothing, and may look on at anybody's.
    if args.unstick {
        foreign::refuse(app, &names, &seen)?;
    }
    app.when_interrupted(
        "interrupted: nothing is undone, and the set goes on by itself",
        format!("wait for it: {}", app.command("wait", &names)),
    );
    settle(Settle {
        app,
        cluster: &cluster,
        names: &names,
        timeout: target.timeout,
        secret: None,
        unstick: args.unstick,
        command: "wait",
        output: args.output,
        changes: Vec::new(),
    })
    .await
}
