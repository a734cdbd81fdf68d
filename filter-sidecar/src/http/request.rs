//! What a request wants, and what of it goes on to the server.

use super::head::names_websocket;
use crate::refusal::Refusal;
use filter_core::Reason;
use filter_policy::names::Name;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::request::Parts;
use hyper::{Method, Uri, Version};

const AMBIGUOUS: Refusal = Refusal::Denied(Reason::AmbiguousRequest);
const UNJUDGED: Refusal = Refusal::Denied(Reason::UnjudgedProtocol);
const NO_NAME: Refusal = Refusal::Denied(Reason::NoName);
/// Fields that concern one connection only, beside those that `Connection` names.
const HOP_BY_HOP: [HeaderName; 6] = [
    CONNECTION,
    TE,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
];
/// What `Connection` cannot take away.
const STAYS: [HeaderName; 4] = [HOST, CONTENT_LENGTH, TRANSFER_ENCODING, EXPECT];

/// So much of what is no name is shown to people.
const SHOWN: usize = 256;

/// What a request wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The name that it is for; an address is none.
    pub(super) name: Option<Name>,
    /// Whether it wants to go on as WebSocket.
    pub(super) websocket: bool,
}

/// The host that a request is for as it is written, without its port; for people.
pub(super) fn written_host(headers: &HeaderMap) -> String {
    let host = headers.get(HOST).map(HeaderValue::as_bytes).unwrap_or_default();
    let host = String::from_utf8_lossy(host).into_owned();
    without_port(&host).unwrap_or(&host).chars().take(SHOWN).collect()
}

/// Reads what a request wants.
pub(super) fn judge(parts: &Parts) -> Result<Wanted, Refusal> {
    if parts.method == Method::CONNECT || parts.version > Version::HTTP_11 {
        return Err(UNJUDGED);
    }
    let mut hosts = parts.headers.get_all(HOST).iter();
    let Some(host) = hosts.next() else {
        check_target(&parts.method, &parts.uri, None, "")?;
        return Ok(Wanted { name: None, websocket: wants_websocket(parts)? });
    };
    if hosts.next().is_some() {
        return Err(AMBIGUOUS);
    }
    let host = str::from_utf8(host.as_bytes()).map_err(|_| AMBIGUOUS)?;
    let name = name(host)?;
    check_target(&parts.method, &parts.uri, name.as_ref(), host)?;
    let websocket = wants_websocket(parts)?;
    Ok(Wanted { name, websocket })
}

/// Leaves of a request what its server is to get: nothing that names another host, and nothing that was meant for us.
pub(super) fn forward(parts: &mut Parts, wanted: &Wanted) {
    let target = parts.uri.path_and_query().map_or_else(Uri::default, |target| Uri::from(target.clone()));
    parts.uri = target;
    parts.version = Version::HTTP_11;
    remove_hop_by_hop(&mut parts.headers);
    if let Some(name) = &wanted.name {
        parts.headers.insert(HOST, HeaderValue::from_str(name.as_str()).expect("a name is ASCII"));
    }
    if wanted.websocket {
        ask_for_websocket(&mut parts.headers);
    }
}

/// Removes what concerns one connection only.
pub(super) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    for name in tokens(headers, CONNECTION) {
        if let Ok(name) = HeaderName::try_from(name)
            && !STAYS.contains(&name)
        {
            headers.remove(name);
        }
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

/// The two fields of an upgrade.
pub(super) fn ask_for_websocket(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

/// Whether an `Upgrade` field is about WebSocket, or about that among others.
pub(super) fn is_about_websocket(headers: &HeaderMap) -> bool {
    headers.get_all(UPGRADE).iter().any(|value| names_websocket(value.as_bytes()))
}

/// The name of a host; an address is none.
fn name(host: &str) -> Result<Option<Name>, Refusal> {
    // Somebody may read the part in front of it, or behind it.
    if host.contains(|character: char| "@,/\\?# \t".contains(character)) {
        return Err(AMBIGUOUS);
    }
    match without_port(host) {
        Ok(host) => Ok(Name::parse(host).ok()),
        Err(NO_NAME) => Ok(None),
        Err(other) => Err(other),
    }
}

fn without_port(host: &str) -> Result<&str, Refusal> {
    match host.rsplit_once(':') {
        None => Ok(host),
        // An IPv6 address.
        Some((name, _)) if name.contains([':', '[']) => Err(NO_NAME),
        Some((name, port)) if port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit()) => Ok(name),
        Some(_) => Err(AMBIGUOUS),
    }
}

/// The target says the same as the `Host`, or nothing of a host.
fn check_target(method: &Method, target: &Uri, host: Option<&Name>, written: &str) -> Result<(), Refusal> {
    let says = |authority: &str| match (host, name(authority)) {
        (Some(host), Ok(Some(name))) => name == *host,
        (None, Ok(None)) => !authority.is_empty() && authority.eq_ignore_ascii_case(written),
        _ => false,
    };
    match (target.scheme_str(), target.authority()) {
        (None, None) if target.path().starts_with('/') => Ok(()),
        (None, None) if target.path() == "*" && method == Method::OPTIONS => Ok(()),
        (Some("http"), Some(authority)) if says(authority.as_str()) => Ok(()),
        _ => Err(AMBIGUOUS),
    }
}

/// HTTP/2 is not offered to the server; of all else only WebSocket can be had.
fn wants_websocket(parts: &Parts) -> Result<bool, Refusal> {
    let wanted: Vec<String> = tokens(&parts.headers, UPGRADE).into_iter().filter(|one| one != "h2c").collect();
    if wanted.is_empty() {
        return Ok(false);
    }
    if wanted.iter().any(|one| one != "websocket") {
        return Err(UNJUDGED);
    }
    let is_complete = tokens(&parts.headers, CONNECTION).iter().any(|one| one == "upgrade");
    if !is_complete || parts.method != Method::GET || parts.version != Version::HTTP_11 {
        return Err(AMBIGUOUS);
    }
    Ok(true)
}

/// The elements of a field that is a list, in lower case.
fn tokens(headers: &HeaderMap, name: HeaderName) -> Vec<String> {
    let values = headers.get_all(name);
    let elements = values.iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let elements = elements.map(|one| String::from_utf8_lossy(one.trim_ascii()).to_ascii_lowercase());
    elements.filter(|one| !one.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Request;

    fn request(method: &str, target: &str, fields: &[(&str, &[u8])]) -> Parts {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in fields {
            request = request.header(*name, HeaderValue::from_bytes(value).unwrap());
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn hosts() {
        let judged = |host: &[u8]| {
            let wanted = judge(&request("GET", "/", &[("host", host)]))?;
            wanted.name.map(|name| name.to_string()).ok_or(NO_NAME)
        };
        for (host, name) in [
            (&b"api.example.test"[..], "api.example.test"),
            (b"API.Example.TEST.", "api.example.test"),
            (b"api.example.test:80", "api.example.test"),
            (b"api.example.test.:80", "api.example.test"),
            (b"api.example.test:8080", "api.example.test"),
            (b"api.example.test:", "api.example.test"),
            ("b\u{fc}cher.test".as_bytes(), "xn--bcher-kva.test"),
            ("B\u{dc}CHER.test".as_bytes(), "xn--bcher-kva.test"),
        ] {
            assert_eq!(judged(host).as_deref(), Ok(name));
        }
        for host in [
            &b""[..],
            b".",
            b":80",
            b"203.0.113.10",
            b"203.0.113.10:80",
            b"[2001:db8::1]",
            b"[2001:db8::1]:80",
            b"2001:db8::1",
            b"0x7f.1",
            b"2130706433",
            b"0177.0.0.1",
            b"127.1",
            b"a..test",
            b"-a.test",
            b"a.test..",
            b"*.test",
            b"a;b.test",
            b"a%2etest",
            "\u{ff11}.\u{ff12}".as_bytes(),
        ] {
            assert_eq!(judged(host), Err(NO_NAME), "{:?}", host.escape_ascii().to_string());
        }
        for host in [
            &b"user@a.test"[..],
            b"a.test@b.test",
            b"a.test, b.test",
            b"a.test b.test",
            b"a.test/",
            b"a.test\\b",
            b"a.test?",
            b"a.test#",
            b"a.test:http",
            b"a.test:80:80x",
            b"a.test:+80",
            b"a.test:000080",
            b"a\xff.test",
        ] {
            assert!(judged(host).is_err(), "{:?}", host.escape_ascii().to_string());
        }
        assert_eq!(judged(b"user@a.test"), Err(AMBIGUOUS));
        assert_eq!(judge(&request("GET", "/", &[])).map(|wanted| wanted.name), Ok(None));
        assert_eq!(judge(&request("GET", "/", &[("host", b"a.test"), ("host", b"a.test")])), Err(AMBIGUOUS));
    }

    #[test]
    fn what_people_are_shown_is_short() {
        let shown = |host: &str| written_host(&request("GET", "/", &[("host", host.as_bytes())]).headers);
        assert_eq!(shown("A.test.:80"), "A.test.");
        assert_eq!(shown("a@b:x"), "a@b:x");
        assert_eq!(shown(&"\u{fc}".repeat(30_000)), "\u{fc}".repeat(SHOWN));
    }

    #[test]
    fn targets() {
        for (method, target, good) in [
            ("GET", "/", true),
            ("GET", "//b.test/x", true),
            ("GET", "http://a.test/x?y", true),
            ("GET", "HTTP://A.test.:80/x", true),
            ("GET", "http://a.test?x", true),
            ("OPTIONS", "*", true),
            ("GET", "*", false),
            ("GET", "https://a.test/", false),
            ("GET", "ftp://a.test/", false),
            ("GET", "http://b.test/", false),
            ("GET", "http://a.test@b.test/", false),
            ("GET", "http://u@a.test/", false),
            ("GET", "a.test", false),
            ("GET", "a.test:80", false),
        ] {
            let mut parts = request(method, target, &[("host", b"a.test")]);
            let judged = judge(&parts);
            assert_eq!(judged.is_ok(), good, "{method} {target}: {judged:?}");
            if let Ok(wanted) = judged {
                forward(&mut parts, &wanted);
                assert!(parts.uri.authority().is_none(), "{}", parts.uri);
            }
        }
        assert_eq!(judge(&request("CONNECT", "a.test:443", &[("host", b"a.test")])), Err(UNJUDGED));
    }

    #[test]
    fn upgrades() {
        let judged = |upgrade: &[u8], connection: &[u8]| {
            let fields = [("host", &b"a.test"[..]), ("upgrade", upgrade), ("connection", connection)];
            judge(&request("GET", "/", &fields)).map(|wanted| wanted.websocket)
        };
        assert_eq!(judged(b"websocket", b"keep-alive, Upgrade"), Ok(true));
        assert_eq!(judged(b"h2c, WebSocket", b"upgrade"), Ok(true));
        assert_eq!(judged(b"h2c", b"Upgrade, HTTP2-Settings"), Ok(false));
        assert_eq!(judged(b"websocket", b"keep-alive"), Err(AMBIGUOUS));
        assert_eq!(judged(b"TLS/1.2", b"upgrade"), Err(UNJUDGED));
        assert_eq!(judged(b"websocket, foo", b"upgrade"), Err(UNJUDGED));
    }

    #[test]
    fn what_is_forwarded() {
        let mut parts = request(
            "POST",
            "http://a.test/x",
            &[
                ("host", b"A.test.:80"),
                ("connection", b"close, X-Secret, Host, Content-Length"),
                ("connection", b"http2-settings, upgrade"),
                ("content-length", b"3"),
                ("x-secret", b"1"),
                ("upgrade", b"h2c"),
                ("http2-settings", b"AAA"),
                ("keep-alive", b"timeout=5"),
                ("te", b"trailers"),
                ("x-kept", b"2"),
            ],
        );
        let wanted = judge(&parts).unwrap();
        forward(&mut parts, &wanted);
        let mut left: Vec<String> = parts.headers.iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
        left.sort();
        assert_eq!(left, ["content-length: \"3\"", "host: \"a.test\"", "x-kept: \"2\""]);
        assert_eq!(parts.uri, "/x");
    }
}
