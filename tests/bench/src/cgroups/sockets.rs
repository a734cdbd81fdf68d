//! Datagrams and connections of sockets in five cgroups: two that nobody holds, one with a program that makes one lookup, a sandbox of
//! which nothing is left but its hook of `connect`, and a whole one.

use super::place::Cgroup;
use crate::control::daemon::Daemon;
use crate::figure::{Figure, Unit};
use crate::report::Section;
use crate::spread::Spread;
use crate::stats::{Series, difference, estimate};
use crate::world::{PORT, World};
use anyhow::{Context, Result, ensure};
use aya::maps::LpmTrie;
use aya::maps::lpm_trie::Key;
use aya::programs::{CgroupAttachMode, CgroupSkb, CgroupSkbAttachType};
use aya::{Ebpf, EbpfLoader};
use nix::libc::linger;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, connect, setsockopt, socket, sockopt};
use serde_json::{Value, json};
use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
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
const NAMES: [&str; 5] = ["bare", "again", "lookup", "hook", "filter"];
/// What the hook of `connect` over IPv4 is pinned as, behind the slot.
const HOOK: &str = "-cgroup_connect4";

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
        let mut daemon = Daemon::start("cgroups", &world.router, "")?;
        let cgroups: Vec<Cgroup> = NAMES.iter().map(|_| Cgroup::make()).collect::<Result<_>>()?;
        let spread = Spread::new(ENTRIES);
        let floor = floor(objects, &cgroups[2], spread)?;
        daemon.local().apply(&[document("hook", &cgroups[3], spread)])?;
        let of_hook = links(&daemon)?;
        daemon.local().apply(&[document("filter", &cgroups[4], spread)])?;
        // It would mend what is taken away.
        daemon.kill()?;
        for link in of_hook.iter().filter(|link| !link.to_string_lossy().ends_with(HOOK)) {
            fs::remove_file(link).with_context(|| link.display().to_string())?;
        }
        ensure!(links(&daemon)?.len() == of_hook.len() + 1, "one link of the first sandbox and all of the second");
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
        let to: Vec<SockaddrIn> =
            (0..CONNECTIONS).map(|_| SocketAddrV4::new(spread.inside(random), PORT).into()).collect();
        let router = &self.world.router;
        self.cgroups[of].inside(|| {
            router.within(|| {
                let mut took = 0;
                for to in &to {
                    let stream = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
                    let began = Instant::now();
                    connect(stream.as_raw_fd(), to)?;
                    took += began.elapsed().as_nanos();
                    // Without waiting at its end: thousands would.
                    setsockopt(&stream, sockopt::Linger, &linger { l_onoff: 1, l_linger: 0 })?;
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

/// What is pinned of the sandboxes that there are.
fn links(daemon: &Daemon) -> Result<Vec<PathBuf>> {
    let folder = daemon.links();
    let entries = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

fn document(id: &str, cgroup: &Cgroup, spread: Spread) -> Value {
    let allowed: Vec<String> = spread.prefixes().map(|prefix| prefix.to_string()).collect();
    json!({
        "version": 1,
        "id": id,
        "attach": { "cgroup": cgroup.path().display().to_string(), "allowPrivileged": true },
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

fn packets([bare, again, lookup, _, filter]: &Found) -> Section {
    let of = |series: &Series| estimate(&[series], |medians| medians[0]);
    let added = |series: &Series| of(&difference(series, bare));
    let (floor, ours) = (difference(lookup, bare), difference(filter, bare));
    Section::new("A datagram of a cgroup")
        .text(format!(
            "{SOCKETS} connected sockets of each cgroup on one host send datagrams to addresses of {ENTRIES} allowed /24s, in turns and in a new order each round: one call each, from the program to \
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

fn connects([bare, again, lookup, hook, filter]: &Found) -> Section {
    let of = |series: &Series| estimate(&[series], |medians| medians[0]);
    let against = |series: &Series| estimate(&[series, bare], |medians| medians[0] / medians[1]);
    Section::new("A connection of a cgroup")
        .text(format!(
            "`connect` to a server two devices away, until it has answered: {CONNECTIONS} of each cgroup in every round, in the same way. Besides the hook of `connect`, the two packets that leave and the one that \
             comes are judged; so one cgroup is a sandbox whose other programs were taken away, and shows the hook by itself."
        ))
        .figure(Figure::new("a bare connect", Unit::Nanoseconds, of(bare)))
        .figure(Figure::new("the bare one against itself", Unit::Ratio, against(again)))
        .figure(
            Figure::new("through the hook of connect", Unit::Ratio, against(hook))
                .must("a bare connect", 1.05, against(hook)),
        )
        .figure(
            Figure::new("through all of the filter", Unit::Ratio, against(filter))
                .beside("an empty program with one lookup where packets leave, and nothing else", against(lookup))
                .aim(
                    "a bare connect",
                    1.05,
                    against(filter),
                    "fewer lookups for the packets of a connection that the hook has judged: what the floor does for two packets is more already",
                ),
        )
}
