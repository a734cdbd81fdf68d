//! Two policies take turns: each allows a name of its own, and both a third. Kernel and sidecar change as one.

use crate::servers::{Asking, Habit, serve};
use crate::stage::SOON;
use anyhow::{Context, Result, bail, ensure};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Instant;
use test_scenarios::{Daemon, document};
use test_world::internet::{GOOGLE, WEB, WEB6};
use test_world::{Dnsmasq, Sandbox, Sniffer, World, wait_until};

const PRIVATE_NAMES: [&str; 2] = ["first.test", "second.test"];
const SHARED: &str = "shared.test";
/// Swaps that one sniffer sees.
const AT_ONCE: usize = 50;

/// Addresses of a family.
pub(crate) struct Family {
    /// The servers of the names that one policy each allows.
    private: [IpAddr; 2],
    /// The server of the name that both allow.
    shared: IpAddr,
    /// Where nobody is, and no list allows to go.
    nowhere: IpAddr,
}

pub(crate) const V4: Family = Family {
    private: [IpAddr::V4(Ipv4Addr::new(203, 0, 113, 71)), IpAddr::V4(Ipv4Addr::new(203, 0, 113, 72))],
    shared: IpAddr::V4(WEB),
    nowhere: IpAddr::V4(Ipv4Addr::new(203, 0, 113, 99)),
};
pub(crate) const V6: Family =
    Family { private: [near_web6(0x71), near_web6(0x72)], shared: IpAddr::V6(WEB6), nowhere: near_web6(0x99) };

const fn near_web6(host: u16) -> IpAddr {
    let [a, b, c, d, e, f, g, _] = WEB6.segments();
    IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, host))
}

struct Swapping {
    daemon: Daemon,
    sandbox: Sandbox,
    _resolver: Dnsmasq,
    world: World,
}

impl Swapping {
    fn new(name: &str, family: &Family) -> Result<Swapping> {
        let world = World::new(name)?;
        for address in family.private {
            world.internet().add_address(address)?;
            serve(world.internet(), address)?;
        }
        serve(world.internet(), family.shared)?;
        let [first, second] = family.private;
        let records = [(PRIVATE_NAMES[0], first), (PRIVATE_NAMES[1], second), (SHARED, family.shared)];
        Ok(Swapping {
            _resolver: world.internet().dnsmasq(&[GOOGLE.into()], &records)?,
            daemon: Daemon::start(&world, &format!("resolvers: [{GOOGLE}]\n"))?,
            sandbox: world.sandbox("a")?,
            world,
        })
    }

    fn apply(&self, private: usize, shared: &str) -> Result<()> {
        let lists = format!(r#"denyOut: ["0.0.0.0/0"], allowOut: ["{}", {shared}]"#, PRIVATE_NAMES[private]);
        self.daemon.apply(&document(&self.sandbox, &lists)).map(drop)
    }

    fn ask(&self, address: IpAddr, name: &'static str, habit: Habit) -> [Asking; 2] {
        [80, 443].map(|port| Asking::start(&self.sandbox, SocketAddr::from((address, port)), name, habit))
    }
}

/// Swaps so many times. Connections by the shared name go on over all of it, whichever way new ones take, and new ones always come about.
pub(crate) fn run(swaps: usize, family: &Family) -> Result<()> {
    let swapping = Swapping::new("nameswaps", family)?;
    let Family { private: servers, shared: web, nowhere } = *family;
    // The second one also allows the address of the shared name: new connections go straight out then.
    let ways = [format!("\"{SHARED}\""), format!("\"{SHARED}\", \"{web}\"")];
    swapping.apply(0, &ways[0])?;
    let shared = [swapping.ask(web, SHARED, Habit::Keeps), swapping.ask(nowhere, SHARED, Habit::Opens)].concat_all();
    let private = [0, 1].map(|at| swapping.ask(servers[at], PRIVATE_NAMES[at], Habit::Tries)).concat_all();
    let started = Instant::now();
    let mut late = 0;
    let mut wire = swapping.world.host().sniff("up0")?;
    for swap in 0..swaps {
        if swap % AT_ONCE == 0 {
            wire = swapping.world.host().sniff("up0")?;
        }
        // What was allowed is in use, so that it could go on.
        in_use(&private[2 * (swap % 2)..][..2]).with_context(|| swapping.daemon.log())?;
        swapping.apply((swap + 1) % 2, &ways[(swap + 1) % 2])?;
        let old = servers[swap % 2];
        let before = payloads(&mut wire, old)?;
        in_use(&shared)?;
        let after = payloads(&mut wire, old)?;
        late += after - before;
        ensure!(
            after == before,
            "swap {swap}: {} segments with data reached {old} after the other policy was acknowledged",
            after - before
        );
        ensure!(before > 0, "swap {swap}: nothing went to {old} while it might");
    }
    for asking in &shared {
        if let Some(failure) = asking.failure() {
            bail!("a connection to the shared name failed: {failure}\n{}", swapping.daemon.log());
        }
    }
    let sum = |all: &[Asking]| all.iter().fold((0, 0), |(a, b), one| (a + one.answered(), b + one.failed()));
    println!(
        "{swaps} swaps in {:?}: {late} late segments; answered and failed: shared {:?}, private {:?}",
        started.elapsed(),
        sum(&shared),
        sum(&private)
    );
    Ok(())
}

/// Swaps so many times, while the shared name moves: in one policy its name is allowed, in the other its address. What is asked after an
/// answer of the daemon's is always answered.
pub(crate) fn run_moves(swaps: usize, family: &Family) -> Result<()> {
    let swapping = Swapping::new("namemoves", family)?;
    let web = family.shared;
    let ways = [format!("\"{SHARED}\""), format!("\"{web}\"")];
    swapping.apply(0, &ways[0])?;
    let shared = swapping.ask(web, SHARED, Habit::Tries);
    let mut wire = swapping.world.host().sniff("up0")?;
    for swap in 0..swaps {
        if swap % AT_ONCE == 0 {
            wire = swapping.world.host().sniff("up0")?;
        }
        in_use(&shared)?;
        swapping.apply((swap + 1) % 2, &ways[(swap + 1) % 2])?;
        for port in [80, 443] {
            let asked = swapping.sandbox.within(|| {
                crate::servers::Line::open(SocketAddr::from((web, port)), SHARED).and_then(|mut line| line.ask())
            })?;
            asked.with_context(|| format!("swap {swap}: a new connection to port {port}"))?;
        }
    }
    let own = if web.is_ipv4() { IpAddr::V4(swapping.sandbox.v4) } else { IpAddr::V6(swapping.sandbox.v6) };
    let (direct, all) = (wire.count_from(own)?, payloads(&mut wire, web)?);
    ensure!(direct > 0 && all > 0, "it never went straight out");
    let failed: u64 = shared.iter().map(Asking::failed).sum();
    println!("{swaps} moves; connections that were cut by one: {failed}");
    Ok(())
}

/// Waits until each has been answered again.
fn in_use(all: &[Asking]) -> Result<()> {
    let before: Vec<u64> = all.iter().map(Asking::answered).collect();
    let more = || all.iter().zip(&before).all(|(asking, before)| asking.answered() > *before + 1);
    ensure!(wait_until(SOON, more), "not answered: {:?}", all.iter().find_map(Asking::failure));
    Ok(())
}

/// TCP segments with data to an address.
fn payloads(wire: &mut Sniffer, address: IpAddr) -> Result<usize> {
    wire.count(|frame| segment(frame, address).is_some_and(|(length, offset)| length > usize::from(offset) * 4))
}

/// How long a TCP segment to an address is, and how many words of it are the header.
fn segment(frame: &[u8], address: IpAddr) -> Option<(usize, u8)> {
    let length = |at: usize| Some(usize::from(u16::from_be_bytes(*frame.get(at..)?.first_chunk()?)));
    let (header, length) = match address {
        IpAddr::V4(v4) if frame[12..14] == [8, 0] && frame.get(23) == Some(&6) && frame.get(30..34)? == v4.octets() => {
            let header = usize::from(frame[14] & 0xf) * 4;
            (header, length(16)?.checked_sub(header)?)
        }
        IpAddr::V6(v6)
            if frame[12..14] == [0x86, 0xdd] && frame.get(20) == Some(&6) && frame.get(38..54)? == v6.octets() =>
        {
            (40, length(18)?)
        }
        _ => return None,
    };
    Some((length, frame.get(14 + header + 12)? >> 4))
}

/// Pairs in one list.
trait Concat {
    fn concat_all(self) -> Vec<Asking>;
}

impl Concat for [[Asking; 2]; 2] {
    fn concat_all(self) -> Vec<Asking> {
        self.into_iter().flatten().collect()
    }
}
