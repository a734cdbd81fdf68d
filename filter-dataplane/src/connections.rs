//! Connections that went straight out, taken out of the kernel's account once they have ended.

use crate::flows::monotonic_now;
use crate::pins::Pins;
use crate::pod::Pod;
use crate::shared::pinned;
use crate::{Dataplane, Error};
use aya::maps::{HashMap, Map, MapData, MapError, PerCpuArray};
use filter_core::abi::{ConnectionKey, ConnectionValue};
use std::io;

type Account = HashMap<MapData, Pod<ConnectionKey>, Pod<ConnectionValue>>;

/// The account of the connections of all sandboxes that have [`ACCOUNTED`](filter_core::abi::SandboxFlags::ACCOUNTED).
pub struct Connections {
    account: Account,
    lost: PerCpuArray<MapData, u64>,
    /// What was told of them.
    told: u64,
}

/// What a look has found.
#[derive(Debug, Default)]
pub struct Looked {
    /// Connections that have ended, which the account does not have any more.
    pub ended: Vec<(ConnectionKey, ConnectionValue)>,
    /// Connections that go on.
    pub open: usize,
    /// Connections that have found the account full since the last look.
    pub lost: u64,
}

impl Connections {
    fn open(pins: &Pins) -> Result<Connections, Error> {
        let account = pinned(pins, "CONNECTIONS", Map::HashMap)?;
        let lost = pinned(pins, "CONNECTIONS_LOST", Map::PerCpuArray)?;
        let mut connections = Connections { account, lost, told: 0 };
        // An earlier daemon has told these.
        connections.told = connections.lost()?;
        Ok(connections)
    }

    /// Takes what has ended: as [`ConnectionValue::has_ended`] says, or because nobody has the attachment any more, a slot and an incarnation.
    /// Without connections it is one call.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn take_ended(&mut self, is_there: impl Fn((u32, u32)) -> bool) -> Result<Looked, Error> {
        let now = monotonic_now();
        let (mut looked, mut ended) = (Looked::default(), Vec::new());
        for entry in self.account.iter() {
            let (key, value) = entry.map_err(Error::map("CONNECTIONS"))?;
            if value.0.has_ended(key.0.protocol, now) || !is_there((key.0.slot, key.0.incarnation)) {
                ended.push(key);
            } else {
                looked.open += 1;
            }
        }
        for key in ended {
            match self.account.get(&key, 0) {
                Ok(value) => looked.ended.push((key.0, value.0)),
                Err(MapError::KeyNotFound) => continue,
                Err(error) => return Err(Error::map("CONNECTIONS")(error)),
            }
            match self.account.remove(&key) {
                Ok(()) | Err(MapError::KeyNotFound) => {}
                Err(MapError::SyscallError(refusal)) if refusal.io_error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::map("CONNECTIONS")(error)),
            }
        }
        let lost = self.lost()?;
        looked.lost = lost.saturating_sub(self.told);
        self.told = lost;
        Ok(looked)
    }

    fn lost(&self) -> Result<u64, Error> {
        let counts = self.lost.get(&0, 0).map_err(Error::map("CONNECTIONS_LOST"))?;
        Ok(counts.iter().sum())
    }
}

impl Dataplane {
    /// The account of connections, apart from all else.
    ///
    /// # Errors
    /// When its map cannot be opened.
    pub fn connections(&self) -> Result<Connections, Error> {
        Connections::open(&self.pins)
    }
}
