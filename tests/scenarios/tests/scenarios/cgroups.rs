//! Sandboxes that are cgroups of the host.

use anyhow::{Context, Result, ensure};
use filter_core::Reason;
use filter_ctl::api::State;
use nix::sys::signal::Signal;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use test_scenarios::{NOWHERE, NOWHERE6, SOON, Setup, Stage};
use test_world::internet::{WEB, WEB_NEIGHBOUR, WEB6};
use test_world::{Cgroup, Node, Process, wait_until};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What tests do with one.
trait Commands {
    fn run(&self, node: &Node, command: &str) -> Result<(i32, String)>;
    fn start(&self, node: &Node, command: &str) -> Result<Process>;
    fn get(&self, node: &Node, address: IpAddr, port: u16) -> Result<i32>;
    fn document(&self, id: &str, network: &str) -> String;
}

impl Commands for Cgroup {
    /// Runs it in the network namespace of a node; its exit code, and what it said.
    fn run(&self, node: &Node, command: &str) -> Result<(i32, String)> {
        let out = node.run(&["sh", "-c", &self.entered(command)])?;
        Ok((out.code().context("it was killed")?, out.stdout + &out.stderr))
    }

    fn start(&self, node: &Node, command: &str) -> Result<Process> {
        node.spawn(&["sh", "-c", &self.entered(command)])
    }

    /// What curl says of a server: 0 when it has got something, 7 when it cannot connect.
    fn get(&self, node: &Node, address: IpAddr, port: u16) -> Result<i32> {
        Ok(self.run(node, &curl(address, port))?.0)
    }

    fn document(&self, id: &str, network: &str) -> String {
        format!(
            "version: 1\nid: {id}\nattach: {{ cgroup: {} }}\naddresses: any\nnetwork: {{ {network} }}\n",
            self.path().display()
        )
    }
}

fn curl(address: IpAddr, port: u16) -> String {
    let host = if address.is_ipv6() { format!("[{address}]") } else { address.to_string() };
    format!("curl -sS --max-time 5 -o /dev/null http://{host}:{port}/")
}

/// A policy with nothing but the web server.
fn web() -> String {
    format!(r#"denyOut: ["0.0.0.0/0"], allowOut: ["{WEB}", "{WEB6}"]"#)
}

#[test]
fn what_a_cgroup_may_not_reach_fails_at_once() -> Result<()> {
    let stage = Stage::with("cgroup", &Setup::default())?;
    let (host, cgroup) = (stage.world.host(), Cgroup::make()?);
    ensure!(cgroup.get(host, WEB_NEIGHBOUR.into(), 80)? == 0, "before it is a sandbox");
    let applied = stage.daemon.apply(&cgroup.document("c", &web()))?.remove(0);
    ensure!(applied.hook == "cgroup" && applied.warnings.is_empty(), "{applied:?}");

    for address in [IpAddr::from(WEB), WEB6.into()] {
        ensure!(cgroup.get(host, address, 80)? == 0, "{address}");
    }
    // One below it is in it.
    let below = Cgroup::at(cgroup.path().join("below"))?;
    for inside in [&cgroup, &below] {
        ensure!(inside.get(host, WEB_NEIGHBOUR.into(), 80)? == 7);
        let (code, said) = inside.run(host, &format!("dig +tries=1 +time=2 +short @{WEB_NEIGHBOUR} example.test"))?;
        ensure!(code != 0 && said.contains("permission denied"), "{code}: {said}");
        let (code, said) = inside.run(host, &format!("ping -c 1 -W 2 {WEB_NEIGHBOUR}"))?;
        ensure!(code != 0 && said.contains("not permitted"), "{code}: {said}");
    }
    let counters = stage.daemon.status("c")?.counters;
    let counted = |reason: Reason| counters.reasons.get(reason.name()).copied().unwrap_or(0);
    ensure!(counted(Reason::AddressDenied) >= 6 && counted(Reason::AllowedByList) > 0, "{counters:?}");
    // Nobody else is concerned.
    ensure!(host.run(&["sh", "-c", &curl(WEB_NEIGHBOUR.into(), 80)])?.code() == Some(0));

    stage.daemon.apply(&cgroup.document("c", &format!(r#"denyOut: ["{WEB}"]"#)))?;
    ensure!(below.get(host, WEB_NEIGHBOUR.into(), 80)? == 0 && below.get(host, WEB.into(), 80)? == 7);
    stage.daemon.delete("c")?;
    ensure!(cgroup.get(host, WEB_NEIGHBOUR.into(), 80)? == 7, "it is sealed");
    stage.daemon.detach("c")?;
    ensure!(cgroup.get(host, WEB.into(), 80)? == 0);
    Ok(())
}

#[test]
fn loopback_is_between_sockets_of_the_cgroup() -> Result<()> {
    let stage = Stage::with("loopback", &Setup::default())?;
    let (host, cgroup) = (stage.world.host(), Cgroup::make()?);
    stage.daemon.apply(&cgroup.document("c", &web()))?;
    let _outside = host.within(|| TcpListener::bind((LOOPBACK, 8_001)))??;
    let _server = cgroup.start(host, "python3 -m http.server --bind 127.0.0.1 8000")?;
    let own = || cgroup.get(host, LOOPBACK, 8_000);
    ensure!(wait_until(SOON, || own().is_ok_and(|code| code == 0)), "{}", own()?);
    // Somebody else's, and nobody's.
    for port in [8_001, 8_002] {
        ensure!(cgroup.get(host, LOOPBACK, port)? == 7, "{port}");
    }
    let other = host.run(&["sh", "-c", &curl(LOOPBACK, 8_000)])?;
    ensure!(other.code() != Some(0), "somebody else comes in: {other:?}");
    Ok(())
}

#[test]
fn what_was_open_before_is_judged_and_nobody_needs_the_daemon() -> Result<()> {
    let mut stage = Stage::with("before", &Setup::default())?;
    let cgroup = Cgroup::make()?;
    let big = format!("curl -sS --max-time 60 --limit-rate 100K -o /dev/stdout http://{WEB_NEIGHBOUR}/big");
    let mut download = cgroup.start(stage.world.host(), &big)?;
    ensure!(wait_until(SOON, || !download.stdout().is_empty()), "nothing comes");
    let allowed = cgroup.document("c", &web()).replace(" }\naddresses", ", allowPrivileged: true }\naddresses");
    let applied = stage.daemon.apply(&allowed)?.remove(0);
    ensure!(applied.warnings.len() == 1, "{applied:?}");
    // It does not stall.
    ensure!(wait_until(SOON, || !download.is_running()), "it goes on");
    ensure!(download.wait(SOON)?.code() == Some(56), "it is told");

    stage.daemon.kill9()?;
    let host = stage.world.host();
    ensure!(cgroup.get(host, WEB_NEIGHBOUR.into(), 80)? == 7 && cgroup.get(host, WEB.into(), 80)? == 0);
    stage.daemon.begin()?;
    let status = stage.daemon.status("c")?;
    ensure!(status.state == State::Active && status.generation == 1, "{status:?}");
    let host = stage.world.host();
    ensure!(cgroup.get(host, WEB_NEIGHBOUR.into(), 80)? == 7 && cgroup.get(host, WEB.into(), 80)? == 0);
    stage.daemon.apply(&cgroup.document("c", r#"denyOut: ["0.0.0.0/0"]"#))?;
    ensure!(cgroup.get(host, WEB.into(), 80)? == 7, "the next daemon's programs have the same entry");
    Ok(())
}

#[test]
fn a_cgroup_that_vanishes_is_told_and_another_is_not_taken_for_it() -> Result<()> {
    let stage = Stage::with("vanished", &Setup::default())?;
    let (host, cgroup) = (stage.world.host(), Cgroup::make()?);
    stage.daemon.apply(&cgroup.document("c", &web()))?;
    fs::remove_dir(cgroup.path())?;
    let state = || stage.daemon.status("c").map(|status| status.state);
    ensure!(wait_until(SOON, || state().is_ok_and(|state| state == State::Detached)), "{:?}", state()?);
    fs::create_dir(cgroup.path())?;
    ensure!(cgroup.get(host, WEB_NEIGHBOUR.into(), 80)? == 0 && state()? == State::Detached);
    stage.daemon.apply(&cgroup.document("c", &web()))?;
    ensure!(cgroup.get(host, WEB_NEIGHBOUR.into(), 80)? == 7 && state()? == State::Active);
    Ok(())
}

#[test]
fn what_cannot_be_a_sandbox_is_refused() -> Result<()> {
    let stage = Stage::with("refused", &Setup::default())?;
    let (cgroup, elsewhere) = (Cgroup::make()?, tempfile(&stage)?);
    let below = Cgroup::at(cgroup.path().join("below"))?;
    stage.daemon.apply(&cgroup.document("c", &web()))?;
    let root = cgroup.path().parent().context("a root")?.to_owned();
    let document = |path: &Path, lines: &str| {
        format!("version: 1\nid: d\nattach: {{ cgroup: {} }}\n{lines}\nnetwork: {{}}\n", path.display())
    };
    for (path, lines, says) in [
        (below.path(), "addresses: any", "lie in each other"),
        (cgroup.path(), "addresses: any", "already belongs to sandbox \"c\""),
        (&elsewhere, "addresses: any", "is no cgroup of version 2"),
        (&elsewhere.join("nothing"), "addresses: any", "is not there"),
        (&root, "addresses: any", "is the root of all cgroups"),
        (below.path(), "addresses: [198.51.100.9]", "sends from the host's addresses"),
        (below.path(), "addresses: any\ndhcp: true", "has no link of its own"),
    ] {
        stage.daemon.refuses(&document(path, lines))?.says(&[says]);
    }
    // As in a cgroup namespace.
    let [from, to] = [cgroup.path(), &elsewhere].map(|path| path.display().to_string());
    ensure!(Command::new("mount").args(["--bind", &from, &to]).status()?.success());
    let refused = stage.daemon.refuses(&document(&elsewhere.join("below"), "addresses: any"));
    ensure!(Command::new("umount").arg(&to).status()?.success());
    refused?.says(&["is in a part of the tree", "the host's cgroup namespace"]);
    ensure!(stage.daemon.status("c")?.generation == 1);
    Ok(())
}

#[test]
fn two_documents_whose_cgroups_lie_in_each_other_are_both_refused() -> Result<()> {
    let stage = Stage::with("nested", &Setup::default())?;
    let cgroup = Cgroup::make()?;
    let below = Cgroup::at(cgroup.path().join("below"))?;
    // The same one by another path.
    let link = stage.daemon.state_dir().join("link");
    symlink(below.path(), &link)?;
    let by_link = below.document("e", "").replace(&below.path().display().to_string(), &link.display().to_string());
    for other in [below.document("d", ""), by_link] {
        let both = format!("{}---\n{other}", cgroup.document("c", ""));
        stage.daemon.refuses(&both)?.says(&["lie in each other", "beside each other"]);
        ensure!(stage.daemon.list()?.is_empty(), "nothing was changed");
    }
    Ok(())
}

#[test]
fn the_cgroup_of_the_daemon_is_refused() -> Result<()> {
    let stage = Stage::with("own", &Setup::default())?;
    let cgroup = Cgroup::make()?;
    let root = cgroup.path().parent().context("a root")?.to_owned();
    let pid = stage.daemon.pid().context("no daemon")?.to_string();
    let enter = |into: &Path| fs::write(into.join("cgroup.procs"), &pid);
    let document = cgroup.document("c", "").replace(" }\naddresses", ", allowPrivileged: true }\naddresses");
    enter(cgroup.path())?;
    stage.daemon.refuses(&document)?.says(&["the daemon itself is in", "beside that of the daemon"]);
    enter(&root)?;
    stage.daemon.apply(&document).map(drop)
}

#[test]
fn explain_tells_what_is_special_about_a_cgroup() -> Result<()> {
    let stage = Stage::with("explained", &Setup::default())?;
    let (host, cgroup) = (stage.world.host(), Cgroup::make()?);
    stage.daemon.apply(&cgroup.document("c", &web()))?;
    for (address, reason) in [
        (IpAddr::from(WEB), Reason::AllowedByList),
        (WEB6.into(), Reason::AllowedByList),
        (WEB_NEIGHBOUR.into(), Reason::AddressDenied),
        (LOOPBACK, Reason::ProtectedRange),
    ] {
        let told = stage.daemon.explain("c", &format!("tcp:{}", SocketAddr::new(address, 80)))?;
        ensure!(told.reason == reason.number(), "{address}: {told:?}");
        let got = cgroup.get(host, address, 80)?;
        ensure!((got == 0) == told.allowed, "{address}: curl says {got}, and explain {told:?}");
        let of_itself = told.advice.is_some_and(|advice| advice.contains("sockets of the cgroup itself"));
        ensure!(of_itself == address.is_loopback(), "{address}");
    }
    Ok(())
}

fn tempfile(stage: &Stage) -> Result<PathBuf> {
    let path = stage.daemon.state_dir().join("elsewhere");
    fs::create_dir(&path)?;
    Ok(path)
}

#[test]
fn names_are_judged_by_the_sidecar_and_the_original_destination_is_kept() -> Result<()> {
    let stage = Stage::with_names("named")?;
    let (host, cgroup) = (stage.world.host(), Cgroup::make()?);
    let _resolver = stage.resolver(&[("a.test", WEB.into()), ("six.test", WEB6.into())])?;
    let names = r#"denyOut: ["0.0.0.0/0"], allowOut: ["a.test", "six.test"]"#;
    stage.daemon.apply(&cgroup.document("c", names))?;
    let get = |scheme: &str, name: &str, at: IpAddr, more: &str| {
        let port = if scheme == "https" { 443 } else { 80 };
        let at = if at.is_ipv6() { format!("[{at}]") } else { at.to_string() };
        cgroup.run(host, &format!("curl -skS --max-time 5 {more} --resolve {name}:{port}:{at} {scheme}://{name}/"))
    };
    for scheme in ["http", "https"] {
        for (name, at) in [("a.test", NOWHERE), ("a.test", NOWHERE6), ("six.test", NOWHERE)] {
            let (code, said) = get(scheme, name, at, "")?;
            ensure!(code == 0 && !said.contains("egress_denied"), "{scheme} {name} at {at}: {code} {said}");
        }
        // Whatever its socket is of.
        let (code, said) = get(scheme, "a.test", "::ffff:203.0.113.99".parse()?, "")?;
        ensure!(code == 0, "{scheme}: {code} {said}");
        let (code, said) = get(scheme, "b.test", WEB.into(), "")?;
        ensure!(code != 0 || said.contains("name-denied"), "{scheme}: {code} {said}");
    }
    // Other ports, and sockets that would leave by another way, are for the lists.
    ensure!(cgroup.get(host, WEB.into(), 8_080)? == 7);
    let device =
        host.run(&["sh", "-c", "ip -o route get 203.0.113.10 | sed 's/.* dev \\([^ ]*\\).*/\\1/'"])?.ok()?.stdout;
    let (code, said) = get("http", "a.test", WEB.into(), &format!("--interface {}", device.trim()))?;
    ensure!(code != 0, "{said}");

    // An update ends what it does not allow any more.
    let big = format!("curl -sS --max-time 60 --limit-rate 100K --resolve a.test:80:{NOWHERE} http://a.test/big");
    let mut download = cgroup.start(host, &big)?;
    ensure!(wait_until(SOON, || !download.stdout().is_empty()), "nothing comes");
    stage.daemon.apply(&cgroup.document("c", r#"denyOut: ["0.0.0.0/0"], allowOut: ["six.test"]"#))?;
    ensure!(wait_until(SOON, || !download.is_running()), "it goes on");
    Ok(())
}

/// A command without what leads around the hooks: another user has none of it.
const NOBODY: &str = "setpriv --reuid 65534 --regid 65534 --clear-groups";

#[test]
fn who_is_not_held_is_told_and_refused_unless_allowed() -> Result<()> {
    let stage = Stage::with("privileged", &Setup::default())?;
    let (host, cgroup) = (stage.world.host(), Cgroup::make()?);
    let watch = stage.daemon.ctl_start(&["watch"])?;
    let root = cgroup.start(host, "sleep 100")?;
    let is_in = || fs::read_to_string(cgroup.path().join("cgroup.procs")).is_ok_and(|members| !members.is_empty());
    ensure!(wait_until(SOON, is_in));
    stage.daemon.refuses(&cgroup.document("c", &web()))?.says(&["(sleep) has CAP_", "allowPrivileged: true"]);
    let allowed = cgroup.document("c", &web()).replace(" }\naddresses", ", allowPrivileged: true }\naddresses");
    stage.daemon.apply(&allowed)?;
    stage.daemon.detach("c")?;
    root.signal(Signal::SIGKILL)?;
    ensure!(wait_until(SOON, || !is_in()));

    // Without capabilities, root may still write to the file system of cgroups.
    let bare = cgroup.start(host, "setpriv --bounding-set=-all --inh-caps=-all --ambient-caps=-all sleep 100")?;
    ensure!(wait_until(SOON, is_in));
    stage.daemon.refuses(&cgroup.document("c", &web()))?.says(&["it can leave the cgroup"]);
    bare.signal(Signal::SIGKILL)?;
    ensure!(wait_until(SOON, || !is_in()));

    let _nobody = cgroup.start(host, &format!("{NOBODY} sleep 100"))?;
    ensure!(wait_until(SOON, is_in));
    let applied = || stage.daemon.apply(&cgroup.document("c", &web()));
    ensure!(wait_until(SOON, || applied().is_ok()), "{:?}", applied().err());
    ensure!(!watch.stdout().contains("privileged"), "{}", watch.stdout());
    let _root = cgroup.start(host, "sleep 100")?;
    ensure!(wait_until(SOON, || watch.stdout().contains(r#""notice":"privileged","id":"c""#)), "{}", watch.stdout());
    Ok(())
}
