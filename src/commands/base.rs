//! What lies in the base directory, read once for a command: a checkout's settings below the person's, and its manifests.

use super::app::App;
use crate::cli::SettingsFlags;
use crate::error::{Failure, Outcome};
use crate::manifests::{Base, Checkout, ManifestError, Notes, Templates};
use crate::settings::{
    self, Connection, Flavor, Inputs, Layout, Resolved, Setting, SettingsFile, Source, StorageKind, ThisMachine, Wishes,
};

/// Settings from everywhere, the way to the cluster they are for, and the checkout whose manifests are used.
pub struct Found {
    pub resolved: Resolved,
    pub connection: Connection,
    pub base: Option<Base>,
}

impl Found {
    /// The templates, below the checkout's manifests where there are any.
    ///
    /// # Errors
    /// Templates that cannot be read.
    pub fn templates(&self) -> Result<Templates, ManifestError> {
        Ok(Templates::load(self.resolved.settings.templates.as_deref())?.below(self.base.clone()))
    }
}

/// The settings file over the name that the base directory's checkout gives the set, for commands without settings flags.
///
/// # Errors
/// A checkout that cannot be used.
pub fn file_of_target(app: &App) -> Outcome<SettingsFile> {
    let file = SettingsFile::load(None);
    let wishes = settings::wishes(&SettingsFlags::default(), &app.env, &file, &ThisMachine);
    let Some(checkout) = checkout(app, &wishes)? else { return Ok(file) };
    let (storage, per_pod) = choice(&wishes);
    let mut below = checkout.settings(storage, per_pod).map_err(ManifestError::from)?;
    // What a set is called and where it is: the rest is the business of commands that change it.
    below.retain(|setting, _| matches!(setting, Setting::Name | Setting::Namespace));
    Ok(file.over(below))
}

/// Finds out everything that flags, environment, settings file and base directory say.
///
/// # Errors
/// Everything that is wrong with what was given, at once.
pub fn resolve(app: &App, flags: &SettingsFlags) -> Outcome<Found> {
    let file = SettingsFile::load(flags.file.as_deref());
    let failed = |problems: Vec<settings::Problem>| settings::failure(&problems);
    let connection = settings::connection(&app.common, &app.env, &file);
    let namespace = connection.as_ref().ok().and_then(crate::cluster::context_namespace);
    let context = settings::Context { namespace: namespace.as_deref(), machine: &ThisMachine };
    let settings_of = |file: &SettingsFile| {
        settings::resolve(&Inputs { common: &app.common, flags, env: &app.env, file, context }).map_err(failed)
    };
    let wishes = settings::wishes(flags, &app.env, &file, &ThisMachine);
    let Some(checkout) = checkout(app, &wishes)? else {
        // First, since it tells everything that is wrong and not only what concerns the connection.
        let resolved = settings_of(&file)?;
        if let Some(root) = &wishes.buildbase
            && !root.join("templates").is_dir()
        {
            app.ui.warn(&format!(
                "{} has neither templates/ nor examples/kube/statefulset/: nothing in it is used",
                root.display()
            ));
        }
        if flags.as_is {
            return Err(Failure::usage(
                "--as-is is for the manifests of a crunchy-containers checkout, and there is none",
            )
            .hint("name one with --buildbase DIR"));
        }
        return Ok(Found { resolved, connection: connection.map_err(failed)?, base: None });
    };
    let (storage, per_pod) = choice(&wishes);
    let below = checkout.settings(storage, per_pod).map_err(ManifestError::from)?;
    let resolved = settings_of(&file.clone().over(below))?;
    let connection = connection.map_err(failed)?;
    let image = resolved.sources.settings.get(&Setting::Image);
    if matches!(image, Some(Source::Default(_))) {
        return Err(Failure::usage("the checkout's image has the tag $CCP_IMAGE_TAG, and nothing gives one")
            .hint("export CCP_IMAGE_TAG=centos7-9.6-1.2.8, or give the whole image with --image"));
    }
    if resolved.settings.flavor == Flavor::Postgres {
        app.ui.say(&format!(
            "{} is no Crunchy image, so the manifests of the checkout are not for it: using pgset's own",
            resolved.settings.image
        ));
        let resolved = settings_of(&file.over(checkout.exported()))?;
        return Ok(Found { resolved, connection, base: None });
    }
    if flags.as_is
        && let Some(source) = given_passwords(&resolved).first()
    {
        return Err(Failure::usage(format!(
            "--as-is leaves the passwords in the manifests, so {source} cannot give one"
        ))
        .hint("write the password into the manifest, or leave out --as-is: a Secret then holds it"));
    }
    let sources = resolved.sources.settings.clone();
    Ok(Found { resolved, connection, base: Some(Base { checkout, sources, as_is: flags.as_is }) })
}

fn checkout(app: &App, wishes: &Wishes) -> Outcome<Option<Checkout>> {
    let Some(root) = &wishes.buildbase else { return Ok(None) };
    Ok(Checkout::load(root, &app.env).map_err(ManifestError::from)?)
}

/// The kind of storage that was asked for, and whether each member is to have a claim of its own.
fn choice(wishes: &Wishes) -> (Option<StorageKind>, bool) {
    let by_class = wishes.storage == Some(StorageKind::Class);
    (wishes.storage, wishes.layout.map_or(by_class, |layout| layout == Layout::PerPod))
}

const PASSWORDS: [Setting; 3] = [Setting::SuperuserPassword, Setting::ReplicationPassword, Setting::UserPassword];

/// Where passwords came from that a person gave.
fn given_passwords(resolved: &Resolved) -> Vec<Source> {
    let sources = PASSWORDS.iter().filter_map(|setting| resolved.sources.settings.get(setting));
    sources.filter(|source| source.is_given()).cloned().collect()
}

/// Whether a password is the checkout's own.
pub fn published_passwords(resolved: &Resolved) -> bool {
    let sources = PASSWORDS.iter().filter_map(|setting| resolved.sources.settings.get(setting));
    sources.into_iter().any(|source| matches!(source, Source::Checkout(_)))
}

/// Says what became of a checkout's manifests.
pub fn say_notes(app: &App, base: &Base, notes: &Notes) {
    let Notes { upgrades, replaced, added, left_out } = notes;
    let ui = &app.ui;
    ui.say(&match upgrades.len() {
        0 => "using the checkout's own manifests as they are".to_owned(),
        1 => "using the checkout's own manifests, with one upgrade for today's clusters:".to_owned(),
        count => format!("using the checkout's own manifests, with {count} upgrades for today's clusters:"),
    });
    let width = upgrades.iter().map(|upgrade| upgrade.name.len()).max().unwrap_or(0);
    for upgrade in upgrades {
        ui.say(&format!("  {:width$}  {}", upgrade.name, upgrade.why));
    }
    for line in replaced.iter().chain(added).chain(left_out) {
        ui.say(line);
    }
    let ignored = base.checkout.ignored();
    match &ignored[..] {
        [] => {}
        [one] => ui.say(one),
        [first, rest @ ..] => {
            ui.say(&format!("{first}; {} more lines are no plain exports either (-v names them)", rest.len()));
            for line in rest {
                ui.detail(line);
            }
        }
    }
    if !base.checkout.others().is_empty() {
        ui.say(&format!("no manifests, and never run: {}", base.checkout.others().join(", ")));
    }
}
