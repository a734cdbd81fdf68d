//! Names as policies list them and as sandboxes ask for them.
//!
//! Invariant: a [`Name`] is lower case ASCII without a trailing dot, its labels have 1 to 63 letters, digits, hyphens or
//! underscores, the whole has at most 253, and its last label is no number, so that no resolver can take it for an address.

use std::{borrow::Borrow, fmt, net::IpAddr};

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

/// Why a text is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing, or only a dot.
    #[error("empty")]
    Empty,
    /// An IP literal, or a text whose last part is a number: programs take such texts for addresses.
    #[error("a number at the end makes it an address, not a name")]
    Numeric,
    /// A label of the name is empty or has more than 63 bytes.
    #[error("every part between dots needs 1 to 63 characters")]
    Label,
    /// More than 253 bytes.
    #[error("longer than 253 characters")]
    Length,
    /// A character that names do not have, or a hyphen at the edge of a label.
    #[error("a name has letters, digits, hyphens and dots only")]
    Character,
    /// A `*` other than alone or as the whole first label.
    #[error("a wildcard is either \"*\" alone or \"*.\" before a name")]
    Wildcard,
}

/// Longest name.
pub(crate) const MAX_BYTES: usize = 253;

/// Longest text that is looked at: every character of the longest name in four bytes, and a dot.
const MAX_TEXT_BYTES: usize = MAX_BYTES * 4 + 1;

/// A name in its one comparable form.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(String);

impl Name {
    /// Reads a name: any case, at most one trailing dot, U-labels as A-labels (UTS 46).
    ///
    /// # Errors
    /// When `text` is no name; see the invariant of this module.
    pub fn parse(text: &str) -> Result<Name, NameError> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(NameError::Length);
        }
        let name = if text.is_ascii() { text.to_ascii_lowercase() } else { to_a_labels(text)? };
        let name = name.strip_suffix('.').unwrap_or(&name);
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name.parse::<IpAddr>().is_ok() {
            return Err(NameError::Numeric);
        }
        name.split('.').try_for_each(check_label)?;
        if name.len() > MAX_BYTES {
            return Err(NameError::Length);
        }
        if name.rsplit('.').next().is_some_and(is_number) {
            return Err(NameError::Numeric);
        }
        Ok(Name(name.to_owned()))
    }

    /// The name, lower case, without a trailing dot.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An entry of an allow list that is a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NamePattern {
    /// `*`: any name that is a name.
    Any,
    /// `example.com`: that name only.
    Exact(Name),
    /// `*.example.com`: any name below, at any depth, but not that name itself.
    Below(Name),
}

impl NamePattern {
    /// Reads an entry of an allow list.
    ///
    /// # Errors
    /// When `text` is neither a name nor a wildcard.
    pub fn parse(text: &str) -> Result<NamePattern, NameError> {
        if text == "*" {
            return Ok(NamePattern::Any);
        }
        let (below, rest) = match text.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        if rest.contains('*') {
            return Err(NameError::Wildcard);
        }
        let name = Name::parse(rest)?;
        Ok(if below { NamePattern::Below(name) } else { NamePattern::Exact(name) })
    }

    /// Whether the entry covers the name that a sandbox asks for. A text that is no name is never covered.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        Name::parse(text).is_ok_and(|name| self.matches_name(&name))
    }

    /// Whether the entry covers `name`.
    #[must_use]
    pub fn matches_name(&self, name: &Name) -> bool {
        match self {
            NamePattern::Any => true,
            NamePattern::Exact(exact) => exact == name,
            NamePattern::Below(apex) => name
                .0
                .strip_suffix(&apex.0)
                .and_then(|head| head.strip_suffix('.'))
                .is_some_and(|head| !head.is_empty()),
        }
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NamePattern::Any => f.write_str("*"),
            NamePattern::Exact(name) => write!(f, "{name}"),
            NamePattern::Below(name) => write!(f, "*.{name}"),
        }
    }
}

fn to_a_labels(text: &str) -> Result<String, NameError> {
    Uts46::new()
        .to_ascii(text.as_bytes(), AsciiDenyList::EMPTY, Hyphens::Allow, DnsLength::Ignore)
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| NameError::Character)
}

fn check_label(label: &str) -> Result<(), NameError> {
    if !label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_') {
        return Err(NameError::Character);
    }
    if label.is_empty() || label.len() > 63 {
        return Err(NameError::Label);
    }
    if label.starts_with('-') || label.ends_with('-') {
        return Err(NameError::Character);
    }
    Ok(())
}

/// Whether programs take a last label like this for a number, and the whole for an IPv4 address (WHATWG URL, "ends in a number").
fn is_number(label: &str) -> bool {
    let hex = label.strip_prefix("0x").is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
    hex || label.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> NamePattern {
        NamePattern::parse(text).unwrap()
    }

    #[test]
    fn matching() {
        for (entry, yes, no) in [
            (
                "example.com",
                &["example.com", "EXAMPLE.Com", "example.com."][..],
                &[
                    "a.example.com",
                    "example.com..",
                    "xexample.com",
                    "example.co",
                    "example.com.evil.net",
                    "example.com:443",
                ][..],
            ),
            (
                "*.example.com",
                &["a.example.com", "a.b.c.example.com", "A.EXAMPLE.COM.", "_x.example.com", "1.example.com"][..],
                &[
                    "example.com",
                    ".example.com",
                    "..example.com",
                    "xexample.com",
                    "a.example.com.evil.net",
                    "*.example.com",
                ][..],
            ),
            (
                "*",
                &["a", "example.com", "xn--bcher-kva.example", "bücher.example"][..],
                &[
                    "",
                    ".",
                    "1.2.3.4",
                    "1.2.3.4.",
                    "::1",
                    "[::1]",
                    "0x7f.1",
                    "2130706433",
                    "127.1",
                    "a b",
                    "a..b",
                    "a.com:80",
                    "user@a.com",
                    "a\0.com",
                    "a.com\r\n",
                    "a.com/",
                    "١.٢.٣.٤",
                    "１.２.３.４",
                    "1。2。3。4",
                ][..],
            ),
            (
                "bücher.example",
                &["bücher.example", "BÜCHER.example", "xn--bcher-kva.example", "XN--BCHER-KVA.EXAMPLE"][..],
                &["bucher.example"][..],
            ),
            ("*.xn--bcher-kva.example", &["a.bücher.example", "a。bücher.example"][..], &["bücher.example"][..]),
            ("straße.example", &["straße.example", "xn--strae-oqa.example"][..], &["strasse.example"][..]),
        ] {
            for name in yes {
                assert!(pattern(entry).matches(name), "{entry} {name:?}");
            }
            for name in no {
                assert!(!pattern(entry).matches(name), "{entry} {name:?}");
            }
        }
    }

    #[test]
    fn lengths() {
        let label = "a".repeat(63);
        let name = [label.as_str(), &label, &label, &"a".repeat(61)].join(".");
        assert_eq!(name.len(), 253);
        assert!(Name::parse(&name).is_ok());
        assert!(Name::parse(&format!("{name}.")).is_ok());
        assert_eq!(Name::parse(&format!("a{name}")), Err(NameError::Label));
        assert_eq!(Name::parse(&format!("{name}a")), Err(NameError::Length));
        assert_eq!(Name::parse(&"ü".repeat(60)), Err(NameError::Label), "an A-label is what counts");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(10_000) })]

        #[test]
        fn a_name_is_its_own_canonical_form(text in "[a-zA-Z0-9üß。．*_. -]{0,12}|\\PC{0,12}") {
            if let Ok(name) = Name::parse(&text) {
                prop_assert_eq!(Name::parse(name.as_str()), Ok(name.clone()));
                prop_assert!(NamePattern::Exact(name.clone()).matches(&text));
                prop_assert!(name.as_str().parse::<IpAddr>().is_err());
            }
            if let Ok(pattern) = NamePattern::parse(&text) {
                prop_assert_eq!(NamePattern::parse(&pattern.to_string()), Ok(pattern));
            }
        }
    }
}
