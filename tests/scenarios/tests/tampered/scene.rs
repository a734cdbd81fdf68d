//! A sandbox under a policy, with what it may send and what it may not, and somebody who looks at the wire.

use crate::times::{LIMIT, note};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use test_scenarios::{Probe, SOON, Setup, Stage, Unpin, detach_links, udp};
use test_world::internet::{WEB, WEB_NEIGHBOUR, WEB6, WEB6_NEIGHBOUR};
use test_world::{Live, Node, Sniffer, UdpStream, wait_until};

pub(crate) const POLICY: &str = r#"denyOut: ["0.0.0.0/0"], allowOut: ["203.0.113.10", "2001:db8:10::10"]"#;
/// Between two denied packets: what the window is measured by.
const GAP: Duration = Duration::from_millis(1);
/// When nothing has left for so long, nothing does any more.
const QUIET: Duration = Duration::from_millis(150);

/// Whether the kernel can keep denied packets back while something is torn down.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leak {
    /// It does.
    Never,
    /// The device is not filtered until the daemon has seen it.
    UntilMended,
}

pub(crate) struct Scene {
    denied: [(Trickle, Probe); 2],
    allowed: [UdpStream; 2],
    wire: Sniffer,
    pub(crate) stage: Stage,
}

impl Scene {
    /// A sandbox `a` that is attached by hooks of this kind.
    pub(crate) fn new(name: &str, hook: &str) -> Result<Scene> {
        // Clients beside what is denied all the time are to be answered as well.
        let config = format!("hook: {hook}\nrejects: {{ perSecond: 100000, burst: 100000 }}\n");
        let stage = Stage::with(name, &Setup { config: &config, ..Setup::default() })?;
        stage.apply(&stage.a, POLICY)?;
        stage.knows_gateway(&stage.a)?;
        let denied = |to: IpAddr| anyhow::Ok((Trickle::start(&stage.a, to)?, udp(to)));
        let scene = Scene {
            denied: [denied(WEB_NEIGHBOUR.into())?, denied(WEB6_NEIGHBOUR.into())?],
            allowed: [stage.a.udp_stream(WEB, 9000)?, stage.a.udp_stream(WEB6, 9000)?],
            wire: stage.world.host().sniff("up0")?,
            stage,
        };
        scene.goes_on()?;
        Ok(scene)
    }

    /// Where the hooks of `a` are pinned: `to_sandbox`, `from_sandbox`.
    pub(crate) fn pins(&self) -> Result<[PathBuf; 2]> {
        let slot = self.stage.daemon.records()?.get("a").context("no record")?["slot"].clone();
        Ok(["to_sandbox", "from_sandbox"].map(|hook| self.stage.daemon.pins().join(format!("links/{slot}-{hook}"))))
    }

    /// What is denied was sent all the while, and what is allowed comes back.
    fn goes_on(&self) -> Result<()> {
        for (trickle, probe) in &self.denied {
            let before = trickle.sent();
            ensure!(wait_until(SOON, || trickle.sent() > before + 20), "nothing is sent to {probe}");
        }
        for stream in &self.allowed {
            ensure!(stream.grows(SOON), "what is allowed stands still: {stream:?}");
        }
        Ok(())
    }

    fn left(&mut self) -> Result<usize> {
        let Scene { denied, wire, .. } = self;
        wire.count(|frame| denied.iter().any(|(_, probe)| probe.is_in(frame)))
    }

    /// Tears something down, and waits until `is_mended` and nothing denied leaves any more.
    pub(crate) fn tear(
        &mut self,
        what: &str,
        leak: Leak,
        told: &str,
        act: impl FnOnce(&Stage) -> Result<()>,
        is_mended: impl Fn(&Stage) -> bool,
    ) -> Result<()> {
        let (before, logged) = (self.left()?, self.errors(told));
        let allowed: Vec<u64> = self.allowed.iter().map(UdpStream::progress).collect();
        let began = Instant::now();
        act(&self.stage)?;
        let (mut mended, mut left, mut last) = (None, before, began);
        while mended.is_none() || last.elapsed() < QUIET {
            ensure!(
                began.elapsed() < LIMIT,
                "{what}: not mended ({mended:?}, {left} left): {}",
                self.stage.daemon.log()
            );
            let now = self.left()?;
            if now != left {
                (left, last) = (now, Instant::now());
            }
            if mended.is_none() && is_mended(&self.stage) {
                mended = Some(began.elapsed());
                last = last.max(Instant::now());
            }
            thread::sleep(GAP);
        }
        note(what, mended.unwrap_or_default(), left - before);
        ensure!(leak == Leak::UntilMended || left == before, "{what}: {} denied packets left", left - before);
        ensure!(wait_until(SOON, || self.errors(told) > logged), "{what}: not told: {}", self.stage.daemon.log());
        self.goes_on()?;
        for (stream, before) in self.allowed.iter().zip(allowed) {
            ensure!(stream.progress() > before && stream.rejected() == 0, "{what}: {stream:?}");
        }
        ensure!(self.left()? == left, "{what}: something leaves again");
        Ok(())
    }

    fn errors(&self, told: &str) -> usize {
        errors(&self.stage, told)
    }
}

/// Lines of the daemon's log that are errors and have these words.
pub(crate) fn errors(stage: &Stage, told: &str) -> usize {
    stage.daemon.log().lines().filter(|line| line.contains("ERROR") && line.contains(told)).count()
}

/// Detaches pinned links; the pins stay.
pub(crate) fn detach(stage: &Stage, pins: &[PathBuf]) -> Result<()> {
    detach_links(stage.world.host(), pins, Unpin::No)
}

pub(crate) fn remove(paths: &[PathBuf]) -> Result<()> {
    paths.iter().try_for_each(|path| fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display())))
}

/// A thousand datagrams a second to port 9000 of an address. Ends when dropped, or after two minutes.
struct Trickle {
    sent: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Trickle {
    fn start(node: &Node, to: IpAddr) -> Result<Trickle> {
        let to = SocketAddr::new(to, 9000);
        let socket = node.within(|| UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }))??;
        let (sent, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let thread = thread::spawn({
            let (sent, stop, end) = (sent.clone(), stop.clone(), Instant::now() + Duration::from_secs(120));
            move || {
                while !stop.load(Ordering::Relaxed) && Instant::now() < end {
                    if socket.send_to(b"denied", to).is_ok() {
                        sent.fetch_add(1, Ordering::Relaxed);
                    }
                    thread::sleep(GAP);
                }
            }
        });
        Ok(Trickle { sent, stop, thread: Some(thread) })
    }

    fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Trickle {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}
