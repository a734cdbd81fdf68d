//! Connections to other ports: for nobody by name, and nobody's business but where they go.

use crate::refusal::Refusal;
use crate::relay::relay;
use crate::sandbox::Shared;
use filter_core::Reason;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

/// Carries a connection to where it was sent, if the lists allow that.
pub(crate) async fn serve(
    client: &Arc<TcpStream>,
    to: SocketAddr,
    shared: &Arc<Shared>,
    unjudged: OwnedSemaphorePermit,
) -> Result<(), (Refusal, String)> {
    let unnamed = |refusal| (refusal, String::new());
    let policy = shared.policy();
    let target = policy.way(None, to).map_err(|reason| unnamed(Refusal::Denied(reason)))?;
    let (server, _place) = shared.dialler.dial(&target, to.port(), &policy.opened).await.map_err(unnamed)?;
    drop(unjudged);
    let server = Arc::new(server);
    let _admitted = shared
        .admit(&target, [client.clone(), server.clone()])
        .ok_or(unnamed(Refusal::Denied(Reason::AddressDenied)))?;
    relay(client, &server).await;
    Ok(())
}
