//! `cargo xtask demo`: builds everything and runs the demonstration, which needs root for its namespaces.

use std::process::ExitCode;

use anyhow::Result;

use crate::{build, tool, tool::Tool};

/// Runs the demonstration and passes its exit code on.
pub(crate) fn task() -> Result<ExitCode> {
    build::everything(&build::Options::default())?;
    let programs = tool::target().join("debug");
    let mut demo = Tool::as_root(programs.join("filter-demo"), &["-E"])?
        .arg("--filter-ctl")
        .arg(programs.join("filter-ctl"))
        .args(["--examples", "examples"]);
    let code = demo.status()?.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
