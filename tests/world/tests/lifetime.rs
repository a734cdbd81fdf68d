//! Whatever a world made goes with it.

use std::{
    fs, panic,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::Result;
use test_world::{Live, World, internet, poll, wait_until};

/// What can be seen of a world from outside.
struct Traces {
    paths: Vec<PathBuf>,
    pids: Vec<u32>,
}

impl Traces {
    fn are_there(&self) -> bool {
        self.paths.iter().all(|path| path.exists()) && self.pids.iter().all(|pid| is_alive(*pid))
    }

    fn are_gone(&self) -> bool {
        !self.paths.iter().any(|path| path.exists()) && !self.pids.iter().any(|pid| is_alive(*pid))
    }
}

#[test]
fn everything_is_gone_after_drop() -> Result<()> {
    let world = World::new("drop")?;
    let traces = populate(&world)?;
    assert!(traces.are_there());
    drop(world);
    assert!(traces.are_gone());
    Ok(())
}

#[test]
fn everything_is_gone_after_a_panic() -> Result<()> {
    let world = World::new("panic")?;
    let traces = populate(&world)?;
    let outcome = panic::catch_unwind(panic::AssertUnwindSafe(|| {
        let _world = world;
        panic!("as a failing test does");
    }));
    assert!(outcome.is_err());
    assert!(traces.are_gone());
    Ok(())
}

#[test]
fn the_next_world_removes_what_a_killed_process_left() -> Result<()> {
    let mut child = Command::new("true").spawn()?;
    let dead = format!("sf-test-{}-0-x", child.id());
    child.wait()?;
    let namespace = format!("{dead}-host");
    let pins = Path::new("/sys/fs/bpf").join(&dead);
    let files = std::env::temp_dir().join(&dead);

    let first = World::new("first")?;
    assert!(Command::new("ip").args(["netns", "add", &namespace]).status()?.success());
    fs::create_dir(&pins)?;
    fs::create_dir(&files)?;
    let mut sleeper =
        Command::new("nsenter").args([&format!("--net=/run/netns/{namespace}"), "sleep", "60"]).spawn()?;
    let traces = Traces { paths: vec![Path::new("/run/netns").join(&namespace), pins, files], pids: Vec::new() };
    // It has entered the namespace, unless a test beside this one was faster.
    assert!(wait_until(Duration::from_secs(2), || is_sleep(sleeper.id()) || !traces.are_there()));
    drop(World::new("second")?);
    assert!(traces.are_gone());
    assert!(!sleeper.wait()?.success(), "the process in the namespace was killed");
    assert!(first.host().path().exists(), "a living process keeps its worlds");
    Ok(())
}

#[test]
fn a_run_that_hangs_is_killed() -> Result<()> {
    let world = World::new("hang")?;
    let began = Instant::now();
    let error = world.host().run_within(Duration::from_millis(100), &["sh", "-c", "echo told; sleep 30"]).unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(2));
    assert!(error.to_string().contains("told"), "{error}");
    let failed = world.host().run(&["sh", "-c", "echo why >&2; exit 3"])?;
    assert_eq!(failed.code(), Some(3));
    assert!(failed.ok().unwrap_err().to_string().contains("why"));
    Ok(())
}

#[test]
fn worlds_do_not_see_each_other() -> Result<()> {
    let (one, two) = (World::new("same")?, World::new("same")?);
    let _nginx = one.internet().nginx()?;
    assert!(one.sandbox("a")?.curl("http://203.0.113.10/")?.is_ok());
    assert!(!two.sandbox("a")?.curl("http://203.0.113.10/")?.is_ok());
    assert_ne!(one.pin_dir(), two.pin_dir());
    Ok(())
}

/// Fills a world with one of each. The guards are forgotten: the world's own drop has to suffice.
fn populate(world: &World) -> Result<Traces> {
    let nginx = world.internet().nginx()?;
    let dnsmasq = world.internet().dnsmasq(&[internet::GOOGLE.into()], &[])?;
    let a = world.sandbox("a")?;
    let mut download = a.download("http://203.0.113.10/big")?;
    assert!(download.grows(Duration::from_secs(2)));
    assert!(download.ended(Duration::ZERO)?.is_none());
    let escaped = a.spawn(&["sh", "-c", "setsid sleep 60 & echo $!; wait"])?;
    let escaped_pid =
        poll(Duration::from_secs(2), || escaped.stdout().trim().parse().ok().filter(|pid| is_sleep(*pid)));
    let traces = Traces {
        paths: vec![
            world.host().path(),
            world.internet().path(),
            a.path(),
            world.dir().to_owned(),
            world.pin_dir().to_owned(),
        ],
        pids: vec![nginx.pid(), dnsmasq.pid(), escaped_pid.expect("it leaves its process group")],
    };
    fs::create_dir_all(world.pin_dir().join("some/pins"))?;
    std::mem::forget((nginx, dnsmasq, download, escaped));
    Ok(traces)
}

/// Whether a process runs; one that was killed and waits to be reaped does not.
fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next()).is_some_and(|state| state != "Z")
}

/// Whether a process has become `sleep`.
fn is_sleep(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "sleep")
}
