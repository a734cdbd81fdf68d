//! TCX: a link that keeps the program at its device for as long as it is pinned (kernel 6.6).

use super::{Spot, State};
use crate::error::chain;
use crate::links::{self, Link};
use crate::{Device, Error, Namespace, fail_point, sys};
use aya::programs::SchedClassifier;
use aya::programs::links::{FdLink, LinkOrder, PinnedLink};
use aya::programs::tc::{SchedClassifierLink, TcAttachOptions};
use std::sync::Once;

pub(super) fn attach(spot: &Spot<'_>, program: &mut SchedClassifier, device: &Device) -> Result<(), Error> {
    let namespace = Namespace::find_or_own(device.netns.as_ref())?;
    let attached = namespace.enter(|| {
        let options = TcAttachOptions::TcxOrder(LinkOrder::first());
        let id = program.attach_with_options(&device.name, spot.hook.attach_type(), options)?;
        program.take_link(id)
    })?;
    let link = attached.map_err(|error| spot.failed(&device.name, "attach to")(chain(&error)))?;
    fail_point(format_args!("attach.{}.attached", spot.hook.program()));
    let failed = spot.failed(&device.name, "pin the link of");
    let link = FdLink::try_from(link).map_err(|error| failed(chain(&error)))?;
    let path = spot.path();
    link.pin(&path).map_err(|error| failed(chain(&error)))?;
    fail_point(format_args!("attach.{}.pinned", spot.hook.program()));
    // The call looked the name up again: it must still mean the device that was checked.
    if sys::pinned_link_ifindex(&path)? != device.ifindex {
        spot.detach()?;
        let reason = "it was replaced by another device meanwhile".to_owned();
        return Err(spot.failed(&device.name, "attach to")(reason));
    }
    hold(spot);
    Ok(())
}

pub(super) fn adopt(spot: &Spot<'_>, program: &mut SchedClassifier) -> Result<bool, Error> {
    let failed = spot.failed(&spot.label(), "adopt");
    let path = spot.path();
    if sys::pinned_link_ifindex(&path)? != spot.place.ifindex {
        return Ok(false);
    }
    let link = FdLink::from(PinnedLink::from_pin(&path).map_err(|error| failed(chain(&error)))?);
    let link = SchedClassifierLink::try_from(link).map_err(|error| failed(chain(&error)))?;
    let id = program.attach_to_link(link)?;
    // The handle is not needed: the pin holds the link.
    drop(program.take_link(id)?);
    fail_point(format_args!("adopt.{}.replaced", spot.hook.program()));
    hold(spot);
    Ok(true)
}

/// How a link is. One that is not held yet is from now on.
pub(super) fn state(spot: &Spot<'_>) -> Result<State, Error> {
    let path = spot.path();
    let state = spot.pins.links.state(spot.key(), &path).map_err(links::failed(&path))?;
    Ok(match state {
        Some(Link::Whole) => State::Whole,
        Some(Link::Changed) => State::Changed,
        Some(Link::Off) => State::Off,
        None if links::inode(&path).map_err(links::failed(&path))?.is_none() => State::Off,
        None if sys::pinned_link_ifindex(&path)? == spot.place.ifindex => {
            hold(spot);
            State::Whole
        }
        None => State::Off,
    })
}

/// A link that is on its device is pinned again, and gets the program again, without a gap; in the place of one that is not comes a new one.
pub(super) fn mend(spot: &Spot<'_>, program: &mut SchedClassifier, device: &Device) -> Result<(), Error> {
    let path = spot.path();
    match spot.pins.links.state(spot.key(), &path).map_err(links::failed(&path))? {
        Some(Link::Whole) => Ok(()),
        Some(Link::Changed) => {
            spot.pins.links.pin_again(spot.key(), &path).map_err(links::failed(&path))?;
            adopt(spot, program).map(drop)
        }
        Some(Link::Off) | None => {
            spot.detach()?;
            attach(spot, program, device)
        }
    }
}

/// From now on the link stays when somebody removes its pin. Without a descriptor left it does not, and is looked at by its pin.
fn hold(spot: &Spot<'_>) {
    static TOLD: Once = Once::new();
    if let Err(error) = spot.pins.links.hold(spot.key(), &spot.path()) {
        TOLD.call_once(|| tracing::warn!(%error, "links cannot be held open, the first of them {}", spot.label()));
    }
}
