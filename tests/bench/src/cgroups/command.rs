//! `filter-ctl run -- true`, beside `true`.

use crate::control::daemon::Daemon;
use crate::figure::{Figure, Force, Target, Unit};
use crate::report::Section;
use crate::stats::{Series, difference, estimate};
use crate::world::World;
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What a command may take more than by itself, in nanoseconds.
const MORE: f64 = 150e6;

pub(super) fn measure(rounds: u32) -> Result<Section> {
    let world = World::new()?;
    let of = |series: &Series| estimate(&[series], |medians| medians[0]);
    let mut section = Section::new("A command in a sandbox of its own").text(
        "`filter-ctl run -- true` until it has ended and nothing of it is left for the next one to wait for, beside `true` by itself: with a daemon of the host's, and where it starts one of its own first and ends it.",
    );
    for (name, mode, with_daemon) in [
        ("in a cgroup, beside a daemon", Some("--cgroup"), true),
        ("in a cgroup, with a daemon of its own", Some("--cgroup"), false),
        ("in a namespace, with a daemon of its own", None, false),
    ] {
        let daemon = with_daemon.then(|| Daemon::start("run", &world.router, "")).transpose()?;
        let socket = daemon.as_ref().map_or_else(|| "/there/is/none".into(), |daemon| daemon.folder().join("socket"));
        let own = std::env::current_exe()?;
        let (mut bare, mut run) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            bare.push(timed(&world, &mut Command::new("true"))?);
            let mut command = Command::new(&own);
            command.arg("--socket").arg(&socket).arg("run").args(mode).args(["--", "true"]);
            run.push(timed(&world, &mut command)?);
        }
        let (bare, run): (Series, Series) = (vec![bare], vec![run]);
        let more = of(&difference(&run, &bare));
        let target = Target {
            force: Force::Aim,
            of: "what it takes more than by itself".to_owned(),
            limit: MORE,
            reached: more,
            unit: Unit::Nanoseconds,
            next: "the verifier takes 250 ms for the largest program of devices: less for it to follow, and not loaded before the first device".to_owned(),
        };
        section = section
            .figure(Figure::new(name, Unit::Nanoseconds, of(&run)).beside("by itself", of(&bare)).target(target));
    }
    Ok(section)
}

/// How long the daemon of a command may take to be gone.
const GONE: Duration = Duration::from_secs(10);

/// Runs a command in the world's router; how long it takes, in nanoseconds.
fn timed(world: &World, command: &mut Command) -> Result<f64> {
    // What one leaves to be taken away is not the next one's.
    let left = Path::new("/run/sandbox-filter-run").join(world.router.inode()?.to_string());
    let began = Instant::now();
    while left.exists() {
        ensure!(began.elapsed() < GONE, "{} is still there", left.display());
        std::thread::sleep(Duration::from_millis(1));
    }
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    world.router.within(|| {
        let began = Instant::now();
        let output = command.output().context("cannot run it")?;
        let took = began.elapsed().as_nanos() as f64;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(took)
    })
}
