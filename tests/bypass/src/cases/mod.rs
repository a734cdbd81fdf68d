//! All attacks, one in a file.

mod control;
mod dns;
mod hostile;
mod http;
mod packets;
mod sockets;
mod tls;

use crate::case::{Case, Class};

pub(crate) use control::CONTROLS;

/// The attacks, by class.
const CLASSES: [(Class, &[Case]); 6] = [
    (Class::Packets, packets::CASES),
    (Class::Sockets, sockets::CASES),
    (Class::Dns, dns::CASES),
    (Class::Tls, tls::CASES),
    (Class::Http, http::CASES),
    (Class::Hostile, hostile::CASES),
];

/// All attacks.
pub fn all() -> impl Iterator<Item = (Class, &'static Case)> {
    CLASSES.iter().flat_map(|(class, cases)| cases.iter().map(|case| (*class, case)))
}

/// A case by its name, and what is no attack as well.
pub(crate) fn named(name: &str) -> Option<&'static Case> {
    all().map(|(_, case)| case).chain(CONTROLS).find(|case| case.name == name)
}
