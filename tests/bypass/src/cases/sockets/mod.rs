//! Sockets, devices, processes, and who else might carry it.

mod bound_to_the_device;
mod deleted_qdisc;
mod embedded_in_a_socket;
mod fast_open;
mod forged_mark;
mod inner_namespace;
mod large_datagram;
mod loopback_of_the_host;
mod many_datagrams_in_a_call;
mod mapped_tcp;
mod mapped_udp;
mod metadata_service;
mod multipath;
mod open_connection;
mod open_connection_of_a_name;
mod open_datagram_socket;
mod orphaned_child;
mod own_address_of_the_host;
mod passed_socket;
mod ping_socket;
mod private_networks;
mod proxy_of_another_sandbox;
mod proxy_of_the_host;
mod raw_ip;
mod raw_protocol;
mod route_of_its_own;
mod second_device;
mod segmented_datagrams;
mod tcp_connect;
mod tcp_connect_port_80;
mod tcp_reconnect;
mod udp_connected;
mod udp_elsewhere;
mod udp_lite;
mod udp_reconnect;
mod udp_unconnected;
mod uring_connect;
mod uring_send;
mod user_namespace;

use crate::case::Case;

pub(super) const CASES: &[Case] = &[
    tcp_connect::CASE,
    tcp_connect_port_80::CASE,
    udp_unconnected::CASE,
    udp_connected::CASE,
    udp_elsewhere::CASE,
    udp_reconnect::CASE,
    tcp_reconnect::CASE,
    mapped_tcp::CASE,
    mapped_udp::CASE,
    many_datagrams_in_a_call::CASE,
    segmented_datagrams::CASE,
    large_datagram::CASE,
    fast_open::CASE,
    multipath::CASE,
    udp_lite::CASE,
    ping_socket::CASE,
    raw_ip::CASE,
    raw_protocol::CASE,
    uring_connect::CASE,
    uring_send::CASE,
    bound_to_the_device::CASE,
    forged_mark::CASE,
    open_datagram_socket::CASE,
    open_connection::CASE,
    open_connection_of_a_name::CASE,
    inner_namespace::CASE,
    second_device::CASE,
    deleted_qdisc::CASE,
    route_of_its_own::CASE,
    user_namespace::CASE,
    orphaned_child::CASE,
    passed_socket::CASE,
    proxy_of_the_host::CASE,
    proxy_of_another_sandbox::CASE,
    loopback_of_the_host::CASE,
    own_address_of_the_host::CASE,
    metadata_service::CASE,
    private_networks::CASE,
    embedded_in_a_socket::CASE,
];
