//! The daemon that is asked: the one of the host, or where none runs one that all `run`s in a network namespace share. The first of them
//! starts it, the last one takes it away with all that it has.

use super::{about, failure};
use crate::cli::error::Failure;
use filter_dataplane::Namespace;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use std::env;
use std::fs::{self, File};
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Below this is a directory for each network namespace.
const DIRECTORY: &str = "/run/sandbox-filter-run";
/// How long the daemon may take to start, and to end.
const PATIENCE: Duration = Duration::from_secs(20);
/// Where sandboxes get addresses from.
const POOL: &str = "10.213.0.0/16";
const POOL6: &str = "fd5f:7366::/64";
/// Who resolves names where the host itself has nobody else than itself.
const NAMESERVER: &str = "8.8.8.8";

/// A daemon that can be asked.
pub(super) struct Controller {
    pub(super) socket: PathBuf,
    pub(super) nameservers: Vec<IpAddr>,
    /// Where it logs connections, if it is shared.
    pub(super) connections: Option<PathBuf>,
    shared: Option<Shared>,
}

/// A part in the shared one.
struct Shared {
    directory: PathBuf,
    pins: PathBuf,
    users: Flock<File>,
}

impl Controller {
    /// Finds a daemon, or starts one.
    pub(super) fn find(socket: &Path) -> Result<Controller, Failure> {
        if UnixStream::connect(socket).is_ok() {
            let (nameservers, socket) = (nameservers(), socket.to_owned());
            return Ok(Controller { socket, nameservers, connections: None, shared: None });
        }
        let inode = Namespace::own().map_err(|error| failure(error.to_string(), None))?.inode();
        let directory = Path::new(DIRECTORY).join(inode.to_string());
        fs::create_dir_all(&directory).map_err(about(&directory))?;
        let _starting = lock(&directory.join("start.lock"), FlockArg::LockExclusive)?;
        let users = lock(&directory.join("users.lock"), FlockArg::LockShared)?;
        let pins = PathBuf::from(format!("/sys/fs/bpf/sandbox-filter-run-{inode}"));
        let shared = Shared { directory, pins, users };
        let socket = shared.directory.join("api.sock");
        if UnixStream::connect(&socket).is_err() {
            shared.start(&socket)?;
        }
        let connections = Some(shared.directory.join("connections.jsonl"));
        Ok(Controller { socket, nameservers: nameservers(), connections, shared: Some(shared) })
    }

    /// Takes the shared one away when nobody else has a part in it.
    pub(super) fn leave(self) -> Result<(), Failure> {
        let Some(Shared { directory, pins, users }) = self.shared else { return Ok(()) };
        let _starting = lock(&directory.join("start.lock"), FlockArg::LockExclusive)?;
        drop(users);
        let path = directory.join("users.lock");
        let Ok(_alone) = Flock::lock(open(&path)?, FlockArg::LockExclusiveNonblock) else { return Ok(()) };
        stop(&directory)?;
        filter_dataplane::purge(&pins).map_err(|error| failure(error.to_string(), None))?;
        fs::remove_dir_all(&directory).map_err(about(&directory))
    }
}

impl Shared {
    fn start(&self, socket: &Path) -> Result<(), Failure> {
        let config = self.directory.join("config.yaml");
        fs::write(&config, self.configuration().to_string()).map_err(about(&config))?;
        let log = self.directory.join("daemon.log");
        let file = File::create(&log).map_err(about(&log))?;
        let mut daemon = Command::new(env::current_exe()?);
        daemon.args(["daemon", "--socket"]).arg(socket).arg("--config").arg(&config);
        daemon.arg("--state-dir").arg(self.directory.join("state")).arg("--pin-dir").arg(&self.pins);
        // What a terminal sends is not for it.
        daemon.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        let mut child = daemon.spawn()?;
        fs::write(self.directory.join("pid"), child.id().to_string())?;
        let end = Instant::now() + PATIENCE;
        while UnixStream::connect(socket).is_err() {
            if child.try_wait()?.is_some() || Instant::now() >= end {
                child.kill().ok();
                let mut text = String::new();
                File::open(&log)?.take(64 << 10).read_to_string(&mut text)?;
                return Err(failure(format!("no daemon runs, and none could be started:\n{}", text.trim()), None));
            }
            sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Namespaces can be made where the host passes packets on; what says why not is the daemon, once it is asked for one.
    fn configuration(&self) -> serde_json::Value {
        let nameservers = nameservers();
        let mut config = json!({
            "nameservers": nameservers,
            "connections": { "file": self.directory.join("connections.jsonl"), "maxBytes": 16 << 20 },
        });
        if let Some(uplink) = uplink().filter(|uplink| passes_on(&format!("ipv4/conf/{uplink}/forwarding"))) {
            let pool: Vec<&str> =
                [POOL].into_iter().chain(passes_on("ipv6/conf/all/forwarding").then_some(POOL6)).collect();
            let netns = json!({ "pool": pool, "uplink": uplink, "nameservers": nameservers.iter().take(3).collect::<Vec<_>>() });
            config["provider"] = json!({ "netns": netns });
        }
        config
    }
}

/// What keeps namespaces from being made.
pub(super) fn why_no_namespaces() -> Option<Failure> {
    let Some(uplink) = uplink() else {
        return Some(failure(
            "no device leads to the internet: there is no default route of IPv4",
            Some("run --cgroup uses the host's network as it is"),
        ));
    };
    (!passes_on(&format!("ipv4/conf/{uplink}/forwarding"))).then(|| {
        let message = format!("the host passes nothing on that comes by {uplink}");
        let hint = format!("sudo sysctl -w net.ipv4.conf.{uplink}.forwarding=1     or run --cgroup, which uses the host's network as it is");
        failure(message, Some(&hint))
    })
}

fn passes_on(setting: &str) -> bool {
    fs::read_to_string(Path::new("/proc/sys/net").join(setting)).is_ok_and(|value| value.trim() == "1")
}

/// The device of the default route of IPv4 with the lowest metric (`proc(5)`: name, destination, gateway, flags, …, metric, mask).
fn uplink() -> Option<String> {
    let routes = fs::read_to_string("/proc/self/net/route").ok()?;
    let defaults = routes.lines().skip(1).filter_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let is_default = columns.get(1) == Some(&"00000000") && columns.get(7) == Some(&"00000000");
        is_default.then(|| Some((columns.get(6)?.parse::<u32>().ok()?, (*columns.first()?).to_owned())))?
    });
    defaults.min().map(|(_, device)| device)
}

/// Who resolves names for the host, where that can be reached from elsewhere.
fn nameservers() -> Vec<IpAddr> {
    let text = fs::read("/etc/resolv.conf").unwrap_or_default();
    let known = resolv_conf::Config::parse(text).map(|config| config.nameservers).unwrap_or_default();
    let mut servers: Vec<IpAddr> = known.iter().map(IpAddr::from).filter(|server| !server.is_loopback()).collect();
    if servers.is_empty() {
        servers.extend(NAMESERVER.parse::<IpAddr>());
    }
    servers
}

fn stop(directory: &Path) -> Result<(), Failure> {
    let text = fs::read_to_string(directory.join("pid")).unwrap_or_default();
    let Ok(pid) = text.trim().parse::<i32>() else { return Ok(()) };
    // The number may be another's by now.
    let is_it = fs::read_to_string(format!("/proc/{pid}/cmdline"))
        .is_ok_and(|line| line.contains(&*directory.to_string_lossy()));
    if !is_it {
        return Ok(());
    }
    let end = Instant::now() + PATIENCE;
    loop {
        let signal = if Instant::now() < end { Signal::SIGTERM } else { Signal::SIGKILL };
        match kill(Pid::from_raw(pid), signal) {
            Ok(()) => sleep(Duration::from_millis(20)),
            Err(Errno::ESRCH) => return Ok(()),
            Err(errno) => return Err(io::Error::from(errno).into()),
        }
        if fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z ")) {
            return Ok(());
        }
    }
}

fn lock(path: &Path, how: FlockArg) -> Result<Flock<File>, Failure> {
    Flock::lock(open(path)?, how).map_err(|(_, errno)| about(path)(errno.into()))
}

fn open(path: &Path) -> Result<File, Failure> {
    File::options().create(true).truncate(false).write(true).open(path).map_err(about(path))
}
