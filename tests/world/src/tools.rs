//! What the machine must offer: root, and a handful of programs.

use std::{
    env,
    ffi::{OsStr, OsString},
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Result, bail, ensure};
use nix::unistd::geteuid;

/// Every program that a world runs, with the Debian package that has it.
const TOOLS: [(&str, &str); 8] = [
    ("ip", "iproute2"),
    ("nsenter", "util-linux"),
    ("nginx", "nginx-light"),
    ("openssl", "openssl"),
    ("dnsmasq", "dnsmasq-base"),
    ("curl", "curl"),
    ("dig", "bind9-dnsutils"),
    ("ping", "iputils-ping"),
];

/// Where system programs live that an ordinary user's `PATH` may lack.
const SYSTEM_DIRS: [&str; 2] = ["/usr/sbin", "/sbin"];

/// Fails unless the process is root and every program is there, naming all that is missing at once.
pub fn require_tools() -> Result<()> {
    ensure!(geteuid().is_root(), "network namespaces need root: run this as root or through sudo");
    let missing = missing(&search_path());
    if !missing.is_empty() {
        bail!("missing: {}; `cargo xtask setup` installs what is missing", missing.join(", "));
    }
    Ok(())
}

/// A command with the C locale, no input, and the system directories on its `PATH`.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).env("PATH", search_path()).env("LC_ALL", "C");
    command
}

fn missing(path: &OsStr) -> Vec<String> {
    let is_missing = |program: &str| !env::split_paths(path).any(|dir| dir.join(program).is_file());
    let tools = TOOLS.iter().filter(|(program, _)| is_missing(program));
    tools.map(|(program, package)| format!("{program} (Debian package {package})")).collect()
}

fn search_path() -> OsString {
    let own = env::var_os("PATH").unwrap_or_default();
    let dirs = env::split_paths(&own).chain(SYSTEM_DIRS.map(PathBuf::from));
    env::join_paths(dirs).unwrap_or(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_missing_tool_is_named_with_its_package() {
        let missing = missing(OsStr::new("/nonexistent"));
        assert_eq!(missing.len(), TOOLS.len());
        assert_eq!(missing[0], "ip (Debian package iproute2)");
    }
}
