//! How many sockets a sandbox may have, and how much they hold.

use crate::limits::Limits;
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The sockets of a sandbox.
#[derive(Debug)]
pub(crate) struct Places {
    all: Count,
    /// Those whose buffers the kernel makes as large as a connection needs.
    growing: Count,
    /// Connections that nobody has judged yet.
    unjudged: Count,
    /// The size of the others' buffers, as `SO_RCVBUF` takes it: the kernel makes it twice as much (`socket(7)`).
    fixed: usize,
}

/// So many, and no more than that.
#[derive(Debug)]
struct Count {
    taken: AtomicU64,
    most: u64,
}

impl Count {
    fn new(most: u64) -> Count {
        Count { taken: AtomicU64::new(0), most }
    }

    fn take(&self) -> bool {
        let more = |taken| (taken < self.most).then_some(taken + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    fn give_back(&self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A socket's right to be there; it ends with this.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    grows: bool,
}

/// A connection's right to be read before it is judged; it ends with this.
#[derive(Debug)]
pub(crate) struct Unjudged(Arc<Places>);

impl Places {
    /// The smallest buffer that is of use.
    const LEAST: u64 = 4 << 10;

    /// The places that limits give, where a socket whose buffers grow may hold so many bytes.
    pub(crate) fn new(limits: &Limits, grown: u64) -> Arc<Places> {
        // A buffer each way, and both are doubled.
        let fixed = (limits.buffered_bytes / 2 / u64::from(limits.sockets.max(1)) / 4).max(Places::LEAST);
        let growing = limits.buffered_bytes / 2 / grown.max(1);
        Arc::new(Places {
            all: Count::new(limits.sockets.into()),
            growing: Count::new(growing),
            unjudged: Count::new(limits.unjudged.into()),
            fixed: usize::try_from(fixed).unwrap_or(usize::MAX),
        })
    }

    /// A place for a socket, whose buffers fit into it from now on; `None` when there is none.
    pub(crate) fn take(self: &Arc<Places>, socket: impl AsFd) -> Option<Place> {
        let place = self.all.take().then(|| Place { places: self.clone(), grows: self.growing.take() })?;
        if !place.grows {
            // Above the host's limit the kernel takes the limit.
            set_socket_recv_buffer_size(&socket, self.fixed).ok()?;
            set_socket_send_buffer_size(&socket, self.fixed).ok()?;
        }
        Some(place)
    }

    /// The right of a connection to be read before it is judged; `None` when too many are.
    pub(crate) fn unjudged(self: &Arc<Places>) -> Option<Unjudged> {
        self.unjudged.take().then(|| Unjudged(self.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.all.give_back();
        if self.grows {
            self.places.growing.give_back();
        }
    }
}

impl Drop for Unjudged {
    fn drop(&mut self) {
        self.0.unjudged.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::sockopt::{socket_recv_buffer_size, socket_send_buffer_size};
    use std::net::{Ipv4Addr, UdpSocket};

    #[test]
    fn all_sockets_fit_into_what_a_sandbox_may_hold() {
        let limits = Limits { sockets: 4, buffered_bytes: 1 << 20, ..Limits::default() };
        let places = Places::new(&limits, 300 << 10);
        let sockets: Vec<UdpSocket> = (0..5).map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
        let standard = socket_recv_buffer_size(&sockets[4]).unwrap();
        let taken: Vec<Option<Place>> = sockets.iter().map(|socket| places.take(socket)).collect();
        assert_eq!(taken.iter().map(Option::is_some).collect::<Vec<_>>(), [true, true, true, true, false]);
        let sizes = |socket| (socket_recv_buffer_size(socket).unwrap(), socket_send_buffer_size(socket).unwrap());
        assert_eq!(sizes(&sockets[0]).0, standard, "it may grow");
        for socket in &sockets[1..4] {
            let (receive, send) = sizes(socket);
            assert!(3 * (receive + send) <= (1 << 20) / 2 && receive >= 8 << 10, "{receive} and {send}");
        }
        drop(taken);
        assert!(places.take(&sockets[4]).is_some(), "places come back");
    }

    #[test]
    fn no_more_than_so_many_wait_to_be_judged() {
        let places = Places::new(&Limits { unjudged: 1, ..Limits::default() }, 1);
        let first = places.unjudged();
        assert!(first.is_some() && places.unjudged().is_none());
        drop(first);
        assert!(places.unjudged().is_some());
    }
}
