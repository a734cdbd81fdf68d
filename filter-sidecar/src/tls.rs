//! TLS: the name is the SNI of the first `ClientHello`. What comes behind it is nobody's business here.

use crate::refusal::Refusal;
use crate::relay::relay;
use crate::sandbox::Shared;
use crate::stream::{read_some, write_all};
use filter_core::Reason;
use filter_policy::names::Name;
use rustls::server::Acceptor;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Where TLS is judged.
pub(crate) const PORT: u16 = 443;
/// Longest `ClientHello` that is read, records and all.
const MAX_HELLO: usize = 64 << 10;
/// How long a client may take for it.
const PATIENCE: Duration = Duration::from_secs(10);
/// Descriptions of alerts (RFC 8446, section 6).
const ACCESS_DENIED: u8 = 49;
const UNRECOGNIZED_NAME: u8 = 112;

/// Carries a connection to whom its `ClientHello` names.
pub(crate) async fn serve(client: &Arc<TcpStream>, shared: &Arc<Shared>) -> Result<(), (Refusal, String)> {
    let served = judge(client, shared).await;
    let description = match &served {
        Err((Refusal::NoAddress, _)) => UNRECOGNIZED_NAME,
        Err((Refusal::Denied(_), _)) => ACCESS_DENIED,
        _ => return served,
    };
    // A fatal alert in a record. Whether the client hears of it is its own affair.
    drop(write_all(client, &[21, 3, 3, 0, 2, 2, description]).await);
    served
}

async fn judge(client: &Arc<TcpStream>, shared: &Arc<Shared>) -> Result<(), (Refusal, String)> {
    let unnamed = |refusal| (refusal, String::new());
    let hello = timeout(PATIENCE, hello(client))
        .await
        .unwrap_or(Err(Refusal::Denied(Reason::HelloTooLate)))
        .map_err(unnamed)?;
    let text = hello.name.ok_or(unnamed(Refusal::Denied(Reason::NoName)))?;
    let name = Name::parse(&text).map_err(|_| (Refusal::Denied(Reason::NoName), text.clone()))?;
    let policy = shared.policy();
    if !policy.allows(&name) {
        return Err((Refusal::Denied(Reason::NameDenied), text));
    }
    let named = |refusal| (refusal, text.clone());
    let server = shared.dialler.dial(&name, PORT, &policy.opened).await.map_err(named)?;
    let server = Arc::new(server);
    let _admitted = shared
        .admit(&name, [client.clone(), server.clone()])
        .ok_or_else(|| named(Refusal::Denied(Reason::NameDenied)))?;
    if write_all(&server, &hello.bytes).await.is_ok() {
        relay(client, &server).await;
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

async fn hello(client: &TcpStream) -> Result<Hello, Refusal> {
    let mut acceptor = Acceptor::default();
    let mut bytes = Vec::new();
    loop {
        let begin = bytes.len();
        if begin > MAX_HELLO {
            return Err(Refusal::Denied(Reason::HelloTooLong));
        }
        if read_some(client, &mut bytes).await.map_err(|_| Refusal::Denied(Reason::NotTls))? == 0 {
            return Err(Refusal::Denied(Reason::NotTls));
        }
        let mut unread = &bytes[begin..];
        while !unread.is_empty() {
            acceptor.read_tls(&mut unread).map_err(|_| Refusal::Denied(Reason::NotTls))?;
            match acceptor.accept() {
                Ok(Some(accepted)) => {
                    let name = accepted.client_hello().server_name().map(str::to_owned);
                    return Ok(Hello { bytes, name });
                }
                Ok(None) => {}
                Err(_) => return Err(Refusal::Denied(Reason::NotTls)),
            }
        }
    }
}
