//! One network namespace, and how to run things in it.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs::{self, File},
    net::IpAddr,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use nix::sched::{CloneFlags, setns};
use serde::Deserialize;

use crate::{
    poll::poll,
    process::{Output, Process},
    tools,
};

/// Where `ip netns` keeps the names of namespaces.
pub(crate) const NETNS_DIR: &str = "/run/netns";

/// How long [`Node::run`] lets a program run.
const RUN_LIMIT: Duration = Duration::from_secs(30);

/// A network namespace. It is removed with the [`crate::World`] that made it; after that every use is an error.
#[derive(Clone, Debug)]
pub struct Node {
    name: String,
    dir: PathBuf,
}

/// A device's packet counters since it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Counters {
    /// Packets received.
    #[serde(rename = "rx", deserialize_with = "packets")]
    pub rx_packets: u64,
    /// Packets sent.
    #[serde(rename = "tx", deserialize_with = "packets")]
    pub tx_packets: u64,
}

impl Node {
    /// Makes the namespace `name` with loopback up. Its files go to the new directory `dir`.
    ///
    /// Duplicate address detection and router solicitations are off, so IPv6 works at once and stays quiet; reverse path
    /// filtering is off, so that a spoofed packet is stopped by the filter under test or not at all.
    pub(crate) fn create(name: String, dir: PathBuf) -> Result<Self> {
        fs::create_dir(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let node = Self { name, dir };
        let mut add = tools::command("ip");
        add.args(["netns", "add", &node.name]);
        Process::start(add, "netns", &node.dir)?.wait(RUN_LIMIT)?.ok()?;
        node.sysctls(&[
            ("net.ipv4.conf.all.rp_filter", "0"),
            ("net.ipv4.conf.default.rp_filter", "0"),
            ("net.ipv6.conf.all.disable_ipv6", "0"),
            ("net.ipv6.conf.default.disable_ipv6", "0"),
            ("net.ipv6.conf.default.accept_dad", "0"),
            ("net.ipv6.conf.default.dad_transmits", "0"),
            ("net.ipv6.conf.default.accept_ra", "0"),
            ("net.ipv6.conf.default.router_solicitations", "0"),
        ])?;
        node.ip("link set lo up")?;
        Ok(node)
    }

    /// A namespace that is there. Its files go to the directory `dir`.
    pub(crate) fn existing(name: String, dir: PathBuf) -> Result<Self> {
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        Ok(Self { name, dir })
    }

    /// The name that `ip netns` knows the namespace by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that holds the namespace, for `setns` and `attach.netns`.
    pub fn path(&self) -> PathBuf {
        Path::new(NETNS_DIR).join(&self.name)
    }

    /// The node's own directory for files; removed with the world.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A command that will run in the namespace. Only the network differs: mounts, `/sys/fs/bpf` among them, stay visible.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = tools::command("nsenter");
        command.arg(format!("--net={}", self.path().display())).arg("--").arg(program);
        command
    }

    /// Runs a program to its end, at most half a minute; see [`Node::run_within`].
    pub fn run(&self, words: &[&str]) -> Result<Output> {
        self.run_within(RUN_LIMIT, words)
    }

    /// Runs a program (first word) with arguments (the rest) to its end, whatever its exit status. An overrun of `within`
    /// kills it and is an error.
    pub fn run_within(&self, within: Duration, words: &[&str]) -> Result<Output> {
        self.spawn(words)?.wait(within)
    }

    /// Starts a program (first word) with arguments (the rest); it runs until it ends or the guard is dropped.
    pub fn spawn(&self, words: &[&str]) -> Result<Process> {
        let Some((program, arguments)) = words.split_first() else { bail!("no program was named") };
        let mut command = self.command(program);
        command.args(arguments);
        self.spawn_command(command)
    }

    /// Starts a command that [`Node::command`] made and the caller completed.
    pub fn spawn_command(&self, command: Command) -> Result<Process> {
        let program = command.get_args().nth(2).unwrap_or(command.get_program());
        let label = Path::new(program).file_name().unwrap_or(program).to_string_lossy().into_owned();
        Process::start(command, &label, &self.dir)
    }

    /// Runs `ip` with the words of `line`, which must succeed: `host.ip("link del veth-a")`.
    pub fn ip(&self, line: &str) -> Result<Output> {
        let words: Vec<&str> = std::iter::once("ip").chain(line.split_whitespace()).collect();
        self.run(&words)?.ok()
    }

    /// Runs many `ip` lines in one process. The first that fails ends it with an error.
    pub fn ip_batch(&self, lines: &str) -> Result<()> {
        let file = self.dir.join("ip-batch");
        fs::write(&file, lines).with_context(|| format!("cannot write {}", file.display()))?;
        self.run(&["ip", "-batch", &file.to_string_lossy()])?.ok().with_context(|| lines.to_owned())?;
        Ok(())
    }

    /// Sets kernel parameters of this namespace, such as `("net.ipv4.conf.all.rp_filter", "1")`. The device in a dotted
    /// name must have no dot of its own.
    pub fn sysctls(&self, settings: &[(&str, &str)]) -> Result<()> {
        self.within(|| {
            for (name, value) in settings {
                let path = Path::new("/proc/sys").join(name.replace('.', "/"));
                fs::write(&path, value).with_context(|| format!("cannot set {name} to {value}"))?;
            }
            Ok(())
        })?
    }

    /// Runs `work` on a thread of this process that has entered the namespace: sockets made there belong to it.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        thread::scope(|scope| {
            let entered = scope.spawn(|| self.enter().map(|()| work()));
            entered.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// The addresses of the namespace, loopback and link-local ones left out.
    pub fn addresses(&self) -> Result<Vec<IpAddr>> {
        #[derive(Deserialize)]
        struct Link {
            #[serde(default)]
            addr_info: Vec<Address>,
        }
        #[derive(Deserialize)]
        struct Address {
            scope: String,
            local: IpAddr,
        }
        let shown = self.ip("-json address show")?.stdout;
        let links: Vec<Link> = serde_json::from_str(&shown).context("`ip` gave addresses that cannot be read")?;
        let addresses = links.into_iter().flat_map(|link| link.addr_info);
        Ok(addresses.filter(|address| address.scope == "global").map(|address| address.local).collect())
    }

    /// The packet counters of `device`. They include neighbour discovery and multicast reports; to count one kind of
    /// packet alone use [`Node::sniff`].
    pub fn counters(&self, device: &str) -> Result<Counters> {
        #[derive(Deserialize)]
        struct Link {
            stats64: Counters,
        }
        let shown = self.ip(&format!("-statistics -json link show dev {device}"))?.stdout;
        let links: Vec<Link> = serde_json::from_str(&shown).context("`ip` gave counters that cannot be read")?;
        links.first().map(|link| link.stats64).ok_or_else(|| anyhow!("{device} has no counters in {}", self.name))
    }

    /// Moves the calling thread into the namespace, for good.
    pub(crate) fn enter(&self) -> Result<()> {
        let path = self.path();
        let file = File::open(&path).with_context(|| format!("the namespace {} is gone", path.display()))?;
        setns(file, CloneFlags::CLONE_NEWNET).with_context(|| format!("cannot enter {}", path.display()))
    }

    /// Waits until `device` has a link-local address that may be used: only then has the kernel noticed the carrier.
    pub(crate) fn wait_for_device(&self, device: &str) -> Result<()> {
        // The columns of if_inet6: address, index, prefix length, scope, flags, device; 0x40 in the flags is tentative.
        let usable = || {
            let table = fs::read_to_string("/proc/thread-self/net/if_inet6").ok()?;
            let rows: HashMap<_, _> = table
                .lines()
                .map(|line| line.split_whitespace().collect::<Vec<_>>())
                .filter(|columns| columns.len() == 6 && columns[0].starts_with("fe80"))
                .map(|columns| (columns[5].to_owned(), columns[4].to_owned()))
                .collect();
            let flags = u32::from_str_radix(rows.get(device)?, 16).ok()?;
            (flags & 0x40 == 0).then_some(())
        };
        self.within(|| poll(Duration::from_secs(20), usable))?
            .ok_or_else(|| anyhow!("{device} in {} has no usable link-local address after 20 s", self.name))
    }
}

fn packets<'de, D: serde::Deserializer<'de>>(direction: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    struct Direction {
        packets: u64,
    }
    Ok(Direction::deserialize(direction)?.packets)
}
