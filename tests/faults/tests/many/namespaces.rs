//! Namespaces in which everything is the same but the policies: interface indexes, addresses, names.

use crate::probe::Way;
use crate::times::Times;
use crate::{Idle, SOON, number, pinned_namespaces};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt;
use test_faults::leaks::{KernelMemory, Scope, resident};
use test_scenarios::{Daemon, Local};
use test_world::{Node, World, wait_until};

const GATEWAY: [u8; 6] = [2, 0, 0, 0, 7, 1];
const OWN: [u8; 6] = [2, 0, 0, 0, 7, 2];
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
/// Memory that a daemon may have taken for good, in KiB: its allocator keeps some of what many sandboxes needed.
const GROWTH: u64 = 24 << 10;

#[test]
fn equal_namespaces_have_policies_of_their_own() -> Result<()> {
    let count = number("MANY_NAMESPACES", 20)?;
    let world = World::new("equal")?;
    let mut nodes: Vec<Node> = (0..count).map(|n| room(&world, &format!("n{n}"))).collect::<Result<_>>()?;
    let indexes: BTreeSet<u32> = nodes.iter().map(index).collect::<Result<_>>()?;
    ensure!(indexes.len() == 1, "the devices have the indexes {indexes:?}");
    println!("{count} namespaces with a device of index {indexes:?} and address {ADDRESS}");

    let daemon = Daemon::start(&world, "")?;
    let (api, pid) = (Local::new(daemon.socket()), daemon.pid().context("it runs")?);
    let idle = Idle::of(&daemon, Scope::default())?;
    let (mut create, mut update, mut detach) = (Times::default(), Times::default(), Times::default());
    // The third octet of each one's only destination: it changes when the policy does.
    let mut round: Vec<u8> = vec![1; nodes.len()];
    for (n, node) in nodes.iter().enumerate() {
        create.of(|| api.apply(&[document(n, node, 1)]))?;
    }
    create.print("create, program and namespace included");
    // What the machine or the daemon gives back meanwhile may be more than what they take.
    let kernel = KernelMemory::read()?.total().saturating_sub(idle.kernel.total());
    let memory = resident(pid)?.saturating_sub(idle.memory);
    println!(
        "a namespace costs {} KiB of the kernel's memory and {} KiB of the daemon's",
        kernel / u64::from(count),
        memory / u64::from(count)
    );
    all_are_own(&nodes, &round, |_| true)?;

    for n in (0..nodes.len()).step_by(2) {
        round[n] = 2;
        update.of(|| api.apply(&[document(n, &nodes[n], 2)]))?;
    }
    update.print("update");
    all_are_own(&nodes, &round, |_| true)?;

    // A third leaves; of these one half with their namespaces, whose inodes are others' soon.
    let leaving = |n: usize| n % 3 == 1;
    let mut inodes = BTreeSet::new();
    for n in (0..nodes.len()).filter(|n| leaving(*n)) {
        if n % 2 == 0 {
            detach.of(|| api.detach(&format!("n{n}")))?;
            continue;
        }
        inodes.insert(fs::metadata(nodes[n].path())?.ino());
        world.host().run(&["ip", "netns", "delete", nodes[n].name()])?.ok()?;
    }
    all_are_own(&nodes, &round, |n| !leaving(n))?;
    let mut again = 0;
    for n in (0..nodes.len()).filter(|n| leaving(*n) && n % 2 == 1) {
        nodes[n] = room(&world, &format!("r{n}"))?;
        again += u32::from(inodes.contains(&fs::metadata(nodes[n].path())?.ino()));
        ensure!(index(&nodes[n])? == *indexes.first().context("there is one")?);
        // Under the id of the one whose namespace has gone, at once: whether the daemon has noticed that or not.
        round[n] = 3;
        create.of(|| api.apply(&[document(n, &nodes[n], 3)]))?;
        is_own(n, &nodes, &round)?;
    }
    println!("{} namespaces have gone and come; {again} have an inode that another one had", inodes.len());
    all_are_own(&nodes, &round, |n| !leaving(n) || n % 2 == 1)?;

    for n in (0..nodes.len()).filter(|n| !leaving(*n) || n % 2 == 1) {
        detach.of(|| api.detach(&format!("n{n}")))?;
    }
    detach.print("detach");
    ensure!(
        wait_until(SOON, || pinned_namespaces(daemon.pin_dir()).is_ok_and(|left| left == 1)),
        "but the daemon's own"
    );
    idle.is_again(&daemon, GROWTH)
}

/// A namespace with a sandbox's device, both its ends, and a way out.
fn room(world: &World, name: &str) -> Result<Node> {
    let mac = |mac: [u8; 6]| mac.map(|byte| format!("{byte:02x}")).join(":");
    let node = world.node(name)?;
    node.sysctls(&[("net.ipv4.ip_forward", "1")])?;
    node.ip_batch(&format!(
        "link add tap0 address {} type veth peer name eth0 address {}\n\
         link add out0 type veth peer name out1\n\
         link set eth0 arp off up\nlink set tap0 up\nlink set out1 arp off up\nlink set out0 up\n\
         address add 10.77.0.1/24 dev tap0\naddress add 10.78.0.1/30 dev out0\n\
         neighbour add 10.78.0.2 lladdr 02:00:00:00:07:03 dev out0 nud permanent\n\
         route add default via 10.78.0.2\n",
        mac(GATEWAY),
        mac(OWN),
    ))?;
    Ok(node)
}

fn index(node: &Node) -> Result<u32> {
    Ok(node.within(|| nix::net::if_::if_nametoindex("tap0"))??)
}

/// The only destination of one sandbox.
fn destination(n: usize, round: u8) -> Ipv4Addr {
    Ipv4Addr::new(11, round, (n >> 8) as u8, n as u8)
}

fn document(n: usize, node: &Node, round: u8) -> Value {
    json!({
        "version": 1,
        "id": format!("n{n}"),
        "attach": { "interface": "tap0", "netns": node.name() },
        "addresses": [ADDRESS],
        "onDeny": "drop",
        "network": { "denyOut": ["0.0.0.0/0"], "allowOut": [destination(n, round)] },
    })
}

fn all_are_own(nodes: &[Node], round: &[u8], which: impl Fn(usize) -> bool) -> Result<()> {
    (0..nodes.len()).filter(|n| which(*n)).try_for_each(|n| is_own(n, nodes, round))
}

/// The sandbox reaches its own destination, and neither its earlier ones nor those of its neighbours and of some that are far off.
fn is_own(n: usize, nodes: &[Node], round: &[u8]) -> Result<()> {
    let all = nodes.len();
    let others = [1, 2, 3, all / 3, all / 2, all - 1].map(|step| (n + step) % all);
    let others = others.iter().filter(|other| **other != n).map(|other| destination(*other, round[*other]));
    let earlier = (1..round[n]).map(|round| destination(n, round));
    let denied: Vec<_> = others.chain(earlier).map(|theirs| (ADDRESS, theirs)).collect();
    let node = &nodes[n];
    let way = Way { enter: (node, "eth0"), leave: (node, "out1"), macs: (OWN, GATEWAY) };
    way.lets_only_pass(&denied, (ADDRESS, destination(n, round[n]))).with_context(|| format!("namespace {n} of {all}"))
}
