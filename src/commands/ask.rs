//! PostgreSQL's word: a session with each member over its own tunnel, kept open while a command watches.

use std::collections::{BTreeMap, HashMap};

use futures::future::join_all;
use tokio::task::JoinHandle;

use crate::cluster::{ApiFailure, Cluster, Tunnel, tunnel};
use crate::postgres::Session;
use crate::set::observation::{Answer, Asking, Observation};

/// Asks the members of one set.
pub struct Asker {
    cluster: Cluster,
    namespace: String,
    /// `None` when the passwords may not be read: nobody can be asked then.
    password: Option<String>,
    sessions: HashMap<String, Session>,
    /// Tunnels opened ahead, before it was known whether they are needed.
    ahead: HashMap<String, JoinHandle<Result<Tunnel, ApiFailure>>>,
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
            ahead: HashMap::new(),
        }
    }

    /// Opens tunnels to members that probably exist, while the rest is still being looked up: the way through the API
    /// server and the kubelet takes longer than anything else of a status. A member that is not there costs one answer.
    pub fn open_ahead(&mut self, members: impl IntoIterator<Item = String>) {
        for member in members {
            let (cluster, namespace) = (self.cluster.clone(), self.namespace.clone());
            let pod = member.clone();
            let opening = tokio::spawn(async move { tunnel(&cluster, &namespace, &pod).await });
            self.ahead.insert(member, opening);
        }
    }

    /// Whom to log in as: the superuser's password, or `None` where it may not be read.
    pub fn log_in_with(&mut self, password: Option<String>) {
        self.password = password;
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
        for (member, answer) in asked {
            let answer = match answer {
                Ok((session, server)) => {
                    self.sessions.insert(member.clone(), session);
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

    /// Over the session there is, or over a new one when that broke: the member may have restarted since.
    async fn ask_one(
        &self,
        member: &str,
        password: &str,
        session: Option<Session>,
        opening: Option<JoinHandle<Result<Tunnel, ApiFailure>>>,
    ) -> Result<(Session, crate::set::observation::Server), Trouble> {
        if let Some(session) = session
            && let Ok(server) = session.probe().await
        {
            return Ok((session, server));
        }
        let opened = match opening {
            Some(opening) => opening.await.unwrap_or_else(|_| Err(ApiFailure::interrupted("the tunnel"))),
            None => tunnel(&self.cluster, &self.namespace, member).await,
        };
        let stream = opened.map_err(|failure| {
            if failure.is_forbidden() { Trouble::Forbidden } else { Trouble::Silent(failure.message) }
        })?;
        let session = Session::open(stream, "postgres", password).await.map_err(Trouble::Silent)?;
        let server = session.probe().await.map_err(Trouble::Silent)?;
        Ok((session, server))
    }
}
