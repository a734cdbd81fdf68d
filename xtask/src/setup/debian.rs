//! Debian: what is missing is installed by apt-get, as root or through sudo.

use std::{collections::HashSet, fs, path::Path};

use anyhow::Result;

use super::{
    packages::{self, SERVICES, TOOLS},
    toolchain::{self, KernelCompiler},
};
use crate::tool::Tool;

const INSTALL: &str = include_str!("install.sh");
const UPDATE: &str = "exec apt-get -q -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 update";

/// Whether this is Debian itself. What derives from it has other packages.
pub(super) fn is_here() -> bool {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    release.lines().any(|line| line == "ID=debian") && Path::new("/usr/bin/apt-get").exists()
}

/// Installs what is missing. With a complete rustup toolchain no compiler is installed.
pub(super) fn ensure(rustup: Option<KernelCompiler>) -> Result<KernelCompiler> {
    let mut wanted: Vec<&str> = TOOLS.iter().flat_map(|tool| tool.debian).copied().collect();
    if rustup.is_none() {
        wanted.extend(packages::COMPILER);
    }
    let mut lists = Lists::AsTheyWere;
    install(&missing(&wanted)?, &mut lists)?;
    if let Some(rustup) = rustup {
        return Ok(rustup);
    }
    let (version, llvm) = toolchain::debian_rustc()?;
    install(&missing(&[&packages::llvm(llvm)])?, &mut lists)?;
    toolchain::ensure_bpf_linker(llvm)?;
    Ok(KernelCompiler::Debian { version, llvm })
}

/// Installs those of the programs that are missing.
pub(super) fn ensure_tools(tools: &[packages::Tool]) -> Result<()> {
    let wanted: Vec<&str> = tools.iter().flat_map(|tool| tool.debian).copied().collect();
    install(&missing(&wanted)?, &mut Lists::AsTheyWere)
}

/// apt's lists of what there is: they are brought up to date once, and only when something is missing.
#[derive(PartialEq)]
enum Lists {
    AsTheyWere,
    UpToDate,
}

/// Those of the packages that are not installed, in their order.
fn missing<'a>(packages: &[&'a str]) -> Result<Vec<&'a str>> {
    let known = Tool::new("dpkg-query").args(["-W", "-f=${db:Status-Status} ${Package}\n"]).args(packages).output()?;
    let installed: HashSet<&str> = known.lines().filter_map(|line| line.strip_prefix("installed ")).collect();
    Ok(packages.iter().copied().filter(|package| !installed.contains(package)).collect())
}

fn install(packages: &[&str], lists: &mut Lists) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    if *lists == Lists::AsTheyWere {
        eprintln!("setup: refreshing apt's package lists");
        Tool::as_root("sh", &[])?.args(["-c", UPDATE]).show("apt-get update").hint("check apt's sources").run()?;
        *lists = Lists::UpToDate;
    }
    let owners: Vec<&str> = SERVICES.iter().map(|(package, _)| *package).collect();
    let new = missing(&owners)?;
    let services = SERVICES.iter().filter(|(package, _)| new.contains(package)).map(|(_, service)| *service);
    let services = services.collect::<Vec<_>>().join(" ");

    eprintln!("setup: installing Debian packages; no service is started or enabled");
    Tool::as_root("sh", &[])?
        .args(["-c", INSTALL, "install", &services])
        .args(packages)
        .show(format!("apt-get install --no-install-recommends --no-remove {}", packages.join(" ")))
        .hint(
            "\"remove is disabled\": packages of the same purpose are in the way, most likely Debian's rustc and cargo: \
             remove them.\n        \
             \"unable to locate\": rustc-web comes with Debian 12's security updates; elsewhere install the nightly \
             toolchain instead:\n        \
             rustup toolchain install nightly --profile minimal --component rust-src, and bpf-linker",
        )
        .run()
}
