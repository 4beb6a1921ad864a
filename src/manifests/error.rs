//! Why there are no manifests.

use std::path::PathBuf;

use thiserror::Error;

use super::checkout::CheckoutError;
use crate::error::{Failure, Kind};

/// Why settings and templates do not make manifests.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// A value that `postgresql.conf` cannot hold.
    #[error("failed to write postgresql.conf: {parameter:?}: {reason}")]
    Parameter { parameter: String, reason: &'static str },
    /// A template is wrong, or what it makes is not the object that belongs there.
    #[error("{template}{}: {problem}", line_of(*.line))]
    Template {
        /// The file as a person finds it.
        template: String,
        /// Counted from 1.
        line: Option<usize>,
        problem: String,
    },
    /// A checkout's manifest is wrong.
    #[error(transparent)]
    Checkout(#[from] CheckoutError),
    /// A file in the folder of templates that replaces none.
    #[error("{}: no template has this name", path.display())]
    UnknownTemplate { path: PathBuf, known: Vec<&'static str> },
    /// Ejecting would overwrite a file.
    #[error("{}: the file exists already", path.display())]
    Exists { path: PathBuf },
    /// A file or folder could not be read or written.
    #[error("failed to {action} {}", path.display())]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },
}

impl ManifestError {
    /// What to do about it, for the lines under the error.
    #[must_use]
    pub fn hints(&self) -> Vec<String> {
        match self {
            Self::UnknownTemplate { known, .. } => {
                vec![format!("the templates are: {}", known.join(", "))]
            }
            Self::Checkout(error) => error.hint.iter().cloned().collect(),
            Self::Exists { .. } => vec!["choose an empty folder: files are never overwritten".to_owned()],
            Self::Template { .. } => {
                vec!["`pgset render --eject DIR` writes the built-in templates to compare with".to_owned()]
            }
            Self::Parameter { .. } | Self::Io { .. } => Vec::new(),
        }
    }
}

impl From<ManifestError> for Failure {
    fn from(error: ManifestError) -> Self {
        let kind = match error {
            ManifestError::Parameter { .. } | ManifestError::UnknownTemplate { .. } => Kind::Usage,
            ManifestError::Exists { .. } => Kind::Refused,
            ManifestError::Template { .. } | ManifestError::Checkout(_) | ManifestError::Io { .. } => Kind::Error,
        };
        let hints = error.hints();
        Self { kind, error: error.into(), hints }
    }
}

fn line_of(line: Option<usize>) -> String {
    line.map(|line| format!(":{line}")).unwrap_or_default()
}
