//! A session with one member's PostgreSQL over any byte stream.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

use super::probe::{self, Release};
use crate::cluster::innermost;
use crate::set::observation::{Server, Upkeep};

/// A member that says nothing for this long counts as silent; it is asked again at the next change.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a statement failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlError {
    /// The SQLSTATE; empty when PostgreSQL did not answer.
    pub code: String,
    pub message: String,
}

/// An open session, closed when dropped.
pub struct Session {
    client: Client,
    release: Release,
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
        Self::open_to(stream, "postgres", user, password).await
    }

    /// Logs in as `user` to a database of the set.
    ///
    /// # Errors
    /// PostgreSQL's or the stream's own words.
    pub async fn open_to<S>(stream: S, database: &str, user: &str, password: &str) -> Result<Self, String>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut config = Config::new();
        config.user(user).password(password).dbname(database).application_name("pgset");
        // A probe must never hang on a lock, nor leave one behind.
        config.options("-c statement_timeout=5s -c lock_timeout=1s");
        let (client, connection) = within(config.connect_raw(stream, NoTls)).await?;
        let version = connection.parameter("server_version").unwrap_or_default();
        let release = Release::of(version);
        // The connection's end shows as an error of the next query.
        let connection = tokio::spawn(async move { drop(connection.await) });
        Ok(Self { client, release, connection })
    }

    /// Asks for everything an observation holds of a server.
    ///
    /// # Errors
    /// PostgreSQL's or the stream's own words, or an answer that cannot be read.
    pub async fn probe(&self) -> Result<Server, String> {
        probe::read(&self.text(&probe::sql(self.release)).await?)
    }

    /// Asks for what costs more and only somebody who looks after the set wants to know.
    ///
    /// # Errors
    /// PostgreSQL's or the stream's own words, or an answer that cannot be read.
    pub async fn upkeep(&self) -> Result<Upkeep, String> {
        probe::read_upkeep(&self.text(&probe::upkeep(self.release)).await?)
    }

    /// The last lines of the log, where they go to a file of the server's; none where they go to the container's log.
    ///
    /// # Errors
    /// PostgreSQL's or the stream's own words.
    pub async fn log_file(&self) -> Result<Vec<String>, String> {
        let rows = within(self.client.simple_query(&probe::log_file(self.release))).await?;
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

    /// Writes all changed buffers to disk, which takes as long as it takes, but no longer than `patience`.
    ///
    /// # Errors
    /// PostgreSQL's or the stream's own words.
    pub async fn checkpoint(&self, patience: Duration) -> Result<(), String> {
        within(self.client.batch_execute("set statement_timeout = 0")).await?;
        within_time(patience, self.client.batch_execute("checkpoint")).await
    }

    /// Runs statements; the first column of the first row, where there is one.
    ///
    /// # Errors
    /// PostgreSQL's SQLSTATE and words, or the stream's words without a code.
    pub async fn run(&self, sql: &str) -> Result<Option<String>, SqlError> {
        let silent = || SqlError { code: String::new(), message: format!("no answer within {} s", PATIENCE.as_secs()) };
        let ran = tokio::time::timeout(PATIENCE, self.client.simple_query(sql)).await.map_err(|_| silent())?;
        let messages = ran.map_err(|error| match error.as_db_error() {
            Some(error) => SqlError { code: error.code().code().to_owned(), message: error.message().to_owned() },
            None => SqlError { code: String::new(), message: innermost(&error) },
        })?;
        Ok(messages.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        }))
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
    within_time(PATIENCE, work).await
}

async fn within_time<T>(
    patience: Duration,
    work: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, String> {
    match tokio::time::timeout(patience, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => {
            Err(error.as_db_error().map_or_else(|| innermost(&error), |error| error.message().to_owned()))
        }
        Err(_) => Err(format!("no answer within {} s", patience.as_secs())),
    }
}
