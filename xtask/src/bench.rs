//! `cargo xtask bench`: builds what is measured, optimised, and becomes the benchmark, which needs root for its namespaces.

use std::{path::Path, process::ExitCode};

use anyhow::Result;

use crate::{build, setup, tool, tool::Tool};

/// What is measured, and how.
#[derive(clap::Subcommand)]
pub(crate) enum Benchmark {
    /// What a packet and an update cost, beside their floors and rivals; writes docs/benchmarks.md
    Kernel(Kernel),
    /// What a connection costs that is judged by its name, beside nginx, haproxy and sniproxy; writes docs/benchmarks.md
    Names(Names),
    /// What calls of the API cost, beside a bare durable write and a bare grace period; writes docs/benchmarks.md
    Api(Api),
    /// What the sockets of a cgroup cost, beside a bare one and one lookup, and a command in a sandbox; writes docs/benchmarks.md
    Cgroups(Cgroups),
}

/// Options of the benchmark of cgroups.
#[derive(clap::Args)]
pub(crate) struct Cgroups {
    /// Measure for less than a minute; writes nothing
    #[arg(long)]
    short: bool,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    /// Write nothing to docs
    #[arg(long)]
    dry: bool,
}

/// Options of the benchmark of the API.
#[derive(clap::Args)]
pub(crate) struct Api {
    /// Measure for less than a minute; writes nothing
    #[arg(long)]
    short: bool,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    /// Write nothing to docs
    #[arg(long)]
    dry: bool,
}

/// Options of the benchmark of names.
#[derive(clap::Args)]
pub(crate) struct Names {
    /// Measure for about a minute; writes nothing
    #[arg(long)]
    short: bool,
    /// How long connections are measured, building included
    #[arg(long, value_name = "N")]
    seconds: Option<u32>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    /// Write nothing to docs
    #[arg(long)]
    dry: bool,
}

/// Options of the kernel's benchmark.
#[derive(clap::Args)]
pub(crate) struct Kernel {
    /// Measure for less than a minute, and fail only when the recorded ratios are not met three times in a row; writes nothing
    #[arg(long)]
    short: bool,
    /// How long packets are measured, building included
    #[arg(long, value_name = "N")]
    seconds: Option<u32>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    /// The kernel program to measure
    #[arg(long, value_name = "PROGRAM", default_value = "filter", value_parser = ["filter", "slow"])]
    program: String,
    /// Measure only what packets, or only what updates cost; writes nothing
    #[arg(long, value_parser = ["packets", "updates"])]
    only: Option<String>,
    /// Write nothing to docs
    #[arg(long)]
    dry: bool,
}

/// Where what was measured is written down.
const DOCS: &str = "docs";

/// Measures for less than a minute what the page of benchmarks says of a packet.
pub(crate) fn short() -> Result<()> {
    built(&["--no-default-features"])?.arg("--short").run()
}

/// Becomes the benchmark, so that an interrupt reaches it.
pub(crate) fn task(benchmark: &Benchmark) -> Result<ExitCode> {
    match benchmark {
        Benchmark::Kernel(options) => kernel(options),
        Benchmark::Names(options) => names(options),
        Benchmark::Api(options) => api(options),
        Benchmark::Cgroups(options) => cgroups(options),
    }
}

fn api(options: &Api) -> Result<ExitCode> {
    let mut bench = shipped()?.arg("api");
    bench = flagged(bench, &[(options.short, "--short"), (options.json, "--json")]);
    if !options.short && !options.dry {
        bench = bench.arg("--write").arg(DOCS);
    }
    bench.become_it()
}

fn cgroups(options: &Cgroups) -> Result<ExitCode> {
    build::benchmarked_programs()?;
    let mut bench = shipped()?.arg("cgroups").arg("--objects").arg(build::folder());
    bench = flagged(bench, &[(options.short, "--short"), (options.json, "--json")]);
    if !options.short && !options.dry {
        bench = bench.arg("--write").arg(DOCS);
    }
    bench.become_it()
}

fn names(options: &Names) -> Result<ExitCode> {
    setup::ensure_rivals()?;
    let mut bench = shipped()?.arg("names");
    bench = flagged(bench, &[(options.short, "--short"), (options.json, "--json")]);
    if let Some(seconds) = options.seconds {
        bench = bench.args(["--seconds", &seconds.to_string()]);
    }
    if !options.short && !options.dry {
        bench = bench.arg("--write").arg(DOCS);
    }
    bench.become_it()
}

/// With the flags that were given.
fn flagged(bench: Tool, flags: &[(bool, &str)]) -> Tool {
    flags.iter().filter(|(given, _)| *given).fold(bench, |bench, (_, flag)| bench.arg(flag))
}

/// The benchmark of processes, once it and what operators run are built.
fn shipped() -> Result<Tool> {
    build::kernel_program(&build::Options::default())?;
    let packages = ["filter-bench", "filter-sidecar"].map(|name| ["--package", name]);
    Tool::cargo("build")
        .args(["--profile", tool::SHIPPED])
        .args(packages.as_flattened())
        .args(["--bin", "bench", "--bin", "filter-sidecar"])
        .run()?;
    Tool::as_root(tool::target().join(tool::SHIPPED).join("bench"), &["-E"])
}

fn kernel(options: &Kernel) -> Result<ExitCode> {
    let docs = Path::new(DOCS);
    let mut bench = built(&[])?.args(["--program", &options.program]);
    bench = flagged(bench, &[(options.short, "--short"), (options.json, "--json")]);
    if let Some(seconds) = options.seconds {
        bench = bench.args(["--seconds", &seconds.to_string()]);
    }
    if let Some(only) = &options.only {
        bench = bench.args(["--only", only]);
    }
    if !options.short && !options.dry && options.only.is_none() && options.program == "filter" {
        bench = bench.arg("--write").arg(docs);
    }
    bench.become_it()
}

/// The kernel's benchmark, once it and what it measures are built.
fn built(features: &[&str]) -> Result<Tool> {
    build::benchmarked_programs()?;
    Tool::cargo("build").args(["--release", "--package", "filter-bench", "--bin", "bench"]).args(features).run()?;
    let bench = Tool::as_root(tool::target().join("release/bench"), &["-E"])?;
    let recorded = Path::new(DOCS).join("benchmarks.json");
    Ok(bench.arg("kernel").arg("--objects").arg(build::folder()).arg("--recorded").arg(recorded))
}
