//! Two sockets, and what is under way between them.

use super::Number;
use crate::carried::Meter;
use crate::refusal::Refusal;
use crate::stream::scratch;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::sockopt::socket_error;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// Most reads of a turn.
const READS: usize = 16;

/// A socket that whoever judges can end.
pub(crate) type Socket = Arc<dyn AsFd + Send + Sync>;

/// Two sockets to carry between.
pub(crate) struct Pair {
    ends: [Socket; 2],
    /// From each end to the other one.
    ways: [Way; 2],
    /// What each end is watched for.
    watched: [EventFlags; 2],
    is_connecting: bool,
    last_words: Option<&'static [u8]>,
    meter: Arc<Meter>,
    /// What ends with the connection.
    _kept: Box<dyn Send>,
}

/// What is carried one way.
#[derive(Default)]
struct Way {
    /// What was read, and has found no room yet.
    due: Vec<u8>,
    /// The end comes behind what is there.
    is_ending: bool,
    has_ended: bool,
}

/// Which end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Client = 0,
    Server = 1,
}

/// What has become of a pair.
pub(super) enum Look {
    /// All that was there has been carried.
    Done,
    /// There is more.
    More,
    /// It has ended; if not by itself, then for this.
    Ended(Option<Refusal>),
}

impl Pair {
    /// A client's socket and a server's, to which `first` is said at first. What they carry is counted, and `kept` is held until both have
    /// ended.
    pub(crate) fn new(ends: [Socket; 2], first: Vec<u8>, meter: Arc<Meter>, kept: impl Send + 'static) -> Pair {
        let ways = [Way { due: first, ..Way::default() }, Way::default()];
        Pair {
            ends,
            ways,
            watched: [EventFlags::empty(); 2],
            is_connecting: false,
            last_words: None,
            meter,
            _kept: Box::new(kept),
        }
    }

    /// The same, where the connection to the server is still being made. When it cannot be, the client is told so.
    pub(crate) fn connecting(self, last_words: Option<&'static [u8]>) -> Pair {
        Pair { is_connecting: true, last_words, ..self }
    }

    /// The epoll that it comes to knows the client's socket already.
    pub(super) fn client_is_known(&mut self) {
        self.watched[Side::Client as usize] = EventFlags::IN;
    }

    /// Whether the server has not taken the connection yet.
    pub(super) fn is_connecting(&self) -> bool {
        self.is_connecting
    }

    /// One of its ends.
    pub(super) fn end(&self, side: Side) -> &Socket {
        &self.ends[side as usize]
    }

    /// The client, and what it is to hear of a server that cannot be reached.
    pub(super) fn last_words(&self) -> Option<(OwnedFd, &'static [u8])> {
        Some((self.ends[0].as_fd().try_clone_to_owned().ok()?, self.last_words?))
    }

    /// Says the first bytes. A server that is near has taken the connection by now.
    pub(super) fn begin(&mut self) -> Look {
        let first = &mut self.ways[0].due;
        if first.is_empty() {
            return Look::Done;
        }
        match send(&self.ends[1], first, SendFlags::NOSIGNAL) {
            Ok(said) => {
                self.is_connecting = false;
                self.meter.add(Meter::CLIENT, said);
                // Mostly that is all, and no memory is held.
                *first = first.split_off(said);
                Look::Done
            }
            Err(Errno::AGAIN) => Look::Done,
            Err(error) => Look::Ended(Some(Refusal::of_server(&error.into()))),
        }
    }

    /// Has both ends watched, under a number: for room only once there was none, since mostly there is.
    pub(super) fn watch(&mut self, epoll: impl AsFd, number: u64) -> Result<(), Errno> {
        let epoll = epoll.as_fd();
        for side in [0, 1] {
            let watched = self.watched[side];
            let mut wanted = watched | EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
            let is_awaited = self.is_connecting && side == Side::Server as usize;
            if is_awaited || !self.ways[1 - side].due.is_empty() {
                wanted |= EventFlags::OUT;
            }
            let data = EventData::new_u64(Number::End(number, side).word());
            match watched {
                same if same == wanted => {}
                none if none.is_empty() => match epoll::add(epoll, &self.ends[side], data, wanted) {
                    // Its client was waited for here.
                    Err(Errno::EXIST) => epoll::modify(epoll, &self.ends[side], data, wanted)?,
                    added => added?,
                },
                _ => epoll::modify(epoll, &self.ends[side], data, wanted)?,
            }
            self.watched[side] = wanted;
        }
        Ok(())
    }

    /// Carries on after an event at an end.
    pub(super) fn look(&mut self, side: Side, flags: EventFlags) -> Look {
        if self.is_connecting {
            match self.made(side, flags) {
                Ok(true) => return self.both(),
                Ok(false) => return Look::Done,
                Err(error) => return Look::Ended(Some(Refusal::of_server(&error))),
            }
        }
        let (own, other) = (side as usize, 1 - side as usize);
        let is_broken = flags.intersects(EventFlags::ERR);
        if self.ways[own].has_ended && is_broken {
            return Look::Ended(Some(Refusal::Refused));
        }
        self.ways[own].is_ending |= is_broken || flags.intersects(EventFlags::RDHUP | EventFlags::HUP);
        let from_here = self.ways[own].is_ending || flags.contains(EventFlags::IN);
        let to_here = flags.contains(EventFlags::OUT) && !self.ways[other].due.is_empty();
        let all = [from_here.then_some(own), to_here.then_some(other)];
        self.carry(all.into_iter().flatten())
    }

    /// Whether the server has taken the connection.
    fn made(&mut self, side: Side, flags: EventFlags) -> io::Result<bool> {
        if side == Side::Client || !flags.intersects(EventFlags::OUT | EventFlags::ERR | EventFlags::HUP) {
            return Ok(false);
        }
        socket_error(&self.ends[1])??;
        self.is_connecting = false;
        Ok(true)
    }

    /// Carries on both ways.
    pub(super) fn both(&mut self) -> Look {
        self.carry([0, 1].into_iter())
    }

    fn carry(&mut self, ways: impl Iterator<Item = usize>) -> Look {
        let mut is_all = true;
        for from in ways {
            match self.carry_from(from) {
                Ok(all) => is_all &= all,
                // Half of what there was must not look like the whole.
                Err(_) => return Look::Ended(Some(Refusal::Refused)),
            }
        }
        if self.ways.iter().all(|way| way.has_ended) {
            return Look::Ended(None);
        }
        if is_all { Look::Done } else { Look::More }
    }

    /// Carries what comes from an end, for a turn; tells whether that was all.
    fn carry_from(&mut self, own: usize) -> Result<bool, Errno> {
        let other_has_ended = self.ways[1 - own].has_ended;
        let (from, to, way) = (&self.ends[own], &self.ends[1 - own], &mut self.ways[own]);
        for _ in 0..READS {
            if !way.due.is_empty() {
                let rest = pass_on(to, &way.due, SendFlags::empty())?;
                let passed = way.due.len() - rest;
                self.meter.add(own, passed);
                if rest > 0 {
                    way.due.drain(..passed);
                    return Ok(true);
                }
                // Memory is held by those alone who need it.
                way.due = Vec::new();
            }
            if way.has_ended {
                return Ok(true);
            }
            // Where the end comes behind, both go in one packet.
            let more = if way.is_ending { SendFlags::MORE } else { SendFlags::empty() };
            let carried = scratch(|bytes| {
                let (read, _) = recv(from, &mut *bytes, RecvFlags::empty())?;
                let rest = pass_on(to, &bytes[..read], more)?;
                self.meter.add(own, read - rest);
                way.due.extend_from_slice(&bytes[read - rest..read]);
                Ok((read, read == bytes.len()))
            });
            let (read, is_full) = match carried {
                Err(Errno::AGAIN) => return Ok(true),
                other => other?,
            };
            if read == 0 {
                way.has_ended = true;
                // The second end needs no word of its own: both sockets are closed then.
                if !other_has_ended {
                    shutdown(to, Shutdown::Write)?;
                }
            } else if !is_full && !way.is_ending && way.due.is_empty() {
                // Another call would only say so.
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Passes on what there is room for; tells how much is left.
fn pass_on(to: &Socket, mut bytes: &[u8], more: SendFlags) -> Result<usize, Errno> {
    while !bytes.is_empty() {
        match send(to, bytes, SendFlags::NOSIGNAL | more) {
            Ok(said) => bytes = &bytes[said..],
            Err(Errno::AGAIN) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(bytes.len())
}
