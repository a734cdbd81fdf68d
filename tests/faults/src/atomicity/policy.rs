//! The two policies that take turns, and what is sent under them.

use filter_policy::{Operator, Sandbox, compile};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use test_world::internet;

/// Allowed addresses that nobody sends to.
const ELSEWHERE: u8 = 200;

/// What a sandbox may reach, in turns: both deny all but one destination that is the policy's own, one that they share, and
/// some that are not asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Of odd generations.
    A,
    /// Of even generations.
    B,
}

/// Whose a destination is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Both policies allow it.
    Shared,
    /// Policy A allows it.
    OnlyA,
    /// Policy B allows it.
    OnlyB,
}

/// Datagrams to one destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Whose the destination is.
    pub kind: Kind,
    /// Its address.
    pub destination: IpAddr,
}

const SHARED: Stream = v4(Kind::Shared, internet::WEB);
const SHARED6: Stream = v6(Kind::Shared, internet::WEB6);
const ONLY_A: Stream = v4(Kind::OnlyA, internet::WEB_NEIGHBOUR);
const ONLY_A6: Stream = v6(Kind::OnlyA, internet::WEB6_NEIGHBOUR);
const ONLY_B: Stream = v4(Kind::OnlyB, internet::WEB_ELSEWHERE);
const ONLY_B6: Stream = v6(Kind::OnlyB, internet::CLOUDFLARE6);

/// All streams: each kind over both families.
pub const STREAMS: [Stream; 6] = [SHARED, SHARED6, ONLY_A, ONLY_A6, ONLY_B, ONLY_B6];

impl Policy {
    /// The policy of a generation.
    #[must_use]
    pub fn of(generation: u32) -> Policy {
        if generation % 2 == 1 { Policy::A } else { Policy::B }
    }

    /// Whether the policy's lists are meant to allow a destination.
    #[must_use]
    pub fn allows(self, kind: Kind) -> bool {
        match kind {
            Kind::Shared => true,
            Kind::OnlyA => self == Policy::A,
            Kind::OnlyB => self == Policy::B,
        }
    }

    /// The addresses of its allow list; all else is denied.
    pub fn allowed(self) -> impl Iterator<Item = IpAddr> {
        STREAMS.into_iter().filter(move |stream| self.allows(stream.kind)).map(|stream| stream.destination)
    }

    /// The `network` of a document. Its table is more than one page, and what the other policy has in a page of the same index answers
    /// otherwise.
    #[must_use]
    pub fn network(self) -> serde_json::Value {
        let first = if self == Policy::A { 11 } else { 223 };
        let others = (0..ELSEWHERE).map(|nth| Ipv4Addr::new(first, nth, 0, 1).into());
        serde_json::json!({ "denyOut": ["0.0.0.0/0"], "allowOut": self.allowed().chain(others).collect::<Vec<_>>() })
    }
}

/// A sandbox's policy as the kernel takes it.
pub(crate) fn compiled(sandbox: &Sandbox, generation: u32) -> filter_policy::Compiled {
    compile(&sandbox.policy, &Operator::default(), generation)
}

const fn v4(kind: Kind, destination: Ipv4Addr) -> Stream {
    Stream { kind, destination: IpAddr::V4(destination) }
}

const fn v6(kind: Kind, destination: Ipv6Addr) -> Stream {
    Stream { kind, destination: IpAddr::V6(destination) }
}
