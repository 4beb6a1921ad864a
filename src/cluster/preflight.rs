//! Everything that can be known to be missing before the first write, found in one go.

use futures::future::join_all;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::PostParams;

use super::{ApiFailure, ClassesOnce, Cluster};
use crate::settings::{Settings, Storage};

/// One right a command needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    pub verb: &'static str,
    pub group: &'static str,
    pub resource: &'static str,
    pub subresource: &'static str,
    pub cluster_wide: bool,
}

impl Need {
    #[must_use]
    pub const fn new(verb: &'static str, group: &'static str, resource: &'static str) -> Self {
        Self { verb, group, resource, subresource: "", cluster_wide: false }
    }

    #[must_use]
    pub const fn subresource(self, subresource: &'static str) -> Self {
        Self { subresource, ..self }
    }

    #[must_use]
    pub const fn cluster_wide(self) -> Self {
        Self { cluster_wide: true, ..self }
    }

    /// As `kubectl auth can-i` takes it.
    fn words(&self, namespace: &str) -> String {
        let group = if self.group.is_empty() { String::new() } else { format!(".{}", self.group) };
        let sub = if self.subresource.is_empty() { String::new() } else { format!("/{}", self.subresource) };
        let place = if self.cluster_wide { "cluster-wide".to_owned() } else { format!("in namespace {namespace}") };
        format!("{} {}{group}{sub} {place}", self.verb, self.resource)
    }
}

/// Something that would keep a command from succeeding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub what: String,
    pub fix: String,
}

/// The oldest Kubernetes with everything the manifests use (StatefulSet start ordinals and pod-index labels are not
/// used; server-side apply and `policy/v1` are).
const OLDEST: (u32, u32) = (1, 22);

/// Asks for version, namespace, StorageClass and rights at the same time and lists all that is wrong.
///
/// # Errors
/// The API server does not answer, or does not accept the credentials: nothing else can be known then.
pub async fn preflight(
    cluster: &Cluster,
    classes: &ClassesOnce<'_>,
    settings: &Settings,
    needs: &[Need],
) -> Result<Vec<Problem>, ApiFailure> {
    let namespace = settings.namespace.as_str();
    let (version, exists, class, rights) = futures::join!(
        version(cluster),
        namespace_exists(cluster, namespace),
        class(classes, &settings.storage),
        missing_rights(cluster, namespace, needs),
    );
    let mut problems = Vec::new();
    problems.extend(version?);
    problems.extend(exists?);
    problems.extend(class?);
    problems.extend(rights?);
    Ok(problems)
}

async fn version(cluster: &Cluster) -> Result<Option<Problem>, ApiFailure> {
    let info = cluster.client.apiserver_version().await.map_err(|error| {
        let reached = matches!(error, kube::Error::Api(_));
        let what = if reached { "failed to ask the version of" } else { "failed to reach" };
        ApiFailure::new(format!("{what} the API server {}", cluster.server), &error)
    })?;
    let number = |text: &str| text.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(u32::MAX);
    let version = (number(&info.major), number(&info.minor));
    Ok((version < OLDEST).then(|| Problem {
        what: format!("Kubernetes {} is too old: pgset needs {}.{} or newer", info.git_version, OLDEST.0, OLDEST.1),
        fix: "upgrade the cluster, or choose another with --context".to_owned(),
    }))
}

async fn namespace_exists(cluster: &Cluster, name: &str) -> Result<Option<Problem>, ApiFailure> {
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    let what = || format!("failed to read namespace {name}");
    match namespaces.get_opt(name).await.map_err(|error| ApiFailure::new(what(), &error)) {
        Ok(Some(found)) if found.metadata.deletion_timestamp.is_some() => Ok(Some(Problem {
            what: format!("namespace {name} is being deleted"),
            fix: format!("wait until it is gone, then: kubectl create namespace {name}"),
        })),
        Ok(Some(_)) => Ok(None),
        Ok(None) => Ok(Some(Problem {
            what: format!("namespace {name} does not exist"),
            fix: format!("kubectl create namespace {name}"),
        })),
        // Who may work in a namespace need not be allowed to read it.
        Err(failure) if failure.is_forbidden() => Ok(None),
        Err(failure) => Err(failure),
    }
}

async fn class(classes: &ClassesOnce<'_>, storage: &Storage) -> Result<Option<Problem>, ApiFailure> {
    let Storage::Class { class } = storage else { return Ok(None) };
    // Where that is unknown and a class is missing, the claim's events will say so.
    let Some(classes) = classes.get().await? else { return Ok(None) };
    let known = classes.names();
    let listed = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    Ok(match class {
        Some(wanted) if known.contains(&wanted.as_str()) => None,
        Some(wanted) => Some(Problem {
            what: format!("StorageClass {wanted} does not exist"),
            fix: format!("choose one of the cluster's: --storage-class NAME (it has: {listed})"),
        }),
        None if classes.default().is_some() => None,
        None => Some(Problem {
            what: format!("the cluster has no default StorageClass (it has: {listed})"),
            fix: "choose one with --storage-class NAME, or on a one-node cluster: --storage hostpath --host-path DIR"
                .to_owned(),
        }),
    })
}

/// The rights that are missing. One question answers it for whoever may do everything in the namespace.
///
/// # Errors
/// The API server does not answer.
pub async fn missing_rights(cluster: &Cluster, namespace: &str, needs: &[Need]) -> Result<Vec<Problem>, ApiFailure> {
    let everything = Need::new("*", "*", "*");
    let may_all = allowed(cluster, namespace, &everything).await?;
    let asked: Vec<&Need> = needs.iter().filter(|need| need.cluster_wide || !may_all).collect();
    let answers = join_all(asked.iter().map(|need| allowed(cluster, namespace, need))).await;
    let mut problems = Vec::new();
    for (need, answer) in asked.into_iter().zip(answers) {
        if !answer? {
            problems.push(Problem {
                what: format!("you may not {}", need.words(namespace)),
                fix: "ask whoever runs the cluster for this right".to_owned(),
            });
        }
    }
    Ok(problems)
}

/// Whether the user may do this; also tells whether PostgreSQL can be asked at all.
pub(super) async fn allowed(cluster: &Cluster, namespace: &str, need: &Need) -> Result<bool, ApiFailure> {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(cluster.client.clone());
    let text = |value: &str| (!value.is_empty()).then(|| value.to_owned());
    let attributes = ResourceAttributes {
        verb: text(need.verb),
        group: text(need.group),
        resource: text(need.resource),
        subresource: text(need.subresource),
        namespace: text(if need.cluster_wide { "" } else { namespace }),
        ..ResourceAttributes::default()
    };
    let spec =
        SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..SelfSubjectAccessReviewSpec::default() };
    let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
    let answer = reviews.create(&PostParams::default(), &review).await;
    let answer = answer
        .map_err(|error| ApiFailure::new(format!("failed to ask for your rights at {}", cluster.server), &error))?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}
