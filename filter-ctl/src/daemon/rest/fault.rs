//! What a refused request is answered: `{"code": int, "message": string}`.

use crate::daemon::refusal::Refusal;
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use filter_policy::Problems;
use serde::Serialize;

/// A refused request; nothing was changed.
#[derive(Debug)]
pub(super) struct Fault {
    status: StatusCode,
    message: String,
}

#[derive(Serialize)]
struct Body {
    code: u16,
    message: String,
}

impl Fault {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Fault {
        Fault { status, message: message.into() }
    }

    /// The body breaks the schema.
    pub(super) fn schema(what: impl std::fmt::Display) -> Fault {
        Fault::new(StatusCode::BAD_REQUEST, format!("validation error: {what}"))
    }

    /// What the policy's own checks have found.
    pub(super) fn problems(problems: &Problems) -> Fault {
        Fault::new(StatusCode::BAD_REQUEST, problems.api_message())
    }

    /// This host has nothing of the kind.
    pub(super) fn unsupported(what: &str) -> Fault {
        Fault::new(StatusCode::NOT_IMPLEMENTED, format!("{what} is not supported: sandboxes run until they end"))
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Fault {
        match refusal {
            Refusal::Documents(problems) => Fault::problems(&Problems(problems)),
            Refusal::Unknown(id) => Fault::new(
                StatusCode::NOT_FOUND,
                format!("Sandbox \"{id}\" doesn't exist or you don't have access to it"),
            ),
            other => {
                let reply = other.reply();
                let status = StatusCode::from_u16(reply.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                if status.is_server_error() {
                    tracing::error!(message = reply.message, "a request of the API failed");
                }
                Fault::new(status, reply.message)
            }
        }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        (self.status, Json(Body { code: self.status.as_u16(), message: self.message })).into_response()
    }
}
