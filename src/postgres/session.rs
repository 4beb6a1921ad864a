//! A session with one member's PostgreSQL over any byte stream.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

use super::probe;
use crate::cluster::innermost;
use crate::set::observation::Server;

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
        // The connection's end shows as an error of the next query.
        let connection = tokio::spawn(async move { drop(connection.await) });
        Ok(Self { client, connection })
    }

    /// Asks for everything an observation holds of a server.
    ///
    /// # Errors
    /// PostgreSQL's or the stream's own words, or an answer that cannot be read.
    pub async fn probe(&self) -> Result<Server, String> {
        probe::read(&self.text(probe::SQL).await?)
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
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => {
            Err(error.as_db_error().map_or_else(|| innermost(&error), |error| error.message().to_owned()))
        }
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}
