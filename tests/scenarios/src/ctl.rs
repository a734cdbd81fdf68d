//! The command line as a user types it, with `--json`.

use crate::Daemon;
use crate::daemon::binary;
use anyhow::{Context, Result, bail, ensure};
use filter_ctl::api::{Applied, ApplyReply, EndState, Ended, ErrorReply, Explanation, SandboxStatus};
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use test_world::{Output, Process};

/// Distinguishes the files that are applied.
static FILES: AtomicU32 = AtomicU32::new(0);

/// Longest that a command may take.
const LIMIT: Duration = Duration::from_secs(60);

/// How a command was refused.
#[derive(Debug)]
pub struct Refused {
    /// Its exit code.
    pub exit: i32,
    /// What it told on standard error.
    pub reply: ErrorReply,
}

impl Refused {
    /// All that a person is told: message, hint, and each problem with its place and hint.
    pub fn text(&self) -> String {
        let ErrorReply { message, hint, problems, .. } = &self.reply;
        let problems = problems.iter().map(ToString::to_string);
        [message.clone()].into_iter().chain(hint.clone()).chain(problems).collect::<Vec<_>>().join("\n")
    }

    /// Fails unless the text has all `words` in it.
    ///
    /// # Panics
    /// Then.
    #[track_caller]
    pub fn says(&self, words: &[&str]) -> &Refused {
        let text = self.text();
        for word in words {
            assert!(text.contains(word), "{word:?} is not in: {text}");
        }
        self
    }
}

impl Daemon {
    /// Runs a command to its end, whatever that is.
    ///
    /// # Errors
    /// When it cannot run or hangs.
    pub fn ctl(&self, words: &[&str]) -> Result<Output> {
        self.ctl_start(words)?.wait(LIMIT)
    }

    /// Starts a command.
    ///
    /// # Errors
    /// When it cannot run.
    pub fn ctl_start(&self, words: &[&str]) -> Result<Process> {
        let (binary, socket) = (binary()?, self.socket().display().to_string());
        self.host().spawn(&[&[binary.as_str(), "--socket", &socket, "--json"], words].concat())
    }

    /// Applies documents, which must be accepted.
    ///
    /// # Errors
    /// When they are refused.
    pub fn apply(&self, yaml: &str) -> Result<Vec<Applied>> {
        self.apply_with(&[], yaml)
    }

    /// [`Self::apply`] with options.
    ///
    /// # Errors
    /// When they are refused.
    pub fn apply_with(&self, options: &[&str], yaml: &str) -> Result<Vec<Applied>> {
        let file = self.file(yaml)?;
        let output = self.ctl(&[&["apply", "-f", &file], options].concat())?.ok()?;
        Ok(read::<ApplyReply>(&output)?.results)
    }

    /// Applies documents, which must be refused.
    ///
    /// # Errors
    /// When they are accepted.
    pub fn refuses(&self, yaml: &str) -> Result<Refused> {
        let file = self.file(yaml)?;
        self.refused(&["apply", "-f", &file])
    }

    /// Runs a command, which must be refused.
    ///
    /// # Errors
    /// When it is not, or does not tell why in JSON.
    pub fn refused(&self, words: &[&str]) -> Result<Refused> {
        let output = self.ctl(words)?;
        let exit = output.code().filter(|code| *code != 0);
        let Some(exit) = exit else { bail!("`{}` was not refused: {}", output.command, output.stdout) };
        let line = output.stderr.lines().next_back().unwrap_or_default();
        let reply = serde_json::from_str(line)
            .with_context(|| format!("`{}` told no error in JSON: {}", output.command, output.stderr))?;
        ensure!(output.stdout.trim().is_empty() || words[0] != "apply", "output of a refusal: {}", output.stdout);
        Ok(Refused { exit, reply })
    }

    /// What the program says of a packet to `destination`, as `explain` takes it.
    ///
    /// # Errors
    /// When the question is refused.
    pub fn explain(&self, id: &str, destination: &str) -> Result<Explanation> {
        read(&self.ctl(&["explain", id, destination])?.ok()?)
    }

    /// What is said of a connection to a name that the sandbox believes to be at an address.
    ///
    /// # Errors
    /// When the question is refused.
    pub fn explain_at(&self, id: &str, destination: &str, address: IpAddr) -> Result<Explanation> {
        read(&self.ctl(&["explain", id, destination, "--at", &address.to_string()])?.ok()?)
    }

    /// A sandbox as it is.
    ///
    /// # Errors
    /// When there is none.
    pub fn status(&self, id: &str) -> Result<SandboxStatus> {
        read(&self.ctl(&["get", id])?.ok()?)
    }

    /// All sandboxes as they are.
    ///
    /// # Errors
    /// When the daemon does not answer.
    pub fn list(&self) -> Result<Vec<SandboxStatus>> {
        read(&self.ctl(&["get"])?.ok()?)
    }

    /// Deletes a sandbox.
    ///
    /// # Errors
    /// When that is refused.
    pub fn delete(&self, id: &str) -> Result<EndState> {
        self.end("delete", id)
    }

    /// Detaches a sandbox.
    ///
    /// # Errors
    /// When that is refused.
    pub fn detach(&self, id: &str) -> Result<EndState> {
        self.end("detach", id)
    }

    /// A file with this text; its name is for the command line.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn file(&self, text: &str) -> Result<String> {
        let path: PathBuf = self.dir().join(format!("document-{}.yaml", FILES.fetch_add(1, Ordering::Relaxed)));
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path.display().to_string())
    }

    fn end(&self, command: &str, id: &str) -> Result<EndState> {
        let ended: Vec<Ended> = read(&self.ctl(&[command, id])?.ok()?)?;
        match ended.as_slice() {
            [one] if one.id == id => Ok(one.state),
            other => bail!("{command} {id} ended {other:?}"),
        }
    }
}

fn read<T: serde::de::DeserializeOwned>(output: &Output) -> Result<T> {
    serde_json::from_str(&output.stdout)
        .with_context(|| format!("`{}` gave what cannot be read: {}", output.command, output.stdout))
}
