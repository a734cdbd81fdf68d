//! Why a request was refused.

use crate::api::ErrorReply;
use filter_policy::Problem;

/// A refused request; nothing was changed.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The documents are at fault.
    Documents(Vec<Problem>),
    /// The request is at fault.
    Request { message: String, hint: Option<String> },
    /// There is no such sandbox.
    Unknown(String),
    /// Another sandbox, or an earlier end of this one, is in the way.
    Conflict { message: String, hint: Option<String> },
    /// The sandbox is being killed.
    Ending(String),
    /// What it needs is not there.
    Missing { message: String, hint: Option<String> },
    /// There is no room for it, or nothing that could do it.
    Unavailable { message: String, hint: Option<String> },
    /// The kernel or the disk refused.
    Internal(String),
}

impl Refusal {
    pub(super) fn internal(error: impl std::fmt::Display) -> Refusal {
        Refusal::Internal(error.to_string())
    }

    /// A sandbox has no device any more.
    pub(super) fn detached(id: &str) -> Refusal {
        Refusal::Conflict {
            message: format!("sandbox \"{id}\" is detached: its device has vanished"),
            hint: Some("end it, or apply its document again when there is a new device".to_owned()),
        }
    }

    /// As it goes over the wire.
    pub(super) fn reply(self) -> ErrorReply {
        match self {
            Refusal::Documents(problems) => {
                let first = problems.first().map(|problem| problem.message.clone()).unwrap_or_default();
                ErrorReply { code: 400, message: first, hint: None, problems }
            }
            Refusal::Request { message, hint } => ErrorReply { code: 400, message, hint, problems: Vec::new() },
            Refusal::Unknown(id) => ErrorReply {
                code: 404,
                message: format!("no sandbox {id:?}"),
                hint: Some("filter-ctl get lists them".to_owned()),
                problems: Vec::new(),
            },
            Refusal::Conflict { message, hint } => ErrorReply { code: 409, message, hint, problems: Vec::new() },
            Refusal::Ending(id) => ErrorReply {
                code: 409,
                message: format!("Sandbox \"{id}\" is being killed"),
                hint: None,
                problems: Vec::new(),
            },
            Refusal::Missing { message, hint } => ErrorReply { code: 404, message, hint, problems: Vec::new() },
            Refusal::Unavailable { message, hint } => ErrorReply { code: 503, message, hint, problems: Vec::new() },
            Refusal::Internal(message) => ErrorReply { code: 500, message, hint: None, problems: Vec::new() },
        }
    }
}

impl From<anyhow::Error> for Refusal {
    fn from(error: anyhow::Error) -> Refusal {
        Refusal::Internal(format!("{error:#}"))
    }
}

impl From<filter_dataplane::Error> for Refusal {
    fn from(error: filter_dataplane::Error) -> Refusal {
        Refusal::internal(error)
    }
}
