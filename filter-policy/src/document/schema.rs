//! Which fields there are, to find every unknown and missing one at once and to suggest what was meant.
//!
//! Invariant: this table and the types of the document name the same fields; a test compares them.

use serde_json::Value;

use super::node::Node;
use crate::Problem;

/// A place in a document that has fixed fields.
pub(super) struct Place {
    /// Path from the top; empty for the top.
    pub(super) path: &'static str,
    /// All its fields.
    pub(super) fields: &'static [&'static str],
    /// Those that must be there.
    pub(super) required: &'static [&'static str],
}

/// Every place but those inside `rules`, whose keys are free.
pub(super) const PLACES: &[Place] = &[
    Place {
        path: "",
        fields: &[
            "version",
            "id",
            "name",
            "attach",
            "addresses",
            "mac",
            "gateway",
            "dhcp",
            "inboundFrom",
            "onDeny",
            "network",
        ],
        required: &["version", "id", "attach", "addresses"],
    },
    Place { path: "attach", fields: &["interface", "netns", "cgroup", "allowPrivileged"], required: &[] },
    Place {
        path: "network",
        fields: &[
            "allowInternetAccess",
            "allowOut",
            "denyOut",
            "rules",
            "egressProxy",
            "allowPublicTraffic",
            "maskRequestHost",
            "httpsPorts",
        ],
        required: &[],
    },
    Place { path: "network.egressProxy", fields: &["address", "username", "password"], required: &["address"] },
];

/// Every unknown and missing field of a document, and whether none is missing.
pub(super) fn check(document: &Node) -> (Vec<Problem>, bool) {
    let mut problems = Vec::new();
    let mut complete = true;
    for place in PLACES {
        let Some(node) = document.find(place.path) else { continue };
        let Some(fields) = node.fields() else { continue };
        for field in fields.iter().filter(|field| !place.fields.contains(&field.key.as_str())) {
            problems.push(unknown(place, &field.key).at("", Some(field.line)));
        }
        for name in place.required {
            if fields.iter().all(|field| field.key != *name) {
                complete = false;
                problems.push(Problem::error(join(place.path, name), "is missing").at("", Some(node.line)));
            }
        }
    }
    (problems, complete)
}

/// Removes the unknown fields that [`check`] reported, so that the rest can be looked at.
pub(super) fn prune(document: &mut Value) {
    for place in PLACES {
        if let Some(Value::Object(map)) = document.pointer_mut(&pointer(place)) {
            map.retain(|key, _| place.fields.contains(&key.as_str()));
        }
    }
}

fn pointer(place: &Place) -> String {
    place.path.split('.').filter(|part| !part.is_empty()).map(|part| format!("/{part}")).collect()
}

fn unknown(place: &Place, key: &str) -> Problem {
    let shown: String = key.escape_debug().take(80).collect();
    let problem = Problem::error(join(place.path, &shown), "unknown field");
    match suggestion(place, key) {
        Some(meant) => problem.hint(format!("did you mean {meant}?")),
        None => problem.hint(format!("known here: {}", place.fields.join(", "))),
    }
}

/// The field that `key` most likely stands for: a field of the same place with a similar name, or the same name elsewhere.
fn suggestion(place: &Place, key: &str) -> Option<String> {
    let plain = |text: &str| text.replace(['_', '-'], "").to_ascii_lowercase();
    let near = |name: &&&str| strsim::jaro_winkler(&plain(name), &plain(key));
    let best = place.fields.iter().max_by(|a, b| near(a).total_cmp(&near(b)))?;
    if near(&best) >= 0.85 {
        return Some(format!("{best:?}"));
    }
    let elsewhere = PLACES.iter().find(|other| other.fields.contains(&key))?;
    Some(match elsewhere.path {
        "" => format!("{key:?} at the top of the document"),
        path => format!("{:?}", join(path, key)),
    })
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Document;

    #[test]
    fn table_and_types_name_the_same_fields() {
        let full = json!({
            "version": 1, "id": "a", "name": "n", "attach": {"interface": "i", "netns": "n", "cgroup": "c", "allowPrivileged": true},
            "addresses": "any", "mac": "m", "gateway": [], "dhcp": true, "inboundFrom": [], "onDeny": "drop",
            "network": {
                "allowInternetAccess": true, "allowOut": [], "denyOut": [], "rules": {},
                "egressProxy": {"address": "a", "username": "u", "password": "p"},
                "allowPublicTraffic": true, "maskRequestHost": "h", "httpsPorts": [],
            },
        });
        let document: Document = serde_json::from_value(full).unwrap();
        let written = serde_json::to_value(&document).unwrap();
        for place in PLACES {
            let Some(Value::Object(map)) = written.pointer(&pointer(place)) else { panic!("{}", place.path) };
            let mut known = place.fields.to_vec();
            known.sort_unstable();
            let mut keys: Vec<&str> = map.keys().map(String::as_str).collect();
            keys.sort_unstable();
            assert_eq!(keys, known, "{}", place.path);
        }
    }
}
