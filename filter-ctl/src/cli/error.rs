//! Why a command did not do what it was asked to, and the exit code that says so to scripts.
//!
//! Invariant: a broken pipe is no failure: whoever read the output has seen enough.

use std::{io, path::PathBuf, process::ExitCode};

use filter_policy::{Problem, Severity};

use super::output;
use crate::api::ErrorReply;

/// The exit codes, as `--help` lists them.
pub(super) mod exit {
    pub(in crate::cli) const DONE: u8 = 0;
    pub(in crate::cli) const REFUSED: u8 = 1;
    pub(in crate::cli) const USAGE: u8 = 2;
    pub(in crate::cli) const NO_DAEMON: u8 = 3;
    pub(in crate::cli) const DENIED: u8 = 4;
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The options contradict each other.
    #[error("{0}")]
    Usage(&'static str),
    /// Nobody listens on the socket.
    #[error("no daemon at {}", .0.display())]
    NoDaemon(PathBuf),
    /// The socket is somebody else's.
    #[error("no right to use {}", .0.display())]
    Forbidden(PathBuf),
    /// The connection ended before there was an answer.
    #[error("the daemon went away before it had answered")]
    Gone,
    /// What the daemon was telling came to an end.
    #[error("the daemon went away")]
    Ended,
    /// Something that is no daemon of ours answered, or one of another version.
    #[error("the answer at {} is not understood: {why}", socket.display())]
    Answer { socket: PathBuf, why: String },
    /// The daemon, or a check before it was asked, refused.
    #[error("{}", reply.message)]
    Refused {
        reply: Box<ErrorReply>,
        /// What is in effect after it.
        stays: Option<String>,
    },
    /// The output cannot be written.
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
}

impl Failure {
    /// What a daemon answers to documents with these problems.
    pub(super) fn documents(problems: Vec<Problem>) -> Failure {
        let message = match problems.iter().filter(|problem| problem.severity == Severity::Error).count() {
            1 => "the documents have a problem".to_owned(),
            count => format!("the documents have {count} problems"),
        };
        Failure::refused(ErrorReply { code: 400, message, hint: None, problems })
    }

    /// What the daemon answered.
    pub(super) fn refused(reply: ErrorReply) -> Failure {
        Failure::Refused { reply: Box::new(reply), stays: None }
    }

    /// The exit code.
    pub(super) fn code(&self) -> ExitCode {
        ExitCode::from(match self {
            Failure::Usage(_) => exit::USAGE,
            Failure::NoDaemon(_) | Failure::Gone | Failure::Ended => exit::NO_DAEMON,
            Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => exit::DONE,
            Failure::Forbidden(_) | Failure::Answer { .. } | Failure::Refused { .. } | Failure::Output(_) => {
                exit::REFUSED
            }
        })
    }

    /// The failure for `--json`. Its code is 0 where no HTTP status was involved.
    pub(super) fn reply(&self) -> ErrorReply {
        match self {
            Failure::Refused { reply, .. } => ErrorReply::clone(reply),
            other => ErrorReply { message: other.to_string(), hint: other.hint(), ..ErrorReply::default() },
        }
    }

    /// The failure as people read it; empty for a broken pipe.
    pub(super) fn text(&self) -> String {
        match self {
            Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => String::new(),
            Failure::Refused { reply, stays } => {
                let mut text = if reply.problems.is_empty() {
                    output::error(&reply.message)
                } else {
                    reply.problems.iter().map(output::problem).collect()
                };
                text.extend(reply.hint.as_deref().map(|hint| output::hint(&format!("hint: {hint}"))));
                text.extend(stays.as_deref().map(output::hint));
                text
            }
            other => {
                let hint = other.hint().as_deref().map(output::hint);
                output::error(&other.to_string()) + &hint.unwrap_or_default()
            }
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Failure::NoDaemon(_) => {
                "start one: sudo systemctl start sandbox-filter     or in this terminal: sudo filter-ctl daemon"
            }
            Failure::Forbidden(_) => "only root may ask the daemon: put sudo in front",
            Failure::Gone => {
                "it may have done what was asked: filter-ctl get shows what is in effect when there is a daemon again"
            }
            Failure::Ended => "what is enforced goes on without it",
            Failure::Answer { .. } => "is it another program's socket, or a daemon of another version?",
            Failure::Usage(_) | Failure::Refused { .. } | Failure::Output(_) => return None,
        };
        Some(hint.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(failure: &Failure) -> String {
        anstream::adapter::strip_str(&failure.text()).to_string()
    }

    #[test]
    fn no_daemon_says_how_to_start_one() {
        assert_eq!(
            plain(&Failure::NoDaemon("/run/sandbox-filter/api.sock".into())),
            "error: no daemon at /run/sandbox-filter/api.sock\n  \
             start one: sudo systemctl start sandbox-filter     or in this terminal: sudo filter-ctl daemon\n"
        );
    }

    #[test]
    fn problems_stand_where_they_are() {
        let problem = Problem::error("network.denyOut[1]", "\"example.com\": domains cannot be denied")
            .hint("deny everything with \"0.0.0.0/0\" and list what may be reached in allowOut")
            .at("bad.yaml", Some(4));
        let mut failure = Failure::documents(vec![problem]);
        if let Failure::Refused { stays, .. } = &mut failure {
            *stays = Some("nothing was changed (agent stays at generation 8)".to_owned());
        }
        assert_eq!(
            plain(&failure),
            "error: bad.yaml:4: denyOut[1] \"example.com\": domains cannot be denied\n  \
             hint: deny everything with \"0.0.0.0/0\" and list what may be reached in allowOut\n  \
             nothing was changed (agent stays at generation 8)\n"
        );
    }

    #[test]
    fn a_refusal_shows_its_hint() {
        let reply = ErrorReply {
            code: 404,
            message: "no sandbox \"agent\"".to_owned(),
            hint: Some("filter-ctl get lists them".to_owned()),
            problems: Vec::new(),
        };
        let failure = Failure::refused(reply);
        assert_eq!(plain(&failure), "error: no sandbox \"agent\"\n  hint: filter-ctl get lists them\n");
        assert_eq!(
            serde_json::to_string(&failure.reply()).unwrap(),
            r#"{"code":404,"message":"no sandbox \"agent\"","hint":"filter-ctl get lists them","problems":[]}"#
        );
    }

    #[test]
    fn a_broken_pipe_is_silent() {
        let failure = Failure::Output(io::ErrorKind::BrokenPipe.into());
        assert_eq!(failure.text(), "");
        assert_eq!(failure.code(), ExitCode::SUCCESS);
    }
}
