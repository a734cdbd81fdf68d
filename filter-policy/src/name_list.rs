//! The names of a policy, made for looking one up: no list is slow, however it is written.

use crate::names::{MAX_BYTES, Name, NamePattern};
use std::collections::HashMap;

/// The names that a policy allows.
#[derive(Clone, Debug, Default)]
pub struct NameList {
    any: Option<u32>,
    exact: HashMap<Name, u32>,
    below: Vec<Below>,
}

/// What is below a name.
#[derive(Clone, Debug)]
struct Below {
    /// The name backwards, so that what is below it begins like it, with the dot at its end.
    start: Box<[u8]>,
    number: u32,
    /// Where the longest other one is that this is below, too.
    above: Option<usize>,
}

impl NameList {
    /// A list of entries, each with the number that it is to be found by. Of equal ones the first is found.
    pub fn new<'a>(entries: impl IntoIterator<Item = (u32, &'a NamePattern)>) -> NameList {
        let mut list = NameList::default();
        for (number, pattern) in entries {
            match pattern {
                NamePattern::Any => {
                    list.any.get_or_insert(number);
                }
                NamePattern::Exact(name) => {
                    list.exact.entry(name.clone()).or_insert(number);
                }
                NamePattern::Below(name) => {
                    let start = name.as_str().bytes().rev().chain([b'.']).collect();
                    list.below.push(Below { start, number, above: None });
                }
            }
        }
        // Of equal ones the first stays first.
        list.below.sort_by(|one, other| one.start.cmp(&other.start));
        list.below.dedup_by(|later, earlier| later.start == earlier.start);
        for at in 0..list.below.len() {
            let (before, rest) = list.below.split_at_mut(at);
            let mut above = at.checked_sub(1);
            while let Some(other) = above.filter(|other| !rest[0].start.starts_with(&before[*other].start)) {
                above = before[other].above;
            }
            rest[0].above = above;
        }
        list
    }

    /// The entry that covers a name: the name itself before the longest wildcard, and that before `*`.
    ///
    /// Wildcards are searched by halves; the one that covers a name is the last that is not behind it, or above that one: how much of that one
    /// the name begins with tells which.
    #[must_use]
    pub fn find(&self, name: &Name) -> Option<u32> {
        if let Some(number) = self.exact.get(name) {
            return Some(*number);
        }
        let mut backwards = [0; MAX_BYTES];
        let backwards = &mut backwards[..name.as_str().len()];
        for (to, from) in backwards.iter_mut().zip(name.as_str().bytes().rev()) {
            *to = from;
        }
        let behind = self.below.partition_point(|below| *below.start <= *backwards);
        let mut candidate = behind.checked_sub(1);
        let common = candidate.map_or(0, |at| common(&self.below[at].start, backwards));
        while let Some(below) = candidate.map(|at| &self.below[at]) {
            // One that is whole in what they have in common covers the name: a label is behind it, or the name ended in a dot.
            if below.start.len() <= common {
                return Some(below.number);
            }
            candidate = below.above;
        }
        self.any
    }
}

/// How many bytes two texts begin with that are the same.
fn common(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn list(entries: &[&str]) -> NameList {
        let patterns: Vec<NamePattern> = entries.iter().map(|text| NamePattern::parse(text).unwrap()).collect();
        NameList::new((0..).zip(&patterns))
    }

    #[test]
    fn the_closest_entry_is_found() {
        let list = list(&["*", "*.example.com", "*.b.example.com", "a.example.com", "a.example.com"]);
        for (name, entry) in [
            ("a.example.com", 3),
            ("c.example.com", 1),
            ("example.com", 0),
            ("b.example.com", 1),
            ("x.y.b.example.com", 2),
            ("xexample.com", 0),
        ] {
            assert_eq!(list.find(&Name::parse(name).unwrap()), Some(entry), "{name}");
        }
        assert_eq!(NameList::default().find(&Name::parse("a.example.com").unwrap()), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn found_is_what_an_entry_covers(
            entries in proptest::collection::vec(r"(\*\.)?([ab]\.){0,4}[ab]", 0..6),
            name in r"([ab]\.){0,6}[ab]",
        ) {
            let patterns: Vec<NamePattern> = entries.iter().map(|text| NamePattern::parse(text).unwrap()).collect();
            let name = Name::parse(&name).unwrap();
            let found = NameList::new((0..).zip(&patterns)).find(&name);
            prop_assert_eq!(found.is_some(), patterns.iter().any(|pattern| pattern.matches_name(&name)));
            prop_assert!(found.is_none_or(|number| patterns[number as usize].matches_name(&name)));
        }
    }
}
