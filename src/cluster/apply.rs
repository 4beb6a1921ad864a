//! Server-side apply with one field manager, tried first as a dry run.

use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::{ApiFailure, Cluster};
use crate::manifests::{Object, ObjectKind};

/// The field manager of everything pgset applies.
const FIELD_MANAGER: &str = "pgset";

/// Applies objects to one cluster.
pub struct Applier<'a> {
    cluster: &'a Cluster,
}

/// What the API server answered to a dry run.
pub struct Applied {
    /// The object as it would be.
    pub result: Value,
    /// Whether it exists already.
    pub exists: bool,
}

impl<'a> Applier<'a> {
    #[must_use]
    pub fn new(cluster: &'a Cluster) -> Self {
        Self { cluster }
    }

    /// The object as it is; `None` when there is none.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn live(&self, object: &Object) -> Result<Option<Value>, ApiFailure> {
        let live = self.api(object).get_opt(&object.name).await;
        live.map(|live| live.map(|live| json!(live))).map_err(|error| failed("read", object, &error))
    }

    /// What applying it would do, with every admission check of the real thing.
    ///
    /// # Errors
    /// The API server refuses the object or does not answer.
    pub async fn dry_run(&self, object: &Object) -> Result<Applied, ApiFailure> {
        let result = self.patch(object, PatchParams { dry_run: true, ..params() }).await?;
        // Only a stored object has a resource version.
        let exists = result["metadata"]["resourceVersion"].as_str().is_some_and(|version| !version.is_empty());
        Ok(Applied { result, exists })
    }

    /// The object as it would be if it were made anew, beside the one that is there: under a name the API server makes up.
    ///
    /// # Errors
    /// The API server refuses the object or does not answer.
    pub async fn dry_run_anew(&self, object: &Object) -> Result<Value, ApiFailure> {
        let mut body = object.body.clone();
        if let Some(metadata) = body["metadata"].as_object_mut() {
            metadata.remove("name");
            metadata.insert("generateName".to_owned(), format!("{}-", object.name).into());
        }
        let params = PostParams { dry_run: true, field_manager: Some(FIELD_MANAGER.to_owned()) };
        let made = self.api(object).create(&params, &dynamic(object, body)?).await;
        made.map(|made| json!(made)).map_err(|error| failed("try to create", object, &error))
    }

    /// Applies it for good.
    ///
    /// # Errors
    /// The API server refuses the object or does not answer.
    pub async fn apply(&self, object: &Object) -> Result<Value, ApiFailure> {
        self.patch(object, params()).await
    }

    /// Creates it; an object that exists already is left as it is, and the answer is `false`.
    ///
    /// # Errors
    /// The API server refuses the object or does not answer.
    pub async fn create(&self, object: &Object) -> Result<bool, ApiFailure> {
        let body = dynamic(object, object.body.clone())?;
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        match self.api(object).create(&params, &body).await.map_err(|error| failed("create", object, &error)) {
            Ok(_) => Ok(true),
            Err(failure) if failure.reason == "AlreadyExists" => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    async fn patch(&self, object: &Object, params: PatchParams) -> Result<Value, ApiFailure> {
        let patched = self.api(object).patch(&object.name, &params, &Patch::Apply(&object.body)).await;
        patched.map(|result| json!(result)).map_err(|error| failed("apply", object, &error))
    }

    fn api(&self, object: &Object) -> Api<DynamicObject> {
        let resource = resource(object.kind);
        let client = self.cluster.client.clone();
        match &object.namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, &resource),
            None => Api::all_with(client, &resource),
        }
    }
}

fn dynamic(object: &Object, body: Value) -> Result<DynamicObject, ApiFailure> {
    serde_json::from_value(body).map_err(|error| ApiFailure {
        what: format!("failed to create {}", describe(object)),
        code: Some(400),
        reason: String::new(),
        message: error.to_string(),
    })
}

/// Objects that carry pgset's labels are pgset's, so a field somebody else set is taken back; whose an object is has
/// been settled before.
fn params() -> PatchParams {
    PatchParams::apply(FIELD_MANAGER).force()
}

pub(super) fn resource(kind: ObjectKind) -> ApiResource {
    let version = kind.api_version().rsplit('/').next().unwrap_or_default();
    let named = GroupVersionKind::gvk(kind.group(), version, kind.as_str());
    ApiResource::from_gvk_with_plural(&named, kind.plural())
}

fn failed(verb: &str, object: &Object, error: &kube::Error) -> ApiFailure {
    ApiFailure::new(format!("failed to {verb} {}", describe(object)), error)
}

/// `StatefulSet pgset in namespace default`.
#[must_use]
pub fn describe(object: &Object) -> String {
    match &object.namespace {
        Some(namespace) => format!("{} {} in namespace {namespace}", object.kind.as_str(), object.name),
        None => format!("{} {}", object.kind.as_str(), object.name),
    }
}
