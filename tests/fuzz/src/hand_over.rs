//! What the daemon and the sidecar say to each other.

use filter_sidecar::protocol::{Order, Word, receive, send};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

/// Bytes that a socket's buffer takes without a reader.
const MOST: usize = 32 << 10;

/// The bytes as a stream of messages, and as the text of one.
pub fn hand_over(data: &[u8]) {
    if data.len() > MOST {
        return;
    }
    let (mut one, other) = UnixStream::pair().expect("a pair of sockets");
    one.write_all(data).and_then(|()| one.shutdown(Shutdown::Write)).expect("the buffer takes it");
    while let Ok(Some((order, descriptors))) = receive::<Order>(&other) {
        assert!(descriptors.is_empty());
        arrives(&order);
    }
    if let Ok(order) = serde_json::from_slice::<Order>(data) {
        arrives(&order);
    }
    if let Ok(word) = serde_json::from_slice::<Word>(data) {
        arrives(&word);
    }
}

/// What can be said arrives as it was, and nothing behind it.
fn arrives<M: Serialize + DeserializeOwned + PartialEq + Debug>(message: &M) {
    let (one, other) = UnixStream::pair().expect("a pair of sockets");
    send(&one, message, &[]).expect("the buffer takes it");
    drop(one);
    let (arrived, _) = receive::<M>(&other).expect("a message").expect("one of them");
    assert_eq!(&arrived, message);
    assert!(receive::<M>(&other).expect("an end").is_none());
}
