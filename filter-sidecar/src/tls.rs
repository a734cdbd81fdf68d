//! TLS: the name is the SNI of the first `ClientHello`. What comes behind it is nobody's business here.

use crate::farewell;
use crate::hello::{HelloReader, Progress};
use crate::refusal::Refusal;
use crate::relay::relay;
use crate::sandbox::{Shared, cut};
use crate::stream::{read_some, write_all};
use filter_core::Reason;
use filter_policy::names::Name;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

/// Where TLS is judged.
pub(crate) const PORT: u16 = 443;
/// How long a client may be silent where the lists allow its connection whatever it says.
const SILENCE: Duration = Duration::from_millis(300);
/// Descriptions of alerts (RFC 8446, section 6).
const ACCESS_DENIED: u8 = 49;
const INTERNAL_ERROR: u8 = 80;
const UNRECOGNIZED_NAME: u8 = 112;

/// Carries a connection to whom its `ClientHello` names. Who is refused is told by an alert; what is left to the caller is a server that
/// refuses the connection.
pub(crate) async fn serve(
    client: &Arc<TcpStream>,
    to: SocketAddr,
    shared: &Arc<Shared>,
    unjudged: OwnedSemaphorePermit,
) -> Result<(), (Refusal, String)> {
    let Err((refusal, name)) = judge(client, to, shared, unjudged).await else { return Ok(()) };
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
    to: SocketAddr,
    shared: &Arc<Shared>,
    unjudged: OwnedSemaphorePermit,
) -> Result<(), (Refusal, String)> {
    // Where the lists allow it anyway, a server may be the one who speaks first.
    let may_be_silent = shared.policy().lets_out(to.ip());
    let patience = if may_be_silent { SILENCE.min(shared.limits().patience()) } else { shared.limits().patience() };
    let mut bytes = Vec::new();
    let hello = timeout(patience, hello(client, &mut bytes)).await.unwrap_or(Err(Reason::HelloTooLate));
    drop(unjudged);
    let policy = shared.policy();
    let (text, way) = match hello {
        Ok(Some(text)) => match Name::parse(&text) {
            Ok(name) => (text, policy.way(Some(&name), to)),
            Err(_) => (text, policy.way(None, to)),
        },
        Ok(None) => (String::new(), policy.way(None, to)),
        // It is no hello, and so for nobody.
        Err(reason) => {
            (String::new(), policy.way(None, to).map_err(|no| if no == Reason::NoName { reason } else { no }))
        }
    };
    let named = |refusal| (refusal, text.clone());
    let target = way.map_err(|reason| named(Refusal::Denied(reason)))?;
    let (server, _place) = shared.dialler.dial(&target, PORT, &policy.opened).await.map_err(named)?;
    let server = Arc::new(server);
    let _admitted = shared
        .admit(&target, [client.clone(), server.clone()])
        .ok_or_else(|| named(Refusal::Denied(Reason::NameDenied)))?;
    let said = write_all(&server, &bytes).await;
    // An idle connection holds no buffer.
    drop(bytes);
    match said {
        Ok(()) => relay(client, &server).await,
        Err(_) => cut(client),
    }
    Ok(())
}

/// Reads a hello, and what comes with it; tells the name that it asks for.
async fn hello(client: &TcpStream, bytes: &mut Vec<u8>) -> Result<Option<String>, Reason> {
    let mut reader = HelloReader::default();
    loop {
        if read_some(client, bytes).await.map_err(|_| Reason::NotTls)? == 0 {
            return Err(Reason::NotTls);
        }
        match reader.look(bytes) {
            Progress::More => {}
            Progress::Hello { name } => return Ok(name),
            Progress::Refused(reason) => return Err(reason),
        }
    }
}
