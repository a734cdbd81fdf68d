//! Two sandboxes whose policies have names, and one whose policy has addresses alone.

use crate::load::ask;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use test_scenarios::{Daemon, document};
use test_world::internet::{GOOGLE, WEB, WEB6};
use test_world::{Dnsmasq, Nginx, Sandbox, World};

/// How long something that must happen may take.
pub(crate) const SOON: Duration = Duration::from_secs(10);
/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// Where sandboxes believe that every name is: somebody is there, whom nobody may reach.
pub(crate) const DENIED: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 99));
/// The same of IPv6.
pub(crate) const DENIED6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0x10, 0, 0, 0, 0, 0x99));
/// Port of the web server that no name is judged on.
pub(crate) const DIRECT: u16 = 8080;
/// Names a fail point.
const ARM: &str = "fail-point";
pub(crate) const NAMES: &str = r#"denyOut: ["0.0.0.0/0"], allowOut: ["example.test"]"#;
const ADDRESSES: &str = r#"denyOut: ["0.0.0.0/0"], allowOut: ["203.0.113.10"]"#;

pub(crate) struct Stage {
    pub(crate) daemon: Daemon,
    /// With names.
    pub(crate) a: Sandbox,
    pub(crate) b: Sandbox,
    /// With addresses.
    pub(crate) c: Sandbox,
    _resolver: Dnsmasq,
    _server: Nginx,
    pub(crate) world: World,
}

impl Stage {
    pub(crate) fn new(name: &str) -> Result<Stage> {
        Stage::with(name, None)
    }

    /// With another build of the daemon, which dies at the point that [`Self::arm`] names.
    pub(crate) fn with(name: &str, program: Option<&Path>) -> Result<Stage> {
        let world = World::new(name)?;
        world.internet().add_address(DENIED)?;
        world.internet().add_address(DENIED6)?;
        let names = ["example.test", "other.test"];
        let records = names.map(|name| [(name, WEB.into()), (name, WEB6.into())]).concat();
        let daemon = Daemon::prepare(&world, "daemon", &format!("resolvers: [{GOOGLE}]\n"))?;
        let mut daemon = match program {
            Some(program) => daemon.with_program(program, "SANDBOX_FILTER_FAIL_POINT", &world.dir().join(ARM)),
            None => daemon,
        };
        daemon.begin()?;
        let stage = Stage {
            _resolver: world.internet().dnsmasq(&[GOOGLE.into()], &records)?,
            _server: world.internet().nginx()?,
            daemon,
            a: world.sandbox("a")?,
            b: world.sandbox("b")?,
            c: world.sandbox("c")?,
            world,
        };
        stage.apply(&stage.a, NAMES)?;
        stage.apply(&stage.b, NAMES)?;
        stage.apply(&stage.c, ADDRESSES)?;
        Ok(stage)
    }

    /// The file that names the point.
    pub(crate) fn arm(&self) -> PathBuf {
        self.world.dir().join(ARM)
    }

    pub(crate) fn apply(&self, sandbox: &Sandbox, network: &str) -> Result<()> {
        self.daemon.apply(&document(sandbox, network)).map(drop)
    }

    /// The process id of the sidecar.
    pub(crate) fn sidecar(&self) -> Result<i32> {
        self.sidecars()?.pop().context("no sidecar runs")
    }

    /// Those that run: one, or none for a moment.
    pub(crate) fn sidecars(&self) -> Result<Vec<i32>> {
        let daemon = self.daemon.pid().context("no daemon runs")?;
        let mut found = Vec::new();
        for thread in fs::read_dir(format!("/proc/{daemon}/task"))?.flatten() {
            // A thread may end meanwhile.
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
        }
        ensure!(found.len() < 2, "two sidecars: {found:?}");
        Ok(found)
    }

    /// The status of a request for a name.
    pub(crate) fn asks(&self, sandbox: &Sandbox, name: &str) -> Result<u16> {
        sandbox.within(|| ask(SocketAddr::from((DENIED, 80)), name, PATIENCE))?
    }

    /// Whether `c` reaches the server's address.
    pub(crate) fn reaches_directly(&self) -> Result<bool> {
        Ok(self.c.within(|| ask(SocketAddr::from((WEB, DIRECT)), "example.test", PATIENCE))?? == 200)
    }
}

/// Limits how many descriptors the sidecar may have; `None` takes the limit away. Its own user may do that.
pub(crate) fn limit_descriptors(pid: i32, most: Option<u32>) -> Result<()> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits"))?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).context("a limit of open files")?;
    let hard = line.split_whitespace().nth(1).context("a hard limit")?;
    let soft = most.map_or_else(|| hard.to_owned(), |most| most.to_string());
    let run = std::process::Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "prlimit", "--pid", &pid.to_string()])
        .arg(format!("--nofile={soft}:{hard}"))
        .output()?;
    ensure!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    Ok(())
}
