//! A network namespace without a name: it lives as long as it is held.

use anyhow::{Context, Result, anyhow, ensure};
use filter_policy::NetnsRef;
use nix::sched::{CloneFlags, setns, unshare};
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::{fs, process, thread};

/// A namespace.
pub(crate) struct Netns(File);

impl Netns {
    /// A new one, with nothing but its loopback device, which is up.
    pub(crate) fn new() -> Result<Netns> {
        let make = || -> Result<Netns> {
            unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
            Ok(Netns(File::open("/proc/thread-self/ns/net").context("cannot open a network namespace")?))
        };
        let made = thread::spawn(make).join().map_err(|_| anyhow!("the maker of a namespace panicked"))??;
        made.ip("link set lo up\n")?;
        Ok(made)
    }

    /// Takes the calling thread there.
    pub(crate) fn join(&self) -> Result<()> {
        setns(&self.0, CloneFlags::CLONE_NEWNET).context("cannot enter a network namespace")
    }

    /// Runs `work` there.
    pub(crate) fn within<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let inside = || self.join().and_then(|()| work());
        thread::scope(|scope| scope.spawn(inside).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// A path that leads there for as long as the namespace is held.
    pub(crate) fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", process::id(), self.0.as_raw_fd()).into()
    }

    /// How a document names it.
    pub(crate) fn reference(&self) -> NetnsRef {
        NetnsRef::Path(self.path())
    }

    /// What tells it from others.
    pub(crate) fn inode(&self) -> Result<u64> {
        Ok(self.0.metadata().context("cannot look at a network namespace")?.ino())
    }

    /// Runs lines of `ip` there.
    pub(crate) fn ip(&self, lines: &str) -> Result<()> {
        self.run("ip", &["-batch", "-"], lines)
    }

    /// Runs a program there on an input; anything but success is an error with what it said.
    pub(crate) fn run(&self, program: &str, arguments: &[&str], input: &str) -> Result<()> {
        self.within(|| {
            let hint = || format!("cannot run `{program}`\n  hint: `cargo xtask setup` installs it");
            let mut child = Command::new(program)
                .args(arguments)
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .with_context(hint)?;
            // One that ends early says why on its error output.
            child.stdin.take().expect("it was piped").write_all(input.as_bytes()).ok();
            let output = child.wait_with_output().with_context(hint)?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "`{program} {}` failed: {}", arguments.join(" "), said.trim());
            Ok(())
        })
    }

    /// Sets sysctls there.
    pub(crate) fn sysctls(&self, settings: &[(&str, &str)]) -> Result<()> {
        self.within(|| {
            settings.iter().try_for_each(|(name, value)| {
                let path = format!("/proc/sys/{}", name.replace('.', "/"));
                fs::write(&path, value).with_context(|| format!("cannot set {name} to {value}"))
            })
        })
    }
}
