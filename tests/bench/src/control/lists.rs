//! The lists that policies are made of.

use crate::spread::Spread;
use filter_policy::{Compiled, Entry, Operator, Policy, compile};
use ipnet::{IpNet, Ipv4Net};

/// So many scattered prefixes.
pub(crate) fn prefixes(count: u32) -> Vec<IpNet> {
    if count == 0 { Vec::new() } else { Spread::new(count).prefixes().map(IpNet::from).collect() }
}

/// The policy `denyOut: 0.0.0.0/0`, `allowOut:` the prefixes.
pub(crate) fn policy(allowed: &[IpNet]) -> Policy {
    let entry = |value, index| Entry { value, text: String::new(), index };
    Policy {
        allow: allowed.iter().zip(0..).map(|(prefix, index)| entry(*prefix, index)).collect(),
        deny: vec![entry(Ipv4Net::default().into(), 0)],
        ..Policy::default()
    }
}

/// That policy of so many scattered prefixes, compiled.
pub(crate) fn compiled(count: u32, generation: u32) -> Compiled {
    compile(&policy(&prefixes(count)), &Operator::default(), generation)
}
