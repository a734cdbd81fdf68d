//! A connection that a sandbox has opened.

use crate::refusal::Refusal;
use crate::sandbox::{Shared, cut};
use crate::{http, tls};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// How long to wait when there are no descriptors left.
const EXHAUSTED: Duration = Duration::from_millis(20);

/// Takes the connections of a listener.
pub(crate) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn(serve(Arc::new(stream), shared.clone()))),
                Err(error) => {
                    tracing::warn!(sandbox = shared.id, "a connection could not be taken: {error}");
                    tokio::time::sleep(EXHAUSTED).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: Arc<TcpStream>, shared: Arc<Shared>) {
    let Ok(to) = stream.local_addr() else { return };
    let outcome = match to.port() {
        tls::PORT if is_foreign(&to) => tls::serve(&stream, &shared).await,
        http::PORT if is_foreign(&to) => http::serve(stream.clone(), shared.clone()).await,
        // Nobody handed it over: somebody has connected to the listener itself.
        _ => Err((Refusal::Refused, String::new())),
    };
    match outcome {
        Err((Refusal::Refused, _)) => cut(&stream),
        Err((Refusal::Denied(reason), name)) => shared.denied(reason, to.port(), &name),
        _ => {}
    }
}

/// Whether a sandbox can have sent something there. The listener's own address is no such place.
fn is_foreign(to: &SocketAddr) -> bool {
    match to.ip() {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_unspecified(),
        IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unspecified(),
    }
}
