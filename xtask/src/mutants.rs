//! `cargo xtask mutants`: breaks the code on purpose, in a copy, and shows that the tests turn red each time.
//!
//! A mutant is a patch in `tests/mutants` that begins with two lines: `Breaks:` says what it breaks, `Seen by:` which tests
//! must see it, as the arguments of `cargo test --package`, behind environment variables if they need any. Name as few as see
//! it. All are run without the mutant first. The copy is of the last commit.
//!
//! Only what the tests embed or start is built. The mutants of userspace come first, while the kernel program is whole: it is not
//! built for them.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::{
    build::Part,
    steps::Steps,
    tool::{self, Tool},
};

struct Mutant {
    name: String,
    breaks: String,
    seen_by: Vec<String>,
    in_kernel: bool,
    patch: PathBuf,
}

/// Tries the named mutants, or all of them, and ends with a table.
pub(crate) fn task(names: &[String]) -> Result<ExitCode> {
    let mutants = chosen(names)?;
    let copy = copy()?;
    let mut steps = Steps::default();
    let controls: BTreeSet<&Vec<String>> = mutants.iter().map(|mutant| &mutant.seen_by).collect();
    let parts: BTreeSet<Part> = controls.iter().flat_map(|tests| parts(tests)).copied().collect();
    steps.run("build it unbroken", || {
        // Its own xtask: what that builds, and where to, is fixed when it is compiled.
        cargo(&copy, "build").args(["--package", "xtask"]).run()?;
        build(&copy, parts)
    });
    for tests in controls {
        let name = format!("unbroken: {}", tests.join(" "));
        steps.run(&name, || if is_green(&copy, tests)? { Ok(()) } else { bail!("the tests are red without a mutant") });
    }
    for mutant in &mutants {
        steps.run(&format!("{}: {}", mutant.name, mutant.breaks), || mutant.is_seen(&copy));
    }
    println!("\n{}", steps.table());
    Ok(if steps.succeeded() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Mutant {
    fn read(patch: PathBuf) -> Result<Mutant> {
        let text = fs::read_to_string(&patch).with_context(|| format!("cannot read {}", patch.display()))?;
        let line = |label: &str| {
            let found = text.lines().find_map(|line| line.strip_prefix(label));
            found
                .map(|rest| rest.trim().to_owned())
                .with_context(|| format!("{} has no line `{label}`", patch.display()))
        };
        Ok(Mutant {
            name: patch.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            breaks: line("Breaks:")?,
            seen_by: line("Seen by:")?.split_whitespace().map(str::to_owned).collect(),
            in_kernel: ["filter-core", "filter-ebpf"].iter().any(|part| text.contains(&format!("\n+++ b/{part}/"))),
            patch,
        })
    }

    fn is_seen(&self, copy: &Path) -> Result<()> {
        reset(copy)?;
        Tool::new("git").arg("-C").arg(copy).arg("apply").arg(&self.patch).run()?;
        let kernel = [Part::KernelProgram, Part::RecordingProgram];
        let parts = parts(&self.seen_by).iter().copied().filter(|part| self.in_kernel || !kernel.contains(part));
        let green = build(copy, parts).and_then(|()| is_green(copy, &self.seen_by));
        reset(copy)?;
        if green? { bail!("no test has seen it") } else { Ok(()) }
    }
}

fn chosen(names: &[String]) -> Result<Vec<Mutant>> {
    let folder = tool::root().join("tests/mutants");
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "patch"));
    paths.sort();
    let all: Vec<Mutant> = paths.into_iter().map(Mutant::read).collect::<Result<_>>()?;
    if let Some(unknown) = names.iter().find(|name| !all.iter().any(|mutant| mutant.name == **name)) {
        bail!("there is no mutant {unknown:?} in {}", folder.display());
    }
    let mut chosen: Vec<Mutant> =
        all.into_iter().filter(|mutant| names.is_empty() || names.contains(&mutant.name)).collect();
    chosen.sort_by_key(|mutant| mutant.in_kernel);
    Ok(chosen)
}

/// What the tests embed or start.
fn parts(tests: &[String]) -> &'static [Part] {
    use Part::{Command, FailPoints, KernelProgram, RecordingProgram};
    match variables(tests).1.first().map_or("", String::as_str) {
        "filter-policy" | "filter-sidecar" => &[],
        "test-packets" => &[KernelProgram],
        "test-scenarios" => &[KernelProgram, Command],
        // Swaps by the library: no daemon.
        _ if tests.iter().any(|word| word == "in_the_kernel") => &[KernelProgram, RecordingProgram],
        _ => &[KernelProgram, RecordingProgram, Command, FailPoints],
    }
}

/// A copy of the last commit, with a target folder of its own and the same tools.
fn copy() -> Result<PathBuf> {
    let copy = tool::target().join("mutants");
    if !copy.join(".git").exists() {
        Tool::new("git").args(["clone", "--quiet"]).arg(tool::root()).arg(&copy).run()?;
    }
    Tool::new("git").arg("-C").arg(&copy).args(["fetch", "--quiet"]).arg(tool::root()).arg("HEAD").run()?;
    Tool::new("git").arg("-C").arg(&copy).args(["checkout", "--quiet", "--force", "--detach", "FETCH_HEAD"]).run()?;
    let tools = copy.join("target/tools");
    if tool::target().join("tools").exists() && !tools.exists() {
        fs::create_dir_all(copy.join("target"))?;
        std::os::unix::fs::symlink(tool::target().join("tools"), &tools)?;
    }
    Ok(copy)
}

fn reset(copy: &Path) -> Result<()> {
    Tool::new("git").arg("-C").arg(copy).args(["checkout", "--quiet", "--force", "."]).run()
}

/// Builds parts of the copy, with its own xtask.
fn build(copy: &Path, parts: impl IntoIterator<Item = Part>) -> Result<()> {
    let name = |part: Part| part.to_possible_value().map(|value| format!("--only={}", value.get_name()));
    let parts: Vec<String> = parts.into_iter().filter_map(name).collect();
    if parts.is_empty() {
        return Ok(());
    }
    Tool::new(copy.join("target/debug/xtask")).arg("build").args(parts).run()
}

/// Builds and runs tests of the copy. A mutant that does not build is an error, not a red test.
fn is_green(copy: &Path, tests: &[String]) -> Result<bool> {
    let (variables, tests) = variables(tests);
    let (named, program) = tests.split_at(tests.iter().position(|argument| argument == "--").unwrap_or(tests.len()));
    let test = |more: &[&str]| cargo(copy, "test").arg("--package").args(named).args(more);
    test(&["--no-run"]).run()?;
    let run = variables
        .iter()
        .filter_map(|word| word.split_once('='))
        .fold(test(&[]), |run, (name, value)| run.env(name, value));
    Ok(run.args(program).status()?.success())
}

/// Environment variables stand first, as in a shell.
fn variables(tests: &[String]) -> (&[String], &[String]) {
    tests.split_at(tests.iter().take_while(|word| word.contains('=')).count())
}

/// All in the copy's own target folder: the tests start the programs that lie beside them there.
fn cargo(copy: &Path, subcommand: &str) -> Tool {
    let tool = Tool::cargo(subcommand).env("CARGO_TARGET_DIR", copy.join("target").display().to_string());
    tool.arg("--manifest-path").arg(copy.join("Cargo.toml"))
}
