//! What the sidecar may dial, by programs of a cgroup that it and the daemon are in: also for sockets that the daemon has made for it.
//!
//! The links are pinned: a sidecar that outlived its daemon would stay bound by them.

use crate::cgroup::Cgroup;
use crate::error::chain;
use crate::instance::load_apart;
use crate::links::{self, Key, Link};
use crate::{Dataplane, Error, Marks, Place, programs};
use aya::Ebpf;
use aya::programs::links::FdLink;
use aya::programs::{CgroupAttachMode, CgroupSock, CgroupSockAddr};
use filter_core::abi::{self, SandboxConfig};
use filter_policy::names::NamePattern;
use filter_policy::{Compiled, Entry, Operator, Policy, compile};
use ipnet::IpNet;
use std::fs::{self, File};
use std::io;
use std::net::IpAddr;

/// The program that marks sockets.
const MARKS: &str = "own_socket";
/// It, and those that judge where they go.
const PROGRAMS: [&str; 5] = [MARKS, "connect4", "connect6", "sendmsg4", "sendmsg6"];

/// What the sidecar may dial beside what is not protected.
#[derive(Clone, Copy, Debug)]
pub struct Dials<'a> {
    /// Port 53 of these, protected or not.
    pub resolvers: &'a [IpAddr],
    /// Protected ranges that the operator has opened.
    pub opened: &'a [IpNet],
    /// The mark of its packets.
    pub marks: Marks,
}

impl Dials<'_> {
    /// The policy of what is dialled: all that is not protected.
    fn contents(&self) -> (SandboxConfig, Compiled) {
        let Dials { resolvers, opened, marks } = self;
        let any = Entry { value: NamePattern::Any, text: String::new(), index: 0 };
        // With a name in it, a policy allows the resolvers.
        let policy = Policy { names: vec![any], ..Policy::default() };
        let operator =
            Operator { open_ranges: opened.to_vec(), nameservers: resolvers.to_vec(), ..Operator::default() };
        let config = SandboxConfig { own_mark: marks.own, mark_mask: marks.mask, ..SandboxConfig::EMPTY };
        (config, compile(&policy, &operator, 1))
    }
}

impl Dataplane {
    /// From now on this process, and those that it starts, dial nothing else. Does nothing when it was called before.
    ///
    /// # Errors
    /// When there are no such cgroups, or what the kernel refused; nothing is guarded then.
    pub fn guard(&mut self, dials: &Dials<'_>) -> Result<(), Error> {
        if self.guard.is_some() {
            return Ok(());
        }
        let cgroup = Cgroup::make(&self.pins.label())?;
        self.fill_dials(dials)?;
        self.attach_dials(&cgroup.open()?)?;
        cgroup.enter()?;
        self.guard = Some(cgroup);
        Ok(())
    }

    /// From one instant on what [`Self::guard`] guards dials this. Without a guard nothing changes.
    ///
    /// # Errors
    /// What the kernel refused; the old ones hold then.
    pub fn guard_anew(&mut self, dials: &Dials<'_>) -> Result<(), Error> {
        if self.guard.is_none() {
            return Ok(());
        }
        let (config, policy) = dials.contents();
        self.update(abi::DIALS, &config, &policy)
    }

    fn fill_dials(&mut self, dials: &Dials<'_>) -> Result<(), Error> {
        let (config, policy) = dials.contents();
        self.shared.clear(&self.pins, abi::DIALS)?;
        let contents = self.shared.contents(&config, &policy)?;
        self.shared.fill(&[(abi::DIALS, &contents)]).into_iter().collect()
    }

    fn attach_dials(&self, cgroup: &File) -> Result<(), Error> {
        let mut ebpf = load_apart(&self.pins, self.own_netns)?;
        programs::load(&mut ebpf, &PROGRAMS)?;
        for name in PROGRAMS {
            let link = attach(&mut ebpf, name, cgroup)?;
            let pin = self.pins.dials(name);
            self.pins.links.let_go(key(name));
            match fs::remove_file(&pin) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Error::file("remove", pin)(error)),
                _ => {}
            }
            link.pin(&pin).map_err(|error| refused(&error))?;
            self.pins.links.hold(key(name), &pin).map_err(links::failed(&pin))?;
        }
        Ok(())
    }

    /// Binds the sidecar again where somebody has taken a program off, and pins again what somebody has unpinned.
    pub(crate) fn mend_guard(&self) -> Result<(), Error> {
        let Some(cgroup) = &self.guard else { return Ok(()) };
        for name in PROGRAMS {
            let pin = self.pins.dials(name);
            let state = || self.pins.links.state(key(name), &pin).map_err(links::failed(&pin));
            if state()? == Some(Link::Changed) {
                tracing::error!(name, "somebody has unpinned what binds the sidecar; it is pinned again");
                self.pins.links.pin_again(key(name), &pin).map_err(links::failed(&pin))?;
            }
            if state()? != Some(Link::Whole) {
                tracing::error!(
                    name,
                    "somebody has removed what binds the sidecar: it was not bound since; it is again"
                );
                return self.attach_dials(&cgroup.open()?);
            }
        }
        Ok(())
    }
}

/// No slot and no device is the sidecar's.
fn key(name: &'static str) -> Key {
    (Place { slot: abi::DIALS, netns_inode: 0, ifindex: 0 }, name)
}

fn attach(ebpf: &mut Ebpf, name: &str, cgroup: &File) -> Result<FdLink, Error> {
    let mode = CgroupAttachMode::Single;
    let program = ebpf.program_mut(name).expect("the object has the program");
    let link = if name == MARKS {
        let program: &mut CgroupSock = program.try_into().expect("it is about sockets");
        let attached = program.attach(cgroup, mode).and_then(|id| program.take_link(id));
        FdLink::try_from(attached.map_err(|error| refused(&error))?)
    } else {
        let program: &mut CgroupSockAddr = program.try_into().expect("it is about addresses");
        let attached = program.attach(cgroup, mode).and_then(|id| program.take_link(id));
        FdLink::try_from(attached.map_err(|error| refused(&error))?)
    };
    link.map_err(|error| refused(&error))
}

fn refused(error: &(dyn std::error::Error + 'static)) -> Error {
    Error::Cgroup(chain(error))
}

impl Drop for Dataplane {
    fn drop(&mut self) {
        if let Some(cgroup) = self.guard.take()
            && let Err(error) = cgroup.leave()
        {
            tracing::warn!(%error, "the cgroup stays");
        }
    }
}
