//! The head of a request as it stands on the wire. What two readers could understand differently is refused before anybody reads it
//! for good: only heads with plain line ends, one field a line, and at most one way to tell where the request ends go on.

use filter_core::Reason;

/// Longest head.
pub(super) const MAX_HEAD: usize = 64 << 10;
/// Most fields of a head.
pub(super) const MAX_FIELDS: usize = 100;
/// How a head ends.
const END: &[u8] = b"\r\n\r\n";

/// What comes behind a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// Another head.
    Nothing,
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
    /// What follows belongs to a tunnel, if one comes about.
    Tunnel,
}

/// Where a head ends, looking only at bytes from `looked` on; those before were fine.
pub(super) fn end(bytes: &[u8], looked: usize) -> Result<Option<usize>, Reason> {
    if bytes.first().is_some_and(|first| !is_token(*first)) {
        return Err(Reason::UnjudgedProtocol);
    }
    for at in looked..bytes.len() {
        let after_cr = at > 0 && bytes[at - 1] == b'\r';
        match bytes[at] {
            b'\n' if after_cr && bytes[..=at].ends_with(END) => {
                return if at < MAX_HEAD { Ok(Some(at + 1)) } else { Err(Reason::HelloTooLong) };
            }
            b'\n' if after_cr => {}
            b'\r' | b'\t' if !after_cr => {}
            byte if after_cr || byte.is_ascii_control() => return Err(Reason::AmbiguousRequest),
            _ => {}
        }
    }
    if bytes.len() >= MAX_HEAD { Err(Reason::HelloTooLong) } else { Ok(None) }
}

/// Checks a whole head, its end included, and tells what comes behind it.
pub(super) fn check(head: &[u8]) -> Result<Body, Reason> {
    let text = head.strip_suffix(END).ok_or(Reason::AmbiguousRequest)?;
    let mut lines = text.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let is_http_11 = check_request_line(lines.next().unwrap_or_default())?;
    let mut fields = Fields::default();
    for (number, line) in lines.enumerate() {
        if number == MAX_FIELDS {
            return Err(Reason::HelloTooLong);
        }
        fields.add(line).ok_or(Reason::AmbiguousRequest)?;
    }
    match fields {
        Fields { chunked: true, length: None, websocket: false, .. } if is_http_11 => Ok(Body::Chunked),
        Fields { chunked: false, length: Some(length), websocket: false, .. } => Ok(Body::Length(length)),
        Fields { chunked: false, length: None, websocket: false, .. } => Ok(Body::Nothing),
        Fields { chunked: false, length: None, websocket: true, .. } => Ok(Body::Tunnel),
        _ => Err(Reason::AmbiguousRequest),
    }
}

/// Whether the value of an `Upgrade` field asks for WebSocket, among others.
pub(super) fn names_websocket(value: &[u8]) -> bool {
    value.split(|byte| *byte == b',').any(|one| one.trim_ascii().eq_ignore_ascii_case(b"websocket"))
}

/// Whether the version is 1.1.
fn check_request_line(line: &[u8]) -> Result<bool, Reason> {
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Reason::AmbiguousRequest);
    };
    let is_target = !target.is_empty() && target.iter().all(u8::is_ascii_graphic);
    if method.is_empty() || !method.iter().copied().all(is_token) || !is_target {
        return Err(Reason::AmbiguousRequest);
    }
    match version {
        b"HTTP/1.1" | b"HTTP/1.0" if method == b"CONNECT" => Err(Reason::UnjudgedProtocol),
        b"HTTP/1.1" => Ok(true),
        b"HTTP/1.0" => Ok(false),
        _ if version.starts_with(b"HTTP/") => Err(Reason::UnjudgedProtocol),
        _ => Err(Reason::AmbiguousRequest),
    }
}

/// The fields that tell whom a request is for and where it ends.
#[derive(Default)]
struct Fields {
    host: bool,
    length: Option<u64>,
    chunked: bool,
    websocket: bool,
}

impl Fields {
    /// `None` for a field that is malformed, or the second of its kind.
    fn add(&mut self, line: &[u8]) -> Option<()> {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.is_empty() || !name.iter().copied().all(is_token) {
            return None;
        }
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        if is("host") {
            return (!std::mem::replace(&mut self.host, true)).then_some(());
        }
        if is("content-length") {
            let digits = Some(value).filter(|value| value.iter().all(u8::is_ascii_digit))?;
            let length = str::from_utf8(digits).ok()?.parse().ok()?;
            return self.length.replace(length).is_none().then_some(());
        }
        if is("transfer-encoding") {
            let first = !std::mem::replace(&mut self.chunked, true);
            return (first && value.eq_ignore_ascii_case(b"chunked")).then_some(());
        }
        self.websocket |= is("upgrade") && names_websocket(value);
        Some(())
    }
}

/// RFC 9110, section 5.6.2.
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}

#[cfg(test)]
mod tests {
    use super::*;
    use Reason::{AmbiguousRequest, HelloTooLong, UnjudgedProtocol};

    /// What becomes of a head, whatever pieces it comes in.
    fn judged(head: &[u8]) -> Result<Option<Body>, Reason> {
        let whole = match end(head, 0) {
            Ok(Some(at)) => check(&head[..at]).map(Some),
            Ok(None) => Ok(None),
            Err(reason) => Err(reason),
        };
        let mut pieces = Ok(None);
        for length in 1..=head.len() {
            match end(&head[..length], length - 1) {
                Ok(None) => {}
                Ok(Some(at)) => {
                    pieces = check(&head[..at]).map(Some);
                    break;
                }
                Err(reason) => {
                    pieces = Err(reason);
                    break;
                }
            }
        }
        assert_eq!(whole, pieces, "{:?}", head.escape_ascii().to_string());
        whole
    }

    #[test]
    fn what_is_clear_goes_on() {
        for (head, body) in [
            ("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", Body::Nothing),
            ("GET / HTTP/1.0\r\n\r\n", Body::Nothing),
            ("OPTIONS * HTTP/1.1\r\nHost:a.test\r\nX-Odd~Name:\t\u{fc}\t\r\n\r\n", Body::Nothing),
            ("POST /x HTTP/1.1\r\nhost: a\r\ncontent-LENGTH:  12 \r\n\r\n", Body::Length(12)),
            ("POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n", Body::Chunked),
            ("GET /x HTTP/1.1\r\nHost: a\r\nUpgrade: h2c, WebSocket\r\n\r\n", Body::Tunnel),
            ("GET /x HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\n\r\n", Body::Nothing),
        ] {
            assert_eq!(judged(head.as_bytes()), Ok(Some(body)), "{head:?}");
            for length in 0..head.len() {
                assert_eq!(end(&head.as_bytes()[..length], 0), Ok(None), "{:?}", &head.as_bytes()[..length]);
            }
        }
    }

    #[test]
    fn what_is_ambiguous_does_not() {
        for fields in [
            "Host: a\r\nHost: a\r\n",
            "Host: a\r\nhOST: b\r\n",
            "Host: a\n",
            "Host: a\r\nX: b\nHost: c\r\n",
            "Host: a\rX: b\r\n",
            "Host: a\r\r\n",
            "Host: a\0\r\n",
            "Host: a\x0b\r\n",
            "Host: a\x7f\r\n",
            "Host: a\r\n folded\r\n",
            "Host: a\r\n\tfolded\r\n",
            " Host: a\r\n",
            "Host : a\r\n",
            ": a\r\n",
            "Host\r\n",
            "X(y): a\r\n",
            "Content-Length: 1\r\nContent-Length: 1\r\n",
            "Content-Length: 1\r\nContent-Length: 2\r\n",
            "Content-Length: 1, 1\r\n",
            "Content-Length: +1\r\n",
            "Content-Length: 0x1\r\n",
            "Content-Length: -1\r\n",
            "Content-Length:\r\n",
            "Content-Length: 18446744073709551616\r\n",
            "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: identity\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding : chunked\r\n",
            "Transfer-Encoding: \x0bchunked\r\n",
            "Upgrade: websocket\r\nContent-Length: 3\r\n",
            "Upgrade: websocket\r\nTransfer-Encoding: chunked\r\n",
        ] {
            let head = format!("GET / HTTP/1.1\r\n{fields}\r\n");
            assert_eq!(judged(head.as_bytes()), Err(AmbiguousRequest), "{head:?}");
        }
        for line in [
            "GET  / HTTP/1.1",
            "GET / HTTP/1.1 ",
            "GET /a b HTTP/1.1",
            "GET\t/ HTTP/1.1",
            "GET /",
            "GET / http/1.1",
            "GET /\u{fc} HTTP/1.1",
            "GET  HTTP/1.1",
            "G(T / HTTP/1.1",
        ] {
            assert_eq!(judged(format!("{line}\r\nHost: a\r\n\r\n").as_bytes()), Err(AmbiguousRequest), "{line:?}");
        }
        let old = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(judged(old.as_bytes()), Err(AmbiguousRequest));
    }

    #[test]
    fn other_protocols_are_known() {
        for bytes in [
            &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
            b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test\r\n\r\n",
            b"GET / HTTP/1.2\r\n\r\n",
            b"GET / HTTP/11\r\n\r\n",
            b"\x16\x03\x01",
            b"\x80\x2e\x01",
            b" GET / HTTP/1.1\r\n\r\n",
            b"\0",
        ] {
            assert_eq!(judged(bytes), Err(UnjudgedProtocol), "{:?}", bytes.escape_ascii().to_string());
        }
    }

    #[test]
    fn a_head_has_its_size() {
        let head = |length: usize| {
            let begin = "GET / HTTP/1.1\r\nX: ";
            format!("{begin}{}\r\n\r\n", "x".repeat(length - begin.len() - END.len())).into_bytes()
        };
        assert_eq!(judged(&head(MAX_HEAD)), Ok(Some(Body::Nothing)));
        assert_eq!(judged(&head(MAX_HEAD + 1)), Err(HelloTooLong));
        assert_eq!(judged(&head(MAX_HEAD + 900)), Err(HelloTooLong));
        let fields = |number: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(number)).into_bytes();
        assert_eq!(judged(&fields(MAX_FIELDS)), Ok(Some(Body::Nothing)));
        assert_eq!(judged(&fields(MAX_FIELDS + 1)), Err(HelloTooLong));
    }
}
