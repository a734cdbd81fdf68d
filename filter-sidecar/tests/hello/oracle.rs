//! Another parser's opinion, on a million changed hellos if need be: what is taken here it takes too, with the same name.

use crate::{read, real::CORPUS};
use filter_sidecar::hello::{HelloReader, Progress};
use std::collections::BTreeMap;
use std::env;
use std::net::IpAddr;
use tls_parser::{
    TlsExtension, parse_tls_extension_sni_content, parse_tls_handshake_client_hello, parse_tls_raw_record,
};

/// What `tls-parser` says of a hello.
#[derive(Debug, PartialEq, Eq)]
enum Opinion {
    /// There is not all of it.
    Unfinished,
    /// It is one, with these host names.
    Hello(Vec<Vec<u8>>),
    /// It is none.
    None,
}

fn opinion(mut bytes: &[u8]) -> Opinion {
    let mut message = Vec::new();
    loop {
        if let Some(&[kind, a, b, c]) = message.first_chunk::<4>() {
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            if kind != 1 {
                return Opinion::None;
            }
            if let Some(hello) = message.get(4..4 + length) {
                return names(hello).map_or(Opinion::None, Opinion::Hello);
            }
        }
        match parse_tls_raw_record(bytes) {
            Ok((rest, record)) if record.hdr.record_type.0 == 22 => {
                message.extend_from_slice(record.data);
                bytes = rest;
            }
            Err(error) if error.is_incomplete() => return Opinion::Unfinished,
            _ => return Opinion::None,
        }
    }
}

/// The host names in a hello, if it is one.
fn names(hello: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (rest, hello) = parse_tls_handshake_client_hello(hello).ok()?;
    let mut unread = hello.ext.unwrap_or_default();
    let mut names = Vec::new();
    while let Some((&[kind, kind_low, high, low], behind)) = unread.split_first_chunk::<4>() {
        let (content, next) = behind.split_at_checked(usize::from(u16::from_be_bytes([high, low])))?;
        if [kind, kind_low] == [0, 0] {
            let (_, TlsExtension::SNI(list)) = parse_tls_extension_sni_content(content).ok()? else { return None };
            names.extend(list.into_iter().map(|(_, name)| name.to_vec()));
        }
        unread = next;
    }
    (rest.is_empty() && unread.is_empty()).then_some(names)
}

/// Whether the two agree, or the reader is the stricter; tells how.
fn compare(progress: &Progress, opinion: &Opinion) -> Result<&'static str, ()> {
    let is_address = |name: &[u8]| str::from_utf8(name).is_ok_and(|name| name.parse::<IpAddr>().is_ok());
    match (progress, opinion) {
        (Progress::Hello { name: Some(name) }, Opinion::Hello(names)) => match names.as_slice() {
            [one] if one.strip_suffix(b".").unwrap_or(one).eq_ignore_ascii_case(name.as_bytes()) => Ok("the same name"),
            _ => Err(()),
        },
        (Progress::Hello { name: None }, Opinion::Hello(names)) if names.iter().all(|name| is_address(name)) => {
            Ok("no name")
        }
        (Progress::Refused(_), Opinion::Hello(_)) => Ok("refused, where the other takes it"),
        (Progress::Refused(_), Opinion::Unfinished) => Ok("refused, where the other waits"),
        (Progress::Refused(_), Opinion::None) => Ok("refused by both"),
        (Progress::More, Opinion::Unfinished) => Ok("unfinished to both"),
        _ => Err(()),
    }
}

/// Changes a hello in one place.
fn change(random: &mut fastrand::Rng, hello: &mut Vec<u8>) {
    if hello.is_empty() {
        return;
    }
    // Half of the changes are around the name.
    let name = hello.windows(8).position(|bytes| bytes == b"example.").filter(|_| random.bool());
    let at = match name {
        Some(at) => (at.saturating_sub(12) + random.usize(..28)).min(hello.len() - 1),
        None => random.usize(..hello.len()),
    };
    match random.u8(..8) {
        0 => hello[at] ^= 1 << random.u8(..8),
        1 => hello[at] = random.u8(..),
        2 => hello[at] = hello[at].wrapping_add(1),
        3 => hello[at] = hello[at].wrapping_sub(1),
        4 => hello.insert(at, random.u8(..)),
        5 => drop(hello.remove(at)),
        6 => hello.truncate(at),
        _ => {
            let end = (at + random.usize(1..40)).min(hello.len());
            let copy = hello[at..end].to_vec();
            let to = random.usize(..hello.len());
            hello.splice(to..to, copy);
        }
    }
}

#[test]
fn changed_hellos_are_never_taken_for_what_another_parser_does_not_see() {
    let count: u32 = env::var("HELLO_CHANGES").map_or(100_000, |count| count.parse().expect("a number"));
    let seed = env::var("HELLO_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().expect("a number"));
    println!("HELLO_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut kinds: BTreeMap<&str, u32> = BTreeMap::new();
    for _ in 0..count {
        let (source, hello) = CORPUS[random.usize(..CORPUS.len())];
        let mut hello = hello.to_vec();
        (0..random.usize(1..4)).for_each(|_| change(&mut random, &mut hello));
        let (progress, opinion) = (read(&hello), opinion(&hello));
        match compare(&progress, &opinion) {
            Ok(kind) => *kinds.entry(kind).or_default() += 1,
            Err(()) => panic!("{source}: {progress:?} here, {opinion:?} there"),
        }
        // In two pieces it is the same.
        let mut reader = HelloReader::default();
        let first = reader.look(&hello[..random.usize(..=hello.len())]);
        let pieces = if first == Progress::More { reader.look(&hello) } else { first };
        assert_eq!(pieces, progress, "{source}");
    }
    println!("{kinds:?}");
    let least = count / 100;
    for kind in ["the same name", "refused by both", "unfinished to both"] {
        assert!(kinds.get(kind).is_some_and(|count| *count > least), "{kinds:?}");
    }
}
