//! The names of a policy, made for looking one up: no list is slow, however it is written.

use crate::names::{Name, NamePattern};
use std::collections::HashMap;

/// The names that a policy allows.
#[derive(Clone, Debug, Default)]
pub struct NameList {
    any: Option<u32>,
    exact: HashMap<Name, u32>,
    below: HashMap<Name, u32>,
    /// How many labels the names of `below` have, a bit each: there is nothing to look for at other depths.
    depths: u128,
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
                    list.depths |= 1 << name.as_str().split('.').count();
                    list.below.entry(name.clone()).or_insert(number);
                }
            }
        }
        list
    }

    /// The entry that covers a name: the name itself before the longest wildcard, and that before `*`.
    #[must_use]
    pub fn find(&self, name: &Name) -> Option<u32> {
        if let Some(number) = self.exact.get(name) {
            return Some(*number);
        }
        let mut depth = name.as_str().split('.').count();
        let mut rest = name.as_str();
        while let Some((_, parent)) = rest.split_once('.') {
            (rest, depth) = (parent, depth - 1);
            if self.depths >> depth & 1 != 0
                && let Some(number) = self.below.get(rest)
            {
                return Some(*number);
            }
        }
        self.any
    }
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
