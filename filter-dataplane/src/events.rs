//! The deny events, as the kernel writes them.

use crate::Error;
use crate::pins::Pins;
use crate::shared::Shared;
use aya::maps::{MapData, RingBuf};
use filter_core::abi::Event;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The consumer of the event ring.
pub struct Events {
    ring: AsyncFd<RingBuf<MapData>>,
}

impl Events {
    pub(crate) fn open(pins: &Pins) -> Result<Events, Error> {
        let ring = Shared::events(pins)?;
        // SAFETY: the ring owns its descriptor, never replaces it, and lives as long as the registration.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }
            .map_err(|error| Error::file("watch", "the event ring")(error.into()))?;
        Ok(Events { ring })
    }

    /// Waits for events and hands each to `take`.
    ///
    /// # Errors
    /// When the ring cannot be polled.
    pub async fn drain(&mut self, mut take: impl FnMut(Event)) -> Result<(), Error> {
        let mut ready = self.ring.readable_mut().await.map_err(Error::file("poll", "the event ring"))?;
        let ring = ready.get_inner_mut();
        while let Some(item) = ring.next() {
            if let Some(event) = read(&item) {
                take(event);
            }
        }
        ready.clear_ready();
        Ok(())
    }
}

fn read(bytes: &[u8]) -> Option<Event> {
    (bytes.len() >= size_of::<Event>()).then(|| {
        // SAFETY: there are bytes enough for an event, any bit pattern is one, and the read does not need alignment.
        unsafe { bytes.as_ptr().cast::<Event>().read_unaligned() }
    })
}
