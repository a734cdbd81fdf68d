//! What the host and the first process of a virtual machine tell each other.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Where the plan is in the initial file system.
pub const PLAN: &str = "/plan.json";
/// Where modules are in it, in the order in which they are loaded.
pub const MODULES: &str = "/modules";
/// By this name the host shares its file system.
pub const TAG: &str = "host";
/// Begins a line about a command that has ended, with a [`Verdict`] in JSON behind it.
pub const VERDICT: &str = "guest-verdict ";
/// The first line.
pub const BEGUN: &str = "guest-begun";
/// The last line.
pub const DONE: &str = "guest-done";

/// What is to be run, one after the other.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Plan {
    /// The checkout that the commands are of.
    pub root: PathBuf,
    /// The commands.
    pub commands: Vec<Command>,
}

/// A program of the host's, and how it is run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Command {
    /// What it is called in the verdict.
    pub name: String,
    /// The program and its arguments.
    pub words: Vec<String>,
    /// Where.
    pub directory: PathBuf,
    /// Its environment besides `PATH` and `HOME`.
    pub environment: BTreeMap<String, String>,
}

/// What became of a command.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Verdict {
    /// The command's name.
    pub name: String,
    /// Its exit code; 128 and the signal if one ended it.
    pub code: i32,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}
