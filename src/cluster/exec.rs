//! Programs run in a member, through the API server's exec.

use futures::SinkExt;
use futures::channel::mpsc;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::Api;
use kube::api::{AttachParams, AttachedProcess, TerminalSize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use super::{ApiFailure, Cluster};
use crate::set::observation::CONTAINER;

/// Large enough that a fast program is not slowed down by many small turns.
const BUFFER: usize = 64 << 10;

/// What to run, where, and with what at its ends.
pub struct Exec<'a> {
    pub cluster: &'a Cluster,
    pub namespace: &'a str,
    pub member: &'a str,
    pub command: Vec<String>,
    pub stdin: bool,
    /// A terminal instead of three pipes: stdout and stderr are one then.
    pub terminal: bool,
}

/// A running program. It loses its ends, and so ends itself, when this is dropped.
pub struct Process {
    attached: AttachedProcess,
    member: String,
}

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this exit code.
    Code(u8),
    /// It was not started, or the connection to it was lost; in the API server's words.
    Lost(String),
}

/// Everything a short program wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    pub ended: Ended,
    pub stdout: String,
    pub stderr: String,
}

/// Tells a program's terminal its size.
pub struct Resizer(mpsc::Sender<TerminalSize>);

impl Exec<'_> {
    /// Starts it.
    ///
    /// # Errors
    /// The API server refuses or does not answer, or there is no such member.
    pub async fn start(self) -> Result<Process, ApiFailure> {
        let Self { cluster, namespace, member, command, stdin, terminal } = self;
        let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
        let params = AttachParams::default().container(CONTAINER).stdin(stdin).tty(terminal).stderr(!terminal);
        let params = params.max_stdin_buf_size(BUFFER).max_stdout_buf_size(BUFFER).max_stderr_buf_size(BUFFER);
        let started = pods.exec(member, command, &params).await;
        let what = || format!("failed to run a program in Pod {member} in namespace {namespace}");
        let attached = started.map_err(|error| ApiFailure::new(what(), &error))?;
        Ok(Process { attached, member: member.to_owned() })
    }

    /// Runs it to its end and keeps what it wrote: for short programs with little to say.
    ///
    /// # Errors
    /// The API server refuses or does not answer, or there is no such member.
    pub async fn output(self) -> Result<Written, ApiFailure> {
        let mut process = self.start().await?;
        let (out, err) = (process.stdout(), process.stderr());
        let (stdout, stderr) = futures::join!(all(out), all(err));
        Ok(Written { ended: process.ended().await, stdout, stderr })
    }
}

async fn all(stream: Option<impl AsyncRead + Unpin>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        // A connection that breaks shows in how the program ended.
        let _ = stream.read_to_end(&mut bytes).await;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Process {
    /// What the program reads; closed when dropped.
    pub fn stdin(&mut self) -> Option<impl AsyncWrite + Unpin + use<>> {
        self.attached.stdin()
    }

    pub fn stdout(&mut self) -> Option<impl AsyncRead + Unpin + use<>> {
        self.attached.stdout()
    }

    pub fn stderr(&mut self) -> Option<impl AsyncRead + Unpin + use<>> {
        self.attached.stderr()
    }

    /// `None` without a terminal.
    pub fn resizer(&mut self) -> Option<Resizer> {
        self.attached.terminal_size().map(Resizer)
    }

    /// Waits for its end; what it wrote has to be read before or meanwhile.
    pub async fn ended(mut self) -> Ended {
        let status = match self.attached.take_status() {
            Some(status) => status.await,
            None => None,
        };
        ended(status, &self.member)
    }
}

impl Resizer {
    /// Says the size now: columns and rows.
    pub async fn resize(&mut self, (width, height): (u16, u16)) {
        // A program that has ended needs no size.
        let _ = self.0.send(TerminalSize { width, height }).await;
    }
}

/// Reads the API server's word on how a program ended.
fn ended(status: Option<Status>, member: &str) -> Ended {
    let Some(status) = status else {
        return Ended::Lost(format!("the connection to Pod {member} ended before the program did"));
    };
    if status.status.as_deref() == Some("Success") {
        return Ended::Code(0);
    }
    let causes = status.details.as_ref().and_then(|details| details.causes.as_ref()).into_iter().flatten();
    let code = causes.filter(|cause| cause.reason.as_deref() == Some("ExitCode")).find_map(|cause| {
        let code: i32 = cause.message.as_deref()?.parse().ok()?;
        u8::try_from(code).ok()
    });
    match code {
        Some(code) => Ended::Code(code),
        None => {
            Ended::Lost(status.message.unwrap_or_else(|| "the API server did not say how the program ended".to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_api_servers_word_becomes_an_exit_code() {
        let read = |status| ended(serde_json::from_value(status).unwrap(), "pgset-0");
        assert_eq!(read(json!({"status": "Success"})), Ended::Code(0));
        let failed = json!({"status": "Failure", "reason": "NonZeroExitCode", "message": "command terminated with non-zero exit code",
            "details": {"causes": [{"reason": "ExitCode", "message": "3"}]}});
        assert_eq!(read(failed), Ended::Code(3));
        let lost = json!({"status": "Failure", "reason": "InternalError", "message": "container not running"});
        assert_eq!(read(lost), Ended::Lost("container not running".to_owned()));
        assert!(matches!(ended(None, "pgset-0"), Ended::Lost(words) if words.contains("Pod pgset-0")));
    }
}
