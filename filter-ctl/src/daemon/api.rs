//! What every request has at hand, whichever way it came.

use super::apply;
use super::config::ApiConfig;
use super::keys::Keys;
use super::live::Live;
use super::metrics::Counted;
use super::news::News;
use super::node::Node;
use super::providing::Providing;
use super::proxies::Proxies;
use super::refusal::Refusal;
use super::tokens::Tokens;
use filter_policy::Limits;
use std::sync::{Arc, Mutex};

/// What every request has at hand.
#[derive(Clone)]
pub(super) struct Api {
    pub(super) node: Arc<Mutex<Node>>,
    pub(super) applies: apply::Queue,
    pub(super) news: News,
    pub(super) keys: Keys,
    pub(super) tokens: Tokens,
    pub(super) proxies: Live<Proxies>,
    pub(super) providing: Arc<Providing>,
    pub(super) settings: Arc<ApiConfig>,
    pub(super) limits: Live<Limits>,
    pub(super) counted: Counted,
}

impl Api {
    /// Works on the node on a thread that may block: a policy switch waits for the kernel's grace period.
    pub(super) async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Node) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let node = self.node.clone();
        let worked =
            tokio::task::spawn_blocking(move || work(&mut node.lock().expect("no panic under the lock"))).await;
        worked.map_err(Refusal::internal)?
    }
}
