//! A connection that a sandbox has opened.

use crate::places::{Place, Unjudged};
use crate::sandbox::{Shared, cut};
use crate::worker::Task;
use crate::{http, opaque, tls};
use filter_core::Reason;
use rustix::net::getsockname;
use rustix::net::sockopt::set_tcp_quickack;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use tokio::net::TcpStream;

/// A connection, before it is judged.
pub(crate) struct Arrived {
    pub(crate) client: OwnedFd,
    /// Where the sandbox has sent it.
    pub(crate) to: SocketAddr,
    pub(crate) place: Place,
    pub(crate) unjudged: Unjudged,
    pub(crate) shared: Arc<Shared>,
}

/// What is to be done about each connection of a sandbox's.
pub(crate) fn taker(shared: Arc<Shared>) -> impl Fn(OwnedFd) -> Task + Send + Sync {
    move |client| Box::pin(take(client, shared.clone()))
}

/// Serves a connection, if the sandbox has room for it.
async fn take(client: OwnedFd, shared: Arc<Shared>) {
    let Some(to) = getsockname(&client).ok().and_then(|to| SocketAddr::try_from(to).ok()) else { return };
    let (Some(place), Some(unjudged)) = (shared.places.take(&client), shared.places.unjudged()) else {
        shared.denied(Reason::ConnectionLimit, to.port(), "");
        return cut(&client);
    };
    // The kernel may have let it in by a policy that is not in force here yet: it is not judged by an earlier one.
    shared.settled().await;
    let arrived = Arrived { client, to, place, unjudged, shared };
    match to.port() {
        tls::PORT if is_foreign(&to) => tls::serve(arrived).await,
        http::PORT if is_foreign(&to) => {
            in_pieces(&arrived.client);
            Box::pin(serve_http(arrived)).await;
        }
        _ if is_foreign(&to) => {
            in_pieces(&arrived.client);
            opaque::serve(arrived).await;
        }
        // Nobody handed it over: somebody has connected to the listener itself.
        _ => cut(&arrived.client),
    }
}

/// What a client says may come in pieces, each after the last one was acknowledged (Nagle's algorithm): that is done at once again.
fn in_pieces(client: &OwnedFd) {
    // A slower connection is no reason for none.
    set_tcp_quickack(client, true).ok();
}

async fn serve_http(arrived: Arrived) {
    let Arrived { client, to, place: _place, unjudged, shared } = arrived;
    let Ok(client) = TcpStream::from_std(client.into()) else { return };
    if let Some(reason) = http::serve(Arc::new(client), to, shared.clone(), unjudged).await {
        shared.denied(reason, to.port(), "");
    }
}

/// Whether a sandbox can have sent something there. The listener's own address is no such place.
fn is_foreign(to: &SocketAddr) -> bool {
    match to.ip() {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_unspecified(),
        IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unspecified(),
    }
}
