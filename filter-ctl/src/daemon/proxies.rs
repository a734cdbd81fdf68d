//! Whether a proxy that a policy names is one that a sandbox's connections may be tunnelled through.

use super::refusal::Refusal;
use filter_core::{Address, protected};
use filter_policy::document::{EgressProxy, Network};
use filter_policy::policy::ProxyHost;
use filter_policy::{Limits, Operator, Problem, validate_network};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use ipnet::IpNet;
use std::net::IpAddr;
use std::time::Duration;
use tokio::time::timeout;

/// After so long no resolver will answer.
const LOOK_UP: Duration = Duration::from_secs(5);
const FIELD: &str = "network.egressProxy.address";

/// Looks at proxies.
pub(super) struct Proxies {
    resolver: TokioResolver,
    opened: Vec<IpNet>,
    limits: Limits,
}

impl Proxies {
    /// With these resolvers. Names are absolute: no search list, no hosts file.
    pub(super) fn new(resolvers: &[IpAddr], operator: &Operator) -> anyhow::Result<Proxies> {
        let servers = resolvers.iter().map(|address| NameServerConfig::udp_and_tcp(*address)).collect();
        let config = ResolverConfig::from_name_servers(servers);
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        builder.options_mut().use_hosts_file = ResolveHosts::Never;
        let (opened, limits) = (operator.open_ranges.clone(), operator.limits.clone());
        Ok(Proxies { resolver: builder.build()?, opened, limits })
    }

    /// Refuses a proxy that is in a protected range, or whose name leads there or nowhere.
    pub(super) async fn check(&self, proxy: Option<&EgressProxy>) -> Result<(), Refusal> {
        let Some(proxy) = proxy else { return Ok(()) };
        let network = Network { egress_proxy: Some(proxy.clone()), ..Network::default() };
        let checked = validate_network(&network, None, &self.limits).map_err(|found| Refusal::Documents(found.0))?;
        let Some(proxy) = checked.0.egress_proxy else { return Ok(()) };
        let addresses = match &proxy.host {
            ProxyHost::Address(address) => vec![*address],
            ProxyHost::Name(name) => match timeout(LOOK_UP, self.resolver.lookup_ip(format!("{name}."))).await {
                Ok(Ok(found)) => found.iter().collect(),
                Ok(Err(_)) | Err(_) => return refuse(format!("\"{name}\": does not resolve to an address")),
            },
        };
        match addresses.iter().find(|address| self.is_protected(**address)) {
            Some(address) => refuse(format!("leads to {address}, which is in a protected range")),
            None => Ok(()),
        }
    }

    fn is_protected(&self, address: IpAddr) -> bool {
        let canonical = address.to_canonical();
        let is_fixed = protected::covers(&Address::from(canonical));
        let is_opened = || self.opened.iter().any(|range| range.contains(&canonical));
        address != canonical || is_fixed && !is_opened()
    }
}

fn refuse(message: String) -> Result<(), Refusal> {
    Err(Refusal::Documents(vec![Problem::error(FIELD, message)]))
}
