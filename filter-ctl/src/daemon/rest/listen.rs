//! The API's listener: TCP, TLS when there is a certificate; bounded in connections and in time.

use crate::daemon::accept;
use crate::daemon::config::ApiConfig;
use anyhow::{Context, bail};
use axum::Router;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// Connections at a time; others wait to be accepted.
const CONNECTIONS: usize = 1_024;
/// How long a client may take for its hello, and for the head of a request: also how long it may be idle.
const PATIENCE: Duration = Duration::from_secs(30);
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
    accept::each(listener, CONNECTIONS, |stream| connection(stream, tls.clone(), router.clone())).await;
}

async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>, router: Router) {
    stream.set_nodelay(true).ok();
    match tls {
        None => accept::answer(stream, router, PATIENCE, HEAD_BYTES).await,
        // Whoever does not speak TLS is told so by its alert.
        Some(tls) => {
            if let Ok(Ok(stream)) = timeout(PATIENCE, tls.accept(stream)).await {
                accept::answer(stream, router, PATIENCE, HEAD_BYTES).await;
            }
        }
    }
}
