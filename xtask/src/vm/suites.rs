//! What is run in a machine: test programs of this workspace, as cargo has built them here.

use crate::tool::{self, Tool};
use anyhow::{Context, Result, ensure};
use guest_init::{Command, Plan};
use serde_json::Value;
use std::path::PathBuf;

/// The suite of attacks.
pub(crate) const BYPASS: &str = "bypass";

/// Packages and test programs, in the order in which they are run; the folder is where cargo would run them.
const PROGRAMS: [(&str, &str, &str); 3] = [
    ("test-packets", "table", "tests/packets"),
    ("test-bypass", BYPASS, "tests/bypass"),
    ("test-scenarios", SCENARIOS, "tests/scenarios"),
];
/// The suite of scenarios.
const SCENARIOS: &str = "scenarios";
/// Those of them that are run on each kernel: about namespaces and cgroups, which kernels differ in. Each starts daemons of its own, so that all of them
/// take an hour in an emulator.
const CHOSEN: [&str; 5] =
    ["attach::", "cgroups::", "everywhere::a_device_inside", "run::a_command", "run::nothing_is_left"];

/// Those that everybody's change is held against, as [`Tests::Few`]: every program is loaded and judges, in a minute.
const FEW: &str = "cgroups::what_a_cgroup_may_not_reach";

/// Which tests of the suites are run.
pub(crate) enum Tests<'a> {
    /// The packet table, and one scenario of cgroups.
    Few,
    /// Those that are to be held on each kernel.
    Chosen,
    /// Those whose name contains this.
    Named(&'a str),
    /// All of them.
    Whole,
}

/// Test programs, ready to be run.
pub(crate) struct Suites {
    plan: Plan,
    may_be_empty: bool,
}

/// Builds them, or the one of a name.
pub(crate) fn build(only: Option<&str>, tests: &Tests<'_>) -> Result<Suites> {
    let mut plan = Plan { root: tool::root().to_owned(), ..Plan::default() };
    for (package, test, folder) in PROGRAMS.into_iter().filter(|(_, test, _)| only.is_none_or(|only| only == *test)) {
        let mut words = vec![program(package, test)?.display().to_string(), "--color=never".to_owned()];
        match tests {
            Tests::Few if test == BYPASS => continue,
            Tests::Few if test == SCENARIOS => words.push(FEW.to_owned()),
            Tests::Chosen if test == SCENARIOS => words.extend(CHOSEN.map(str::to_owned)),
            Tests::Named(part) => words.push((*part).to_owned()),
            Tests::Few | Tests::Chosen | Tests::Whole => {}
        }
        if test == SCENARIOS {
            // So that what they left out is told.
            words.push("--show-output".to_owned());
        }
        plan.commands.push(Command {
            name: test.to_owned(),
            words,
            directory: tool::root().join(folder),
            environment: [("CI", "true"), ("BYPASS_ROWS", "1")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        });
    }
    Ok(Suites { plan, may_be_empty: matches!(tests, Tests::Named(_)) })
}

impl Suites {
    /// Their names.
    pub(super) fn names(&self) -> Vec<String> {
        self.plan.commands.iter().map(|command| command.name.clone()).collect()
    }

    /// Whether there may be none with the name that was asked for.
    pub(super) fn may_be_empty(&self) -> bool {
        self.may_be_empty
    }

    /// As the machine is told.
    pub(super) fn plan(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(&self.plan).context("the plan")
    }
}

/// Where cargo has put a test program. Of the whole workspace, so that nothing is built anew with other features than for its tests.
pub(crate) fn program(package: &str, test: &str) -> Result<PathBuf> {
    let mut found = None;
    let status = Tool::cargo("test")
        .args(["--workspace", "--test", test, "--no-run", "--message-format", "json-render-diagnostics"])
        .lines(|line| {
            let message: Option<Value> = serde_json::from_str(line).ok();
            let is_of = |message: &Value| message["package_id"].as_str().is_some_and(|id| id.contains(package));
            let of_test = message.filter(|message| message["target"]["name"] == test && is_of(message));
            if let Some(path) = of_test.as_ref().and_then(|message| message["executable"].as_str()) {
                found = Some(PathBuf::from(path));
            }
        })?;
    ensure!(status.success(), "{test} of {package} cannot be built");
    found.with_context(|| format!("cargo does not say where {test} of {package} is"))
}
