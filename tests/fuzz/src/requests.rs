//! Heads of HTTP requests.

use filter_policy::names::Name;
use filter_sidecar::requests::{head, request};
use hyper::Request;
use hyper::header::{CONNECTION, HOST};
use hyper::http::request::Parts;

/// What a client sends. What goes on to a server is for one name, and ends where hyper's parser says.
pub fn requests(data: &[u8]) {
    let whole = head(data, 0);
    let pieces = (1..=data.len()).map(|end| head(&data[..end], end - 1)).find(|seen| *seen != Ok(None));
    assert_eq!(pieces.unwrap_or(Ok(None)), whole, "byte by byte");
    let Ok(Some(end)) = whole else { return };
    let mut fields = [httparse::EMPTY_HEADER; 100];
    let mut read = httparse::Request::new(&mut fields);
    match read.parse(data) {
        Ok(httparse::Status::Complete(length)) => assert_eq!(length, end, "another end"),
        Ok(httparse::Status::Partial) => panic!("no end"),
        Err(_) => return,
    }
    let Some(mut parts) = parts(&read) else { return };
    let written: Vec<Vec<u8>> = parts.headers.get_all(HOST).iter().map(|host| host.as_bytes().to_vec()).collect();
    let Ok(name) = request(&mut parts) else { return };
    assert!(parts.uri.authority().is_none() && parts.uri.scheme().is_none(), "{}", parts.uri);
    let Some(name) = name else {
        assert!(written.len() < 2, "{} hosts", written.len());
        return;
    };
    let [host] = written.as_slice() else { panic!("{} hosts", written.len()) };
    let host = str::from_utf8(host).expect("a host that was taken");
    assert_eq!(Name::parse(host.split(':').next().unwrap_or_default()).as_ref(), Ok(&name), "{host:?}");
    let forwarded: Vec<&[u8]> = parts.headers.get_all(HOST).iter().map(|host| host.as_bytes()).collect();
    assert_eq!(forwarded, [name.as_str().as_bytes()]);
    let connection = parts.headers.get(CONNECTION).map(|value| value.as_bytes());
    assert!(connection.is_none_or(|value| value.eq_ignore_ascii_case(b"upgrade")), "{connection:?}");
}

fn parts(read: &httparse::Request<'_, '_>) -> Option<Parts> {
    let mut request = Request::builder().method(read.method?).uri(read.path?);
    for field in &*read.headers {
        request = request.header(field.name, field.value);
    }
    Some(request.body(()).ok()?.into_parts().0)
}
