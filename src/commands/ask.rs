//! PostgreSQL's word: a session with each member over its own tunnel, kept open while a command watches.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures::future::join_all;
use futures::join;

use crate::cluster::{Cluster, SetSecret, TunnelAhead, tunnel};
use crate::error::{Failure, Outcome};
use crate::manifests::Names;
use crate::postgres::Session;
use crate::set::observation::{Answer, Asking, Observation, Server, Upkeep};
use crate::set::rollout::members_to_ask;

/// Asks the members of one set.
pub struct Asker {
    cluster: Cluster,
    namespace: String,
    /// `None` when the passwords may not be read: nobody can be asked then.
    password: Option<String>,
    sessions: HashMap<String, Session>,
    /// Ask for upkeep as well: what only somebody who looks after the set wants to know.
    upkeep: bool,
    /// Tunnels opened ahead, before it was known whether they are needed.
    ahead: HashMap<String, TunnelAhead>,
}

/// Asks every member that can answer once.
///
/// # Errors
/// The API server refuses or does not answer; that the passwords may not be read is noted in the observation.
pub async fn ask_members(cluster: &Cluster, names: &Names, seen: &mut Observation) -> Outcome {
    let secret = SetSecret::read(cluster, names.namespace(), &names.passwords()).await;
    let secret = match SetSecret::of_set(cluster, names, seen.stateful_set.as_ref(), secret).await {
        Err(failure) if !failure.is_forbidden() => return Err(failure.into()),
        secret => secret.ok().flatten(),
    };
    let password = superuser(secret.as_ref(), seen);
    Asker::new(cluster, names.namespace(), password).ask(members_to_ask(seen), seen).await;
    Ok(())
}

/// The superuser's password, where the Secret could be read and has one. What the Secret says beside that is noted in the
/// observation: how old it is, and the words that nobody may be shown.
pub fn superuser(secret: Option<&SetSecret>, seen: &mut Observation) -> Option<String> {
    seen.secret_created = secret.and_then(|secret| secret.created);
    seen.mask = secret.map(SetSecret::mask).unwrap_or_default();
    seen.keys.extend(secret.map(|secret| (format!("Secret {}-passwords", seen.name), Some(secret.keys()))));
    secret.and_then(|secret| secret.get("superuser")).map(str::to_owned)
}

/// Writes everything PostgreSQL has changed in memory to disk, so that the shutdown after it is short.
///
/// # Errors
/// The passwords cannot be read, or in PostgreSQL's or the tunnel's words why it was not done.
pub async fn checkpoint(
    cluster: &Cluster,
    names: &Names,
    seen: &Observation,
    member: &str,
    patience: Duration,
) -> Outcome {
    let namespace = names.namespace();
    let failed = |reason: String| {
        Failure::error(format!("failed to write a checkpoint on {member} in namespace {namespace}: {reason}"))
    };
    let secret = SetSecret::read(cluster, namespace, &names.passwords()).await;
    let secret = SetSecret::of_set(cluster, names, seen.stateful_set.as_ref(), secret).await?;
    let password = secret.as_ref().and_then(|secret| secret.get("superuser"));
    let password = password.ok_or_else(|| failed("the superuser's password is not known".to_owned()))?;
    let stream = tunnel(cluster, namespace, member).await?;
    let session = Session::open(stream, "postgres", password).await.map_err(failed)?;
    session.checkpoint(patience).await.map_err(failed)
}

/// Why a member could not be asked.
enum Trouble {
    /// The user may not port-forward.
    Forbidden,
    Silent(String),
}

impl Asker {
    #[must_use]
    pub fn new(cluster: &Cluster, namespace: &str, password: Option<String>) -> Self {
        Self {
            cluster: cluster.clone(),
            namespace: namespace.to_owned(),
            password,
            sessions: HashMap::new(),
            upkeep: false,
            ahead: HashMap::new(),
        }
    }

    /// Opens tunnels to members that probably exist, while the rest is still being looked up. A member that is not there
    /// costs one answer.
    pub fn open_ahead(&mut self, members: impl IntoIterator<Item = String>) {
        for member in members {
            let opening = TunnelAhead::begin(&self.cluster, &self.namespace, &member);
            self.ahead.insert(member, opening);
        }
    }

    /// Whom to log in as: the superuser's password, or `None` where it may not be read.
    pub fn log_in_with(&mut self, password: Option<String>) {
        self.password = password;
    }

    /// From now on members are asked for upkeep in the same breath.
    pub fn look_after(&mut self) {
        self.upkeep = true;
    }

    /// The sessions of the members that answered last.
    pub fn sessions(&self) -> impl Iterator<Item = (&String, &Session)> {
        self.sessions.iter()
    }

    /// Asks these members at the same time and notes their answers; what others answered before is forgotten.
    pub async fn ask(&mut self, members: Vec<String>, seen: &mut Observation) {
        let Some(password) = self.password.clone() else {
            seen.asking = Asking::Forbidden;
            return;
        };
        let mut sessions = std::mem::take(&mut self.sessions);
        let mut ahead = std::mem::take(&mut self.ahead);
        let this = &*self;
        let asked = join_all(members.into_iter().map(|member| {
            let session = sessions.remove(&member);
            let opening = ahead.remove(&member);
            let password = &password;
            async move {
                let answer = this.ask_one(&member, password, session, opening).await;
                (member, answer)
            }
        }))
        .await;
        drop(sessions);
        seen.answers = BTreeMap::new();
        seen.upkeep = BTreeMap::new();
        for (member, answer) in asked {
            let answer = match answer {
                Ok((session, server, upkeep)) => {
                    self.sessions.insert(member.clone(), session);
                    seen.upkeep.extend(upkeep.map(|upkeep| (member.clone(), upkeep)));
                    Answer::Answered(Box::new(server))
                }
                Err(Trouble::Silent(reason)) => Answer::Silent(reason),
                Err(Trouble::Forbidden) => {
                    seen.asking = Asking::Forbidden;
                    self.password = None;
                    return;
                }
            };
            seen.answers.insert(member, answer);
        }
    }

    /// The end of a member's log where PostgreSQL writes it to a file of its own; nothing where it does not, or where the
    /// member does not answer.
    pub async fn log_file(&self, member: &str) -> Vec<String> {
        match self.sessions.get(member) {
            Some(session) => session.log_file().await.unwrap_or_default(),
            None => Vec::new(),
        }
    }

    /// Over the session there is, or over a new one when that broke: the member may have restarted since.
    async fn ask_one(
        &self,
        member: &str,
        password: &str,
        session: Option<Session>,
        opening: Option<TunnelAhead>,
    ) -> Result<(Session, Server, Option<Upkeep>), Trouble> {
        if let Some(session) = session
            && let (Ok(server), upkeep) = self.questions(&session).await
        {
            return Ok((session, server, upkeep));
        }
        let opened = match opening {
            Some(opening) => opening.opened().await,
            None => tunnel(&self.cluster, &self.namespace, member).await,
        };
        let stream = opened.map_err(|failure| {
            if failure.is_forbidden() { Trouble::Forbidden } else { Trouble::Silent(failure.message) }
        })?;
        let session = Session::open(stream, "postgres", password).await.map_err(Trouble::Silent)?;
        let (server, upkeep) = self.questions(&session).await;
        Ok((session, server.map_err(Trouble::Silent)?, upkeep))
    }

    /// Sent at the same time: one way to the member and back. Upkeep that fails is left out, since the answer that matters
    /// is there.
    async fn questions(&self, session: &Session) -> (Result<Server, String>, Option<Upkeep>) {
        let upkeep = async { if self.upkeep { session.upkeep().await.ok() } else { None } };
        join!(session.probe(), upkeep)
    }
}
