//! A virtual machine, from its start to the last line on its console.

use super::kernel::{Kernel, folder};
use crate::tool;
use anyhow::{Context, Result, bail};
use guest_init::{BEGUN, DONE, TAG, VERDICT, Verdict};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Memory in MiB.
const MEMORY: u32 = 3_072;
/// The kernel's command line. Grace periods are expedited: an idle kernel before 6.2 waits 20 ms for one each time that userspace looks into a map of maps, and the
/// packet table does so thousands of times. What guards against other machines' programs and against bugs of the kernel's is off: each of these costs an emulator much.
const CMDLINE: &str = "console=ttyS0 quiet panic=-1 oops=panic softlockup_panic=1 rcupdate.rcu_expedited=1 mitigations=off no5lvl \
                       init_on_alloc=0 nokaslr";
/// How a machine is emulated: by a thread for each of its processors, with room for the whole of what is translated.
const EMULATED: &str = "tcg,thread=multi,tb-size=1024";
/// What is in a line when the kernel is broken.
const BROKEN: [&str; 5] = ["Kernel panic", "soft lockup", "Oops", "BUG:", "hung_task"];
/// Where the host's processor runs machines.
const KVM: &str = "/dev/kvm";
/// How long the first process may take to begin.
const BEGINS: Duration = Duration::from_secs(120);
/// How long the part of the host that shares files may take to begin.
const PATIENCE: Duration = Duration::from_secs(10);

/// Begins a line that a suite prints for a table.
pub(crate) const ROW: &str = "row ";

/// What was on the console.
#[derive(Default)]
pub(crate) struct Console {
    pub(crate) suites: Vec<Told>,
    /// Rows for tables: what suites print behind [`ROW`].
    pub(crate) rows: Vec<String>,
    /// Tests since the last verdict, by what became of them.
    counted: (usize, usize),
}

/// What was told of a suite.
pub(crate) struct Told {
    pub(crate) verdict: Verdict,
    /// Tests, by what became of them.
    pub(crate) passed: usize,
    pub(crate) failed: usize,
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
    // One that can be opened may still not work in the guest: where it does not begin there, it is emulated.
    if File::options().read(true).write(true).open(KVM).is_ok() {
        match boot(kernel, image, &log, "kvm", at_most)? {
            Some(console) => return Ok(console),
            None => eprintln!("   {KVM} is there, but nothing begins by it: emulated"),
        }
    }
    let console = boot(kernel, image, &log, EMULATED, at_most)?;
    console.with_context(|| format!("the machine does not begin: see {}", log.display()))
}

/// The same by one accelerator. `None` when the first process has not begun in time.
fn boot(kernel: &Kernel, image: &Path, log: &Path, accelerator: &str, at_most: Duration) -> Result<Option<Console>> {
    let socket = folder().join(format!("{}.sock", kernel.release));
    let _sharing = share(&socket)?;
    let mut machine = Ends(start(kernel, image, &socket, accelerator)?);
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
    let mut kept = File::create(log).with_context(|| log.display().to_string())?;
    let (mut console, mut has_begun) = (Console::default(), false);
    let begun = Instant::now();
    loop {
        let limit = if has_begun { at_most } else { at_most.min(BEGINS) };
        let line = match lines.recv_timeout(limit.saturating_sub(begun.elapsed())) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) if !has_begun => return Ok(None),
            Err(RecvTimeoutError::Disconnected) if !has_begun => return Ok(None),
            Err(RecvTimeoutError::Timeout) => bail!("the machine was not done in {at_most:?}: see {}", log.display()),
            Err(RecvTimeoutError::Disconnected) => bail!("the machine ended before it was done: see {}", log.display()),
        };
        writeln!(kept, "{line}")?;
        if let Some(word) = BROKEN.iter().find(|word| line.contains(*word)) {
            bail!("the kernel is broken ({word}): {line}\n  see {}", log.display());
        }
        // The firmware leaves what clears a screen in front.
        has_begun |= line.ends_with(BEGUN);
        if line == DONE {
            return Ok(Some(console));
        }
        console.take(&line)?;
    }
}

impl Console {
    fn take(&mut self, line: &str) -> Result<()> {
        if let Some(row) = line.strip_prefix(ROW) {
            self.rows.push(row.to_owned());
        } else if let Some(text) = line.strip_prefix(VERDICT) {
            let verdict: Verdict = serde_json::from_str(text).context("a verdict")?;
            let (passed, failed) = std::mem::take(&mut self.counted);
            eprintln!("   {}: {passed} passed, {failed} failed", verdict.name);
            self.suites.push(Told { verdict, passed, failed });
        } else if line.starts_with("test ") && line.ends_with(" ok") {
            self.counted.0 += 1;
        } else if line.starts_with("SKIPPED:") {
            eprintln!("   {line}");
        } else if line.ends_with("FAILED") {
            // What a test has written may stand between its name and this.
            self.counted.1 += usize::from(!line.starts_with("test result"));
            eprintln!("   {line}");
        }
        Ok(())
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

fn start(kernel: &Kernel, image: &Path, socket: &Path, accelerator: &str) -> Result<Child> {
    let memory = format!("memory-backend-memfd,id=memory,size={MEMORY}M,share=on");
    let shared = format!("vhost-user-fs-pci,queue-size=1024,chardev=shared,tag={TAG}");
    let mut command = Command::new("qemu-system-x86_64");
    command
        .args(["-M", "q35", "-cpu", "max", "-smp", "2", "-m", &MEMORY.to_string(), "-accel", accelerator])
        .args(["-nographic", "-no-reboot", "-nic", "none", "-object", &memory, "-numa", "node,memdev=memory"])
        .arg("-chardev")
        .arg(format!("socket,id=shared,path={}", socket.display()))
        .args(["-device", &shared, "-append", CMDLINE])
        .arg("-kernel")
        .arg(kernel.image())
        .arg("-initrd")
        .arg(image);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    command.spawn().context("qemu-system-x86_64\n  hint: cargo xtask setup")
}
