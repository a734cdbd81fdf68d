//! Namespaces that the provider makes, with real traffic: a world's host is the host, its internet the internet.

use crate::place::{Place, ask, id, is_as_before, netns_config};
use anyhow::{Result, ensure};
use filter_provider::{Error, Made};
use serde_json::json;
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};
use test_world::{World, internet, wait_until};

/// The internet knows no way to these: an answer comes back only to the host's own address.
pub(crate) const BOTH: &[&str] = &["192.0.2.128/29", "2001:db8:b000::/64"];
const LONG: Duration = Duration::from_secs(10);

fn urls() -> [(String, String); 2] {
    let (v4, v6) = (internet::WEB, internet::WEB6);
    [(format!("http://{v4}/"), v4.to_string()), (format!("http://[{v6}]/"), v6.to_string())]
}

#[test]
fn from_nothing_to_nothing() -> Result<()> {
    let world = World::new("prnothing")?;
    let _nginx = world.internet().nginx()?;
    world.host().ip("link set up0 mtu 1400")?;
    world
        .host()
        .run(&["nft", "add table inet theirs { chain forward { type filter hook forward priority 0; }; }"])?
        .ok()?;
    let place = Place::new(&world, &netns_config(BOTH, 4096)?)?;
    let before = place.everything()?;
    let id = id();
    let made = place.provider().create(&ask(&id))?;
    assert_eq!(serde_json::to_value(&made)?["addresses"], json!(["192.0.2.129", "2001:db8:b000::1"]));
    let shown = world.host().ip("-oneline link show dev sf0")?.stdout;
    ensure!(!shown.contains(",UP") && !shown.contains("<UP"), "the device is on before the start: {shown}");
    for (url, _) in urls() {
        assert_eq!(place.curl(&id, &url)?, "", "{url} was reached before the start");
    }

    place.provider().start(&id, &made)?;
    place.provider().start(&id, &made)?;
    for (url, answer) in urls() {
        assert_eq!(place.curl(&id, &url)?.trim(), answer, "{url}");
    }
    assert_eq!(place.inside(&id, &["cat", "/etc/resolv.conf"])?, "nameserver 8.8.8.8\n");
    assert_eq!(Some(place.inside(&id, &["cat", "/sys/class/net/eth0/address"])?.trim()), made.mac.as_deref());
    assert_eq!(place.inside(&id, &["cat", "/sys/class/net/eth0/mtu"])?, "1400\n");

    let mut program = place.spawn_inside(&id, &["sleep", "600"])?;
    ensure!(wait_until(LONG, || place
        .inside(&id, &["ip", "netns", "pids", &format!("sandbox-{id}")])
        .is_ok_and(|pids| pids.lines().count() > 1)));
    place.provider().destroy(&id)?;
    let ended = wait_until(LONG, || matches!(program.try_wait(), Ok(Some(_))));
    program.kill()?;
    ensure!(ended, "a program lives on");
    is_as_before(&place, &before)?;
    ensure!(!place.has_files(&id), "files of {id} are left");
    place.provider().destroy(&id)?;
    is_as_before(&place, &before)
}

#[test]
fn one_family_is_enough() -> Result<()> {
    let world = World::new("prfamily")?;
    let _nginx = world.internet().nginx()?;
    for (pool, [(own, answer), (other, _)]) in [
        (BOTH[0], urls()),
        (BOTH[1], {
            let [v4, v6] = urls();
            [v6, v4]
        }),
    ] {
        let place = Place::new(&world, &netns_config(&[pool], 4096)?)?;
        let id = id();
        let made = place.provider().create(&ask(&id))?;
        place.provider().start(&id, &made)?;
        assert_eq!(place.curl(&id, &own)?.trim(), answer, "{pool}");
        assert_eq!(place.curl(&id, &other)?, "", "{pool}");
        let v6 = place.inside(&id, &["ip", "-6", "-oneline", "address", "show", "dev", "eth0"])?;
        assert_eq!(v6.is_empty(), !pool.contains(':'), "{pool}: {v6}");
        place.provider().destroy(&id)?;
    }
    Ok(())
}

#[test]
fn connections_are_limited_and_forgotten() -> Result<()> {
    let world = World::new("prlimit")?;
    let _nginx = world.internet().nginx()?;
    // One sandbox at a time: the next has the same device and addresses.
    let place = Place::new(&world, &netns_config(&["192.0.2.128/31", "2001:db8:b000::/127"], 4)?)?;
    let webs = [SocketAddr::from((internet::WEB, 80)), SocketAddr::from((internet::WEB6, 80))];
    let open = |n: usize| TcpStream::connect_timeout(&webs[n % 2], Duration::from_secs(3));
    for _ in 0..2 {
        let id = id();
        let made = place.provider().create(&ask(&id))?;
        place.provider().start(&id, &made)?;
        let (held, refused) = place.within(&id, || {
            let held: Vec<_> = (0..4).map(&open).collect();
            (held, [open(0), open(1)])
        })?;
        for one in &held {
            ensure!(one.is_ok(), "{one:?} within the limit");
        }
        for one in refused {
            let kind = one.map(drop).expect_err("the limit is four").kind();
            ensure!([ErrorKind::HostUnreachable, ErrorKind::PermissionDenied].contains(&kind), "{kind}");
        }
        drop(held);
        ensure!(
            wait_until(LONG, || place.within(&id, || open(1).is_ok()).is_ok_and(|well| well)),
            "room does not come back"
        );
        // Some are open when it ends.
        let held = place.within(&id, || (0..3).map(&open).collect::<Vec<_>>())?;
        ensure!(connections(&place)? > 0);
        place.provider().destroy(&id)?;
        // Nothing tells the host of their end any more.
        ensure!(connections(&place)? == 0, "{} connections of a sandbox that has ended", connections(&place)?);
        drop(held);
    }
    Ok(())
}

/// How many connections the host knows of.
fn connections(place: &Place) -> Result<u64> {
    let read = || std::fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count");
    Ok(place.world.host().within(read)??.trim().parse()?)
}

#[test]
fn a_pool_ends_and_comes_back() -> Result<()> {
    let world = World::new("prpool")?;
    let place = Place::new(&world, &netns_config(&["192.0.2.128/30"], 4096)?)?;
    let before = place.everything()?;
    let [a, b, c] = [id(), id(), id()];
    let first = place.provider().create(&ask(&a))?;
    place.provider().create(&ask(&b))?;
    let full = place.everything()?;
    let error = place.provider().create(&ask(&c)).expect_err("there is room for two");
    ensure!(matches!(error, Error::PoolExhausted { sandboxes: 2, .. }), "{error:?}");
    ensure!(error.to_string().starts_with("no addresses left in pool 192.0.2.128/30: 2 sandboxes"), "{error}");
    is_as_before(&place, &full)?;
    let error = place.provider().create(&ask(&a)).expect_err("it exists");
    ensure!(matches!(error, Error::Exists { .. }), "{error:?}");
    is_as_before(&place, &full)?;

    place.provider().destroy(&a)?;
    let again = place.provider().create(&ask(&c))?;
    assert_eq!(again.addresses, first.addresses);
    for id in [b, c] {
        place.provider().destroy(&id)?;
    }
    is_as_before(&place, &before)
}

#[test]
fn a_later_daemon_takes_over() -> Result<()> {
    let world = World::new("prlater")?;
    let _nginx = world.internet().nginx()?;
    let config = netns_config(BOTH, 4096)?;
    let first = Place::new(&world, &config)?;
    let before = first.everything()?;
    let [a, b, c, d] = [id(), id(), id(), id()];
    let made = first.provider().create(&ask(&a))?;
    first.provider().start(&a, &made)?;
    // Somebody clears the firewall. The next daemon puts it right.
    world.host().run(&["nft", "flush", "ruleset"])?.ok()?;

    let second = Place::new(&world, &config)?;
    for (url, answer) in urls() {
        assert_eq!(second.curl(&a, &url)?.trim(), answer, "{url}");
    }
    assert_eq!(second.provider().strays(&BTreeSet::new())?, std::slice::from_ref(&a));
    assert_eq!(second.provider().strays(&BTreeSet::from([a.clone()]))?, Vec::<String>::new());
    // One whose device somebody has removed: its addresses are its own until it is destroyed.
    let gone: Made =
        serde_json::from_value(json!({ "attach": { "interface": "sf900" }, "addresses": ["192.0.2.131"] }))?;
    second.provider().recall(&b, &gone);
    let made = second.provider().create(&ask(&c))?;
    assert_eq!(made.attach.interface.as_deref(), Some("sf2"));
    second.provider().destroy(&b)?;
    // Others' devices are in nobody's way.
    world.host().ip("link add sf3 type veth peer name theirs")?;
    let made = second.provider().create(&ask(&d))?;
    assert_eq!(made.attach.interface.as_deref(), Some("sf1"));
    let stranger: Made =
        serde_json::from_value(json!({ "attach": { "interface": "sf3" }, "addresses": ["192.0.2.135"] }))?;
    ensure!(second.provider().start(&d, &stranger).is_err(), "somebody else's device was switched on");
    ensure!(
        second
            .provider()
            .start(&d, &serde_json::from_value(json!({ "attach": { "interface": "sf2" }, "addresses": [] }))?)
            .is_err()
    );
    world.host().ip("link del sf3")?;
    for id in [a, c, d] {
        second.provider().destroy(&id)?;
    }
    is_as_before(&second, &before)
}

#[test]
fn many_at_a_time() -> Result<()> {
    let world = World::new("prmany")?;
    let place = Place::new(&world, &netns_config(&["192.0.2.128/27", "2001:db8:b000::/64"], 4096)?)?;
    let before = place.everything()?;
    thread::scope(|scope| {
        let work = || -> Result<(), Error> {
            for _ in 0..4 {
                let [a, b] = [id(), id()];
                for id in [&a, &b] {
                    let made = place.provider().create(&ask(id))?;
                    place.provider().start(id, &made)?;
                }
                place.provider().destroy(&b)?;
                place.provider().destroy(&a)?;
            }
            Ok(())
        };
        let threads: Vec<_> = (0..6).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
    })?;
    is_as_before(&place, &before)
}

#[test]
fn killed_in_the_middle() -> Result<()> {
    let world = World::new("prkilled")?;
    let place = Place::new(&world, &netns_config(BOTH, 4096)?)?;
    // The table comes and goes with a sandbox that is alone, which takes most of the time; beside another there is more to see of the rest.
    let other = id();
    place.provider().create(&ask(&other))?;
    let half = killed(&place, 30, &[&other])?;
    ensure!(half.len() > 1, "all kills met the same state: {half:?}");
    place.provider().destroy(&other)?;
    killed(&place, 15, &[])?;
    Ok(())
}

/// Kills makers of sandboxes, and shows that nothing is left once theirs are destroyed. Returns what was met: whether a device, whether files.
fn killed(place: &Place, kills: u64, others: &[&String]) -> Result<BTreeSet<(bool, bool)>> {
    let before = place.everything()?;
    let known = others.iter().map(|id| (*id).clone()).collect();
    let config = json!({ "netns": { "pool": BOTH, "uplink": "up0", "connections": 4096 } }).to_string();
    let mut half = BTreeSet::new();
    for kill in 0..kills {
        let id = id();
        let mut command = place.world.host().command(env!("CARGO_BIN_EXE_filter-provider-victim"));
        command.args([&config, &id]);
        let mut victim = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let begun = || {
            let changed = || place.everything().is_ok_and(|now| now != before);
            if kill % 2 == 0 { place.has_files(&id) } else { changed() }
        };
        ensure!(wait_until(LONG, begun), "nothing was made");
        // Where it is killed is to be another place each time, so this one is a time and no condition.
        thread::sleep(Duration::from_millis(kill / 2));
        ensure!(victim.try_wait()?.is_none(), "it has ended by itself");
        victim.kill()?;
        victim.wait()?;
        let strays = place.provider().strays(&known)?;
        ensure!(strays.is_empty() || strays == [id.clone()], "{strays:?} is not {id}");
        half.insert((!strays.is_empty(), place.has_files(&id)));
        let end = Instant::now() + LONG;
        loop {
            // A program that it had started may end after it, and a namespace without a name a moment later.
            place.provider().destroy(&id)?;
            match is_as_before(place, &before) {
                Ok(()) => break,
                Err(error) => ensure!(Instant::now() < end, "kill {kill}: {error}"),
            }
        }
        ensure!(!place.has_files(&id), "kill {kill}: files of {id} are left");
    }
    Ok(half)
}
