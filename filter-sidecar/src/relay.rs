//! Carries bytes both ways. A connection that is idle holds no buffer.

use crate::sandbox::cut;
use crate::stream::{self, shutdown_writing, write_all};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::net::TcpStream;
use tokio::task::coop::consume_budget;

/// Carries bytes until both sides have ended, or one is broken: then the other one hears of it by a reset.
pub(crate) async fn relay(client: &TcpStream, server: &TcpStream) {
    let one_ended = AtomicBool::new(false);
    if tokio::try_join!(carry(client, server, &one_ended), carry(server, client, &one_ended)).is_err() {
        cut(client);
        cut(server);
    }
}

/// Carries bytes one way until their end. The second end needs no word of its own: both sockets are closed then.
async fn carry(from: &TcpStream, to: &TcpStream, one_ended: &AtomicBool) -> io::Result<()> {
    loop {
        from.readable().await?;
        match pass_on(from, to)? {
            Passed::Everything => {}
            Passed::AllBut(rest) => write_all(to, &rest).await?,
            Passed::TheEnd if one_ended.swap(true, Ordering::Relaxed) => return Ok(()),
            Passed::TheEnd => return shutdown_writing(to),
        }
        // There may always be more: others have their turn.
        consume_budget().await;
    }
}

/// What of the bytes that were there has gone on.
enum Passed {
    /// All.
    Everything,
    /// All but these, for which there is no room.
    AllBut(Vec<u8>),
    /// There will be no more.
    TheEnd,
}

/// Passes on what is there, by way of memory that all connections of the thread share.
fn pass_on(from: &TcpStream, to: &TcpStream) -> io::Result<Passed> {
    stream::read_with(from, stream::SIZE, |bytes| {
        let mut rest = bytes;
        while !rest.is_empty() {
            match to.try_write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Passed::AllBut(rest.to_vec())),
                Err(error) => return Err(error),
            }
        }
        Ok(if bytes.is_empty() { Passed::TheEnd } else { Passed::Everything })
    })
    .unwrap_or(Ok(Passed::Everything))
}
