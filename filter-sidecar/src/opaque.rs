//! Connections to other ports: for nobody by name, and nobody's business but where they go.

use crate::connection::Arrived;
use crate::refusal::Refusal;
use crate::sandbox::cut;
use crate::worker::Pair;
use filter_core::Reason;
use std::sync::Arc;

/// Carries a connection to where it was sent, if the lists allow that.
pub(crate) async fn serve(arrived: Arrived) {
    let Arrived { client, to, place, unjudged, shared } = arrived;
    let policy = shared.policy();
    let dialled = match policy.way(None, to) {
        Ok(target) => {
            shared.dialler.dial(&target, to.port(), &policy.opened, false).await.map(|server| (target, server))
        }
        Err(reason) => Err(Refusal::Denied(reason)),
    };
    drop(unjudged);
    let (target, server) = match dialled {
        Ok(dialled) => dialled,
        Err(Refusal::Denied(reason)) => return shared.denied(reason, to.port(), ""),
        Err(_) => return cut(&client),
    };
    let (client, socket) = (Arc::new(client), Arc::new(server.socket));
    match shared.admit(target, server.address, [client.clone(), socket.clone()]) {
        Some(admitted) => {
            let meter = admitted.meter();
            let pair = Pair::new([client, socket], Vec::new(), meter, (admitted, place, server.place));
            shared.workers().carry(pair.connecting(None));
        }
        None => shared.denied(Reason::AddressDenied, to.port(), ""),
    }
}
