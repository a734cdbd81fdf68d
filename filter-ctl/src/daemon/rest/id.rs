//! The id in a request's path.

use super::fault::Fault;
use axum::extract::{FromRequestParts, Path};
use axum::http::StatusCode;
use axum::http::request::Parts;
use filter_policy::SandboxId;

/// Id of a sandbox: what comes before the first `-`, as clients append what they know of the host.
pub(super) struct Id(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Id, Fault> {
        let malformed = || Fault::new(StatusCode::BAD_REQUEST, "Invalid sandbox ID");
        let Path(text) = Path::<String>::from_request_parts(parts, state).await.map_err(|_| malformed())?;
        read(&text).map(Id).ok_or_else(malformed)
    }
}

fn read(text: &str) -> Option<String> {
    let (id, suffix) = text.split_once('-').unwrap_or((text, "0"));
    let is_suffix = !suffix.is_empty() && suffix.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    SandboxId::parse(id).filter(|_| is_suffix).map(|id| id.to_string())
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn a_suffix_is_no_part_of_it() {
        assert_eq!(read("i3k9").as_deref(), Some("i3k9"));
        assert_eq!(read("i3k9-01ab23cd").as_deref(), Some("i3k9"));
        for bad in ["", "-", "-a", "a-", "A", "a_b", "a b", "ä", "a.b", "a/../b", &"a".repeat(33)] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }
}
