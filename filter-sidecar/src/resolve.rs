//! Addresses of names: asked for once at a time, and remembered as long as they hold.
//!
//! Each sandbox has a memory of its own, so that none can push another's names out of it, or learn what others asked for.

use crate::limits::Limits;
use anyhow::{Context, Result};
use filter_policy::names::Name;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::{RData, RecordType};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::timeout;

/// After the addresses of one family have come, those of the other may take so much longer (RFC 8305, section 3).
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);
/// After so long no resolver will answer.
const LOOK_UP: Duration = Duration::from_secs(5);
/// Most addresses of an answer that are looked at.
const MOST_ADDRESSES: usize = 64;
/// Longest time that an answer is remembered, whatever it says of itself.
const LONGEST: Duration = Duration::from_secs(3_600);
/// For so long at most nobody asks again for what there is not (RFC 2308, section 5).
const LONGEST_NEGATIVE: Duration = Duration::from_secs(300);
/// For so long nobody asks again when there was no answer.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Asks the resolvers.
pub(crate) struct Resolver(RwLock<TokioResolver>);

impl Resolver {
    /// One that asks these. Names are absolute: no search list, no hosts file.
    pub(crate) fn new(resolvers: &[IpAddr], runtime: &Runtime) -> Result<Resolver> {
        let _inside = runtime.enter();
        let servers = resolvers.iter().map(|address| NameServerConfig::udp_and_tcp(*address)).collect();
        let config = ResolverConfig::from_name_servers(servers);
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let options = builder.options_mut();
        options.use_hosts_file = ResolveHosts::Never;
        // Sandboxes remember for themselves.
        options.cache_size = 0;
        Ok(Resolver(RwLock::new(builder.build().context("cannot make a resolver")?)))
    }

    /// Asks whom the other asks, from now on.
    pub(crate) fn replace(&self, other: Resolver) {
        let other = other.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = other;
    }

    async fn ask(&self, name: &Name, family: RecordType) -> Answer {
        let now = Instant::now();
        let resolver = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        match timeout(LOOK_UP, resolver.lookup(format!("{name}."), family)).await {
            Ok(Ok(found)) => {
                let addresses = found.answers().iter().filter_map(|record| match record.data {
                    RData::A(v4) => Some(IpAddr::V4(v4.0)),
                    RData::AAAA(v6) => Some(IpAddr::V6(v6.0)),
                    _ => None,
                });
                Answer {
                    addresses: addresses.take(MOST_ADDRESSES).collect(),
                    until: found.valid_until().min(now + LONGEST),
                    failed: false,
                }
            }
            Ok(Err(NetError::Dns(DnsError::NoRecordsFound(none)))) => {
                let holds = none.negative_ttl.map_or(AFTER_FAILURE, |seconds| Duration::from_secs(seconds.into()));
                Answer { addresses: Vec::new(), until: now + holds.min(LONGEST_NEGATIVE), failed: false }
            }
            Ok(Err(_)) | Err(_) => {
                Answer { addresses: Vec::new(), until: Instant::now() + AFTER_FAILURE, failed: true }
            }
        }
    }
}

/// What the resolvers said.
#[derive(Clone, Debug)]
struct Answer {
    addresses: Vec<IpAddr>,
    until: Instant,
    failed: bool,
}

/// What is known of a name and a family, or being asked for.
type Known = Arc<OnceCell<Answer>>;

/// What is known of a name.
#[derive(Default)]
struct Families {
    v4: Known,
    v6: Known,
}

impl Families {
    fn of(&self, family: RecordType) -> &Known {
        if family == RecordType::AAAA { &self.v6 } else { &self.v4 }
    }

    fn of_mut(&mut self, family: RecordType) -> &mut Known {
        if family == RecordType::AAAA { &mut self.v6 } else { &mut self.v4 }
    }

    fn both(&self) -> [&Known; 2] {
        [&self.v6, &self.v4]
    }
}

/// The names of a sandbox.
pub(crate) struct Names {
    resolver: Arc<Resolver>,
    known: Mutex<HashMap<Name, Families>>,
    asking: Semaphore,
    most: usize,
}

/// The addresses of a name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// These, of both families.
    Addresses(Vec<IpAddr>),
    /// It has none.
    Nothing,
    /// Nobody could tell.
    NoAnswer,
}

impl Names {
    /// None that is known yet.
    pub(crate) fn new(resolver: Arc<Resolver>, limits: &Limits) -> Names {
        Names {
            resolver,
            known: Mutex::default(),
            asking: Semaphore::new(limits.lookups.max(1) as usize),
            most: limits.cached_names.max(1) as usize,
        }
    }

    /// The addresses of a name.
    pub(crate) async fn find(self: &Arc<Names>, name: &Name) -> Found {
        match self.at_hand(name) {
            Some(addresses) => Found::Addresses(addresses),
            None => Box::pin(self.ask_for(name)).await,
        }
    }

    /// Addresses of a name of which both families are known.
    fn at_hand(&self, name: &Name) -> Option<Vec<IpAddr>> {
        let now = Instant::now();
        let known = self.known();
        let [v6, v4] = known.get(name)?.both().map(|known| known.get().filter(|answer| answer.until > now));
        let addresses = [&v6?.addresses[..], &v4?.addresses].concat();
        Some(addresses).filter(|addresses| !addresses.is_empty())
    }

    async fn ask_for(self: &Arc<Names>, name: &Name) -> Found {
        let v6 = self.answer(name, RecordType::AAAA);
        let v4 = self.answer(name, RecordType::A);
        tokio::pin!(v6, v4);
        let (first, second) = tokio::select! {
            biased;
            v6 = &mut v6 => {
                let other = within(&v6, v4).await;
                (v6, other)
            }
            v4 = &mut v4 => {
                let other = within(&v4, v6).await;
                (v4, other)
            }
        };
        let answers = [Some(first), second];
        let addresses: Vec<IpAddr> =
            answers.iter().flatten().flat_map(|answer| answer.addresses.iter().copied()).collect();
        if !addresses.is_empty() {
            Found::Addresses(addresses)
        } else if answers.iter().flatten().any(|answer| answer.failed) {
            Found::NoAnswer
        } else {
            Found::Nothing
        }
    }

    /// When what is known of a name ends to hold; `None` when nothing is known.
    pub(crate) fn holds_until(&self, name: &Name) -> Option<Instant> {
        let known = self.known();
        let until = known.get(name)?.both().map(|known| Some(known.get()?.until));
        until.into_iter().flatten().min()
    }

    /// Asks anew for a name that is wanted again and again. Without an answer what is known stays.
    pub(crate) async fn refresh(&self, name: &Name) {
        for family in [RecordType::AAAA, RecordType::A] {
            let answer = self.ask(name, family).await;
            if !answer.failed {
                *self.known().entry(name.clone()).or_default().of_mut(family) = Arc::new(OnceCell::from(answer));
            }
        }
    }

    async fn ask(&self, name: &Name, family: RecordType) -> Answer {
        let _turn = self.asking.acquire().await;
        self.resolver.ask(name, family).await
    }

    /// An answer that is known, or comes: asking goes on even when nobody waits for it any more.
    async fn answer(self: &Arc<Names>, name: &Name, family: RecordType) -> Answer {
        let cell = self.cell(name, family);
        if let Some(answer) = cell.get() {
            return answer.clone();
        }
        let (names, name) = (self.clone(), name.clone());
        let asked = tokio::spawn(async move { cell.get_or_init(|| names.ask(&name, family)).await.clone() });
        asked.await.unwrap_or_else(|_| Answer { addresses: Vec::new(), until: Instant::now(), failed: true })
    }

    /// The place of an answer; one that does not hold any more is forgotten.
    fn cell(&self, name: &Name, family: RecordType) -> Known {
        let now = Instant::now();
        let holds = |known: &Known| known.get().is_none_or(|answer| answer.until > now);
        let mut all = self.known();
        if let Some(families) = all.get_mut(name) {
            let known = families.of_mut(family);
            if !holds(known) {
                *known = Known::default();
            }
            return known.clone();
        }
        if all.len() >= self.most {
            all.retain(|_, families| families.both().into_iter().any(holds));
        }
        if all.len() >= self.most {
            let is_answered = |families: &Families| families.both().iter().all(|known| known.initialized());
            let answered = all.iter().find(|(_, families)| is_answered(families)).map(|(name, _)| name.clone());
            answered.map(|name| all.remove(&name));
        }
        all.entry(name.clone()).or_default().of(family).clone()
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Name, Families>> {
        self.known.lock().expect("no panic under the lock")
    }
}

/// The other family's answer: waited for as long as there is no address, a little longer where there is one.
async fn within(first: &Answer, other: impl Future<Output = Answer>) -> Option<Answer> {
    if first.addresses.is_empty() { Some(other.await) } else { timeout(RESOLUTION_DELAY, other).await.ok() }
}
