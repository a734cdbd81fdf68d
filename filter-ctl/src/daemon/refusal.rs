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
    /// The kernel or the disk refused.
    Internal(String),
}

impl Refusal {
    pub(super) fn internal(error: impl std::fmt::Display) -> Refusal {
        Refusal::Internal(error.to_string())
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
