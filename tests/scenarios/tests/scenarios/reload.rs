//! The operator's configuration read again while the daemon runs (SIGHUP).

use anyhow::{Context, Result, ensure};
use filter_core::Reason::{AddressDenied, AllowedByList, ProtectedRange};
use filter_ctl::api::{Health, Line, NoticeKind};
use nix::sys::signal::Signal;
use std::net::IpAddr;
use test_scenarios::{SOON, Setup, Stage, get_named, http, kinds_of_hooks, udp};
use test_world::internet::{GOOGLE, WEB, WEB_NEIGHBOUR};
use test_world::{Process, wait_until};

const INNER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 2, 3));
/// Nobody answers there.
const NOBODY: &str = "203.0.113.99";

/// What the watcher was told of the configuration.
fn told(watch: &Process) -> Vec<String> {
    let text = watch.stdout();
    let complete = text.rfind('\n').map_or("", |end| &text[..end]);
    let lines = complete.lines().filter_map(|line| match serde_json::from_str(line) {
        Ok(Line::Notice(notice)) if notice.notice == NoticeKind::Configuration => Some(notice.text),
        _ => None,
    });
    lines.collect()
}

/// Lets the daemon read a configuration, and waits until it has done with it; what it says of it.
fn reload(stage: &Stage, watch: &Process, config: &str) -> Result<String> {
    let before = told(watch).len();
    stage.daemon.configure(config)?;
    stage.daemon.signal(Signal::SIGHUP)?;
    ensure!(wait_until(SOON, || told(watch).len() > before), "nothing is told: {}", stage.daemon.log());
    told(watch).pop().context("told")
}

/// A watcher that listens.
fn watcher(stage: &Stage) -> Result<Process> {
    let watch = stage.daemon.ctl_start(&["watch"])?;
    let heard = || udp(WEB_NEIGHBOUR).gets_through(&stage.a, false).is_err() || !watch.stdout().is_empty();
    ensure!(wait_until(SOON, heard), "nothing is heard");
    Ok(watch)
}

/// The sidecar's process id, from the command that shows it.
fn sidecar(stage: &Stage) -> Result<Option<u32>> {
    let socket = stage.daemon.socket().display().to_string();
    let out = stage.world.host().run(&["curl", "-s", "--unix-socket", &socket, "http://localhost/v1/health"])?.ok()?;
    let health: Health = serde_json::from_str(&out.stdout)?;
    Ok(health.sidecar.and_then(|sidecar| sidecar.pid))
}

#[test]
fn what_can_change_does_and_a_bad_file_changes_nothing() -> Result<()> {
    let stage = Stage::with("reload", &Setup { addresses: &[INNER], ..Setup::default() })?;
    let policy = format!(r#"denyOut: ["0.0.0.0/0"], allowOut: ["{WEB}", "10.0.0.0/8"]"#);
    stage.apply(&stage.a, &policy)?;
    let b = stage.world.sandbox("b")?;
    stage.apply(&b, r#"denyOut: ["0.0.0.0/0"]"#)?;
    stage.daemon.delete("b")?;
    let watch = watcher(&stage)?;
    stage.expect(&stage.a, &[(ProtectedRange, &[udp(INNER)]), (AllowedByList, &[http(WEB)])])?;

    let opened = "openRanges: [\"10.1.0.0/16\"]\nrejects: { perSecond: 0, burst: 0 }\n";
    ensure!(reload(&stage, &watch, opened)? == "the configuration was read again");
    stage.expect(&stage.a, &[(AllowedByList, &[udp(INNER), http(WEB)])])?;
    ensure!(stage.daemon.status("a")?.generation == 1);
    ensure!(stage.daemon.status("b")?.state == filter_ctl::api::State::Sealed && !http(WEB).gets_through(&b, false)?);
    // Nothing is answered any more.
    let rejects = || Ok::<_, anyhow::Error>(stage.daemon.status("a")?.counters.rejects_sent);
    let before = rejects()?;
    ensure!(!udp(WEB_NEIGHBOUR).gets_through(&stage.a, false)? && rejects()? == before);

    for (bad, why) in [
        ("openRanges: [\"10.1.0.0/16\"\n", "line"),
        ("openRange: []\n", "openRange"),
        ("events: { perSecond: 2000000, burst: 1 }\n", "perSecond"),
    ] {
        let text = reload(&stage, &watch, bad)?;
        ensure!(text.contains("refused, nothing was changed") && text.contains(why), "{text}");
        ensure!(stage.daemon.log().contains("refused, nothing was changed"), "{}", stage.daemon.log());
        stage.expect(&stage.a, &[(AllowedByList, &[udp(INNER), http(WEB)])])?;
    }

    // What needs a restart is told, and the rest of the file holds.
    let text =
        reload(&stage, &watch, "hook: clsact\nmarks: { mask: 0xf00, own: 0x500, capture: 0x600 }\nmetrics: {}\n")?;
    ensure!(text.ends_with("needs a restart: marks, hook, metrics.listen"), "{text}");
    stage.expect(&stage.a, &[(ProtectedRange, &[udp(INNER)]), (AddressDenied, &[udp(WEB_NEIGHBOUR)])])?;
    let applied = stage.apply(&stage.a, r#"denyOut: ["0.0.0.0/0"]"#)?;
    ensure!(applied.hook == kinds_of_hooks()[0] && applied.generation == 2, "{applied:?}");
    Ok(())
}

#[test]
fn limits_below_what_a_document_has_are_refused() -> Result<()> {
    let stage = Stage::new("lowered")?;
    let rules = r#"denyOut: ["0.0.0.0/0"], allowOut: ["example.test"], rules: { example.test: [{ transform: { headers: { X-Key: v } } }] }"#;
    stage.apply(&stage.a, rules)?;
    let watch = watcher(&stage)?;
    let text = reload(&stage, &watch, "limits: { hostBytes: 4 }\nopenRanges: [\"10.1.0.0/16\"]\n")?;
    ensure!(text.contains("nothing was changed: limits: sandbox \"a\""), "{text}");
    ensure!(stage.daemon.explain("a", "10.1.2.3")?.reason == ProtectedRange.number());
    Ok(())
}

#[test]
fn other_resolvers_are_asked_without_another_sidecar() -> Result<()> {
    let config = format!("resolvers: [\"{NOBODY}\"]\n");
    let setup = Setup { config: &config, resolvers: &[IpAddr::from(GOOGLE)], ..Setup::default() };
    let stage = Stage::with("resolvers", &setup)?;
    stage.apply(&stage.a, r#"denyOut: ["0.0.0.0/0"], allowOut: ["example.test"]"#)?;
    let watch = watcher(&stage)?;
    let get = || get_named(&stage.a, "http", "example.test", NOBODY.parse()?);
    ensure!(!get()?.1.contains(&WEB.to_string()), "{:?}", get()?);
    let before = sidecar(&stage)?;
    ensure!(before.is_some());
    ensure!(reload(&stage, &watch, &format!("resolvers: [\"{GOOGLE}\"]\n"))? == "the configuration was read again");
    // That there was no answer is remembered for a moment.
    ensure!(wait_until(SOON, || get().is_ok_and(|(_, body)| body.contains(&WEB.to_string()))), "{:?}", get()?);
    ensure!(sidecar(&stage)? == before, "the sidecar was replaced");
    Ok(())
}
