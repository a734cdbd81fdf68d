//! Sandboxes that come and go, in slots and on devices that others had before them.

use crate::probe::Way;
use crate::times::Times;
use crate::{Idle, SOON, number};
use anyhow::{Context, Result, ensure};
use filter_ctl::api::State;
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use test_faults::leaks::Scope;
use test_scenarios::{Daemon, Local};
use test_world::{Node, World, wait_until};

/// Devices that the sandboxes take turns on.
const DEVICES: u32 = 6;
/// Sandboxes that are there at a time. Fewer than devices: each finds another slot than its device's last sandbox had.
const ALIVE: u32 = 4;
/// How many predecessors' destinations each is probed with.
const BACK: u32 = DEVICES + 1;
/// Of so many one is looked at from all sides: closing a packet socket waits for a grace period.
const SAMPLE: u32 = 7;
/// Memory that a daemon may take beyond what it had after the first sandboxes, in KiB.
const GROWTH: u64 = 12 << 10;

#[test]
fn sandboxes_come_and_go_and_nothing_stays() -> Result<()> {
    let cycles = number("MANY_CYCLES", 100)?;
    let world = World::new("cycles")?;
    let host = world.host();
    let daemon = Daemon::start(&world, "")?;
    let api = Local::new(daemon.socket());
    let mut turns = Turns {
        world: &world,
        api,
        cycles,
        create: Times::default(),
        delete: Times::default(),
        detach: Times::default(),
    };
    // Allocators and caches have what they need after the first few.
    turns.warm_up()?;
    let idle = Idle::of(&daemon, Scope::default().node(host))?;
    for device in 0..DEVICES {
        add_device(host, device)?;
    }
    for cycle in 0..cycles {
        turns.come(cycle).with_context(|| format!("sandbox {cycle} of {cycles}"))?;
        if let Some(oldest) = cycle.checked_sub(ALIVE - 1) {
            turns.go(oldest).with_context(|| format!("the end of sandbox {oldest} of {cycles}"))?;
        }
        if cycle > 0 && cycle % 1_000 == 0 {
            println!("{cycle} sandboxes have come");
        }
    }
    for last in cycles.saturating_sub(ALIVE - 1)..cycles {
        turns.go(last)?;
    }
    turns.create.print("create");
    turns.delete.print("delete");
    turns.detach.print("detach");
    let vanished = (cycles.saturating_sub(DEVICES)..cycles).filter(|cycle| end_of(*cycle) == End::DeviceVanishes);
    let vanished: Vec<u32> = vanished.map(|cycle| cycle % DEVICES).collect();
    for device in (0..DEVICES).filter(|device| !vanished.contains(device)) {
        host.ip(&format!("link del s{device}"))?;
    }
    idle.is_again(&daemon, GROWTH)
}

struct Turns<'a> {
    world: &'a World,
    api: Local,
    cycles: u32,
    create: Times,
    delete: Times,
    detach: Times,
}

impl Turns<'_> {
    fn warm_up(&self) -> Result<()> {
        let host = self.world.host();
        add_device(host, 0)?;
        for _ in 0..ALIVE {
            self.api.apply(&[document(0)])?;
            self.api.detach("c0")?;
        }
        host.ip("link del s0").map(drop)
    }

    /// Makes a sandbox, on a new device now and then, and sees that its policy is its own.
    fn come(&mut self, cycle: u32) -> Result<()> {
        let (host, device) = (self.world.host(), cycle % DEVICES);
        let again = cycle / DEVICES;
        if again > 0 && (again + device).is_multiple_of(3) {
            if end_of(cycle - DEVICES) != End::DeviceVanishes {
                host.ip(&format!("link del s{device}"))?;
            }
            add_device(host, device)?;
        } else if again > 0 && end_of(cycle - DEVICES) == End::DeviceVanishes {
            add_device(host, device)?;
        }
        self.create.of(|| self.api.apply(&[document(cycle)]))?;
        self.is_own(cycle)
    }

    fn go(&mut self, cycle: u32) -> Result<()> {
        let id = format!("c{cycle}");
        if cycle.is_multiple_of(SAMPLE) {
            // It had its policy to the end.
            self.is_own(cycle)?;
        }
        match end_of(cycle) {
            End::Detached => self.detach.of(|| self.api.detach(&id)),
            End::Sealed => {
                self.delete.of(|| self.api.delete(&id))?;
                ensure!(self.api.status(&id)?.state == State::Sealed);
                if cycle + 1 < self.cycles && cycle.is_multiple_of(SAMPLE) {
                    self.is_sealed(cycle)?;
                }
                self.detach.of(|| self.api.detach(&id))
            }
            End::DeviceVanishes => {
                self.world.host().ip(&format!("link del s{}", cycle % DEVICES))?;
                let gone = || self.api.status(&id).is_ok_and(|status| status.state == State::Detached);
                ensure!(wait_until(SOON, gone), "its device has vanished, and it stays");
                self.api.delete(&id)
            }
        }
    }

    /// Only what this sandbox allows passes, and nothing that those before it allowed; of some it is seen towards them as well.
    fn is_own(&self, cycle: u32) -> Result<()> {
        let (outward, inward) = (self.outward(cycle), self.inward(cycle));
        let others = (cycle.saturating_sub(BACK)..cycle + BACK).filter(|other| *other != cycle);
        let (me, mine) = (source(cycle), destination(cycle));
        let denied: Vec<_> = others.map(|other| (me, destination(other))).collect();
        outward.through(|way| way.lets_only_pass(&denied, (me, mine))).context("from the sandbox")?;
        if !cycle.is_multiple_of(SAMPLE) {
            return Ok(());
        }
        let denied: Vec<_> = denied.iter().map(|(me, theirs)| (*theirs, *me)).collect();
        inward.through(|way| way.lets_only_pass(&denied, (mine, me))).context("towards the sandbox")
    }

    /// Nothing passes a sealed device; what another sandbox sends shows when all has come that could.
    fn is_sealed(&self, cycle: u32) -> Result<()> {
        let mut seen = self.world.internet().sniff("host0")?;
        self.outward(cycle).through(|way| way.send_only((source(cycle), destination(cycle))))?;
        let live = cycle + 1;
        self.outward(live).through(|way| way.lets_only_pass(&[], (source(live), destination(live))))?;
        ensure!(seen.count_to(destination(cycle).into())? == 0, "it is sealed, and its packet has passed");
        Ok(())
    }

    fn outward(&self, cycle: u32) -> Path<'_> {
        let device = cycle % DEVICES;
        let (host, internet) = (self.world.host(), &**self.world.internet());
        Path {
            enter: (host, format!("f{device}")),
            leave: (internet, "host0".to_owned()),
            macs: (OWN, gateway(device)),
        }
    }

    fn inward(&self, cycle: u32) -> Path<'_> {
        let device = cycle % DEVICES;
        let (host, internet) = (self.world.host(), &**self.world.internet());
        Path { enter: (internet, "host0".to_owned()), leave: (host, format!("f{device}")), macs: (HOST0, UP0) }
    }
}

struct Path<'a> {
    enter: (&'a Node, String),
    leave: (&'a Node, String),
    macs: ([u8; 6], [u8; 6]),
}

impl Path<'_> {
    fn through<T>(&self, work: impl FnOnce(&Way<'_>) -> Result<T>) -> Result<T> {
        work(&Way { enter: (self.enter.0, &self.enter.1), leave: (self.leave.0, &self.leave.1), macs: self.macs })
    }
}

/// How a sandbox ends.
#[derive(PartialEq, Eq)]
enum End {
    Detached,
    Sealed,
    DeviceVanishes,
}

fn end_of(cycle: u32) -> End {
    match cycle % 5 {
        0 | 2 => End::Detached,
        1 | 3 => End::Sealed,
        _ => End::DeviceVanishes,
    }
}

/// The MAC address that stands for every sandbox. No device has it: the host, which the far ends are on, would send on what arrives.
const OWN: [u8; 6] = [2, 0, 0, 0, 9, 2];
/// The ends of the link between the world's host and its internet.
const UP0: [u8; 6] = [2, 0, 0, 1, 0, 1];
const HOST0: [u8; 6] = [2, 0, 0, 1, 0, 2];

fn gateway(device: u32) -> [u8; 6] {
    [2, 0, 0, 0, 8, device as u8]
}

/// The only destination that a sandbox may send to.
fn destination(cycle: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(11, 0, 0, 1)) + cycle)
}

/// A sandbox's address: that of its device, so the next one there has it as well.
fn source(cycle: u32) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 3, 10 + (cycle % DEVICES) as u8)
}

fn document(cycle: u32) -> Value {
    json!({
        "version": 1,
        "id": format!("c{cycle}"),
        "attach": { "interface": format!("s{}", cycle % DEVICES) },
        "addresses": [source(cycle)],
        "onDeny": "drop",
        "network": { "denyOut": ["0.0.0.0/0"], "allowOut": [destination(cycle)] },
    })
}

/// Makes a device with both its ends on the host, the far one for frames alone.
fn add_device(host: &Node, device: u32) -> Result<()> {
    let mac = |mac: [u8; 6]| mac.map(|byte| format!("{byte:02x}")).join(":");
    host.ip_batch(&format!(
        "link add s{device} address {} type veth peer name f{device}\n\
         link set f{device} arp off up\n\
         link set s{device} up\n\
         neighbour add {address} lladdr {} dev s{device} nud permanent\n\
         route add {address}/32 dev s{device}\n",
        mac(gateway(device)),
        mac(OWN),
        address = source(device),
    ))
}
