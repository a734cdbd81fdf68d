//! The judgement of requests without connections, for whoever wants to ask it: the same functions that judge those of sandboxes.

use super::{head, request};
use crate::refusal::Refusal;
use filter_core::Reason;
use filter_policy::names::Name;
use hyper::http::request::Parts;

/// Where the head ends that these bytes begin with, if its end is there. Bytes before `looked` were fine at an earlier look.
///
/// # Errors
/// The reason to refuse it, whatever it says.
pub fn head(bytes: &[u8], looked: usize) -> Result<Option<usize>, Reason> {
    let Some(end) = head::end(bytes, looked)? else { return Ok(None) };
    head::check(&bytes[..end]).map(|_| Some(end))
}

/// The name that a request is for, if it is for one; leaves of it what the server gets.
///
/// # Errors
/// The reason to refuse it, whatever the policy.
pub fn request(parts: &mut Parts) -> Result<Option<Name>, Reason> {
    let reason = |refusal: Refusal| refusal.reason().unwrap_or(Reason::AmbiguousRequest);
    let wanted = request::judge(parts).map_err(reason)?;
    request::forward(parts, &wanted);
    Ok(wanted.name)
}
