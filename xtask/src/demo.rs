//! `cargo xtask demo`: builds everything and runs the demonstration, which needs root for its namespaces.

use std::process::ExitCode;

use anyhow::Result;

use crate::{build, tool, tool::Tool};

/// Becomes the demonstration, so that an interrupt waits for its cleaning up.
pub(crate) fn task() -> Result<ExitCode> {
    build::everything(&build::Options::default())?;
    let programs = tool::target().join("debug");
    Tool::as_root(programs.join("filter-demo"), &["-E"])?
        .arg("--filter-ctl")
        .arg(programs.join("filter-ctl"))
        .args(["--examples", "examples"])
        .become_it()
}
