//! The compiler of the kernel program: rustup's nightly if it is complete, else Debian's.
//!
//! The BPF target has no prebuilt `core`, so it is built from source with an unstable option of cargo. That takes a
//! nightly with `rust-src`, or a stable compiler that has its library source beside it and is told to be unstable.

use std::{
    env::{self, consts::ARCH},
    fmt, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::packages::{self, BPF_LINKER};
use crate::tool::{self, Tool};

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";

/// What compiles and links the kernel program.
pub(crate) enum KernelCompiler {
    /// rustup's nightly, and the bpf-linker that is on PATH.
    Rustup,
    /// Debian's compiler, and a bpf-linker made for its LLVM in the target folder.
    Debian {
        /// The compiler's version, for people.
        version: String,
        /// The major version of its LLVM.
        llvm: u32,
    },
}

impl KernelCompiler {
    /// The cargo that builds for the BPF target, in an environment free of what the outer cargo and the user's own
    /// settings for the host say about compilers, flags and folders.
    pub(crate) fn cargo(&self, subcommand: &str) -> Tool {
        let mut cargo = match self {
            Self::Rustup => Tool::new("rustup").args(["run", "nightly", "cargo"]),
            Self::Debian { .. } => Tool::new(DEBIAN_CARGO),
        };
        for (name, _) in env::vars_os().filter(|(name, _)| steers_the_host_build(&name.to_string_lossy())) {
            cargo = cargo.env_remove(name);
        }
        let cargo = cargo.arg(subcommand).env("RUSTFLAGS", rustflags());
        match self {
            Self::Rustup => cargo,
            Self::Debian { .. } => {
                cargo.env("RUSTC", DEBIAN_RUSTC).env("RUSTC_BOOTSTRAP", "1").path(&tools().join("bin"))
            }
        }
    }
}

impl fmt::Display for KernelCompiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rustup => f.write_str("rustup's nightly and the bpf-linker on PATH"),
            Self::Debian { version, llvm } => {
                write!(f, "Debian's rustc {version} and bpf-linker {BPF_LINKER} for LLVM {llvm}")
            }
        }
    }
}

/// rustup's nightly, when it has the library source and bpf-linker is on PATH.
pub(super) fn rustup_nightly() -> Option<KernelCompiler> {
    tool::find("bpf-linker")?;
    has_rust_src(&nightly_sysroot()?).then_some(KernelCompiler::Rustup)
}

/// What a complete rustup toolchain lacks here, each with the one command that installs it.
pub(super) fn missing_from_rustup() -> Vec<(&'static str, String)> {
    let mut missing = Vec::new();
    if tool::find("rustup").is_none() {
        missing.push(("rustup", "see https://rustup.rs".into()));
    }
    if !nightly_sysroot().is_some_and(|sysroot| has_rust_src(&sysroot)) {
        let command = "rustup toolchain install nightly --profile minimal --component rust-src";
        missing.push(("Rust nightly with rust-src", command.into()));
    }
    if tool::find("bpf-linker").is_none() {
        missing.push(("bpf-linker", format!("cargo install bpf-linker --version ={BPF_LINKER} --locked")));
    }
    missing
}

/// Debian's compiler: its version and the major version of its LLVM, from its own words.
pub(super) fn debian_rustc() -> Result<(String, u32)> {
    let words = Tool::new(DEBIAN_RUSTC).arg("-vV").env_remove("LD_LIBRARY_PATH").output()?;
    let field = |name: &str| words.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let version = field("release:").with_context(|| format!("{DEBIAN_RUSTC} -vV names no release"))?;
    let llvm = field("LLVM version:").and_then(|version| version.split('.').next()?.parse().ok());
    Ok((version.into(), llvm.with_context(|| format!("{DEBIAN_RUSTC} -vV names no LLVM version"))?))
}

/// Builds bpf-linker for an LLVM, unless that very one is there.
pub(super) fn ensure_bpf_linker(llvm: u32) -> Result<()> {
    let wanted = format!("{BPF_LINKER} llvm-{llvm}");
    let stamp = tools().join("bpf-linker.version");
    if tools().join("bin/bpf-linker").is_file() && fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    eprintln!("setup: building bpf-linker {BPF_LINKER} for LLVM {llvm} (once, about a minute)");
    install("bpf-linker", BPF_LINKER)
        .args(["--no-default-features", "--features", &format!("llvm-{llvm}")])
        .env("LLVM_PREFIX", format!("/usr/lib/llvm-{llvm}"))
        .hint(format!("it is linked with {}", packages::llvm(llvm)))
        .run()?;
    fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))
}

/// A `cargo install` into the target folder.
pub(crate) fn install(name: &str, version: &str) -> Tool {
    Tool::cargo("install")
        .args([name, "--version", &format!("={version}"), "--locked", "--force", "--root"])
        .arg(tools())
        .path(&tools().join("bin"))
        .env_remove("CARGO_TARGET_DIR")
}

/// Where programs are installed that only this repository uses.
pub(crate) fn tools() -> PathBuf {
    tool::target().join("tools")
}

fn nightly_sysroot() -> Option<PathBuf> {
    let rustc = Tool::new("rustup").args(["run", "nightly", "rustc", "--print", "sysroot"]);
    Some(rustc.env("RUSTUP_AUTO_INSTALL", "0").ask()?.trim_end().into())
}

fn has_rust_src(sysroot: &Path) -> bool {
    sysroot.join("lib/rustlib/src/rust/library/core").is_dir()
}

/// BTF for the verifier's messages and for typed maps; the host's architecture for the kernel's register layout.
fn rustflags() -> String {
    format!("-C debuginfo=2 -C link-arg=--btf --cfg=bpf_target_arch=\"{ARCH}\"")
}

/// Of cargo's own variables only those pass that say where it keeps and fetches things, and how it looks.
fn steers_the_host_build(name: &str) -> bool {
    let kept = ["CARGO_HOME", "CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTR", "CARGO_SOURCE_", "CARGO_TERM_"];
    let steering =
        ["CARGO", "RUSTC", "RUSTDOC", "RUSTFLAGS", "RUSTUP_TOOLCHAIN", "RUST_RECURSION_COUNT", "LD_LIBRARY_PATH"];
    steering.iter().any(|prefix| name.starts_with(prefix)) && !kept.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inner_cargo_sees_no_flags_of_the_outer_one() {
        for name in ["CARGO", "CARGO_TARGET_DIR", "CARGO_PKG_NAME", "RUSTFLAGS", "RUSTC_WRAPPER", "RUSTUP_TOOLCHAIN"] {
            assert!(steers_the_host_build(name), "{name}");
        }
        for name in ["CARGO_HOME", "CARGO_NET_OFFLINE", "CARGO_REGISTRIES_MINE_INDEX", "RUSTUP_HOME", "PATH", "HOME"] {
            assert!(!steers_the_host_build(name), "{name}");
        }
    }
}
