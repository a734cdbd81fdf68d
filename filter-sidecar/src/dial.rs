//! Dials names: resolved here, whatever address the sandbox chose, and never into a protected range.

use crate::places::{Place, Places};
use crate::policy::Target;
use crate::refusal::Refusal;
use crate::resolve::{Found, Names};
use crate::sources::{Sources, connected};
use crate::worker::PATIENCE;
use filter_core::{Address, Reason, protected};
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Between the first attempts to connect (RFC 8305, section 5).
const STAGGER: Duration = Duration::from_millis(250);
/// Most addresses of a name that are tried.
const MOST_ADDRESSES: usize = 8;

/// A connection to a server.
pub(crate) struct Dialled {
    pub(crate) socket: OwnedFd,
    /// The server's address.
    pub(crate) address: SocketAddr,
    /// Whether it is still being made.
    pub(crate) is_connecting: bool,
    pub(crate) place: Place,
}

/// Resolves and connects, for one sandbox.
pub(crate) struct Dialler {
    names: Arc<Names>,
    places: Arc<Places>,
    sources: Arc<Sources>,
}

impl Dialler {
    pub(crate) fn new(names: Arc<Names>, places: Arc<Places>, sources: Arc<Sources>) -> Dialler {
        Dialler { names, places, sources }
    }

    /// Connects to where a connection goes. A name is dialled at a port. `says_first` tells that there is something to say to the server at once.
    pub(crate) async fn dial(
        &self,
        target: &Target,
        port: u16,
        opened: &[IpNet],
        says_first: bool,
    ) -> Result<Dialled, Refusal> {
        let mut addresses = match target {
            Target::Address(to) => vec![to.ip()],
            Target::Name(name) => match self.names.find(name).await {
                Found::Addresses(addresses) => addresses,
                Found::Nothing => return Err(Refusal::NoAddress),
                Found::NoAnswer => return Err(Refusal::NoResolver),
            },
        };
        addresses.retain(|address| may_dial(*address, opened));
        let (socket, address) = match *addresses {
            [] => return Err(Refusal::Denied(Reason::ProtectedName)),
            [address] => {
                let begun = self.sources.connect((address, port).into(), says_first);
                (begun.map_err(|error| Refusal::of_server(&error))?, address)
            }
            _ => {
                let race = Box::pin(race(in_turns(&addresses), port, &self.sources));
                timeout(PATIENCE, race).await.unwrap_or(Err(Refusal::Unreachable))?
            }
        };
        let place = self.places.take(&socket).ok_or(Refusal::Denied(Reason::ConnectionLimit))?;
        Ok(Dialled { socket, address: (address, port).into(), is_connecting: addresses.len() == 1, place })
    }
}

/// Whether an address may be dialled: it is not protected, nor what it embeds, or the operator has opened it.
fn may_dial(address: IpAddr, opened: &[IpNet]) -> bool {
    let is_mapped = matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
    let is_free = |address: &Address| {
        !protected::covers(address) || opened.iter().any(|range| range.contains(&IpAddr::from(*address)))
    };
    let address = Address::from(address);
    let inside = protected::embedded(&address);
    let inside = inside.iter().flatten().map(|v4| Address::v4(v4.to_be_bytes()));
    !is_mapped && is_free(&address) && inside.into_iter().all(|address| is_free(&address))
}

/// The families by turns, IPv6 first (RFC 8305, section 4).
fn in_turns(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let mut v6 = addresses.iter().filter(|address| address.is_ipv6());
    let mut v4 = addresses.iter().filter(|address| address.is_ipv4());
    let mut turns = Vec::with_capacity(addresses.len());
    while turns.len() < addresses.len() {
        turns.extend(v6.next());
        turns.extend(v4.next());
    }
    turns.truncate(MOST_ADDRESSES);
    turns
}

/// Connects to the first that answers; the next one is tried when the last has failed or takes its time. The kernel refuses what is protected
/// besides the fixed ranges.
async fn race(addresses: Vec<IpAddr>, port: u16, sources: &Arc<Sources>) -> Result<(OwnedFd, IpAddr), Refusal> {
    let mut waiting = addresses.into_iter();
    let mut attempts = JoinSet::new();
    let mut refused = Refusal::Unreachable;
    loop {
        match waiting.next() {
            Some(address) => {
                let sources = sources.clone();
                attempts.spawn(async move {
                    let stream = TcpStream::from_std(sources.connect((address, port).into(), false)?.into())?;
                    connected(&stream).await?;
                    Ok((stream.into_std()?.into(), address))
                });
            }
            None if attempts.is_empty() => return Err(refused),
            None => {}
        }
        let more = !waiting.as_slice().is_empty();
        tokio::select! {
            Some(attempt) = attempts.join_next() => match attempt {
                Ok(Ok(made)) => return Ok(made),
                // What says most is told.
                Ok(Err(error)) => {
                    let refusal = Refusal::of_server(&error);
                    if refused == Refusal::Unreachable || refusal == Refusal::Refused {
                        refused = refusal;
                    }
                }
                _ => {}
            },
            () = sleep(STAGGER), if more => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protected_addresses_are_not_dialled_unless_they_are_opened() {
        let opened = ["10.1.0.0/16".parse().unwrap(), "fd00:1::/32".parse().unwrap()];
        for (address, free) in [
            ("203.0.113.10", true),
            ("127.0.0.1", false),
            ("0.0.0.0", false),
            ("169.254.169.254", false),
            ("10.0.0.1", false),
            ("10.1.2.3", true),
            ("::1", false),
            ("::ffff:203.0.113.10", false),
            ("::ffff:10.0.0.1", false),
            ("64:ff9b::10.0.0.1", false),
            ("64:ff9b::10.1.0.1", true),
            ("2002:a00:1::", false),
            ("2001:db8:10::10", true),
            ("fd00:1::1", true),
            ("fd00:2::1", false),
        ] {
            assert_eq!(may_dial(address.parse().unwrap(), &opened), free, "{address}");
        }
    }

    #[test]
    fn families_take_turns() {
        let all: Vec<IpAddr> =
            ["1.0.0.1", "1.0.0.2", "1.0.0.3", "2600::1"].iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(in_turns(&all), [all[3], all[0], all[1], all[2]]);
    }
}
