//! A session with one member's PostgreSQL over any byte stream.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

use super::probe;
use crate::cluster::innermost;
use crate::set::observation::{Server, Upkeep};

/// A member that says nothing for this long counts as silent; it is asked again at the next change.
const PATIENCE: Duration = Duration::from_secs(5);

/// An open session, closed when dropped.
pub struct Session {
    client: Client,
    major: u32,
    connection: JoinHandle<()>,
}

impl Session {
    /// Logs in as `user` to database `postgres`.
    ///
    /// # Errors
    /// PostgreSQL's or the stream's own words.
    pub async fn open<S>(stream: S, user: &str, password: &str) -> Result<Self, String>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut config = Config::new();
        config.user(user).password(password).dbname("postgres").application_name("pgset");
        // A probe must never hang on a lock, nor leave one behind.
        config.options("-c statement_timeout=5s -c lock_timeout=1s");
        let (client, connection) = within(config.connect_raw(stream, NoTls)).await?;
        let version = connection.parameter("server_version").unwrap_or_default();
        let major = version.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default().parse().unwrap_or(0);
        // The connection's end shows as an error of the next query.
        let connection = tokio::spawn(async move { drop(connection.await) });
        Ok(Self { client, major, connection })
    }

    /// Asks for everything an observation holds of a server.
    ///
    /// # Errors
    /// PostgreSQL's or the stream's own words, or an answer that cannot be read.
    pub async fn probe(&self) -> Result<Server, String> {
        probe::read(&self.text(&probe::sql(self.major)).await?)
    }

    /// Asks for what costs more and only somebody who looks after the set wants to know.
    ///
    /// # Errors
    /// PostgreSQL's or the stream's own words, or an answer that cannot be read.
    pub async fn upkeep(&self) -> Result<Upkeep, String> {
        probe::read_upkeep(&self.text(probe::UPKEEP).await?)
    }

    /// The last lines of the log, where they go to a file of the server's; none where they go to the container's log.
    ///
    /// # Errors
    /// PostgreSQL's or the stream's own words.
    pub async fn log_file(&self) -> Result<Vec<String>, String> {
        let rows = within(self.client.simple_query(probe::LOG_FILE)).await?;
        let text = rows.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        Ok(text.unwrap_or_default().lines().map(str::to_owned).collect())
    }

    /// The rows of a query as JSON objects.
    ///
    /// # Errors
    /// PostgreSQL's or the stream's own words.
    pub async fn rows(&self, query: &str) -> Result<serde_json::Value, String> {
        let text = self.text(&format!("select coalesce(json_agg(to_json(t)), '[]')::text from ({query}) t")).await?;
        serde_json::from_str(&text).map_err(|error| format!("unreadable answer: {error}"))
    }

    /// The first column of the first row of a query.
    async fn text(&self, sql: &str) -> Result<String, String> {
        let rows = within(self.client.simple_query(sql)).await?;
        let row = rows.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        row.map(str::to_owned).ok_or_else(|| "PostgreSQL answered without a row".to_owned())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

async fn within<T>(work: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, String> {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => {
            Err(error.as_db_error().map_or_else(|| innermost(&error), |error| error.message().to_owned()))
        }
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}
