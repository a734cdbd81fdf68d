//! What is said about a policy: which entry decided, what an update changes, what may surprise.

use std::net::IpAddr;

use filter_policy::{
    Limits, Operator, Policy, diff,
    explain::{self, Decided},
    names::Name,
    parse, validate, validate_network, warnings,
};
use serde_json::{Value, json};

fn policy(network: Value) -> Policy {
    validate_network(&serde_json::from_value(network).unwrap(), None, &Limits::default()).unwrap().0
}

#[test]
fn the_entry_that_decided() {
    let network = json!({
        "allowOut": ["203.0.113.0/24", "a.com", "203.0.113.9", "203.0.113.9/32", "2001:db8::/32"],
        "denyOut": ["8.8.8.0/24", "0.0.0.0/0", "8.8.8.8", "::/0", "2001:db8::1"],
    });
    let policy = policy(network);
    let operator = Operator {
        open_ranges: vec!["10.0.0.0/8".parse().unwrap(), "10.1.0.0/16".parse().unwrap()],
        ..Operator::default()
    };
    for (address, field, text) in [
        ("203.0.113.1", "network.allowOut[0]", "203.0.113.0/24"),
        ("203.0.113.9", "network.allowOut[2]", "203.0.113.9"),
        ("8.8.8.8", "network.denyOut[2]", "8.8.8.8"),
        ("8.8.8.9", "network.denyOut[0]", "8.8.8.0/24"),
        ("1.1.1.1", "network.denyOut[1]", "0.0.0.0/0"),
        ("2001:db8::1", "network.allowOut[4]", "2001:db8::/32"),
        ("2001:db9::1", "network.denyOut[1]", "0.0.0.0/0"),
    ] {
        let origin = explain::origin(&policy, &operator, &address.parse::<IpAddr>().unwrap().into());
        assert_eq!(origin.decided.field().as_deref(), Some(field), "{address}");
        assert_eq!(origin.decided.text(), Some(text));
        assert_eq!(origin.decided.allows(), field.starts_with("network.allowOut"));
        assert_eq!(origin.nameserver, address == "8.8.8.8");
    }
    let opened = explain::origin(&policy, &operator, &"10.1.2.3".parse::<IpAddr>().unwrap().into()).opened;
    assert_eq!(opened.unwrap().to_string(), "10.1.0.0/16");
}

#[test]
fn the_name_that_decided() {
    let policy = policy(json!({
        "denyOut": ["0.0.0.0/0"],
        "allowOut": ["*.example.com", "203.0.113.9", "Api.Example.com.", "*.b.example.com", "bücher.example"],
    }));
    for (name, decided) in [
        ("api.example.com", Some((2, "Api.Example.com."))),
        ("www.example.com", Some((0, "*.example.com"))),
        ("a.b.example.com", Some((3, "*.b.example.com"))),
        ("b.example.com", Some((0, "*.example.com"))),
        ("xn--bcher-kva.example", Some((4, "bücher.example"))),
        ("example.com", None),
        ("api.example.com.evil.test", None),
    ] {
        let found = explain::named(&policy, &Name::parse(name).unwrap());
        assert!(found.is_none_or(|found| found.allows()), "{name}");
        let found = found.map(|found| (found.field().unwrap(), found.text().unwrap().to_owned()));
        assert_eq!(found, decided.map(|(at, text)| (format!("network.allowOut[{at}]"), text.to_owned())), "{name}");
    }
}

#[test]
fn what_decides_without_an_entry() {
    let address = "8.8.8.8".parse::<IpAddr>().unwrap().into();
    let operator = Operator::default();
    let default = policy(json!({"allowOut": ["1.1.1.1"]}));
    assert_eq!(explain::origin(&default, &operator, &address).decided, Decided::Default);
    let closed = policy(json!({"allowInternetAccess": false, "denyOut": ["8.8.8.8"]}));
    let decided = explain::origin(&closed, &operator, &address).decided;
    assert_eq!(decided, Decided::NoInternetAccess);
    assert_eq!(decided.text(), Some("allowInternetAccess: false"));
    assert_eq!(decided.field().as_deref(), Some("network.allowInternetAccess"));
    assert!(!decided.allows());
}

#[test]
fn what_an_update_changes() {
    let old = policy(json!({"denyOut": ["0.0.0.0/0"], "allowOut": ["8.8.8.8", "a.com", "1.1.1.1"]}));
    let new = policy(json!({"denyOut": ["0.0.0.0/0"], "allowOut": ["b.com", "8.8.8.8/32", "A.com.", "c.com"]}));
    let change = diff(&old, &new);
    assert_eq!(change.added, ["allowOut b.com", "allowOut c.com"]);
    assert_eq!(change.removed, ["allowOut 1.1.1.1"]);
    assert_eq!(change.to_string(), "+2 −1 entries");
    let same = diff(
        &old,
        &policy(json!({"denyOut": ["0.0.0.0/0", "1.2.3.4/0"], "allowOut": ["1.1.1.1", "A.COM", "8.8.8.8", "8.8.8.8"]})),
    );
    assert!(same.is_empty(), "{same:?}");
    assert_eq!(same.to_string(), "no change");
    let moved = diff(&policy(json!({"allowOut": ["8.8.8.8"]})), &policy(json!({"denyOut": ["8.8.8.8"]})));
    assert_eq!((moved.added, moved.removed), (vec!["denyOut 8.8.8.8".to_owned()], vec!["allowOut 8.8.8.8".to_owned()]));
    let closed = diff(&policy(json!({})), &policy(json!({"allowInternetAccess": false})));
    assert_eq!(closed.to_string(), "+1 entry");
    assert_eq!(closed.added, ["allowInternetAccess: false"]);
}

#[test]
fn a_changed_secret_is_a_change_that_shows_no_secret() {
    let with = |secret: &str| {
        policy(json!({
            "rules": {"a.com": [{"transform": {"headers": {"Authorization": secret}}}]},
            "egressProxy": {"address": "p:1", "username": "u", "password": secret},
        }))
    };
    assert!(diff(&with("hunter2"), &with("hunter2")).is_empty());
    let change = diff(&with("hunter2"), &with("hunter3"));
    assert_eq!(change.added, ["egressProxy", "rules a.com"]);
    assert_eq!(change.added, change.removed);
}

/// The warnings about a network configuration, with their lines.
fn warned(network: &str) -> Vec<String> {
    let text = format!("version: 1\nid: a\nattach: {{netns: a}}\naddresses: any\nnetwork:\n{network}");
    let parsed = parse(&text, "a.yaml").unwrap_or_else(|problems| panic!("{problems}")).remove(0);
    let sandbox = validate(&parsed.document, Some(&parsed.lines), &Limits::default()).unwrap();
    warnings(&sandbox, Some(&parsed.lines)).iter().map(ToString::to_string).collect()
}

#[test]
fn what_may_surprise() {
    const PROTECTED: &str = "stays denied, because it is in a protected range\n  hint: only the operator opens a protected range, \
        with openRanges";
    const MAPPED: &str =
        "has no effect, IPv6 packets to such addresses are always denied\n  hint: write the IPv4 address";
    assert_eq!(warned("  denyOut: ['0.0.0.0/0']\n  allowOut: [8.8.8.8, '::/0', 0.0.0.0/0, 8.0.0.0/5]\n"), [""; 0]);
    assert_eq!(
        warned("  allowOut: [8.8.8.8]\n"),
        [
            "warning: a.yaml:6: allowOut: restricts nothing, because nothing is denied\n  hint: deny everything else with denyOut: \
          [\"0.0.0.0/0\"]"
        ]
    );
    assert_eq!(warned("  allowInternetAccess: false\n  allowOut: [8.8.8.8]\n"), [""; 0]);
    assert_eq!(
        warned("  denyOut: ['0.0.0.0/0', '::ffff:1.2.3.4']\n  allowOut:\n    - '::ffff:0:0/96'\n"),
        [
            format!("warning: a.yaml:8: allowOut[0] \"::ffff:0:0/96\": {MAPPED}"),
            format!("warning: a.yaml:6: denyOut[1] \"::ffff:1.2.3.4\": {MAPPED}")
        ]
    );
    for protected in
        ["10.1.2.3", "192.168.0.0/16", "169.254.169.254", "224.0.0.0/3", "fd00::1", "fe80::/9", "::1", "168.63.129.16"]
    {
        assert_eq!(
            warned(&format!("  denyOut: ['0.0.0.0/0']\n  allowOut: ['{protected}']\n")),
            [format!("warning: a.yaml:7: allowOut[0] {protected:?}: {PROTECTED}")]
        );
    }
    for wider in ["10.0.0.0/7", "192.0.0.0/8", "fc00::/6", "2000::/3", "126.0.0.0/7"] {
        assert_eq!(warned(&format!("  denyOut: ['0.0.0.0/0']\n  allowOut: ['{wider}']\n")), [""; 0], "{wider}");
    }
    assert_eq!(
        warned("  denyOut: ['0.0.0.0/0']\n  allowOut: [8.8.8.8,\n    a.com, b.com]\n"),
        [
            "warning: a.yaml:8: allowOut[1]: names open port 53 of the nameservers, and what goes through a resolver can be a tunnel",
        ]
    );
    assert_eq!(
        warned("  rules: {a.com: [{transform: {headers: {A: b}}}]}\n  egressProxy: {address: 'a:1'}\n"),
        [
            "warning: a.yaml:6: rules: is not enforced yet: requests to these hosts stay denied",
            "warning: a.yaml:7: egressProxy: is not enforced yet: TCP stays denied",
        ]
    );
}

#[test]
fn the_operators_configuration() {
    let operator: Operator = serde_json::from_value(json!({"openRanges": ["10.1.2.3/8", "192.168.0.1"]})).unwrap();
    assert_eq!(
        operator.open_ranges.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["10.0.0.0/8", "192.168.0.1/32"]
    );
    assert_eq!(operator.nameservers, ["8.8.8.8".parse::<IpAddr>().unwrap()]);
    assert_eq!(operator.limits, Limits::default());
    let back: Operator = serde_json::from_value(serde_json::to_value(&operator).unwrap()).unwrap();
    assert_eq!(back, operator);
    for wrong in [
        json!({"openRange": []}),
        json!({"openRanges": ["10.0.0.0/"]}),
        json!({"limits": {"hosts": 1}}),
        json!({"nameservers": ["x"]}),
    ] {
        assert!(serde_json::from_value::<Operator>(wrong.clone()).is_err(), "{wrong}");
    }
    let none: Operator = serde_json::from_value(json!({"nameservers": []})).unwrap();
    assert!(none.nameservers.is_empty());
}
