//! The published SDKs, driven line by line.

use crate::{Open, PORT};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

/// One of the SDKs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sdk {
    /// Of npm, the newest.
    JsNewest,
    /// Of npm, an older one that still calls `POST /sandboxes`.
    JsOlder,
    /// Of PyPI, the newest.
    PythonNewest,
    /// Of PyPI, an older one that still calls `POST /sandboxes`.
    PythonOlder,
}

/// What an SDK's user sees of a refusal.
#[derive(Clone, Debug)]
pub struct Thrown {
    /// The class of the exception.
    pub kind: String,
    /// Its text.
    pub message: String,
}

/// A program that uses an SDK in a world's host; ended when dropped.
pub struct Driver {
    process: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Sdk {
    /// All of them.
    pub const ALL: [Sdk; 4] = [Sdk::JsNewest, Sdk::JsOlder, Sdk::PythonNewest, Sdk::PythonOlder];

    /// Whether it is of npm.
    pub fn is_js(self) -> bool {
        matches!(self, Sdk::JsNewest | Sdk::JsOlder)
    }

    fn words(self) -> Vec<PathBuf> {
        let (tools, scripts) = (tools(), Path::new(env!("CARGO_MANIFEST_DIR")).join("clients"));
        let js = |package: &str| vec![tools.join("node/node"), tools.join("js/drive.mjs"), PathBuf::from(package)];
        let python = |set: &str| vec![tools.join(set).join("bin/python"), scripts.join("drive.py")];
        match self {
            Sdk::JsNewest => js("e2b"),
            Sdk::JsOlder => js("e2b-older"),
            Sdk::PythonNewest => python("newest"),
            Sdk::PythonOlder => python("older"),
        }
    }

    /// Starts a program that uses it with a key.
    ///
    /// # Errors
    /// When it does not start; `cargo xtask setup` installs it.
    pub fn drive(self, open: &Open, key: &str) -> Result<Driver> {
        let words = self.words();
        ensure!(words[0].exists(), "{} is missing: run cargo xtask setup", words[0].display());
        if self.is_js() {
            // Packages are found beside the program that uses them.
            let (from, to) = (Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/drive.mjs"), &words[1]);
            if std::fs::read(&from)? != std::fs::read(to).unwrap_or_default() {
                let next = to.with_extension(format!("{:?}", std::thread::current().id()));
                std::fs::copy(&from, &next)?;
                std::fs::rename(next, to)?;
            }
        }
        let mut command = open.stage.world.host().command(&words[0]);
        command.args(&words[1..]).stdin(Stdio::piped()).stdout(Stdio::piped());
        for (name, _) in
            std::env::vars().filter(|(name, _)| name.starts_with("E2B_") || name.to_lowercase().ends_with("_proxy"))
        {
            command.env_remove(name);
        }
        command.env("E2B_API_URL", format!("http://127.0.0.1:{PORT}")).env("E2B_API_KEY", key);
        let mut process = command.spawn().context("the SDK's program does not start")?;
        let (stdin, stdout) = (process.stdin.take().context("no input")?, process.stdout.take().context("no output")?);
        Ok(Driver { process, stdin, stdout: BufReader::new(stdout) })
    }
}

impl Driver {
    /// Has something done; the inner error is what its user sees.
    ///
    /// # Errors
    /// When the program has ended.
    pub fn tries(&mut self, action: &str, arguments: Value) -> Result<std::result::Result<Value, Thrown>> {
        let mut asked = arguments;
        asked["do"] = json!(action);
        writeln!(self.stdin, "{asked}")?;
        let mut line = String::new();
        ensure!(self.stdout.read_line(&mut line)? > 0, "the SDK's program has ended");
        let answer: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
        let text = |field: &str| answer["error"][field].as_str().unwrap_or_default().to_owned();
        Ok(match answer.get("ok") {
            Some(ok) => Ok(ok.clone()),
            None => Err(Thrown { kind: text("kind"), message: text("message") }),
        })
    }

    /// Has something done.
    ///
    /// # Errors
    /// When it is refused.
    pub fn does(&mut self, action: &str, arguments: Value) -> Result<Value> {
        match self.tries(action, arguments.clone())? {
            Ok(value) => Ok(value),
            Err(Thrown { kind, message }) => bail!("{action} {arguments}: {kind}: {message}"),
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// The tester of OpenAPI documents.
///
/// # Errors
/// When it is not installed; `cargo xtask setup` does that.
pub fn schemathesis() -> Result<PathBuf> {
    let program = tools().join("schemathesis/bin/schemathesis");
    ensure!(program.exists(), "{} is missing: run cargo xtask setup", program.display());
    Ok(program)
}

/// Where the clients are installed.
pub(crate) fn tools() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/clients")
}
