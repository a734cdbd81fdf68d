//! Runs a program for a while: bounded in time and in what it may say, and with nothing of this process.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The most that a program may print, in bytes.
pub(crate) const MAX_OUTPUT: usize = 64 << 10;
/// How much of the end of what it complains of is kept, in bytes.
const MAX_COMPLAINT: usize = 4 << 10;
/// How many lines of that are told.
const LINES: usize = 6;
/// The most that is read of what it had said when it ended: others may go on writing to its standard error.
const MAX_REST: usize = 256 << 10;
/// Where programs are when this process has no `PATH`.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why a program is of no use.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It cannot be started.
    #[error("cannot start it: {0}")]
    Start(io::Error),
    /// It did not end in time, and was killed with its process group.
    #[error("not done after {} s; it was killed{last}", after.as_secs_f32())]
    Slow {
        /// How long it had.
        after: Duration,
        /// The last lines of its standard error, escaped, behind a colon; or nothing.
        last: String,
    },
    /// It printed too much, and was killed with its process group.
    #[error("it printed more than {} KiB; it was killed", MAX_OUTPUT >> 10)]
    Noisy,
    /// It ended with an error.
    #[error("{status}{last}")]
    Failed {
        /// How it ended.
        status: ExitStatus,
        /// As in [`CommandError::Slow`].
        last: String,
    },
    /// Talking to it failed.
    #[error("cannot talk to it: {0}")]
    Talk(io::Error),
}

/// Runs a program in a process group of its own, gives it `input` and returns what it printed. Its environment is `PATH`, `HOME` and `LANG`.
///
/// It is killed when the calling thread's process is, so that nobody goes on making what the next daemon takes away.
/// Processes that it leaves running go on when it has ended well. They have no part in this: what they print is lost.
pub(crate) fn run(words: &[String], input: &[u8], within: Duration) -> Result<Vec<u8>, CommandError> {
    let deadline = Instant::now() + within;
    let mut talk = Talk::start(words, input)?;
    let ended = talk.follow(deadline);
    if !matches!(&ended, Ok(true)) {
        talk.kill_group();
        let last = talk.complaint();
        talk.child.wait().map_err(CommandError::Talk)?;
        return Err(match ended {
            Err(error) => error,
            Ok(_) => CommandError::Slow { after: within, last },
        });
    }
    talk.finish()
}

/// A program that runs, and what has been said.
struct Talk<'a> {
    child: Child,
    input: &'a [u8],
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    printed: Vec<u8>,
    complained: Vec<u8>,
}

impl<'a> Talk<'a> {
    fn start(words: &[String], input: &'a [u8]) -> Result<Talk<'a>, CommandError> {
        let Some((program, arguments)) = words.split_first() else {
            return Err(CommandError::Start(io::ErrorKind::InvalidInput.into()));
        };
        filter_dataplane::close_on_exec().map_err(CommandError::Start)?;
        let mut command = Command::new(program);
        command.args(arguments).env_clear().current_dir("/").process_group(0);
        command.env("PATH", std::env::var_os("PATH").unwrap_or_else(|| PATH.into()));
        for name in ["HOME", "LANG"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        filter_dataplane::end_with_this_thread(&mut command);
        let mut child = command.spawn().map_err(CommandError::Start)?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        Ok(Talk { child, input, stdin, stdout, stderr, printed: Vec::new(), complained: Vec::new() })
    }

    /// Talks until it ends (`true`) or there is no time left.
    fn follow(&mut self, deadline: Instant) -> Result<bool, CommandError> {
        let pidfd = pidfd_open(Pid::from_child(&self.child), PidfdFlags::empty()).map_err(talk)?;
        for pipe in [self.stdin.as_ref().map(AsFd::as_fd), self.stdout.as_ref().map(AsFd::as_fd)] {
            pipe.map(|pipe| rustix::io::ioctl_fionbio(pipe, true)).transpose().map_err(talk)?;
        }
        self.stderr.as_ref().map(|pipe| rustix::io::ioctl_fionbio(pipe, true)).transpose().map_err(talk)?;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            let mut asked = vec![PollFd::new(&pidfd, PollFlags::IN)];
            asked.extend(self.stdin.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::OUT)));
            asked.extend(self.stdout.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
            asked.extend(self.stderr.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
            let left = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
            match poll(&mut asked, Some(&left)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(talk(errno)),
            }
            let ended = !asked[0].revents().is_empty();
            self.write()?;
            // All that it said before it ended is in the pipes by now.
            self.read(if ended { MAX_REST } else { MAX_OUTPUT })?;
            if ended {
                return Ok(true);
            }
        }
    }

    fn write(&mut self) -> Result<(), CommandError> {
        while let Some(pipe) = self.stdin.as_mut().filter(|_| !self.input.is_empty()) {
            match pipe.write(self.input) {
                Ok(count) => self.input = &self.input[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // It does not want to know.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
                Err(error) => return Err(CommandError::Talk(error)),
            }
        }
        self.stdin = None;
        Ok(())
    }

    /// Reads what there is, of each pipe at most about `most` bytes.
    fn read(&mut self, most: usize) -> Result<(), CommandError> {
        if take(&mut self.stdout, &mut self.printed, most)? {
            self.stdout = None;
        }
        if self.printed.len() > MAX_OUTPUT {
            return Err(CommandError::Noisy);
        }
        if take(&mut self.stderr, &mut self.complained, most)? {
            self.stderr = None;
        }
        let surplus = self.complained.len().saturating_sub(MAX_COMPLAINT);
        self.complained.drain(..surplus);
        Ok(())
    }

    /// Its group's number is its own as long as it has not been waited for.
    fn finish(mut self) -> Result<Vec<u8>, CommandError> {
        let status = rustix::process::waitid(
            rustix::process::WaitId::Pid(Pid::from_child(&self.child)),
            rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT,
        );
        let well = status.map_err(talk)?.is_some_and(|status| status.exit_status() == Some(0));
        if !well {
            self.kill_group();
        }
        let status = self.child.wait().map_err(CommandError::Talk)?;
        if well { Ok(self.printed) } else { Err(CommandError::Failed { status, last: self.complaint() }) }
    }

    /// A group that is gone already is what was wanted.
    fn kill_group(&self) {
        kill_process_group(Pid::from_child(&self.child), Signal::KILL).ok();
    }

    fn complaint(&self) -> String {
        last_lines(&self.complained)
    }
}

/// Moves what a pipe has into `into`. Tells whether it has ended.
fn take(pipe: &mut Option<impl Read>, into: &mut Vec<u8>, most: usize) -> Result<bool, CommandError> {
    let Some(pipe) = pipe else { return Ok(false) };
    let mut buffer = [0; 4096];
    let mut taken = 0;
    while taken < most {
        match pipe.read(&mut buffer) {
            Ok(0) => return Ok(true),
            Ok(count) => {
                taken += count;
                into.extend_from_slice(&buffer[..count]);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(CommandError::Talk(error)),
        }
    }
    Ok(false)
}

/// The last lines of a text on one line, behind a colon, without control characters; nothing for nothing.
fn last_lines(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let last = lines[lines.len().saturating_sub(LINES)..].join(" | ");
    let shown: String = last.chars().flat_map(shown).collect();
    if shown.is_empty() { shown } else { format!(": {shown}") }
}

fn shown(character: char) -> impl Iterator<Item = char> {
    let escaped = character.is_control() || ('\u{202a}'..='\u{202e}').contains(&character);
    let plain = (!escaped).then_some(character);
    plain.into_iter().chain(escaped.then(|| character.escape_unicode()).into_iter().flatten())
}

fn talk(errno: rustix::io::Errno) -> CommandError {
    CommandError::Talk(errno.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_short_and_harmless() {
        assert_eq!(last_lines(b" \n\n"), "");
        assert_eq!(last_lines(b"one\n\x1b[31mtwo\x07\n"), ": one | \\u{1b}[31mtwo\\u{7}");
        let many: String = (0..100).map(|n| format!("line {n}\n")).collect();
        assert_eq!(last_lines(many.as_bytes()), ": line 94 | line 95 | line 96 | line 97 | line 98 | line 99");
    }
}
