//! Flag, then environment, then file, then default: for every setting.

use super::*;

/// A setting, what else it takes to be in use, and a good value for the file, each variable and the flag, with what the
/// row shows for them.
struct Case {
    setting: Setting,
    with: &'static [&'static str],
    default: &'static str,
    values: &'static [&'static str],
}

const NFS: &[&str] = &["--storage", "nfs"];
const TAG: &[&str] = &["--ccp-image-tag", "t"];

/// The first value is the file's, the last the flag's, those between the variables', the weakest first.
const CASES: &[Case] = &[
    Case { setting: Setting::Name, with: &[], default: "pgset (default)", values: &["a", "b", "c"] },
    Case { setting: Setting::Namespace, with: &[], default: "default (default)", values: &["a", "b", "c"] },
    Case { setting: Setting::Timeout, with: &[], default: "10m (default)", values: &["1m", "2m", "3m"] },
    Case { setting: Setting::BuildBase, with: &[], default: "", values: &["/base", "/mine", "/base", "/mine"] },
    Case {
        setting: Setting::Image,
        with: &[],
        default: "docker.io/library/postgres:17 (default: the official image, a major version that stays until you change it)",
        values: &["a", "b", "c"],
    },
    Case {
        setting: Setting::Flavor,
        with: &[],
        default: "postgres (default: from the image's name)",
        values: &["crunchy", "postgres", "crunchy"],
    },
    Case {
        setting: Setting::CrunchyVersion,
        with: &["--flavor", "crunchy"],
        default: "unknown (default: the tag does not end in a version)",
        values: &["1.2.6", "1.2.7", "4.5.0"],
    },
    Case {
        setting: Setting::RoleBy,
        with: &["--image", "crunchy-postgres:centos7-9.6-1.2.8"],
        default: "image (default: the image's PG_MODE=set)",
        values: &["ordinal", "image", "ordinal"],
    },
    Case {
        setting: Setting::Replicas,
        with: &[],
        default: "2 (default: a primary and a replica)",
        values: &["3", "4", "5"],
    },
    Case { setting: Setting::Storage, with: &[], default: "class (default)", values: &["nfs", "hostpath", "class"] },
    Case {
        setting: Setting::NfsPath,
        with: NFS,
        default: "/nfsfileshare (default: as in the 2017 example)",
        values: &["/a", "/b", "/c", "/d"],
    },
    Case {
        setting: Setting::NfsServer,
        with: NFS,
        default: "10.0.0.1 (this machine)",
        values: &["a", "10.0.0.2", "fd00::1", "b", "c"],
    },
    Case {
        setting: Setting::HostPath,
        with: &["--storage", "hostpath"],
        default: "/nfsfileshare (default: as in the 2017 example)",
        values: &["/a", "/b", "/c"],
    },
    Case {
        setting: Setting::StorageClass,
        with: &[],
        default: "the cluster's default (default)",
        values: &["a", "b", "c"],
    },
    Case {
        setting: Setting::Layout,
        with: &[],
        default: "per-pod (default: a class makes a volume for each member)",
        values: &["shared", "per-pod", "shared"],
    },
    Case { setting: Setting::Size, with: &[], default: "1Gi (default)", values: &["2Gi", "3Gi", "4Gi"] },
    Case { setting: Setting::Cpu, with: &[], default: "100m (default)", values: &["1", "2", "3"] },
    Case { setting: Setting::Memory, with: &[], default: "512Mi (default)", values: &["1Gi", "2Gi", "3Gi"] },
    Case {
        setting: Setting::Database,
        with: &[],
        default: "userdb (default: as in the 2017 example)",
        values: &["a", "b", "c", "d"],
    },
    Case {
        setting: Setting::User,
        with: &[],
        default: "testuser (default: as in the 2017 example)",
        values: &["a", "b", "c", "d"],
    },
    Case {
        setting: Setting::Uid,
        with: &[],
        default: "999 (default: the official image's postgres user)",
        values: &["1", "2", "3"],
    },
    Case { setting: Setting::Templates, with: &[], default: "", values: &["/base", "/mine", "/base"] },
];

/// Settings that have no row of their own, or no flag; each has a test below.
const ELSEWHERE: [Setting; 7] = [
    Setting::Context,
    Setting::CcpImageTag,
    Setting::CcpImagePrefix,
    Setting::UserPassword,
    Setting::SuperuserPassword,
    Setting::ReplicationPassword,
    Setting::Parameters,
];

#[test]
fn no_setting_is_left_out() {
    for setting in Setting::ALL {
        let here = CASES.iter().any(|case| case.setting == setting);
        assert_ne!(here, ELSEWHERE.contains(&setting), "{}", setting.key());
    }
}

#[test]
fn flag_environment_file_default() {
    for Case { setting, with, default, values } in CASES {
        let key = setting.key();
        let names = setting.names();
        let [in_file, in_variables @ .., in_flag] = values else { panic!("{key} has no values") };
        assert_eq!(in_variables.len(), names.variables.len(), "{key}");
        assert_eq!(Given { flags: with, ..Given::default() }.row(key), *default, "{key}");

        let file = format!("# the settings\n{key}: {in_file}\n");
        let mut env: Vec<(&str, &str)> = Vec::new();
        assert_eq!(row(key, with, &[], &file), format!("{in_file} (conf/pgset.yaml:2)"), "{key}");
        for (name, value) in names.variables.iter().rev().zip(in_variables) {
            env.push((name, ""));
            let before = env.len() - 1;
            let unset = row(key, with, &env, &file);
            env[before] = (name, value);
            let set = row(key, with, &env, &file);
            assert_ne!(unset, set, "an empty {name} is not set");
            assert_eq!(set, format!("{value} ({name})"), "{key}");
        }
        let flag = names.flag.expect("a flag");
        let flags = [with, &[flag, in_flag][..]].concat();
        assert_eq!(row(key, &flags, &env, &file), format!("{in_flag} ({flag})"), "{key}");
    }
}

#[test]
fn the_seeds_image() {
    let tag = ("CCP_IMAGE_TAG", "centos7-9.6-1.2.7");
    assert_eq!(row("image", &[], &[tag], ""), "crunchydata/crunchy-postgres:centos7-9.6-1.2.7 (CCP_IMAGE_TAG)");
    assert_eq!(
        row("image", &[], &[tag, ("CCP_IMAGE_PREFIX", "r:5000/c/")], ""),
        "r:5000/c/crunchy-postgres:centos7-9.6-1.2.7 (CCP_IMAGE_TAG)"
    );
    assert_eq!(
        row("image", &[], &[tag, ("PGSET_CCP_IMAGE_TAG", "x")], ""),
        "crunchydata/crunchy-postgres:x (PGSET_CCP_IMAGE_TAG)"
    );
    assert_eq!(
        row("image", TAG, &[tag, ("CCP_IMAGE_PREFIX", "c")], "ccp-image-prefix: d"),
        "c/crunchy-postgres:t (--ccp-image-tag)"
    );
    assert_eq!(
        row("image", &["--ccp-image-prefix", "e"], &[("CCP_IMAGE_PREFIX", "c")], "ccp-image-tag: 1.10"),
        "e/crunchy-postgres:1.10 (conf/pgset.yaml:1)"
    );
    // What a shell profile exports gives way to an image, wherever that is given.
    assert_eq!(row("image", &["--image", "i"], &[tag], ""), "i (--image)");
    assert_eq!(row("image", &[], &[tag, ("PGSET_IMAGE", "i")], ""), "i (PGSET_IMAGE)");
    assert_eq!(row("image", &[], &[tag], "image: i"), "i (conf/pgset.yaml:1)");
    // A prefix alone says nothing.
    assert!(row("image", &[], &[("CCP_IMAGE_PREFIX", "c")], "").starts_with("docker.io/library/postgres:17 "));
}

#[test]
fn flavor_and_uid_follow_the_image() {
    for (image, flavor, uid) in [
        ("crunchydata/crunchy-postgres:x", "crunchy", "26"),
        ("r.io/a/crunchy-postgres-gis:x", "crunchy", "26"),
        ("crunchy-postgres/other:x", "postgres", "999"),
        ("postgres:17-alpine3.20", "postgres", "70"),
        ("alpine/postgres:17", "postgres", "999"),
    ] {
        let given = Given { flags: &["--image", image], ..Given::default() };
        assert_eq!(given.row("flavor"), format!("{flavor} (default: from the image's name)"));
        assert!(given.row("uid").starts_with(&format!("{uid} (default: ")), "{image}: {}", given.row("uid"));
    }
    let given = Given { flags: &["--image", "mine:alpine", "--flavor", "crunchy"], ..Given::default() };
    assert!(given.row("uid").starts_with("26 "));
}

#[test]
fn any_of_the_seeds_variables_means_nfs() {
    let because = |source: &str| format!("nfs (default: as in the 2017 example, because of {source})");
    for (name, value) in [
        ("BUILDBASE", "/base"),
        ("CCP_IMAGE_TAG", "t"),
        ("CCP_IMAGE_PREFIX", "c"),
        ("NFS_PATH", "/n"),
        ("NFS_SERVER", "n"),
        ("LOCAL_IP", "10.0.0.9"),
    ] {
        assert_eq!(row("storage", &[], &[(name, value)], ""), because(name));
        assert_eq!(row("storage", &[], &[(name, "")], ""), "class (default)");
        assert_eq!(row("storage", &["--storage", "class"], &[(name, value)], ""), "class (--storage)");
        assert_eq!(row("storage", &[], &[(name, value)], "storage: class"), "class (conf/pgset.yaml:1)");
        assert_eq!(row("storage", &["--storage", "hostpath"], &[(name, value)], ""), "hostpath (--storage)");
    }
    for flags in
        [["--buildbase", "/base"], TAG.try_into().expect("two words"), ["--nfs-path", "/n"], ["--nfs-server", "n"]]
    {
        assert_eq!(row("storage", &flags, &[], ""), because(flags[0]));
    }
    assert_eq!(row("storage", &[], &[], "nfs-path: /n"), because("conf/pgset.yaml:1"));
    assert_eq!(
        row("storage", &[], &[("PGSET_HOST_PATH", "/h"), ("PGSET_STORAGE", "hostpath")], ""),
        "hostpath (PGSET_STORAGE)"
    );
}

#[test]
fn the_layout_follows_the_storage() {
    for (storage, layout) in [("nfs", "shared"), ("hostpath", "shared"), ("class", "per-pod")] {
        let flags = ["--storage", storage];
        assert!(Given { flags: &flags, ..Given::default() }.row("layout").starts_with(layout));
        for layout in ["shared", "per-pod"] {
            let flags = ["--storage", storage, "--layout", layout];
            assert_eq!(Given { flags: &flags, ..Given::default() }.row("layout"), format!("{layout} (--layout)"));
        }
    }
}

#[test]
fn the_nfs_server_is_this_machine_or_what_hostname_printed() {
    let server = |env| Given { env, flags: NFS, ..Given::default() }.row("nfs-server");
    assert_eq!(server(&[("LOCAL_IP", "127.0.1.1 fd00::1 10.0.0.9 \n")]), "10.0.0.9 (LOCAL_IP)");
    assert_eq!(server(&[("LOCAL_IP", "127.0.0.1")]), "127.0.0.1 (LOCAL_IP)");
    assert_eq!(server(&[("NFS_SERVER", "[fd00::1]")]), "fd00::1 (NFS_SERVER)");
}

#[test]
fn the_namespace_is_the_contexts_unless_given() {
    let namespace = |kubeconfig, file| Given { file, kubeconfig, ..Given::default() }.row("namespace");
    assert_eq!(namespace(Some("shop"), ""), "shop (kubeconfig)");
    assert_eq!(namespace(Some(""), ""), "default (default)");
    assert_eq!(namespace(Some("Not Good"), "namespace: db"), "db (conf/pgset.yaml:1)");
}

#[test]
fn templates_below_the_base_directory() {
    assert_eq!(row("templates", &[], &[("BUILDBASE", "/base")], ""), "/base/templates (BUILDBASE)");
    assert_eq!(row("templates", &[], &[("BUILDBASE", "/mine")], ""), "");
    assert_eq!(row("templates", &["--templates", "/mine"], &[("BUILDBASE", "/base")], ""), "/mine (--templates)");
    // Beside the file, wherever pgset runs.
    assert_eq!(row("templates", &[], &[], "templates: mine"), "conf/mine (conf/pgset.yaml:1)");
}

#[test]
fn passwords_come_from_the_environment() {
    for (name, key) in [
        ("PG_PASSWORD", "user-password"),
        ("PG_ROOT_PASSWORD", "superuser-password"),
        ("PG_MASTER_PASSWORD", "replication-password"),
    ] {
        let env = [(name, "hunter2")];
        assert_eq!(Given { env: &env, ..Given::default() }.row(key), format!("*** ({name})"));
        assert_eq!(Given::default().row(key), "generated (default: kept in a Secret)");
    }
    let env = [("PG_PASSWORD", "u"), ("PG_ROOT_PASSWORD", "r"), ("PG_MASTER_PASSWORD", "m")];
    let resolved = Given { env: &env, ..Given::default() }.resolve().expect("good settings");
    let GivenPasswords { superuser, replication, user } = resolved.settings.passwords;
    let revealed = [superuser, replication, user].map(|password| password.map(|p| p.reveal().to_owned()));
    assert_eq!(revealed, [Some("r".to_owned()), Some("m".to_owned()), Some("u".to_owned())]);
}

#[test]
fn parameters_are_replaced_one_by_one() {
    let given = Given {
        flags: &["--set-parameter", "b=flag", "--set-parameter", "C = x=1, 'y' ", "--set-parameter", "e="],
        env: &[("PGSET_SET_PARAMETER", "b=env\n\nd=env\r\n")],
        file: "postgresql:\n  a: 1.10\n  b: file\n  d: file\n",
        kubeconfig: None,
    };
    for (name, row) in [
        ("a", "1.10 (conf/pgset.yaml:2)"),
        ("b", "flag (--set-parameter)"),
        ("c", "x=1, 'y' (--set-parameter)"),
        ("d", "env (PGSET_SET_PARAMETER)"),
        ("e", " (--set-parameter)"),
    ] {
        assert_eq!(given.row(&format!("postgresql.{name}")), row);
    }
}

#[test]
fn connection_and_target() {
    let connect = |flags: &[&str], env: &[(&str, &str)], file: &str| {
        let file = SettingsFile::parse(Path::new("pgset.yaml"), file);
        connection(&parse(flags).0, &env.iter().copied().collect(), &file).map(|found| found.context)
    };
    let (file, env) = ("context: a", [("PGSET_CONTEXT", "b")]);
    assert_eq!(connect(&[], &[], ""), Ok(None));
    assert_eq!(connect(&[], &[], file), Ok(Some("a".to_owned())));
    assert_eq!(connect(&[], &env, file), Ok(Some("b".to_owned())));
    assert_eq!(connect(&["--context", "c"], &env, file), Ok(Some("c".to_owned())));
    assert!(
        connect(&[], &[], "contxt: a").is_err_and(|problems| joined(&problems).contains("did you mean `context`?"))
    );

    // A command without settings flags hears the file too, and only what it needs of it.
    let file = SettingsFile::parse(Path::new("pgset.yaml"), "name: a\nreplicas: many\n");
    let common = parse(&["-n", "db", "--timeout", "1h"]).0;
    let found = target(&common, &Env::default(), &file, Some("shop")).expect("a target");
    assert_eq!((found.name.as_str(), found.namespace.as_str(), found.timeout.to_string().as_str()), ("a", "db", "1h"));
}
