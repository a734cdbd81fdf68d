//! The world in which all cases are tried.

use crate::case::{Case, Class, End, Family, Policy};
use crate::relay;
use crate::report::{Outcome, Row};
use crate::server::Server;
use crate::subject::{DENIED, Denied, Filter, Mode, Place, Subject};
use crate::target::{ALLOWED_NAME, REBOUND, REBOUND_NAME, RELAY, Target};
use crate::witness::Witness;
use anyhow::{Context, Result, bail, ensure};
use std::env;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;
use test_scenarios::{Daemon, RESOLVER};
use test_world::internet::{WEB, WEB6};
use test_world::{Cgroup, Dnsmasq, Process, World, poll};

/// How long an attempt may take.
const ATTEMPT: Duration = Duration::from_secs(60);
/// Ports that the internet listens on.
const PORTS: [u16; 5] = [80, 443, 853, 8080, 8443];
/// The MAC address of the host's device towards the internet, and of the one behind.
const UPLINK: [[u8; 6]; 2] = [[2, 0, 0, 1, 0, 1], [2, 0, 0, 1, 0, 2]];

/// Sandboxes of each mode, with nothing, the filter and nftables to hold them; servers on the internet, and who watches the way there.
pub struct Arena {
    subjects: Vec<(Mode, Subject)>,
    kernel: String,
    compares: bool,
    attempts: u32,
    server: Server,
    daemon: Daemon,
    _resolver: Dnsmasq,
    world: World,
}

impl Arena {
    /// Makes it. `compares` tells whether nftables is tried as well.
    ///
    /// # Errors
    /// When a part of it does not start.
    pub fn new(compares: bool) -> Result<Arena> {
        let world = World::new("bypass")?;
        let (host, internet) = (world.host(), world.internet());
        // What a router could be talked into is on: an attack that the kernel stops by itself would show nothing.
        host.sysctls(&[
            ("net.ipv4.conf.all.accept_source_route", "1"),
            ("net.ipv4.conf.default.accept_source_route", "1"),
            ("net.ipv4.ping_group_range", "0 2147483647"),
            ("net.ipv4.tcp_fastopen", "5"),
        ])?;
        for network in DENIED.into_iter().chain(REBOUND) {
            internet.ip(&format!("route add local {network} dev lo"))?;
        }
        internet.sysctls(&[("net.ipv4.tcp_fastopen", "7"), ("net.mptcp.enabled", "1")]).context("the internet")?;
        let names = [(ALLOWED_NAME, IpAddr::from(WEB)), (ALLOWED_NAME, WEB6.into())];
        let rebound = REBOUND.map(|text| (REBOUND_NAME, text.parse().expect("an address")));
        let resolver = internet.dnsmasq(&[RESOLVER], &[names.as_slice(), &rebound].concat())?;
        let server = Server::start(internet, &PORTS)?;
        relay::start(host, RELAY)?;
        let daemon = Daemon::start(&world, &format!("resolvers: [\"{RESOLVER}\"]\n"))?;
        let mut arena = Arena {
            subjects: Vec::new(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            compares,
            attempts: 0,
            server,
            daemon,
            _resolver: resolver,
            world,
        };
        for filter in arena.filters() {
            let sandbox = arena.world.sandbox(filter.name())?;
            sandbox.sysctls(&[
                ("net.mptcp.enabled", "1"),
                ("net.ipv4.tcp_fastopen", "5"),
                ("net.ipv4.ping_group_range", "0 2147483647"),
            ])?;
            sandbox.is_given_up_soon(arena.world.host())?;
            if filter == Filter::Off {
                relay::start(&sandbox, RELAY)?;
            }
            arena.subjects.push((Mode::Tc, Subject::new(filter, Place::Netns(sandbox))));
            arena.subjects.push((Mode::Cgroup, Subject::new(filter, Place::Cgroup(Cgroup::make()?))));
        }
        Ok(arena)
    }

    fn filters(&self) -> Vec<Filter> {
        Filter::ALL.into_iter().filter(|filter| self.compares || *filter != Filter::Nftables).collect()
    }

    /// Shows that a sandbox which the filter holds reaches what its policy allows: else nothing would be shown by what it does not reach.
    ///
    /// # Errors
    /// When the witness sees nothing.
    pub fn control(&mut self, mode: Mode) -> Result<()> {
        for case in crate::cases::CONTROLS {
            for filter in self.filters() {
                let seen = self.attempt(case, mode, filter, true)?;
                let counters = || {
                    self.daemon.list().map(|all| all.into_iter().map(|one| one.counters.reasons).collect::<Vec<_>>())
                };
                ensure!(
                    seen == case.families,
                    "{} of {}: only {seen:?} got through: {:?}",
                    case.name,
                    filter.name(),
                    counters()?
                );
            }
        }
        Ok(())
    }

    /// Tries a case.
    ///
    /// # Errors
    /// When the filter lets through what it is to stop; when the witness sees nothing of it though nothing holds the attacker.
    pub fn judge(&mut self, case: &Case, class: Class, mode: Mode) -> Result<Row> {
        let free = self.attempt(case, mode, Filter::Off, true)?;
        ensure!(free == case.families, "it shows nothing: with nothing to hold it, the witness sees {free:?} of it");
        let passed = self.attempt(case, mode, Filter::Ours, false)?;
        let nftables = match self.compares {
            true => Some(outcome(&self.attempt(case, mode, Filter::Nftables, false)?)),
            false => None,
        };
        let limit = match case.end {
            End::Stopped if passed.is_empty() => None,
            End::Stopped => bail!("it got through: {passed:?}"),
            End::OutOfReach(_) if passed.is_empty() => bail!("it is stopped, though it is said to be out of reach"),
            End::OutOfReach(limit) => Some(limit.to_owned()),
        };
        Ok(Row {
            kernel: self.kernel.clone(),
            mode,
            class,
            case: case.name.to_owned(),
            what: case.what.to_owned(),
            ours: outcome(&passed),
            limit,
            nftables,
        })
    }

    /// The families of which the witness sees something.
    fn attempt(&mut self, case: &Case, mode: Mode, filter: Filter, expected: bool) -> Result<Vec<Family>> {
        // One wait of the attacker's is for one policy.
        let together = if case.policy == Policy::Tightened { 1 } else { case.families.len() };
        let mut seen = Vec::new();
        for families in case.families.chunks(together) {
            seen.extend(self.round(case, families, (mode, filter), expected)?);
        }
        Ok(seen)
    }

    fn round(&mut self, case: &Case, families: &[Family], at: (Mode, Filter), expected: bool) -> Result<Vec<Family>> {
        self.attempts += 1;
        let Arena { subjects, world, daemon, server, attempts, .. } = self;
        let found = subjects.iter_mut().find(|(mode, subject)| (*mode, subject.filter) == at);
        let subject = &mut found.context("no such sandbox")?.1;
        let denied = Denied::of(*attempts);
        subject.apply(case.policy, denied, daemon, world.host())?;
        let tightened = world.dir().join(format!("tightened-{attempts}"));
        let target = |family: &Family| target(subject, *family, (*attempts, denied), tightened.clone());
        let targets: Vec<Target> = families.iter().map(target).collect();
        let mut witness = Witness::new(world.host(), server)?;
        let mut attacker = start(world, case, subject, &targets)?;
        if case.policy == Policy::Tightened {
            let ready = || (attacker.stdout().contains("ready") || !attacker.is_running()).then_some(());
            poll(ATTEMPT, ready).context("the attacker does not get ready")?;
            subject.tighten(denied, daemon, world.host())?;
            witness = Witness::new(world.host(), server)?;
            fs::write(&tightened, "")?;
        }
        let ended = attacker.wait(ATTEMPT)?.ok()?;
        let mut seen = Vec::new();
        for target in &targets {
            if if expected { witness.will_see(target) } else { witness.has_seen(target)? } {
                seen.push(target.family);
                if !expected && case.end == End::Stopped {
                    eprintln!("{} ({at:?}): the witness sees {}", case.name, witness.evidence(target)?);
                }
            }
        }
        subject.retire(world.host())?;
        if expected && seen.len() < targets.len() {
            eprintln!("{} ({at:?}): {}{}", case.name, ended.stdout, ended.stderr);
        }
        Ok(seen)
    }
}

fn outcome(passed: &[Family]) -> Outcome {
    if passed.is_empty() { Outcome::Stopped } else { Outcome::Passed }
}

/// Starts the attacker: this very program, where the sandbox is.
fn start(world: &World, case: &Case, subject: &Subject, targets: &[Target]) -> Result<Process> {
    let own = env::current_exe().context("the suite does not know where it is")?;
    let (own, targets) = (own.display().to_string(), serde_json::to_string(targets)?);
    let words = [own.as_str(), "attack", case.name, &targets];
    match &subject.place {
        Place::Netns(sandbox) => sandbox.spawn(&words),
        Place::Cgroup(cgroup) => world.host().spawn(&[&words[..], &[&cgroup.path().display().to_string()]].concat()),
    }
}

fn target(subject: &Subject, family: Family, attempt: (u32, Denied), tightened: PathBuf) -> Target {
    let (number, denied) = attempt;
    let is_v4 = family == Family::V4;
    let pick = |four: IpAddr, six: IpAddr| if is_v4 { four } else { six };
    let name = if is_v4 { "four" } else { "six" };
    // The first sandbox of the world is the one that nothing holds.
    let neighbour =
        pick(Ipv4Addr::new(198, 51, 100, 2).into(), Ipv6Addr::new(0x2001, 0xdb8, 0xa000, 0, 0, 0, 0, 2).into());
    let common = Target {
        family,
        denied: pick(denied.0.into(), denied.1.into()),
        denied_v4: denied.0,
        allowed: pick(WEB.into(), WEB6.into()),
        canary: format!("canary-{name}-{number}-x"),
        own: pick(Ipv4Addr::new(10, 99, 0, 1).into(), Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, 1).into()),
        device: "up0".to_owned(),
        own_mac: UPLINK[0],
        gateway_mac: UPLINK[1],
        host: pick(Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()),
        neighbour,
        tightened,
    };
    match &subject.place {
        Place::Cgroup(_) => common,
        Place::Netns(sandbox) => Target {
            own: pick(sandbox.v4.into(), sandbox.v6.into()),
            device: "eth0".to_owned(),
            own_mac: mac(&sandbox.mac),
            gateway_mac: mac(&sandbox.gateway_mac),
            host: pick(sandbox.gateway4.into(), sandbox.gateway6.into()),
            ..common
        },
    }
}

fn mac(text: &str) -> [u8; 6] {
    let bytes: Vec<u8> = text.split(':').filter_map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    bytes.try_into().expect("six bytes")
}
