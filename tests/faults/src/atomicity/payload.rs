//! What a datagram carries.

use anyhow::{Context, Result};
use nix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Bytes of a datagram's payload.
pub(crate) const LENGTH: usize = 32;

/// Where a datagram stands in its stream and in its lane, and when it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Payload {
    /// Index in [`STREAMS`](super::STREAMS).
    pub(crate) stream: usize,
    /// How many of its stream and lane were sent before it.
    pub(crate) sequence: u64,
    /// How many of its lane were sent before it.
    pub(crate) position: u64,
    /// A moment before it was sent, nanoseconds of the monotonic clock.
    pub(crate) sent: u64,
}

impl Payload {
    pub(crate) fn write(self, bytes: &mut [u8; LENGTH]) {
        for (part, number) in
            bytes.as_chunks_mut::<8>().0.iter_mut().zip([self.stream as u64, self.sequence, self.position, self.sent])
        {
            *part = number.to_ne_bytes();
        }
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<Payload> {
        let bytes: &[u8; LENGTH] = bytes.try_into().ok()?;
        let &[stream, sequence, position, sent] = bytes.as_chunks::<8>().0 else { return None };
        let number = u64::from_ne_bytes;
        Some(Payload {
            stream: number(stream) as usize,
            sequence: number(sequence),
            position: number(position),
            sent: number(sent),
        })
    }
}

/// Nanoseconds of the clock that the kernel program reads.
pub(crate) fn now() -> Result<u64> {
    nanoseconds(ClockId::CLOCK_MONOTONIC)
}

/// How far the clock of socket timestamps is ahead of the monotonic one, in nanoseconds: the closest of a few looks.
pub(crate) fn ahead() -> Result<u64> {
    let looks = (0..32).map(|_| {
        let before = now()?;
        let real = nanoseconds(ClockId::CLOCK_REALTIME)?;
        let after = now()?;
        Ok((after - before, real - (before + after) / 2))
    });
    let closest = looks.collect::<Result<Vec<_>>>()?.into_iter().min();
    closest.map(|(_, ahead)| ahead).context("no look at the clocks")
}

fn nanoseconds(clock: ClockId) -> Result<u64> {
    Ok(u64::try_from(Duration::from(clock_gettime(clock)?).as_nanos())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let payload = Payload { stream: 3, sequence: 1 << 40, position: 7, sent: u64::MAX };
        let mut bytes = [0; LENGTH];
        payload.write(&mut bytes);
        assert_eq!(Payload::read(&bytes), Some(payload));
        assert_eq!(Payload::read(&bytes[1..]), None);
    }
}
