//! The connection to the server of a name.

use crate::places::Place;
use crate::policy::{Policy, Target};
use crate::refusal::Refusal;
use crate::sandbox::{Admitted, Shared};
use crate::sources::connected;
use crate::stream::Io;
use crate::worker::PATIENCE;
use filter_core::Reason;
use http_body_util::{Either, Empty};
use hyper::Request;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Builder, SendRequest};
use std::io;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// What is sent with a request.
pub(super) type Upload = Either<Incoming, Empty<Bytes>>;

/// A connection to a server, under one policy. It ends with this.
pub(super) struct Server {
    pub(super) stream: Arc<TcpStream>,
    requests: SendRequest<Upload>,
    target: Target,
    generation: u32,
    _connection: JoinSet<()>,
    pub(super) admitted: Admitted,
    _place: Place,
}

impl Server {
    /// Dials where `policy` lets a request go.
    pub(super) async fn dial(
        client: &Arc<TcpStream>,
        shared: &Arc<Shared>,
        target: &Target,
        policy: &Policy,
    ) -> Result<Server, Refusal> {
        let server = shared.dialler.dial(target, super::PORT, &policy.opened, false).await?;
        let stream = TcpStream::from_std(server.socket.into()).map_err(|_| Refusal::Unreachable)?;
        let stream = Arc::new(stream);
        let admitted = shared.admit(target.clone(), server.address, [client.clone(), stream.clone()]);
        let admitted = admitted.ok_or(Refusal::Denied(Reason::NameDenied))?;
        let made = timeout(PATIENCE, connected(&stream)).await.unwrap_or(Err(io::ErrorKind::TimedOut.into()));
        made.map_err(|error| Refusal::of_server(&error))?;
        let io = Io::metered(stream.clone(), admitted.meter());
        let (requests, connection) =
            Builder::new().preserve_header_case(true).handshake(io).await.map_err(|_| Refusal::Unreachable)?;
        let mut connections = JoinSet::new();
        connections.spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!("a server: {error}");
            }
        });
        let (target, generation) = (target.clone(), policy.generation);
        Ok(Server { stream, requests, target, generation, _connection: connections, admitted, _place: server.place })
    }

    /// Whether a request that goes to `target` under `policy` may be sent here.
    pub(super) fn is_for(&self, target: &Target, policy: &Policy) -> bool {
        self.target == *target && self.generation == policy.generation && !self.requests.is_closed()
    }

    /// Sends a request, and waits for the head of its answer. What was not sent comes back.
    pub(super) async fn ask(
        &mut self,
        request: Request<Upload>,
    ) -> Result<hyper::Response<Incoming>, TrySendError<Request<Upload>>> {
        // A connection that has ended says so by giving the request back.
        drop(self.requests.ready().await);
        self.requests.try_send_request(request).await
    }
}
