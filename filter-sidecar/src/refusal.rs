//! Why a connection or a request comes to nothing.

use filter_core::Reason;
use rustix::io::Errno;
use std::io;

/// Why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The policy refuses.
    Denied(Reason),
    /// The name has no address.
    NoAddress,
    /// No resolver could tell.
    NoResolver,
    /// All ports towards the server are taken.
    NoPort,
    /// The server refused the connection.
    Refused,
    /// The server did not answer, or the network is down.
    Unreachable,
    /// The server answered something that is no answer.
    BadAnswer,
}

impl Refusal {
    /// What answers call it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Refusal::Denied(reason) => reason.name(),
            Refusal::NoAddress => "name-not-found",
            Refusal::NoResolver => "no-resolver",
            Refusal::NoPort => "no-port-left",
            Refusal::Refused => "connection-refused",
            Refusal::Unreachable => "unreachable",
            Refusal::BadAnswer => "bad-answer",
        }
    }

    /// What a failure to connect to a server is.
    pub(crate) fn of_server(error: &io::Error) -> Refusal {
        // The kernel program at the process's cgroup refuses so.
        if error.raw_os_error() == Some(Errno::PERM.raw_os_error()) {
            return Refusal::Denied(Reason::ProtectedName);
        }
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Refusal::Refused,
            io::ErrorKind::AddrNotAvailable => Refusal::NoPort,
            _ => Refusal::Unreachable,
        }
    }

    /// The reason of a policy's.
    pub(crate) const fn reason(self) -> Option<Reason> {
        match self {
            Refusal::Denied(reason) => Some(reason),
            _ => None,
        }
    }
}
