//! Who sees what reaches the internet.

use crate::server::Server;
use crate::target::Target;
use anyhow::{Result, ensure};
use std::cell::RefCell;
use std::net::{IpAddr, UdpSocket};
use std::time::Duration;
use test_world::internet::WEB_ELSEWHERE;
use test_world::{Node, Sniffer, wait_until};

/// How long what is to come may take.
const SOON: Duration = Duration::from_secs(5);

/// Watches the wire between host and internet for one attempt.
pub(crate) struct Witness<'a> {
    wire: Sniffer,
    host: &'a Node,
    server: &'a Server,
}

impl<'a> Witness<'a> {
    /// Begins to watch.
    pub(crate) fn new(host: &'a Node, server: &'a Server) -> Result<Witness<'a>> {
        server.forget();
        Ok(Witness { wire: host.sniff("up0")?, host, server })
    }

    /// Whether anything of the attempt has come by, once all that was sent until now has.
    pub(crate) fn has_seen(&mut self, target: &Target) -> Result<bool> {
        self.passes(target)?;
        self.sees(target)
    }

    /// Whether anything of the attempt comes by soon.
    pub(crate) fn will_see(&mut self, target: &Target) -> bool {
        wait_until(SOON, || self.sees(target).unwrap_or(false))
    }

    /// The first frame of an attempt that has come by, in hexadecimal: what to look at when something got through.
    pub(crate) fn evidence(&mut self, target: &Target) -> Result<String> {
        let first = RefCell::new(String::new());
        let (canary, denied) = (target.canary.as_bytes(), octets(target.denied));
        self.wire.count(|frame| {
            let holds = |words: &[u8]| frame.windows(words.len()).any(|window| window == words);
            let mut first = first.borrow_mut();
            if first.is_empty() && (holds(canary) || holds(&denied)) {
                *first = frame.iter().take(120).map(|byte| format!("{byte:02x}")).collect();
            }
            false
        })?;
        Ok(first.into_inner())
    }

    fn sees(&mut self, target: &Target) -> Result<bool> {
        let canary = target.canary.as_bytes();
        let carried = self.wire.count(|frame| frame.windows(canary.len()).any(|window| window == canary))?;
        Ok(carried > 0 || self.wire.count_to(target.denied)? > 0 || self.server.heard(canary))
    }

    /// Waits for a datagram of the host's own, which goes last.
    fn passes(&mut self, target: &Target) -> Result<()> {
        let last = format!("after-{}", target.canary.chars().rev().collect::<String>());
        let socket = self.host.within(|| UdpSocket::bind(("0.0.0.0", 0)))??;
        socket.send_to(last.as_bytes(), (WEB_ELSEWHERE, 9))?;
        let came = wait_until(SOON, || {
            self.wire
                .count(|frame| frame.windows(last.len()).any(|window| window == last.as_bytes()))
                .is_ok_and(|seen| seen > 0)
        });
        ensure!(came, "the witness does not see the host's own datagram");
        Ok(())
    }
}

/// An address as it is sent.
pub(crate) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(four) => four.octets().to_vec(),
        IpAddr::V6(six) => six.octets().to_vec(),
    }
}
