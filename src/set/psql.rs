//! What psql is run with: the environment of the one here, the command line of the one in a member.

use std::ffi::OsString;

/// Variables of libpq that would lead a session elsewhere or forbid the tunnel, which is a Unix socket.
pub const NOT_FOR_THE_TUNNEL: [&str; 10] = [
    "PGHOSTADDR",
    "PGSERVICE",
    "PGSSLMODE",
    "PGSSLNEGOTIATION",
    "PGREQUIRESSL",
    "PGREQUIREPEER",
    "PGREQUIREAUTH",
    "PGCHANNELBINDING",
    "PGTARGETSESSIONATTRS",
    "PGLOADBALANCEHOSTS",
];

/// The variable that comes before every password file.
pub const PASSWORD: &str = "PGPASSWORD";

/// Whom psql logs in as: what its own arguments say comes before the environment's `user`.
#[must_use]
pub fn user_of<'a>(user: &'a str, arguments: &'a [OsString]) -> &'a str {
    let mut words = arguments.iter().map(|word| word.to_str().unwrap_or_default());
    let mut named = user;
    while let Some(word) = words.next() {
        let value = match word {
            "-U" | "--username" => words.next(),
            // Their values are no flags, whatever they look like.
            "-c" | "--command" | "-f" | "--file" | "-v" | "--set" | "--variable" | "-d" | "--dbname" | "-o"
            | "--output" => {
                words.next();
                None
            }
            "--" => break,
            _ => word.strip_prefix("--username=").or_else(|| word.strip_prefix("-U")),
        };
        named = value.unwrap_or(named);
    }
    named
}

/// The member's scripts know where its programs and its socket are. The socket trusts whoever can reach it, so no password
/// travels. An empty user or database is the set's own.
const SCRIPT: &str = concat!(
    include_str!("member.sh"),
    r#"
unset LC_ALL PGPASSFILE PGPASSWORD
export LANG=C.UTF-8 PGCLIENTENCODING=UTF8 PGHOST="$PGSET_RUN" PGPORT="$PGSET_PORT"
export PGUSER="${1:-$PGSET_USER}" PGDATABASE="${2:-$PGSET_DATABASE}"
shift 2
exec psql "$@""#
);

/// The command line that runs psql in a member.
#[must_use]
pub fn in_member(user: Option<&str>, database: Option<&str>, arguments: &[String]) -> Vec<String> {
    let fixed = ["sh", "-c", SCRIPT, "psql", user.unwrap_or_default(), database.unwrap_or_default()];
    fixed.into_iter().map(str::to_owned).chain(arguments.iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// What psql would be run with: the script itself in this machine's shell, with a psql that only says it.
    fn run(user: Option<&str>, database: Option<&str>, arguments: &[&str]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let psql = folder.path().join("psql");
        let say = "#!/bin/sh\nprintf '%s\\n' \"$PGHOST $PGPORT\" \"$PGUSER\" \"$PGDATABASE\" \"$@\"\n";
        std::fs::write(&psql, say).unwrap();
        std::fs::set_permissions(&psql, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::write(folder.path().join("lib.sh"), "PGSET_RUN=/pgset/run PGSET_PORT=5432\nset -u\n").unwrap();
        let arguments: Vec<String> = arguments.iter().map(|&word| word.to_owned()).collect();
        let line = in_member(user, database, &arguments);
        let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]).env("PATH", path).env("PGSET_CONFIG", folder.path());
        command.env("PGSET_USER", "o'neil $(x)").env("PGSET_DATABASE", "My \"App\"");
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    }

    #[test]
    fn psqls_own_arguments_say_last_who_logs_in() {
        for (line, user) in [
            ("", "testuser"),
            ("-X -c -Ueve", "testuser"),
            ("-U eve", "eve"),
            ("-Ueve -At", "eve"),
            ("--username eve -U bob", "bob"),
            ("--username=eve", "eve"),
            ("-U", "testuser"),
            ("-- -U eve", "testuser"),
        ] {
            let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
            assert_eq!(user_of("testuser", &words), user, "{line}");
        }
    }

    #[test]
    fn a_member_without_pgsets_scripts_has_the_socket_and_the_names_of_its_image() {
        let folder = tempfile::tempdir().unwrap();
        let psql = folder.path().join("psql");
        let say = "#!/bin/sh\nprintf '%s\\n' \"$PGHOST $PGPORT\" \"$PGUSER\" \"$PGDATABASE\" \"${PGPASSWORD-none}\"\n";
        std::fs::write(&psql, say).unwrap();
        std::fs::set_permissions(&psql, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
        let line = in_member(None, None, &[]);
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]).env("PATH", path).env("PGSET_CONFIG", folder.path());
        command.envs([("PG_USER", "testuser"), ("PG_DATABASE", "userdb"), ("PG_MASTER_PASSWORD", "secret")]);
        let said = String::from_utf8(command.output().unwrap().stdout).unwrap();
        assert_eq!(said, "/tmp 5432\ntestuser\nuserdb\nnone\n");
    }

    #[test]
    fn every_argument_arrives_as_it_was_written() {
        assert_eq!(run(None, None, &[]), "/pgset/run 5432\no'neil $(x)\nMy \"App\"\n");
        let arguments = ["-c", "select 'a b', $$x$$; -- \"", "", "*"];
        assert_eq!(
            run(Some("postgres"), Some("a`id`"), &arguments),
            "/pgset/run 5432\npostgres\na`id`\n-c\nselect 'a b', $$x$$; -- \"\n\n*\n"
        );
    }
}
