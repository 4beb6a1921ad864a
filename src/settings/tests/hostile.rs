//! Whatever is put into whatever setting: no panic, and what gets through is what its type allows.

use clap::CommandFactory as _;
use proptest::prelude::*;

use super::*;

/// Whether the text shown for an accepted setting is what its type allows: told apart from the types' own code, and more
/// coarsely.
fn allowed(row: &Row) -> bool {
    let value = row.value.as_str();
    let only = |extra: &str| value.chars().all(|c| c.is_ascii_alphanumeric() || extra.contains(c));
    let lower = !value.contains(|c: char| c.is_ascii_uppercase());
    let visible = !value.contains(|c: char| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c));
    match row.setting.as_str() {
        "name" => only("-") && lower && (1..=52).contains(&value.len()),
        "namespace" => only("-") && lower && (1..=63).contains(&value.len()),
        "image" => only("./:_@-[]") && (1..=700).contains(&value.len()),
        "flavor" | "role-by" | "storage" | "layout" => only("-") && lower && value.len() <= 8,
        "crunchy-version" => value == "unknown" || only(".") && value.split('.').count() == 3,
        "replicas" => value.parse::<u8>().is_ok_and(|n| (1..=32).contains(&n)),
        "nfs-server" => only(".:_-") && (1..=253).contains(&value.len()),
        "nfs-path" | "host-path" => {
            value.starts_with('/') && visible && !value.split('/').any(|part| part == "..") && value.len() <= 4095
        }
        "storage-class" => value == "the cluster's default" || only(".-") && lower && value.len() <= 253,
        "size" | "cpu" | "memory" => only("-") && value.starts_with(|c: char| c.is_ascii_digit()) && value.len() <= 32,
        "database" | "user" => visible && (1..=63).contains(&value.len()),
        "user-password" | "superuser-password" | "replication-password" => ["***", "generated"].contains(&value),
        "uid" => value.parse::<u32>().is_ok_and(|n| n > 0),
        "timeout" => only("") && value.starts_with(|c: char| c.is_ascii_digit()) && value.ends_with(['h', 'm', 's']),
        "buildbase" | "templates" => MACHINE.is_directory(Path::new(value)),
        parameter => {
            let name = parameter.strip_prefix("postgresql.").unwrap_or("?");
            visible
                && value.len() <= 4096
                && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '.'))
                && !["port", "data_directory", "include"].contains(&name)
        }
    }
}

/// A setting's flag as a field: the parser would take a value with a hyphen in front for a flag.
fn put(common: &mut Common, flags: &mut SettingsFlags, setting: Setting, text: &str) {
    let text = Some(text.to_owned());
    match setting {
        Setting::Name => common.name = text,
        Setting::Namespace => common.namespace = text,
        Setting::Context => common.context = text,
        Setting::Timeout => common.timeout = text,
        Setting::BuildBase => flags.buildbase = text,
        Setting::CcpImageTag => flags.ccp_image_tag = text,
        Setting::CcpImagePrefix => flags.ccp_image_prefix = text,
        Setting::Image => flags.image = text,
        Setting::Flavor => flags.flavor = text,
        Setting::CrunchyVersion => flags.crunchy_version = text,
        Setting::RoleBy => flags.role_by = text,
        Setting::Replicas => flags.replicas = text,
        Setting::Storage => flags.storage = text,
        Setting::NfsPath => flags.nfs_path = text,
        Setting::NfsServer => flags.nfs_server = text,
        Setting::HostPath => flags.host_path = text,
        Setting::StorageClass => flags.storage_class = text,
        Setting::Layout => flags.layout = text,
        Setting::Size => flags.size = text,
        Setting::Cpu => flags.cpu = text,
        Setting::Memory => flags.memory = text,
        Setting::Database => flags.database = text,
        Setting::User => flags.user = text,
        Setting::Parameters => flags.set_parameter.extend(text),
        Setting::Uid => flags.uid = text,
        Setting::Templates => flags.templates = text,
        Setting::UserPassword | Setting::SuperuserPassword | Setting::ReplicationPassword => {}
    }
}

/// Resolves with `text` at a setting, given in one of the ways.
fn give(setting: Setting, way: usize, text: &str) -> Result<Resolved, Vec<Problem>> {
    let (mut common, mut flags) = (Common::default(), SettingsFlags::default());
    // The storage that uses the setting.
    let storage = match setting {
        Setting::NfsPath | Setting::NfsServer => "nfs",
        Setting::HostPath => "hostpath",
        _ => "class",
    };
    flags.storage = Some(storage.to_owned()).filter(|_| setting != Setting::Storage);
    // The flavor that uses the setting.
    flags.flavor = matches!(setting, Setting::CrunchyVersion | Setting::RoleBy).then(|| "crunchy".to_owned());
    let mut env = Env::default();
    let mut file = SettingsFile::default();
    let names = setting.names();
    match way {
        0 => put(&mut common, &mut flags, setting, text),
        1 => {
            let document = match setting {
                Setting::Parameters => serde_json::json!({ "postgresql": { "a": text, text: "b" } }),
                _ => serde_json::json!({ names.key: text }),
            };
            file = SettingsFile::parse(Path::new("pgset.yaml"), &crate::yaml::to_string(&document));
        }
        way => env = [(names.variables[way % names.variables.len()], text)].into_iter().collect(),
    }
    let context = Context { namespace: Some(text).filter(|_| way == 2), machine: &MACHINE };
    let _ = connection(&common, &env, &file);
    resolve(&Inputs { common: &common, flags: &flags, env: &env, file: &file, context })
}

/// Texts that look like a value but for one thing, and texts that look like nothing.
fn hostile() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "\"",
        "'",
        "\\",
        "\n",
        "\r",
        "\t",
        "\0",
        " ",
        ":",
        ": ",
        "- ",
        "-",
        "#",
        "---",
        "{",
        "}",
        "[",
        "]",
        ",",
        "&a",
        "*a",
        "!!str",
        "|",
        ">",
        "%",
        "@",
        "`",
        "$(id)",
        "${X}",
        "~",
        "null",
        "true",
        "..",
        "/",
        ".",
        "=",
        "_",
        "0",
        "1",
        "17",
        "Gi",
        "m",
        "e3",
        "a",
        "pgset",
        "postgres",
        "POSTGRES",
        "{{ set }}",
        "{% raw %}",
        "{#",
        "\u{7f}",
        "\u{85}",
        "\u{202e}",
        "\u{2028}",
        "\u{feff}",
        "ü",
        "日本",
        "🐘",
        "sha256:",
        "10.0.0.1",
        "::1",
        "work_mem=",
        "port=",
        "host=",
        "pg_",
        "://",
        "\\u0022",
        "'; DROP TABLE x; --",
        "--replicas",
    ]);
    prop_oneof![
        8 => prop::collection::vec(pieces, 0..6).prop_map(|pieces| pieces.concat()),
        2 => any::<String>(),
        2 => "[a-z0-9./:@_-]{1,70}",
        1 => any::<char>().prop_map(|c| c.to_string().repeat(10_000 / c.len_utf8())),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

    #[test]
    fn nothing_bad_gets_through(
        setting in prop::sample::select(Setting::ALL.to_vec()),
        way in 0usize..5,
        text in hostile(),
    ) {
        match give(setting, way, &text) {
            Ok(resolved) => {
                for row in rows(&resolved) {
                    prop_assert!(allowed(&row), "{row:?}");
                }
            }
            Err(problems) => {
                prop_assert!(!problems.is_empty());
                for problem in problems {
                    let shown = problem.to_string();
                    prop_assert!(!shown.contains(char::is_control), "{shown:?}");
                    prop_assert!(shown.len() < 2000, "{shown:?}");
                    let secret = Setting::ALL.iter().any(|setting| setting.is_secret() && setting.key() == problem.setting);
                    prop_assert!(!secret || problem.value.is_none(), "{shown:?}");
                }
            }
        }
    }

    #[test]
    fn no_file_panics(text in hostile(), more in any::<String>()) {
        let file = SettingsFile::parse(Path::new("pgset.yaml"), &format!("{text}{more}"));
        let (common, flags) = (Common::default(), SettingsFlags::default());
        let context = Context { namespace: None, machine: &MACHINE };
        let _ = resolve(&Inputs { common: &common, flags: &flags, env: &Env::default(), file: &file, context });
    }
}

#[test]
fn the_check_itself_finds_bad_values() {
    let row = |setting: &str, value: &str| Row {
        setting: setting.to_owned(),
        value: value.to_owned(),
        source: String::new(),
    };
    for (setting, value) in [
        ("name", "a\"b"),
        ("image", "a b"),
        ("replicas", "33"),
        ("nfs-path", "/a/../b"),
        ("database", "a\nb"),
        ("user-password", "hunter2"),
        ("postgresql.port", "1"),
        ("postgresql.a\nb", "1"),
        ("unknown", "1"),
    ] {
        assert!(!allowed(&row(setting, value)), "{setting}={value}");
    }
}

/// A flag that is not in the table, or a variable that no help names, is one that a person cannot find.
#[test]
fn flags_and_table_say_the_same() {
    let mut command = Cli::command();
    command.build();
    for name in ["up", "diff", "render", "settings"] {
        let command = command.find_subcommand(name).expect(name);
        let arguments: Vec<_> = command.get_arguments().collect();
        for setting in Setting::ALL {
            let names = setting.names();
            let Some(flag) = names.flag else { continue };
            let argument = arguments.iter().find(|argument| argument.get_long() == flag.strip_prefix("--"));
            let help = argument.unwrap_or_else(|| panic!("{name} has no {flag}")).get_help().map(ToString::to_string);
            // The seed's variable is the better known; pgset's own is PGSET_ and the flag.
            let seeds = names.variables.iter().filter(|variable| !variable.starts_with("PGSET_"));
            let expected: Vec<_> =
                if names.variables.len() > 1 { seeds.collect() } else { names.variables.iter().collect() };
            for variable in expected {
                assert!(help.as_ref().is_some_and(|help| help.contains(variable)), "{flag}: {help:?}");
            }
        }
        let known = |long: &str| {
            Setting::ALL.iter().any(|setting| setting.names().flag.is_some_and(|flag| flag[2..] == *long))
                || ["help", "file", "output", "kubeconfig", "yes", "quiet", "verbose", "color"].contains(&long)
                || ["as", "as-group", "as-is", "eject", "dry-run", "no-preflight", "unstick"].contains(&long)
        };
        for long in arguments.iter().filter_map(|argument| argument.get_long()) {
            assert!(known(long), "{name} --{long} is not in the table");
        }
    }
}
