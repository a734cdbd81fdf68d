//! The first `ClientHello` of a connection, in whatever segments and records it comes.
//!
//! Records are joined here, so that a hello that is not whole costs no more than its bytes; what a whole one must look like, and which name
//! is in it, is for rustls to say, which is asked once. What rustls does not take is refused, whatever a server would make of it.

use filter_core::Reason;
use rustls::server::Acceptor;
use rustls::{Error, InvalidMessage, PeerMisbehaved};

/// Longest hello that is read, the headers of its records included: one byte more is too much for rustls.
pub const MAX_HELLO: usize = (64 << 10) - 1;
/// Most that a record may carry (RFC 8446, section 5.1).
const MAX_FRAGMENT: usize = 16 << 10;
/// Content type of records with handshake messages.
const HANDSHAKE: u8 = 22;
/// Type of the handshake message.
const CLIENT_HELLO: u8 = 1;
/// Bytes before the content of a record.
const RECORD_HEADER: usize = 5;
/// Bytes before the content of a handshake message.
const MESSAGE_HEADER: usize = 4;

/// What is known of a hello so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It is not whole, and may become one.
    More,
    /// It is whole.
    Hello {
        /// The name that it asks for, in lower case and without a dot at its end. Not judged: it may be none that a policy can have.
        name: Option<String>,
    },
    /// It is none, or none that is taken.
    Refused(Reason),
}

/// Reads a hello as its bytes come in.
#[derive(Debug, Default)]
pub struct HelloReader {
    /// How many bytes were looked at.
    seen: usize,
    /// How many of those to come belong to the record that has begun.
    left: usize,
    /// The handshake message as far as it is there.
    message: Vec<u8>,
}

impl HelloReader {
    /// Looks at what has come since the last time. `bytes` is all that has come; what is behind the hello is nobody's business.
    pub fn look(&mut self, bytes: &[u8]) -> Progress {
        if self.seen == 0
            && let Some(record) = whole_record(bytes)
        {
            return parse([record]);
        }
        match self.join(bytes) {
            Ok(true) => parse(records(&self.message)),
            Ok(false) if bytes.len() < MAX_HELLO => Progress::More,
            Ok(false) => Progress::Refused(Reason::HelloTooLong),
            Err(reason) => Progress::Refused(reason),
        }
    }

    /// Takes the message out of the records; tells whether it is whole.
    fn join(&mut self, bytes: &[u8]) -> Result<bool, Reason> {
        let bytes = &bytes[..bytes.len().min(MAX_HELLO)];
        while self.seen < bytes.len() {
            if self.left == 0 {
                let Some(fragment) = fragment(&bytes[self.seen..])? else { return Ok(false) };
                self.seen += RECORD_HEADER;
                self.left = fragment;
            }
            let here = self.left.min(bytes.len() - self.seen);
            self.message.extend_from_slice(&bytes[self.seen..self.seen + here]);
            self.seen += here;
            self.left -= here;
            if self.is_whole()? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn is_whole(&self) -> Result<bool, Reason> {
        if self.message.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
            return Err(Reason::NotTls);
        }
        let Some(&[_, a, b, c]) = self.message.first_chunk::<MESSAGE_HEADER>() else { return Ok(false) };
        let whole = MESSAGE_HEADER + u32::from_be_bytes([0, a, b, c]) as usize;
        if whole > MAX_HELLO {
            return Err(Reason::HelloTooLong);
        }
        match self.message.len() {
            length if length < whole => Ok(false),
            length if length == whole && self.left == 0 => Ok(true),
            // Nothing may follow in the same record.
            _ => Err(Reason::NotTls),
        }
    }
}

/// How long the content of the record is that begins here; `None` while that is not known.
fn fragment(bytes: &[u8]) -> Result<Option<usize>, Reason> {
    let is = |at: usize, expected: u8| bytes.get(at).is_none_or(|byte| *byte == expected);
    if !is(0, HANDSHAKE) || !is(1, 3) {
        return Err(Reason::NotTls);
    }
    let Some(&[_, _, _, high, low]) = bytes.first_chunk::<RECORD_HEADER>() else { return Ok(None) };
    match usize::from(u16::from_be_bytes([high, low])) {
        length @ 1..=MAX_FRAGMENT => Ok(Some(length)),
        _ => Err(Reason::NotTls),
    }
}

/// The first record, where a hello begins and ends with it, as most do.
fn whole_record(bytes: &[u8]) -> Option<&[u8]> {
    let length = fragment(bytes).ok()??;
    let record = bytes.get(..RECORD_HEADER + length)?;
    let &[CLIENT_HELLO, a, b, c] = record[RECORD_HEADER..].first_chunk::<MESSAGE_HEADER>()? else { return None };
    let whole = MESSAGE_HEADER + u32::from_be_bytes([0, a, b, c]) as usize;
    (whole == length).then_some(record)
}

/// A whole message in as few records as it fits into.
fn records(message: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    message.chunks(MAX_FRAGMENT).map(|fragment| {
        let [high, low] = u16::try_from(fragment.len()).expect("at most MAX_FRAGMENT").to_be_bytes();
        [&[HANDSHAKE, 3, 1, high, low], fragment].concat()
    })
}

/// What rustls makes of the records of a whole message.
fn parse(records: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Progress {
    let mut acceptor = Acceptor::default();
    for record in records {
        let mut unread = record.as_ref();
        while !unread.is_empty() {
            if acceptor.read_tls(&mut unread).is_err() {
                return Progress::Refused(Reason::NotTls);
            }
            match acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => {
                    let name = accepted.client_hello().server_name().map(str::to_owned);
                    return Progress::Hello { name };
                }
                Err((error, _)) => return Progress::Refused(reason(&error)),
            }
        }
    }
    Progress::Refused(Reason::NotTls)
}

fn reason(error: &Error) -> Reason {
    match error {
        Error::PeerMisbehaved(PeerMisbehaved::ServerNameMustContainOneHostName)
        | Error::InvalidMessage(InvalidMessage::InvalidServerName | InvalidMessage::IllegalEmptyList("ServerNames")) => {
            Reason::NoName
        }
        _ => Reason::NotTls,
    }
}
