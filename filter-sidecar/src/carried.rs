//! What connections carry, and the word about each that has ended.

use crate::policy::Target;
use crate::protocol::Carried;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

/// Bytes that a connection has carried from each of its ends: the client's, and the server's.
#[derive(Debug, Default)]
pub(crate) struct Meter([AtomicU64; 2]);

impl Meter {
    pub(crate) const CLIENT: usize = 0;
    pub(crate) const SERVER: usize = 1;

    /// So many bytes have come from an end, and were passed on.
    pub(crate) fn add(&self, end: usize, bytes: usize) {
        self.0[end].fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn read(&self, end: usize) -> u64 {
        self.0[end].load(Ordering::Relaxed)
    }
}

/// Whether connections are told when they have ended, and how many could not be.
#[derive(Debug, Default)]
pub(crate) struct Telling {
    is_on: AtomicBool,
    lost: AtomicU64,
}

impl Telling {
    pub(crate) fn new(is_on: bool) -> Telling {
        Telling { is_on: is_on.into(), lost: AtomicU64::default() }
    }

    /// From now on they are, or are not.
    pub(crate) fn set(&self, is_on: bool) {
        self.is_on.store(is_on, Ordering::Relaxed);
    }

    /// Has a connection told that ends now, if it is to be. With it goes how many were not told before, for want of room.
    pub(crate) fn tell(&self, connection: impl FnOnce(u64) -> Carried, tell: impl FnOnce(Carried) -> bool) {
        if !self.is_on.load(Ordering::Relaxed) {
            return;
        }
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if !tell(connection(lost)) {
            self.lost.fetch_add(lost + 1, Ordering::Relaxed);
        }
    }
}

/// What is to be told of a connection, besides what it has carried.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) server: SocketAddr,
    pub(crate) generation: u32,
    at: Instant,
}

impl Begun {
    /// A connection to a server that was let in by a generation, now.
    pub(crate) fn now(server: SocketAddr, generation: u32) -> Begun {
        Begun { server, generation, at: Instant::now() }
    }

    /// What is told of it when it ends now.
    pub(crate) fn ended(&self, id: &str, target: &Target, meter: &Meter, lost: u64) -> Carried {
        let lasted = self.at.elapsed();
        let began =
            SystemTime::now().checked_sub(lasted).and_then(|began| began.duration_since(SystemTime::UNIX_EPOCH).ok());
        let ms = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Carried {
            id: id.to_owned(),
            name: match target {
                Target::Name(name) => Some(name.to_string()),
                Target::Address(_) => None,
            },
            server: self.server,
            sent: meter.read(Meter::CLIENT),
            received: meter.read(Meter::SERVER),
            generation: self.generation,
            began_ms: began.map_or(0, ms),
            lasted_ms: ms(lasted),
            lost,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_told_goes_with_the_next() {
        let server = SocketAddr::from(([203, 0, 113, 1], 443));
        let (begun, meter, target) = (Begun::now(server, 3), Meter::default(), Target::Address(server));
        meter.add(Meter::CLIENT, 7);
        let telling = Telling::default();
        let tell = |has_room| {
            let mut told = None;
            telling.tell(
                |lost| begun.ended("a", &target, &meter, lost),
                |word| {
                    told = Some((word.lost, word.sent, word.received));
                    has_room
                },
            );
            told
        };
        assert_eq!(tell(true), None, "nobody wants to know");
        telling.set(true);
        assert_eq!(tell(false), Some((0, 7, 0)));
        assert_eq!(tell(false), Some((1, 7, 0)));
        assert_eq!(tell(true), Some((2, 7, 0)));
        assert_eq!(tell(true), Some((0, 7, 0)));
    }
}
