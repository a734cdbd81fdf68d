//! What the model says of each stream under each policy.

use super::policy::{Policy, STREAMS};
use anyhow::{Context, Result};
use etherparse::PacketBuilder;
use ipnet::IpNet;
use std::net::IpAddr;
use test_model::{Host, Outcome};

/// The model's answers for a sandbox.
pub(crate) struct Expected {
    a: [Outcome; STREAMS.len()],
    b: [Outcome; STREAMS.len()],
}

impl Expected {
    /// Asks the model about a datagram of each stream.
    pub(crate) fn of(sandbox: &test_world::Sandbox) -> Result<Expected> {
        Ok(Expected { a: answers(sandbox, Policy::A)?, b: answers(sandbox, Policy::B)? })
    }

    /// What becomes of a stream's datagrams under a generation.
    pub(crate) fn answer(&self, generation: u32, stream: usize) -> Outcome {
        match Policy::of(generation) {
            Policy::A => self.a[stream],
            Policy::B => self.b[stream],
        }
    }

    #[cfg(test)]
    pub(crate) fn made(a: [Outcome; STREAMS.len()], b: [Outcome; STREAMS.len()]) -> Expected {
        Expected { a, b }
    }
}

fn answers(sandbox: &test_world::Sandbox, policy: Policy) -> Result<[Outcome; STREAMS.len()]> {
    let all = |address: IpAddr| IpNet::from(address);
    let meaning = test_model::Sandbox {
        addresses: vec![all(sandbox.v4.into()), all(sandbox.v6.into())],
        gateway_mac: mac(&sandbox.gateway_mac)?,
        allow: policy.allowed().map(all).collect(),
        deny: vec!["0.0.0.0/0".parse()?, "::/0".parse()?],
        ..test_model::Sandbox::default()
    };
    let mut answers = [Outcome::of(0); STREAMS.len()];
    for (answer, stream) in answers.iter_mut().zip(STREAMS) {
        let link = PacketBuilder::ethernet2(mac(&sandbox.mac)?, mac(&sandbox.gateway_mac)?);
        let network = match stream.destination {
            IpAddr::V4(to) => link.ipv4(sandbox.v4.octets(), to.octets(), 64),
            IpAddr::V6(to) => link.ipv6(sandbox.v6.octets(), to.octets(), 64),
        };
        let mut frame = Vec::new();
        network.udp(super::FIRST_PORT, super::FIRST_PORT).write(&mut frame, &[0; super::payload::LENGTH])?;
        *answer = test_model::from_sandbox(&meaning, &Host::default(), &frame);
    }
    Ok(answers)
}

/// The bytes of a MAC address as it is written.
pub(crate) fn mac(text: &str) -> Result<[u8; 6]> {
    let bytes: Vec<u8> =
        text.split(':').map(|byte| u8::from_str_radix(byte, 16)).collect::<Result<_, _>>().context(text.to_owned())?;
    bytes.try_into().map_err(|_| anyhow::anyhow!("not a MAC address: {text}"))
}
