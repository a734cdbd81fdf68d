//! The program that gives a listener the connections that come under the addresses and ports of one that has ended lately.
//!
//! A listener is there for as long as the daemon is: so is the program, and nothing of it is pinned.

use crate::error::chain;
use crate::instance::load_apart;
use crate::pins::Pins;
use crate::{Error, Namespace};
use aya::programs::SkLookup;
use aya::programs::sk_lookup::SkLookupLink;

/// Its name.
const PROGRAM: &str = "after_time_wait";

/// Attaches it to a namespace, for as long as what is returned is held.
pub(crate) fn attach(pins: &Pins, namespace: &Namespace) -> Result<SkLookupLink, Error> {
    let mut ebpf = load_apart(pins, namespace.inode())?;
    let program: Result<&mut SkLookup, _> = ebpf.program_mut(PROGRAM).expect("the object has the program").try_into();
    let program = program.expect("it looks for sockets");
    program.load()?;
    let attached = program.attach(namespace.file()).and_then(|id| program.take_link(id));
    attached.map_err(|error| Error::Lookup { namespace: namespace.label().to_owned(), why: chain(&error) })
}
