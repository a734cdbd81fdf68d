//! Streams that several parts of the program hold: whoever judges can end what others carry.

use crate::carried::Meter;
use hyper::rt::{Read, ReadBufCursor, Write};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use std::cell::RefCell;
use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Most that is read at once.
const SIZE: usize = 64 << 10;

thread_local! {
    /// What is read passes through here; nothing stays in it.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SIZE].into());
}

/// Gives memory for as long as something takes that does not wait.
pub(crate) fn scratch<T>(through: impl FnOnce(&mut [u8]) -> T) -> T {
    SCRATCH.with_borrow_mut(|bytes| through(bytes))
}

/// Reads what is there, so much at most, and has it looked at: nothing at all is the end. `None` when there is nothing yet.
fn read_with<T>(
    stream: &TcpStream,
    at_most: usize,
    look: impl FnOnce(&[u8]) -> io::Result<T>,
) -> Option<io::Result<T>> {
    scratch(|bytes| match read_whole(stream, &mut bytes[..at_most.min(SIZE)]) {
        Ok(read) => Some(look(&bytes[..read])),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        Err(error) => Some(Err(error)),
    })
}

/// Reads what is there. Where that is less than there is room for, it was all: another call would only say so.
fn read_whole(stream: &TcpStream, into: &mut [u8]) -> io::Result<usize> {
    let mut all = None;
    let read = stream.try_io(Interest::READABLE, || {
        let read = rustix::io::read(stream, &mut *into)?;
        if 0 < read && read < into.len() {
            all = Some(read);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(read)
    });
    all.map_or(read, Ok)
}

/// Reads what is there into the end of a buffer, if anything is.
pub(crate) fn read_at_once(socket: impl AsFd, bytes: &mut Vec<u8>) -> Option<io::Result<usize>> {
    scratch(|scratch| match recv(socket, &mut *scratch, RecvFlags::empty()) {
        Ok((read, _)) => {
            bytes.extend_from_slice(&scratch[..read]);
            Some(Ok(read))
        }
        Err(Errno::AGAIN) => None,
        Err(error) => Some(Err(error.into())),
    })
}

/// Reads what is there into the end of a buffer, once something is; 0 at the end.
pub(crate) async fn read_some(stream: &TcpStream, bytes: &mut Vec<u8>) -> io::Result<usize> {
    const AT_ONCE: usize = 4 << 10;
    loop {
        stream.readable().await?;
        bytes.reserve(AT_ONCE);
        match stream.try_read_buf(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            other => return other,
        }
    }
}

/// Writes all of it.
pub(crate) async fn write_all(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A stream as hyper takes one.
pub(crate) struct Io {
    pub(crate) stream: Arc<TcpStream>,
    /// Counts what is written as come from the client, and what is read as come from the server.
    meter: Option<Arc<Meter>>,
}

impl Io {
    /// A stream to somebody whose bytes are not counted.
    pub(crate) fn new(stream: Arc<TcpStream>) -> Io {
        Io { stream, meter: None }
    }

    /// A stream to a server.
    pub(crate) fn metered(stream: Arc<TcpStream>, meter: Arc<Meter>) -> Io {
        Io { stream, meter: Some(meter) }
    }

    fn count(&self, end: usize, bytes: usize) {
        if let Some(meter) = &self.meter {
            meter.add(end, bytes);
        }
    }
}

impl Read for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, mut into: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.stream.poll_read_ready(cx))?;
            let room = into.remaining();
            let take = |bytes: &[u8]| {
                into.put_slice(bytes);
                self.count(Meter::SERVER, bytes.len());
                Ok(())
            };
            if let Some(read) = read_with(&self.stream, room, take) {
                return Poll::Ready(read);
            }
        }
    }
}

impl Write for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            match self.stream.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(written) => {
                    self.count(Meter::CLIENT, written);
                    return Poll::Ready(Ok(written));
                }
                failed => return Poll::Ready(failed),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(shutdown_writing(&self.stream))
    }
}

/// Says that no more will be written.
pub(crate) fn shutdown_writing(stream: &TcpStream) -> io::Result<()> {
    rustix::net::shutdown(stream, rustix::net::Shutdown::Write).map_err(Into::into)
}
