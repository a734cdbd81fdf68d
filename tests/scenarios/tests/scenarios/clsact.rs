//! Hooks that are filters of a clsact qdisc, for kernels without TCX: the whole life of a sandbox again.

use crate::attach::Rack;
use anyhow::Result;
use filter_core::Reason::{AddressDenied, AllowedByDefault, AllowedByList, Sealed};
use filter_ctl::api::{Change, EndState, State};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use test_scenarios::{SOON, Setup, Stage, document, has_tcx, http, ping, udp};
use test_world::internet::{WEB, WEB_NEIGHBOUR, WEB6, WEB6_NEIGHBOUR};
use test_world::{Live, Node, wait_until};

const POLICY: &str = r#"denyOut: ["0.0.0.0/0"], allowOut: ["203.0.113.10", "2001:db8:10::10"]"#;
const OTHER: &str = r#"denyOut: ["203.0.113.10", "2001:db8:10::10"]"#;
/// How long something that was torn away may be missing.
const MENDED: Duration = Duration::from_secs(1);

fn stage(name: &str) -> Result<Stage> {
    Stage::with(name, &Setup { config: "hook: clsact\n", ..Setup::default() })
}

/// The document of sandbox `a`, for the guest of a rack.
fn elsewhere(stage: &Stage, rack: &Rack, network: &str) -> String {
    document(&stage.a, network).replace("interface: veth-a", &format!("interface: tap7, netns: {}", rack.host.name()))
}

/// The filters of a device, in order.
fn filters(host: &Node, device: &str) -> Result<String> {
    let show = |hook| anyhow::Ok(host.run(&["tc", "filter", "show", "dev", device, hook])?.stdout);
    Ok(show("ingress")? + &show("egress")?)
}

/// Both of the filter's own are there.
fn is_whole(host: &Node, device: &str) -> bool {
    filters(host, device).is_ok_and(|there| there.contains("from_sandbox") && there.contains("to_sandbox"))
}

fn has_qdisc(host: &Node, device: &str) -> Result<bool> {
    Ok(host.run(&["tc", "qdisc", "show", "dev", device])?.ok()?.stdout.contains("clsact"))
}

/// Nothing of the filter is left on a device.
#[track_caller]
fn assert_clean(host: &Node, device: &str) -> Result<()> {
    assert_eq!(filters(host, device)?, "", "filters of {device}");
    assert!(!has_qdisc(host, device)?, "the qdisc of {device} was made for the filter");
    Ok(())
}

#[test]
fn from_the_first_apply_to_the_end() -> Result<()> {
    let stage = stage("clsact")?;
    let (a, daemon, host) = (&stage.a, &stage.daemon, stage.world.host());
    let created = stage.apply(a, POLICY)?;
    assert_eq!((created.change, created.hook.as_str()), (Change::Created, "clsact"));
    assert_eq!(daemon.status("a")?.hook, "clsact");
    let there = filters(host, "veth-a")?;
    for program in ["from_sandbox", "to_sandbox"] {
        assert!(there.contains(program) && there.contains("pref 1 ") && there.contains("direct-action"), "{there}");
    }
    let allowed = [http(WEB), udp(WEB), ping(WEB), http(WEB6), udp(WEB6), ping(WEB6)];
    let denied = [http(WEB_NEIGHBOUR), udp(WEB_NEIGHBOUR), ping(WEB6_NEIGHBOUR), http(WEB6_NEIGHBOUR)];
    stage.expect(a, &[(AllowedByList, &allowed), (AddressDenied, &denied)])?;
    // Nobody comes in.
    let server = a.udp_echo(9000)?;
    assert!(!udp(a.v4).gets_through(host, false)? && server.received() == 0);
    drop(server);

    let updated = stage.apply(a, OTHER)?;
    assert_eq!((updated.change, updated.generation, updated.hook.as_str()), (Change::Updated, 2, "clsact"));
    stage.expect(a, &[(AllowedByDefault, &denied), (AddressDenied, &allowed)])?;
    assert_eq!(filters(host, "veth-a")?, there, "an update is a pointer, and no other filter");

    assert_eq!(daemon.delete("a")?, EndState::Sealed);
    stage.knows_gateway(a)?;
    stage.expect(a, &[(Sealed, &[http(WEB), udp(WEB6), ping(WEB_NEIGHBOUR)])])?;
    assert_eq!(daemon.detach("a")?, EndState::Detached);
    assert!(daemon.links()?.is_empty());
    assert_clean(host, "veth-a")?;
    assert!(http(WEB).gets_through(a, true)? && udp(WEB6_NEIGHBOUR).gets_through(a, true)?);
    Ok(())
}

#[test]
fn the_next_daemon_takes_over_without_a_gap() -> Result<()> {
    let mut stage = stage("clsacttakeover")?;
    stage.apply(&stage.a, POLICY)?;
    stage.knows_gateway(&stage.a)?;
    let before = filters(stage.world.host(), "veth-a")?;
    let allowed = [stage.a.udp_stream(WEB, 9000)?, stage.a.udp_stream(WEB6, 9000)?];
    let denied = [Flood::start(&stage.a, WEB_NEIGHBOUR)?, Flood::start(&stage.a, WEB6_NEIGHBOUR)?];
    let mut wire = stage.world.host().sniff("up0")?;
    for _ in 0..3 {
        stage.daemon.kill9()?;
        let sent = denied[0].sent();
        assert!(wait_until(SOON, || denied[0].sent() > sent + 10_000), "the flood goes on without a daemon");
        stage.daemon.begin()?;
        assert_eq!(stage.daemon.status("a")?.state, State::Active);
        for probe in [udp(WEB_NEIGHBOUR), udp(WEB6_NEIGHBOUR)] {
            assert_eq!(wire.count(|frame| probe.is_in(frame))?, 0, "{probe} left the host");
        }
    }
    let after = filters(stage.world.host(), "veth-a")?;
    assert_ne!(before, after, "other programs are in the filters");
    assert_eq!(before.lines().count(), after.lines().count(), "and no more of them");
    for stream in &allowed {
        assert!(stream.grows(SOON) && stream.rejected() == 0);
        assert!(wait_until(SOON, || stream.progress() == stream.sent()), "a datagram was lost: {stream:?}");
    }
    println!("denied packets sent: {} and {}", denied[0].sent(), denied[1].sent());
    assert_eq!(stage.apply(&stage.a, POLICY)?.change, Change::Unchanged);
    drop((allowed, denied));
    stage.expect(&stage.a, &[(AllowedByList, &[http(WEB), udp(WEB6)]), (AddressDenied, &[http(WEB_NEIGHBOUR)])])
}

#[test]
fn a_filter_or_a_qdisc_that_somebody_deletes_is_restored() -> Result<()> {
    let stage = stage("clsacttorn")?;
    let rack = Rack::new(&stage)?;
    stage.daemon.apply(&elsewhere(&stage, &rack, POLICY))?;
    let (host, guest) = (&rack.host, &rack.guest);
    assert!(is_whole(host, "tap7"));
    for tear in [
        &["tc", "filter", "del", "dev", "tap7", "ingress"][..],
        &["tc", "filter", "del", "dev", "tap7", "egress"],
        &["tc", "qdisc", "del", "dev", "tap7", "clsact"],
    ] {
        host.run(tear)?.ok()?;
        let since = Instant::now();
        assert!(wait_until(SOON, || is_whole(host, "tap7")), "{tear:?}: {}", filters(host, "tap7")?);
        println!("{tear:?}: mended after {:?}", since.elapsed());
        assert!(since.elapsed() < MENDED + Duration::from_millis(500), "{tear:?}: {:?}", since.elapsed());
        assert!(http(WEB_NEIGHBOUR).is_rejected(guest)? && http(WEB).gets_through(guest, true)?);
    }
    assert!(stage.daemon.log().contains("was not filtered since"), "it is told");
    assert_eq!(stage.daemon.detach("a")?, EndState::Detached);
    assert_clean(host, "tap7")
}

#[test]
fn notices_of_the_host_s_own_namespace_mend_at_once() -> Result<()> {
    let stage = stage("clsactnotice")?;
    let host = stage.world.host();
    stage.apply(&stage.a, POLICY)?;
    for tear in
        [&["tc", "filter", "del", "dev", "veth-a", "ingress"][..], &["tc", "qdisc", "del", "dev", "veth-a", "clsact"]]
    {
        host.run(tear)?.ok()?;
        let since = Instant::now();
        assert!(wait_until(MENDED, || is_whole(host, "veth-a")), "{tear:?}");
        println!("{tear:?}: mended after {:?}", since.elapsed());
        stage.expect(
            &stage.a,
            &[(AllowedByList, &[http(WEB)]), (AddressDenied, &[http(WEB_NEIGHBOUR), udp(WEB6_NEIGHBOUR)])],
        )?;
    }
    Ok(())
}

#[test]
fn a_device_in_another_namespace_and_the_daemon_s_death() -> Result<()> {
    let mut stage = stage("clsactrack")?;
    let rack = Rack::new(&stage)?;
    let (host, guest) = (&rack.host, &rack.guest);
    let applied = stage.daemon.apply(&elsewhere(&stage, &rack, POLICY))?.remove(0);
    assert_eq!((applied.hook.as_str(), applied.device), ("clsact", format!("tap7@{}", host.name())));
    let judged = |denied: IpAddr, allowed: IpAddr| -> Result<()> {
        let mut wire = host.sniff("out0")?;
        for probe in [http(denied), udp(denied)] {
            assert!(probe.is_rejected(guest)?, "{probe}");
            assert_eq!(wire.count(|frame| probe.is_in(frame))?, 0, "{probe} left");
        }
        assert!(http(allowed).gets_through(guest, true)? && udp(allowed).gets_through(guest, true)?);
        Ok(())
    };
    judged(WEB_NEIGHBOUR.into(), WEB.into())?;
    stage.daemon.kill9()?;
    judged(WEB6_NEIGHBOUR.into(), WEB6.into())?;
    stage.daemon.begin()?;
    assert_eq!(stage.daemon.status("a")?.state, State::Active);
    stage.daemon.apply(&elsewhere(&stage, &rack, OTHER))?;
    judged(WEB.into(), WEB_NEIGHBOUR.into())?;
    // A name is not what the namespace is found by.
    let (name, path) = (host.name().to_owned(), host.path());
    let holder = host.spawn(&["sleep", "60"])?;
    stage.world.host().run(&["umount", &path.display().to_string()])?.ok()?;
    stage.daemon.kill9()?;
    stage.daemon.begin()?;
    assert_eq!(stage.daemon.status("a")?.state, State::Active, "{name} is found by a process in it");
    let held = format!("/proc/{}/ns/net", holder.pid());
    stage.world.host().run(&["mount", "--bind", &held, &path.display().to_string()])?.ok()?;
    judged(WEB6.into(), WEB6_NEIGHBOUR.into())?;
    host.ip("link del tap7")?;
    assert!(wait_until(SOON, || stage.daemon.status("a").is_ok_and(|status| status.state == State::Detached)));
    assert!(stage.daemon.links()?.is_empty());
    Ok(())
}

#[test]
fn purge_finds_every_filter_without_a_daemon() -> Result<()> {
    let mut stage = stage("clsactpurge")?;
    let rack = Rack::new(&stage)?;
    let b = stage.world.sandbox("b")?;
    stage.daemon.apply(&elsewhere(&stage, &rack, POLICY))?;
    stage.apply(&b, POLICY)?;
    stage.daemon.kill9()?;
    assert!(http(WEB_NEIGHBOUR).is_rejected(&rack.guest)? && http(WEB_NEIGHBOUR).is_rejected(&b)?);
    let pins = stage.daemon.pin_dir().display().to_string();
    stage.daemon.ctl(&["purge", "--dry-run", "--pin-dir", &pins])?.ok()?;
    assert!(http(WEB_NEIGHBOUR).is_rejected(&rack.guest)?);
    stage.daemon.ctl(&["purge", "--pin-dir", &pins])?.ok()?;
    assert_clean(&rack.host, "tap7")?;
    assert_clean(stage.world.host(), "veth-b")?;
    assert!(http(WEB_NEIGHBOUR).gets_through(&rack.guest, true)? && http(WEB_NEIGHBOUR).gets_through(&b, true)?);
    Ok(())
}

#[test]
fn others_filters_stay_and_have_their_say() -> Result<()> {
    let stage = stage("clsactothers")?;
    let (a, host) = (&stage.a, stage.world.host());
    host.ip_batch("link add seen0 type veth peer name seen1\nlink set seen0 up\nlink set seen1 up\n")?;
    host.run(&["tc", "qdisc", "add", "dev", "veth-a", "clsact"])?.ok()?;
    // Everything that comes to it is copied.
    let copy = "u32 match u32 0 0 action mirred egress mirror dev seen0";
    let tc = |line: &str| -> Result<()> {
        host.run(&["tc"].into_iter().chain(line.split(' ')).collect::<Vec<_>>())
            .and_then(test_world::Output::ok)
            .map(drop)
    };
    tc(&format!("filter add dev veth-a ingress prio 7 protocol all {copy}"))?;
    stage.apply(a, POLICY)?;
    let mut copies = host.sniff("seen1")?;
    stage.expect(a, &[(AllowedByList, &[http(WEB), udp(WEB6)]), (AddressDenied, &[udp(WEB_NEIGHBOUR)])])?;
    for (probe, passes) in [(http(WEB), true), (udp(WEB6), true), (udp(WEB_NEIGHBOUR), false)] {
        let seen = wait_until(if passes { SOON } else { Duration::ZERO }, || {
            copies.count(|frame| probe.is_in(frame)).is_ok_and(|count| count > 0)
        });
        assert_eq!(seen, passes, "{probe}: what passes goes on to the next filter, and nothing else");
    }
    stage.daemon.detach("a")?;
    assert!(has_qdisc(host, "veth-a")? && filters(host, "veth-a")?.contains("u32"), "it is not the filter's");

    // Who sits where the filter must be is in the way; nothing is left behind then.
    tc(&format!("filter add dev veth-a ingress prio 1 protocol all {copy}"))?;
    let refused = stage.daemon.refuses(&document(a, POLICY))?;
    refused.says(&["veth-a", "somebody else's", "priority"]);
    assert!(stage.daemon.links()?.is_empty() && !filters(host, "veth-a")?.contains("sandbox"));
    assert!(http(WEB_NEIGHBOUR).gets_through(a, true)?);
    Ok(())
}

#[test]
fn two_daemons_do_not_share_a_device() -> Result<()> {
    let stage = stage("clsacttwo")?;
    stage.apply(&stage.a, POLICY)?;
    let mut second = test_scenarios::Daemon::prepare(&stage.world, "second", "hook: clsact\n")?;
    second.begin()?;
    second.refuses(&document(&stage.a, ""))?.says(&["veth-a", "the filter of another daemon"]);
    assert!(second.links()?.is_empty());
    stage.expect(&stage.a, &[(AllowedByList, &[http(WEB)]), (AddressDenied, &[http(WEB_NEIGHBOUR)])])
}

#[test]
fn another_kind_of_hook_is_for_what_comes_next() -> Result<()> {
    if !has_tcx() {
        return Ok(());
    }
    let mut stage = stage("clsactnext")?;
    let b = stage.world.sandbox("b")?;
    stage.apply(&stage.a, POLICY)?;
    stage.daemon.stop()?;
    stage.daemon.configure("hook: tcx\n")?;
    stage.daemon.begin()?;
    assert_eq!(stage.apply(&b, POLICY)?.hook, "tcx");
    assert_eq!(
        (stage.daemon.status("a")?.hook, stage.daemon.status("b")?.hook),
        ("clsact".to_owned(), "tcx".to_owned())
    );
    for sandbox in [&stage.a, &b] {
        stage.expect(sandbox, &[(AllowedByList, &[http(WEB)]), (AddressDenied, &[http(WEB_NEIGHBOUR)])])?;
    }
    stage.daemon.detach("a")?;
    assert_clean(stage.world.host(), "veth-a")?;
    assert_eq!(stage.apply(&stage.a, POLICY)?.hook, "tcx");
    Ok(())
}

#[test]
fn doctor_tells_who_is_ahead() -> Result<()> {
    let stage = stage("clsactahead")?;
    stage.apply(&stage.a, POLICY)?;
    let told = |word: &str| -> Result<bool> { Ok(stage.daemon.ctl(&["doctor"])?.stdout.contains(word)) };
    assert!(told("enforced on veth-a (clsact)")? && !told("detach that and attach it again")?);
    // A classic program of the same priority goes to the front, and lets everything pass.
    let line = "filter add dev veth-a ingress prio 1 protocol all bpf bytecode 1,6\u{a0}0\u{a0}0\u{a0}4294967295";
    let words: Vec<String> = line.split(' ').map(|word| word.replace('\u{a0}', " ")).collect();
    let words: Vec<&str> = ["tc"].into_iter().chain(words.iter().map(String::as_str)).collect();
    stage.world.host().run(&words)?.ok()?;
    assert!(told("before from_sandbox on veth-a runs")?, "{}", stage.daemon.ctl(&["doctor"])?.stdout);
    Ok(())
}

/// Datagrams to port 9000 of an address, as many as go. Ends when dropped, or after a minute.
pub(crate) struct Flood {
    sent: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Flood {
    pub(crate) fn start(node: &Node, to: impl Into<IpAddr>) -> Result<Flood> {
        let to = SocketAddr::new(to.into(), 9000);
        let socket = node.within(|| UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }))??;
        let (sent, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let thread = thread::spawn({
            let (sent, stop, end) = (sent.clone(), stop.clone(), Instant::now() + Duration::from_secs(60));
            move || {
                while !stop.load(Ordering::Relaxed) && Instant::now() < end {
                    if socket.send_to(b"denied", to).is_ok() {
                        sent.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        });
        Ok(Flood { sent, stop, thread: Some(thread) })
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}
