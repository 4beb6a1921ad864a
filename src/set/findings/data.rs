//! A container died, and its data folder or the volume below explains it: full, read-only, stale, of another make.

use super::super::Observation;
use super::super::identity::{is_crunchy, logs_to_files};
use super::super::observation::PodReading;
use super::mounts::nfs_of;
use super::{Finding, Severity};

/// What a dead container's words say of its data; `None` when they say nothing of it.
///
/// `script` is the start script's last sentence, `lines` the end of the log, and `looping` how much a death weighs that
/// may be overcome by itself.
pub(super) fn of_death(
    seen: &Observation,
    pod: &str,
    script: Option<&str>,
    lines: &[String],
    looping: Severity,
) -> Option<Finding> {
    let about = |code, severity, summary: &str| Finding::new(code, severity, "Pod", pod, summary);
    let words = script.unwrap_or_default();
    let line = |part: &str| lines.iter().rev().map(String::as_str).chain([words]).find(|line| line.contains(part));
    if words.contains("but the image has PostgreSQL") {
        return Some(
            about("PGS-DATA-OTHER-MAJOR", Severity::Fatal, words)
                .fix("use an image of the folder's version: pgset up --image …; nothing was touched")
                .fix(
                    "to move to another version: bring up a new set with the new image and load a dump of the old one",
                ),
        );
    }
    if words.contains("not a whole PostgreSQL data folder") {
        return Some(
            about("PGS-DATA-INCOMPLETE", Severity::Fatal, words)
                .fix(format!("in the directory behind the volume: mv {pod} {pod}.aside; nothing was touched"))
                .fix("the member then clones from the primary, or, if it is the first of a new set, initialises"),
        );
    }
    if words.contains("is a replica of system") || words.contains("another database system") {
        return Some(
            about("PGS-OTHER-SYSTEM", Severity::Fatal, words)
                .fix(format!("in the directory behind the volume: mv {pod} {pod}.aside; the member then clones anew"))
                .fix("or give this set a directory of its own: its folder was made for another set"),
        );
    }
    if let Some(half) = line("is not a valid data directory").filter(|_| keeps_a_half_clone(seen, pod)) {
        let summary = "the replica's copy of the primary broke off, and the image takes what is left of it for data: it will \
             never start by itself";
        return Some(
            about("PGS-DATA-INCOMPLETE", Severity::Fatal, summary)
                .evidence(half)
                .fix("let pgset's start script see to it, now and whenever it happens: pgset up --unstick, without --as-is")
                .fix(format!("or in the directory behind the volume: mv {pod} {pod}.aside (there is no data in it)"))
                .fix(format!("then: kubectl -n {} delete pod {pod}; it copies the primary anew", seen.namespace)),
        );
    }
    if let Some(full) = line("is full: ").or_else(|| line("No space left on device")) {
        // The script has counted; PostgreSQL's own words do not tell bytes from inodes.
        let counted = full.split_once("is full: ").map(|(_, counted)| counted.trim_end_matches(" are free"));
        let (what, of) = match counted {
            Some(counted) if is_short_of_inodes(counted) => ("has no inodes left", "df -i"),
            _ => ("is full", "df -h"),
        };
        let counted = counted.map_or_else(String::new, |counted| format!(": {counted} are free"));
        // What the script could not do it cannot do the next time either; PostgreSQL may have met a peak.
        let severity = if script.is_some() { Severity::Fatal } else { looping };
        return Some(
            about("PGS-VOLUME-FULL", severity, &format!("the member's volume {what}{counted}"))
                .fix(format!("see how full: {of} on the directory behind the volume; make room there, or give it more"))
                .fix("remove nothing from pg_wal by hand; the member tries again by itself"),
        );
    }
    if let Some(stale) = line("Stale file handle") {
        let on = nfs_of(seen, pod).map_or_else(|| "the NFS server".to_owned(), |(server, _)| server.to_owned());
        return Some(
            about("PGS-NFS-STALE", looping, "the NFS directory is not what it was when it was mounted")
                .evidence(stale)
                .fix(format!("on {on}: is the file system behind the export mounted? then: exportfs -ra"))
                .fix(format!("then mount it anew: kubectl -n {} delete pod {pod}", seen.namespace)),
        );
    }
    if let Some(read_only) = line("Read-only file system") {
        let finding =
            about("PGS-VOLUME-READ-ONLY", Severity::Fatal, "the member's volume can only be read").evidence(read_only);
        return Some(match nfs_of(seen, pod) {
            Some((server, path)) => {
                finding.fix(format!("on {server}: rw instead of ro for {path} in /etc/exports, then: exportfs -ra"))
            }
            None => finding.fix(
                "on the node: is the file system behind the volume mounted read-only, perhaps after an error? dmesg",
            ),
        });
    }
    if let Some(less) = line("lower setting than on the") {
        let words = less.split_once("DETAIL:").or_else(|| less.split_once("FATAL:")).map_or(less, |(_, words)| words);
        let setting = words.split(" = ").next().unwrap_or_default().rsplit(' ').next().unwrap_or_default();
        let summary = format!("the replica has less than its primary, and does not start so: {}", words.trim());
        return Some(
            about("PGS-STANDBY-SETTINGS", looping, &summary).fix(
                in_its_own_file(seen, pod, setting)
                    .unwrap_or_else(|| format!("raise it for all members: pgset up --set-parameter {setting}=…")),
            ),
        );
    }
    None
}

/// Whether a replica is started by a Crunchy image's own script alone, which clones into an empty folder and otherwise starts
/// whatever a clone has left.
fn keeps_a_half_clone(seen: &Observation, pod: &str) -> bool {
    let spec = seen.pod(pod).and_then(|pod| pod.spec.as_ref());
    spec.is_some_and(logs_to_files) && seen.ordinal(pod) != Some(0)
}

/// How a setting is changed that keeps a member of a Crunchy image from starting: that has its own `postgresql.conf` in each
/// member's folder, and no server runs there that could be told.
pub(super) fn in_its_own_file(seen: &Observation, pod: &str, setting: &str) -> Option<String> {
    seen.stateful_set.as_ref().is_some_and(is_crunchy).then(|| {
        format!(
            "in the directory behind the volume, at the end of {pod}/postgresql.conf: {setting} = …; the member tries again by itself"
        )
    })
}

/// Whether fewer of the inodes are left than of the bytes, in the script's words: `3 of 30 MB and 0 of 200 inodes`.
fn is_short_of_inodes(counted: &str) -> bool {
    let share = |part: &str| {
        let (free, rest) = part.trim().split_once(" of ")?;
        let all: f64 = rest.split(' ').next()?.parse().ok()?;
        Some(free.parse::<f64>().ok()? / all.max(1.0))
    };
    let Some((bytes, inodes)) = counted.split_once(" and ") else { return false };
    share(inodes).zip(share(bytes)).is_some_and(|(inodes, bytes)| inodes < bytes)
}

/// How a directory that cannot be written to is opened, where it is on an NFS server: from there, and nowhere else.
pub(super) fn open_on_server(seen: &Observation, pod: &str, uid: &str) -> Option<String> {
    let (server, path) = nfs_of(seen, pod)?;
    Some(format!(
        "on {server}: chown {uid} {path}, or chmod 777 {path} as the 2017 example did; with root_squash nobody else may"
    ))
}

/// Whether a pod's death asks for a look at its volume.
pub fn of_volume(pod: &k8s_openapi::api::core::v1::Pod) -> bool {
    const NOT_WRITABLE: i32 = 77;
    let container = pod.container();
    let states = container
        .and_then(|one| one.state.as_ref())
        .into_iter()
        .chain(container.and_then(|one| one.last_state.as_ref()));
    let mut ended = states.filter_map(|state| state.terminated.as_ref());
    !pod.is_running() && ended.any(|ended| ended.exit_code == NOT_WRITABLE)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::{Observation, Severity};
    use super::super::testing::{pod, seen};
    use super::super::{Asked, Finding, containers};

    fn died(exit_code: i32, message: &str, log: &[&str], volumes: serde_json::Value) -> Finding {
        let terminated = json!({"exitCode": exit_code, "reason": "Error", "message": message});
        let container = json!({"restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": terminated}});
        let mut dead = pod("pgset-0", container);
        dead["spec"]["volumes"] = json!([{"name": "pgdata", "persistentVolumeClaim": {"claimName": "pgset-pvc"}}]);
        let mut seen: Observation = seen(json!([dead]), json!([]));
        let claim = json!({"metadata": {"name": "pgset-pvc"}, "spec": {"volumeName": "pv1"}});
        seen.claims = vec![serde_json::from_value(claim).unwrap()];
        seen.volumes = serde_json::from_value(volumes).unwrap();
        seen.logs.insert("pgset-0".to_owned(), log.iter().map(ToString::to_string).collect());
        containers::findings(&Asked { seen: &seen, since: None }).remove(0)
    }

    #[test]
    fn each_fault_of_the_data_has_its_code_and_fix() {
        for (code, exit_code, words, fix) in [
            (
                "PGS-DATA-OTHER-MAJOR",
                78,
                "/pgdata/pgset-0 is of PostgreSQL 15, but the image has PostgreSQL 17: use an image of 15",
                "nothing was touched",
            ),
            (
                "PGS-DATA-INCOMPLETE",
                78,
                "/pgdata/pgset-0 is not empty, but not a whole PostgreSQL data folder either: rename it",
                "mv pgset-0 pgset-0.aside",
            ),
            (
                "PGS-OTHER-SYSTEM",
                78,
                "/pgdata/pgset-0 is a replica of system 1, but the primary pgset-1 is of system 2",
                "clones anew",
            ),
            (
                "PGS-VOLUME-FULL",
                1,
                "initdb failed: could not write: No space left on device: /pgdata is full: 0 of 30 MB and 11000 of 12000 inodes are free",
                "df -h",
            ),
            (
                "PGS-VOLUME-FULL",
                1,
                "initdb failed: x: No space left on device: /pgdata is full: 150 of 200 MB and 3 of 200 inodes are free",
                "df -i",
            ),
            ("PGS-NFS-STALE", 1, "cannot write the data folder to disk: Stale file handle", "exportfs -ra"),
            ("PGS-VOLUME-READ-ONLY", 77, "cannot write to /pgdata as uid 999: mkdir: Read-only file system", "dmesg"),
        ] {
            let found = died(exit_code, words, &[], json!(null));
            assert_eq!((found.code, found.severity), (code, Severity::Fatal), "{words}");
            assert!(found.fix.iter().any(|line| line.contains(fix)), "{words}: {:?}", found.fix);
        }
        assert!(
            died(
                1,
                "x: No space left on device: /pgdata is full: 150 of 200 MB and 3 of 200 inodes are free",
                &[],
                json!(null)
            )
            .summary
            .contains("no inodes left: 150 of 200 MB and 3 of 200 inodes are free")
        );
    }

    #[test]
    fn a_setting_of_a_crunchy_server_that_is_down_is_changed_in_its_own_file() {
        let mut seen: Observation = seen(json!([]), json!([]));
        assert_eq!(super::in_its_own_file(&seen, "pgset-1", "max_connections"), None);
        let container = json!({"name": "pgset", "env": [{"name": "PG_MODE", "value": "set"}]});
        let template = serde_json::from_value(json!({"spec": {"containers": [container]}})).unwrap();
        seen.stateful_set.as_mut().unwrap().spec.template = template;
        let fix = super::in_its_own_file(&seen, "pgset-1", "max_connections").unwrap();
        assert!(fix.contains("pgset-1/postgresql.conf: max_connections = …") && !fix.contains("psql"), "{fix}");
    }

    #[test]
    fn a_copy_that_broke_off_in_an_image_left_to_itself_is_told_with_both_ways_out() {
        let log = "x FATAL:  \"/pgdata/pgset-1\" is not a valid data directory";
        let found = |member: &str, command: serde_json::Value| {
            let terminated = json!({"exitCode": 1, "reason": "Error"});
            let container = json!({"restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": terminated}});
            let mut dead = pod(member, container);
            dead["spec"]["containers"][0]["env"] = json!([{"name": "PG_MODE", "value": "set"}]);
            dead["spec"]["containers"][0]["command"] = command;
            let mut seen: Observation = seen(json!([dead]), json!([]));
            seen.logs.insert(member.to_owned(), vec![log.to_owned()]);
            containers::findings(&Asked { seen: &seen, since: None }).remove(0)
        };
        let half = found("pgset-1", json!(null));
        assert_eq!((half.code, half.severity), ("PGS-DATA-INCOMPLETE", Severity::Fatal));
        assert!(half.fix[0].contains("without --as-is"), "{:?}", half.fix);
        assert!(half.fix[1].contains("mv pgset-1 pgset-1.aside"), "{:?}", half.fix);
        // pgset's own script puts it aside; a primary is copied from nowhere.
        assert_eq!(found("pgset-1", json!(["/bin/sh", "/pgset/config/start.sh"])).code, "PGS-CRASH-LOOP");
        assert_eq!(found("pgset-0", json!(null)).code, "PGS-CRASH-LOOP");
    }

    #[test]
    fn postgresqls_own_words_do_as_well() {
        let full = died(
            1,
            "",
            &["x [1] PANIC:  could not write to file \"pg_wal/xlogtemp.1\": No space left on device"],
            json!(null),
        );
        assert_eq!(full.code, "PGS-VOLUME-FULL");
        let less = [
            "x [1] FATAL:  recovery aborted because of insufficient parameter settings",
            "x [1] DETAIL:  max_connections = 100 is a lower setting than on the primary server, where its value was 150.",
        ];
        let less = died(1, "", &less, json!(null));
        assert_eq!(less.code, "PGS-STANDBY-SETTINGS");
        assert!(less.fix[0].contains("--set-parameter max_connections="), "{:?}", less.fix);
        let twelve = "x [1] FATAL:  hot standby is not possible because max_connections = 100 is a lower setting than on the master server (its value was 150)";
        assert!(died(1, "", &[twelve], json!(null)).fix[0].contains("--set-parameter max_connections="));
    }

    #[test]
    fn on_nfs_the_server_is_named_as_the_place_to_mend() {
        let nfs = json!([{"metadata": {"name": "pv1"}, "spec": {"nfs": {"server": "10.0.0.5", "path": "/srv/pg"}}}]);
        let squashed = "cannot write to /pgdata as uid 999: mkdir: cannot create directory '/pgdata/pgset-0.tmp': Permission denied";
        let found = died(77, squashed, &[], nfs.clone());
        assert_eq!(found.code, "PGS-DATA-NOT-WRITABLE");
        assert!(
            found.fix[0].starts_with("on 10.0.0.5: chown 999 /srv/pg") && found.fix[0].contains("root_squash"),
            "{:?}",
            found.fix
        );
        let read_only = died(77, "cannot write to /pgdata as uid 999: mkdir: Read-only file system", &[], nfs);
        assert!(read_only.fix[0].contains("rw instead of ro for /srv/pg"), "{:?}", read_only.fix);
    }
}
