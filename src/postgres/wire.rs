//! The little of PostgreSQL's wire protocol that a connection's way-finder has to speak itself: what a client says first,
//! and how a server says no.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Request codes in the place of a protocol version.
const CANCEL: u32 = 80_877_102;
const TLS: u32 = 80_877_103;
const GSS: u32 = 80_877_104;

/// PostgreSQL's own `MAX_STARTUP_PACKET_LENGTH`.
const LONGEST: usize = 10_000;

/// More than any first answer needs; a longer one is passed on unread.
const LONGEST_ERROR: usize = 30_000;

/// `cannot_connect_now`: the server starts, stops or recovers.
pub const CANNOT_CONNECT_NOW: &str = "57P03";

/// What a client opens a connection with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    /// It wants a session: the whole packet.
    Session(Vec<u8>),
    /// It wants a query of another session cancelled: the whole packet.
    Cancel(Vec<u8>),
    /// It said nothing, or nothing of this protocol.
    Nothing,
}

/// Reads what a client says first. Questions for encryption are answered with a no: the way to here never leaves the
/// machine, and the way from here on is the API server's TLS.
///
/// # Errors
/// The client went away in the middle of a packet.
pub async fn opening<S: AsyncRead + AsyncWrite + Unpin>(client: &mut S) -> io::Result<Opening> {
    loop {
        let mut head = [0; 8];
        match client.read_exact(&mut head).await {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Opening::Nothing),
            Err(error) => return Err(error),
        }
        let (length, code) = (number(&head[..4]) as usize, number(&head[4..]));
        if !(8..=LONGEST).contains(&length) {
            return Ok(Opening::Nothing);
        }
        let mut packet = head.to_vec();
        packet.resize(length, 0);
        client.read_exact(&mut packet[8..]).await?;
        match code {
            TLS | GSS => client.write_all(b"N").await?,
            CANCEL => return Ok(Opening::Cancel(packet)),
            _ => return Ok(Opening::Session(packet)),
        }
    }
}

/// A server's first answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To be passed on: the bytes read so far.
    Speaks(Vec<u8>),
    /// It cannot take connections now, and why: the whole answer and its words.
    NotNow(Vec<u8>, String),
    /// It closed the connection without a word: nobody listens there.
    Silence,
}

/// Reads a server's first answer, as much of it as has to be known.
///
/// # Errors
/// The stream broke.
pub async fn answer<S: AsyncRead + Unpin>(server: &mut S) -> io::Result<Answer> {
    let mut bytes = vec![0; 5];
    match server.read_exact(&mut bytes).await {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Answer::Silence),
        Err(error) => return Err(error),
    }
    let length = number(&bytes[1..]) as usize;
    if bytes[0] != b'E' || !(4..=LONGEST_ERROR).contains(&length) {
        return Ok(Answer::Speaks(bytes));
    }
    bytes.resize(1 + length, 0);
    server.read_exact(&mut bytes[5..]).await?;
    let field = |kind| field(&bytes[5..], kind);
    if field(b'C').as_deref() == Some(CANNOT_CONNECT_NOW) {
        let words = field(b'M').unwrap_or_default();
        return Ok(Answer::NotNow(bytes, words));
    }
    Ok(Answer::Speaks(bytes))
}

/// An `ErrorResponse` that ends a connection.
#[must_use]
pub fn fatal(code: &str, message: &str, hint: &str) -> Vec<u8> {
    let mut fields = Vec::new();
    for (kind, text) in [(b'S', "FATAL"), (b'V', "FATAL"), (b'C', code), (b'M', message), (b'H', hint)] {
        if !text.is_empty() {
            fields.push(kind);
            fields.extend(text.bytes().filter(|byte| *byte != 0));
            fields.push(0);
        }
    }
    fields.push(0);
    let mut bytes = vec![b'E'];
    bytes.extend(u32::try_from(fields.len() + 4).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend(fields);
    bytes
}

/// One field of an `ErrorResponse`.
fn field(fields: &[u8], kind: u8) -> Option<String> {
    let found = fields.split(|byte| *byte == 0).find(|field| field.first() == Some(&kind))?;
    Some(String::from_utf8_lossy(&found[1..]).into_owned())
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    fn packet(code: u32, rest: &[u8]) -> Vec<u8> {
        let length = u32::try_from(8 + rest.len()).unwrap();
        [&length.to_be_bytes()[..], &code.to_be_bytes(), rest].concat()
    }

    /// What is made of these bytes, and what the client was answered meanwhile.
    async fn open(bytes: &[u8]) -> (io::Result<Opening>, Vec<u8>) {
        let (mut here, mut there) = duplex(1 << 20);
        there.write_all(bytes).await.unwrap();
        there.shutdown().await.unwrap();
        let opening = opening(&mut here).await;
        drop(here);
        let mut answered = Vec::new();
        there.read_to_end(&mut answered).await.unwrap();
        (opening, answered)
    }

    #[tokio::test]
    async fn encryption_is_declined_and_the_session_goes_on() {
        let session = packet(196_608, b"user\0a\0\0");
        let asked = [packet(GSS, b""), packet(TLS, b""), session.clone()].concat();
        let (opening, answered) = open(&asked).await;
        assert_eq!((opening.unwrap(), answered.as_slice()), (Opening::Session(session), &b"NN"[..]));
        let cancel = packet(CANCEL, &[0, 0, 0, 7, 1, 2, 3, 4]);
        assert_eq!(open(&cancel).await.0.unwrap(), Opening::Cancel(cancel));
    }

    #[tokio::test]
    async fn what_is_no_postgresql_gets_no_answer() {
        for bytes in [&b""[..], b"GET / HTTP/1.1\r\n\r\n", &[0x16, 3, 1, 2, 0, 1, 0, 1, 0], &[0, 0, 0, 7, 0, 3, 0, 0]] {
            let (opening, answered) = open(bytes).await;
            assert_eq!((opening.unwrap(), answered.len()), (Opening::Nothing, 0), "{bytes:?}");
        }
        assert!(open(&packet(196_608, b"user\0a\0\0")[..10]).await.0.is_err());
    }

    async fn answered(bytes: &[u8]) -> Answer {
        answer(&mut &bytes[..]).await.unwrap()
    }

    #[tokio::test]
    async fn a_server_that_only_starts_is_told_from_one_that_refuses() {
        assert_eq!(answered(b"").await, Answer::Silence);
        assert_eq!(answered(b"R\0\0\0\x08\0\0\0\0").await, Answer::Speaks(b"R\0\0\0\x08".to_vec()));
        let starting = fatal(CANNOT_CONNECT_NOW, "the database system is starting up", "");
        let words = "the database system is starting up".to_owned();
        assert_eq!(answered(&starting).await, Answer::NotNow(starting, words));
        let refused = fatal("28P01", "password authentication failed", "");
        assert_eq!(answered(&refused).await, Answer::Speaks(refused));
    }

    #[test]
    fn an_error_has_the_protocols_form() {
        let bytes = fatal("57P03", "no pri\0mary", "wait");
        assert_eq!(bytes, b"E\0\0\0\x2cSFATAL\0VFATAL\0C57P03\0Mno primary\0Hwait\0\0");
    }
}
