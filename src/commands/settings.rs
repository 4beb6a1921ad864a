//! `pgset settings`: every setting, its value and where it came from.

use serde::Serialize;

use super::app::{App, patience};
use super::up::resolve;
use crate::cli::{SettingsArgs, TableFormat};
use crate::error::Outcome;
use crate::report::{document, table};
use crate::settings::{Password, Resolved, Setting, Settings, Source, Storage};

/// `kind: Settings` of `pgset/v1`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SettingsView {
    api_version: &'static str,
    kind: &'static str,
    settings: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    setting: String,
    /// Secrets as `***`, or `generated` where none was given.
    value: String,
    source: String,
}

/// Shows them.
///
/// # Errors
/// Settings that cannot be used.
pub fn run(app: &App, args: &SettingsArgs) -> Outcome {
    let (resolved, _) = resolve(app, &args.settings)?;
    let view = SettingsView { api_version: "pgset/v1", kind: "Settings", settings: rows(&resolved) };
    let text = match args.output {
        TableFormat::Table => {
            let rows: Vec<Vec<String>> = view
                .settings
                .iter()
                .map(|row| vec![row.setting.clone(), row.value.clone(), row.source.clone()])
                .collect();
            table(&["SETTING", "VALUE", "SOURCE"], &rows)
        }
        TableFormat::Json => document(&view, false)?,
        TableFormat::Yaml => document(&view, true)?,
    };
    app.ui.data(&text)
}

/// One row a setting in use, in the order of the README's table, then one a parameter.
fn rows(resolved: &Resolved) -> Vec<Row> {
    let row = |setting: String, value: String, source: &Source| Row { setting, value, source: source.to_string() };
    let settings = Setting::ALL.iter().filter_map(|setting| {
        let source = resolved.sources.settings.get(setting)?;
        Some(row(setting.key().to_owned(), value(resolved, *setting)?, source))
    });
    let parameters = resolved.settings.postgresql.iter().filter_map(|(name, value)| {
        Some(row(format!("postgresql.{name}"), value.clone(), resolved.sources.parameters.get(name)?))
    });
    settings.chain(parameters).collect()
}

/// The value as it may be shown; `None` for what another row says already.
fn value(resolved: &Resolved, setting: Setting) -> Option<String> {
    let Settings {
        name,
        namespace,
        image,
        flavor,
        replicas,
        storage,
        layout,
        size,
        cpu,
        memory,
        database,
        user,
        passwords,
        postgresql: _,
        uid,
        templates,
    } = &resolved.settings;
    let secret = |given: &Option<Password>| Some(if given.is_some() { "***" } else { "generated" }.to_owned());
    let path = |path: &Option<std::path::PathBuf>| path.as_ref().map(|path| path.display().to_string());
    match setting {
        Setting::Name => Some(name.to_string()),
        Setting::Namespace => Some(namespace.to_string()),
        Setting::Timeout => Some(crate::report::text::age(patience(resolved.timeout))),
        Setting::BuildBase => path(&resolved.buildbase),
        Setting::Image => Some(image.to_string()),
        Setting::Flavor => Some(flavor.to_string()),
        Setting::Replicas => Some(replicas.get().to_string()),
        Setting::Storage => Some(storage.kind().to_string()),
        Setting::NfsPath => match storage {
            Storage::Nfs { path, .. } => Some(path.to_string()),
            _ => None,
        },
        Setting::NfsServer => match storage {
            Storage::Nfs { server, .. } => Some(server.to_string()),
            _ => None,
        },
        Setting::HostPath => match storage {
            Storage::HostPath { path } => Some(path.to_string()),
            _ => None,
        },
        Setting::StorageClass => match storage {
            Storage::Class { class: Some(class) } => Some(class.to_string()),
            Storage::Class { class: None } => Some("the cluster's default".to_owned()),
            _ => None,
        },
        Setting::Layout => Some(layout.to_string()),
        Setting::Size => Some(size.to_string()),
        Setting::Cpu => Some(cpu.to_string()),
        Setting::Memory => Some(memory.to_string()),
        Setting::Database => Some(database.to_string()),
        Setting::User => Some(user.to_string()),
        Setting::UserPassword => secret(&passwords.user),
        Setting::SuperuserPassword => secret(&passwords.superuser),
        Setting::ReplicationPassword => secret(&passwords.replication),
        Setting::Uid => Some(uid.to_string()),
        Setting::Templates => path(templates),
        // The image's name says what the first two made of it; parameters have rows of their own.
        Setting::CcpImageTag | Setting::CcpImagePrefix | Setting::Parameters | Setting::Context => None,
    }
}
