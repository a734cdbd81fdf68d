//! Names, and who resolves them.

mod dns_over_https;
mod dns_over_tls;
mod other_protocol_on_port_53;
mod other_resolver;
mod own_hosts_file;
mod own_hosts_file_tls;
mod rebinding_at_a_public_address;
mod rebinding_over_http;
mod rebinding_over_tls;
mod resolver_of_the_host;
mod tunnel_over_the_nameserver;

use crate::case::Case;

pub(super) const CASES: &[Case] = &[
    other_resolver::CASE,
    resolver_of_the_host::CASE,
    dns_over_tls::CASE,
    dns_over_https::CASE,
    other_protocol_on_port_53::CASE,
    tunnel_over_the_nameserver::CASE,
    rebinding_over_http::CASE,
    rebinding_at_a_public_address::CASE,
    rebinding_over_tls::CASE,
    own_hosts_file::CASE,
    own_hosts_file_tls::CASE,
];
