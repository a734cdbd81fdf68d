//! The API's listener: TCP, TLS when there is a certificate; bounded in connections and in time.

use crate::daemon::config::ApiConfig;
use anyhow::{Context, bail};
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// Connections at a time; others wait to be accepted.
const CONNECTIONS: usize = 1_024;
/// How long a client may take for its hello, and for the head of a request: also how long it may be idle.
const PATIENCE: Duration = Duration::from_secs(30);
/// After accepting has failed, which is for want of descriptors.
const RESPITE: Duration = Duration::from_millis(100);
/// Longest head of a request, in bytes.
const HEAD_BYTES: usize = 64 << 10;

/// Where the API listens.
pub(in crate::daemon) struct Listening {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
}

impl Listening {
    /// Listens where the configuration says.
    pub(in crate::daemon) async fn open(config: &ApiConfig) -> anyhow::Result<Listening> {
        let tls = config.tls.as_ref().map(|files| acceptor(&files.certificate, &files.key)).transpose()?;
        let listener = TcpListener::bind(config.listen).await;
        let listener = listener.with_context(|| format!("the API cannot listen on {}", config.listen))?;
        if tls.is_none() && !config.listen.ip().is_loopback() {
            tracing::warn!(listen = %config.listen, "the API is open to others without TLS: keys can be read on the way");
        }
        Ok(Listening { listener, tls })
    }

    /// Where that is.
    pub(in crate::daemon) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

fn acceptor(certificate: &std::path::Path, key: &std::path::Path) -> anyhow::Result<TlsAcceptor> {
    let shown = certificate.display();
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect);
    let chain = chain.with_context(|| format!("cannot read certificates from {shown}"))?;
    if chain.is_empty() {
        bail!("{shown} has no certificate");
    }
    let key = PrivateKeyDer::from_pem_file(key).with_context(|| format!("cannot read a key from {}", key.display()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = config
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .with_context(|| format!("the certificate {shown} and its key cannot be used"))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Answers requests as long as it is polled.
pub(in crate::daemon) async fn serve(Listening { listener, tls }: Listening, router: Router) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the API cannot accept a connection");
                tokio::time::sleep(RESPITE).await;
                continue;
            }
        };
        let (router, tls) = (router.clone(), tls.clone());
        tokio::spawn(async move {
            connection(stream, tls, router).await;
            drop(permit);
        });
    }
}

async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>, router: Router) {
    stream.set_nodelay(true).ok();
    match tls {
        None => answer(stream, router).await,
        // Whoever does not speak TLS is told so by its alert.
        Some(tls) => {
            if let Ok(Ok(stream)) = timeout(PATIENCE, tls.accept(stream)).await {
                answer(stream, router).await;
            }
        }
    }
}

async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, router: Router) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = served.await {
        tracing::debug!(%error, "a connection of the API ended");
    }
}
