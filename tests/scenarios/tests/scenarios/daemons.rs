//! Daemons that cannot start, and two that may.

use anyhow::Result;
use filter_core::Reason::{AddressDenied, AllowedByDefault};
use std::fs;
use test_scenarios::{Daemon, Stage, document, http, udp};
use test_world::internet::{WEB, WEB6};

const DENY: &str = r#"denyOut: ["0.0.0.0/0"]"#;

#[test]
fn no_daemon() -> Result<()> {
    let stage = Stage::new("nodaemon")?;
    let none = Daemon::prepare(&stage.world, "none", "")?;
    let file = none.file(&document(&stage.a, ""))?;
    for command in [&["get"][..], &["apply", "-f", &file], &["delete", "a"], &["explain", "a", "1.1.1.1"], &["watch"]] {
        let refused = none.refused(command)?;
        assert_eq!(refused.exit, 3, "{command:?}");
        refused.says(&["no daemon at", "api.sock", "sudo systemctl start sandbox-filter", "filter-ctl daemon"]);
    }
    assert_eq!(none.ctl(&["check", "-f", &file])?.code(), Some(0), "check needs none");
    Ok(())
}

#[test]
fn two_daemons_with_the_same_state_pins_or_socket() -> Result<()> {
    let stage = Stage::new("twice")?;
    stage.apply(&stage.a, DENY)?;
    let first = &stage.daemon;
    let (status, traces) = (first.status("a")?, first.traces()?);
    let other = |name: &str| Daemon::prepare(&stage.world, name, "");
    let expected = [
        (other("state")?.with_state_of(first), "state"),
        (other("pins")?.with_pins_of(first), "pin directory"),
        (other("socket")?.with_socket_of(first), "another daemon answers at"),
        (other("all")?.with_state_of(first).with_pins_of(first).with_socket_of(first), "another daemon"),
    ];
    for (second, told) in expected {
        let ended = second.ends(&[])?;
        assert_eq!(ended.code(), Some(1), "{}", ended.stderr);
        assert!(ended.stderr.contains("another daemon") && ended.stderr.contains(told), "{}", ended.stderr);
        assert!(ended.stderr.contains("--state-dir") || ended.stderr.contains("--socket"), "{}", ended.stderr);
        assert_eq!(first.traces()?.len(), traces.len());
    }
    let after = first.status("a")?;
    assert_eq!((after.generation, after.updated), (status.generation, status.updated));
    stage.expect(&stage.a, &[(AddressDenied, &[http(WEB), udp(WEB6)])])
}

#[test]
fn two_daemons_with_things_of_their_own() -> Result<()> {
    let stage = Stage::new("sidebyside")?;
    let b = stage.world.sandbox("b")?;
    stage.apply(&stage.a, DENY)?;
    let mut second = Daemon::prepare(&stage.world, "second", "")?;
    second.begin()?;
    second.apply(&document(&b, ""))?;
    assert_eq!((stage.daemon.list()?.len(), second.list()?.len()), (1, 1));
    assert!(http(WEB).gets_through(&b, true)? && udp(WEB6).gets_through(&b, true)?);
    stage.expect(&stage.a, &[(AddressDenied, &[http(WEB), udp(WEB6)])])?;
    second.detach("b")?;
    second.stop()?;
    stage.apply(&stage.a, "")?;
    stage.expect(&stage.a, &[(AllowedByDefault, &[http(WEB), udp(WEB6)])])
}

#[test]
fn a_daemon_without_a_right_names_it() -> Result<()> {
    let stage = Stage::new("rights")?;
    let cases = [
        ("all", "CAP_NET_ADMIN"),
        ("net_admin", "CAP_NET_ADMIN"),
        ("bpf", "CAP_BPF"),
        ("sys_admin", "CAP_SYS_ADMIN"),
        ("net_broadcast", "CAP_NET_BROADCAST"),
    ];
    for (number, (without, named)) in cases.into_iter().enumerate() {
        let daemon = Daemon::prepare(&stage.world, &format!("right{number}"), "")?;
        let set = format!("-{without}");
        let ended = daemon.ends(&["setpriv", "--bounding-set", &set, "--inh-caps", &set])?;
        assert_eq!(ended.code(), Some(1), "{}", ended.stderr);
        assert!(ended.stderr.contains(&format!("lacks {named}")), "without {without}: {}", ended.stderr);
        assert!(ended.stderr.contains("hint: run it as root"), "{}", ended.stderr);
        assert!(!daemon.pin_dir().exists() && !daemon.socket().exists(), "nothing is left behind");
    }
    Ok(())
}

#[test]
fn a_socket_that_is_something_else() -> Result<()> {
    let stage = Stage::new("nosocket")?;
    let daemon = Daemon::prepare(&stage.world, "file", "")?;
    fs::write(daemon.socket(), "precious")?;
    let ended = daemon.ends(&[])?;
    assert_eq!(ended.code(), Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("is no socket") && ended.stderr.contains("--socket"), "{}", ended.stderr);
    assert_eq!(fs::read_to_string(daemon.socket())?, "precious");
    Ok(())
}

#[test]
fn a_configuration_that_cannot_be_read() -> Result<()> {
    let stage = Stage::new("badconfig")?;
    let cases = [
        ("openRange: []\n", "openRange"),
        ("openRanges: [10.0.0.0]\nnameservers: [dns.example]\n", "nameservers"),
        ("events: { perSecond: many }\n", "perSecond"),
        ("[1, 2\n", "config.yaml"),
        ("- 1\n", "config.yaml"),
    ];
    for (number, (config, told)) in cases.into_iter().enumerate() {
        let daemon = Daemon::prepare(&stage.world, &format!("bad{number}"), config)?;
        let ended = daemon.ends(&[])?;
        assert_eq!(ended.code(), Some(1), "{config}: {}", ended.stderr);
        assert!(ended.stderr.contains("config.yaml") && ended.stderr.contains(told), "{config}: {}", ended.stderr);
        assert!(!daemon.pin_dir().exists() && !daemon.state_dir().exists());
    }
    Ok(())
}

#[test]
fn pins_and_records_that_are_another_version_s() -> Result<()> {
    let mut stage = Stage::new("versions")?;
    stage.apply(&stage.a, DENY)?;
    stage.daemon.stop()?;
    // Another version's pins: refused, and enforcement goes on.
    let foreign = stage.daemon.pin_dir().join("abi-77");
    fs::create_dir(&foreign)?;
    let ended = stage.daemon.ends(&[])?;
    assert_eq!(ended.code(), Some(1));
    assert!(ended.stderr.contains("ABI 77") && ended.stderr.contains("left as it is"), "{}", ended.stderr);
    assert!(!http(WEB).gets_through(&stage.a, false)?);
    fs::remove_dir(&foreign)?;
    // Maps whose elements hold what they hold at another place: refused as well.
    let foreign = stage.daemon.pins().join("lead-4");
    fs::create_dir(&foreign)?;
    let ended = stage.daemon.ends(&[])?;
    assert_eq!(ended.code(), Some(1));
    assert!(ended.stderr.contains("is of lead-4") && ended.stderr.contains("btf/vmlinux"), "{}", ended.stderr);
    assert!(!http(WEB).gets_through(&stage.a, false)?);
    fs::remove_dir(&foreign)?;
    // A damaged store: refused too, and left as it is.
    let store = stage.daemon.store();
    let whole = fs::read(&store)?;
    for bytes in [&whole[..whole.len() / 2], &whole.repeat(2)[100..], b""] {
        fs::write(&store, bytes)?;
        let ended = stage.daemon.ends(&[])?;
        assert_eq!(ended.code(), Some(1));
        assert!(
            ended.stderr.contains("store.redb: it is damaged") && ended.stderr.contains("hint: "),
            "{}",
            ended.stderr
        );
        assert!(!http(WEB).gets_through(&stage.a, false)?);
        assert!(fs::read(&store)? == bytes);
    }
    fs::write(&store, whole)?;
    // And one of a newer daemon.
    stage.daemon.sets_version(3)?;
    let bytes = fs::read(&store)?;
    let ended = stage.daemon.ends(&[])?;
    assert_eq!(ended.code(), Some(1));
    assert!(ended.stderr.contains("of version 3") && ended.stderr.contains("up to 2"), "{}", ended.stderr);
    assert!(!http(WEB).gets_through(&stage.a, false)? && fs::read(&store)? == bytes);
    stage.daemon.sets_version(2)?;
    stage.daemon.begin()?;
    stage.expect(&stage.a, &[(AddressDenied, &[http(WEB), udp(WEB6)])])
}
