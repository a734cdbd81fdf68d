//! What a client sends, let through to hyper head by head: no head is read that was not looked at first.
//!
//! A head that is refused never gets to hyper. It reads [`INSTEAD`] in its place, and whoever is called to answer that finds the reason
//! in [`Refused`]: so the answer takes its turn behind those to earlier requests.

use super::chunks::{Chunks, Step};
use super::head::{self, Body};
use bytes::{Buf, BytesMut};
use filter_core::Reason;
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// Read at once in search of what comes next.
const AT_ONCE: usize = 16 << 10;
/// What hyper reads in place of a head that is refused.
const INSTEAD: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

/// Why what the client has sent was refused, until somebody has told it.
#[derive(Clone, Default)]
pub(super) struct Refused(Arc<AtomicU8>);

impl Refused {
    /// The reason, once.
    pub(super) fn take(&self) -> Option<Reason> {
        Reason::from_number(self.0.swap(0, Ordering::Relaxed))
    }

    fn set(&self, reason: Reason) {
        self.0.store(reason.number(), Ordering::Relaxed);
    }
}

/// The client's side of a connection.
pub(super) struct Gate {
    io: crate::stream::Io,
    refused: Refused,
    /// What has been read, and not been passed on.
    held: BytesMut,
    /// How many bytes may be passed on.
    pass: u64,
    next: Next,
    /// How much of what is held was searched for the end of a head.
    looked: usize,
    /// Whether an empty line may come before the next head (RFC 9112, section 2.2).
    may_skip: bool,
    /// How long a client may take for a head: the first one, or one that it has begun.
    limit: Duration,
    patience: Option<Pin<Box<Sleep>>>,
}

/// What comes behind the bytes that may be passed on.
#[derive(Clone, Copy)]
enum Next {
    Head,
    Chunk(Chunks),
    /// Nothing that is a request.
    Nothing,
}

impl Gate {
    pub(super) fn new(stream: Arc<TcpStream>, refused: Refused, limit: Duration) -> Gate {
        Gate {
            io: crate::stream::Io::new(stream),
            refused,
            held: BytesMut::new(),
            pass: 0,
            next: Next::Head,
            looked: 0,
            may_skip: true,
            limit,
            patience: Some(Box::pin(sleep(limit))),
        }
    }

    /// What has been read behind the last request.
    pub(super) fn into_rest(self) -> BytesMut {
        self.held
    }

    /// Lets pass what is held as far as it is understood; `false` if there is too little of it.
    fn look(&mut self) -> io::Result<bool> {
        match self.next {
            Next::Nothing => Ok(false),
            Next::Head => {
                if self.may_skip && self.held.starts_with(b"\r\n") {
                    self.held.advance(2);
                    (self.may_skip, self.looked) = (false, 0);
                }
                if self.may_skip && &self.held[..] == b"\r" {
                    return Ok(false);
                }
                let found = head::end(&self.held, self.looked);
                let judged =
                    found.and_then(|end| end.map(|end| Ok((end, head::check(&self.held[..end])?))).transpose());
                match judged {
                    Ok(None) => self.looked = self.held.len(),
                    Ok(Some((end, body))) => self.open(end as u64, body),
                    Err(reason) => self.refuse(reason),
                }
                Ok(self.pass > 0)
            }
            Next::Chunk(chunks) => {
                match chunks.step(&self.held) {
                    Some(Step::More) => return Ok(false),
                    Some(Step::Pass(bytes, next)) => (self.pass, self.next) = (bytes, Next::Chunk(next)),
                    Some(Step::End(bytes)) => (self.pass, self.next) = (bytes, Next::Head),
                    None => {
                        self.refused.set(Reason::AmbiguousRequest);
                        return Err(io::ErrorKind::InvalidData.into());
                    }
                }
                Ok(true)
            }
        }
    }

    fn open(&mut self, head: u64, body: Body) {
        (self.pass, self.next) = match body {
            Body::Nothing => (head, Next::Head),
            Body::Length(length) => (head.saturating_add(length), Next::Head),
            Body::Chunked => (head, Next::Chunk(Chunks::default())),
            Body::Tunnel => (head, Next::Nothing),
        };
        (self.looked, self.may_skip, self.patience) = (0, true, None);
    }

    fn refuse(&mut self, reason: Reason) {
        self.refused.set(reason);
        self.held = BytesMut::from(INSTEAD);
        self.open(INSTEAD.len() as u64, Body::Tunnel);
    }

    /// Passes on what is held: no further than to the next head.
    fn pass_held(&mut self, into: &mut ReadBufCursor<'_>) -> io::Result<()> {
        loop {
            let may = usize::try_from(self.pass).unwrap_or(usize::MAX);
            let length = may.min(self.held.len()).min(into.remaining());
            into.put_slice(&self.held[..length]);
            self.held.advance(length);
            self.pass -= length as u64;
            let goes_on = self.pass == 0 && into.remaining() > 0 && matches!(self.next, Next::Chunk(_));
            if !goes_on || !self.look()? {
                break;
            }
        }
        if self.held.is_empty() {
            self.held = BytesMut::new();
        }
        Ok(())
    }

    /// Reads at most what may be passed on.
    fn poll_pass(&mut self, cx: &mut Context<'_>, mut into: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let mut bytes = [0; AT_ONCE];
        let room = into.remaining().min(AT_ONCE).min(usize::try_from(self.pass).unwrap_or(usize::MAX));
        let read = ready!(self.poll_stream(cx, &mut bytes[..room]))?;
        into.put_slice(&bytes[..read]);
        self.pass -= read as u64;
        Poll::Ready(Ok(()))
    }

    fn poll_stream(&mut self, cx: &mut Context<'_>, bytes: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(bytes);
        ready!(Pin::new(&mut self.io).poll_read(cx, buffer.unfilled()))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Whether the client has waited too long with a head.
    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        if self.patience.is_none() && !self.held.is_empty() && matches!(self.next, Next::Head) {
            self.patience = Some(Box::pin(sleep(self.limit)));
        }
        self.patience.as_mut().is_some_and(|patience| patience.as_mut().poll(cx).is_ready())
    }
}

impl Read for Gate {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut into: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.pass > 0 && !self.held.is_empty() {
                return Poll::Ready(self.pass_held(&mut into));
            }
            if self.pass > 0 {
                return self.poll_pass(cx, into);
            }
            if let Next::Nothing = self.next {
                // Whether the client goes is worth knowing; what it sends stays where it is.
                let mut byte = [0];
                let seen = ready!(self.io.stream.poll_peek(cx, &mut tokio::io::ReadBuf::new(&mut byte)))?;
                return if seen == 0 { Poll::Ready(Ok(())) } else { Poll::Pending };
            }
            if self.look()? {
                continue;
            }
            if self.is_late(cx) {
                self.refuse(Reason::HelloTooLate);
                continue;
            }
            let mut bytes = [0; AT_ONCE];
            let read = ready!(self.poll_stream(cx, &mut bytes))?;
            if read == 0 {
                return Poll::Ready(Ok(()));
            }
            self.held.extend_from_slice(&bytes[..read]);
        }
    }
}

impl Write for Gate {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
