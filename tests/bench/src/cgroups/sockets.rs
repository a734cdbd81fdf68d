//! Datagrams and connections of sockets in four cgroups: two that nobody holds, one with a program that makes one lookup, and a sandbox.

use super::place::Cgroup;
use crate::control::daemon::Daemon;
use crate::figure::{Figure, Unit};
use crate::report::Section;
use crate::spread::Spread;
use crate::stats::{Series, difference, estimate};
use crate::world::{PORT, World};
use anyhow::{Context, Result};
use aya::maps::LpmTrie;
use aya::maps::lpm_trie::Key;
use aya::programs::{CgroupAttachMode, CgroupSkb, CgroupSkbAttachType};
use aya::{Ebpf, EbpfLoader};
use serde_json::{Value, json};
use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::time::Instant;

/// Entries of the list.
const ENTRIES: u32 = 1_000;
/// Sockets of each cgroup, each with a destination of its own.
const SOCKETS: usize = 64;
/// Datagrams over each socket in a round.
const TIMES: usize = 8;
/// Connections of each cgroup in a round.
const CONNECTIONS: usize = 16;
/// The cgroups.
const NAMES: [&str; 4] = ["bare", "again", "lookup", "filter"];

/// Nanoseconds of each cgroup.
type Found = [Series; NAMES.len()];

struct Stage {
    cgroups: Vec<Cgroup>,
    sockets: Vec<Vec<UdpSocket>>,
    _floor: Ebpf,
    _daemon: Daemon,
    world: World,
}

impl Stage {
    fn new(objects: &Path, random: &mut fastrand::Rng) -> Result<Stage> {
        let world = World::new()?;
        let daemon = Daemon::start("cgroups", &world.router, "")?;
        let cgroups: Vec<Cgroup> = NAMES.iter().map(|name| Cgroup::make(name)).collect::<Result<_>>()?;
        let spread = Spread::new(ENTRIES);
        let floor = floor(objects, &cgroups[2], spread)?;
        daemon.local().apply(&[document(&cgroups[3], spread)])?;
        let destinations: Vec<Ipv4Addr> = (0..SOCKETS).map(|_| spread.inside(random)).collect();
        let connected = |to: &Ipv4Addr| -> Result<UdpSocket> {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            socket.connect((*to, PORT))?;
            Ok(socket)
        };
        let sockets = |cgroup: &Cgroup| {
            cgroup.inside(|| world.router.within(|| destinations.iter().map(connected).collect::<Result<Vec<_>>>()))
        };
        let sockets = cgroups.iter().map(sockets).collect::<Result<_>>()?;
        Ok(Stage { cgroups, sockets, _floor: floor, _daemon: daemon, world })
    }

    /// The mean time of sending a datagram, which ends when the server has it.
    fn datagram(&self, of: usize) -> Result<f64> {
        let began = Instant::now();
        for _ in 0..TIMES {
            for socket in &self.sockets[of] {
                socket.send(b"datagram")?;
            }
        }
        let took = began.elapsed();
        let mut bytes = [0; 64];
        loop {
            match self.world.receiver.recv(&mut bytes) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(took.as_nanos() as f64 / (TIMES * SOCKETS) as f64)
    }

    /// The mean time of `connect`, which ends when the server has answered.
    fn connection(&self, of: usize, spread: Spread, random: &mut fastrand::Rng) -> Result<f64> {
        let to: Vec<SocketAddr> = (0..CONNECTIONS).map(|_| (spread.inside(random), PORT).into()).collect();
        let router = &self.world.router;
        self.cgroups[of].inside(|| {
            router.within(|| {
                let mut took = 0;
                for to in &to {
                    let began = Instant::now();
                    let stream = TcpStream::connect(to)?;
                    took += began.elapsed().as_nanos();
                    // Without waiting at its end: thousands would.
                    nix::sys::socket::setsockopt(
                        &stream,
                        nix::sys::socket::sockopt::Linger,
                        &nix::libc::linger { l_onoff: 1, l_linger: 0 },
                    )?;
                    drop(stream);
                    accepted(&self.world.listener)?;
                }
                Ok(took as f64 / CONNECTIONS as f64)
            })
        })
    }
}

fn accepted(listener: &TcpListener) -> Result<()> {
    match listener.accept() {
        // One that the client has ended already is no connection any more.
        Ok(_) => Ok(()),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionAborted) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// One program where the sandbox has its own for packets that leave, with one lookup of the same list.
fn floor(objects: &Path, cgroup: &Cgroup, spread: Spread) -> Result<Ebpf> {
    let path = objects.join("floors.o");
    let object = fs::read(&path).with_context(|| path.display().to_string())?;
    let mut ebpf = EbpfLoader::new().load(&object)?;
    let map = ebpf.map_mut("PREFIXES").context("the object has no prefixes")?;
    let mut prefixes = LpmTrie::<_, [u8; 16], u32>::try_from(map)?;
    for prefix in spread.prefixes() {
        let key = Key::new(96 + u32::from(prefix.prefix_len()), prefix.network().to_ipv6_mapped().octets());
        prefixes.insert(&key, 1, 0)?;
    }
    let program = ebpf.program_mut("cgroup_lookup").context("the object has no such program")?;
    let program: &mut CgroupSkb = program.try_into()?;
    program.load()?;
    program.attach(cgroup.open()?, CgroupSkbAttachType::Egress, CgroupAttachMode::default())?;
    Ok(ebpf)
}

fn document(cgroup: &Cgroup, spread: Spread) -> Value {
    let allowed: Vec<String> = spread.prefixes().map(|prefix| prefix.to_string()).collect();
    json!({
        "version": 1,
        "id": "bench",
        "attach": { "cgroup": cgroup.path.display().to_string(), "allowPrivileged": true },
        "addresses": "any",
        "network": { "denyOut": ["0.0.0.0/0"], "allowOut": allowed },
    })
}

/// Measures all in every round, in a new order each time.
pub(super) fn measure(objects: &Path, blocks: usize, rounds: usize) -> Result<(Section, Section)> {
    let mut random = fastrand::Rng::new();
    let spread = Spread::new(ENTRIES);
    let (mut datagrams, mut connections) = (Found::default(), Found::default());
    for _ in 0..blocks {
        let stage = Stage::new(objects, &mut random)?;
        for found in datagrams.iter_mut().chain(&mut connections) {
            found.push(Vec::new());
        }
        let mut order: Vec<usize> = (0..NAMES.len()).collect();
        for _ in 0..rounds {
            random.shuffle(&mut order);
            for of in &order {
                datagrams[*of].last_mut().expect("a block").push(stage.datagram(*of)?);
            }
            random.shuffle(&mut order);
            for of in &order {
                connections[*of].last_mut().expect("a block").push(stage.connection(*of, spread, &mut random)?);
            }
        }
    }
    Ok((packets(&datagrams), connects(&connections)))
}

fn packets([bare, again, lookup, filter]: &Found) -> Section {
    let of = |series: &Series| estimate(&[series], |medians| medians[0]);
    let added = |series: &Series| of(&difference(series, bare));
    let (floor, ours) = (difference(lookup, bare), difference(filter, bare));
    Section::new("A datagram of a cgroup")
        .text(format!(
            "{SOCKETS} connected sockets of each of four cgroups on one host send datagrams to addresses of {ENTRIES} allowed /24s, in turns and in a new order each round: one call each, from the program to \
             the server's socket. Two of the cgroups have nothing, one has one program that looks once into an LPM trie of the same list, and one is a sandbox: identity by the cgroup, the checks, the list, the counters."
        ))
        .figure(Figure::new("a bare datagram", Unit::Nanoseconds, of(bare)))
        .figure(
            Figure::new("the bare one against itself", Unit::Nanoseconds, added(again))
                .note("half the width of this interval is the least that can be told apart"),
        )
        .figure(Figure::new("added by an empty program with one lookup", Unit::Nanoseconds, added(lookup)))
        .figure(Figure::new("added by the filter", Unit::Nanoseconds, added(filter)).must(
            "what an empty program and one lookup add",
            1.3,
            estimate(&[&ours, &floor], |medians| medians[0] / medians[1]),
        ))
}

fn connects([bare, again, lookup, filter]: &Found) -> Section {
    let of = |series: &Series| estimate(&[series], |medians| medians[0]);
    let against = |series: &Series| estimate(&[series, bare], |medians| medians[0] / medians[1]);
    Section::new("A connection of a cgroup")
        .text(format!(
            "`connect` to a server two devices away, until it has answered: {CONNECTIONS} of each cgroup in every round, in the same way."
        ))
        .figure(Figure::new("a bare connect", Unit::Nanoseconds, of(bare)))
        .figure(Figure::new("the bare one against itself", Unit::Ratio, against(again)))
        .figure(Figure::new("with an empty program and one lookup", Unit::Ratio, against(lookup)))
        .figure(Figure::new("through the filter", Unit::Ratio, against(filter)).must("a bare connect", 1.05, against(filter)))
}
