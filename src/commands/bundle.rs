//! The support bundle: what was seen, as one file that may be sent to anybody.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use futures::future::join_all;
use serde_json::{Value, json};

use super::ask::Asker;
use super::doctor::DoctorView;
use crate::cluster::{Cluster, gather, whole_log};
use crate::error::{Failure, Outcome};
use crate::manifests::Names;
use crate::set::{Mask, Observation, redact};

/// PostgreSQL's views that tell about replication, and what it is set to. Nothing of what clients ask or store.
const VIEWS: [(&str, &str); 8] = [
    ("replication", "select * from pg_stat_replication"),
    ("wal-receiver", "select * from pg_stat_wal_receiver"),
    ("slots", "select * from pg_replication_slots"),
    (
        "settings",
        "select name, setting, unit, source, sourcefile, pending_restart from pg_settings where source <> 'default' order by name",
    ),
    ("control", "select s.system_identifier::text, c.* from pg_control_system() s, pg_control_checkpoint() c"),
    (
        "databases",
        "select datname, numbackends, xact_commit, conflicts, deadlocks, age(datfrozenxid) as age from pg_stat_database join pg_database using (datname)",
    ),
    (
        "activity",
        "select backend_type, usename, application_name, state, wait_event_type, wait_event, count(*) from pg_stat_activity group by 1, 2, 3, 4, 5, 6",
    ),
    (
        "hba",
        "select line_number, type, database, user_name, address, netmask, auth_method, error from pg_hba_file_rules",
    ),
];

/// Files to write and what could not be had.
#[derive(Default)]
pub struct Pack {
    files: Vec<(String, Vec<u8>)>,
    without: Vec<String>,
}

/// What was written.
pub struct Packed {
    pub entries: usize,
    pub without: Vec<String>,
}

/// Collects everything, each thing redacted by its type.
///
/// # Errors
/// A view cannot be written as JSON.
pub async fn pack(
    cluster: &Cluster,
    names: &Names,
    view: &DoctorView,
    seen: Option<Observation>,
    asker: Option<Asker>,
) -> Outcome<Pack> {
    let mask = seen.as_ref().map(|seen| seen.mask.clone()).unwrap_or_default();
    let mut pack = Pack::default();
    let unwritable = |error: serde_json::Error| Failure::error(format!("failed to write the result: {error}"));
    let doctor = serde_json::to_value(view).map_err(unwritable)?;
    pack.json("doctor.json", redact::masked(doctor, &mask));
    pack.objects(cluster, names, &mask).await;
    if let Some(seen) = &seen {
        pack.json("observation.json", redact::observation(seen).map_err(unwritable)?);
        pack.logs(cluster, seen).await;
    }
    if let Some(asker) = asker {
        pack.views(&asker, &mask).await;
    }
    pack.json(
        "about.json",
        json!({
            "pgset": env!("CARGO_PKG_VERSION"),
            "set": names.set(),
            "namespace": names.namespace(),
            "at": view.status.as_ref().and(seen.as_ref()).and_then(|seen| seen.at).map(|at| at.to_string()),
            "notIncluded": pack.without,
        }),
    );
    Ok(pack)
}

impl Pack {
    fn json(&mut self, name: &str, value: Value) {
        // A Value always has a text.
        let text = serde_json::to_string_pretty(&value).unwrap_or_default();
        self.files.push((name.to_owned(), text.into_bytes()));
    }

    async fn objects(&mut self, cluster: &Cluster, names: &Names, mask: &Mask) {
        for gathered in gather(cluster, names.namespace(), names.set()).await {
            match gathered.objects {
                Ok(objects) => {
                    let objects: Vec<Value> =
                        objects.into_iter().map(|object| redact::object(gathered.kind, object, mask)).collect();
                    if !objects.is_empty() {
                        self.json(&format!("objects/{}.json", gathered.kind), Value::Array(objects));
                    }
                }
                Err(failure) => self.without.push(failure.to_string()),
            }
        }
    }

    async fn logs(&mut self, cluster: &Cluster, seen: &Observation) {
        let pods = seen.pods.iter().filter_map(|pod| pod.metadata.name.clone());
        let wanted: Vec<(String, bool)> = pods.flat_map(|pod| [(pod.clone(), false), (pod, true)]).collect();
        let logs =
            join_all(wanted.iter().map(|(pod, previous)| whole_log(cluster, &seen.namespace, pod, *previous))).await;
        for ((pod, previous), log) in wanted.into_iter().zip(logs) {
            match log {
                Ok(log) => {
                    let lines = log.lines().map(|line| seen.mask.hide(line) + "\n").collect::<String>();
                    let name = if previous { format!("logs/{pod}.previous.log") } else { format!("logs/{pod}.log") };
                    self.files.push((name, lines.into_bytes()));
                }
                // Most containers have not been restarted.
                Err(failure) if previous && failure.code == Some(400) => {}
                Err(failure) => self.without.push(failure.to_string()),
            }
        }
    }

    async fn views(&mut self, asker: &Asker, mask: &Mask) {
        for (member, session) in asker.sessions() {
            for (name, query) in VIEWS {
                match session.rows(query).await {
                    Ok(rows) => self.json(&format!("postgres/{member}/{name}.json"), redact::masked(rows, mask)),
                    Err(reason) => self.without.push(format!("{name} of {member}: {reason}")),
                }
            }
        }
    }
}

/// Writes the file, whole or not at all.
///
/// # Errors
/// The file exists already, or cannot be written.
pub fn write(file: &Path, pack: Pack) -> Outcome<Packed> {
    let failed = |error: std::io::Error| Failure::error(format!("failed to write {}: {error}", file.display()));
    if file.exists() {
        return Err(Failure::refused(format!("{} exists already", file.display())).hint("name another file"));
    }
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    for (name, bytes) in &pack.files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, format!("pgset-bundle/{name}"), bytes.as_slice()).map_err(failed)?;
    }
    let packed = archive.into_inner().and_then(GzEncoder::finish).map_err(failed)?;
    let mut partial = Partial::create(file).map_err(failed)?;
    partial.out.write_all(&packed).and_then(|()| partial.out.sync_all()).map_err(failed)?;
    partial.finish(file).map_err(failed)?;
    Ok(Packed { entries: pack.files.len(), without: pack.without })
}

/// A file under another name beside its own, removed unless it is finished.
struct Partial {
    path: PathBuf,
    out: File,
}

impl Partial {
    fn create(file: &Path) -> std::io::Result<Self> {
        let mut name = file.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.partial", std::process::id()));
        let path = file.with_file_name(name);
        let out = File::options().write(true).create_new(true).open(&path)?;
        Ok(Self { path, out })
    }

    fn finish(self, file: &Path) -> std::io::Result<()> {
        fs::rename(&self.path, file)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Gone already when it was finished.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack() -> Pack {
        Pack { files: vec![("about.json".to_owned(), b"{}".to_vec())], without: Vec::new() }
    }

    #[test]
    fn a_bundle_is_there_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bundle.tar.gz");
        assert_eq!(write(&file, pack()).map(|packed| packed.entries).map_err(|f| f.error.to_string()), Ok(1));
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(File::open(&file).unwrap()));
        let names: Vec<_> =
            archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().into_owned()).collect();
        assert_eq!(names, [Path::new("pgset-bundle/about.json")]);
        assert!(write(&file, pack()).is_err(), "what is there is not overwritten");
        assert!(write(&folder.path().join("absent/bundle.tar.gz"), pack()).is_err());
        // A directory cannot be replaced by the finished file: the partial one must not stay.
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(left.len(), 1);
    }
}
