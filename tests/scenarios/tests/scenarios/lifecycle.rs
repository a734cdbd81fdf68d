//! From the first apply to the end of a sandbox.

use anyhow::Result;
use filter_core::Reason::{AddressDenied, AllowedByDefault, AllowedByList, Sealed};
use filter_ctl::api::{Change, EndState, State};
use test_scenarios::{SOON, Stage, document, http, kinds_of_hooks, ping, udp};
use test_world::internet::{WEB, WEB_NEIGHBOUR, WEB6};
use test_world::wait_until;

#[test]
fn created_updated_unchanged() -> Result<()> {
    let stage = Stage::new("lifecycle")?;
    let created = stage.apply(&stage.a, r#"denyOut: ["0.0.0.0/0"], allowOut: ["203.0.113.10"]"#)?;
    assert_eq!((created.change, created.generation, created.generation_before), (Change::Created, 1, None));
    assert_eq!((created.id.as_str(), created.device.as_str()), ("a", "veth-a"));
    assert!(created.warnings.iter().any(|warning| warning.to_string().contains("was up before")), "{created:?}");

    let updated = stage.apply(&stage.a, r#"denyOut: ["0.0.0.0/0"], allowOut: ["203.0.113.20", "2001:db8:10::10"]"#)?;
    assert_eq!((updated.change, updated.generation, updated.generation_before), (Change::Updated, 2, Some(1)));
    assert_eq!(updated.added, ["allowOut 2001:db8:10::10", "allowOut 203.0.113.20"]);
    assert_eq!(updated.removed, ["allowOut 203.0.113.10"]);
    assert!(updated.confirmed_ms > 0.0 && updated.fields.is_empty(), "{updated:?}");
    let same = r#"allowOut: ["203.0.113.20", "2001:db8:10::10"], denyOut: ["0.0.0.0/0"]"#;
    let unchanged = stage.apply(&stage.a, same)?;
    assert_eq!((unchanged.change, unchanged.generation), (Change::Unchanged, 2));
    assert!(unchanged.added.is_empty() && unchanged.removed.is_empty(), "{unchanged:?}");

    let named = stage.daemon.apply(&format!("name: Agent\n{}", document(&stage.a, same)))?;
    assert_eq!(
        (named[0].change, named[0].generation, named[0].fields.as_slice()),
        (Change::Updated, 3, &["name".to_owned()][..])
    );
    let status = stage.daemon.status("a")?;
    assert_eq!((status.state, status.generation, status.hook.as_str()), (State::Active, 3, kinds_of_hooks()[0]));
    assert_eq!(status.name.as_deref(), Some("Agent"));
    stage.expect(&stage.a, &[(AllowedByList, &[http(WEB_NEIGHBOUR), http(WEB6)]), (AddressDenied, &[http(WEB)])])
}

#[test]
fn a_dry_run_changes_nothing() -> Result<()> {
    let stage = Stage::new("dryrun")?;
    let (deny, dry) = (r#"denyOut: ["0.0.0.0/0"]"#, ["--dry-run"]);
    let told = stage.daemon.apply_with(&dry, &document(&stage.a, deny))?;
    assert_eq!((told[0].change, told[0].generation), (Change::Created, 1));
    assert!(stage.daemon.list()?.is_empty());
    assert!(http(WEB).gets_through(&stage.a, true)?);
    stage.apply(&stage.a, "")?;
    let before = stage.daemon.traces()?;
    let told = stage.daemon.apply_with(&dry, &document(&stage.a, deny))?;
    assert_eq!(
        (told[0].change, told[0].generation, told[0].added.as_slice()),
        (Change::Updated, 2, &["denyOut 0.0.0.0/0".to_owned()][..])
    );
    assert_eq!(stage.daemon.traces()?, before);
    stage.expect(&stage.a, &[(AllowedByDefault, &[http(WEB), http(WEB6)])])?;
    assert_eq!(stage.apply(&stage.a, deny)?.generation, 2, "no generation was used up");
    Ok(())
}

#[test]
fn deleting_seals_and_detaching_opens() -> Result<()> {
    let stage = Stage::new("seal")?;
    let (a, daemon) = (&stage.a, &stage.daemon);
    stage.apply(a, "")?;
    stage.expect(a, &[(AllowedByDefault, &[http(WEB), udp(WEB6)])])?;
    assert_eq!(daemon.delete("a")?, EndState::Sealed);
    assert_eq!(daemon.status("a")?.state, State::Sealed);
    let mut wire = stage.world.host().sniff("up0")?;
    // Not even the gateway is found; and one that is known already is no way out.
    a.ip("neighbour flush dev eth0")?;
    stage.expect(a, &[(Sealed, &[ping(a.gateway4)])])?;
    stage.knows_gateway(a)?;
    stage.expect(a, &[(Sealed, &[http(WEB), udp(WEB), ping(WEB), http(WEB6), udp(WEB6), ping(WEB6)])])?;
    assert_eq!(wire.count_from(a.v4.into())? + wire.count_from(a.v6.into())?, 0, "nothing at all leaves");

    let refused = daemon.refuses(&document(a, r#"denyOut: ["0.0.0.0/0"]"#))?;
    assert_eq!((refused.exit, refused.reply.code), (1, 409));
    refused.says(&["was deleted", "veth-a is sealed", "filter-ctl detach a"]);
    assert_eq!(daemon.delete("a")?, EndState::Sealed, "deleting twice is fine");

    // Another id does not get around the seal.
    let other = document(a, "").replace("id: a\n", "id: other\n");
    daemon.refuses(&other)?.says(&["already belongs to sandbox \"a\""]);
    stage.expect(a, &[(Sealed, &[ping(WEB)])])?;

    assert_eq!(daemon.detach("a")?, EndState::Detached);
    assert!(daemon.list()?.is_empty() && daemon.links()?.is_empty());
    for probe in [http(WEB), udp(WEB), ping(WEB6), ping(a.gateway4)] {
        assert!(probe.gets_through(a, true)?, "{probe}");
    }
    assert_eq!(daemon.refused(&["delete", "a"])?.reply.code, 404);
    assert_eq!(stage.apply(a, "")?.change, Change::Created);
    Ok(())
}

#[test]
fn a_seal_outlives_the_daemon_and_ends_with_the_device() -> Result<()> {
    let mut stage = Stage::new("sealed")?;
    stage.knows_gateway(&stage.a)?;
    stage.apply(&stage.a, "")?;
    stage.daemon.delete("a")?;
    stage.daemon.kill9()?;
    assert!(!ping(WEB).gets_through(&stage.a, false)? && !http(WEB6).gets_through(&stage.a, false)?);
    stage.daemon.begin()?;
    assert_eq!(stage.daemon.status("a")?.state, State::Sealed);
    stage.expect(&stage.a, &[(Sealed, &[ping(WEB), http(WEB6)])])?;
    stage.world.host().ip("link del veth-a")?;
    assert!(wait_until(SOON, || stage.daemon.list().is_ok_and(|all| all.is_empty())), "it has ended");
    assert!(stage.daemon.records()?.is_empty());
    Ok(())
}

#[test]
fn a_vanished_device_takes_its_policy_along() -> Result<()> {
    let stage = Stage::new("vanish")?;
    let (a, daemon, host) = (&stage.a, &stage.daemon, stage.world.host());
    let deny = r#"denyOut: ["0.0.0.0/0"]"#;
    stage.apply(a, deny)?;
    stage.apply(a, r#"denyOut: ["0.0.0.0/0", "1.1.1.1"]"#)?;
    host.ip("link del veth-a")?;
    assert!(wait_until(SOON, || daemon.status("a").is_ok_and(|status| status.state == State::Detached)));
    assert!(daemon.links()?.is_empty());
    let refused = daemon.refused(&["explain", "a", "203.0.113.10"])?;
    assert_eq!(refused.reply.code, 409);
    refused.says(&["gone"]);
    daemon.refuses(&document(a, deny))?.says(&["interface veth-a does not exist"]);

    // The next device of that name is somebody else's until its document is applied.
    a.connect(host)?;
    assert!(http(WEB).gets_through(a, true)?);
    assert_eq!(daemon.status("a")?.state, State::Detached);
    let applied = stage.apply(a, deny)?;
    assert_eq!((applied.change, applied.generation), (Change::Created, 1));
    stage.expect(a, &[(AddressDenied, &[http(WEB), udp(WEB6)])])?;

    host.ip("link del veth-a")?;
    assert!(wait_until(SOON, || daemon.status("a").is_ok_and(|status| status.state == State::Detached)));
    assert_eq!(daemon.delete("a")?, EndState::Gone);
    assert!(daemon.list()?.is_empty());
    Ok(())
}

#[test]
fn a_renamed_device_stays_the_sandbox_s() -> Result<()> {
    let stage = Stage::new("rename")?;
    let (a, deny) = (&stage.a, r#"denyOut: ["0.0.0.0/0"]"#);
    stage.apply(a, deny)?;
    let host = stage.world.host();
    if host.ip("link set veth-a name renamed").is_err() {
        // Before Linux 6.2 a device has to be down for that.
        host.ip_batch("link set veth-a down\nlink set veth-a name renamed\nlink set renamed up\n")?;
        host.ip(&format!("address replace {}/64 dev renamed nodad", a.gateway6))?;
    }
    stage.expect(a, &[(AddressDenied, &[http(WEB), udp(WEB6)])])?;
    stage.daemon.refuses(&document(a, ""))?.says(&["interface veth-a does not exist"]);
    let moved = document(a, "").replace("veth-a", "renamed");
    let applied = stage.daemon.apply(&moved)?.remove(0);
    assert_eq!((applied.change, applied.generation, applied.device.as_str()), (Change::Updated, 2, "renamed"));
    stage.expect(a, &[(AllowedByDefault, &[http(WEB), udp(WEB6)])])?;
    // Somebody else gets the old name: it is no part of the sandbox.
    stage.world.host().ip("link add veth-a type veth peer name other")?;
    assert_eq!(stage.daemon.apply(&moved)?[0].change, Change::Unchanged);
    let refused = stage.daemon.refuses(&document(a, ""))?;
    assert_eq!(refused.reply.code, 409);
    refused.says(&["is attached to renamed, not to veth-a"]);
    Ok(())
}
