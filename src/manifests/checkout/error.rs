//! What is wrong with a checkout, and where in it.

use thiserror::Error;

/// Why a checkout makes no manifests: the file as a person finds it, the place in it, and the reason.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{file}{}: {problem}", place(.at))]
pub struct CheckoutError {
    /// Relative to the checkout, such as `examples/kube/statefulset/set.json`.
    pub file: String,
    /// A line (`:7`) or a JSON path (`.spec.replicas`); empty where it is the file as a whole.
    pub at: String,
    pub problem: String,
    pub hint: Option<String>,
}

fn place(at: &str) -> String {
    match at {
        "" => String::new(),
        line if line.starts_with(':') => line.to_owned(),
        path => format!(": {path}"),
    }
}

impl CheckoutError {
    pub(super) fn new(file: impl Into<String>, at: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { file: file.into(), at: at.into(), problem: problem.into(), hint: None }
    }

    pub(super) fn hinted(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
