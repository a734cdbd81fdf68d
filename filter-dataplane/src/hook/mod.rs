//! The two hooks of a sandbox's device and the one of its bridge, and the two ways of having a program there.
//!
//! What is pinned at `links/SLOT-HOOK`, of a bridge at `links/bridge-NAMESPACE-INDEX-HOOK`, tells which way a hook has: a TCX link pins itself; a filter of a clsact qdisc cannot be
//! pinned, so a symbolic link there tells where it is. Either goes on without this process.

mod clsact;
mod tcx;

use crate::links::Key;
use crate::pins::Pins;
use crate::{Attachment, Device, Error, Namespace, Place, fail_point, netlink};
use aya::programs::{SchedClassifier, TcAttachType};
use std::fs;
use std::io;
use std::path::PathBuf;

pub(crate) use clsact::take_down;

/// A way of having a program at the hooks of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookKind {
    /// TCX links (kernel 6.6).
    Tcx,
    /// Filters of a clsact qdisc (kernel 4.5).
    Clsact,
}

impl HookKind {
    /// The better one of those that this kernel has, found by trying.
    #[must_use]
    pub fn probe() -> HookKind {
        if crate::probe::tcx() { HookKind::Tcx } else { HookKind::Clsact }
    }

    /// What people call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            HookKind::Tcx => "tcx",
            HookKind::Clsact => "clsact",
        }
    }
}

/// A hook on a sandbox's device or its bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    /// tc egress: packets towards the sandbox.
    ToSandbox,
    /// tc ingress: packets from the sandbox.
    FromSandbox,
    /// tc ingress of a bridge: what its ports hand over.
    FromBridge,
}

impl Hook {
    /// All hooks of a sandbox's device, in the order in which they are attached: a sandbox whose packets are judged can be answered only by what is.
    pub(crate) const ALL: [Hook; 2] = [Hook::ToSandbox, Hook::FromSandbox];
    /// The hooks of all devices.
    pub(crate) const EVERYWHERE: [Hook; 3] = [Hook::ToSandbox, Hook::FromSandbox, Hook::FromBridge];

    /// Name of the program.
    pub(crate) fn program(self) -> &'static str {
        match self {
            Hook::ToSandbox => "to_sandbox",
            Hook::FromSandbox => "from_sandbox",
            Hook::FromBridge => "from_bridge",
        }
    }

    pub(crate) fn attach_type(self) -> TcAttachType {
        match self {
            Hook::ToSandbox => TcAttachType::Egress,
            Hook::FromSandbox | Hook::FromBridge => TcAttachType::Ingress,
        }
    }
}

/// How one hook is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// In place.
    Whole,
    /// On its device, but somebody has changed it.
    Changed,
    /// Not on its device, if that is still there.
    Off,
    /// Its device or namespace is gone.
    NoDevice,
}

/// How the hooks of one device are, one by one. `ours` tells the ids of the programs that this daemon has loaded for them.
pub(crate) fn states(spots: &[Spot<'_>], ours: impl Fn(Hook) -> Option<u32>) -> Result<Vec<State>, Error> {
    let kinds = spots.iter().map(Spot::kind).collect::<Result<Vec<_>, _>>()?;
    // Where a mark was removed, that of the other hook tells which kind both are.
    let any = kinds.contains(&Some(HookKind::Clsact));
    let is_clsact = |at: &usize| kinds[*at] == Some(HookKind::Clsact) || kinds[*at].is_none() && any;
    let filters: Vec<usize> = (0..spots.len()).filter(is_clsact).collect();
    let mut filtered = match filters.as_slice() {
        [] => Vec::new(),
        some => clsact::states(&some.iter().map(|at| &spots[*at]).collect::<Vec<_>>(), ours)?,
    }
    .into_iter();
    spots
        .iter()
        .zip(&kinds)
        .map(|(spot, kind)| match kind {
            Some(HookKind::Clsact) => Ok(filtered.next().expect("a state for each filter")),
            None if any => Ok(match filtered.next().expect("a state for each filter") {
                State::Whole => State::Changed,
                other => other,
            }),
            _ => tcx::state(spot),
        })
        .collect()
}

/// How the hooks of one device are, together.
pub(crate) fn attachment(spots: &[Spot<'_>], ours: impl Fn(Hook) -> Option<u32>) -> Result<Attachment, Error> {
    let states = states(spots, ours)?;
    let is = |state: State| move |one: &State| *one == state;
    Ok(match states.as_slice() {
        all if all.iter().all(is(State::Whole)) => Attachment::Whole,
        some if some.iter().any(is(State::NoDevice)) => Attachment::Gone,
        some if !some.iter().any(is(State::Off)) => Attachment::Changed,
        // One that is on its device tells that the device is the same.
        some if !some.iter().all(is(State::Off)) => Attachment::Torn,
        _ if has_device(spots[0].place)? => Attachment::Bare,
        _ => Attachment::Gone,
    })
}

/// Whether there is a device where the place says.
fn has_device(place: Place) -> Result<bool, Error> {
    let Some(namespace) = Namespace::with_inode(place.netns_inode)? else { return Ok(false) };
    Ok(netlink::link_at(&namespace, place.ifindex)?.is_some())
}

/// A hook of the device that a slot stands for, or of the bridge at a place without one.
pub(crate) struct Spot<'a> {
    pub pins: &'a Pins,
    pub place: Place,
    pub hook: Hook,
}

impl Spot<'_> {
    /// What is pinned for it, if anything.
    pub(crate) fn kind(&self) -> Result<Option<HookKind>, Error> {
        let path = self.path();
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::file("look at", path)(error)),
            Ok(found) => Ok(Some(if found.is_symlink() { HookKind::Clsact } else { HookKind::Tcx })),
        }
    }

    /// Attaches the program, first in order, and pins what keeps or finds it.
    pub(crate) fn attach(&self, kind: HookKind, program: &mut SchedClassifier, device: &Device) -> Result<(), Error> {
        match kind {
            HookKind::Tcx => tcx::attach(self, program, device),
            HookKind::Clsact => clsact::attach(self, program, device),
        }
    }

    /// Puts the program in the place of the one that is there, without a gap. Returns whether the device still exists.
    pub(crate) fn adopt(&self, program: &mut SchedClassifier) -> Result<bool, Error> {
        match self.kind()? {
            Some(HookKind::Clsact) => clsact::adopt(self, program),
            _ => tcx::adopt(self, program),
        }
    }

    /// Makes whole what somebody has changed, while the device is the same.
    pub(crate) fn mend(&self, kind: HookKind, program: &mut SchedClassifier, device: &Device) -> Result<(), Error> {
        match kind {
            HookKind::Tcx => tcx::mend(self, program, device),
            HookKind::Clsact => clsact::attach(self, program, device),
        }
    }

    /// Takes the program away: this hook does not filter any more.
    pub(crate) fn detach(&self) -> Result<(), Error> {
        if self.kind()? == Some(HookKind::Clsact) {
            clsact::take_down(&self.path())?;
        }
        self.pins.links.let_go(self.key());
        let path = self.path();
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::file("remove", path)(error)),
            _ => {
                fail_point(format_args!("detach.{}.unpinned", self.hook.program()));
                Ok(())
            }
        }
    }

    fn key(&self) -> Key {
        (self.place, self.hook.program())
    }

    fn path(&self) -> PathBuf {
        let Place { slot, netns_inode, ifindex } = self.place;
        match self.hook {
            Hook::FromBridge => self.pins.bridge(netns_inode, ifindex),
            hook => self.pins.link(slot, hook),
        }
    }

    fn failed(&self, device: &str, action: &'static str) -> impl Fn(String) -> Error + use<> {
        let device = device.to_owned();
        move |reason| Error::Link { device: device.clone(), action, reason }
    }

    /// What an error calls it when the device's name is not known.
    fn label(&self) -> String {
        match self.hook {
            Hook::FromBridge => format!("{} of device {}", self.hook.program(), self.place.ifindex),
            hook => format!("{} of slot {}", hook.program(), self.place.slot),
        }
    }
}
