//! Last words. A socket that is closed with unread bytes is reset, and a reset overtakes what was written before it.

use crate::stream::{read_some, shutdown_writing, write_all};
use std::os::fd::OwnedFd;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a client may take to hear them and to close.
const PATIENCE: Duration = Duration::from_secs(1);
/// Most that it may go on sending.
const MOST: usize = 256 << 10;

/// Writes them, then waits for the client's end, within limits. Whether it hears of them is its own affair.
pub(crate) async fn say(client: OwnedFd, words: &[u8]) {
    let said = async {
        let client = TcpStream::from_std(client.into())?;
        write_all(&client, words).await?;
        shutdown_writing(&client)?;
        let (mut heard, mut bytes) = (0, Vec::new());
        while heard < MOST {
            bytes.clear();
            match read_some(&client, &mut bytes).await? {
                0 => break,
                more => heard += more,
            }
        }
        std::io::Result::Ok(())
    };
    drop(timeout(PATIENCE, said).await);
}
