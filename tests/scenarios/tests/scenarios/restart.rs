//! A daemon that dies, and the next one.

use anyhow::Result;
use filter_core::Reason::{AddressDenied, AllowedByList};
use filter_ctl::api::{Change, State};
use test_scenarios::{SOON, Setup, Small, Stage, document, http, kinds_of_hooks, ping, udp};
use test_world::internet::{WEB, WEB_NEIGHBOUR, WEB6, WEB6_NEIGHBOUR};
use test_world::{Live, wait_until};

const POLICY: &str = r#"denyOut: ["0.0.0.0/0"], allowOut: ["203.0.113.10", "2001:db8:10::10"]"#;

#[test]
fn a_killed_daemon_leaves_enforcement_as_it_was() -> Result<()> {
    let mut stage = Stage::new("kill")?;
    stage.apply(&stage.a, "")?;
    stage.apply(&stage.a, POLICY)?;
    let before = stage.daemon.status("a")?;
    // Flows in both directions of the policy, all the while.
    let allowed = [stage.a.udp_stream(WEB, 9000)?, stage.a.udp_stream(WEB6, 9000)?];
    let denied = [stage.a.udp_stream(WEB_NEIGHBOUR, 9000)?, stage.a.udp_stream(WEB6_NEIGHBOUR, 9000)?];
    let mut wire = stage.world.host().sniff("up0")?;
    assert!(allowed.iter().all(|stream| stream.grows(SOON)));

    stage.daemon.kill9()?;
    assert!(http(WEB).gets_through(&stage.a, true)? && http(WEB6).gets_through(&stage.a, true)?);
    assert!(
        !http(WEB_NEIGHBOUR).gets_through(&stage.a, false)? && !ping(WEB6_NEIGHBOUR).gets_through(&stage.a, false)?
    );
    stage.daemon.begin()?;

    let after = stage.daemon.status("a")?;
    assert_eq!((after.state, after.generation, &after.document), (State::Active, 2, &before.document));
    assert_eq!((after.created, after.updated), (before.created, before.updated));
    assert!(after.counters.allowed > before.counters.allowed, "the counters went on");
    for probe in [udp(WEB_NEIGHBOUR), udp(WEB6_NEIGHBOUR), http(WEB_NEIGHBOUR), ping(WEB6_NEIGHBOUR)] {
        assert_eq!(wire.count(|frame| probe.is_in(frame))?, 0, "{probe} left the host");
    }
    for stream in &allowed {
        assert!(stream.grows(SOON));
        assert!(wait_until(SOON, || stream.progress() == stream.sent()), "a datagram was lost: {stream:?}");
    }
    for stream in &denied {
        assert!(stream.sent() > 20 && stream.progress() == 0, "{stream:?}");
    }

    assert_eq!(stage.apply(&stage.a, POLICY)?.change, Change::Unchanged);
    let updated = stage.apply(&stage.a, r#"denyOut: ["0.0.0.0/0"], allowOut: ["203.0.113.20"]"#)?;
    assert_eq!((updated.change, updated.generation), (Change::Updated, 3));
    assert!(denied[0].grows(SOON));
    drop((allowed, denied));
    stage.expect(&stage.a, &[(AllowedByList, &[http(WEB_NEIGHBOUR)]), (AddressDenied, &[http(WEB), udp(WEB6)])])
}

#[test]
fn long_lists_of_before_and_after_a_restart_stay_apart() -> Result<()> {
    let mut stage = Stage::new("longlists")?;
    let b = stage.world.sandbox("b")?;
    // So many that both tables need nodes beside their beginnings, and of one length.
    let long = |own: &str| {
        let others: String = (0..300).map(|nth| format!(r#", "192.0.{}.{}/31""#, 3 + nth / 50, nth % 50 * 4)).collect();
        format!(r#"denyOut: ["0.0.0.0/0"], allowOut: [{own}{others}]"#)
    };
    let (of_a, of_b) = (long(r#""203.0.113.10""#), long(r#""203.0.113.20""#));
    stage.apply(&stage.a, &of_a)?;
    stage.daemon.kill9()?;
    stage.daemon.begin()?;
    for round in 0..3 {
        stage.apply(&b, if round % 2 == 0 { &of_b } else { &of_a })?;
        stage.expect(&stage.a, &[(AllowedByList, &[http(WEB)]), (AddressDenied, &[http(WEB_NEIGHBOUR)])])?;
    }
    stage.expect(&b, &[(AllowedByList, &[http(WEB_NEIGHBOUR)]), (AddressDenied, &[http(WEB)])])?;
    stage.daemon.detach("b")?;
    stage.apply(&stage.a, &of_b)?;
    stage.expect(&stage.a, &[(AllowedByList, &[http(WEB_NEIGHBOUR)]), (AddressDenied, &[http(WEB)])])
}

#[test]
fn a_gateway_that_changed_while_no_daemon_ran_is_followed() -> Result<()> {
    let mut stage = Stage::new("gateway")?;
    stage.apply(&stage.a, POLICY)?;
    stage.daemon.kill9()?;
    let (host, a) = (stage.world.host(), &stage.a);
    host.ip("link set veth-a address 02:00:00:00:77:01")?;
    let known = "lladdr 02:00:00:00:77:01 dev eth0 nud permanent";
    a.ip_batch(&format!("neighbour replace {} {known}\nneighbour replace {} {known}\n", a.gateway4, a.gateway6))?;
    assert!(!http(WEB).gets_through(a, false)?, "without a daemon nobody knows of it");
    stage.daemon.begin()?;
    stage.expect(&stage.a, &[(AllowedByList, &[http(WEB), http(WEB6)]), (AddressDenied, &[http(WEB_NEIGHBOUR)])])
}

#[test]
fn a_stopped_daemon_ends_well_and_comes_back() -> Result<()> {
    let mut stage = Stage::new("stop")?;
    stage.apply(&stage.a, POLICY)?;
    let traces = stage.daemon.traces()?;
    let ended = stage.daemon.stop()?;
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    assert!(!stage.daemon.socket().exists());
    let refused = stage.daemon.refused(&["get"])?;
    assert_eq!(refused.exit, 3);
    refused.says(&["no daemon at", "sudo systemctl start sandbox-filter"]);
    stage.daemon.begin()?;
    assert_eq!(stage.daemon.traces()?, traces);
    stage.expect(&stage.a, &[(AllowedByList, &[http(WEB), http(WEB6)]), (AddressDenied, &[http(WEB_NEIGHBOUR)])])
}

#[test]
fn devices_that_come_and_go_while_no_daemon_runs() -> Result<()> {
    let mut stage = Stage::new("away")?;
    stage.apply(&stage.a, POLICY)?;
    let b = stage.world.sandbox("b")?;
    stage.apply(&b, POLICY)?;
    stage.daemon.kill9()?;
    stage.world.host().ip("link del veth-a")?;
    stage.a.connect(stage.world.host())?;
    stage.daemon.begin()?;
    assert_eq!(stage.daemon.status("a")?.state, State::Detached, "the new device is another's");
    assert_eq!(stage.daemon.status("b")?.state, State::Active);
    assert!(http(WEB_NEIGHBOUR).gets_through(&stage.a, true)?);
    assert_eq!(stage.apply(&stage.a, POLICY)?.change, Change::Created);
    for sandbox in [&stage.a, &b] {
        stage.expect(sandbox, &[(AllowedByList, &[http(WEB), udp(WEB6)]), (AddressDenied, &[http(WEB_NEIGHBOUR)])])?;
    }
    Ok(())
}

#[test]
fn records_outlive_many_restarts() -> Result<()> {
    let mut stage = Stage::new("restarts")?;
    stage.apply(&stage.a, "")?;
    for round in 0..5 {
        let network = if round % 2 == 0 { POLICY } else { r#"denyOut: ["203.0.113.10"]"# };
        assert_eq!(stage.apply(&stage.a, network)?.generation, round + 2);
        stage.daemon.kill9()?;
        stage.daemon.begin()?;
        assert_eq!(stage.daemon.status("a")?.generation, round + 2);
        let told = stage.daemon.explain("a", "203.0.113.10")?;
        assert_eq!((told.allowed, told.generation), (round % 2 == 0, round + 2));
    }
    stage.daemon.detach("a")?;
    assert!(http(WEB).gets_through(&stage.a, true)?);
    Ok(())
}

#[test]
fn hooks_whose_record_was_removed_go_on_enforcing_until_they_are_detached() -> Result<()> {
    for hook in kinds_of_hooks() {
        let mut stage = Stage::with("orphan", &Setup { config: &format!("hook: {hook}\n"), ..Setup::default() })?;
        let b = stage.world.sandbox("b")?;
        stage.apply(&b, POLICY)?;
        stage.apply(&stage.a, POLICY)?;
        let links = stage.daemon.links()?;
        stage.daemon.stop()?;
        stage.daemon.forget("a")?;
        stage.daemon.begin()?;

        assert_eq!(stage.daemon.links()?, links);
        assert_eq!(stage.daemon.list()?.len(), 1);
        assert!(http(WEB).gets_through(&stage.a, true)? && !http(WEB_NEIGHBOUR).gets_through(&stage.a, false)?);
        // Nobody else gets the device, and another sandbox gets another slot.
        stage.daemon.refuses(&document(&stage.a, ""))?.says(&["veth-a", "no record knows", "detach --slot 3"]);
        let c = stage.world.sandbox("c")?;
        stage.apply(&c, "")?;
        assert!(!http(WEB_NEIGHBOUR).gets_through(&stage.a, false)?);
        let findings = stage.daemon.ctl(&["doctor"])?.stdout;
        assert!(findings.contains("slot 3") && findings.contains("hooks on veth-a"), "{findings}");

        stage.daemon.refused(&["detach", "--slot", "2"])?.says(&["slot 2", "doctor"]);
        stage.daemon.ctl(&["detach", "--slot", "3"])?.ok()?;
        assert!(http(WEB_NEIGHBOUR).gets_through(&stage.a, true)?);
        assert_eq!(stage.apply(&stage.a, POLICY)?.change, Change::Created);
        stage.expect(&stage.a, &[(AllowedByList, &[http(WEB)]), (AddressDenied, &[http(WEB_NEIGHBOUR)])])?;
        stage.expect(&b, &[(AllowedByList, &[http(WEB)]), (AddressDenied, &[http(WEB_NEIGHBOUR)])])?;

        // One whose device is gone meanwhile is removed.
        stage.daemon.stop()?;
        stage.daemon.forget("a")?;
        stage.world.host().ip("link del veth-a")?;
        stage.daemon.begin()?;
        assert_eq!(stage.daemon.links()?.len(), 4);
    }
    Ok(())
}

#[test]
fn a_daemon_that_is_told_to_stop_while_it_starts_leaves_no_socket() -> Result<()> {
    let mut stage = Stage::new("early")?;
    stage.apply(&stage.a, POLICY)?;
    stage.daemon.stop()?;
    let ended = stage.daemon.ends_when_bound()?;
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    assert!(!stage.daemon.socket().exists());
    stage.daemon.begin()?;
    stage.expect(&stage.a, &[(AllowedByList, &[http(WEB)]), (AddressDenied, &[http(WEB_NEIGHBOUR)])])
}

#[test]
fn what_was_acknowledged_outlives_a_power_cut() -> Result<()> {
    let mut stage = Stage::new("power")?;
    let (b, c) = (stage.world.sandbox("b")?, stage.world.sandbox("c")?);
    stage.apply(&stage.a, "")?;
    stage.apply(&c, POLICY)?;
    stage.apply(&stage.a, POLICY)?;
    stage.apply(&b, POLICY)?;
    stage.daemon.delete("c")?;
    let before = [stage.daemon.status("a")?, stage.daemon.status("b")?];
    stage.daemon.kill9()?;
    // The machine goes down: nothing is left of devices and pins.
    stage.daemon.ctl(&["purge", "--pin-dir", &stage.daemon.pin_dir().display().to_string()])?.ok()?;
    for device in ["veth-a", "veth-b", "veth-c"] {
        stage.world.host().ip(&format!("link del {device}"))?;
    }
    stage.daemon.restarts_machine()?;
    stage.daemon.begin()?;
    let after = stage.daemon.list()?;
    assert_eq!(after.len(), 2, "the one that was deleted has ended with its device: {after:?}");
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(after.state, State::Detached);
        assert_eq!((&after.id, after.generation, &after.document), (&before.id, before.generation, &before.document));
    }
    stage.a.connect(stage.world.host())?;
    assert_eq!(stage.apply(&stage.a, POLICY)?.change, Change::Created);
    stage.expect(&stage.a, &[(AllowedByList, &[http(WEB)]), (AddressDenied, &[http(WEB_NEIGHBOUR)])])
}

#[test]
fn what_was_acknowledged_outlives_a_kill_and_the_loss_of_its_device() -> Result<()> {
    let mut stage = Stage::new("killgone")?;
    stage.apply(&stage.a, "")?;
    stage.apply(&stage.a, POLICY)?;
    let before = stage.daemon.status("a")?;
    stage.world.host().ip("link del veth-a")?;
    assert!(wait_until(SOON, || stage.daemon.status("a").is_ok_and(|status| status.state == State::Detached)));
    stage.daemon.kill9()?;
    stage.daemon.begin()?;
    let after = stage.daemon.status("a")?;
    assert_eq!((after.state, after.generation, &after.document), (State::Detached, 2, &before.document));
    Ok(())
}

#[test]
fn a_disk_that_takes_nothing_leaves_enforcement_as_it_was() -> Result<()> {
    let mut stage = Stage::new("readonly")?;
    stage.daemon.stop()?;
    let small = Small::over(stage.daemon.state_dir(), 1_000)?;
    small.fill()?;
    let refused = |stage: &Stage, cause: &str| -> Result<()> {
        let ended = stage.daemon.ends(&[])?;
        assert_eq!(ended.code(), Some(1), "{}", ended.stderr);
        for part in [cause, &stage.daemon.state_dir().display().to_string(), "hint: "] {
            assert!(ended.stderr.contains(part), "{}", ended.stderr);
        }
        Ok(())
    };
    refused(&stage, "No space left on device")?;
    small.empty()?;
    stage.daemon.begin()?;
    stage.apply(&stage.a, POLICY)?;
    stage.daemon.stop()?;
    small.read_only(true)?;
    refused(&stage, "Read-only file system")?;
    assert!(http(WEB).gets_through(&stage.a, true)? && !http(WEB_NEIGHBOUR).gets_through(&stage.a, false)?);
    small.read_only(false)?;
    stage.daemon.begin()?;
    stage.expect(&stage.a, &[(AllowedByList, &[http(WEB)]), (AddressDenied, &[http(WEB_NEIGHBOUR)])])?;
    stage.daemon.stop().map(drop)
}
