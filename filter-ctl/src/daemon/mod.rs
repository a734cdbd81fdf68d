//! The node agent: the only writer of BPF maps, netlink and the store.
//!
//! One thread at a time changes anything: every request takes the node for as long as it works on it. What
//! enforces is pinned, so a daemon that dies leaves enforcement as it was, and the next one takes it over.

mod accept;
mod adopt;
mod api;
mod apply;
mod attachment;
pub(crate) mod config;
mod connections;
mod denials;
mod end;
mod ending;
mod events;
mod explain;
mod hosts;
mod index;
mod keys;
mod lifetime;
mod live;
mod lock;
pub(crate) mod marks;
mod metrics;
mod news;
mod node;
mod origin;
mod orphans;
mod privileged;
mod providing;
mod proxies;
mod reconcile;
mod refusal;
mod reload;
mod rest;
mod server;
mod sidecar;
mod stalled;
mod status;
mod store;
mod tokens;
mod totals;
mod turns;
mod upkeep;
mod watch;

use anyhow::Context;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tokio::net::UnixListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// Slots that wait for a flow table.
const UNFOLLOWED: usize = 1_024;

/// Where a daemon finds and keeps its things.
#[derive(Clone, Debug)]
pub struct Options {
    /// The operator's configuration; a file that is missing means the defaults, unless it was named on the command line.
    pub config: PathBuf,
    /// Whether `config` was named on the command line.
    pub config_required: bool,
    /// Where documents are kept.
    pub state_dir: PathBuf,
    /// Where kernel objects are pinned, in a BPF filesystem.
    pub pin_dir: PathBuf,
    /// The socket of the local API.
    pub socket: PathBuf,
}

/// Runs the daemon until it is told to stop (SIGTERM, SIGINT). Enforcement goes on after it. Told to (SIGHUP), it reads the
/// configuration again.
///
/// # Errors
/// When it cannot start; the message says what is missing and what to do.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let config = config::read(&options.config, options.config_required)?;
    let _lock = lock::state_dir(&options.state_dir)?;
    // From here on a signal waits until what was begun is done, so that the socket is removed whenever it comes.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let reload = signal(SignalKind::hangup())?;
    let stop = async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        tracing::info!("stopping; enforcement goes on");
    };
    let listener = server::bind(&options.socket)?;
    let served = serve(listener, config, &options, reload, stop).await;
    server::unbind(&options.socket);
    served
}

/// Takes over what an earlier daemon left, and answers until it is told to stop.
async fn serve(
    listener: UnixListener,
    config: config::Config,
    options: &Options,
    reload: Signal,
    stop: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let ours = config.marks;
    let listening = match &config.api {
        Some(api) => Some(rest::Listening::open(api).await?),
        None => None,
    };
    let (counted, watched) = (metrics::Counted::new(), metrics::Daemon::default());
    if let Some(metrics) = &config.metrics {
        let listening = metrics::Listening::open(metrics).await?;
        tokio::spawn(metrics::serve(listening, watched.clone(), counted.clone()));
    }
    let provider = config.provider.as_ref().map(filter_provider::Provider::new).transpose();
    let provider = provider.context("the provider cannot be used")?;
    let pools = provider.as_ref().map(|provider| provider.pools().to_vec()).unwrap_or_default();
    let providing = Arc::new(providing::Providing::new(provider, config.templates.clone()));
    let proxies =
        live::Live::new(proxies::Proxies::new(&sidecar::resolvers(&config).unwrap_or_default(), &config.operator)?);
    let settings = Arc::new(config.api.clone().unwrap_or_default());
    let limits = live::Live::new(config.operator.limits.clone());
    let mut node = node::Node::open(config, &options.state_dir, &options.pin_dir)?;
    if let Some(release) = filter_dataplane::probe::untested_kernel() {
        tracing::info!(release, "the filter is not tested on this kernel; it has all that is needed");
    }
    adopt::adopt(&mut node).context("cannot take over the sandboxes of an earlier daemon")?;
    for collision in marks::collisions(ours)? {
        tracing::warn!("packet marks (mask {:#x}): {collision}; choose other bits in the configuration", ours.mask);
    }
    node.dataplane.protect(&pools).context("cannot protect the provider's addresses")?;
    let (keys, tokens) = (keys::Keys::load(&node.store)?, tokens::Tokens::new(node.store.host_secret()));
    let kernel_events = node.dataplane.events().context("cannot read the kernel's events")?;
    let (names, news, notices) = (node.names(), node.news.clone(), node.hosts.notices.watcher()?);
    let (denied, ended) = (node.sidecar.denied(), node.sidecar.ended());
    let links = node.dataplane.watch_links();
    let (account, connections) = (node.dataplane.connections()?, node.connections.clone());
    let node = Arc::new(Mutex::new(node));

    let (full, unfollowed) = mpsc::channel(UNFOLLOWED);
    tokio::spawn(connections::watch(account, names.clone(), connections));
    events::pump(kernel_events, names.clone(), news.clone(), full);
    events::follow(denied, names, news.clone());
    tokio::spawn(watch::watch(node.clone(), notices, unfollowed));
    tokio::spawn(watch::watch_links(node.clone(), links));
    tokio::spawn(watch::keep_sidecar(node.clone(), ended));
    let applies = apply::Queue::new(counted.clone());
    let api =
        api::Api { node: node.clone(), applies, news, keys, tokens, proxies, providing, settings, limits, counted };
    providing::adopt(&api).await.map_err(|refusal| anyhow::anyhow!("{}", refusal.reply().message))?;
    tokio::spawn(lifetime::watch(api.clone()));
    tokio::spawn(reload::watch(api.clone(), options.config.clone(), options.config_required, reload));
    if api.providing.is_there() {
        tokio::spawn(upkeep::watch(api.clone()));
    }
    if let Some(listening) = listening {
        tracing::info!(listen = %listening.address()?, "the API is open");
        tokio::spawn(rest::serve(listening, rest::for_keys(api.clone())));
    }
    filter_dataplane::return_memory();
    drop(watched.set(api.clone()));
    sd_notify::notify(&[sd_notify::NotifyState::Ready]).context("cannot tell systemd")?;
    tracing::info!(socket = %options.socket.display(), "ready");
    server::serve(listener, api, stop).await?;
    let close = move || node.lock().expect("no panic under the lock").store.close();
    tokio::task::spawn_blocking(close).await.context("the store was not closed")?
}
