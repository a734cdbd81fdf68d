//! A world with everything that a kill is watched by.

use crate::flood::{Flood, Witness};
use crate::flow::Flow;
use anyhow::{Context, Result, ensure};
use filter_ctl::api::{SandboxStatus, State};
use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use test_faults::leaks::{Scope, Snapshot};
use test_faults::slots::{self, Slot};
use test_faults::{FAIL_POINT, with_fail_points};
use test_scenarios::{Daemon, Ended, document};
use test_world::internet::{WEB, WEB_ELSEWHERE, WEB_NEIGHBOUR};
use test_world::{Node, Sandbox, UdpEcho, World, poll, wait_until};

/// How long something that must happen may take.
pub(crate) const SOON: Duration = Duration::from_secs(10);
/// Denied packets a second from the sandbox that stays, more than the ten thousand that are to be shown.
const RATE: u64 = 14_000;
/// And from the one that comes and goes.
const RATE_B: u64 = 3_000;
/// Port of the echo.
const ECHO: u16 = 9000;
/// Port towards which a stranger sends.
const STRANGE: u16 = 7777;
/// Two sandboxes under load. `a` stays attached and changes between two policies; `b` comes and goes.
pub(crate) struct Stage {
    /// How its daemon attaches: `tcx` or `clsact`.
    pub(crate) hook: &'static str,
    pub(crate) a: Sandbox,
    pub(crate) b: Sandbox,
    pub(crate) a_flood: Flood,
    pub(crate) b_flood: Flood,
    pub(crate) a_witness: Witness,
    pub(crate) b_witness: Witness,
    pub(crate) flow: Flow,
    stranger: Stranger,
    pub(crate) daemon: Daemon,
    /// Names the point at which the daemon dies.
    arm: PathBuf,
    _echo: UdpEcho,
    /// What there was before the daemon ran for the first time, and with an idle one that has stopped.
    nothing: Snapshot,
    idle: Snapshot,
    pub(crate) world: World,
}

impl Stage {
    /// Makes the world, without a daemon that runs; nothing is attached.
    pub(crate) fn new(name: &str, hook: &'static str) -> Result<Stage> {
        let world = World::new(name)?;
        world.host().sysctls(&[("net.ipv6.conf.all.keep_addr_on_down", "1")])?;
        let (a, b) = (world.sandbox("a")?, world.sandbox("b")?);
        let (a_witness, b_witness) = (Witness::new(&world, "wa", 66)?, Witness::new(&world, "wb", 77)?);
        let arm = world.dir().join("fail-point");
        let daemon = Daemon::prepare(&world, "daemon", &format!("hook: {hook}\n"))?.with_program(
            &with_fail_points()?,
            FAIL_POINT,
            &arm,
        );
        let echo = world.internet().udp_echo(ECHO)?;
        let nothing = Snapshot::take(&scope(&world, &daemon))?;
        Ok(Stage {
            hook,
            a_flood: Flood::start(&a, &a_witness, RATE)?,
            b_flood: Flood::start(&b, &b_witness, RATE_B)?,
            flow: Flow::start(&a, world.internet(), WEB)?,
            stranger: Stranger::start(world.internet(), &a)?,
            idle: nothing.clone(),
            nothing,
            a,
            b,
            a_witness,
            b_witness,
            daemon,
            arm,
            _echo: echo,
            world,
        })
    }

    /// Runs the daemon for the first time, until it is idle again.
    pub(crate) fn first_life(&mut self) -> Result<()> {
        self.daemon.begin()?;
        self.daemon.apply(&self.policy(0))?;
        self.daemon.detach("a")?;
        self.stop()
    }

    /// Remembers what an idle daemon leaves when it has stopped. No daemon of any stage runs.
    pub(crate) fn remember(&mut self) -> Result<()> {
        self.idle = Snapshot::take(&scope(&self.world, &self.daemon))?;
        Ok(())
    }

    /// Attaches `a`. What is denied got through until now, so the witnesses can see; from now on nothing may.
    pub(crate) fn begin(&mut self) -> Result<()> {
        self.daemon.begin()?;
        ensure!(wait_until(SOON, || self.a_witness.arrived().is_ok_and(|arrived| arrived > 1_000)), "no flood");
        ensure!(wait_until(SOON, || self.stranger.arrived() > 0), "no stranger");
        self.daemon.apply(&self.policy(0))?;
        self.a_witness.settled()?;
        self.stranger.settled()
    }

    /// Takes everything off and stops.
    pub(crate) fn end(&mut self) -> Result<()> {
        for status in self.daemon.list()? {
            self.daemon.detach(&status.id)?;
        }
        self.stop()
    }

    /// Everything is as an idle daemon left it.
    pub(crate) fn is_idle(&self) -> Result<()> {
        self.idle.comes_back(&scope(&self.world, &self.daemon)).context("after everything was detached")
    }

    /// Removes what a daemon leaves.
    pub(crate) fn purge(&self) -> Result<()> {
        let pins = self.daemon.pin_dir().display().to_string();
        self.daemon.ctl(&["purge", "--pin-dir", &pins])?.ok()?;
        fs::remove_dir_all(self.daemon.state_dir()).context("cannot remove the records")
    }

    /// Everything is as it was before there was a daemon.
    pub(crate) fn is_nothing(&self) -> Result<()> {
        self.nothing.comes_back(&scope(&self.world, &self.daemon)).context("after purge")
    }

    fn stop(&mut self) -> Result<()> {
        let ended = self.daemon.stop()?;
        ensure!(ended.code() == Some(0) && !self.daemon.socket().exists(), "it did not stop: {}", ended.stderr);
        Ok(())
    }

    /// The document of `a` with one of its two policies. Both allow the flow; they differ in a destination and in a field outside
    /// the lists.
    pub(crate) fn policy(&self, which: usize) -> String {
        // More than the first page of a policy has room for.
        let others: String = (0..200).map(|nth| format!(", \"11.{nth}.0.1\"")).collect();
        let both = r#"denyOut: ["0.0.0.0/0"], allowOut: ["203.0.113.10", "2001:db8:10::10""#;
        match which {
            0 => document(&self.a, &format!("{both}{others}]")),
            _ => {
                let document = document(&self.a, &format!("{both}, \"192.0.2.10\"{others}]"));
                format!("inboundFrom: [203.0.113.99]\n{document}")
            }
        }
    }

    /// The document of `b`.
    pub(crate) fn document_b(&self) -> String {
        document(&self.b, r#"denyOut: ["0.0.0.0/0"], allowOut: ["203.0.113.10"]"#)
    }

    /// Names the point at which the daemon, running or to be started, dies.
    pub(crate) fn arm(&self, point: &str) -> Result<()> {
        Ok(fs::write(&self.arm, point)?)
    }

    /// The daemon has died by its own hand, at the point that was named; it cannot again.
    pub(crate) fn has_died(&mut self, point: &str) -> Result<()> {
        let ended = self.daemon.dies().with_context(|| format!("{point} was not reached"))?;
        self.killed(point, &ended)
    }

    /// Starts the daemon, which dies while it takes over.
    pub(crate) fn dies_at_start(&mut self, point: &str) -> Result<()> {
        let ended = self.daemon.ends(&[]).with_context(|| format!("{point} was not reached"))?;
        self.killed(point, &ended)
    }

    fn killed(&self, point: &str, ended: &Ended) -> Result<()> {
        fs::remove_file(&self.arm)?;
        let told = format!("fail point {point}: killed");
        let killed = ended.status.signal() == Some(Signal::SIGKILL as i32);
        ensure!(killed && ended.stderr.contains(&told), "at {point} it ended {}: {}", ended.status, ended.stderr);
        Ok(())
    }

    /// Without a daemon: the flood goes on in vain, the flow in earnest.
    pub(crate) fn enforcement_goes_on(&self) -> Result<()> {
        let before = self.a_flood.sent();
        let sends = wait_until(SOON, || self.a_flood.sent() > before + 500);
        ensure!(sends && self.a_flood.is_alive() && self.b_flood.is_alive(), "a flood has ended");
        self.flow.goes_on()
    }

    /// A new daemon takes over. Tells whether it left the kernel as it was.
    pub(crate) fn takes_over(&mut self) -> Result<bool> {
        let before = slots::slots(self.daemon.pin_dir())?;
        self.daemon.begin()?;
        Ok(slots::slots(self.daemon.pin_dir())? == before)
    }

    /// Strangers' packets that have reached `a` since the last call.
    pub(crate) fn strangers(&self) -> u64 {
        self.stranger.arrived()
    }

    /// What the daemon says, what is on disk and what the kernel holds are the same, and nothing is there that nobody knows.
    /// Tells how each sandbox is.
    pub(crate) fn agrees(&self) -> Result<BTreeMap<String, SandboxStatus>> {
        let slots = slots::slots(self.daemon.pin_dir())?;
        let mut known = BTreeMap::new();
        for status in self.daemon.list()? {
            if status.state != State::Detached {
                let slot = self.slot(&status.id)?;
                let held = slots.get(&slot).with_context(|| format!("{}: slot {slot} is empty", status.id))?;
                self.slot_is(held, &status)?;
                known.insert(slot, ());
            }
            if status.state == State::Active {
                self.judges(&status)?;
            }
        }
        let unknown: Vec<_> = slots.iter().filter(|(slot, _)| !known.contains_key(slot)).collect();
        ensure!(unknown.is_empty(), "nobody knows {unknown:?}");
        let all: BTreeMap<_, _> = self.daemon.list()?.into_iter().map(|status| (status.id.clone(), status)).collect();
        // What the next daemon would find, also after a power cut.
        let records = self.daemon.records()?;
        ensure!(records.keys().eq(all.keys()), "{:?} are on disk, {:?} are held", records.keys(), all.keys());
        for (id, status) in &all {
            let generation = &records[id]["generation"];
            ensure!(*generation == status.generation, "{id}: {generation} is on disk, `get` says {status:?}");
        }
        Ok(all)
    }

    /// The slot of a sandbox, as its record has it.
    pub(crate) fn slot(&self, id: &str) -> Result<u32> {
        let records = self.daemon.records()?;
        let slot = records.get(id).with_context(|| format!("no record of {id}"))?["slot"]
            .as_u64()
            .context("a record without a slot")?;
        Ok(u32::try_from(slot)?)
    }

    fn slot_is(&self, held: &Slot, status: &SandboxStatus) -> Result<()> {
        ensure!(status.hook == self.hook, "{} is attached by {}", status.id, status.hook);
        ensure!(held.is_whole(), "{} is in parts: {held:?}", status.id);
        let second = status.id == "a" && which(status) == 1;
        let expected = (Some(status.generation), status.state == State::Sealed, u16::from(second));
        let found = (held.generation, held.sealed, held.inbound);
        ensure!(found == expected, "{}: the kernel has {found:?}, `get` says {expected:?}", status.id);
        Ok(())
    }

    /// The program judges as the document says, and a real packet gets through where it may.
    fn judges(&self, status: &SandboxStatus) -> Result<()> {
        let elsewhere = status.id == "a" && which(status) == 1;
        let witness = if status.id == "a" { &self.a_witness } else { &self.b_witness };
        for (address, allowed) in [(WEB, true), (WEB_ELSEWHERE, elsewhere), (witness.v4, false)] {
            let told = self.daemon.explain(&status.id, &format!("udp:{address}:{ECHO}"))?;
            ensure!(told.allowed == allowed, "{} to {address}: {told:?}", status.id);
        }
        if status.id == "a" {
            self.reaches(&self.a, WEB)?;
            if elsewhere {
                self.reaches(&self.a, WEB_ELSEWHERE)?;
            }
        }
        Ok(())
    }

    /// An echo comes back.
    pub(crate) fn reaches(&self, sandbox: &Sandbox, address: Ipv4Addr) -> Result<()> {
        let mut last = String::new();
        let echoed = poll(SOON, || {
            let probe = sandbox.udp_probe_within(Duration::from_millis(100), address, ECHO);
            last = format!("{probe:?}");
            probe.ok()?.is_echoed().then_some(())
        });
        echoed.with_context(|| format!("{} does not reach {address}: {last}", sandbox.device))
    }

    /// No echo comes back.
    pub(crate) fn misses(&self, sandbox: &Sandbox, address: Ipv4Addr) -> Result<()> {
        let echo = sandbox.udp_probe_within(Duration::from_millis(50), address, ECHO);
        ensure!(!echo.is_ok_and(|probe| probe.is_echoed()), "{} reaches {address}", sandbox.device);
        Ok(())
    }

    /// Switches the device of `b` on or off.
    pub(crate) fn switch_b(&self, on: bool) -> Result<()> {
        let word = if on { "up" } else { "down" };
        self.world.host().ip(&format!("link set {} {word}", self.b.device)).map(drop)
    }
}

/// Which of its two policies `a` has, by its document.
pub(crate) fn which(status: &SandboxStatus) -> usize {
    let text = serde_json::to_string(&status.document).unwrap_or_default();
    usize::from(text.contains("192.0.2.10"))
}

fn scope(world: &World, daemon: &Daemon) -> Scope {
    let scope = Scope::default().node(world.host()).directory(daemon.pin_dir()).directory(daemon.state_dir());
    scope.directory(daemon.socket())
}

/// Somebody whom `a` may not send to, and who sends to it.
struct Stranger {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    socket: UdpSocket,
}

impl Stranger {
    fn start(from: &Node, to: &Sandbox) -> Result<Stranger> {
        let target = SocketAddr::from((to.v4, STRANGE));
        let socket = to.within(|| UdpSocket::bind(target))??;
        socket.set_nonblocking(true)?;
        let sender = from.within(|| UdpSocket::bind((WEB_NEIGHBOUR, 0)))??;
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let stop = stop.clone();
            move || {
                while !stop.load(Ordering::Relaxed) {
                    // Errors that come back are about packets that did not pass.
                    sender.send_to(b"strange", target).ok();
                    thread::sleep(Duration::from_millis(2));
                }
            }
        });
        Ok(Stranger { stop, thread: Some(thread), socket })
    }

    /// Packets that came since the last call.
    fn arrived(&self) -> u64 {
        let mut datagram = [0; 16];
        let mut count = 0;
        loop {
            match self.socket.recv(&mut datagram) {
                Ok(_) => count += 1,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return count,
                Err(_) => {}
            }
        }
    }

    /// Waits until no more come.
    fn settled(&self) -> Result<()> {
        let quiet = Duration::from_millis(30);
        let mut since = std::time::Instant::now();
        poll(SOON, || {
            if self.arrived() > 0 {
                since = std::time::Instant::now();
            }
            (since.elapsed() >= quiet).then_some(())
        })
        .context("a stranger's packets go on coming in")
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}
