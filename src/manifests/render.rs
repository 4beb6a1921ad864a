//! Settings and templates to objects.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::check::{self, Expected};
use super::error::ManifestError;
use super::memory::{Room, SEGMENT, Tuning, unit};
use super::templates::{Compiled, Templates};
use super::{Manifests, Names, Notes, Object, ObjectKind};
use crate::settings::{
    ClassName, Crunchy, Flavor, Image, Layout, Quantity, Replicas, RoleBy, SUPERUSER_FOLDER, Settings, Storage,
    USER_FOLDER,
};

/// What the objects depend on beside the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// Members in all: the live value where the set runs, otherwise the setting.
    pub replicas: u8,
    /// The member that the Service of the primary selects, such as `pgset-0`.
    pub primary: String,
    /// The room for data where it is less than the settings' size: claims that exist need not grow.
    pub room: Option<Quantity>,
}

impl Context {
    /// A set that is made anew: as many members as the settings say, the first of them primary.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        let names = Names::new(&settings.name, &settings.namespace);
        Self { replicas: settings.replicas.get(), primary: names.member(0), room: None }
    }
}

/// Everything a set consists of but its Secret, in the order it is applied.
///
/// # Errors
///
/// When a template does not render, or when what it renders to is not the object that
/// belongs there.
pub fn render(settings: &Settings, context: &Context, templates: &Templates) -> Result<Manifests, ManifestError> {
    let names = Names::new(&settings.name, &settings.namespace);
    let mut renderer = Renderer {
        templates: templates.compile()?,
        namespace: names.namespace().to_owned(),
        context: values(settings, context, &names),
    };
    let mut objects = Vec::new();
    for volume in volumes(settings, context, &names) {
        renderer.context.insert("volume", &volume);
        objects.push(renderer.object(ObjectKind::PersistentVolume, "persistentvolume.yaml", &volume.name)?);
    }
    if settings.layout == Layout::Shared {
        let name = names.shared_claim();
        objects.push(renderer.object(ObjectKind::PersistentVolumeClaim, "persistentvolumeclaim.yaml", &name)?);
    }
    objects.push(renderer.object(ObjectKind::ServiceAccount, "serviceaccount.yaml", &names.service_account())?);
    if settings.crunchy.is_some_and(|crunchy| crunchy.labels_pods()) {
        objects.push(renderer.object(ObjectKind::Role, "role.yaml", names.role())?);
        objects.push(renderer.object(ObjectKind::RoleBinding, "rolebinding.yaml", names.role())?);
    }

    let mut files: Vec<NamedText> = Vec::new();
    let conf;
    let users = settings.crunchy.map(|crunchy| crunchy_users(settings, crunchy));
    if let Some(users) = &users {
        // The image writes its own postgresql.conf.
        files.extend(users.iter().map(|user| NamedText { name: user.file, text: &user.username }));
    } else {
        conf = postgresql_conf(settings, context.room.as_ref().unwrap_or(&settings.size), &mut renderer)?;
        files.push(NamedText { name: "postgresql.conf", text: &conf });
    }
    files.extend(templates.scripts(settings.flavor).map(|(name, text)| NamedText { name, text }));
    renderer.context.insert("files", &files);
    let config = renderer.object(ObjectKind::ConfigMap, "configmap.yaml", &names.config())?;
    renderer.context.insert("config_hash", &hash(&config.body["data"]));
    objects.push(config);

    objects.push(renderer.object(ObjectKind::Service, "service.yaml", names.service())?);
    objects.push(renderer.object(ObjectKind::Service, "service-master.yaml", &names.master_service())?);
    objects.push(renderer.object(ObjectKind::Service, "service-replica.yaml", &names.replica_service())?);
    let budget = names.disruption_budget();
    objects.push(renderer.object(ObjectKind::PodDisruptionBudget, "poddisruptionbudget.yaml", budget)?);
    let stateful_set = match settings.flavor {
        Flavor::Postgres => "statefulset.yaml",
        Flavor::Crunchy => "statefulset-crunchy.yaml",
    };
    objects.push(renderer.object(ObjectKind::StatefulSet, stateful_set, names.statefulset())?);
    let manifests = Manifests { objects, notes: Notes::default() };
    match templates.base() {
        Some(base) => Ok(base.build(manifests, settings)?),
        None => Ok(manifests),
    }
}

struct Renderer<'a> {
    templates: Compiled<'a>,
    namespace: String,
    context: tera::Context,
}

impl Renderer<'_> {
    fn object(&self, kind: ObjectKind, template: &str, name: &str) -> Result<Object, ManifestError> {
        let text = self.templates.render(template, &self.context)?;
        let namespace = (kind != ObjectKind::PersistentVolume).then_some(self.namespace.as_str());
        check::object(&text, &Expected { kind, namespace, name })
            .map_err(|problem| self.templates.problem(template, &self.context, problem.line, problem.message))
    }
}

/// What templates can name.
fn values(settings: &Settings, context: &Context, names: &Names) -> tera::Context {
    // No field may be forgotten: what is not used here is named with its reason.
    let Settings {
        name: _,
        namespace: _, // Both through `names`.
        image,
        flavor: _, // Has chosen the templates.
        crunchy,
        replicas: _, // The context's counts.
        storage,
        layout,
        size,
        cpu,
        memory,
        database,
        user,
        passwords: _,  // Never in a manifest that can be printed.
        postgresql: _, // Only in postgresql.conf.
        uid,
        templates: _, // Already loaded.
    } = settings;
    let mut values = tera::Context::new();
    for (key, value) in [
        ("set", names.set()),
        ("namespace", names.namespace()),
        ("statefulset", names.statefulset()),
        ("service", names.service()),
        ("master_service", &names.master_service()),
        ("replica_service", &names.replica_service()),
        ("service_account", &names.service_account()),
        ("shared_claim", &names.shared_claim()),
        ("claim_template", names.claim_template()),
        ("config", &names.config()),
        ("passwords", &names.passwords()),
        ("state", &names.state()),
        ("role", names.role()),
        ("disruption_budget", names.disruption_budget()),
        ("primary", &context.primary),
        ("image", image.as_str()),
        ("size", size.as_str()),
        ("cpu", cpu.as_str()),
        ("memory", memory.as_str()),
        ("database", database.as_str()),
        ("user", user.as_str()),
        ("layout", layout.as_str()),
        ("access_mode", access_mode(*layout)),
        ("max_members", &Replicas::MAX.to_string()),
    ] {
        values.insert(key, value);
    }
    values.insert("replicas", &context.replicas);
    values.insert("uid", uid);
    values.insert("storage", &StorageValues::from(storage));
    values.insert("crunchy", &crunchy.map(|crunchy| CrunchyValues::new(settings, crunchy)));
    values
}

/// A Crunchy image's contract as templates see it.
#[derive(Serialize)]
struct CrunchyValues {
    /// `PG_MODE`: `set`, or what the start script replaces.
    mode: &'static str,
    primary_mode: &'static str,
    replica_mode: &'static str,
    user_variable: String,
    host_variable: String,
    port_variable: String,
    replication_user: &'static str,
    user_folder: &'static str,
    superuser_folder: &'static str,
    replication_folder: &'static str,
    programs: &'static str,
    mode_variable: bool,
    /// Whether the image calls the Kubernetes API.
    labels_pods: bool,
    /// Whether pods may have fields that Kubernetes did not have when the image was made.
    modern: bool,
    shared_buffers: String,
    users: Vec<CrunchyUser>,
}

impl CrunchyValues {
    fn new(settings: &Settings, crunchy: Crunchy) -> Self {
        let Crunchy { contract, role_by } = crunchy;
        let words = contract.words;
        let variable = |of: &str| format!("{}_{of}", words.variable());
        let room = Room {
            memory: settings.memory.bytes(),
            disk: settings.size.bytes(),
            layout: settings.layout,
            connections: 100,
        };
        Self {
            mode: match role_by {
                RoleBy::Image => "set",
                RoleBy::Ordinal => "ordinal",
            },
            primary_mode: words.primary_mode(),
            replica_mode: words.replica_mode(),
            user_variable: variable("USER"),
            host_variable: variable("HOST"),
            port_variable: variable("PORT"),
            replication_user: words.replication_user(),
            user_folder: USER_FOLDER,
            superuser_folder: SUPERUSER_FOLDER,
            replication_folder: words.secret_folder(),
            programs: contract.programs,
            mode_variable: contract.mode_variable,
            labels_pods: crunchy.labels_pods(),
            modern: contract.restricted(role_by),
            shared_buffers: unit(Tuning::of(room).shared_buffers),
            users: crunchy_users(settings, crunchy),
        }
    }
}

/// A user as a Crunchy image wants it: a name and a password in two files of one folder.
#[derive(Serialize)]
struct CrunchyUser {
    /// The key of the Secret that holds the password, and the volume's name.
    name: &'static str,
    /// The key of the ConfigMap that holds the name.
    file: &'static str,
    username: String,
}

fn crunchy_users(settings: &Settings, crunchy: Crunchy) -> Vec<CrunchyUser> {
    let user = |name, file, username: &str| CrunchyUser { name, file, username: username.to_owned() };
    vec![
        user("user", "user-name", settings.user.as_str()),
        user("superuser", "superuser-name", SUPERUSER),
        user("replication", "replication-name", crunchy.contract.words.replication_user()),
    ]
}

/// The superuser of a Crunchy image, as of every other.
const SUPERUSER: &str = "postgres";

/// A storage as templates see it; a field that does not belong to the kind is `none`.
#[derive(Default, Serialize)]
struct StorageValues<'a> {
    kind: &'static str,
    server: Option<String>,
    path: Option<&'a str>,
    class: Option<&'a str>,
}

impl<'a> From<&'a Storage> for StorageValues<'a> {
    fn from(storage: &'a Storage) -> Self {
        match storage {
            Storage::Nfs { server, path } => {
                Self { kind: "nfs", server: Some(server.to_string()), path: Some(path.as_str()), class: None }
            }
            Storage::HostPath { path } => Self { kind: "hostpath", path: Some(path.as_str()), ..Self::default() },
            Storage::Class { class } => {
                Self { kind: "class", class: class.as_ref().map(ClassName::as_str), ..Self::default() }
            }
        }
    }
}

fn access_mode(layout: Layout) -> &'static str {
    match layout {
        Layout::Shared => "ReadWriteMany",
        Layout::PerPod => "ReadWriteOnce",
    }
}

/// A PersistentVolume and the claim it is for.
#[derive(Serialize)]
struct Volume {
    name: String,
    claim: String,
}

/// The volumes pgset brings: none where a StorageClass makes them.
fn volumes(settings: &Settings, context: &Context, names: &Names) -> Vec<Volume> {
    let volume = |number: u8, claim: String| Volume { name: names.volume(number), claim };
    match (&settings.storage, settings.layout) {
        (Storage::Class { .. }, _) => Vec::new(),
        // Three for the one claim, as in the 2017 example: the claim takes one, the others wait.
        (_, Layout::Shared) => (1..=Names::LEAST_VOLUMES).map(|n| volume(n, names.shared_claim())).collect(),
        (_, Layout::PerPod) => {
            let count = context.replicas.max(Names::LEAST_VOLUMES);
            (1..=count).map(|n| volume(n, names.member_claim(n - 1))).collect()
        }
    }
}

#[derive(Serialize)]
struct NamedText<'a> {
    name: &'a str,
    text: &'a str,
}

#[derive(Serialize)]
struct Parameter<'a> {
    name: &'a str,
    value: &'a str,
}

#[derive(Serialize)]
struct TuningValues {
    memory: String,
    size: String,
    shared_buffers: String,
    effective_cache_size: String,
    maintenance_work_mem: String,
    work_mem: String,
    max_wal_size: String,
    min_wal_size: String,
    wal_keep_size: String,
    wal_keep_segments: u64,
    max_slot_wal_keep_size: String,
}

/// The text of `postgresql.conf`, for data volumes of this size.
fn postgresql_conf(settings: &Settings, size: &Quantity, renderer: &mut Renderer) -> Result<String, ManifestError> {
    let mut extras = Vec::new();
    let mut connections = 100;
    for (name, value) in &settings.postgresql {
        let (name, value) = (name.as_str(), value.as_str());
        let problem = |reason| Err(ManifestError::Parameter { parameter: name.to_owned(), reason });
        // The types see to it already; in this file a wrong name or a cut value would be a line of its own.
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.')) {
            return problem("not the name of a parameter");
        }
        if value.contains('\0') {
            return problem("a value cannot contain a zero byte");
        }
        if name.eq_ignore_ascii_case("max_connections") {
            connections = value.trim().parse().unwrap_or(connections);
        }
        extras.push(Parameter { name, value });
    }
    let tuning =
        Tuning::of(Room { memory: settings.memory.bytes(), disk: size.bytes(), layout: settings.layout, connections });
    let values = TuningValues {
        memory: unit(settings.memory.bytes()),
        size: unit(size.bytes()),
        shared_buffers: unit(tuning.shared_buffers),
        effective_cache_size: unit(tuning.effective_cache_size),
        maintenance_work_mem: unit(tuning.maintenance_work_mem),
        work_mem: unit(tuning.work_mem),
        max_wal_size: unit(tuning.max_wal_size),
        min_wal_size: unit(tuning.min_wal_size),
        wal_keep_size: unit(tuning.wal_keep_size),
        wal_keep_segments: tuning.wal_keep_size / SEGMENT,
        max_slot_wal_keep_size: unit(tuning.max_slot_wal_keep_size),
    };
    renderer.context.insert("tuning", &values);
    renderer.context.insert("extras", &extras);
    renderer.context.insert("major", &major(&settings.image));
    renderer.templates.render("postgresql.conf", &renderer.context)
}

/// The major version of PostgreSQL in an image, where its tag begins with it, as the official image's do.
fn major(image: &Image) -> Option<u32> {
    image.tag()?.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// A hash that changes with the content of a ConfigMap: of its JSON, whose keys are in order.
fn hash(data: &Value) -> String {
    let mut text = String::new();
    for byte in Sha256::digest(data.to_string()) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}
