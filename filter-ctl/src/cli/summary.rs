//! The lists of a document in a few words.

use filter_policy::{Network, address, document::Document};

/// An entry of either list that stands for everything.
const ALL_TRAFFIC: &str = "0.0.0.0/0";

/// What `allowOut` holds: `14 names 2 addresses`, `203.0.113.0/24`; nothing when it is empty.
pub(super) fn allowed(network: &Network) -> Option<String> {
    let is_address = |text: &&String| address::prefix(text).is_ok();
    let addresses = network.allow_out.iter().filter(is_address).count();
    let names = network.allow_out.len() - addresses;
    match (names, addresses) {
        (0, 0) => None,
        (1, 0) | (0, 1) => network.allow_out.first().cloned(),
        (0, _) => Some(counted(addresses, "address", "addresses")),
        (_, 0) => Some(counted(names, "name", "names")),
        _ => Some(format!("{} {}", counted(names, "name", "names"), counted(addresses, "address", "addresses"))),
    }
}

/// What is denied: `everything`, `0.0.0.0/0`, `10 addresses`; nothing when nothing is.
pub(super) fn denied(network: &Network) -> Option<String> {
    if network.allow_internet_access == Some(false) {
        return Some("everything".to_owned());
    }
    match network.deny_out.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        list if list.iter().any(|text| text == ALL_TRAFFIC) => Some(ALL_TRAFFIC.to_owned()),
        list => Some(counted(list.len(), "address", "addresses")),
    }
}

/// Both in one clause.
pub(super) fn sentence(document: &Document) -> String {
    let (allowed, denied) = (allowed(&document.network), denied(&document.network));
    match (allowed, denied) {
        (None, None) => "nothing denied".to_owned(),
        (Some(allowed), None) => format!("{allowed} allowed, nothing denied"),
        (None, Some(denied)) => format!("{denied} denied, no exceptions"),
        (Some(allowed), Some(denied)) => format!("{allowed} allowed, {denied} denied"),
    }
}

/// As many entries of a list as fit on a line, and how many there are.
pub(super) fn listed(entries: &[String]) -> String {
    const SHOWN: usize = 4;
    let shown = entries.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    if entries.len() > SHOWN { format!("{shown} … ({})", entries.len()) } else { shown }
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(allow: &[&str], deny: &[&str]) -> Network {
        let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect();
        Network { allow_out: owned(allow), deny_out: owned(deny), ..Network::default() }
    }

    #[test]
    fn lists_in_a_few_words() {
        for (allow, deny, words) in [
            (&[][..], &[][..], (None, None)),
            (&["1.1.1.1"], &["0.0.0.0/0"], (Some("1.1.1.1"), Some("0.0.0.0/0"))),
            (&["a.example"], &["1.1.1.1", "0.0.0.0/0"], (Some("a.example"), Some("0.0.0.0/0"))),
            (
                &["a.example", "b.example", "::1", "1.1.1.1/8"],
                &["1.1.1.1", "::/0"],
                (Some("2 names 2 addresses"), Some("2 addresses")),
            ),
            (&["*", "1.1.1.1"], &["::/0"], (Some("1 name 1 address"), Some("::/0"))),
        ] {
            let network = network(allow, deny);
            assert_eq!((allowed(&network).as_deref(), denied(&network).as_deref()), words);
        }
        let offline = Network { allow_internet_access: Some(false), ..network(&[], &["1.1.1.1"]) };
        assert_eq!(denied(&offline).as_deref(), Some("everything"));
    }

    #[test]
    fn long_lists_are_cut() {
        let list: Vec<String> = (0..6).map(|n| format!("n{n}")).collect();
        assert_eq!(listed(&list), "n0, n1, n2, n3 … (6)");
        assert_eq!(listed(&list[..2]), "n0, n1");
    }
}
