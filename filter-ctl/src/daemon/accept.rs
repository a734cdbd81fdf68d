//! HTTP/1.1 over TCP, bounded in connections and in time: what the listeners of the API and of metrics share.

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// After accepting has failed, which is for want of descriptors.
const RESPITE: Duration = Duration::from_millis(100);

/// Serves each connection as long as it is polled; at most so many at a time, others wait to be accepted.
pub(super) async fn each<S: Future<Output = ()> + Send + 'static>(
    listener: TcpListener,
    most: usize,
    serve: impl Fn(TcpStream) -> S,
) {
    let room = Arc::new(Semaphore::new(most));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, listener = ?listener.local_addr().ok(), "cannot accept a connection");
                tokio::time::sleep(RESPITE).await;
                continue;
            }
        };
        let served = serve(stream);
        tokio::spawn(async move {
            served.await;
            drop(permit);
        });
    }
}

/// Answers the requests of a connection. A client may take so long for the head of one, of so many bytes, which is also how long it may be idle.
pub(super) async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    patience: Duration,
    head_bytes: usize,
) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience)
        .max_buf_size(head_bytes)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = served.await {
        tracing::debug!(%error, "a connection ended");
    }
}
