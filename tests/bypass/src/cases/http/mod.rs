//! HTTP on port 80, which is judged by the Host of each request.

mod absolute_target;
mod address_as_host;
mod bare_line_feeds;
mod behind_a_body;
mod byte_by_byte_request;
mod bytes_in_host;
mod connect_method;
mod denied_host;
mod empty_host;
mod folded_host;
mod http2_preface;
mod http2_upgrade;
mod http_on_another_port;
mod large_head;
mod length_and_chunks;
mod list_in_host;
mod lookalike_hosts;
mod malformed_chunk;
mod no_host;
mod not_http;
mod odd_first_lines;
mod pipelined;
mod port_in_host;
mod redirect;
mod second_request;
mod space_before_the_colon;
mod two_hosts;
mod two_lengths;
mod unknown_coding;
mod user_in_host;
mod websocket;

use crate::case::Case;

pub(super) const CASES: &[Case] = &[
    denied_host::CASE,
    no_host::CASE,
    empty_host::CASE,
    address_as_host::CASE,
    two_hosts::CASE,
    user_in_host::CASE,
    list_in_host::CASE,
    port_in_host::CASE,
    bytes_in_host::CASE,
    folded_host::CASE,
    space_before_the_colon::CASE,
    bare_line_feeds::CASE,
    absolute_target::CASE,
    connect_method::CASE,
    length_and_chunks::CASE,
    two_lengths::CASE,
    unknown_coding::CASE,
    malformed_chunk::CASE,
    large_head::CASE,
    second_request::CASE,
    pipelined::CASE,
    behind_a_body::CASE,
    http2_preface::CASE,
    http2_upgrade::CASE,
    websocket::CASE,
    redirect::CASE,
    byte_by_byte_request::CASE,
    lookalike_hosts::CASE,
    odd_first_lines::CASE,
    http_on_another_port::CASE,
    not_http::CASE,
];
