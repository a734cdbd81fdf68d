//! Real packets: sent at the far end of a sandbox's device, seen where the host sends them on.

use crate::SOON;
use anyhow::{Context, Result, ensure};
use etherparse::PacketBuilder;
use std::net::Ipv4Addr;
use test_packets::{Offload, RawSocket};
use test_world::{Node, Sniffer, poll};

/// One end where frames are put in, and one where those that pass come out, each a device of a namespace.
pub(crate) struct Way<'a> {
    pub(crate) enter: (&'a Node, &'a str),
    pub(crate) leave: (&'a Node, &'a str),
    /// From and to.
    pub(crate) macs: ([u8; 6], [u8; 6]),
}

/// Source and destination of a datagram.
pub(crate) type Pair = (Ipv4Addr, Ipv4Addr);

impl Way<'_> {
    /// Sends a datagram for each pair, those that must not pass first, and waits for the last: what was sent before it would have come
    /// out before it.
    pub(crate) fn lets_only_pass(&self, denied: &[Pair], allowed: Pair) -> Result<()> {
        let mut seen = self.send(&[denied, &[allowed]].concat())?;
        let came = |seen: &mut Sniffer, pair: &Pair| seen.count(|frame| is_of(frame, pair));
        poll(SOON, || came(&mut seen, &allowed).is_ok_and(|count| count > 0).then_some(()))
            .with_context(|| format!("{allowed:?} does not pass"))?;
        for pair in denied {
            ensure!(came(&mut seen, pair)? == 0, "{pair:?} passes, beside {allowed:?}");
        }
        ensure!(came(&mut seen, &allowed)? == 1, "{allowed:?} came twice");
        Ok(())
    }

    /// Sends one datagram.
    pub(crate) fn send_only(&self, pair: Pair) -> Result<()> {
        self.send(&[pair]).map(drop)
    }

    fn send(&self, pairs: &[Pair]) -> Result<Sniffer> {
        let seen = self.leave.0.sniff(self.leave.1)?;
        self.enter.0.within(|| {
            let mut socket = RawSocket::open(self.enter.1)?;
            pairs.iter().try_for_each(|pair| socket.send(&frame(self.macs, *pair)?, Offload::default()))
        })??;
        Ok(seen)
    }
}

fn frame((from, to): ([u8; 6], [u8; 6]), (source, destination): Pair) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let packet = PacketBuilder::ethernet2(from, to).ipv4(source.octets(), destination.octets(), 64).udp(4000, 4001);
    packet.write(&mut bytes, &[0; 18])?;
    Ok(bytes)
}

fn is_of(frame: &[u8], (source, destination): &Pair) -> bool {
    frame.get(12..14) == Some(&[8, 0])
        && frame.get(23) == Some(&17)
        && frame.get(26..30) == Some(&source.octets())
        && frame.get(30..34) == Some(&destination.octets())
}
