//! The file system in memory that a machine begins with.

use super::kernel::{Kernel, folder};
use super::suites::Suites;
use crate::tool::Tool;
use anyhow::{Context, Result, ensure};
use guest_init::{MODULES, PLAN};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Modules that the tests' worlds are made of, with those of the machine itself first. One that a kernel has built in is left out.
const WANTED: [&str; 24] = [
    "virtio_pci",
    "virtiofs",
    "overlay",
    "veth",
    "tun",
    "bridge",
    "br_netfilter",
    "cls_bpf",
    "cls_u32",
    "act_mirred",
    "sch_ingress",
    "nf_tables",
    "nft_chain_nat",
    "nft_masq",
    "nft_ct",
    "nft_connlimit",
    "nft_limit",
    "nft_reject_inet",
    "nf_conntrack_netlink",
    "inet_diag",
    "tcp_diag",
    "udp_diag",
    "macvlan",
    "vxlan",
];
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Builds the first process, which needs no library.
pub(super) fn init() -> Result<PathBuf> {
    let target = folder().join("guest");
    Tool::cargo("build")
        .args(["--package", "guest-init", "--release", "--target", TARGET, "--target-dir"])
        .arg(&target)
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .run()?;
    Ok(target.join(TARGET).join("release/guest-init"))
}

/// Makes it for a kernel.
pub(super) fn make(kernel: &Kernel, init: &Path, suites: &Suites) -> Result<PathBuf> {
    let mut archive = Archive::default();
    for directory in ["dev", "host", MODULES.trim_start_matches('/')] {
        archive.add(directory, 0o040_755, &[]);
    }
    archive.add("init", 0o100_755, &fs::read(init).with_context(|| init.display().to_string())?);
    archive.add(PLAN.trim_start_matches('/'), 0o100_644, &suites.plan()?);
    for (number, module) in modules(kernel)?.into_iter().enumerate() {
        let name = module.rsplit('/').next().unwrap_or_default().split(".ko").next().unwrap_or_default().to_owned();
        let path = format!("{}/{number:03}-{name}.ko", MODULES.trim_start_matches('/'));
        archive.add(&path, 0o100_644, &unpacked(&kernel.modules().join(&module))?);
    }
    let path = folder().join(format!("{}.cpio", kernel.release));
    fs::write(&path, archive.end()).with_context(|| path.display().to_string())?;
    Ok(path)
}

/// What is wanted, behind what it needs.
fn modules(kernel: &Kernel) -> Result<Vec<String>> {
    let known = kernel.dependencies()?;
    let named = |wanted: &str| {
        known.iter().find(|(path, _)| {
            let file = path.rsplit('/').next().unwrap_or_default();
            file.split(".ko").next().unwrap_or_default().replace('-', "_") == wanted
        })
    };
    let (mut order, mut there) = (Vec::new(), BTreeSet::new());
    for (path, needs) in WANTED.iter().filter_map(|wanted| named(wanted)) {
        for one in needs.iter().chain([path]) {
            if there.insert(one) {
                order.push(one.clone());
            }
        }
    }
    Ok(order)
}

/// A module as the kernel takes it.
fn unpacked(path: &Path) -> Result<Vec<u8>> {
    if path.extension().is_none_or(|kind| kind != "xz") {
        return fs::read(path).with_context(|| path.display().to_string());
    }
    let output = Command::new("xz").arg("-dc").arg(path).stdin(Stdio::null()).output().context("xz")?;
    ensure!(output.status.success(), "{} cannot be unpacked", path.display());
    Ok(output.stdout)
}

/// An archive in the format that the kernel unpacks (`newc`: Linux, Documentation/driver-api/early-userspace/buffer-format.rst).
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    number: u32,
}

impl Archive {
    fn add(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.number += 1;
        let length = |of: usize| u32::try_from(of).unwrap_or(u32::MAX);
        let fields = [self.number, mode, 0, 0, 1, 0, length(content.len()), 0, 0, 0, 0, length(name.len() + 1), 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend_from_slice(content);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn end(mut self) -> Vec<u8> {
        self.add("TRAILER!!!", 0, &[]);
        self.bytes
    }
}
