//! Where it is measured: the world of the kernel's benchmark, in whose router are the daemon with its sidecar and the peers.

use super::NAME;
use super::alone::{self, Alone};
use super::hello::hello;
use super::load::Aim;
use super::peers::{PEERS, Running, on_cpu};
use super::server::{PORT, Server};
use crate::control::daemon::Daemon;
use crate::world::{Client, LANES, Netns, SOMEBODY, World};
use anyhow::{Context, Result, ensure};
use filter_ctl::api::Change;
use nix::time::{ClockId, clock_gettime};
use serde_json::json;
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

/// Who resolves names.
const RESOLVER: Ipv4Addr = Ipv4Addr::new(11, 0, 0, 53);
/// Where the sandbox believes the name to be; the lists deny it.
const NOWHERE: Ipv4Addr = Ipv4Addr::new(11, 1, 0, 0);
/// Sockets that the sandbox may have, so that its connections are as many as the rivals'.
pub(super) const SOCKETS: u32 = 25_000;
/// After so long it will not come up.
const PATIENCE: Duration = Duration::from_secs(20);

/// Names of the ways from a client to the server, as series have them.
pub(super) const DIRECT: &str = "direct";
/// The other way without a relay: the A/A of the run.
pub(super) const AGAIN: &str = "again";
/// Through the filter and its sidecar.
pub(super) const OURS: &str = "ours";

/// Through the sidecar alone.
pub(super) const ALONE: &str = "alone";

/// The world, and all that runs in it.
pub(super) struct Place {
    /// The server.
    pub(super) server: Server,
    hello: Vec<u8>,
    peers: Vec<Running>,
    sidecar: u32,
    alone: Alone,
    _daemon: Daemon,
    _resolver: Running,
    world: World,
    folder: PathBuf,
}

impl Place {
    /// A new one, on a CPU. Call it on the main thread.
    pub(super) fn new(cpu: usize) -> Result<Place> {
        let world = World::new()?;
        // The daemon opens a listener for each family.
        world.router.sysctls(&[("net.ipv6.conf.lo.disable_ipv6", "0")])?;
        let folder = std::env::temp_dir().join(format!("sandbox-filter-bench-{}-relays", std::process::id()));
        // A place that has failed leaves it.
        fs::remove_dir_all(&folder).ok();
        fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let server = Server::start(&world.server)?;
        let resolver = resolver(&world.server, cpu)?;
        let start = |peer: &super::peers::Peer| peer.start(&world.router, cpu, &folder);
        let peers = PEERS.iter().map(start).collect::<Result<_>>()?;
        let config = format!("resolvers: [\"{RESOLVER}\"]\nsidecar: {{ sockets: {SOCKETS} }}\n");
        let daemon = Daemon::start_on("names", &world.router, &config, Some(cpu))?;
        let document = json!({
            "version": 1,
            "id": "bench",
            "attach": { "interface": LANES[0].device },
            "addresses": [LANES[0].client],
            "network": { "denyOut": ["0.0.0.0/0"], "allowOut": [NAME] },
        });
        let reply = daemon.local().apply(&[document])?;
        ensure!(reply.results.iter().all(|applied| applied.change == Change::Created), "{:?}", reply.results);
        let sidecar = child_of(daemon.pid()).context("the daemon has no sidecar")?;
        let alone = Alone::start(&world.router, cpu, RESOLVER.into())?;
        let place = Place {
            alone,
            server,
            hello: hello(NAME),
            peers,
            sidecar,
            _daemon: daemon,
            _resolver: resolver,
            world,
            folder,
        };
        for way in Place::ways() {
            place.wait(way)?;
        }
        Ok(place)
    }

    /// All ways from a client to the server.
    pub(super) fn ways() -> impl Iterator<Item = &'static str> {
        [DIRECT, AGAIN, OURS, ALONE].into_iter().chain(PEERS.iter().map(|peer| peer.key))
    }

    /// The client of a way, and what it aims at.
    pub(super) fn way(&self, key: &str) -> (&Client, Aim<'_>) {
        let peer = PEERS.iter().find(|peer| peer.key == key);
        let to = match key {
            OURS => SocketAddrV4::new(NOWHERE, PORT),
            ALONE => alone::ADDRESS,
            _ => peer.map_or(SocketAddrV4::new(SOMEBODY, PORT), super::peers::Peer::address),
        };
        (&self.world.clients[usize::from(key != OURS)], Aim { to, hello: &self.hello })
    }

    /// The process of a way's relay.
    pub(super) fn relay(&self, key: &str) -> Option<u32> {
        let peer = PEERS.iter().position(|peer| peer.key == key);
        match key {
            OURS => Some(self.sidecar),
            ALONE => Some(self.alone.running.pid()),
            _ => peer.map(|at| self.peers[at].pid()),
        }
    }

    /// The CPU time that the clients, the server and a way's relay have had, in nanoseconds.
    pub(super) fn cpu_time(&self, key: &str) -> Result<f64> {
        let own = Duration::from(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?).as_nanos() as f64;
        let Some(pid) = self.relay(key) else { return Ok(own) };
        let mut sum = own;
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            let text = fs::read_to_string(thread?.path().join("schedstat"))?;
            sum += text.split(' ').next().context("no time")?.parse::<f64>()?;
        }
        Ok(sum)
    }

    /// Ends what runs in it.
    ///
    /// # Errors
    /// When the server has failed.
    pub(super) fn end(mut self) -> Result<()> {
        self.server.end()
    }

    fn wait(&self, key: &str) -> Result<()> {
        let begun = Instant::now();
        let (client, aim) = self.way(key);
        loop {
            match client.netns.within(|| aim.once()) {
                Ok(()) => return Ok(()),
                Err(error) if begun.elapsed() > PATIENCE => {
                    let log = fs::read_to_string(self.folder.join(key).with_extension("log")).unwrap_or_default();
                    return Err(error).with_context(|| format!("{key} does not carry anything: {log}"));
                }
                Err(_) => thread::sleep(Duration::from_millis(20)),
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            eprintln!("{} was not removed: {error}", self.folder.display());
        }
    }
}

fn resolver(netns: &Netns, cpu: usize) -> Result<Running> {
    let child = on_cpu(netns, cpu)
        .args(["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root"])
        .args(["--bind-interfaces", "--pid-file="])
        .arg(format!("--listen-address={RESOLVER}"))
        .arg(format!("--host-record={NAME},{SOMEBODY},3600"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start dnsmasq")?;
    Ok(Running::of(child))
}

/// A process that another one has started.
fn child_of(parent: u32) -> Option<u32> {
    let processes = fs::read_dir("/proc").ok()?;
    let parent_of = |pid: u32| {
        let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
        // Behind the name, which is in brackets: the state and the parent.
        stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse::<u32>().ok()
    };
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.into_iter().find(|pid| parent_of(*pid) == Some(parent))
}
