//! Before anything is changed: settings, manifests, all that can be known to be missing, and the plan.

use futures::future::try_join;

use super::export::Export;
use super::plan::{Plan, Refusal, folders_of_its_own, may_have_data, plan};
use crate::cli::SettingsFlags;
use crate::cluster::{ClassesOnce, Cluster, Need, Problem, SetSecret, missing_rights, preflight};
use crate::commands::app::App;
use crate::commands::base::{Found, published_passwords, resolve};
use crate::commands::home::guard;
use crate::commands::passwords::passwords;
use crate::error::{Failure, Kind, Outcome};
use crate::manifests::{Base, Context, ManifestError, Manifests, Names, Notes, Object, ObjectKind, render};
use crate::set::plan::Change;
use crate::settings::{Layout, Resolved, Settings, Timeout};

/// All that `up` needs to go ahead, and all that `diff` shows.
pub struct Prepared {
    pub settings: Settings,
    pub timeout: Timeout,
    pub names: Names,
    pub cluster: Cluster,
    pub plan: Plan,
    /// The set's passwords; `None` where its manifests have their own, or may have.
    pub secret: Option<SetSecret>,
    /// The Secret to create, where there is none yet.
    pub new_secret: Option<Object>,
    /// An NFS export that no member has mounted yet.
    pub export: Option<Export>,
    /// The checkout whose manifests these are.
    pub base: Option<Base>,
    /// What became of them.
    pub notes: Notes,
}

/// Whether rights, namespace and storage are asked for beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preflight {
    Check {
        /// An export that no member has mounted will be tried, which takes rights of its own.
        export: bool,
    },
    Skip,
}

/// Finds out what `up` would do; changes nothing.
///
/// # Errors
/// What would keep `up` from doing it.
pub async fn prepare(app: &App, flags: &SettingsFlags, wanted: Preflight) -> Outcome<Prepared> {
    let found = resolve(app, flags)?;
    let templates = found.templates()?;
    let published_passwords = published_passwords(&found.resolved);
    let Found { resolved, connection, base } = found;
    let given = resolved.passwords_given();
    let Resolved { settings, timeout, .. } = resolved;
    let names = Names::new(&settings.name, &settings.namespace);
    let manifests = render(&settings, &Context::new(&settings), &templates)?;
    let notes = manifests.notes.clone();
    let cluster = app.connect(&connection).await?;

    let classes = ClassesOnce::new(&cluster);
    let checked = async {
        match wanted {
            Preflight::Check { .. } => check(&cluster, &classes, &settings, &manifests).await,
            Preflight::Skip => Ok(()),
        }
    };
    let (checked, same_home) = futures::join!(checked, guard(app, &cluster, &classes, &names, &settings));
    // Settings that lead elsewhere come first: what else is missing may be so only because of them.
    let claims = match same_home {
        Err(failure) if failure.kind == Kind::Refused => return Err(failure),
        same_home => {
            checked?;
            same_home?
        }
    };
    if wanted != Preflight::Skip {
        app.ui.detail("preflight: version, namespace, storage and rights are fine");
    }
    let may_have_data = may_have_data(&settings, &claims);
    let passwords = async {
        // Manifests that are taken as they are know nothing of pgset's Secret.
        if base.as_ref().is_some_and(|base| base.as_is) {
            return Ok((None, None));
        }
        let per_pod = settings.layout == Layout::PerPod;
        let pod = base.as_ref().map(|base| base.pod(per_pod)).transpose().map_err(ManifestError::from);
        let pod = pod.map_err(|error| Refusal::Failed(error.into()))?;
        let (secret, new) = passwords(&cluster, &names, &settings, &given, pod.as_ref(), may_have_data)
            .await
            .map_err(Refusal::Failed)?;
        Ok((Some(secret), new))
    };
    let planned = plan(&cluster, &classes, &names, &settings, &templates, manifests, &claims);
    let (plan, (secret, new_secret)) = try_join(planned, passwords).await?;
    folders_of_its_own(app, &cluster, &names, &plan).await?;
    let mut export = None;
    if let Preflight::Check { export: tries } = wanted {
        export = Export::to_try(&cluster, &names, &plan).await?;
        check_plan(&cluster, &settings, &plan, tries && export.is_some()).await?;
    }
    app.ui.detail(&format!("dry run: the API server accepts all {} objects", plan.objects.len()));
    if new_secret.is_some() && published_passwords {
        app.ui.warn("the passwords are those in the checkout's manifests, which many people know");
        app.ui.hint("give others before the first up: export PG_PASSWORD=… PG_ROOT_PASSWORD=… PG_MASTER_PASSWORD=…");
    }
    Ok(Prepared { settings, timeout, names, cluster, plan, secret, new_secret, export, base, notes })
}

/// Everything that can be known to be missing, in one list, before the first write.
async fn check(cluster: &Cluster, classes: &ClassesOnce<'_>, settings: &Settings, manifests: &Manifests) -> Outcome {
    told(settings, preflight(cluster, classes, settings, &needs(manifests)).await?)
}

/// The rights that only some plans need, before anything is changed: to make a StatefulSet anew, to enlarge claims, to try an
/// export.
async fn check_plan(cluster: &Cluster, settings: &Settings, plan: &Plan, export: bool) -> Outcome {
    let anew = plan.stateful_set().is_some_and(|set| matches!(set.change, Change::Recreated(_)));
    let mut needs = Vec::new();
    if anew {
        needs.push(Need::new("delete", "apps", "statefulsets"));
    }
    if !plan.grow.is_empty() {
        needs.push(Need::new("patch", "", "persistentvolumeclaims"));
    }
    if export {
        needs.extend(Export::needs());
    }
    if needs.is_empty() {
        return Ok(());
    }
    let told = told(settings, missing_rights(cluster, settings.namespace.as_str(), &needs).await?);
    told.map_err(|failure| {
        if export {
            failure.hint("fewer rights do without the trial of the NFS export: the same command with --no-preflight")
        } else {
            failure
        }
    })
}

fn told(settings: &Settings, problems: Vec<Problem>) -> Outcome {
    if problems.is_empty() {
        return Ok(());
    }
    let name = &settings.name;
    let list: String = problems.iter().map(|Problem { what, fix }| format!("\n  - {what}\n    fix: {fix}")).collect();
    let count =
        if problems.len() == 1 { "one thing keeps".to_owned() } else { format!("{} things keep", problems.len()) };
    Err(Failure::error(format!("{count} {name} from coming up; nothing was changed:{list}")))
}

/// Every right `up` uses, but for asking PostgreSQL: without that one, health is Kubernetes' word.
pub fn needs(manifests: &Manifests) -> Vec<Need> {
    let mut needs = Vec::new();
    let mut kinds: Vec<ObjectKind> = manifests.objects.iter().map(|object| object.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    for kind in kinds {
        for verb in ["get", "create", "patch"] {
            let need = Need::new(verb, kind.group(), kind.plural());
            needs.push(if kind == ObjectKind::PersistentVolume { need.cluster_wide() } else { need });
        }
    }
    needs.extend(["get", "create"].map(|verb| Need::new(verb, "", "secrets")));
    needs.push(Need::new("patch", "", "pods"));
    let watched = [
        ("apps", "statefulsets"),
        ("", "pods"),
        ("", "persistentvolumeclaims"),
        ("discovery.k8s.io", "endpointslices"),
    ];
    for (group, resource) in watched {
        needs.extend(["list", "watch"].map(|verb| Need::new(verb, group, resource)));
    }
    needs
}
