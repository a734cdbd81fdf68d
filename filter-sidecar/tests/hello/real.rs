//! Hellos of real clients for `example.test`, as they were sent. `like-` are curl-impersonate's copies of browsers.

use crate::{hello, read};
use filter_core::Reason;
use filter_sidecar::hello::{HelloReader, Progress};
use test_world::records;

macro_rules! corpus {
    ($($name:literal),+ $(,)?) => { &[$(($name, include_bytes!(concat!("corpus/", $name)))),+] };
}

/// Each with where it is from.
pub(crate) const CORPUS: &[(&str, &[u8])] = corpus![
    "chromium",
    "curl-openssl-3.0",
    "git",
    "like-chrome142",
    "like-firefox144",
    "like-firefox147",
    "like-safari18_0",
    "like-tor145",
    "node-20",
    "openssl-3.0-tls12",
    "openssl-3.0-tls13",
    "rustls-0.23",
    "wget-gnutls-3.7",
];

/// The handshake message of a hello in one record.
fn message(hello: &[u8]) -> &[u8] {
    &hello[5..]
}

#[test]
fn real_hellos_name_whom_they_are_for() {
    for (source, bytes) in CORPUS {
        assert_eq!(read(bytes), hello("example.test"), "{source}");
    }
}

#[test]
fn every_prefix_is_unfinished_and_every_byte_counts() {
    for (source, bytes) in CORPUS {
        let mut reader = HelloReader::default();
        for length in 0..bytes.len() {
            assert_eq!(reader.look(&bytes[..length]), Progress::More, "{source}, {length} bytes");
            assert_eq!(read(&bytes[..length]), Progress::More, "{source}, {length} bytes at once");
        }
        assert_eq!(reader.look(bytes), hello("example.test"), "{source}");
    }
}

#[test]
fn every_division_into_records_is_the_same_hello() {
    for (source, bytes) in CORPUS {
        for fragment in (1..=32).chain([100, 255, 256, 511, 512, 1000, 1399, 1400]) {
            let divided = records(message(bytes), fragment);
            assert_eq!(read(&divided), hello("example.test"), "{source} by {fragment}");
            assert_eq!(read(&divided[..divided.len() - 1]), Progress::More, "{source} by {fragment}");
        }
        // Two records, cut at each place.
        for cut in 1..message(bytes).len() {
            let (first, second) = message(bytes).split_at(cut);
            let divided = [records(first, 1 << 14), records(second, 1 << 14)].concat();
            assert_eq!(read(&divided), hello("example.test"), "{source} cut at {cut}");
        }
    }
}

#[test]
fn post_quantum_keys_make_hellos_longer_than_a_packet() {
    assert!(CORPUS.iter().filter(|(_, bytes)| bytes.len() > 1500).count() >= 3);
}

#[test]
fn a_client_of_tls_1_1_is_refused() {
    assert_eq!(read(include_bytes!("corpus/openssl-3.0-tls11")), Progress::Refused(Reason::NotTls));
}
