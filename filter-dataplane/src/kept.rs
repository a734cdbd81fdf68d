//! Pins of maps: somebody may remove them, and nothing changes for packets; but the next program that is loaded, and the next daemon, would
//! get new maps with nothing in them. So they are made again from what the programs have.

use crate::{Dataplane, Error, links};
use aya::maps::MapData;
use std::path::PathBuf;

/// Namespaces whose pins are looked at in one look.
const AT_ONCE: usize = 64;

/// Pins of maps as they were found.
pub(crate) struct Kept(Vec<Pin>);

struct Pin {
    path: PathBuf,
    /// The id of the map, which lives as long as a program uses it.
    map: u32,
    inode: u64,
    /// Keeps it, where no program may use it yet.
    held: Option<MapData>,
}

impl Kept {
    /// Remembers what is pinned, all of which programs use.
    pub(crate) fn find(paths: impl IntoIterator<Item = PathBuf>) -> Result<Kept, Error> {
        let found = Kept::hold(paths)?.0;
        Ok(Kept(found.into_iter().map(|pin| Pin { held: None, ..pin }).collect()))
    }

    /// Remembers what is pinned, and keeps it.
    pub(crate) fn hold(paths: impl IntoIterator<Item = PathBuf>) -> Result<Kept, Error> {
        let find = |path: PathBuf| {
            let data = MapData::from_pin(&path).map_err(Error::map("a pinned one"))?;
            let map = data.info().map_err(Error::map("a pinned one"))?.id();
            let inode = links::inode(&path).map_err(links::failed(&path))?.unwrap_or_default();
            Ok(Pin { path, map, inode, held: Some(data) })
        };
        paths.into_iter().map(find).collect::<Result<_, _>>().map(Kept)
    }

    /// Makes pins again that somebody has removed or replaced.
    pub(crate) fn mend(&mut self) -> Result<(), Error> {
        for Pin { path, map, inode, held } in &mut self.0 {
            if links::inode(path).map_err(links::failed(path))? == Some(*inode) {
                continue;
            }
            tracing::error!(path = %path.display(), "somebody has removed the pin of a map; it is made again");
            let pinned = match held {
                Some(data) => links::pin_again(data.fd(), path),
                None => {
                    let data = MapData::from_id(*map).map_err(Error::map("one that was pinned"))?;
                    links::pin_again(data.fd(), path)
                }
            };
            pinned.map_err(links::failed(path))?;
            *inode = links::inode(path).map_err(links::failed(path))?.unwrap_or_default();
        }
        Ok(())
    }
}

impl Dataplane {
    /// Makes pins of maps again that somebody has removed, and what binds the sidecar. Looks at some namespaces at a time.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn mend_pins(&mut self) -> Result<(), Error> {
        self.mend_guard()?;
        self.maps.mend()?;
        let mut inodes: Vec<u64> = self.instances.keys().copied().collect();
        inodes.sort_unstable();
        let after = inodes.partition_point(|inode| *inode <= self.looked_at);
        inodes.rotate_left(after);
        for inode in inodes.into_iter().take(AT_ONCE) {
            self.looked_at = inode;
            if let Some(instance) = self.instances.get_mut(&inode) {
                instance.kept.mend()?;
            }
        }
        Ok(())
    }
}
