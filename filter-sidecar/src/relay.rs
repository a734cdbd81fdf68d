//! Carries bytes both ways. A connection that is idle holds no buffer.

use crate::sandbox::cut;
use crate::stream::{shutdown_writing, write_all};
use std::io;
use tokio::net::TcpStream;

/// Most that is read at once.
const AT_ONCE: usize = 64 << 10;

/// Carries bytes until both sides have ended, or one is broken: then the other one hears of it by a reset.
pub(crate) async fn relay(client: &TcpStream, server: &TcpStream) {
    if tokio::try_join!(carry(client, server), carry(server, client)).is_err() {
        cut(client);
        cut(server);
    }
}

/// Carries bytes one way until their end.
async fn carry(from: &TcpStream, to: &TcpStream) -> io::Result<()> {
    loop {
        from.readable().await?;
        let mut bytes = Vec::with_capacity(AT_ONCE);
        match from.try_read_buf(&mut bytes) {
            Ok(0) => return shutdown_writing(to),
            Ok(_) => write_all(to, &bytes).await?,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}
