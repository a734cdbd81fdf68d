//! Elsewhere than on Debian nothing is installed: what is missing is listed, with the one command for each.

use anyhow::{Result, bail, ensure};

use super::{
    packages::{TOOLS, Tool},
    toolchain::{self, KernelCompiler},
};
use crate::tool;

/// Checks that everything is there.
pub(super) fn check(rustup: Option<KernelCompiler>) -> Result<KernelCompiler> {
    let mut missing = Vec::new();
    if rustup.is_none() {
        missing.extend(toolchain::missing_from_rustup());
    }
    missing.extend(absent(TOOLS));
    match rustup {
        Some(compiler) if missing.is_empty() => Ok(compiler),
        _ => bail!("this is not Debian, so nothing was installed. Missing:\n{}", table(&missing)),
    }
}

/// Checks that programs are there.
pub(super) fn check_tools(tools: &[Tool]) -> Result<()> {
    let missing: Vec<(&str, String)> = absent(tools).collect();
    ensure!(missing.is_empty(), "this is not Debian, so nothing was installed. Missing:\n{}", table(&missing));
    Ok(())
}

/// Those that are not there, and how to install them.
fn absent(tools: &[Tool]) -> impl Iterator<Item = (&'static str, String)> {
    tools.iter().filter(|tool| tool::find(tool.program).is_none()).map(|tool| (tool.program, command(tool)))
}

fn command(tool: &Tool) -> String {
    let debian = tool.debian.join(" ");
    let managers = [
        ("apt-get", format!("sudo apt-get install {debian}")),
        ("dnf", format!("sudo dnf install {}", tool.fedora)),
        ("pacman", format!("sudo pacman -S {}", tool.arch)),
    ];
    let here = managers.into_iter().find(|(manager, _)| tool::find(manager).is_some());
    here.map_or_else(|| format!("the package that Debian calls {debian}"), |(_, command)| command)
}

fn table(missing: &[(&str, String)]) -> String {
    let width = missing.iter().map(|(what, _)| what.len()).max().unwrap_or(0);
    let rows: Vec<String> = missing.iter().map(|(what, command)| format!("  {what:width$}  {command}")).collect();
    rows.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_each_missing_thing_and_its_command() {
        let table = table(&[("ip", "sudo dnf install iproute".into()), ("dig", "sudo dnf install bind-utils".into())]);
        assert_eq!(table, "  ip   sudo dnf install iproute\n  dig  sudo dnf install bind-utils");
    }
}
