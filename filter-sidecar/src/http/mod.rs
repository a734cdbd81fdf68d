//! HTTP: the name is the `Host` of each request. A connection of the sandbox's has one to a server at a time: a request for another
//! name, or under another policy, gets another one.
//!
//! [`gate`] looks at each head as it comes, hyper reads it, [`request`] says what it wants, [`server`] sends on what hyper has
//! understood, written anew.

mod answer;
mod chunks;
mod gate;
mod head;
pub mod pure;
mod request;
mod server;
mod tunnel;

use crate::places::Unjudged;
use crate::refusal::Refusal;
use crate::sandbox::{Shared, cut};
use crate::stream::{read_some, shutdown_writing};
use answer::Body;
use filter_core::Reason;
use gate::{Gate, Refused};
use http_body_util::{BodyExt, Either, Empty};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Version};
use hyper_util::rt::TokioTimer;
use request::Wanted;
use server::{Server, Upload};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tunnel::Tunnel;

/// Where HTTP is judged.
pub(crate) const PORT: u16 = 80;
/// How long a client may be silent between two requests.
const IDLE: Duration = Duration::from_secs(60);
/// How long, and how much, a client may go on sending after the last answer, so that it gets to read that.
const LINGER: (Duration, usize) = (Duration::from_secs(1), 1 << 20);

/// A connection of the sandbox's.
struct Session {
    client: Arc<TcpStream>,
    /// Where the sandbox believes the server to be.
    to: SocketAddr,
    shared: Arc<Shared>,
    refused: Refused,
    server: Mutex<Option<Server>>,
    tunnel: Mutex<Option<Tunnel>>,
    /// Held until the first request is there.
    unjudged: Mutex<Option<Unjudged>>,
}

/// Answers the requests of a connection; tells why what came last was no request, if nobody has been told.
pub(crate) async fn serve(
    client: Arc<TcpStream>,
    to: SocketAddr,
    shared: Arc<Shared>,
    unjudged: Unjudged,
) -> Option<Reason> {
    let refused = Refused::default();
    let patience = shared.limits().patience();
    let session = Arc::new(Session {
        client: client.clone(),
        to,
        shared,
        refused: refused.clone(),
        server: Mutex::default(),
        tunnel: Mutex::default(),
        unjudged: Mutex::new(Some(unjudged)),
    });
    let answering = session.clone();
    let service = service_fn(move |request| {
        // Now, not later: by then the gate may have looked at the next head.
        let refused = answering.refused.take();
        let session = answering.clone();
        drop(taken(&session.unjudged));
        async move { Ok::<_, Infallible>(session.answer(request, refused).await) }
    });
    let served = Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .max_headers(head::MAX_FIELDS)
        .max_buf_size(head::MAX_HEAD * 2)
        .preserve_header_case(true)
        .auto_date_header(false)
        .serve_connection(Gate::new(client.clone(), refused.clone(), patience), service)
        .with_upgrades()
        .await;
    let (tunnel, shared) = (taken(&session.tunnel), session.shared.clone());
    drop(session);
    match tunnel {
        Some(tunnel) => tunnel.carry(&client, shared.workers()).await,
        None => linger(&client).await,
    }
    let misread = served.is_err_and(|error| error.is_parse()).then_some(Reason::AmbiguousRequest);
    refused.take().or(misread)
}

impl Session {
    async fn answer(&self, mut request: Request<Incoming>, refused: Option<Reason>) -> Response<Body> {
        let host = request::written_host(request.headers());
        let is_last = request::is_about_websocket(request.headers());
        let client = hyper::upgrade::on(&mut request);
        let answered = match refused {
            Some(reason) => Err(Refusal::Denied(reason)),
            None => self.forward(request, client).await,
        };
        let mut response = answered.unwrap_or_else(|refusal| {
            if let Some(reason) = refusal.reason() {
                self.shared.denied(reason, PORT, &host);
            }
            answer::refuse(refusal, &host, &self.shared.id)
        });
        if is_last && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            answer::end_connection(&mut response);
        }
        response
    }

    async fn forward(
        &self,
        request: Request<Incoming>,
        client: hyper::upgrade::OnUpgrade,
    ) -> Result<Response<Body>, Refusal> {
        let (mut parts, body) = request.into_parts();
        let wanted = request::judge(&parts)?;
        request::forward(&mut parts, &wanted);
        let body = if body.is_end_stream() { Either::Right(Empty::new()) } else { Either::Left(body) };
        let (mut response, server) = self.ask(Request::from_parts(parts, body), &wanted).await?;
        let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if switches && !(wanted.websocket && request::is_about_websocket(response.headers())) {
            return Err(Refusal::BadAnswer);
        }
        request::remove_hop_by_hop(response.headers_mut());
        *response.version_mut() = Version::HTTP_11;
        if switches {
            request::ask_for_websocket(response.headers_mut());
            let ends = hyper::upgrade::on(&mut response);
            put(&self.tunnel, Tunnel { client, ends, server });
        } else {
            put(&self.server, server);
        }
        let client = self.client.clone();
        // Half an answer must not look like a whole one.
        let whole_or_cut = move |error| {
            cut(&client);
            error
        };
        Ok(response.map(|body| body.map_err(whole_or_cut).boxed()))
    }

    /// Sends a request to the server of its name. A connection that the server has closed meanwhile is no reason not to.
    async fn ask(
        &self,
        mut request: Request<Upload>,
        wanted: &Wanted,
    ) -> Result<(Response<Incoming>, Server), Refusal> {
        loop {
            let policy = self.shared.policy();
            let target = policy.way(wanted.name.as_ref(), self.to).map_err(Refusal::Denied)?;
            let kept = taken(&self.server).filter(|server| server.is_for(&target, &policy));
            let is_kept = kept.is_some();
            let again = copy(&request).filter(|_| is_kept);
            let mut server = match kept {
                Some(server) => server,
                None => Server::dial(&self.client, &self.shared, &target, &policy).await?,
            };
            let mut error = match server.ask(request).await {
                Ok(response) => return Ok((response, server)),
                Err(error) => error,
            };
            request = match error.take_message().filter(|_| is_kept).or(again) {
                Some(request) => request,
                None => return Err(self.failed(error.error())),
            };
        }
    }

    fn failed(&self, error: &hyper::Error) -> Refusal {
        tracing::debug!("a server: {error}");
        match self.refused.take() {
            Some(reason) => Refusal::Denied(reason),
            None if error.is_parse() => Refusal::BadAnswer,
            None => Refusal::Unreachable,
        }
    }
}

/// A request once more, if it may be sent twice (RFC 9110, section 9.2.2).
fn copy(request: &Request<Upload>) -> Option<Request<Upload>> {
    let Either::Right(body) = request.body() else { return None };
    if !request.method().is_idempotent() {
        return None;
    }
    let mut copy = Request::new(Either::Right(*body));
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    Some(copy)
}

/// Ends a connection so that the client gets to read what was sent last: unread bytes would make it a reset.
async fn linger(client: &TcpStream) {
    let (patience, most) = LINGER;
    let read = async {
        let (mut bytes, mut total) = (Vec::new(), 0);
        while let Ok(read @ 1..) = read_some(client, &mut bytes).await {
            total += read;
            if total > most {
                return;
            }
            bytes.clear();
        }
    };
    if shutdown_writing(client).is_ok() {
        timeout(patience, read).await.unwrap_or_default();
    }
}

fn taken<T>(place: &Mutex<Option<T>>) -> Option<T> {
    place.lock().unwrap_or_else(PoisonError::into_inner).take()
}

fn put<T>(place: &Mutex<Option<T>>, value: T) {
    *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
}
