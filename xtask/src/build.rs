//! `cargo xtask build`: the kernel program first, because the workspace embeds it; then the workspace's programs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};

use crate::{
    setup::{self, toolchain::KernelCompiler},
    tool::{self, Tool},
};

const TARGET: &str = "bpfel-unknown-none";
const PROGRAM: &str = "filter-ebpf";
const MANIFEST: &str = "filter-ebpf/Cargo.toml";

/// What is built, and how.
#[derive(Default, clap::Args)]
pub(crate) struct Options {
    /// Optimise the programs of the workspace. The kernel program always is: the verifier wants it so
    #[arg(long)]
    pub(crate) release: bool,
    /// Let the kernel program log each packet, for debugging
    #[arg(long)]
    pub(crate) debug_log: bool,
    /// Build the command with its fail points as well, for the tests of tests/faults
    #[arg(long)]
    pub(crate) fail_points: bool,
    /// Build these parts and nothing else
    #[arg(long, value_enum, value_name = "PART")]
    pub(crate) only: Vec<Part>,
    /// Treat the kernel program's warnings as errors
    #[arg(skip)]
    pub(crate) deny_warnings: bool,
}

/// What can be built alone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Part {
    /// The kernel program as it is shipped
    KernelProgram,
    /// The kernel program that records every verdict
    RecordingProgram,
    /// The kernel programs that the benchmark holds the filter against
    Floors,
    /// The kernel program that is slower on purpose
    SlowProgram,
    /// filter-ctl
    Command,
    /// filter-ctl with its fail points
    FailPoints,
}

/// Builds everything, or what was asked for, and says where it is.
pub(crate) fn task(options: &Options) -> Result<ExitCode> {
    if options.only.is_empty() {
        everything(options)?;
    } else {
        options.only.iter().try_for_each(|part| build(*part, options))?;
    }
    let programs = tool::target().join(if options.release { tool::SHIPPED } else { "debug" });
    println!("build: kernel program in {}, programs in {}", folder().display(), programs.display());
    Ok(ExitCode::SUCCESS)
}

/// Sets up, then builds the kernel program and the programs of the workspace.
pub(crate) fn everything(options: &Options) -> Result<()> {
    kernel_program(options)?;
    programs(options)?;
    if options.fail_points { with_fail_points() } else { Ok(()) }
}

/// An object of kernel programs.
struct Object {
    /// The file in which it is handed over.
    file: &'static str,
    /// The program of the crate that it is.
    program: &'static str,
    /// The crate's features.
    features: &'static [&'static str],
}

/// The kernel program as it is shipped.
const SHIPPED: Object = Object { file: "filter.o", program: PROGRAM, features: &[] };
/// The one for tests that records every verdict.
const RECORDING: Object = Object { file: "filter-record.o", program: PROGRAM, features: &["record"] };
/// The one that is slower on purpose, for the benchmark.
const SLOW: Object = Object { file: "filter-slow.o", program: PROGRAM, features: &["slow"] };
/// What the benchmark holds the kernel program against.
const FLOORS: Object = Object { file: "floors.o", program: "floors", features: &["floors"] };

/// Sets up, builds the kernel program and puts it where filter-dataplane's build script takes it from.
pub(crate) fn kernel_program(options: &Options) -> Result<()> {
    let compiler = setup::ensure()?;
    object(&compiler, options, &SHIPPED)?;
    object(&compiler, options, &RECORDING)
}

/// As [`kernel_program`], with what a benchmark loads besides.
pub(crate) fn benchmarked_programs() -> Result<()> {
    let (compiler, options) = (setup::ensure()?, Options::default());
    [&SHIPPED, &RECORDING, &FLOORS, &SLOW].into_iter().try_for_each(|one| object(&compiler, &options, one))
}

fn build(part: Part, options: &Options) -> Result<()> {
    match part {
        Part::KernelProgram => object(&setup::ensure()?, options, &SHIPPED),
        Part::RecordingProgram => object(&setup::ensure()?, options, &RECORDING),
        Part::Floors => object(&setup::ensure()?, options, &FLOORS),
        Part::SlowProgram => object(&setup::ensure()?, options, &SLOW),
        Part::Command => Tool::cargo("build").args(["--package", "filter-ctl", "--package", "filter-sidecar"]).run(),
        Part::FailPoints => with_fail_points(),
    }
}

fn object(compiler: &KernelCompiler, options: &Options, object: &Object) -> Result<()> {
    let target = tool::target().join("ebpf");
    let mut cargo = cargo(compiler, options, object).arg("--target-dir").arg(&target);
    if tool::root().join(MANIFEST).with_extension("lock").exists() {
        cargo = cargo.arg("--locked");
    }
    cargo.run()?;
    hand_over(&target.join(TARGET).join("release").join(object.program), &folder().join(object.file))
}

/// Builds the command with its fail points for the tests of `tests/faults`, into a folder of its own: no other program has them.
/// What it has in common with the ordinary build is compiled once.
fn with_fail_points() -> Result<()> {
    Tool::cargo("build")
        .args(["--package", "filter-ctl", "--package", "filter-sidecar", "--features", "filter-ctl/fail-points"])
        .arg("--target-dir")
        .arg(tool::target().join("faults"))
        .env("CARGO_BUILD_BUILD_DIR", tool::target())
        .run()
}

/// Where kernel programs are handed over.
pub(crate) fn folder() -> PathBuf {
    tool::target().join("bpf")
}

fn cargo(compiler: &KernelCompiler, options: &Options, object: &Object) -> Tool {
    let mut cargo = compiler.cargo("build").args(["--manifest-path", MANIFEST, "--release", "--bin", object.program]);
    cargo = cargo.args(["--target", TARGET, "-Z", "build-std=core"]);
    let log = options.debug_log.then_some("log");
    for feature in object.features.iter().copied().chain(log) {
        cargo = cargo.args(["--features", feature]);
    }
    if options.deny_warnings {
        cargo = cargo.args(["-Z", "warnings", "--config", "build.warnings=\"deny\""]);
    }
    cargo
}

/// An unchanged program keeps its file as it is: a newer one would build everything anew that embeds it.
fn hand_over(built: &Path, object: &Path) -> Result<()> {
    let new = fs::read(built).with_context(|| format!("the build left no {}", built.display()))?;
    if fs::read(object).is_ok_and(|old| old == new) {
        return Ok(());
    }
    let folder = object.parent().expect("it lies in a folder");
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let beside = object.with_extension("new");
    fs::write(&beside, new)
        .and_then(|()| fs::rename(&beside, object))
        .with_context(|| format!("cannot write {}", object.display()))
}

/// xtask is left out: it was built to get here.
fn programs(options: &Options) -> Result<()> {
    let mut cargo = Tool::cargo("build").args(["--workspace", "--exclude", "xtask", "--bins"]);
    if options.release {
        cargo = cargo.args(["--profile", tool::SHIPPED]);
    }
    cargo.run()
}
