//! TLS: the name is the SNI of the first `ClientHello`. What comes behind it is nobody's business here.

use crate::connection::Arrived;
use crate::dial::Dialled;
use crate::farewell;
use crate::hello::{HelloReader, Progress};
use crate::policy::Target;
use crate::refusal::Refusal;
use crate::sandbox::{Shared, cut};
use crate::stream::{read_at_once, read_some};
use crate::worker::{Pair, more_comes};
use filter_core::Reason;
use filter_policy::names::Name;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Where TLS is judged.
pub(crate) const PORT: u16 = 443;
/// How long a client may be silent where the lists allow its connection whatever it says.
const SILENCE: Duration = Duration::from_millis(300);
/// Most hellos come in a packet or two; who comes in more pieces than this is waited for with a limit of time.
const PIECES: usize = 4;
/// Descriptions of alerts (RFC 8446, section 6).
const ACCESS_DENIED: u8 = 49;
const INTERNAL_ERROR: u8 = 80;
const UNRECOGNIZED_NAME: u8 = 112;

/// Carries a connection to whom its `ClientHello` names. Who is refused is told by an alert, or by a reset where the server refuses the
/// connection.
pub(crate) async fn serve(arrived: Arrived) {
    let Arrived { client, to, place, unjudged, shared } = arrived;
    // Where the lists allow it anyway, a server may be the one who speaks first.
    let may_be_silent = shared.policy().lets_out(to.ip());
    let patience = if may_be_silent { SILENCE.min(shared.limits().patience()) } else { shared.limits().patience() };
    let mut bytes = Vec::new();
    let Ok((client, hello)) = hello(Arc::new(client), &mut bytes, patience).await else { return };
    drop(unjudged);
    let (refusal, name, client) = match dial(&shared, to, hello).await {
        Ok((target, name, server)) => {
            let socket = Arc::new(server.socket);
            match shared.admit(target, server.address, [client.clone(), socket.clone()]) {
                Some(admitted) => {
                    let meter = admitted.meter();
                    let pair = Pair::new([client, socket], bytes, meter, (admitted, place, server.place));
                    let alert = alert(INTERNAL_ERROR);
                    let pair = if server.is_connecting { pair.connecting(Some(alert)) } else { pair };
                    return shared.workers().carry(pair);
                }
                None => (Refusal::Denied(Reason::NameDenied), name, Arc::into_inner(client)),
            }
        }
        Err((refusal, name)) => (refusal, name, Arc::into_inner(client)),
    };
    let Some(client) = client else { return };
    let description = match refusal {
        Refusal::Denied(reason) => {
            shared.denied(reason, PORT, &name);
            ACCESS_DENIED
        }
        Refusal::NoAddress => UNRECOGNIZED_NAME,
        Refusal::Refused => return cut(&client),
        _ => INTERNAL_ERROR,
    };
    Box::pin(farewell::say(client, alert(description))).await;
}

/// A fatal alert in a record.
const fn alert(description: u8) -> &'static [u8] {
    match description {
        ACCESS_DENIED => &[21, 3, 3, 0, 2, 2, ACCESS_DENIED],
        UNRECOGNIZED_NAME => &[21, 3, 3, 0, 2, 2, UNRECOGNIZED_NAME],
        _ => &[21, 3, 3, 0, 2, 2, INTERNAL_ERROR],
    }
}

/// Dials where a policy lets a connection go that begins so; tells the name that it asks for as well.
async fn dial(
    shared: &Shared,
    to: SocketAddr,
    hello: Result<Option<String>, Reason>,
) -> Result<(Target, String, Dialled), (Refusal, String)> {
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
    let dialled = match way {
        Ok(target) => shared.dialler.dial(&target, PORT, &policy.opened, true).await.map(|server| (target, server)),
        Err(reason) => Err(Refusal::Denied(reason)),
    };
    match dialled {
        Ok((target, server)) => Ok((target, text, server)),
        Err(refusal) => Err((refusal, text)),
    }
}

/// Reads a hello, and what comes with it; tells the name that it asks for.
async fn hello(
    client: Arc<OwnedFd>,
    bytes: &mut Vec<u8>,
    patience: Duration,
) -> io::Result<(Arc<OwnedFd>, Result<Option<String>, Reason>)> {
    let mut reader = HelloReader::default();
    for _ in 0..PIECES {
        // All of it may be there already.
        match read_at_once(&client, bytes).map_or(Progress::More, |read| look(read, bytes, &mut reader)) {
            Progress::Hello { name } => return Ok((client, Ok(name))),
            Progress::Refused(reason) => return Ok((client, Err(reason))),
            Progress::More if more_comes(&client).await => {}
            Progress::More => break,
        }
    }
    let client = Arc::into_inner(client).ok_or(io::ErrorKind::ResourceBusy)?;
    let (client, hello) = Box::pin(rest(client, bytes, reader, patience)).await?;
    Ok((Arc::new(client), hello))
}

/// Waits for the rest of a hello.
async fn rest(
    client: OwnedFd,
    bytes: &mut Vec<u8>,
    mut reader: HelloReader,
    patience: Duration,
) -> io::Result<(OwnedFd, Result<Option<String>, Reason>)> {
    let client = TcpStream::from_std(client.into())?;
    let whole = async {
        loop {
            let read = read_some(&client, bytes).await;
            match look(read, bytes, &mut reader) {
                Progress::More => {}
                Progress::Hello { name } => return Ok(name),
                Progress::Refused(reason) => return Err(reason),
            }
        }
    };
    let hello = timeout(patience, whole).await.unwrap_or(Err(Reason::HelloTooLate));
    Ok((client.into_std()?.into(), hello))
}

/// Looks at what was read. A client that has ended will not say a hello.
fn look(read: io::Result<usize>, bytes: &[u8], reader: &mut HelloReader) -> Progress {
    match read {
        Ok(1..) => reader.look(bytes),
        Ok(0) | Err(_) => Progress::Refused(Reason::NotTls),
    }
}
