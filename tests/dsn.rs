//! Data sources read back by the driver: whatever the names and passwords, each ends up where it belongs.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so and ends")]

use std::process::Command;

use pgset::set::dsn::{Dsn, shell_word};
use proptest::prelude::*;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, TargetSessionAttrs};

fn dsn() -> impl Strategy<Value = Dsn> {
    // Anything PostgreSQL takes for a name or password; NUL it takes nowhere.
    let text = || "[^\0]{1,20}";
    (text(), text(), proptest::option::of(text()), any::<bool>()).prop_map(|(database, user, password, several)| Dsn {
        hosts: (0..if several { 3 } else { 1 }).map(|n| format!("pgset-{n}.pgset.db.svc")).collect(),
        port: 5432,
        database,
        user,
        password,
        primary_only: several,
    })
}

fn check(dsn: &Dsn, read: &Config) {
    assert_eq!(read.get_dbname(), Some(dsn.database.as_str()));
    assert_eq!(read.get_user(), Some(dsn.user.as_str()));
    assert_eq!(read.get_password(), dsn.password.as_ref().map(String::as_bytes));
    let hosts: Vec<Host> = dsn.hosts.iter().cloned().map(Host::Tcp).collect();
    assert_eq!(read.get_hosts(), hosts);
    assert_eq!(read.get_ports().len(), dsn.hosts.len());
    let wanted = if dsn.primary_only { TargetSessionAttrs::ReadWrite } else { TargetSessionAttrs::Any };
    assert_eq!(read.get_target_session_attrs(), wanted);
}

proptest! {
    #[test]
    fn a_uri_is_read_as_it_was_meant(dsn in dsn()) {
        check(&dsn, &dsn.uri().parse().unwrap());
        // Plain ASCII without spaces: it passes through every file and terminal.
        prop_assert!(dsn.uri().bytes().all(|byte| byte.is_ascii_graphic()));
    }

    #[test]
    fn keywords_and_values_are_read_as_they_were_meant(dsn in dsn()) {
        check(&dsn, &dsn.libpq().parse().unwrap());
    }

    #[test]
    fn a_go_uri_only_adds_that_there_is_no_tls(dsn in dsn()) {
        let read: Config = dsn.go().parse().unwrap();
        check(&dsn, &read);
        prop_assert_eq!(read.get_ssl_mode(), tokio_postgres::config::SslMode::Disable);
    }
}

#[test]
fn a_shell_reads_words_and_variables_as_they_were_meant() {
    let texts = ["plain", "", "a b", "o'neil", "$(id)`id`\\", "\"", "line\nbreak", "é *", "'''", "-n"];
    for text in texts {
        let script = format!("printf '%s' {}", shell_word(text));
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), text);
        let dsn = Dsn {
            hosts: vec!["h".to_owned()],
            port: 1,
            database: "d".to_owned(),
            user: "u".to_owned(),
            password: Some(text.to_owned()),
            primary_only: false,
        };
        let script = format!("{}printf '%s' \"$PGPASSWORD\"", dsn.env());
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), text);
    }
}
