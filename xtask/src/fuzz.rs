//! `cargo xtask fuzz`: feeds parsers and judges what libFuzzer thinks of, and says what it found.
//!
//! What holds for all of them is in `tests/fuzz`. None of it has `unsafe` code of its own, so it is built without a sanitizer; then any
//! toolchain will do.

use std::{
    collections::VecDeque,
    fs::{self, File},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Mutex,
    thread,
};

use anyhow::{Context, Result, bail};

use crate::{
    setup::{packages::CARGO_FUZZ, toolchain},
    tool::{self, Tool},
};

/// The package of the targets.
const PACKAGE: &str = "tests/fuzz/libfuzzer";
/// What is in the tree of each target's inputs.
const CORPUS: &str = "tests/fuzz/corpus";
/// Longest input that is made.
const MAX_BYTES: &str = "-max_len=4096";

/// How long, and what.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The targets; all of them when none is named
    targets: Vec<String>,
    /// How long each of them runs
    #[arg(long, value_name = "N", default_value_t = 10)]
    minutes: u32,
    /// Add the inputs that lead to new code to the corpus in the tree
    #[arg(long)]
    keep: bool,
}

/// What became of a target.
struct Outcome {
    target: String,
    /// libFuzzer's last words about how much it did.
    done: String,
    /// What it says went wrong.
    found: Option<String>,
}

/// Runs the targets, as many at a time as there are processors, and ends with a table.
pub(crate) fn task(options: &Options) -> Result<ExitCode> {
    let targets = chosen(&options.targets)?;
    build()?;
    let waiting = Mutex::new(VecDeque::from(targets));
    let outcomes = Mutex::new(Vec::new());
    let next = || waiting.lock().expect("nobody panics").pop_front();
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(target) = next() {
                    let outcome = run(&target, options);
                    outcomes.lock().expect("nobody panics").push((target, outcome));
                }
            });
        }
    });
    let mut failed = false;
    println!();
    for (target, outcome) in outcomes.into_inner().expect("nobody panics") {
        let outcome = outcome.with_context(|| format!("{target} could not be run"))?;
        failed |= outcome.found.is_some();
        println!("{}", outcome.line());
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

impl Outcome {
    fn line(&self) -> String {
        let Outcome { target, done, found } = self;
        match found {
            None => format!("✔ {target:<12} {done}: nothing found"),
            Some(found) => format!("✘ {target:<12} {done}: {found}"),
        }
    }
}

/// Builds all targets.
fn build() -> Result<()> {
    let fuzz = toolchain::tools().join("bin/cargo-fuzz");
    if !fuzz.is_file() {
        toolchain::install("cargo-fuzz", CARGO_FUZZ).run()?;
    }
    Tool::new(&fuzz)
        .args(["fuzz", "build", "--release", "--sanitizer", "none", "--fuzz-dir", PACKAGE, "--target-dir"])
        .arg(folder())
        .hint("libFuzzer is C++: is there a C++ compiler?")
        .run()
}

/// Runs one, and reads what it says.
fn run(target: &str, options: &Options) -> Result<Outcome> {
    let (seeds, found) = (Path::new(CORPUS).join(target), folder().join("corpus").join(target));
    let (crashes, log) = (folder().join("crashes").join(target), folder().join(format!("{target}.log")));
    for folder in [&found, &crashes] {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    let program = program(target)?;
    let file = File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
    let succeeded = Tool::new(&program)
        .arg(&found)
        .arg(&seeds)
        .args([MAX_BYTES, "-print_final_stats=1", "-timeout=10", "-rss_limit_mb=2048"])
        .arg(format!("-max_total_time={}", u64::from(options.minutes) * 60))
        .arg(format!("-artifact_prefix={}/", crashes.display()))
        .errors_to(file)
        .status()?
        .success();
    let said = fs::read_to_string(&log).unwrap_or_default();
    if succeeded && options.keep {
        Tool::new(&program).args([MAX_BYTES, "-use_counters=0", "-set_cover_merge=1"]).arg(&seeds).arg(&found).run()?;
    }
    Ok(Outcome { target: target.to_owned(), done: done(&said), found: (!succeeded).then(|| trouble(&said, &log)) })
}

/// How much was done, of libFuzzer's words.
fn done(said: &str) -> String {
    let after = |what: &str| said.lines().rev().find_map(|line| line.split_once(what)).map(|(_, rest)| rest.trim());
    let runs = after("stat::number_of_executed_units:").unwrap_or("?");
    let covered = after(" cov: ").and_then(|rest| rest.split(' ').next()).unwrap_or("?");
    format!("{runs} runs, {covered} edges")
}

/// What went wrong, and where the input is that shows it.
fn trouble(said: &str, log: &Path) -> String {
    let find = |what: &str| said.lines().find(|line| line.contains(what)).map(str::trim);
    let what = find("panicked at").or_else(|| find("ERROR: libFuzzer")).unwrap_or("it failed");
    let input = find("Test unit written to").and_then(|line| line.rsplit(' ').next());
    format!("{what}\n  {}\n  {}", input.unwrap_or("no input"), log.display())
}

fn chosen(names: &[String]) -> Result<Vec<String>> {
    let folder = tool::root().join(CORPUS);
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut all: Vec<String> =
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect::<Result<_>>()?;
    all.sort();
    if let Some(unknown) = names.iter().find(|name| !all.contains(name)) {
        bail!("there is no target {unknown:?}\n  hint: there are {}", all.join(", "));
    }
    Ok(if names.is_empty() { all } else { names.to_vec() })
}

/// Where all of it is kept.
fn folder() -> PathBuf {
    tool::target().join("fuzz")
}

/// A target as it was built.
fn program(target: &str) -> Result<PathBuf> {
    let triples = fs::read_dir(folder()).context("nothing is built")?.flatten();
    let found = triples.map(|triple| triple.path().join("release").join(target)).find(|file| file.is_file());
    found.with_context(|| format!("{target} is not built\n  hint: is it a [[bin]] of {PACKAGE}/Cargo.toml?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libfuzzers_words_are_understood() {
        let said = "#8\tREDUCE cov: 12 ft: 34 corp: 2/9b\n#99\tDONE   cov: 1234 ft: 5678 corp: 90/12Kb\n\
                    stat::number_of_executed_units: 4321\n";
        assert_eq!(done(said), "4321 runs, 1234 edges");
        let crashed = "thread '<unnamed>' panicked at src/names.rs:1:2:\nno\n==1== ERROR: libFuzzer: deadly signal\n\
                       artifact_prefix='c/'; Test unit written to c/crash-00\n";
        let found = trouble(crashed, Path::new("names.log"));
        assert_eq!(found, "thread '<unnamed>' panicked at src/names.rs:1:2:\n  c/crash-00\n  names.log");
    }

    #[test]
    fn targets_are_found_by_name() {
        assert!(chosen(&[]).unwrap().contains(&"names".to_owned()));
        assert_eq!(chosen(&["names".into()]).unwrap(), ["names"]);
        assert!(chosen(&["nothing".into()]).is_err());
    }
}
