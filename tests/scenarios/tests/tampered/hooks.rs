//! The hooks of a device.

use crate::scene::{Leak, POLICY, Scene, detach, remove};
use anyhow::{Result, ensure};
use filter_core::Reason::{AddressDenied, AllowedByList};
use filter_ctl::api::{Change, State};
use test_scenarios::{Stage, http, udp};
use test_world::internet::{WEB, WEB_NEIGHBOUR, WEB6_NEIGHBOUR};

/// The words of the log.
const REMOVED: &str = "was not filtered since";
const CHANGED: &str = "removed a pin";

/// It is the same sandbox as ever.
fn is_as_it_was(scene: &Scene) -> Result<()> {
    let Stage { daemon, a, .. } = &scene.stage;
    let status = daemon.status("a")?;
    ensure!(status.state == State::Active && status.generation == 1, "{status:?}");
    ensure!(scene.stage.apply(a, POLICY)?.change == Change::Unchanged);
    scene
        .stage
        .expect(a, &[(AllowedByList, &[http(WEB)]), (AddressDenied, &[http(WEB_NEIGHBOUR), udp(WEB6_NEIGHBOUR)])])
}

#[test]
fn pins_of_links() -> Result<()> {
    let mut scene = Scene::new("tornpins", "tcx")?;
    let pins = scene.pins()?;
    for (what, gone) in [("pin of a TCX link removed", &pins[1..]), ("pins of both TCX links removed", &pins)] {
        scene.tear(what, Leak::Never, CHANGED, |_| remove(gone), |_| pins.iter().all(|pin| pin.exists()))?;
    }
    is_as_it_was(&scene)?;
    // What is pinned is what filters: it outlives the daemon.
    scene.stage.daemon.kill9()?;
    ensure!(!udp(WEB_NEIGHBOUR).gets_through(&scene.stage.a, false)?);
    scene.stage.daemon.begin()?;
    is_as_it_was(&scene)
}

#[test]
fn links_that_are_detached() -> Result<()> {
    let mut scene = Scene::new("tornlinks", "tcx")?;
    let pins = scene.pins()?;
    for (what, some) in [
        ("TCX link from the sandbox detached", &pins[1..]),
        ("TCX link to the sandbox detached", &pins[..1]),
        ("both TCX links detached", &pins),
    ] {
        let inode = |pin: &std::path::PathBuf| {
            std::fs::metadata(pin).map(|found| std::os::unix::fs::MetadataExt::ino(&found)).ok()
        };
        let before: Vec<_> = some.iter().map(inode).collect();
        let is_new =
            |_: &Stage| some.iter().map(inode).zip(&before).all(|(now, before)| now.is_some() && now != *before);
        scene.tear(what, Leak::UntilMended, REMOVED, |stage| detach(stage, some), is_new)?;
    }
    is_as_it_was(&scene)
}

#[test]
fn clsact_filters_and_the_qdisc() -> Result<()> {
    let mut scene = Scene::new("tornclsact", "clsact")?;
    for (what, words) in [
        ("clsact filter from the sandbox deleted", &["filter", "del", "dev", "veth-a", "ingress"][..]),
        ("clsact filter to the sandbox deleted", &["filter", "del", "dev", "veth-a", "egress"]),
        ("clsact qdisc deleted", &["qdisc", "del", "dev", "veth-a", "clsact"]),
    ] {
        let act = |stage: &Stage| stage.world.host().run(&[&["tc"], words].concat())?.ok().map(drop);
        scene.tear(what, Leak::UntilMended, REMOVED, act, has_filters)?;
    }
    is_as_it_was(&scene)
}

#[test]
fn marks_of_clsact_filters() -> Result<()> {
    let mut scene = Scene::new("tornmarks", "clsact")?;
    let pins = scene.pins()?;
    let is_there = |_: &Stage| pins.iter().all(|pin| pin.is_symlink());
    scene.tear("mark of a clsact filter removed", Leak::Never, CHANGED, |_| remove(&pins[1..]), is_there)?;
    is_as_it_was(&scene)
}

fn has_filters(stage: &Stage) -> bool {
    let shown =
        |hook| stage.world.host().run(&["tc", "filter", "show", "dev", "veth-a", hook]).map(|shown| shown.stdout);
    shown("ingress").is_ok_and(|shown| shown.contains("from_sandbox"))
        && shown("egress").is_ok_and(|shown| shown.contains("to_sandbox"))
}
