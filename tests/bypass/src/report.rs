//! What became of a case.

use crate::case::Class;
use crate::subject::Mode;
use serde::{Deserialize, Serialize};

/// Begins a line with a [`Row`] or a [`Budget`] in JSON, for the table of `cargo xtask bypass`.
pub const ROW: &str = "row ";

/// What a kernel takes to accept a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// What `uname -r` says.
    pub kernel: String,
    /// The program.
    pub program: String,
    /// How many instructions the verifier has gone through, of 1,000,000.
    pub instructions: u32,
    /// How long loading took, in microseconds.
    pub load_us: u64,
}

/// One case in one mode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// What `uname -r` says.
    pub kernel: String,
    /// How the sandbox is attached.
    pub mode: Mode,
    /// The kind of attack.
    pub class: Class,
    /// The case.
    pub case: String,
    /// What is tried.
    pub what: String,
    /// What the filter makes of it.
    pub ours: Outcome,
    /// What the limit is called, where the case is out of reach.
    pub limit: Option<String>,
    /// What the rule set of nftables makes of it, where it was asked.
    pub nftables: Option<Outcome>,
}

/// What the witness has seen of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Nothing.
    Stopped,
    /// Something.
    Passed,
}
