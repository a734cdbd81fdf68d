//! The sidecar may end, stand still or be out of descriptors: nothing denied passes, it is replaced within a second, and others do not
//! notice. It is locked in, and ends with the daemon.
//!
//! | variable | means | default |
//! |---|---|---|
//! | `SIDECAR_FAULTS` | faults under load, of three kinds by turns | 6 |
//! | `NAME_SWAPS` | swaps of two policies with names under load | 16 |
#![forbid(unsafe_code)]

mod faults;
mod load;
mod servers;
mod stage;
mod swaps;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use stage::{NAMES, SOON, Stage, limit_descriptors};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::{Mutex, MutexGuard, PoisonError};
use test_scenarios::{Daemon, document};
use test_world::{World, wait_until};

/// Times are measured: each test wants the whole machine.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn the_sidecar_is_locked_in() -> Result<()> {
    let _alone = alone();
    let stage = Stage::new("lockedin")?;
    let pid = stage.sidecar()?;
    ensure!(stage.asks(&stage.a, "example.test")? == 200);
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let no = "0000000000000000";
    let expected = [
        ("Uid", "65534\t65534\t65534\t65534"),
        ("Gid", "65534\t65534\t65534\t65534"),
        ("Groups", ""),
        ("CapInh", no),
        ("CapPrm", no),
        ("CapEff", no),
        ("CapAmb", no),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
    ];
    for (name, value) in expected {
        let line = status.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
        ensure!(line.map(str::trim) == Some(value), "{name}: {line:?}");
    }
    let limits = fs::read_to_string(format!("/proc/{pid}/limits"))?;
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).context("a limit of core files")?;
    ensure!(core.split_whitespace().skip(4).take(2).eq(["0", "0"]), "{core}");
    // Standard input is the control socket, standard error is the daemon's; nothing else is a file.
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let path = entry?.path();
        let (name, to) = (path.file_name().unwrap_or_default().to_owned(), fs::read_link(&path)?);
        let to = to.to_string_lossy();
        let may = to.starts_with("socket:") || matches!(&*to, "anon_inode:[eventpoll]" | "anon_inode:[eventfd]");
        ensure!(may || name == "2" || name == "1" && to == "/dev/null", "{}: {to}", path.display());
    }
    Ok(())
}

#[test]
fn faults_of_the_sidecar_let_nothing_pass_and_last_no_second() -> Result<()> {
    let _alone = alone();
    faults::run(number("SIDECAR_FAULTS", 6)?)
}

#[test]
fn kernel_and_sidecar_change_as_one() -> Result<()> {
    let _alone = alone();
    let swaps = number("NAME_SWAPS", 16)?;
    swaps::run(swaps, &swaps::V4)?;
    swaps::run(swaps / 4, &swaps::V6)?;
    swaps::run_moves(swaps / 4, &swaps::V4)?;
    swaps::run_moves(swaps / 4, &swaps::V6)
}

#[test]
fn a_daemon_that_dies_in_an_update_leaves_kernel_and_sidecar_the_same() -> Result<()> {
    let _alone = alone();
    let program =
        std::env::current_exe()?.ancestors().nth(3).context("a target directory")?.join("faults/debug/filter-ctl");
    ensure!(program.exists(), "there is no {}: cargo xtask build --only=fail-points", program.display());
    let names = ["example.test", "other.test"];
    let mut stage = Stage::with("halves", Some(&program))?;
    let points = ["update.named", "switch.built", "update.switched", "update.committed"];
    for (at, point) in points.iter().enumerate() {
        let before = stage.daemon.status("a")?.generation;
        let allowed = |stage: &Stage| -> Result<[bool; 2]> {
            let asked = [stage.asks(&stage.a, names[0])?, stage.asks(&stage.a, names[1])?];
            ensure!(asked.iter().all(|status| matches!(status, 200 | 403)), "{asked:?}");
            Ok(asked.map(|status| status == 200))
        };
        let old = allowed(&stage)?;
        ensure!(old[0] != old[1]);
        let next = format!(r#"denyOut: ["0.0.0.0/0"], allowOut: ["{}"]"#, names[usize::from(old[0])]);
        fs::write(stage.arm(), point)?;
        ensure!(stage.apply(&stage.a, &next).is_err(), "it did not die at {point}");
        stage.daemon.dies()?;
        fs::remove_file(stage.arm())?;
        ensure!(
            stage.asks(&stage.a, names[0]).is_err() && stage.asks(&stage.a, names[1]).is_err(),
            "{point}: nobody judges"
        );
        stage.daemon.begin()?;
        let is_new = stage.daemon.status("a")?.generation > before;
        // Until the kernel has the new policy it is the old one, and from then on the new one.
        ensure!(is_new == (at >= 2), "{point}: new: {is_new}");
        let expected = if is_new { [old[1], old[0]] } else { old };
        ensure!(allowed(&stage)? == expected, "{point}: the sidecar has another policy than the kernel");
    }
    Ok(())
}

fn number(variable: &str, otherwise: usize) -> Result<usize> {
    std::env::var(variable).map_or(Ok(otherwise), |text| text.parse().with_context(|| variable.to_owned()))
}

#[test]
fn an_update_meets_a_sidecar_that_stands_still_or_has_no_descriptors_left() -> Result<()> {
    let _alone = alone();
    let stage = Stage::new("meanwhile")?;
    let first = stage.sidecar()?;
    kill(Pid::from_raw(first), Signal::SIGSTOP)?;
    // It is replaced, and what the caller is told is true at once.
    stage.apply(&stage.a, r#"denyOut: ["0.0.0.0/0"], allowOut: ["other.test"]"#)?;
    ensure!(stage.sidecar()? != first);
    ensure!(stage.asks(&stage.a, "other.test")? == 200 && stage.asks(&stage.a, "example.test")? == 403);
    ensure!(wait_until(SOON, || stage.asks(&stage.b, "example.test").is_ok_and(|status| status == 200)), "b has none");

    let second = stage.sidecar()?;
    limit_descriptors(second, Some(12))?;
    let generation = stage.daemon.status("c")?.generation;
    let refused = stage.daemon.refuses(&document(&stage.c, NAMES))?;
    ensure!(refused.text().contains("descriptors"), "{}", refused.text());
    ensure!(stage.daemon.status("c")?.generation == generation && stage.reaches_directly()?, "c is as it was");
    limit_descriptors(second, None)?;
    stage.apply(&stage.c, NAMES)?;
    ensure!(stage.asks(&stage.c, "example.test")? == 200 && stage.sidecar()? == second);
    let doctor = stage.daemon.ctl(&["doctor"])?.stdout;
    ensure!(doctor.contains(&format!("runs (pid {second}, sandboxes: 3), after restarts: 1")), "{doctor}");
    Ok(())
}

#[test]
fn the_sidecar_ends_with_the_daemon_even_when_it_stands_still() -> Result<()> {
    let _alone = alone();
    let mut stage = Stage::new("orphaned")?;
    for freeze in [false, true] {
        let (sidecar, daemon) = (stage.sidecar()?, stage.daemon.pid().context("it runs")?);
        let mut wire = stage.world.host().sniff("up0")?;
        if freeze {
            kill(Pid::from_raw(sidecar), Signal::SIGSTOP)?;
        }
        // The daemon alone, not its group.
        kill(Pid::from_raw(daemon.cast_signed()), Signal::SIGKILL)?;
        stage.daemon.dies()?;
        let gone = || fs::read_to_string(format!("/proc/{sidecar}/stat")).map_or(true, |stat| stat.contains(") Z "));
        ensure!(wait_until(SOON, gone), "the sidecar lives on");
        ensure!(stage.asks(&stage.a, "example.test").is_err() && stage.reaches_directly()?);
        stage.daemon.begin()?;
        ensure!(stage.asks(&stage.a, "example.test")? == 200 && stage.asks(&stage.a, "denied.test")? == 403);
        let left = wire.count_from(stage.a.v4.into())? + wire.count_from(stage.a.v6.into())?;
        ensure!(left == 0, "something left the host");
    }
    Ok(())
}

#[test]
fn a_sidecar_that_ends_at_once_is_told_and_changes_nothing() -> Result<()> {
    let _alone = alone();
    let world = World::new("crashing")?;
    let a = world.sandbox("a")?;
    let ctl = std::env::current_exe()?.ancestors().nth(2).context("a target directory")?.join("filter-ctl");
    let (program, beside) = (world.dir().join("filter-ctl"), world.dir().join("filter-sidecar"));
    if fs::hard_link(&ctl, &program).is_err() {
        fs::copy(&ctl, &program)?;
    }
    symlink("/bin/false", &beside)?;
    fs::set_permissions(world.dir(), fs::Permissions::from_mode(0o755))?;
    let mut daemon =
        Daemon::prepare(&world, "daemon", "resolvers: [8.8.8.8]\n")?.with_program(&program, "NONE", &program);
    daemon.begin()?;
    daemon.apply(&document(&a, ""))?;
    let told = wait_until(SOON, || {
        let refused = daemon.refuses(&document(&a, NAMES)).map(|refused| refused.text());
        refused.is_ok_and(|text| text.contains("ends again and again"))
    });
    ensure!(told, "{}", daemon.log());
    ensure!(daemon.status("a")?.generation == 1);
    let doctor = daemon.ctl(&["doctor"])?.stdout;
    ensure!(doctor.contains("does not run, connections for names are refused"), "{doctor}");
    Ok(())
}
