//! Packets made by hand, from root of a namespace.

mod atomic_fragment;
mod data_behind_the_packet;
mod extension_headers;
mod foreign_sources;
mod fragment_without_header;
mod icmp_errors;
mod icmp_others;
mod icmp_tunnel;
mod ip_options;
mod long_extension_chain;
mod nat64;
mod neighbour_messages;
mod orphan_fragment;
mod other_protocols;
mod overlapping_fragments;
mod plain_datagram;
mod routing_header;
mod silent_neighbour;
mod sixtofour;
mod source_route;
mod spoofed_mac;
mod spoofed_source;
mod spoofed_source_to_the_allowed;
mod stray_segments;
mod teredo;
mod tiny_fragment;
mod tunnel_gre;
mod tunnel_ipip;
mod vlan_zero;
mod vlan_zero_twice;
mod well_known_ports;
mod wrong_lengths;

use crate::case::Case;

pub(super) const CASES: &[Case] = &[
    plain_datagram::CASE,
    stray_segments::CASE,
    ip_options::CASE,
    source_route::CASE,
    tiny_fragment::CASE,
    orphan_fragment::CASE,
    overlapping_fragments::CASE,
    fragment_without_header::CASE,
    atomic_fragment::CASE,
    extension_headers::CASE,
    long_extension_chain::CASE,
    routing_header::CASE,
    vlan_zero::CASE,
    vlan_zero_twice::CASE,
    tunnel_ipip::CASE,
    tunnel_gre::CASE,
    other_protocols::CASE,
    nat64::CASE,
    sixtofour::CASE,
    teredo::CASE,
    spoofed_source::CASE,
    spoofed_source_to_the_allowed::CASE,
    spoofed_mac::CASE,
    icmp_tunnel::CASE,
    icmp_errors::CASE,
    icmp_others::CASE,
    neighbour_messages::CASE,
    silent_neighbour::CASE,
    well_known_ports::CASE,
    data_behind_the_packet::CASE,
    wrong_lengths::CASE,
    foreign_sources::CASE,
];
