//! `cargo xtask ci`: what `.ci/run` runs. Every step runs, whatever became of the one before.

use std::process::ExitCode;

use anyhow::Result;

use crate::{
    bench,
    build::{self, Options},
    setup::{packages::CARGO_DENY, toolchain},
    steps::Steps,
    test::{self, Tally},
    tool::Tool,
    vm,
};

/// The manifests that formatting and dependencies are checked of: the workspace's, the kernel program's own, and that of what is fuzzed.
const MANIFESTS: [&str; 3] = ["Cargo.toml", "filter-ebpf/Cargo.toml", "tests/fuzz/libfuzzer/Cargo.toml"];

/// Runs everything, and ends with a table and the sum of the tests.
pub(crate) fn task() -> Result<ExitCode> {
    let mut steps = Steps::default();
    steps.run("formatting", formatting);
    steps.run("kernel program", || build::kernel_program(&Options { deny_warnings: true, ..Options::default() }));
    steps.run("lints", lints);
    steps.run("dependencies", dependencies);
    steps.run("documentation", documentation);
    steps.run("speed", bench::short);
    let mut tally = Tally::default();
    steps.run("tests", || test::run(None, &mut tally));
    steps.run("other kernels", vm::few);
    println!("\n{}\n{tally}", steps.table());
    Ok(if steps.succeeded() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn formatting() -> Result<()> {
    for manifest in MANIFESTS {
        let hint = format!("cargo fmt --all --manifest-path {manifest}");
        Tool::cargo("fmt").args(["--all", "--check", "--manifest-path", manifest]).hint(hint).run()?;
    }
    Ok(())
}

fn lints() -> Result<()> {
    Tool::cargo("clippy").args(["--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]).run()
}

fn dependencies() -> Result<()> {
    let deny = toolchain::tools().join("bin/cargo-deny");
    if !deny.is_file() {
        toolchain::install("cargo-deny", CARGO_DENY).run()?;
    }
    for manifest in MANIFESTS {
        Tool::new(&deny)
            .args(["--manifest-path", manifest, "--config", "deny.toml", "--all-features", "--locked"])
            .args(["check", "licenses", "bans", "sources"])
            .run()?;
    }
    Ok(())
}

fn documentation() -> Result<()> {
    Tool::cargo("doc")
        .args(["--workspace", "--no-deps", "--document-private-items", "--locked"])
        .env("RUSTDOCFLAGS", "-D warnings")
        .run()
}
