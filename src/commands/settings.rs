//! `pgset settings`: every setting, its value and where it came from.

use serde::Serialize;

use super::app::App;
use super::base::resolve;
use crate::cli::{SettingsArgs, TableFormat};
use crate::error::Outcome;
use crate::report::{document, table};
use crate::settings::{Password, PgSetting, Resolved, Setting, Settings, Source, Storage};

/// `kind: Settings` of `pgset/v1`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SettingsView {
    api_version: &'static str,
    kind: &'static str,
    settings: Vec<Row>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub setting: String,
    /// Secrets as `***`, or `generated` where none was given.
    pub value: String,
    pub source: String,
}

/// Shows them.
///
/// # Errors
/// Settings that cannot be used.
pub fn run(app: &App, args: &SettingsArgs) -> Outcome {
    let found = resolve(app, &args.settings)?;
    app.ui.data(&shown(&found.resolved, args.output)?)
}

fn shown(resolved: &Resolved, format: TableFormat) -> Outcome<String> {
    let settings = rows(resolved);
    if format == TableFormat::Table {
        let rows: Vec<_> = settings.into_iter().map(|row| vec![row.setting, row.value, row.source]).collect();
        return Ok(table(&["SETTING", "VALUE", "SOURCE"], &rows));
    }
    let view = SettingsView { api_version: "pgset/v1", kind: "Settings", settings };
    document(&view, format == TableFormat::Yaml)
}

/// One row a setting in use, in the order of the README's table, then one a parameter.
pub(crate) fn rows(resolved: &Resolved) -> Vec<Row> {
    let row = |setting: String, value: String, source: &Source| Row { setting, value, source: source.to_string() };
    let settings = Setting::ALL.iter().filter_map(|setting| {
        let source = resolved.sources.settings.get(setting)?;
        Some(row(setting.key().to_owned(), value(resolved, *setting)?, source))
    });
    let parameters = resolved.settings.postgresql.iter().filter_map(|(name, value)| {
        let value = if PgSetting::may_hold_secret(name.as_str()) { "***".to_owned() } else { value.clone() };
        Some(row(format!("postgresql.{name}"), value, resolved.sources.parameters.get(name)?))
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
        crunchy,
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
        Setting::Timeout => Some(resolved.timeout.to_string()),
        Setting::BuildBase => path(&resolved.buildbase),
        Setting::Image => Some(image.to_string()),
        Setting::Flavor => Some(flavor.to_string()),
        Setting::CrunchyVersion => {
            crunchy.map(|crunchy| crunchy.contract.version.map_or("unknown".to_owned(), |version| version.to_string()))
        }
        Setting::RoleBy => crunchy.map(|crunchy| crunchy.role_by.to_string()),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::tests::Given;

    fn example() -> Resolved {
        let given = Given {
            flags: &["--replicas", "3", "--set-parameter", "work_mem=16MB", "--set-parameter", "my.api_token=hunter2"],
            env: &[("PGSET_IMAGE", "registry/postgres:16"), ("PG_PASSWORD", "hunter2"), ("NFS_SERVER", "10.0.0.5")],
            file: "name: orders\nsize: 2048Mi\npostgresql:\n  max_connections: 200\n",
            kubeconfig: Some("shop"),
        };
        given.resolve().expect("good settings")
    }

    #[test]
    fn as_a_table() {
        insta::assert_snapshot!(shown(&example(), TableFormat::Table).expect("text"), @r#"
        SETTING                     VALUE                 SOURCE
        name                        orders                conf/pgset.yaml:1
        namespace                   shop                  kubeconfig
        timeout                     10m                   default
        image                       registry/postgres:16  PGSET_IMAGE
        flavor                      postgres              default: from the image's name
        replicas                    3                     --replicas
        storage                     nfs                   default: as in the 2017 example, because of NFS_SERVER
        nfs-path                    /nfsfileshare         default: as in the 2017 example
        nfs-server                  10.0.0.5              NFS_SERVER
        layout                      shared                default: one folder holds every member's
        size                        2Gi                   conf/pgset.yaml:2
        cpu                         100m                  default
        memory                      512Mi                 default
        database                    userdb                default: as in the 2017 example
        user                        testuser              default: as in the 2017 example
        user-password               ***                   PG_PASSWORD
        superuser-password          generated             default: kept in a Secret
        replication-password        generated             default: kept in a Secret
        uid                         999                   default: the official image's postgres user
        postgresql.max_connections  200                   conf/pgset.yaml:4
        postgresql.my.api_token     ***                   --set-parameter
        postgresql.work_mem         16MB                  --set-parameter
        "#);
    }

    #[test]
    fn as_yaml_and_json() {
        insta::assert_snapshot!(shown(&example(), TableFormat::Yaml).expect("text"), @r#"
        apiVersion: pgset/v1
        kind: Settings
        settings:
        - setting: name
          source: conf/pgset.yaml:1
          value: orders
        - setting: namespace
          source: kubeconfig
          value: shop
        - setting: timeout
          source: default
          value: 10m
        - setting: image
          source: PGSET_IMAGE
          value: registry/postgres:16
        - setting: flavor
          source: 'default: from the image''s name'
          value: postgres
        - setting: replicas
          source: '--replicas'
          value: '3'
        - setting: storage
          source: 'default: as in the 2017 example, because of NFS_SERVER'
          value: nfs
        - setting: nfs-path
          source: 'default: as in the 2017 example'
          value: /nfsfileshare
        - setting: nfs-server
          source: NFS_SERVER
          value: 10.0.0.5
        - setting: layout
          source: 'default: one folder holds every member''s'
          value: shared
        - setting: size
          source: conf/pgset.yaml:2
          value: 2Gi
        - setting: cpu
          source: default
          value: 100m
        - setting: memory
          source: default
          value: 512Mi
        - setting: database
          source: 'default: as in the 2017 example'
          value: userdb
        - setting: user
          source: 'default: as in the 2017 example'
          value: testuser
        - setting: user-password
          source: PG_PASSWORD
          value: '***'
        - setting: superuser-password
          source: 'default: kept in a Secret'
          value: generated
        - setting: replication-password
          source: 'default: kept in a Secret'
          value: generated
        - setting: uid
          source: 'default: the official image''s postgres user'
          value: '999'
        - setting: postgresql.max_connections
          source: conf/pgset.yaml:4
          value: '200'
        - setting: postgresql.my.api_token
          source: '--set-parameter'
          value: '***'
        - setting: postgresql.work_mem
          source: '--set-parameter'
          value: 16MB
        "#);
        let json: serde_json::Value =
            serde_json::from_str(&shown(&example(), TableFormat::Json).expect("text")).expect("JSON");
        let yaml = crate::yaml::parse(&shown(&example(), TableFormat::Yaml).expect("text"));
        assert_eq!(yaml, Ok(json));
    }

    #[test]
    fn no_secret_is_shown() {
        for format in [TableFormat::Table, TableFormat::Json, TableFormat::Yaml] {
            assert!(!shown(&example(), format).expect("text").contains("hunter2"));
        }
        assert!(!format!("{:?}", example().settings.passwords).contains("hunter2"));
    }
}
