//! The pins of maps.

use crate::scene::{Leak, POLICY, Scene, remove};
use anyhow::Result;
use filter_core::Reason::{AddressDenied, AllowedByDefault, AllowedByList};
use std::fs;
use std::path::{Path, PathBuf};
use test_scenarios::{http, udp};
use test_world::internet::{WEB, WEB_NEIGHBOUR, WEB6_NEIGHBOUR};

fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() { found.extend(files(&path)?) } else { found.push(path) }
    }
    Ok(found)
}

#[test]
fn pins_of_maps() -> Result<()> {
    let mut scene = Scene::new("tornmaps", "tcx")?;
    let root = scene.stage.daemon.pins();
    for (what, below) in [("pins of all shared maps removed", "maps"), ("pins of a namespace's maps removed", "netns")]
    {
        let all = files(&root.join(below))?;
        let is_there = |_: &_| all.iter().all(|path| path.exists());
        scene.tear(what, Leak::Never, "the pin of a map", |_| remove(&all), is_there)?;
    }
    // They are the maps that the programs have: for who comes, for what changes, and for the next daemon.
    let b = scene.stage.world.sandbox("b")?;
    scene.stage.apply(&b, POLICY)?;
    let table: &[(_, &[_])] =
        &[(AllowedByList, &[http(WEB)]), (AddressDenied, &[http(WEB_NEIGHBOUR), udp(WEB6_NEIGHBOUR)])];
    scene.stage.expect(&b, table)?;
    scene.stage.expect(&scene.stage.a, table)?;
    scene.stage.daemon.kill9()?;
    scene.stage.daemon.begin()?;
    scene.stage.expect(&b, table)?;
    scene.stage.apply(&b, "")?;
    scene.stage.expect(&b, &[(AllowedByDefault, &[http(WEB_NEIGHBOUR), udp(WEB6_NEIGHBOUR)])])?;
    scene.stage.expect(&scene.stage.a, table)
}
