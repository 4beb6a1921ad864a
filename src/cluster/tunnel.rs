//! A byte stream to a member's PostgreSQL through the API server's port-forward.
//!
//! The client library has one too, which passes every message through three tasks; a database's small questions and
//! answers pay for each of them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::{Sink, Stream};
use k8s_openapi::api::core::v1::Pod;
use kube::Resource;
use kube::core::Request;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};

use super::{ApiFailure, Cluster};

/// PostgreSQL's port in every member.
pub const PORT: u16 = 5432;

/// The channels of the one port that is forwarded.
const DATA: u8 = 0;
const TROUBLE: u8 = 1;

/// As much as goes into one message: the kubelet's side reads no more at a time.
const LARGEST: usize = 32 << 10;

/// Opens a stream to the member's port 5432.
///
/// # Errors
/// The API server refuses or does not answer; that nobody listens in the pod shows only when the stream is used.
pub async fn tunnel(cluster: &Cluster, namespace: &str, member: &str) -> Result<Tunnel, ApiFailure> {
    let failed = |error: &kube::Error| {
        ApiFailure::new(format!("failed to open a tunnel to Pod {member} in namespace {namespace}"), error)
    };
    let request = Request::new(Pod::url_path(&(), Some(namespace))).portforward(member, &[PORT]);
    let request = request.map_err(|error| failed(&kube::Error::BuildRequest(error)))?;
    let connection = cluster.client.connect(request).await.map_err(|error| failed(&error))?;
    Ok(Tunnel::over(connection.into_stream()))
}

/// A tunnel opened before it is known whether it is needed: the way through the API server and the kubelet takes longer
/// than anything else. Given up when dropped.
pub struct TunnelAhead(JoinHandle<Result<Tunnel, ApiFailure>>);

impl TunnelAhead {
    /// Begins to open a stream to the member's port 5432.
    #[must_use]
    pub fn begin(cluster: &Cluster, namespace: &str, member: &str) -> Self {
        let (cluster, namespace, member) = (cluster.clone(), namespace.to_owned(), member.to_owned());
        Self(tokio::spawn(async move { tunnel(&cluster, &namespace, &member).await }))
    }

    /// The stream, once it is there.
    ///
    /// # Errors
    /// As of [`tunnel`].
    pub async fn opened(mut self) -> Result<Tunnel, ApiFailure> {
        (&mut self.0).await.unwrap_or_else(|_| Err(ApiFailure::interrupted("the tunnel")))
    }
}

impl Drop for TunnelAhead {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Messages both ways.
trait Messages: Stream<Item = Result<Message, Error>> + Sink<Message, Error = Error> + Send {}

impl<T: Stream<Item = Result<Message, Error>> + Sink<Message, Error = Error> + Send> Messages for T {}

/// The stream.
pub struct Tunnel {
    messages: Pin<Box<dyn Messages>>,
    /// What has come and was not yet read.
    unread: Bytes,
    /// Each channel begins with a message that only names the port.
    begun: [bool; 2],
    ended: bool,
}

impl Tunnel {
    fn over(
        messages: impl Stream<Item = Result<Message, Error>> + Sink<Message, Error = Error> + Send + 'static,
    ) -> Self {
        Self { messages: Box::pin(messages), unread: Bytes::new(), begun: [false; 2], ended: false }
    }

    /// Takes in one message.
    fn take(&mut self, message: Message) -> io::Result<()> {
        match message {
            Message::Binary(mut bytes) if !bytes.is_empty() => {
                let channel = bytes.split_to(1)[0];
                match self.begun.get_mut(usize::from(channel)) {
                    Some(begun @ false) => *begun = true,
                    _ if channel == DATA => self.unread = bytes,
                    // Said once, when nobody listens in the pod or the pod is gone.
                    _ if channel == TROUBLE && !bytes.is_empty() => {
                        self.ended = true;
                        let words = String::from_utf8_lossy(&bytes).trim().to_owned();
                        return Err(io::Error::new(io::ErrorKind::ConnectionRefused, words));
                    }
                    _ => {}
                }
            }
            Message::Close(_) => self.ended = true,
            _ => {}
        }
        Ok(())
    }
}

/// An end of the connection is an end of the stream, whoever ended it.
fn ended(error: Error) -> io::Result<()> {
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => Ok(()),
        Error::Io(error) => Err(error),
        other => Err(io::Error::other(other)),
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            if !self.unread.is_empty() {
                let count = self.unread.len().min(into.remaining());
                into.put_slice(&self.unread.split_to(count));
                return Poll::Ready(Ok(()));
            }
            if self.ended {
                return Poll::Ready(Ok(()));
            }
            match ready!(self.messages.as_mut().poll_next(context)) {
                Some(Ok(message)) => self.take(message)?,
                Some(Err(error)) => {
                    self.ended = true;
                    ended(error)?;
                }
                None => self.ended = true,
            }
        }
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let broken = |error| ended(error).err().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into());
        if self.ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        ready!(self.messages.as_mut().poll_ready(context)).map_err(broken)?;
        let count = bytes.len().min(LARGEST);
        let mut message = Vec::with_capacity(count + 1);
        message.push(DATA);
        message.extend_from_slice(&bytes[..count]);
        self.messages.as_mut().start_send(Message::Binary(message.into())).map_err(broken)?;
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(ready!(self.messages.as_mut().poll_flush(context)).or_else(ended))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(ready!(self.messages.as_mut().poll_close(context)).or_else(ended))
    }
}

#[cfg(test)]
mod tests {
    use futures::{SinkExt, StreamExt};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio_tungstenite::WebSocketStream;
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::*;

    /// A tunnel, and the API server's end of it.
    async fn pair() -> (Tunnel, WebSocketStream<DuplexStream>) {
        let (here, there) = duplex(1 << 20);
        let client = WebSocketStream::from_raw_socket(here, Role::Client, None).await;
        (Tunnel::over(client), WebSocketStream::from_raw_socket(there, Role::Server, None).await)
    }

    fn message(channel: u8, bytes: &[u8]) -> Message {
        Message::Binary([&[channel], bytes].concat().into())
    }

    #[tokio::test]
    async fn bytes_go_both_ways_without_the_channels_beginnings() {
        let (mut tunnel, mut server) = pair().await;
        for (channel, bytes) in
            [(DATA, &PORT.to_le_bytes()[..]), (TROUBLE, &PORT.to_le_bytes()), (DATA, b"hel"), (DATA, b"lo")]
        {
            server.send(message(channel, bytes)).await.unwrap();
        }
        let mut read = [0; 5];
        tunnel.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"hello");

        let much = vec![7; LARGEST + 5];
        tunnel.write_all(&much).await.unwrap();
        tunnel.flush().await.unwrap();
        assert_eq!(server.next().await.unwrap().unwrap(), message(DATA, &much[..LARGEST]));
        assert_eq!(server.next().await.unwrap().unwrap(), message(DATA, &much[LARGEST..]));
    }

    #[tokio::test]
    async fn an_end_is_an_end_and_trouble_has_words() {
        let (mut tunnel, mut server) = pair().await;
        server.close(None).await.unwrap();
        assert_eq!(tunnel.read(&mut [0; 5]).await.unwrap(), 0);
        assert!(tunnel.write_all(b"x").await.is_err());

        let (mut tunnel, mut server) = pair().await;
        server.send(message(TROUBLE, &PORT.to_le_bytes())).await.unwrap();
        server.send(message(TROUBLE, b"connection refused\n")).await.unwrap();
        let error = tunnel.read(&mut [0; 5]).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (io::ErrorKind::ConnectionRefused, "connection refused")
        );
        assert_eq!(tunnel.read(&mut [0; 5]).await.unwrap(), 0);

        let (mut tunnel, mut server) = pair().await;
        tunnel.shutdown().await.unwrap();
        assert!(server.next().await.unwrap().unwrap().is_close());
    }
}
