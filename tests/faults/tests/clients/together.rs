//! Many clients at once, on the same sandboxes and on different ones: the API, the kernel and the sidecar agree at the end, and each update was in
//! force when it was acknowledged.

use crate::kills::number;
use crate::random::Random;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use test_api::{EXAMPLE, Open, Provided};
use test_faults::slots;
use test_scenarios::{Local, NOWHERE, get_named};
use test_world::Node;
use test_world::internet::{WEB, WEB_ELSEWHERE, WEB_NEIGHBOUR};

/// Clients, each with a sandbox of its own.
const CLIENTS: usize = 64;
/// Sandboxes that all of them change.
const SHARED: usize = 4;
/// Sandboxes that are made at a time.
const MAKERS: usize = 8;
/// How long an echo may take.
const PATIENCE: Duration = Duration::from_secs(10);
const ECHO: u16 = 9000;
const PROVIDER: &str =
    "provider: { netns: { pool: [203.0.118.0/24, \"2001:db8:7a::/64\"], uplink: up0, connections: 64 } }\n";
/// What each policy allows: an address, and names.
const POLICIES: [(Ipv4Addr, &str); 3] =
    [(WEB, "example.test"), (WEB_NEIGHBOUR, "other.test"), (WEB_ELSEWHERE, "*.test")];
const NAMES: [&str; 2] = ["example.test", "other.test"];

fn network(policy: usize) -> Value {
    let (address, name) = POLICIES[policy];
    json!({ "allowOut": [address.to_string(), name], "denyOut": ["0.0.0.0/0"] })
}

/// Whether the policy allows a name.
fn covers(policy: usize, name: &str) -> bool {
    POLICIES[policy].1 == name || POLICIES[policy].1 == "*.test"
}

/// A sandbox, and sockets inside it, one to each address.
struct Watched {
    id: String,
    node: Node,
    sockets: Vec<UdpSocket>,
    /// Updates that were acknowledged.
    updates: AtomicUsize,
}

/// What became of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probe {
    Echoed,
    Rejected,
    Silent,
}

impl Watched {
    fn new(made: Provided) -> Result<Watched> {
        let sockets = made.node.within(|| {
            let socket = |(address, _): &(Ipv4Addr, &str)| {
                let socket = UdpSocket::bind("0.0.0.0:0")?;
                socket.connect((*address, ECHO))?;
                Ok(socket)
            };
            POLICIES.iter().map(socket).collect::<std::io::Result<Vec<_>>>()
        })??;
        Ok(Watched { id: made.id, node: made.node, sockets, updates: AtomicUsize::new(0) })
    }

    /// Sends one datagram to the address of a policy.
    fn probe(&self, policy: usize, patience: Duration) -> Result<Probe> {
        let (socket, mut datagram) = (&self.sockets[policy], [0; 16]);
        socket.set_read_timeout(Some(patience))?;
        match socket.send(b"witness").and_then(|_| socket.recv(&mut datagram)) {
            Ok(_) => Ok(Probe::Echoed),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => Ok(Probe::Silent),
                ErrorKind::ConnectionRefused | ErrorKind::HostUnreachable | ErrorKind::PermissionDenied => {
                    Ok(Probe::Rejected)
                }
                _ => Err(error.into()),
            },
        }
    }

    /// One datagram to each address: only what the policy allows passes.
    fn is_under(&self, policy: usize) -> Result<()> {
        for other in (0..POLICIES.len()).filter(|other| *other != policy) {
            let probe = self.probe(other, Duration::from_millis(500))?;
            ensure!(probe != Probe::Echoed, "{}: {} passes under policy {policy}", self.id, POLICIES[other].0);
        }
        let probe = self.probe(policy, PATIENCE)?;
        ensure!(probe == Probe::Echoed, "{}: {} under policy {policy}: {probe:?}", self.id, POLICIES[policy].0);
        Ok(())
    }
}

/// The stage, with a sandbox for each client and some for all.
struct Crowd {
    open: Open,
    own: Vec<Watched>,
    shared: Vec<Watched>,
}

impl Crowd {
    fn new(name: &str) -> Result<Crowd> {
        let open = Open::with(name, PROVIDER)?;
        let body = json!({ "templateID": "base", "timeout": 3600, "network": network(0) });
        let next = AtomicUsize::new(0);
        let make = || -> Result<Vec<Watched>> {
            let mut made = Vec::new();
            while next.fetch_add(1, Ordering::SeqCst) < CLIENTS + SHARED {
                made.push(Watched::new(open.create(&open.key, &body)?)?);
            }
            Ok(made)
        };
        let mut own: Vec<Watched> = beside((0..MAKERS).map(|_| &make))?.into_iter().flatten().collect();
        let shared = own.split_off(CLIENTS);
        Ok(Crowd { open, own, shared })
    }

    fn update(&self, at: &Watched, policy: usize) -> Result<()> {
        let reply = self.open.update(&self.open.key, &at.id, &network(policy))?;
        ensure!(reply.status == 204, "{reply:?}");
        at.updates.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    /// The policy that a sandbox has by the API.
    fn policy(&self, at: &Watched) -> Result<usize> {
        let shown = self.open.info(&self.open.key, &at.id)?;
        let is_it = |policy: &usize| network(*policy)["allowOut"] == shown["network"]["allowOut"];
        (0..POLICIES.len()).find(is_it).with_context(|| format!("none of the policies: {shown}"))
    }

    /// One client: changes its own sandbox and those of all, and looks at once whether its own is as was acknowledged. Tells its
    /// policy at last.
    fn client(&self, own: &Watched, mut random: Random, rounds: u64) -> Result<usize> {
        let mut policy = self.policy(own)?;
        for _ in 0..rounds {
            if random.below(10) < 3 {
                self.update(&self.shared[random.below(SHARED as u64) as usize], random.below(3) as usize)?;
                continue;
            }
            policy = (policy + 1 + random.below(2) as usize) % POLICIES.len();
            self.update(own, policy)?;
            own.is_under(policy)?;
        }
        Ok(policy)
    }

    fn alone_and_together(&self) -> Result<(Duration, Duration)> {
        let started = Instant::now();
        self.own.iter().try_for_each(|own| self.update(own, 1))?;
        let alone = started.elapsed();
        let started = Instant::now();
        beside(self.own.iter().map(|own| || self.update(own, 2)))?;
        Ok((alone, started.elapsed()))
    }

    /// By the API, the kernel, real packets and, for some, the sidecar, each sandbox has one policy.
    fn agrees(&self, expected: &[usize], local: &Local) -> Result<()> {
        let (status, daemon) = (local.list()?, &self.open.stage.daemon);
        let (slots, records) = (slots::slots(daemon.pin_dir())?, daemon.records()?);
        let check = |at: &Watched, expected: Option<usize>, names: bool| -> Result<()> {
            let policy = self.policy(at)?;
            ensure!(expected.is_none_or(|expected| expected == policy), "{}: {policy}, not {expected:?}", at.id);
            let slot = records[&at.id]["slot"].as_u64().and_then(|slot| slots.get(&u32::try_from(slot).ok()?));
            let slot = slot.with_context(|| format!("{} has no slot", at.id))?;
            let (generation, updates) = (status[&at.id].generation, at.updates.load(Ordering::SeqCst));
            ensure!(slot.is_whole() && slot.generation == Some(generation), "{}: {generation}, {slot:?}", at.id);
            // Who changes something into what it is changes nothing.
            let counts = if expected.is_some() {
                generation as usize == 1 + updates
            } else {
                generation as usize <= 1 + updates
            };
            ensure!(counts, "{}: generation {generation} after {updates} updates", at.id);
            at.is_under(policy)?;
            for name in NAMES.iter().filter(|_| names) {
                let (code, body) = get_named(&at.node, "http", name, NOWHERE)?;
                let reached = code == 0 && body.trim() == EXAMPLE.to_string();
                ensure!(reached == covers(policy, name), "{}: {name} under {policy}: {code} {body:?}", at.id);
            }
            Ok(())
        };
        let check = &check;
        let own = self.own.iter().zip(expected).enumerate();
        let own = own.map(|(at, (own, policy))| (own, Some(*policy), at % 8 == 0));
        let all: Vec<_> = own.chain(self.shared.iter().map(|shared| (shared, None, true))).collect();
        // A few at a time.
        for some in all.chunks(MAKERS) {
            beside(some.iter().map(|(at, policy, names)| move || check(at, *policy, *names)))?;
        }
        Ok(())
    }
}

#[test]
fn sixty_four_clients_agree_with_the_api_the_kernel_and_the_sidecar() -> Result<()> {
    let rounds = number("CLIENTS_ROUNDS", 12)?;
    let seed = number("CLIENTS_SEED", u64::from(std::process::id()))?;
    println!("CLIENTS_SEED={seed}");
    let crowd = Crowd::new("apitogether")?;
    let local = Local::new(crowd.open.stage.daemon.socket());
    let (alone, together) = crowd.alone_and_together()?;
    println!("{CLIENTS} updates of different sandboxes: {alone:.0?} one after the other, {together:.0?} together");
    let (started, done) = (Instant::now(), AtomicBool::new(false));
    let expected = thread::scope(|scope| {
        let watch = scope.spawn(|| generations_rise(&local, &done));
        let clients = crowd.own.iter().enumerate().map(|(at, own)| {
            let (crowd, random) = (&crowd, Random(seed.wrapping_add(at as u64)));
            move || crowd.client(own, random, rounds)
        });
        let expected = beside(clients);
        done.store(true, Ordering::SeqCst);
        let looks = watch.join().expect("no panic in the watch")?;
        println!("generations were looked at {looks} times");
        expected
    })?;
    let all = crowd.own.iter().chain(&crowd.shared);
    let updates: usize = all.map(|at| at.updates.load(Ordering::SeqCst)).sum::<usize>() - 2 * CLIENTS;
    println!("{updates} updates by {CLIENTS} clients in {:.0?}", started.elapsed());
    crowd.agrees(&expected, &local)
}

/// No sandbox's generation goes back, until it is done. Tells how often that was looked at.
fn generations_rise(local: &Local, done: &AtomicBool) -> Result<usize> {
    let (mut last, mut looks) = (BTreeMap::new(), 0);
    while !done.load(Ordering::SeqCst) {
        for (id, status) in local.list()? {
            let before = last.insert(id.clone(), status.generation).unwrap_or_default();
            ensure!(status.generation >= before, "{id}: generation {} after {before}", status.generation);
        }
        looks += 1;
        thread::sleep(Duration::from_millis(50));
    }
    Ok(looks)
}

/// Does everything beside each other.
fn beside<T: Send, W: FnOnce() -> Result<T> + Send>(work: impl Iterator<Item = W>) -> Result<Vec<T>> {
    thread::scope(|scope| {
        let started: Vec<_> = work.map(|one| scope.spawn(one)).collect();
        started.into_iter().map(|one| one.join().expect("no panic beside others")).collect()
    })
}
