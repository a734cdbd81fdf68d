//! A virtual machine, from its start to the last line on its console.

use super::kernel::{Kernel, folder};
use crate::tool;
use anyhow::{Context, Result, bail};
use guest_init::{DONE, TAG, VERDICT, Verdict};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Memory in MiB.
const MEMORY: u32 = 3_072;
/// What is in a line when the kernel is broken.
const BROKEN: [&str; 5] = ["Kernel panic", "soft lockup", "Oops", "BUG:", "hung_task"];
/// How long the part of the host that shares files may take to begin.
const PATIENCE: Duration = Duration::from_secs(10);

/// What was on the console.
#[derive(Default)]
pub(super) struct Console {
    pub(super) suites: Vec<Told>,
}

/// What was told of a suite.
pub(super) struct Told {
    pub(super) verdict: Verdict,
    /// Tests, by what became of them.
    pub(super) passed: usize,
    pub(super) failed: usize,
}

/// A process that ends with this.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        // It may have ended.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Boots a kernel, and reads its console until it is done. Everything is kept in a file.
pub(super) fn run(kernel: &Kernel, image: &Path, at_most: Duration) -> Result<Console> {
    let log = folder().join("logs").join(format!("{}.log", kernel.release));
    fs::create_dir_all(folder().join("logs"))?;
    let socket = folder().join(format!("{}.sock", kernel.release));
    let _sharing = share(&socket)?;
    let mut machine = Ends(start(kernel, image, &socket)?);
    let output = machine.0.stdout.take().context("its console")?;
    let (telling, lines) = channel();
    thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        while output.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned();
            if telling.send(text).is_err() {
                return;
            }
            line.clear();
        }
    });
    let mut kept = File::create(&log).with_context(|| log.display().to_string())?;
    let (mut console, mut counted, end) = (Console::default(), (0, 0), Instant::now() + at_most);
    loop {
        let line = match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => bail!("the machine was not done in {at_most:?}: see {}", log.display()),
            Err(RecvTimeoutError::Disconnected) => bail!("the machine ended before it was done: see {}", log.display()),
        };
        writeln!(kept, "{line}")?;
        if BROKEN.iter().any(|word| line.contains(word)) {
            bail!("the kernel is broken: {line}\n  see {}", log.display());
        }
        if line == DONE {
            return Ok(console);
        }
        if let Some(text) = line.strip_prefix(VERDICT) {
            let verdict: Verdict = serde_json::from_str(text).context("a verdict")?;
            eprintln!("   {}: {} passed, {} failed", verdict.name, counted.0, counted.1);
            console.suites.push(Told { verdict, passed: counted.0, failed: counted.1 });
            counted = (0, 0);
        } else if line.starts_with("test ") {
            counted.0 += usize::from(line.ends_with(" ok"));
            let has_failed = line.ends_with("FAILED");
            counted.1 += usize::from(has_failed);
            if has_failed {
                eprintln!("   {line}");
            }
        }
    }
}

/// Shares this host's file system, until what is returned is dropped.
fn share(socket: &Path) -> Result<Ends> {
    let daemon = ["/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd"].map(PathBuf::from);
    let daemon = daemon.into_iter().find(|path| path.is_file()).or_else(|| tool::find("virtiofsd"));
    let daemon = daemon.context("there is no virtiofsd, which comes with qemu")?;
    fs::remove_file(socket).ok();
    let mut command = Command::new(daemon);
    command.arg(format!("--socket-path={}", socket.display())).args([
        "-o",
        "source=/",
        "-o",
        "cache=always",
        "-o",
        "sandbox=chroot",
    ]);
    let sharing = Ends(command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().context("virtiofsd")?);
    let end = Instant::now() + PATIENCE;
    while !socket.exists() {
        if Instant::now() > end {
            bail!("virtiofsd does not begin");
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(sharing)
}

fn start(kernel: &Kernel, image: &Path, socket: &Path) -> Result<Child> {
    let memory = format!("memory-backend-memfd,id=memory,size={MEMORY}M,share=on");
    let shared = format!("vhost-user-fs-pci,queue-size=1024,chardev=shared,tag={TAG}");
    let mut command = Command::new("qemu-system-x86_64");
    command
        .args(["-M", "q35", "-cpu", "max", "-smp", "2", "-m", &MEMORY.to_string(), "-accel", accelerator()])
        .args(["-nographic", "-no-reboot", "-nic", "none", "-object", &memory, "-numa", "node,memdev=memory"])
        .arg("-chardev")
        .arg(format!("socket,id=shared,path={}", socket.display()))
        .args(["-device", &shared, "-append", "console=ttyS0 quiet panic=-1 oops=panic softlockup_panic=1"])
        .arg("-kernel")
        .arg(kernel.image())
        .arg("-initrd")
        .arg(image);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    command.spawn().context("qemu-system-x86_64\n  hint: cargo xtask setup")
}

/// KVM where a guest can be seen to run under it is left to the operator of the machine (`SANDBOX_FILTER_VM_ACCEL=kvm`): one that opens the device and then
/// fails in the guest cannot be told from here.
fn accelerator() -> &'static str {
    match std::env::var("SANDBOX_FILTER_VM_ACCEL") {
        Ok(wanted) if wanted == "kvm" => "kvm",
        _ => "tcg,thread=multi",
    }
}
