//! Connections led to members: what `port-forward` and `psql` share. The listener stays; where it leads is decided anew
//! for every connection.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional_with_sizes};
use tokio::net::{TcpListener, UnixListener};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::cluster::{Cluster, Leads, Tunnel, TunnelAhead, tunnel};
use crate::postgres::wire::{self, Answer, CANNOT_CONNECT_NOW, Opening};
use crate::report::Ui;

/// As large as the API server's own messages become.
const BUFFER: usize = 64 << 10;

/// Somebody who connects and says nothing: as long as PostgreSQL's own `authentication_timeout`.
const SPEECHLESS: Duration = Duration::from_secs(60);

/// A member that is not there yet is tried again this soon.
const PAUSE: Duration = Duration::from_millis(250);

/// A tunnel through a cluster that works opens much sooner.
const OPENING: Duration = Duration::from_secs(10);

/// A wait that gets this long is told of.
const LONG: Duration = Duration::from_secs(2);

/// Leads connections to members.
pub struct Forwarder {
    pub cluster: Cluster,
    pub namespace: String,
    /// Whom to lead to, in words: `the primary of pgset`.
    pub whom: String,
    pub choice: Choice,
    /// How long a connection waits for somebody to lead it to.
    pub wait: Duration,
    pub ui: Ui,
    pub ahead: Ahead,
}

/// Whom connections are led to.
pub enum Choice {
    /// Whoever is behind the Service at that moment; always the same of several, because a request to cancel a query is a
    /// connection of its own and has to find the same server.
    Service(Leads),
    Member(String),
}

/// A tunnel that is being opened to the member that is probably the right one.
#[derive(Default)]
pub struct Ahead(Mutex<Option<(String, TunnelAhead)>>);

impl Ahead {
    /// Begins to open it.
    #[must_use]
    pub fn to(cluster: &Cluster, namespace: &str, member: String) -> Self {
        let opening = TunnelAhead::begin(cluster, namespace, &member);
        Self(Mutex::new(Some((member, opening))))
    }

    /// The tunnel, if it leads there; one that leads elsewhere is given up.
    fn take(&self, member: &str) -> Option<TunnelAhead> {
        let (there, opening) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        (there == member).then_some(opening)
    }
}

impl Forwarder {
    /// Serves a TCP listener until dropped.
    pub async fn serve_tcp(self: Arc<Self>, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((client, _)) => {
                    // Small messages back and forth are what databases talk in.
                    let _ = client.set_nodelay(true);
                    tokio::spawn(Arc::clone(&self).connection(client));
                }
                // Out of file descriptors, most likely: those that are open may end.
                Err(_) => sleep(PAUSE).await,
            }
        }
    }

    /// Serves a Unix socket until dropped.
    pub async fn serve_unix(self: Arc<Self>, listener: UnixListener) {
        loop {
            match listener.accept().await {
                Ok((client, _)) => {
                    tokio::spawn(Arc::clone(&self).connection(client));
                }
                Err(_) => sleep(PAUSE).await,
            }
        }
    }

    async fn connection<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self: Arc<Self>, mut client: S) {
        let ended = self.lead(&mut client).await;
        if let Err(error) = ended {
            self.ui.detail(&format!("a connection ended: {error}"));
        }
    }

    async fn lead<S: AsyncRead + AsyncWrite + Unpin>(&self, client: &mut S) -> io::Result<()> {
        let Ok(opening) = timeout(SPEECHLESS, wire::opening(client)).await else { return Ok(()) };
        let (packet, expects_answer) = match opening? {
            Opening::Session(packet) => (packet, true),
            Opening::Cancel(packet) => (packet, false),
            Opening::Nothing => return Ok(()),
        };
        let mut early = [0; 1];
        let reached = tokio::select! {
            reached = self.reach(&packet, expects_answer) => reached,
            // A client says nothing more before it is answered, so this is its end.
            _ = client.read(&mut early) => return Ok(()),
        };
        match reached {
            Ok((mut server, answered)) => {
                client.write_all(&answered).await?;
                copy_bidirectional_with_sizes(client, &mut server, BUFFER, BUFFER).await?;
            }
            Err(refusal) => {
                client.write_all(&refusal).await?;
                client.shutdown().await?;
            }
        }
        Ok(())
    }

    /// A tunnel over which a server has begun to answer, and what it said so far; or the message that refuses the client.
    async fn reach(&self, packet: &[u8], expects_answer: bool) -> Result<(Tunnel, Vec<u8>), Vec<u8>> {
        let began = Instant::now();
        let deadline = began + self.wait;
        let mut told = false;
        let mut reason;
        loop {
            let members = match &self.choice {
                Choice::Service(leads) => leads.now(),
                Choice::Member(member) => vec![member.clone()],
            };
            reason = "no member is ready".to_owned();
            if let Some(member) = members.first() {
                match timeout(OPENING.min(self.wait), self.attempt(member, packet, expects_answer)).await {
                    Ok(Ok(reached)) => return Ok(reached),
                    Ok(Err(Trouble::Refused(words))) => return Err(self.refusal("42501", &words, "")),
                    Ok(Err(Trouble::NotNow(words))) => reason = format!("{member}: {words}"),
                    Err(_) => reason = format!("{member}: no answer within {} s", OPENING.min(self.wait).as_secs()),
                }
            }
            if Instant::now() >= deadline {
                let waited = self.wait.as_secs();
                let words = format!("{} cannot be reached: {reason} (waited {waited} s)", self.whom);
                return Err(self.refusal(CANNOT_CONNECT_NOW, &words, "see what is wrong: pgset status"));
            }
            if !told && began.elapsed() >= LONG {
                told = true;
                self.ui.say(&format!("a connection waits for {}: {reason}", self.whom));
            }
            let again = (Instant::now() + PAUSE).min(deadline);
            match &self.choice {
                Choice::Service(leads) => {
                    tokio::select! {
                        _ = leads.other_than(&members) => {}
                        () = sleep_until(again) => {}
                    }
                }
                Choice::Member(_) => sleep_until(again).await,
            }
        }
    }

    fn refusal(&self, code: &str, words: &str, hint: &str) -> Vec<u8> {
        self.ui.detail(&format!("refused a connection: {words}"));
        wire::fatal(code, words, &self.ui.carried(hint))
    }

    async fn attempt(&self, member: &str, packet: &[u8], expects_answer: bool) -> Result<(Tunnel, Vec<u8>), Trouble> {
        let opened = match self.ahead.take(member) {
            Some(opening) => opening.opened().await,
            None => tunnel(&self.cluster, &self.namespace, member).await,
        };
        let mut server = opened.map_err(|failure| {
            if failure.is_forbidden() {
                Trouble::Refused(failure.to_string())
            } else if failure.code.is_none() {
                Trouble::NotNow(format!("the API server does not answer ({})", failure.message))
            } else {
                Trouble::NotNow(failure.message)
            }
        })?;
        let broken = |error: io::Error| Trouble::NotNow(error.to_string());
        server.write_all(packet).await.map_err(broken)?;
        server.flush().await.map_err(broken)?;
        if !expects_answer {
            return Ok((server, Vec::new()));
        }
        match wire::answer(&mut server).await.map_err(broken)? {
            Answer::Speaks(bytes) => Ok((server, bytes)),
            Answer::NotNow(_, words) => Err(Trouble::NotNow(words)),
            Answer::Silence => Err(Trouble::NotNow("nobody listens there yet".to_owned())),
        }
    }
}

/// Why a member cannot be had.
enum Trouble {
    /// And never will: the API server does not allow it.
    Refused(String),
    NotNow(String),
}
