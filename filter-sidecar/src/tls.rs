//! TLS: the name is the SNI of the first `ClientHello`. What comes behind it is nobody's business here.

use crate::farewell;
use crate::hello::{HelloReader, Progress};
use crate::refusal::Refusal;
use crate::relay::relay;
use crate::sandbox::{Shared, cut};
use crate::stream::{read_some, write_all};
use filter_core::Reason;
use filter_policy::names::Name;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

/// Where TLS is judged.
pub(crate) const PORT: u16 = 443;
/// Descriptions of alerts (RFC 8446, section 6).
const ACCESS_DENIED: u8 = 49;
const INTERNAL_ERROR: u8 = 80;
const UNRECOGNIZED_NAME: u8 = 112;

/// Carries a connection to whom its `ClientHello` names. Who is refused is told by an alert; what is left to the caller is a server that
/// refuses the connection.
pub(crate) async fn serve(
    client: &Arc<TcpStream>,
    shared: &Arc<Shared>,
    unjudged: OwnedSemaphorePermit,
) -> Result<(), (Refusal, String)> {
    let Err((refusal, name)) = judge(client, shared, unjudged).await else { return Ok(()) };
    let description = match refusal {
        Refusal::Denied(reason) => {
            shared.denied(reason, PORT, &name);
            ACCESS_DENIED
        }
        Refusal::NoAddress => UNRECOGNIZED_NAME,
        Refusal::Refused => return Err((refusal, name)),
        _ => INTERNAL_ERROR,
    };
    // A fatal alert in a record.
    farewell::say(client, &[21, 3, 3, 0, 2, 2, description]).await;
    Ok(())
}

async fn judge(
    client: &Arc<TcpStream>,
    shared: &Arc<Shared>,
    unjudged: OwnedSemaphorePermit,
) -> Result<(), (Refusal, String)> {
    let unnamed = |reason| (Refusal::Denied(reason), String::new());
    let hello = timeout(shared.limits().patience(), hello(client))
        .await
        .unwrap_or(Err(Reason::HelloTooLate))
        .map_err(unnamed)?;
    drop(unjudged);
    let text = hello.name.ok_or(unnamed(Reason::NoName))?;
    let name = Name::parse(&text).map_err(|_| (Refusal::Denied(Reason::NoName), text.clone()))?;
    let policy = shared.policy();
    if !policy.allows(&name) {
        return Err((Refusal::Denied(Reason::NameDenied), text));
    }
    let named = |refusal| (refusal, text.clone());
    let (server, _place) = shared.dialler.dial(&name, PORT, &policy.opened).await.map_err(named)?;
    let server = Arc::new(server);
    let _admitted = shared
        .admit(&name, [client.clone(), server.clone()])
        .ok_or_else(|| named(Refusal::Denied(Reason::NameDenied)))?;
    let said = write_all(&server, &hello.bytes).await;
    // An idle connection holds no buffer.
    drop(hello.bytes);
    match said {
        Ok(()) => relay(client, &server).await,
        Err(_) => cut(client),
    }
    Ok(())
}

/// What a client said first.
struct Hello {
    /// All of it, and what came with it.
    bytes: Vec<u8>,
    /// The name that it asks for.
    name: Option<String>,
}

async fn hello(client: &TcpStream) -> Result<Hello, Reason> {
    let (mut reader, mut bytes) = (HelloReader::default(), Vec::new());
    loop {
        if read_some(client, &mut bytes).await.map_err(|_| Reason::NotTls)? == 0 {
            return Err(Reason::NotTls);
        }
        match reader.look(&bytes) {
            Progress::More => {}
            Progress::Hello { name } => return Ok(Hello { bytes, name }),
            Progress::Refused(reason) => return Err(reason),
        }
    }
}
