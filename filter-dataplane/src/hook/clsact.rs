//! clsact: a filter in direct-action mode, for kernels without TCX (kernel 4.5).
//!
//! The filter itself keeps the program: it goes with its device, or when somebody deletes it or its qdisc. It has the first
//! priority there is and a handle of its own. A packet that passes leaves it with `TC_ACT_UNSPEC`, so that whoever is behind it
//! still has its say; `TC_ACT_OK` would end the walk.
//!
//! Replacing the program of a filter is one request for the same priority and handle, and no packet goes without either: the
//! kernel makes the new filter whole and puts it into the list in the old one's place (`list_replace_rcu` in `cls_bpf`).

use super::{Hook, Spot, State};
use crate::tc::{Existing, Tc};
use crate::{Device, Error, Namespace, fail_point, sys};
use aya::maps::MapData;
use aya::programs::SchedClassifier;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::path::Path;

/// Before the filter is made it is written down where it will be, so that it is found wherever this process dies.
pub(super) fn attach(spot: &Spot<'_>, program: &mut SchedClassifier, device: &Device) -> Result<(), Error> {
    let failed = spot.failed(&device.name, "attach to");
    let refused = |error: io::Error| failed(error.to_string());
    let namespace = Namespace::find_or_own(device.netns.as_ref())?;
    if namespace.inode() != spot.place.netns_inode {
        return Err(failed("its network namespace was replaced by another one meanwhile".to_owned()));
    }
    let tc = Tc::new(&namespace, spot.place.ifindex);
    let known = Hook::ALL.map(|hook| Mark::read(&Spot { hook, ..*spot }.path()));
    let made_qdisc = !tc.has_clsact()?.map_err(refused)? || known.into_iter().flatten().any(|mark| mark.made_qdisc);
    Mark { netns_inode: spot.place.netns_inode, ifindex: spot.place.ifindex, made_qdisc }.write(&spot.path())?;
    fail_point(format_args!("attach.{}.pinned", spot.hook.program()));
    tc.add_clsact()?.map_err(refused)?;
    let program = program.fd()?;
    match tc.put(spot.hook, program.as_fd(), Existing::Refuse)? {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if !tc.program(spot.hook)?.is_ok_and(|id| is_ours(id, &spot.path()).unwrap_or(false)) {
                return Err(failed("it has the filter of another daemon already".to_owned()));
            }
            tc.put(spot.hook, program.as_fd(), Existing::Replace)?.map_err(refused)?;
        }
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            return Err(failed(
                "somebody else's ingress qdisc, or filter of the first priority, is in the way".to_owned(),
            ));
        }
        other => other.map_err(refused)?,
    }
    fail_point(format_args!("attach.{}.attached", spot.hook.program()));
    Ok(())
}

pub(super) fn adopt(spot: &Spot<'_>, program: &mut SchedClassifier) -> Result<bool, Error> {
    let Some(namespace) = Namespace::with_inode(spot.place.netns_inode)? else {
        return Ok(false);
    };
    let tc = Tc::new(&namespace, spot.place.ifindex);
    match tc.put(spot.hook, program.fd()?.as_fd(), Existing::Replace)? {
        Err(error) if is_no_device(&error) => Ok(false),
        Err(error) => Err(spot.failed(&spot.label(), "adopt")(error.to_string())),
        Ok(()) => {
            fail_point(format_args!("adopt.{}.replaced", spot.hook.program()));
            Ok(true)
        }
    }
}

/// How the filters of one device are. A program that is one of `ours` needs no look at what it works with.
pub(super) fn states(spots: &[&Spot<'_>], ours: impl Fn(Hook) -> Option<u32>) -> Result<Vec<State>, Error> {
    let place = spots[0].place;
    let Some(namespace) = Namespace::with_inode(place.netns_inode)? else {
        return Ok(vec![State::NoDevice; spots.len()]);
    };
    let hooks: Vec<Hook> = spots.iter().map(|spot| spot.hook).collect();
    let found = Tc::new(&namespace, place.ifindex).programs(&hooks)?;
    let state = |(spot, found): (&&Spot<'_>, io::Result<u32>)| {
        Ok(match found {
            Err(error) if is_no_device(&error) => State::NoDevice,
            Ok(id) if ours(spot.hook) == Some(id) || is_ours(id, &spot.path())? => State::Whole,
            _ => State::Off,
        })
    };
    spots.iter().zip(found).map(state).collect()
}

/// Deletes the filter that is written down at `pin`, and the qdisc if that was made for it and nobody else uses it. The pin
/// stays. What is gone already, or somebody else's by now, is left alone.
///
/// # Errors
/// What the kernel refused.
pub(crate) fn take_down(pin: &Path) -> Result<(), Error> {
    let hook = Hook::EVERYWHERE.into_iter().find(|hook| pin.to_string_lossy().ends_with(hook.program()));
    let (Some(Mark { netns_inode, ifindex, made_qdisc }), Some(hook)) = (Mark::read(pin), hook) else {
        return Ok(());
    };
    let Some(namespace) = Namespace::with_inode(netns_inode)? else {
        return Ok(());
    };
    let tc = Tc::new(&namespace, ifindex);
    let refused = |error: io::Error| Error::Link {
        device: format!("{ifindex} in {}", namespace.label()),
        action: "delete the filter of",
        reason: error.to_string(),
    };
    if let Ok(id) = tc.program(hook)?
        && is_ours(id, pin)?
    {
        tc.delete(hook)?.map_err(refused)?;
    }
    if made_qdisc && tc.is_unused()? {
        tc.delete_clsact()?.map_err(refused)?;
    }
    Ok(())
}

/// Where a filter is, as it is written down.
struct Mark {
    netns_inode: u64,
    ifindex: u32,
    /// Whether the qdisc was made for it.
    made_qdisc: bool,
}

impl Mark {
    const MADE: &'static str = "made";

    fn read(pin: &Path) -> Option<Mark> {
        let text = fs::read_link(pin).ok()?;
        let mut parts = text.to_str()?.strip_prefix("clsact:")?.split(':');
        Some(Mark {
            netns_inode: parts.next()?.parse().ok()?,
            ifindex: parts.next()?.parse().ok()?,
            made_qdisc: parts.next() == Some(Mark::MADE),
        })
    }

    fn write(&self, pin: &Path) -> Result<(), Error> {
        let Mark { netns_inode, ifindex, made_qdisc } = self;
        let made = if *made_qdisc { Mark::MADE } else { "found" };
        // A mark that is being mended is there already.
        match fs::remove_file(pin) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Error::file("remove", pin)(error)),
            _ => {}
        }
        symlink(format!("clsact:{netns_inode}:{ifindex}:{made}"), pin).map_err(Error::file("pin", pin))
    }
}

/// Whether a program works with the maps that are pinned beside the mark: another daemon's does not.
fn is_ours(program: u32, pin: &Path) -> Result<bool, Error> {
    let root = pin.ancestors().nth(2).unwrap_or(pin);
    let map = MapData::from_pin(root.join("maps/SANDBOXES")).and_then(|map| map.info());
    sys::program_uses(program, map.map_err(Error::map("SANDBOXES"))?.id())
}

fn is_no_device(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENODEV)
}
