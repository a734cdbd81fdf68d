//! Answers of the sidecar's own.

use crate::refusal::Refusal;
use filter_core::Reason;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};

/// What is sent with an answer.
pub(super) type Body = BoxBody<Bytes, hyper::Error>;

/// Tells a client that a request comes to nothing, and why.
pub(super) fn refuse(refusal: Refusal, host: &str, sandbox: &str) -> Response<Body> {
    let status = status(refusal);
    let body = serde_json::json!({
        "error": if refusal.reason().is_some() { "egress_denied" } else { "egress_failed" },
        "reason": refusal.name(),
        "host": host.escape_default().to_string(),
        "sandbox": sandbox,
    });
    let body = Full::new(Bytes::from(body.to_string())).map_err(|never| match never {}).boxed();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // Where one request ends and the next begins is not certain any more.
    if status != StatusCode::FORBIDDEN && status != StatusCode::BAD_GATEWAY {
        end_connection(&mut response);
    }
    response
}

/// Makes an answer the last one of its connection.
pub(super) fn end_connection(response: &mut Response<Body>) {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
}

const fn status(refusal: Refusal) -> StatusCode {
    match refusal {
        Refusal::Denied(Reason::AmbiguousRequest | Reason::UnjudgedProtocol) => StatusCode::BAD_REQUEST,
        Refusal::Denied(Reason::HelloTooLong) => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        Refusal::Denied(Reason::HelloTooLate) => StatusCode::REQUEST_TIMEOUT,
        Refusal::Denied(_) => StatusCode::FORBIDDEN,
        _ => StatusCode::BAD_GATEWAY,
    }
}
