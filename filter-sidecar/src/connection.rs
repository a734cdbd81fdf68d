//! A connection that a sandbox has opened.

use crate::refusal::Refusal;
use crate::sandbox::{Shared, cut};
use crate::{http, opaque, tls};
use filter_core::Reason;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;

/// How long to wait when there are no descriptors left.
const EXHAUSTED: Duration = Duration::from_millis(20);

/// Takes the connections of a listener.
pub(crate) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    let mut told = false;
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    told = false;
                    connections.spawn(take(Arc::new(stream), shared.clone()));
                }
                Err(error) => {
                    // Once, however long it lasts.
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!(sandbox = shared.id, "connections cannot be taken: {error}");
                    }
                    tokio::time::sleep(EXHAUSTED).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Serves a connection, if the sandbox has room for it.
async fn take(stream: Arc<TcpStream>, shared: Arc<Shared>) {
    let Ok(to) = stream.local_addr() else { return };
    let (place, unjudged) = (shared.places.take(&stream), shared.places.unjudged());
    let outcome = match (place, unjudged) {
        (Some(_place), Some(unjudged)) => serve(&stream, to, &shared, unjudged).await,
        _ => {
            shared.denied(Reason::ConnectionLimit, to.port(), "");
            Err((Refusal::Refused, String::new()))
        }
    };
    match outcome {
        Err((Refusal::Refused, _)) => cut(&stream),
        Err((Refusal::Denied(reason), name)) => shared.denied(reason, to.port(), &name),
        _ => {}
    }
}

async fn serve(
    stream: &Arc<TcpStream>,
    to: SocketAddr,
    shared: &Arc<Shared>,
    unjudged: OwnedSemaphorePermit,
) -> Result<(), (Refusal, String)> {
    // The kernel may have let it in by a policy that is not in force here yet: it is not judged by an earlier one.
    shared.settled().await;
    // What is sent on is whole already.
    drop(stream.set_nodelay(true));
    match to.port() {
        tls::PORT if is_foreign(&to) => tls::serve(stream, to, shared, unjudged).await,
        http::PORT if is_foreign(&to) => Box::pin(http::serve(stream.clone(), to, shared.clone(), unjudged)).await,
        _ if is_foreign(&to) => opaque::serve(stream, to, shared, unjudged).await,
        // Nobody handed it over: somebody has connected to the listener itself.
        _ => Err((Refusal::Refused, String::new())),
    }
}

/// Whether a sandbox can have sent something there. The listener's own address is no such place.
fn is_foreign(to: &SocketAddr) -> bool {
    match to.ip() {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_unspecified(),
        IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unspecified(),
    }
}
