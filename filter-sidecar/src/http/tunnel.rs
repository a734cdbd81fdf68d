//! What comes behind an upgrade.

use super::gate::Gate;
use super::server::Server;
use crate::carried::Meter;
use crate::stream::{Io, write_all};
use crate::worker::{Pair, Workers};
use hyper::upgrade::OnUpgrade;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::sync::oneshot;

/// A connection that goes on as WebSocket: nothing in it is judged any more.
pub(super) struct Tunnel {
    pub(super) client: OnUpgrade,
    pub(super) ends: OnUpgrade,
    pub(super) server: Server,
}

impl Tunnel {
    /// Carries it to its end.
    pub(super) async fn carry(self, client: &Arc<TcpStream>, workers: &Workers) {
        let (Ok(front), Ok(back)) = (self.client.await, self.ends.await) else { return };
        let (Ok(front), Ok(back)) = (front.downcast::<Gate>(), back.downcast::<Io>()) else { return };
        let (server, meter) = (self.server.stream.clone(), self.server.admitted.meter());
        let due = front.io.into_rest().freeze();
        meter.add(Meter::CLIENT, front.read_buf.len() + due.len());
        let early = [(&server, front.read_buf), (&server, due), (client, back.read_buf)];
        for (to, bytes) in early {
            if write_all(to, &bytes).await.is_err() {
                return;
            }
        }
        let (lasting, lasts) = oneshot::channel::<()>();
        workers.carry(Pair::new([client.clone(), server], Vec::new(), meter, (self.server, lasting)));
        // Nothing is said: it ends.
        drop(lasts.await);
    }
}
