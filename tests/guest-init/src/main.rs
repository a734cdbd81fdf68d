//! The first process of a virtual machine: loads modules, mounts what the host shares, runs the commands of the plan, tells what became
//! of each on the console, and switches the machine off.
#![forbid(unsafe_code)]

use anyhow::{Context, Result};
use guest_init::{BEGUN, Command, DONE, MODULES, PLAN, Plan, TAG, VERDICT, Verdict};
use nix::kmod::{ModuleInitFlags, finit_module};
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use nix::unistd::{chdir, chroot};
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process;
use std::time::Instant;

/// Where the host's file system is mounted.
const ROOT: &str = "/host";
/// And once more, without anything mounted upon it, where that is needed.
const WHOLE: &str = "/whole";

fn main() {
    println!("{BEGUN}");
    let ran = run();
    if let Err(error) = ran {
        println!("guest-init: {error:#}");
    }
    println!("{DONE}");
    let Err(error) = reboot(RebootMode::RB_POWER_OFF);
    println!("guest-init: {error}");
}

fn run() -> Result<()> {
    let plan: Plan = serde_json::from_slice(&fs::read(PLAN).context(PLAN)?).context(PLAN)?;
    load_modules()?;
    mount_all(&plan.root)?;
    for command in &plan.commands {
        let verdict = carry_out(command);
        println!("{VERDICT}{}", serde_json::to_string(&verdict)?);
    }
    Ok(())
}

/// Those that the machine does not need, or has built in, may be refused.
fn load_modules() -> Result<()> {
    let mut modules: Vec<_> = fs::read_dir(MODULES).context(MODULES)?.flatten().map(|entry| entry.path()).collect();
    modules.sort();
    for path in modules {
        let file = File::open(&path).with_context(|| path.display().to_string())?;
        if let Err(error) = finit_module(&file, c"", ModuleInitFlags::empty()) {
            println!("guest-init: {}: {error}", path.display());
        }
    }
    Ok(())
}

fn mount_all(checkout: &Path) -> Result<()> {
    let inside = |path: &str| format!("{ROOT}{path}");
    let mounts = [
        (TAG, ROOT.to_owned(), "virtiofs", MsFlags::MS_RDONLY, ""),
        ("proc", inside("/proc"), "proc", MsFlags::empty(), ""),
        ("sysfs", inside("/sys"), "sysfs", MsFlags::empty(), ""),
        ("cgroup2", inside("/sys/fs/cgroup"), "cgroup2", MsFlags::empty(), ""),
        ("bpf", inside("/sys/fs/bpf"), "bpf", MsFlags::empty(), "mode=0700"),
        ("debugfs", inside("/sys/kernel/debug"), "debugfs", MsFlags::empty(), ""),
        ("devtmpfs", inside("/dev"), "devtmpfs", MsFlags::empty(), ""),
        ("tmpfs", inside("/tmp"), "tmpfs", MsFlags::empty(), "mode=1777"),
        ("tmpfs", inside("/run"), "tmpfs", MsFlags::empty(), "mode=0755"),
        ("tmpfs", inside("/var/lib"), "tmpfs", MsFlags::empty(), "mode=0755"),
        ("tmpfs", inside("/var/log"), "tmpfs", MsFlags::empty(), "mode=0755"),
    ];
    fs::create_dir_all(ROOT)?;
    for (what, at, kind, flags, options) in mounts {
        mount(Some(what), at.as_str(), Some(kind), flags, Some(options)).with_context(|| format!("{kind} at {at}"))?;
    }
    keep(checkout)?;
    for directory in ["/dev/pts", "/dev/shm", "/run/netns"] {
        fs::create_dir_all(inside(directory))?;
    }
    for (link, to) in [("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")] {
        symlink(format!("/proc/self/fd{to}"), inside(&format!("/dev/{link}"))).context(link)?;
    }
    mount(Some("devpts"), inside("/dev/pts").as_str(), Some("devpts"), MsFlags::empty(), None::<&str>)
        .context("devpts")?;
    // Network namespaces have files of their own below /etc.
    let [upper, work] = ["/run/etc", "/run/etc-work"].map(inside);
    for directory in [&upper, &work] {
        fs::create_dir(directory).with_context(|| directory.clone())?;
    }
    let etc = inside("/etc");
    let layers = format!("lowerdir={etc},upperdir={upper},workdir={work}");
    mount(Some("overlay"), etc.as_str(), Some("overlay"), MsFlags::empty(), Some(layers.as_str()))
        .context(etc.clone())?;
    // In a mere chroot there are no user namespaces (user_namespaces(7)).
    chdir(ROOT).context(ROOT)?;
    mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>).context("moving the root")?;
    chroot(".").context(ROOT)?;
    chdir("/").context("/")
}

/// Shows the checkout where a file system of the machine's own lies upon it.
fn keep(checkout: &Path) -> Result<()> {
    let here = Path::new(ROOT).join(checkout.strip_prefix("/").context("the checkout")?);
    if here.exists() {
        return Ok(());
    }
    let there = Path::new(WHOLE).join(checkout.strip_prefix("/").context("the checkout")?);
    fs::create_dir_all(WHOLE)?;
    fs::create_dir_all(&here)?;
    mount(Some(TAG), WHOLE, Some("virtiofs"), MsFlags::MS_RDONLY, None::<&str>).context(WHOLE)?;
    mount(Some(&there), &here, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .with_context(|| there.display().to_string())
}

fn carry_out(command: &Command) -> Verdict {
    let began = Instant::now();
    let code = start(command).unwrap_or_else(|error| {
        println!("guest-init: {}: {error:#}", command.name);
        127
    });
    Verdict {
        name: command.name.clone(),
        code,
        took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
    }
}

fn start(command: &Command) -> Result<i32> {
    let (program, arguments) = command.words.split_first().context("no program")?;
    let status = process::Command::new(program)
        .args(arguments)
        .current_dir(&command.directory)
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", "/tmp")
        .envs(&command.environment)
        .status()
        .with_context(|| program.clone())?;
    Ok(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)))
}
