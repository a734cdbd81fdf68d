//! Runs other programs: shows each command line before it runs, and says which one failed and what to do next.

use std::{
    env,
    ffi::OsStr,
    fs::File,
    io::{BufRead, BufReader},
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, ExitCode, ExitStatus, Output, Stdio},
};

use anyhow::{Context, Result, bail};

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies inside the repository")
}

/// The profile of what operators run, and the folder of it in the target folder.
pub(crate) const SHIPPED: &str = "shipped";

/// The target folder of the workspace. It is fixed, because the kernel program is handed over inside it.
pub(crate) fn target() -> PathBuf {
    root().join("target")
}

/// Looks a program up on PATH, and where Debian keeps the system's own, which PATH lacks for everyone but root.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(system).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Whether this process runs as root.
pub(crate) fn is_root() -> bool {
    Path::new("/proc/self").metadata().is_ok_and(|process| process.uid() == 0)
}

/// One command line.
pub(crate) struct Tool {
    command: Command,
    line: String,
    hint: Option<String>,
}

impl Tool {
    /// A program to be run in the root of the repository.
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(&program);
        command.current_dir(root());
        Self { command, line: shown(program.as_ref()), hint: None }
    }

    /// A program to be run as root: by sudo, with the given options of its own, unless this process is root already.
    pub(crate) fn as_root(program: impl AsRef<OsStr>, options: &[&str]) -> Result<Self> {
        Ok(match sudo()? {
            None => Self::new(program),
            Some(sudo) => Self::new(sudo).args(options).arg("--").arg(program),
        })
    }

    /// The cargo that started this task, on the workspace, without what it told this program about xtask itself.
    pub(crate) fn cargo(subcommand: &str) -> Self {
        let mut tool = Self::new("cargo").arg(subcommand);
        for (name, _) in env::vars_os().filter(|(name, _)| is_about_xtask(name)) {
            tool.command.env_remove(name);
        }
        tool.command.env("CARGO_TARGET_DIR", target());
        tool
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.line = format!("{} {}", self.line, shown(arg.as_ref()));
        self.command.arg(arg);
        self
    }

    pub(crate) fn args(self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        args.into_iter().fold(self, Self::arg)
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.line = format!("{name}={} {}", shown(value.as_ref()), self.line);
        self.command.env(name, value);
        self
    }

    pub(crate) fn env_remove(mut self, name: impl AsRef<OsStr>) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Puts a folder in front of PATH.
    pub(crate) fn path(mut self, folder: &Path) -> Self {
        let path = env::var_os("PATH").unwrap_or_default();
        let folders = [folder.to_owned()].into_iter().chain(env::split_paths(&path));
        self.line = format!("PATH={}:$PATH {}", shown(folder.as_os_str()), self.line);
        self.command.env("PATH", env::join_paths(folders).expect("no folder of this repository has a colon"));
        self
    }

    /// Sends standard error to a file; standard output is lost.
    pub(crate) fn errors_to(mut self, file: File) -> Self {
        self.command.stdout(Stdio::null()).stderr(file);
        self
    }

    /// Replaces what is shown instead of the whole command line.
    pub(crate) fn show(mut self, line: impl Into<String>) -> Self {
        self.line = line.into();
        self
    }

    /// Says what to do when the command fails.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Shows the command and runs it. Anything but success is an error.
    pub(crate) fn run(mut self) -> Result<()> {
        let status = self.status()?;
        self.check(status)
    }

    /// Shows the command and runs it.
    pub(crate) fn status(&mut self) -> Result<ExitStatus> {
        self.echo();
        self.command.status().with_context(|| self.cannot_start())
    }

    /// Replaces this process by the program; returns only when it cannot be started.
    pub(crate) fn become_it(mut self) -> Result<ExitCode> {
        self.echo();
        Err(self.command.exec()).with_context(|| self.cannot_start())
    }

    /// Shows the command and runs it, handing over its standard output line by line.
    pub(crate) fn lines(mut self, mut each: impl FnMut(&str)) -> Result<ExitStatus> {
        self.echo();
        let mut child = self.command.stdout(Stdio::piped()).spawn().with_context(|| self.cannot_start())?;
        let mut output = BufReader::new(child.stdout.take().expect("it was piped"));
        let mut line = Vec::new();
        while output.read_until(b'\n', &mut line)? > 0 {
            each(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']));
            line.clear();
        }
        Ok(child.wait()?)
    }

    /// Runs the command unseen. `None` when it cannot be started or fails.
    pub(crate) fn ask(mut self) -> Option<String> {
        let Output { status, stdout, .. } = self.command.stdin(Stdio::null()).output().ok()?;
        status.success().then(|| String::from_utf8_lossy(&stdout).into_owned())
    }

    /// Runs the command unseen and returns its standard output whatever the exit code is.
    pub(crate) fn output(mut self) -> Result<String> {
        let output = self.command.stdin(Stdio::null()).output().with_context(|| self.cannot_start())?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn echo(&self) {
        eprintln!("$ {}", self.line);
    }

    fn cannot_start(&self) -> String {
        format!("cannot start `{}`{}", self.line, self.next())
    }

    fn check(&self, status: ExitStatus) -> Result<()> {
        if !status.success() {
            bail!("`{}` failed ({status}){}", self.line, self.next());
        }
        Ok(())
    }

    fn next(&self) -> String {
        self.hint.as_ref().map(|hint| format!("\n  hint: {hint}")).unwrap_or_default()
    }
}

/// Where sudo is, or `None` when it is not needed.
pub(crate) fn sudo() -> Result<Option<PathBuf>> {
    if is_root() {
        return Ok(None);
    }
    let sudo = find("sudo").context("this needs root, and there is no sudo\n  hint: run the same command as root")?;
    Ok(Some(sudo))
}

/// Cargo describes the package that it runs in the environment. Build scripts that look would be run again and again.
fn is_about_xtask(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with("CARGO_PKG_")
        || name.starts_with("CARGO_MANIFEST_")
        || ["CARGO_CRATE_NAME", "CARGO_BIN_NAME", "CARGO_PRIMARY_PACKAGE", "CARGO_BUILD_TARGET", "OUT_DIR"]
            .contains(&name.as_ref())
}

/// A word as a shell would want it, with paths inside the repository cut short.
fn shown(word: &OsStr) -> String {
    let mut word = word.to_string_lossy().replace(&format!("{}/", root().display()), "");
    if word.is_empty() || word.contains([' ', '"', '\'', '$', '*', '\n']) {
        word = format!("'{}'", word.replace('\'', r"'\''"));
    }
    word
}
