//! `cargo xtask setup`: finds what is missing, says so, and installs it where it knows how.

pub(crate) mod clients;
mod debian;
mod elsewhere;
pub(crate) mod packages;
pub(crate) mod toolchain;

use std::process::ExitCode;

use anyhow::Result;

use toolchain::KernelCompiler;

/// Sets the machine up and says what is there.
pub(crate) fn task() -> Result<ExitCode> {
    let compiler = ensure()?;
    clients::ensure()?;
    println!("setup: nothing is missing; the kernel program is compiled by {compiler}");
    Ok(ExitCode::SUCCESS)
}

/// Makes sure that everything is there which building, the demo and the tests need. Quick when it is.
pub(crate) fn ensure() -> Result<KernelCompiler> {
    let rustup = toolchain::rustup_nightly();
    if debian::is_here() { debian::ensure(rustup) } else { elsewhere::check(rustup) }
}

/// Makes sure that virtual machines can be run, and kernels unpacked.
pub(crate) fn ensure_virtual_machines() -> Result<()> {
    let tools = packages::VIRTUAL_MACHINES;
    if debian::is_here() { debian::ensure_tools(tools) } else { elsewhere::check_tools(tools) }
}

/// Makes sure that those are there whom the benchmark of names holds the filter against.
pub(crate) fn ensure_rivals() -> Result<()> {
    if debian::is_here() { debian::ensure_tools(packages::RIVALS) } else { elsewhere::check_tools(packages::RIVALS) }
}
