//! The look from inside a member: what is asked there of DNS and of the Service for writes, and how long for.

use std::time::Duration;

use super::Observation;
use super::observation::Inside;

/// How long a connection through a Service that has its endpoint may be refused or go unanswered before the Service counts
/// as dead. The endpoint is in the API first; kube-proxy gathers changes for its minimum sync period (1 s unless somebody
/// raised it) and then writes its rules anew, which takes seconds more on a busy node or with thousands of Services.
pub const KUBE_PROXY_SYNC: Duration = Duration::from_secs(10);

/// How long the look asks for names at most: a dead resolver makes every question wait.
pub const ASKING_DNS: Duration = Duration::from_secs(8);

/// With the start script's own idea of where PostgreSQL's programs and the Service are. The arguments: how many
/// seconds names are asked for, and for how many a Service that does not connect at once is tried again.
const LOOK: &str = concat!(
    include_str!("member.sh"),
    r#"
if command -v getent >/dev/null; then
  if timeout "$1" getent ahosts "$master_host" >/dev/null; then echo dns=true; else echo dns=false; fi
fi
until=$(($(date +%s) + $2))
while true; do
  pg_isready -q -h "$master_host" -p "$PGSET_PORT" -U postgres -t 3
  case $? in
  0 | 1) echo service=true && exit ;;
  esac
  [ "$(date +%s)" -lt "$until" ] || break
  sleep 0.3 2>/dev/null || sleep 1
done
echo service=false"#
);

/// How long the Service for writes is tried from inside: an empty one leads nowhere by right, so once is enough.
#[must_use]
pub fn try_for(seen: &Observation) -> Duration {
    let service = format!("{}-master", seen.name);
    if seen.endpoints(&service).is_empty() { Duration::ZERO } else { KUBE_PROXY_SYNC }
}

/// The command line of a look that tries the Service for this long, in whole seconds.
#[must_use]
pub fn command(try_for: Duration) -> Vec<String> {
    let [dns, service] = [ASKING_DNS, try_for].map(|time| time.as_secs().to_string());
    ["/bin/sh", "-c", LOOK, "look", &dns, &service].map(str::to_owned).to_vec()
}

/// Reads what the look printed; what was not said is not known.
#[must_use]
pub fn read(text: &str) -> Inside {
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')?.parse().ok());
    Inside { dns: value("dns"), service: value("service") }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use serde_json::json;

    use super::*;

    /// The look in this machine's shell, with a `pg_isready` that ends with 2, no answer, until it was asked so many times,
    /// then with `code`; with how many times it was asked.
    fn look(silent: usize, code: u8, try_for: Duration) -> (Inside, usize) {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let ready = format!(
            "#!/bin/sh\necho >>'{asked}'\n[ \"$(wc -l <'{asked}')\" -gt {silent} ] || exit 2\nexit {code}\n",
            asked = path("asked").display()
        );
        for (name, text) in [("pg_isready", ready.as_str()), ("getent", "#!/bin/sh\nexit 0\n")] {
            std::fs::write(path(name), text).unwrap();
            std::fs::set_permissions(path(name), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        }
        std::fs::write(path("lib.sh"), "set -u\nPGSET_PORT=5432 master_host=pgset-master\n").unwrap();
        let line = command(try_for);
        let programs = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
        let mut command = Command::new(&line[0]);
        let output =
            command.args(&line[1..]).env("PATH", programs).env("PGSET_CONFIG", folder.path()).output().unwrap();
        let asked = std::fs::read_to_string(path("asked")).unwrap().lines().count();
        (read(&String::from_utf8(output.stdout).unwrap()), asked)
    }

    const CONNECTS: Inside = Inside { dns: Some(true), service: Some(true) };
    const DEAD: Inside = Inside { dns: Some(true), service: Some(false) };

    #[test]
    fn a_service_that_connects_at_once_is_asked_once() {
        assert_eq!(look(0, 0, KUBE_PROXY_SYNC), (CONNECTS, 1));
        // PostgreSQL that takes no connections yet has answered as well.
        assert_eq!(look(0, 1, KUBE_PROXY_SYNC), (CONNECTS, 1));
    }

    #[test]
    fn a_service_that_kube_proxy_has_not_programmed_yet_is_not_dead() {
        assert_eq!(look(2, 0, KUBE_PROXY_SYNC), (CONNECTS, 3));
    }

    #[test]
    fn a_service_that_stays_silent_is_dead_after_the_moment() {
        assert_eq!(look(usize::MAX, 0, Duration::ZERO), (DEAD, 1));
        let (seen, asked) = look(usize::MAX, 0, Duration::from_secs(1));
        assert!(seen == DEAD && asked > 1, "{seen:?} {asked}");
    }

    #[test]
    fn an_empty_service_is_not_waited_for() {
        let mut seen = Observation { name: "pgset".to_owned(), ..Observation::default() };
        assert_eq!(try_for(&seen), Duration::ZERO);
        let slice = json!({"metadata": {"labels": {"kubernetes.io/service-name": "pgset-master"}}, "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.0.0.1"], "targetRef": {"name": "pgset-0"}}]});
        seen.endpoint_slices = vec![serde_json::from_value(slice).unwrap()];
        assert_eq!(try_for(&seen), KUBE_PROXY_SYNC);
    }

    #[test]
    fn what_was_not_said_is_not_known() {
        assert_eq!(read("dns=true\nservice=false\n"), DEAD);
        assert_eq!(read("service=true\n"), Inside { dns: None, service: Some(true) });
        assert_eq!(read("sh: not found\n"), Inside::default());
    }
}
