//! TLS on port 443, which is judged by the name in the first hello.

mod address_as_name;
mod allowed_name_elsewhere;
mod byte_by_byte;
mod bytes_in_the_name;
mod denied_name;
mod empty_name;
mod encrypted_hello;
mod fronting;
mod half_a_hello;
mod large_hello;
mod lookalike_names;
mod many_records;
mod no_name;
mod not_tls;
mod old_hello;
mod quic;
mod second_hello;
mod silence_first;
mod tls_on_another_port;
mod tls_on_port_80;
mod two_extensions;
mod two_names;

use crate::case::Case;

pub(super) const CASES: &[Case] = &[
    denied_name::CASE,
    byte_by_byte::CASE,
    many_records::CASE,
    large_hello::CASE,
    no_name::CASE,
    empty_name::CASE,
    address_as_name::CASE,
    two_names::CASE,
    two_extensions::CASE,
    bytes_in_the_name::CASE,
    lookalike_names::CASE,
    old_hello::CASE,
    not_tls::CASE,
    silence_first::CASE,
    second_hello::CASE,
    half_a_hello::CASE,
    allowed_name_elsewhere::CASE,
    tls_on_port_80::CASE,
    tls_on_another_port::CASE,
    quic::CASE,
    fronting::CASE,
    encrypted_hello::CASE,
];
