//! Two policies take turns: each allows a name of its own, and both a third. Kernel and sidecar change as one.

use crate::servers::{Asking, Habit, serve};
use crate::stage::SOON;
use anyhow::{Context, Result, bail, ensure};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;
use test_scenarios::{Daemon, document};
use test_world::internet::{GOOGLE, WEB};
use test_world::{Dnsmasq, Sandbox, Sniffer, World, wait_until};

/// The servers of the names that one policy each allows.
const PRIVATE: [Ipv4Addr; 2] = [Ipv4Addr::new(203, 0, 113, 71), Ipv4Addr::new(203, 0, 113, 72)];
const PRIVATE_NAMES: [&str; 2] = ["first.test", "second.test"];
/// Where nobody is, and no list allows to go.
const NOWHERE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 99);
const SHARED: &str = "shared.test";
/// Swaps that one sniffer sees.
const AT_ONCE: usize = 50;

struct Swapping {
    daemon: Daemon,
    sandbox: Sandbox,
    _resolver: Dnsmasq,
    world: World,
}

impl Swapping {
    fn new(name: &str) -> Result<Swapping> {
        let world = World::new(name)?;
        for address in PRIVATE {
            world.internet().add_address(address)?;
            serve(world.internet(), address)?;
        }
        serve(world.internet(), WEB)?;
        let records: [(&str, IpAddr); 3] =
            [(PRIVATE_NAMES[0], PRIVATE[0].into()), (PRIVATE_NAMES[1], PRIVATE[1].into()), (SHARED, WEB.into())];
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

    fn ask(&self, address: Ipv4Addr, name: &'static str, habit: Habit) -> [Asking; 2] {
        [80, 443].map(|port| Asking::start(&self.sandbox, SocketAddr::from((address, port)), name, habit))
    }
}

/// Swaps so many times. Connections by the shared name go on over all of it, whichever way new ones take, and new ones always come about.
pub(crate) fn run(swaps: usize) -> Result<()> {
    let swapping = Swapping::new("nameswaps")?;
    // The second one also allows the address of the shared name: new connections go straight out then.
    let ways = [format!("\"{SHARED}\""), format!("\"{SHARED}\", \"{WEB}\"")];
    swapping.apply(0, &ways[0])?;
    let shared = [swapping.ask(WEB, SHARED, Habit::Keeps), swapping.ask(NOWHERE, SHARED, Habit::Opens)].concat_all();
    let private = [0, 1].map(|at| swapping.ask(PRIVATE[at], PRIVATE_NAMES[at], Habit::Tries)).concat_all();
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
        let old = PRIVATE[swap % 2];
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
pub(crate) fn run_moves(swaps: usize) -> Result<()> {
    let swapping = Swapping::new("namemoves")?;
    let ways = [format!("\"{SHARED}\""), format!("\"{WEB}\"")];
    swapping.apply(0, &ways[0])?;
    let shared = swapping.ask(WEB, SHARED, Habit::Tries);
    let mut wire = swapping.world.host().sniff("up0")?;
    for swap in 0..swaps {
        if swap % AT_ONCE == 0 {
            wire = swapping.world.host().sniff("up0")?;
        }
        in_use(&shared)?;
        swapping.apply((swap + 1) % 2, &ways[(swap + 1) % 2])?;
        for port in [80, 443] {
            let asked = swapping.sandbox.within(|| {
                crate::servers::Line::open(SocketAddr::from((WEB, port)), SHARED).and_then(|mut line| line.ask())
            })?;
            asked.with_context(|| format!("swap {swap}: a new connection to port {port}"))?;
        }
    }
    let (direct, all) = (wire.count_from(swapping.sandbox.v4.into())?, payloads(&mut wire, WEB)?);
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
fn payloads(wire: &mut Sniffer, address: Ipv4Addr) -> Result<usize> {
    wire.count(|frame| {
        let is_its =
            frame.len() >= 54 && frame[12..14] == [8, 0] && frame[23] == 6 && frame[30..34] == address.octets();
        if !is_its {
            return false;
        }
        let header = usize::from(frame[14] & 0xf) * 4;
        let total = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
        let offset = frame.get(14 + header + 12).map_or(5, |byte| byte >> 4);
        total > header + usize::from(offset) * 4
    })
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
