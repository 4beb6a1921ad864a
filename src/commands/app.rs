//! What every command starts from: the terminal, the common flags, the way to the cluster.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::signal::unix::{SignalKind, signal};

use super::base::file_of_target;
use crate::cli::{Color, Common, program};
use crate::cluster::{Cluster, context_namespace};
use crate::error::{Failure, Kind, Outcome};
use crate::manifests::Names;
use crate::report::{Address, ColorChoice, Ui, UiOptions};
use crate::settings::{self, Connection, Env, Target, Timeout};

/// No look at a set takes longer on a cluster that works.
const PATIENCE: Duration = Duration::from_secs(25);

/// One run of pgset.
pub struct App {
    pub ui: Ui,
    pub common: Common,
    pub env: Env,
    pub started: Timestamp,
    /// What an interrupt means at this point of the command, and what to do then.
    on_interrupt: RefCell<(&'static str, Option<String>)>,
    /// Ctrl-C is for the program that pgset runs.
    interrupts_are_childs: Cell<bool>,
    /// Something is under way that ends an interrupt itself, after cleaning up.
    cleans_up: Cell<bool>,
}

impl App {
    /// `json` says that the result is wanted as JSON.
    #[must_use]
    pub fn new(common: Common, json: bool) -> Self {
        let color = match common.color {
            Color::Auto => ColorChoice::Auto,
            Color::Always => ColorChoice::Always,
            Color::Never => ColorChoice::Never,
        };
        let address = address(&common);
        let ui = Ui::resolve(UiOptions { color, quiet: common.quiet, verbose: common.verbose > 0, json, address });
        Self {
            ui,
            common,
            env: Env::from_process(),
            started: Timestamp::now(),
            on_interrupt: RefCell::new(("interrupted before anything was changed", None)),
            interrupts_are_childs: Cell::new(false),
            cleans_up: Cell::new(false),
        }
    }

    /// The set a command without settings flags is about, and its cluster.
    ///
    /// # Errors
    /// Usage errors of the common flags, or no usable kubeconfig.
    pub async fn target(&self) -> Outcome<(Target, Cluster)> {
        let file = file_of_target(self)?;
        let connection = settings::connection(&self.common, &self.env, &file).map_err(|p| settings::failure(&p))?;
        let namespace = context_namespace(&connection);
        let target = settings::target(&self.common, &self.env, &file, namespace.as_deref());
        let target = target.map_err(|problems| settings::failure(&problems))?;
        Ok((target, self.connect(&connection).await?))
    }

    /// The cluster a connection leads to.
    ///
    /// # Errors
    /// No usable kubeconfig.
    pub async fn connect(&self, connection: &Connection) -> Outcome<Cluster> {
        let cluster = Cluster::connect(connection).await?;
        let context = if cluster.context.is_empty() { "in this cluster" } else { &cluster.context };
        self.ui.detail(&format!("context {context}, API server {}", cluster.server));
        Ok(cluster)
    }

    /// From here on, an interrupt means this; an empty text is not shown.
    pub fn when_interrupted(&self, text: &'static str, hint: impl Into<Option<String>>) {
        *self.on_interrupt.borrow_mut() = (text, hint.into());
    }

    /// From here on, Ctrl-C is for the program that pgset runs, and does not end pgset itself.
    pub fn leave_interrupts_to_child(&self) {
        self.interrupts_are_childs.set(true);
    }

    /// Does what has to be cleaned up after on any end, an interrupt included. A second interrupt does not wait for that.
    ///
    /// # Errors
    /// The work fails, or is interrupted.
    pub async fn cleaning_up<T>(
        &self,
        work: impl Future<Output = Outcome<T>>,
        clean_up: impl Future<Output = ()>,
    ) -> Outcome<T> {
        self.cleans_up.set(true);
        let outcome = tokio::select! {
            outcome = work => outcome,
            () = asked_to_end() => Err(self.interrupted()),
        };
        tokio::select! {
            () = clean_up => {}
            () = asked_to_end() => {}
        }
        self.cleans_up.set(false);
        outcome
    }

    /// Whether whatever is under way ends by itself when it is asked to.
    #[must_use]
    pub fn cleans_up(&self) -> bool {
        self.cleans_up.get()
    }

    /// Whether an interrupt ends the command.
    #[must_use]
    pub fn heeds_interrupts(&self) -> bool {
        !self.interrupts_are_childs.get()
    }

    /// How the command fails when it is interrupted now.
    #[must_use]
    pub fn interrupted(&self) -> Failure {
        let (text, hint) = self.on_interrupt.borrow().clone();
        let failure = Failure::new(Kind::Interrupted, text);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }

    /// How long this run has taken so far.
    #[must_use]
    pub fn waited_ms(&self) -> u64 {
        u64::try_from(Timestamp::now().duration_since(self.started).as_millis()).unwrap_or(0)
    }

    /// A command line for the same set, for hints.
    #[must_use]
    pub fn command(&self, verb: &str, names: &Names) -> String {
        let mut line = format!("pgset {verb}");
        if names.set() != "pgset" {
            line.push_str(&format!(" --name {}", names.set()));
        }
        if self.common.namespace.is_some() {
            line.push_str(&format!(" -n {}", names.namespace()));
        }
        self.ui.carried(&line)
    }
}

/// What this run was given to reach its set, for the commands in hints. What its environment says, the next run's does too.
fn address(common: &Common) -> Address {
    fn given<'a>(
        flags: impl IntoIterator<Item = (&'static str, Option<&'a str>)>,
    ) -> impl Iterator<Item = (&'static str, &'a str)> {
        flags.into_iter().filter_map(|(flag, value)| Some((flag, value?)))
    }
    let kubeconfig = common.kubeconfig.as_ref().map(|file| file.to_string_lossy());
    let set = [("--name", common.name.as_deref()), ("-n", common.namespace.as_deref())];
    let cluster = [
        ("--context", common.context.as_deref()),
        ("--kubeconfig", kubeconfig.as_deref()),
        ("--as", common.as_user.as_deref()),
    ];
    let groups = common.as_groups.iter().map(|group| ("--as-group", group.as_str()));
    Address::new(program(), given(set), given(cluster).chain(groups))
}

/// Ends when the person interrupts (Ctrl-C) or somebody asks the process to end.
async fn asked_to_end() {
    let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    let (Ok(mut interrupt), Ok(mut terminate)) = signals else { return std::future::pending().await };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// `--timeout` in the decisions' terms.
#[must_use]
pub fn patience(timeout: Timeout) -> SignedDuration {
    SignedDuration::try_from(timeout.get()).unwrap_or(SignedDuration::MAX)
}

/// Does what takes no longer on a cluster that works. Boxed: looks are large, and every command holds one.
///
/// # Errors
/// It took too long.
pub fn patiently<'a, T: 'a>(
    cluster: &'a Cluster,
    work: impl Future<Output = T> + 'a,
) -> Pin<Box<dyn Future<Output = Outcome<T>> + 'a>> {
    Box::pin(async move {
        let unanswered = |_| Failure::new(Kind::TimedOut, format!("the API server {} does not answer", cluster.server));
        tokio::time::timeout(PATIENCE, work).await.map_err(unanswered)
    })
}
