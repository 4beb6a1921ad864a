//! How clients are told where a set is: one data source, written for each kind of client.

use std::fmt::Write as _;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Where a client connects, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dsn {
    /// Names or addresses; several only where the client is to try one after the other.
    pub hosts: Vec<String>,
    pub port: u16,
    pub database: String,
    pub user: String,
    /// `None` where it is not to be shown.
    pub password: Option<String>,
    /// Of several hosts, only the primary will do.
    pub primary_only: bool,
}

/// What RFC 3986 leaves as it is anywhere in a URI; all else is encoded, so that no name can end its part.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

impl Dsn {
    /// `postgresql://user:password@host:port/database`.
    #[must_use]
    pub fn uri(&self) -> String {
        // libpq knows read-write since 10, its shorter name since 14 only.
        let query = if self.primary_only { "?target_session_attrs=read-write" } else { "" };
        format!("postgresql://{}@{}/{}{query}", self.userinfo(), self.authority(), encoded(&self.database))
    }

    /// For pgx and lib/pq. The latter insists on TLS unless told otherwise, and members do not speak it.
    #[must_use]
    pub fn go(&self) -> String {
        let query = if self.primary_only { "&target_session_attrs=read-write" } else { "" };
        let (userinfo, authority, database) = (self.userinfo(), self.authority(), encoded(&self.database));
        format!("postgres://{userinfo}@{authority}/{database}?sslmode=disable{query}")
    }

    /// For Java.
    #[must_use]
    pub fn jdbc(&self) -> String {
        let mut text = format!("jdbc:postgresql://{}/{}", self.authority(), encoded(&self.database));
        let _ = write!(text, "?user={}", encoded(&self.user));
        if let Some(password) = &self.password {
            let _ = write!(text, "&password={}", encoded(password));
        }
        if self.primary_only {
            text.push_str("&targetServerType=primary");
        }
        text
    }

    /// Keywords and values, as psql and libpq take them.
    #[must_use]
    pub fn libpq(&self) -> String {
        let values = self.values().into_iter().map(|(key, _, value)| format!("{key}={}", libpq_value(&value)));
        values.collect::<Vec<_>>().join(" ")
    }

    /// The variables libpq reads, for a shell.
    #[must_use]
    pub fn env(&self) -> String {
        self.values().into_iter().map(|(_, name, value)| format!("export {name}={}\n", shell_word(&value))).collect()
    }

    /// `DATABASES` of a Django project.
    #[must_use]
    pub fn django(&self) -> String {
        let mut text =
            "DATABASES = {\n    \"default\": {\n        \"ENGINE\": \"django.db.backends.postgresql\",\n".to_owned();
        let mut line = |key: &str, value: &str| {
            let _ = writeln!(text, "        \"{key}\": {},", python_text(value));
        };
        line("HOST", &self.hosts.join(","));
        line("PORT", &self.ports());
        line("NAME", &self.database);
        line("USER", &self.user);
        if let Some(password) = &self.password {
            line("PASSWORD", password);
        }
        if self.primary_only {
            text.push_str("        \"OPTIONS\": {\"target_session_attrs\": \"read-write\"},\n");
        }
        text.push_str("    }\n}\n");
        text
    }

    fn userinfo(&self) -> String {
        match &self.password {
            Some(password) => format!("{}:{}", encoded(&self.user), encoded(password)),
            None => encoded(&self.user),
        }
    }

    fn authority(&self) -> String {
        self.hosts.iter().map(|host| format!("{host}:{}", self.port)).collect::<Vec<_>>().join(",")
    }

    /// One for each host: not every client takes one for all.
    fn ports(&self) -> String {
        vec![self.port.to_string(); self.hosts.len()].join(",")
    }

    /// Keyword, variable and value, as libpq knows them.
    fn values(&self) -> Vec<(&'static str, &'static str, String)> {
        let mut values = vec![
            ("host", "PGHOST", self.hosts.join(",")),
            ("port", "PGPORT", self.ports()),
            ("dbname", "PGDATABASE", self.database.clone()),
            ("user", "PGUSER", self.user.clone()),
        ];
        if let Some(password) = &self.password {
            values.push(("password", "PGPASSWORD", password.clone()));
        }
        if self.primary_only {
            values.push(("target_session_attrs", "PGTARGETSESSIONATTRS", "read-write".to_owned()));
        }
        values
    }
}

/// A value of a libpq connection string, quoted where it has to be.
fn libpq_value(value: &str) -> String {
    if plain(value) { value.to_owned() } else { format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'")) }
}

/// A word of a shell, quoted where it has to be.
#[must_use]
pub fn shell_word(value: &str) -> String {
    if plain(value) { value.to_owned() } else { format!("'{}'", value.replace('\'', r"'\''")) }
}

fn plain(value: &str) -> bool {
    !value.is_empty() && value.chars().all(|c| c.is_ascii_alphanumeric() || "-._,".contains(c))
}

/// A string literal of Python: JSON's are among them.
fn python_text(value: &str) -> String {
    serde_json::Value::from(value).to_string()
}

/// A line of a password file: any host, port and database, this user.
#[must_use]
pub fn passfile_line(user: &str, password: &str) -> String {
    let field = |text: &str| text.replace('\\', "\\\\").replace(':', "\\:");
    format!("*:*:*:{}:{}\n", field(user), field(password))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dsn() -> Dsn {
        Dsn {
            hosts: vec!["pgset-master.db.svc".to_owned()],
            port: 5432,
            database: "userdb".to_owned(),
            user: "testuser".to_owned(),
            password: None,
            primary_only: false,
        }
    }

    fn hostile() -> Dsn {
        Dsn {
            hosts: vec!["a-0.a.db.svc".to_owned(), "a-1.a.db.svc".to_owned()],
            database: "My \"App\"/x?y".to_owned(),
            user: "o'neil\\@:".to_owned(),
            password: Some("p w'$(x)\\&\"é".to_owned()),
            primary_only: true,
            ..dsn()
        }
    }

    #[test]
    fn plain_names_read_plainly() {
        let dsn = dsn();
        assert_eq!(dsn.uri(), "postgresql://testuser@pgset-master.db.svc:5432/userdb");
        assert_eq!(dsn.go(), "postgres://testuser@pgset-master.db.svc:5432/userdb?sslmode=disable");
        assert_eq!(dsn.jdbc(), "jdbc:postgresql://pgset-master.db.svc:5432/userdb?user=testuser");
        assert_eq!(dsn.libpq(), "host=pgset-master.db.svc port=5432 dbname=userdb user=testuser");
        assert_eq!(
            dsn.env(),
            "export PGHOST=pgset-master.db.svc\nexport PGPORT=5432\nexport PGDATABASE=userdb\nexport PGUSER=testuser\n"
        );
        assert_eq!(
            dsn.django(),
            r#"DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": "pgset-master.db.svc",
        "PORT": "5432",
        "NAME": "userdb",
        "USER": "testuser",
    }
}
"#
        );
    }

    #[test]
    fn hostile_names_stay_in_their_place() {
        let dsn = hostile();
        assert_eq!(
            dsn.uri(),
            "postgresql://o%27neil%5C%40%3A:p%20w%27%24%28x%29%5C%26%22%C3%A9@a-0.a.db.svc:5432,a-1.a.db.svc:5432/\
             My%20%22App%22%2Fx%3Fy?target_session_attrs=read-write"
        );
        assert!(dsn.jdbc().ends_with(
            "/My%20%22App%22%2Fx%3Fy?user=o%27neil%5C%40%3A&password=p%20w%27%24%28x%29%5C%26%22%C3%A9&targetServerType=primary"
        ));
        assert_eq!(
            dsn.libpq(),
            "host=a-0.a.db.svc,a-1.a.db.svc port=5432,5432 dbname='My \"App\"/x?y' user='o\\'neil\\\\@:' \
             password='p w\\'$(x)\\\\&\"é' target_session_attrs=read-write"
        );
        assert!(dsn.env().contains("export PGPASSWORD='p w'\\''$(x)\\&\"é'\n"));
        assert!(dsn.env().ends_with("export PGTARGETSESSIONATTRS=read-write\n"));
        assert!(dsn.django().contains(r#""PASSWORD": "p w'$(x)\\&\"é","#));
    }

    #[test]
    fn passfiles_escape_what_ends_a_field() {
        assert_eq!(passfile_line("a:b", "c\\d:e"), "*:*:*:a\\:b:c\\\\d\\:e\n");
    }
}
