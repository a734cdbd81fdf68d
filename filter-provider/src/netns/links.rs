//! The pair of devices of a sandbox: made, found, dressed with addresses and routes, removed.
//!
//! Invariant: a device of ours tells whose it is by its alias, `sandbox-filter:ID`, which outlives the process that made it. So nothing
//! has to be written down. What we do to a device we do by its name: names are ours while the number is taken, indexes are anybody's.

use super::pool::{Addresses, Pair};
use crate::Error;
use filter_dataplane::Namespace;
use filter_dataplane::netlink::{self, ask};
use futures_util::TryStreamExt;
use nix::libc::{EEXIST, ENODEV};
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage};
use rtnetlink::packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkMessage};
use rtnetlink::packet_route::route::RouteMessage;
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};
use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// What the sandbox calls its device.
const INSIDE: &str = "eth0";
/// What the alias of a device of ours begins with; the id follows.
const ALIAS: &str = "sandbox-filter:";
/// What names of our devices begin with; a number follows.
const PREFIX: &str = "sf";
/// How long the kernel may take to notice that a link is up.
const PATIENCE: Duration = Duration::from_secs(3);
/// Index of the loopback device in every namespace.
const LOOPBACK: u32 = 1;

/// A host-side device of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Own {
    pub(super) ifindex: u32,
    pub(super) name: String,
    pub(super) id: String,
}

/// What the host's side of a number is called.
pub(super) fn name(number: u32) -> String {
    format!("{PREFIX}{number}")
}

/// The number of a device with such a name.
pub(super) fn number(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.parse().ok()
}

/// All devices of ours.
pub(super) fn own(host: &Namespace) -> Result<Vec<Own>, Error> {
    let links = ask(host, "list devices", async |handle: Handle| {
        handle.link().get().execute().try_filter_map(async |link| Ok(to_own(&link))).try_collect().await
    });
    Ok(links?)
}

/// The device of this name, if it is ours.
pub(super) fn own_named(host: &Namespace, name: &str) -> Result<Option<Own>, Error> {
    let link = ask(host, "look up a device", async |handle: Handle| {
        match handle.link().get().match_name(name.to_owned()).execute().try_next().await {
            Err(error) if is(&error, ENODEV) => Ok(None),
            other => other,
        }
    });
    Ok(link?.and_then(|link| to_own(&link)))
}

fn to_own(link: &LinkMessage) -> Option<Own> {
    let (mut name, mut id) = (None, None);
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::IfName(text) => name = Some(text.clone()),
            LinkAttribute::IfAlias(text) => id = text.strip_prefix(ALIAS).map(str::to_owned),
            _ => {}
        }
    }
    Some(Own { ifindex: link.header.index, name: name?, id: id? })
}

/// Makes the pair: `eth0` in `inside`, and the other, switched off, in `host`. `false` when the host has a device of that name already.
///
/// Until the namespace has a name it ends with this process, and the pair with it. So nobody meets a device that does not tell whose it is.
/// The host's side is made where it stays: the kernel gives each a new index there, where one that moves in may get a dead one's.
pub(super) fn make(inside: &Namespace, host: &Namespace, name: &str, id: &str, mtu: u32) -> Result<bool, Error> {
    let far = LinkUnspec::new_with_name(INSIDE).mtu(mtu).setns_by_fd(inside.file().as_raw_fd()).build();
    let pair = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth).name(name).mtu(mtu);
    let pair = pair.set_info_data(InfoData::Veth(InfoVeth::Peer(far))).build();
    let made = ask(host, "make a pair of devices", async |handle: Handle| {
        match handle.link().add(pair).execute().await {
            Err(error) if is(&error, EEXIST) => return Ok(false),
            other => other?,
        }
        let told = LinkUnspec::new_with_name(name).alias(format!("{ALIAS}{id}")).build();
        handle.link().set(told).execute().await.map(|()| true)
    });
    Ok(made?)
}

/// Gives the host's side its addresses, and makes it pass packets on. It stays switched off.
pub(super) fn dress_host(host: &Namespace, name: &str, ifindex: u32, addresses: &Addresses) -> Result<(), Error> {
    let settings = v6_settings(name, addresses.v6.is_some());
    host.enter(|| {
        set(&format!("ipv4/conf/{name}/forwarding"), "1")?;
        settings.iter().try_for_each(|(key, value)| set(key, value))
    })??;
    let given = ask(host, "give a device its addresses", async |handle: Handle| {
        if let Some(pair) = addresses.v4 {
            give(&handle, ifindex, pair.host.into()).await?;
        }
        if let Some(pair) = addresses.v6 {
            give(&handle, ifindex, pair.host.into()).await?;
        }
        Ok(())
    });
    Ok(given?)
}

/// Gives the sandbox's side its addresses and default routes, and switches it on. Returns its MAC address.
pub(super) fn dress_inside(inside: &Namespace, addresses: &Addresses) -> Result<[u8; 6], Error> {
    let settings = v6_settings(INSIDE, addresses.v6.is_some());
    inside.enter(|| settings.iter().try_for_each(|(key, value)| set(key, value)))??;
    let device = netlink::link(inside, INSIDE)?;
    let missing = || Error::Device { id: inside.label().to_owned(), reason: format!("it has no device {INSIDE}") };
    let device = device.ok_or_else(missing)?;
    let mac = device.mac.ok_or_else(missing)?;
    ask(inside, "give a sandbox its addresses and routes", async |handle: Handle| {
        for ifindex in [LOOPBACK, device.ifindex] {
            handle.link().set(LinkUnspec::new_with_index(ifindex).up().build()).execute().await?;
        }
        for route in routes(device.ifindex, addresses) {
            let (address, route) = route;
            give(&handle, device.ifindex, address).await?;
            handle.route().add(route).execute().await?;
        }
        Ok(())
    })?;
    Ok(mac)
}

/// Waits, for a while, until the kernel has noticed at both ends that the link is up, which it may take a second for. Before, IPv6 does not
/// work.
pub(super) fn wait(host: &Namespace, name: &str, inside: &Namespace) -> Result<(), Error> {
    let deadline = Instant::now() + PATIENCE;
    for (namespace, name) in [(host, name), (inside, INSIDE)] {
        while !is_running(namespace, name)? && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(2));
        }
    }
    Ok(())
}

fn is_running(namespace: &Namespace, name: &str) -> Result<bool, Error> {
    let link = ask(namespace, "look at a device", async |handle: Handle| {
        handle.link().get().match_name(name.to_owned()).execute().try_next().await
    })?;
    Ok(link.is_some_and(|link| link.header.flags.contains(LinkFlags::Running)))
}

/// Removes a device. One that is gone already is fine: the kernel removes it with its namespace.
pub(super) fn remove(host: &Namespace, name: &str) -> Result<(), Error> {
    let device = LinkUnspec::new_with_name(name).build();
    let removed = ask(host, "remove a device", async |handle: Handle| {
        match handle.link().del_with_message(device).execute().await {
            Err(error) if is(&error, ENODEV) => Ok(()),
            other => other,
        }
    });
    Ok(removed?)
}

/// The sandbox's address of each family, and the way to everywhere by the host's.
fn routes(ifindex: u32, addresses: &Addresses) -> Vec<(IpAddr, RouteMessage)> {
    let v4 = addresses.v4.map(|Pair { host, sandbox }| {
        let route = RouteMessageBuilder::<Ipv4Addr>::new().gateway(host).output_interface(ifindex).build();
        (IpAddr::V4(sandbox), route)
    });
    let v6 = addresses.v6.map(|Pair { host, sandbox }| {
        let route = RouteMessageBuilder::<Ipv6Addr>::new().gateway(host).output_interface(ifindex).build();
        (IpAddr::V6(sandbox), route)
    });
    v4.into_iter().chain(v6).collect()
}

/// Adds an address, in a prefix of two, that is good at once: nobody else can have it.
async fn give(handle: &Handle, ifindex: u32, address: IpAddr) -> Result<(), rtnetlink::Error> {
    let bits = if address.is_ipv4() { 31 } else { 127 };
    let mut request = handle.address().add(ifindex, address, bits);
    let message: &mut AddressMessage = request.message_mut();
    if message.header.family == AddressFamily::Inet6 {
        message.header.flags |= AddressHeaderFlags::Nodad;
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
    }
    request.execute().await
}

/// The device is IPv6's or is not; it takes nothing from routers, and uses its addresses at once.
fn v6_settings(device: &str, used: bool) -> Vec<(String, &'static str)> {
    let settings: &[(&str, &str)] = if used {
        &[
            ("accept_dad", "0"),
            ("accept_ra", "0"),
            ("autoconf", "0"),
            ("router_solicitations", "0"),
            ("disable_ipv6", "0"),
        ]
    } else {
        &[("disable_ipv6", "1")]
    };
    settings.iter().map(|(key, value)| (format!("ipv6/conf/{device}/{key}"), *value)).collect()
}

/// Sets a kernel parameter of the calling thread's namespace unless it is so. A host without IPv6 has none to switch off.
fn set(key: &str, value: &str) -> Result<(), Error> {
    let path: PathBuf = Path::new("/proc/sys/net").join(key);
    match fs::read_to_string(&path) {
        Ok(now) if now.trim_end() == value => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound && key.ends_with("disable_ipv6") && value == "1" => Ok(()),
        _ => fs::write(&path, value).map_err(Error::file("set", path)),
    }
}

fn is(error: &rtnetlink::Error, errno: i32) -> bool {
    matches!(error, rtnetlink::Error::NetlinkError(refusal) if refusal.raw_code() == -errno)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        assert_eq!(number(&name(65_535)), Some(65_535));
        for foreign in ["sf", "sfp0", "sf-1", "eth0", "sf99999999999"] {
            assert_eq!(number(foreign), None, "{foreign}");
        }
    }
}
