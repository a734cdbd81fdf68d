//! Hellos made by hand.

use crate::{hello, read};
use filter_core::Reason::{self, HelloTooLong, NoName, NotTls};
use filter_sidecar::hello::{HelloReader, MAX_HELLO, Progress};
use test_world::{ClientHello, records};

const SERVER_NAME: u16 = 0;
const SIGNATURE_ALGORITHMS: u16 = 13;
const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;

#[track_caller]
fn is_refused(bytes: &[u8], reason: Reason) {
    assert_eq!(read(bytes), Progress::Refused(reason), "{:02x?}", &bytes[..bytes.len().min(200)]);
}

#[test]
fn names_are_taken_as_they_are_but_in_lower_case() {
    for (sent, name) in [
        ("example.test", "example.test"),
        ("EXAMPLE.Test", "example.test"),
        ("example.test.", "example.test"),
        ("_dmarc.xn--bcher-kva.example", "_dmarc.xn--bcher-kva.example"),
    ] {
        assert_eq!(read(&ClientHello::named(sent).wire()), hello(name));
    }
}

#[test]
fn what_names_nobody_has_no_name() {
    let nobody = Progress::Hello { name: None };
    assert_eq!(read(&ClientHello::unnamed().wire()), nobody);
    assert_eq!(read(&ClientHello::named("203.0.113.10").wire()), nobody);
    assert_eq!(read(&ClientHello::named("2001:db8::1").wire()), nobody);
}

#[test]
fn what_is_no_name_is_refused() {
    for name in ["a b.test", "a\0b.test", "example.test\0", "a\r\nb.test", "\u{fc}.test", "a..test", ".test", "*.test"]
    {
        is_refused(&ClientHello::named(name).wire(), NoName);
    }
    is_refused(&ClientHello::named([b'a', 0xff, b'.', b't']).wire(), NoName);
    is_refused(&ClientHello::unnamed().names(&[b"a.test", b"b.test"]).wire(), NoName);
    is_refused(&ClientHello::unnamed().names(&[b"a.test", b"a.test"]).wire(), NoName);
    is_refused(&ClientHello::unnamed().names(&[]).wire(), NoName);
    is_refused(&ClientHello::named("").wire(), NotTls);
    // Two lists, and a list that is longer than what is there.
    is_refused(&ClientHello::named("a.test").names(&[b"b.test"]).wire(), NotTls);
    is_refused(&ClientHello::unnamed().extension(SERVER_NAME, vec![0, 9, 0, 0, 3, b'a']).wire(), NotTls);
}

#[test]
fn an_encrypted_hello_is_known_by_its_outer_name() {
    // The outer one: a cipher suite, a configuration, an encapsulated key, and what is encrypted.
    let content = [&[0, 0, 1, 0, 1, 9][..], &[0, 32], &[7; 32], &[0, 200], &[7; 200]].concat();
    let outer = ClientHello::named("outer.test").extension(ENCRYPTED_CLIENT_HELLO, content);
    assert_eq!(read(&outer.wire()), hello("outer.test"));
}

#[test]
fn what_comes_behind_is_nobody_s_business() {
    let early_data = [ClientHello::named("a.test").wire(), vec![20, 3, 3, 0, 1, 1, 23, 3, 3, 0, 2, 7, 7]].concat();
    assert_eq!(read(&early_data), hello("a.test"));
    // But in the record of the hello nothing comes behind it.
    let message = [ClientHello::named("a.test").message(), vec![1]].concat();
    is_refused(&records(&message, 1 << 14), NotTls);
}

#[test]
fn sixty_four_kib_are_read_and_no_more() {
    // Four records.
    let longest = ClientHello::named("a.test").padded_to(MAX_HELLO - 4 * 5).wire();
    assert_eq!((longest.len(), read(&longest)), (MAX_HELLO, hello("a.test")));
    assert_eq!(read(&longest[..MAX_HELLO - 1]), Progress::More);
    let longer = ClientHello::named("a.test").padded_to(MAX_HELLO - 4 * 5 + 1).wire();
    is_refused(&longer, HelloTooLong);
    // A message that says so itself, at its first bytes.
    is_refused(&[22, 3, 1, 0x40, 0, 1, 1, 0, 0], HelloTooLong);
    // Headers count: a short message in many records.
    let many = records(&ClientHello::named("a.test").padded_to(11_000).message(), 1);
    is_refused(&many, HelloTooLong);
    let fewer = records(&ClientHello::named("a.test").padded_to(10_000).message(), 1);
    assert_eq!(read(&fewer), hello("a.test"));
}

#[test]
fn what_is_no_tls_is_refused_at_its_first_bytes() {
    for text in ["GET / HTTP/1.1\r\n\r\n", "SSH-2.0-OpenSSH_9.2\r\n", "PRI * HTTP/2.0", "\0", "\n", "\u{15}"] {
        is_refused(&text.as_bytes()[..1], NotTls);
    }
    // A hello of SSL 2, another version, empty and oversized records, another content, another message.
    is_refused(&[0x80, 0x2e, 1, 3, 1], NotTls);
    is_refused(&[22, 2], NotTls);
    is_refused(&[22, 3, 1, 0, 0], NotTls);
    is_refused(&[22, 3, 1, 0x40, 1], NotTls);
    is_refused(&[23, 3, 3, 0, 1, 1], NotTls);
    is_refused(&[22, 3, 1, 0, 4, 2], NotTls);
    // The second record is of another kind.
    let hello = records(&ClientHello::named("a.test").message(), 20);
    let other = [&hello[..25], &[23], &hello[26..]].concat();
    is_refused(&other, NotTls);
}

#[test]
fn hellos_of_before_tls_1_2_are_not_taken() {
    is_refused(&ClientHello::named("a.test").without(SIGNATURE_ALGORITHMS).wire(), NotTls);
}

#[test]
fn a_refusal_comes_as_soon_as_it_is_known() {
    let mut reader = HelloReader::default();
    let bytes = [22, 3, 1, 0, 200, 2];
    let told: Vec<Progress> = (1..=bytes.len()).map(|length| reader.look(&bytes[..length])).collect();
    let (last, before) = told.split_last().expect("six");
    assert!(before.iter().all(|progress| *progress == Progress::More));
    assert_eq!(*last, Progress::Refused(NotTls));
}
