//! The only reader of a checkout's files. What lies in it may come from anywhere, so a name that leads out of the checkout,
//! a file that is none, and more text than any manifest has are refused before they are read.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::error::CheckoutError;

/// Where the 2017 example's manifests are.
pub(super) const MANIFESTS: &str = "examples/kube/statefulset";

/// The exports all examples share.
pub(super) const ENVVARS: &str = "examples/envvars.sh";

/// A hundred times the largest manifest of the examples; the YAML reader takes time by the square of the nesting.
const MAX_BYTES: u64 = 128 << 10;

/// More than any version of the examples has, and few enough to be read at once.
const MAX_FILES: usize = 64;

/// The texts of a checkout that pgset looks at.
#[derive(Clone, Debug, Default)]
pub(super) struct Texts {
    /// Path relative to the checkout, and content.
    pub manifests: Vec<(String, String)>,
    pub envvars: Option<String>,
    /// What is in the folder of manifests and is none: scripts and notes.
    pub others: Vec<String>,
}

/// Reads the checkout at `root`; `None` when there is no folder of manifests in it.
pub(super) fn read(root: &Path) -> Result<Option<Texts>, CheckoutError> {
    let folder = root.join(MANIFESTS);
    if !folder.is_dir() {
        return Ok(None);
    }
    // The base directory itself may be a link: it is what the person named.
    let root = root.canonicalize().map_err(|error| failed(&root.display().to_string(), &error))?;
    let inside = Inside { root };
    let folder = inside.find(MANIFESTS)?;
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).map_err(|error| failed(MANIFESTS, &error))? {
        let entry = entry.map_err(|error| failed(MANIFESTS, &error))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
        if names.len() > MAX_FILES {
            return Err(CheckoutError::new(MANIFESTS, "", format!("expected at most {MAX_FILES} files")));
        }
    }
    names.sort();
    let mut texts = Texts::default();
    for name in names.into_iter().filter(|name| !name.starts_with('.')) {
        let path = format!("{MANIFESTS}/{name}");
        if is_manifest(&name) {
            let text = inside.text(&path)?;
            texts.manifests.push((path, text));
        } else {
            texts.others.push(name);
        }
    }
    // A link that leads nowhere is there all the same, and is told.
    if inside.root.join(ENVVARS).symlink_metadata().is_ok() {
        texts.envvars = Some(inside.text(ENVVARS)?);
    }
    Ok(Some(texts))
}

fn is_manifest(name: &str) -> bool {
    [".json", ".json.dynamic", ".yaml", ".yml"].iter().any(|end| name.ends_with(end))
}

fn failed(file: &str, error: &io::Error) -> CheckoutError {
    CheckoutError::new(file, "", format!("failed to read it: {error}"))
}

struct Inside {
    /// Without any link in it.
    root: PathBuf,
}

impl Inside {
    /// Where a name of the checkout leads, which must be inside of it.
    fn find(&self, name: &str) -> Result<PathBuf, CheckoutError> {
        let path = self.root.join(name).canonicalize().map_err(|error| failed(name, &error))?;
        if path.starts_with(&self.root) {
            return Ok(path);
        }
        Err(CheckoutError::new(name, "", format!("leads out of the checkout, to {}", path.display()))
            .hinted("put the file itself into the checkout, in place of the link"))
    }

    fn text(&self, name: &str) -> Result<String, CheckoutError> {
        let path = self.find(name)?;
        // Asked before it is opened: to open a pipe is to wait for whoever writes to it.
        let about = path.metadata().map_err(|error| failed(name, &error))?;
        if !about.is_file() {
            return Err(CheckoutError::new(name, "", "expected a file"));
        }
        let file = File::open(&path).map_err(|error| failed(name, &error))?;
        let mut bytes = Vec::new();
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| failed(name, &error))?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(CheckoutError::new(name, "", format!("expected at most {} KiB", MAX_BYTES >> 10)));
        }
        String::from_utf8(bytes).map_err(|_| CheckoutError::new(name, "", "expected UTF-8 text"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A checkout with one manifest.
    fn checkout() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let manifests = folder.path().join("base").join(MANIFESTS);
        fs::create_dir_all(&manifests).expect("a folder");
        fs::write(manifests.join("set.json"), "{}").expect("a file");
        (folder, manifests)
    }

    fn error(folder: &tempfile::TempDir) -> String {
        read(&folder.path().join("base")).expect_err("refused").to_string()
    }

    #[test]
    fn reads_manifests_and_envvars_and_lists_the_rest() {
        let (folder, manifests) = checkout();
        for name in ["set.json.dynamic", "a.yaml", "run.sh", "notes.txt", ".hidden.json"] {
            fs::write(manifests.join(name), name).expect("a file");
        }
        // A link that stays inside is fine, and so is one to the checkout itself.
        symlink("set.json", manifests.join("pv1.json")).expect("a link");
        symlink("base", folder.path().join("link")).expect("a link");
        let texts = read(&folder.path().join("link")).expect("texts").expect("a checkout");
        let names: Vec<&str> =
            texts.manifests.iter().map(|(name, _)| name.rsplit('/').next().unwrap_or(name)).collect();
        assert_eq!(names, ["a.yaml", "pv1.json", "set.json", "set.json.dynamic"]);
        assert_eq!(
            (texts.others.as_slice(), texts.envvars),
            (&["notes.txt".to_owned(), "run.sh".to_owned()][..], None)
        );
        assert!(read(folder.path()).expect("no error").is_none());
        fs::write(folder.path().join("base").join(ENVVARS), "export A=b\n").expect("a file");
        let texts = read(&folder.path().join("base")).expect("texts").expect("a checkout");
        assert_eq!(texts.envvars.as_deref(), Some("export A=b\n"));
    }

    #[test]
    fn what_leads_out_is_refused() {
        let (folder, manifests) = checkout();
        fs::write(folder.path().join("secret.json"), "{}").expect("a file");
        symlink("../../../../secret.json", manifests.join("pv1.json")).expect("a link");
        let message = error(&folder);
        assert!(message.starts_with("examples/kube/statefulset/pv1.json: leads out of the checkout"), "{message}");
        fs::remove_file(manifests.join("pv1.json")).expect("removed");
        symlink("/nowhere-at-all", folder.path().join("base").join(ENVVARS)).expect("a link");
        assert!(error(&folder).starts_with("examples/envvars.sh: failed to read it"));
        // The folder itself led elsewhere.
        fs::remove_dir_all(folder.path().join("base/examples")).expect("removed");
        fs::create_dir_all(folder.path().join("other/kube/statefulset")).expect("a folder");
        symlink("../other", folder.path().join("base/examples")).expect("a link");
        assert!(error(&folder).contains("leads out of the checkout"));
    }

    #[test]
    fn what_is_no_small_text_is_refused() {
        let (folder, manifests) = checkout();
        let path = manifests.join("pv1.json");
        fs::write(&path, " ".repeat(usize::try_from(MAX_BYTES).expect("small") + 1)).expect("a file");
        assert!(error(&folder).ends_with("pv1.json: expected at most 128 KiB"));
        fs::write(&path, b"\xff\xfe").expect("a file");
        assert!(error(&folder).ends_with("pv1.json: expected UTF-8 text"));
        fs::remove_file(&path).expect("removed");
        fs::create_dir(&path).expect("a folder");
        assert!(error(&folder).ends_with("pv1.json: expected a file"));
        fs::remove_dir(&path).expect("removed");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo").success());
        assert!(error(&folder).ends_with("pv1.json: expected a file"));
        fs::remove_file(&path).expect("removed");
        for number in 0..MAX_FILES {
            fs::write(manifests.join(format!("{number}.json")), "").expect("a file");
        }
        assert!(error(&folder).ends_with("expected at most 64 files"));
    }
}
