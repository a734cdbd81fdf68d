//! Links that the daemon holds open beside their pins, and maps beside theirs: while it runs, whoever removes a pin takes nothing off.
//!
//! An open link also tells with one system call whether somebody has detached it or given it another program, and so can be looked at
//! often ([`LinkWatch`]).

use crate::{Error, Place, sys};
use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use sys::LinkInfo;

/// Whose link it is, and the name of its program.
pub(crate) type Key = (Place, &'static str);

/// A link that is held open.
struct Held {
    link: OwnedFd,
    /// Where it was when it was taken in.
    info: LinkInfo,
    /// The inode of its pin.
    pin: u64,
}

/// How a link that is held is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// As it was taken in.
    Whole,
    /// On its device, but somebody has removed or replaced its pin, or its program.
    Changed,
    /// On nothing any more.
    Off,
}

/// The links that are held open.
#[derive(Clone, Default)]
pub(crate) struct Links(Arc<Mutex<HashMap<Key, Held>>>);

impl Links {
    /// Holds what is pinned, from now on.
    pub(crate) fn hold(&self, key: Key, path: &Path) -> io::Result<()> {
        let link = sys::pinned_link(path)?;
        let (info, pin) = (sys::link_info(link.as_fd())?, fs::symlink_metadata(path)?.ino());
        self.held().insert(key, Held { link, info, pin });
        Ok(())
    }

    /// How a link is; `None` when it is not held.
    pub(crate) fn state(&self, key: Key, path: &Path) -> io::Result<Option<Link>> {
        self.held().get(&key).map(|held| held.state(path)).transpose()
    }

    /// Pins a link that is held again, where somebody has removed or replaced its pin.
    pub(crate) fn pin_again(&self, key: Key, path: &Path) -> io::Result<()> {
        if let Some(held) = self.held().get_mut(&key) {
            if inode(path)? != Some(held.pin) {
                pin_again(held.link.as_fd(), path)?;
            }
            held.pin = inode(path)?.unwrap_or_default();
        }
        Ok(())
    }

    /// Holds a link no longer: what is not pinned goes.
    pub(crate) fn let_go(&self, key: Key) {
        self.held().remove(&key);
    }

    /// What looks at all of them at any time.
    pub(crate) fn watch(&self) -> LinkWatch {
        LinkWatch(self.clone())
    }

    fn held(&self) -> MutexGuard<'_, HashMap<Key, Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn state(&self, path: &Path) -> io::Result<Link> {
        let now = sys::link_info(self.link.as_fd())?;
        Ok(match now.on {
            [0, _] => Link::Off,
            _ if now == self.info && inode(path)? == Some(self.pin) => Link::Whole,
            _ => Link::Changed,
        })
    }
}

/// Looks at the links that the daemon holds, without the daemon's other state.
#[derive(Clone)]
pub struct LinkWatch(Links);

impl LinkWatch {
    /// Places of links that somebody has detached or given another program, or whose devices are gone. A system call a link, of less than a
    /// microsecond.
    #[must_use]
    pub fn torn(&self) -> Vec<Place> {
        let held = self.0.held();
        let is_torn = |held: &Held| sys::link_info(held.link.as_fd()).is_ok_and(|now| now != held.info);
        held.iter().filter(|(_, held)| is_torn(held)).map(|((place, _), _)| *place).collect()
    }
}

/// Puts a pin where it belongs, in the place of whatever is there.
pub(crate) fn pin_again(object: impl AsFd, path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    sys::pin(object.as_fd(), path)
}

/// The inode of what is there, if anything is.
pub(crate) fn inode(path: &Path) -> io::Result<Option<u64>> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(|found| Some(found.ino())),
    }
}

/// As an error about a pin.
pub(crate) fn failed(path: &Path) -> impl FnOnce(io::Error) -> Error {
    Error::file("look after", path)
}
