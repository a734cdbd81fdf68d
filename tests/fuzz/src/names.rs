//! Names and lists of them, against the rule as the documentation states it.

use filter_policy::NameList;
use filter_policy::names::{Name, NamePattern};
use std::net::IpAddr;

/// The first line is the name that is asked for, the others are entries.
pub fn names(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.split('\n');
    let asked = lines.next().unwrap_or_default();
    let patterns: Vec<NamePattern> = lines.filter_map(entry).collect();
    let Ok(name) = Name::parse(asked) else {
        assert!(!patterns.iter().any(|pattern| pattern.matches(asked)), "{asked:?} is no name, and covered");
        return;
    };
    check(asked, &name);
    let list = NameList::new((0..).zip(&patterns));
    assert_eq!(list.find(&name), naive(&patterns, &name), "{name} in {patterns:?}");
}

/// An entry that can be read means what it is written as.
fn entry(text: &str) -> Option<NamePattern> {
    let pattern = NamePattern::parse(text).ok()?;
    assert_eq!(NamePattern::parse(&pattern.to_string()).as_ref(), Ok(&pattern));
    Some(pattern)
}

/// The invariant of a name, and that its other spellings are the same.
fn check(asked: &str, name: &Name) {
    let text = name.as_str();
    assert!(text.parse::<IpAddr>().is_err() && (1..=253).contains(&text.len()), "{text:?}");
    for label in text.split('.') {
        let plain = label.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'));
        assert!(plain && (1..=63).contains(&label.len()), "{label:?} in {asked:?}");
    }
    let last = text.rsplit('.').next().unwrap_or_default();
    assert!(!last.bytes().all(|byte| byte.is_ascii_digit()), "{text:?} can be taken for an address");
    for other in [text.to_owned(), text.to_ascii_uppercase(), format!("{text}."), asked.to_lowercase()] {
        assert_eq!(Name::parse(&other).as_ref(), Ok(name), "{other:?}, another spelling of {asked:?}");
    }
}

/// The name itself, then the longest wildcard above it, then `*`; of equal entries the first.
fn naive(patterns: &[NamePattern], name: &Name) -> Option<u32> {
    let name: Vec<&str> = name.as_str().split('.').collect();
    let rank = |pattern: &NamePattern| {
        let text = pattern.to_string();
        let labels: Vec<&str> = text.split('.').collect();
        match labels.split_first() {
            Some((&"*", [])) => Some(0),
            Some((&"*", apex)) => (name.len() > apex.len() && name.ends_with(apex)).then_some(apex.len()),
            _ => (labels == name).then_some(usize::MAX),
        }
    };
    let ranked = (0..).zip(patterns).filter_map(|(number, pattern)| Some((rank(pattern)?, number)));
    ranked.max_by_key(|(rank, number)| (*rank, std::cmp::Reverse(*number))).map(|(_, number)| number)
}
