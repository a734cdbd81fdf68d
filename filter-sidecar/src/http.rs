//! HTTP: the name is the `Host` of each request. A connection of the sandbox's has another one to the server for each name.

use crate::refusal::Refusal;
use crate::relay::relay;
use crate::sandbox::{Admitted, Shared};
use crate::stream::Io;
use filter_core::Reason;
use filter_policy::names::Name;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, TRANSFER_ENCODING, UPGRADE,
};
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Uri, Version};
use hyper_util::rt::TokioTimer;
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Mutex;

/// Where HTTP is judged.
pub(crate) const PORT: u16 = 80;
/// What a denial is called.
const DENIED: &str = "egress_denied";
/// How long a client may take for a head.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest head.
const MAX_HEAD: usize = 64 << 10;

type Body = BoxBody<Bytes, hyper::Error>;

/// A connection of the sandbox's.
struct Session {
    client: Arc<TcpStream>,
    shared: Arc<Shared>,
    servers: Mutex<HashMap<Name, Server>>,
}

/// The connection to a name.
struct Server {
    requests: SendRequest<Incoming>,
    stream: Arc<TcpStream>,
    _admitted: Admitted,
}

/// Answers the requests of a connection.
pub(crate) async fn serve(client: Arc<TcpStream>, shared: Arc<Shared>) -> Result<(), (Refusal, String)> {
    let session = Arc::new(Session { client: client.clone(), shared, servers: Mutex::default() });
    let service = service_fn(move |request| {
        let session = session.clone();
        async move { Ok::<_, Infallible>(session.answer(request).await) }
    });
    let connection = Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(MAX_HEAD)
        .serve_connection(Io(client), service)
        .with_upgrades();
    if let Err(error) = connection.await {
        tracing::debug!("a client: {error}");
    }
    Ok(())
}

impl Session {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let host = host(&request);
        let text = host.as_ref().cloned().unwrap_or_default();
        let answered = match host {
            Ok(text) => self.forward(request, &text).await,
            Err(refusal) => Err(refusal),
        };
        answered.unwrap_or_else(|refusal| {
            if let Some(reason) = refusal.reason() {
                self.shared.denied(reason, PORT, &text);
            }
            self.refuse(refusal, &text)
        })
    }

    async fn forward(&self, mut request: Request<Incoming>, text: &str) -> Result<Response<Body>, Refusal> {
        let name = Name::parse(text).map_err(|_| Refusal::Denied(Reason::NoName))?;
        let policy = self.shared.policy();
        if !policy.allows(&name) {
            return Err(Refusal::Denied(Reason::NameDenied));
        }
        let upgrade = upgrade(request.headers_mut())?;
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        *request.uri_mut() = path.parse::<Uri>().map_err(|_| Refusal::Denied(Reason::AmbiguousRequest))?;
        let client = upgrade.then(|| hyper::upgrade::on(&mut request));
        let mut servers = self.servers.lock().await;
        if servers.get(&name).is_none_or(|server| server.requests.is_closed()) {
            servers.insert(name.clone(), self.dial(&name, &policy.opened).await?);
        }
        let server = servers.get_mut(&name).expect("put there above");
        server.requests.ready().await.map_err(|_| Refusal::Unreachable)?;
        let mut response = server.requests.send_request(request).await.map_err(|_| Refusal::Unreachable)?;
        if let Some(client) = client
            && response.status() == StatusCode::SWITCHING_PROTOCOLS
        {
            let server = servers.remove(&name).expect("it has answered");
            let ends = hyper::upgrade::on(&mut response);
            tokio::spawn(tunnel(client, ends, self.client.clone(), server));
        }
        Ok(response.map(BodyExt::boxed))
    }

    async fn dial(&self, name: &Name, opened: &[ipnet::IpNet]) -> Result<Server, Refusal> {
        let stream = Arc::new(self.shared.dialler.dial(name, PORT, opened).await?);
        let ends = [self.client.clone(), stream.clone()];
        let admitted = self.shared.admit(name, ends).ok_or(Refusal::Denied(Reason::NameDenied))?;
        let (requests, connection) = handshake(Io(stream.clone())).await.map_err(|_| Refusal::Unreachable)?;
        tokio::spawn(connection.with_upgrades());
        Ok(Server { requests, stream, _admitted: admitted })
    }

    fn refuse(&self, refusal: Refusal, host: &str) -> Response<Body> {
        let (status, error) = match refusal {
            Refusal::Denied(Reason::AmbiguousRequest | Reason::UnjudgedProtocol) => (StatusCode::BAD_REQUEST, DENIED),
            Refusal::Denied(_) => (StatusCode::FORBIDDEN, DENIED),
            _ => (StatusCode::BAD_GATEWAY, "egress_failed"),
        };
        let body = serde_json::json!({
            "error": error,
            "reason": refusal.name(),
            "host": host.escape_default().to_string(),
            "sandbox": self.shared.id,
        });
        let body = Full::new(Bytes::from(body.to_string())).map_err(|never| match never {}).boxed();
        let mut response = Response::new(body);
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if refusal == Refusal::Denied(Reason::AmbiguousRequest) {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// The name that a request is for, as written, without its port.
fn host(request: &Request<Incoming>) -> Result<String, Refusal> {
    let headers = request.headers();
    if request.method() == Method::CONNECT || request.version() > Version::HTTP_11 {
        return Err(Refusal::Denied(Reason::UnjudgedProtocol));
    }
    let mut hosts = headers.get_all(HOST).iter();
    let (written, more) = (hosts.next(), hosts.next());
    let framed_twice = headers.contains_key(CONTENT_LENGTH) && headers.contains_key(TRANSFER_ENCODING);
    if more.is_some() || framed_twice || headers.get_all(CONTENT_LENGTH).iter().count() > 1 {
        return Err(Refusal::Denied(Reason::AmbiguousRequest));
    }
    let written = written
        .ok_or(Refusal::Denied(Reason::NoName))?
        .to_str()
        .map_err(|_| Refusal::Denied(Reason::AmbiguousRequest))?;
    let written = without_port(written)?;
    if let Some(authority) = request.uri().authority()
        && (authority.as_str().contains('@') || !written.eq_ignore_ascii_case(without_port(authority.as_str())?))
    {
        return Err(Refusal::Denied(Reason::AmbiguousRequest));
    }
    Ok(written.to_owned())
}

fn without_port(host: &str) -> Result<&str, Refusal> {
    match host.rsplit_once(':') {
        None => Ok(host),
        Some((name, "80")) if !name.contains(':') => Ok(name),
        _ => Err(Refusal::Denied(Reason::NoName)),
    }
}

/// Whether a request wants to go on as WebSocket; what wants to go on as HTTP/2 does not.
fn upgrade(headers: &mut HeaderMap) -> Result<bool, Refusal> {
    let Some(wanted) = headers.get(UPGRADE) else { return Ok(false) };
    if wanted.as_bytes().eq_ignore_ascii_case(b"websocket") {
        return Ok(true);
    }
    if wanted.as_bytes().eq_ignore_ascii_case(b"h2c") {
        headers.remove(UPGRADE);
        headers.remove(CONNECTION);
        headers.remove("http2-settings");
        return Ok(false);
    }
    Err(Refusal::Denied(Reason::UnjudgedProtocol))
}

/// Carries what comes behind an upgrade.
async fn tunnel(
    client: hyper::upgrade::OnUpgrade,
    server: hyper::upgrade::OnUpgrade,
    client_stream: Arc<TcpStream>,
    held: Server,
) {
    if let (Ok(client), Ok(server)) = (client.await, server.await)
        && let (Ok(client), Ok(server)) = (client.downcast::<Io>(), server.downcast::<Io>())
    {
        let early = [(&held.stream, &client.read_buf), (&client_stream, &server.read_buf)];
        for (to, bytes) in early {
            if crate::stream::write_all(to, bytes).await.is_err() {
                return;
            }
        }
        relay(&client_stream, &held.stream).await;
    }
}
