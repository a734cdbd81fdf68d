//! Between a device's beginning and its program: nothing gets out of one that nobody could send by.

use crate::clsact::Flood;
use anyhow::Result;
use filter_ctl::api::Applied;
use test_scenarios::{SOON, Setup, Stage, document, http, kinds_of_hooks, udp};
use test_world::internet::{WEB, WEB_NEIGHBOUR};
use test_world::wait_until;

const POLICY: &str = r#"denyOut: ["0.0.0.0/0"], allowOut: ["203.0.113.10"]"#;

fn warns(applied: &Applied) -> bool {
    applied.warnings.iter().any(|warning| warning.to_string().contains("was up before"))
}

#[test]
fn a_device_that_is_down_lets_nothing_out_before_its_program_judges() -> Result<()> {
    for hook in kinds_of_hooks() {
        let stage =
            Stage::with(&format!("down{hook}"), &Setup { config: &format!("hook: {hook}\n"), ..Setup::default() })?;
        let (a, host) = (&stage.a, stage.world.host());
        host.ip("link set veth-a down")?;
        stage.knows_gateway(a)?;
        let (flood, mut wire) = (Flood::start(a, WEB_NEIGHBOUR)?, host.sniff("up0")?);
        let applied = stage.apply(a, POLICY)?;
        assert!(!warns(&applied), "{hook}: {applied:?}");
        host.ip("link set veth-a up")?;
        assert!(wait_until(SOON, || http(WEB).gets_through(a, false).unwrap_or(false)), "{hook}");
        let sent = flood.sent();
        assert!(wait_until(SOON, || flood.sent() > sent + 1_000), "{hook}: the flood goes on");
        assert_eq!(wire.count(|frame| udp(WEB_NEIGHBOUR).is_in(frame))?, 0, "{hook}");
    }
    Ok(())
}

#[test]
fn nobody_at_the_far_end_is_no_window() -> Result<()> {
    let stage = Stage::new("nobody")?;
    let (host, node) = (stage.world.host(), stage.world.node("late")?);
    host.ip_batch(&format!(
        "link add veth-late type veth peer name eth0 netns {}\nlink set veth-late up\n\
         tuntap add dev tap-late mode tap\nlink set tap-late up\n\
         link add br0 type bridge\nlink set br0 up\nlink add port-late type veth peer name port-far\n\
         link set port-late master br0 up\n",
        node.name()
    ))?;
    let of = |device: &str, number: u8| {
        document(&stage.a, POLICY)
            .replace("id: a\n", &format!("id: late{number}\n"))
            .replace("veth-a", device)
            .replace(&format!("\"{}\"", stage.a.v4), &format!("198.51.99.{number}"))
            .replace(&stage.a.v6.to_string(), &format!("2001:db8:a0ee::{number}"))
    };
    for (number, device) in [(2, "veth-late"), (3, "tap-late"), (4, "port-late")] {
        let applied = stage.daemon.apply(&of(device, number))?.remove(0);
        assert!(!warns(&applied), "{device}: {applied:?}");
        stage.daemon.detach(&format!("late{number}"))?;
    }
    // Somebody came: from then on there is one, also when he has left again.
    node.ip("link set eth0 up")?;
    let carrier = || host.ip("link show dev veth-late").is_ok_and(|shown| shown.stdout.contains("LOWER_UP"));
    assert!(wait_until(SOON, carrier));
    assert!(warns(&stage.daemon.apply(&of("veth-late", 2))?[0]));
    stage.daemon.detach("late2")?;
    let heard = || host.counters("veth-late").is_ok_and(|counters| counters.rx_packets > 0);
    assert!(wait_until(SOON, heard), "its kernel says hello by itself");
    node.ip("link set eth0 down")?;
    assert!(wait_until(SOON, || !carrier()));
    assert!(warns(&stage.daemon.apply(&of("veth-late", 2))?[0]));
    Ok(())
}
