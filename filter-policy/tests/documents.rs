//! Validation of everything in a document but its lists of destinations.

use filter_policy::{
    Attach, Document, Limits, NetnsRef, Problem, Sandbox, Sources, parse, policy::ProxyHost, sandbox::OnDeny, validate,
};
use serde_json::{Value, json};

/// A good document with some fields set or, with null, removed.
fn document(changes: Value) -> Document {
    let mut document = json!({
        "version": 1, "id": "agent7", "attach": {"interface": "veth7"}, "addresses": ["198.51.100.2"],
    });
    for (key, value) in changes.as_object().unwrap() {
        document[key] = value.clone();
    }
    serde_json::from_value(document).unwrap()
}

fn good(changes: Value) -> Sandbox {
    validate(&document(changes), None, &Limits::default()).unwrap_or_else(|problems| panic!("{problems}"))
}

fn bad(changes: Value) -> Vec<Problem> {
    validate(&document(changes.clone()), None, &Limits::default()).expect_err(&changes.to_string()).0
}

fn only(changes: Value) -> String {
    let found = bad(changes.clone());
    assert_eq!(found.len(), 1, "{changes}: {found:?}");
    let text = found[0].to_string();
    text.lines().next().unwrap().strip_prefix("error: ").unwrap().to_owned()
}

#[test]
fn the_least_document() {
    let sandbox = good(json!({}));
    assert_eq!(sandbox.id.as_str(), "agent7");
    assert_eq!(sandbox.attach, Attach::Interface { name: "veth7".into(), netns: None });
    assert_eq!(sandbox.sources, Sources::Prefixes(vec!["198.51.100.2/32".parse().unwrap()]));
    assert_eq!((sandbox.mac, sandbox.dhcp, sandbox.on_deny), (None, false, OnDeny::Reject));
    assert!(sandbox.gateway.is_empty() && sandbox.inbound_from.is_empty() && sandbox.policy.deny.is_empty());
    assert!(sandbox.ingress.allow_public_traffic);
}

#[test]
fn ids() {
    for id in ["a", "0", "agent7", &"z".repeat(32)] {
        assert_eq!(good(json!({"id": id})).id.as_str(), id);
    }
    for id in ["", "A", "a-b", "a_b", "a b", "é", "a\n", "../a", &"z".repeat(33)] {
        assert_eq!(only(json!({"id": id})), format!("id {id:?}: not 1 to 32 of the characters a-z and 0-9"));
        assert_eq!(bad(json!({"id": id}))[0].api_message(), "Invalid sandbox ID");
    }
    assert_eq!(only(json!({"version": 2})), "version: 2 is not known");
    assert_eq!(only(json!({"name": "a\u{1b}[2J"})), "name: has a control character in it");
    assert_eq!(only(json!({"name": "a".repeat(201)})), "name: longer than 200 characters");
}

#[test]
fn attachments() {
    let name = |netns: &str| NetnsRef::Name(netns.into());
    for (written, meaning) in [
        (json!({"interface": "veth7"}), Attach::Interface { name: "veth7".into(), netns: None }),
        (
            json!({"interface": "a.b-c@d", "netns": "web"}),
            Attach::Interface { name: "a.b-c@d".into(), netns: Some(name("web")) },
        ),
        (json!({"netns": "web"}), Attach::Netns(name("web"))),
        (json!({"netns": "pid:17"}), Attach::Netns(NetnsRef::Pid(17))),
        (json!({"netns": "/run/netns/web"}), Attach::Netns(NetnsRef::Path("/run/netns/web".into()))),
    ] {
        assert_eq!(good(json!({"attach": written})).attach, meaning);
    }
    for allow_privileged in [false, true] {
        let written = json!({"cgroup": "/sys/fs/cgroup/ci/42", "allowPrivileged": allow_privileged});
        let meaning = Attach::Cgroup { path: "/sys/fs/cgroup/ci/42".into(), allow_privileged };
        assert_eq!(good(json!({"attach": written, "addresses": "any"})).attach, meaning);
    }
    let cgroup = |more: Value| {
        let mut changes = json!({"attach": {"cgroup": "/a"}, "addresses": "any"});
        changes.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        only(changes)
    };
    for (more, message) in [
        (json!({"addresses": ["198.51.100.2"]}), "addresses: a cgroup sends from the host's addresses"),
        (json!({"mac": "02:00:00:00:00:07"}), "mac: a cgroup has no link of its own"),
        (json!({"gateway": ["198.51.100.1"]}), "gateway: a cgroup has no link of its own"),
        (json!({"dhcp": true}), "dhcp: a cgroup has no link of its own"),
        (
            json!({"attach": {"interface": "veth7", "allowPrivileged": true}}),
            "attach.allowPrivileged: is about the processes of a cgroup",
        ),
    ] {
        assert_eq!(cgroup(more.clone()), message, "{more}");
    }
    for (written, message) in [
        (json!({}), "attach: names nothing"),
        (json!({"cgroup": "/a", "netns": "web"}), "attach.cgroup: a cgroup stands alone"),
        (json!({"cgroup": "/a", "interface": "veth7"}), "attach.cgroup: a cgroup stands alone"),
        (json!({"cgroup": "a"}), "attach.cgroup \"a\": not a plain absolute path"),
        (json!({"cgroup": "/"}), "attach.cgroup \"/\": not a plain absolute path"),
        (json!({"cgroup": "/a/../b"}), "attach.cgroup \"/a/../b\": not a plain absolute path"),
        (json!({"cgroup": "/a\0"}), "attach.cgroup \"/a\\0\": not a plain absolute path"),
        (json!({"interface": ""}), "attach.interface \"\": not a name that a device can have"),
        (json!({"interface": ".."}), "attach.interface \"..\": not a name that a device can have"),
        (json!({"interface": "a/b"}), "attach.interface \"a/b\": not a name that a device can have"),
        (json!({"interface": "a b"}), "attach.interface \"a b\": not a name that a device can have"),
        (
            json!({"interface": "0123456789abcdef"}),
            "attach.interface \"0123456789abcdef\": not a name that a device can have",
        ),
        (json!({"netns": ""}), "attach.netns \"\": not a namespace"),
        (json!({"netns": ".."}), "attach.netns \"..\": not a namespace"),
        (json!({"netns": "a/b"}), "attach.netns \"a/b\": not a namespace"),
        (json!({"netns": "/run/../etc"}), "attach.netns \"/run/../etc\": not a plain absolute path"),
        (json!({"netns": "pid:"}), "attach.netns \"pid:\": not a process id"),
        (json!({"netns": "pid:0"}), "attach.netns \"pid:0\": not a process id"),
        (json!({"netns": "pid:+1"}), "attach.netns \"pid:+1\": not a process id"),
        (json!({"netns": "pid:4294967296"}), "attach.netns \"pid:4294967296\": not a process id"),
    ] {
        assert_eq!(only(json!({"attach": written})), message);
    }
}

#[test]
fn sources() {
    assert_eq!(good(json!({"addresses": "any"})).sources, Sources::Any);
    let Sources::Prefixes(prefixes) =
        good(json!({"addresses": ["10.0.0.2/30", "10.0.0.1/30", "fe80::1", "2001:db8::/64"]})).sources
    else {
        panic!()
    };
    assert_eq!(
        prefixes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["10.0.0.0/30", "fe80::1/128", "2001:db8::/64"]
    );
    for (text, why) in [
        ("0.0.0.0", "a sandbox cannot send from the unspecified address"),
        ("0.0.0.0/0", "a sandbox cannot send from the unspecified address"),
        ("::", "a sandbox cannot send from the unspecified address"),
        ("::/0", "a sandbox cannot send from the unspecified address"),
        ("127.0.0.1", "a sandbox cannot send from loopback"),
        ("126.0.0.0/7", "a sandbox cannot send from loopback"),
        ("::1", "a sandbox cannot send from loopback"),
        ("224.0.0.1", "a sandbox cannot send from multicast"),
        ("128.0.0.0/1", "a sandbox cannot send from multicast"),
        ("ff02::1", "a sandbox cannot send from multicast"),
        ("255.255.255.255", "a sandbox cannot send from broadcast"),
        ("::ffff:10.0.0.2", "a sandbox cannot send from IPv4 written as IPv6"),
        ("example.com", "not an IPv4 or IPv6 address"),
        ("10.0.0.0/", "not a prefix length: 32 is the most and only digits count"),
    ] {
        assert_eq!(only(json!({"addresses": ["10.0.0.2", text]})), format!("addresses[1] {text:?}: {why}"));
    }
    assert_eq!(only(json!({"addresses": []})), "addresses: is empty: nothing could be sent");
    let eight: Vec<String> = (1..=8).map(|n| format!("10.0.0.{n}")).collect();
    good(json!({"addresses": eight}));
    let nine: Vec<String> = (1..=9).map(|n| format!("10.0.0.{n}")).collect();
    assert_eq!(only(json!({"addresses": nine})), "addresses: more than 8 prefixes");
    good(json!({"addresses": vec!["10.0.0.1"; 100]}));
}

#[test]
fn mac_gateway_inbound() {
    assert_eq!(good(json!({"mac": "02:00:00:aB:CD:ef"})).mac, Some([2, 0, 0, 0xab, 0xcd, 0xef]));
    for mac in [
        "",
        "02",
        "02:00:00:00:00",
        "02:00:00:00:00:00:01",
        "2:0:0:0:0:1",
        "02-00-00-00-00-01",
        "02:00:00:00:00:0g",
        "+2:00:00:00:00:01",
    ] {
        assert_eq!(only(json!({"mac": mac})), format!("mac {mac:?}: not a MAC address"));
    }
    for mac in ["01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00"] {
        assert_eq!(only(json!({"mac": mac})), format!("mac {mac:?}: not the address of one device"));
    }

    let gateway = good(json!({"gateway": ["198.51.100.1", "fe80::1", "198.51.100.1"]})).gateway;
    assert_eq!(gateway, ["198.51.100.1", "fe80::1"].map(|text| text.parse::<std::net::IpAddr>().unwrap()));
    for (text, why) in [
        ("198.51.100.0/24", "not an IPv4 or IPv6 address"),
        ("0.0.0.0", "not an address that a gateway can have"),
        ("127.0.0.1", "not an address that a gateway can have"),
        ("ff02::1", "not an address that a gateway can have"),
        ("::ffff:198.51.100.1", "not an address that a gateway can have"),
        ("198.51.100.2", "the sandbox itself has this address"),
    ] {
        assert_eq!(only(json!({"gateway": [text]})), format!("gateway[0] {text:?}: {why}"));
    }
    let nine: Vec<String> = (1..=9).map(|n| format!("10.0.0.{n}")).collect();
    assert_eq!(only(json!({"gateway": nine})), "gateway: more than 8 addresses");

    let inbound = good(json!({"inboundFrom": ["0.0.0.0/0", "203.0.113.9/24", "::/0"]})).inbound_from;
    assert_eq!(inbound.iter().map(ToString::to_string).collect::<Vec<_>>(), ["0.0.0.0/0", "203.0.113.0/24", "::/0"]);
    assert_eq!(
        only(json!({"inboundFrom": ["example.com"]})),
        "inboundFrom[0] \"example.com\": not an IPv4 or IPv6 address"
    );
    assert_eq!(
        only(json!({"inboundFrom": ["0.0.0.0"]})),
        "inboundFrom[0] \"0.0.0.0\": the unspecified address opens no connection"
    );
}

#[test]
fn every_problem_of_a_document_with_its_line() {
    let text = "version: 3\nid: A\nattach: {}\naddresses:\n  - 10.0.0.2\n  - 127.0.0.1\nmac: x\ngateway: [y]\nnetwork:\n  denyOut:\n\
                \x20   - 8.8.8.8\n    - example.com\n";
    let parsed = parse(text, "bad.yaml").unwrap().remove(0);
    let problems = validate(&parsed.document, Some(&parsed.lines), &Limits::default()).unwrap_err();
    let lines: Vec<(&str, Option<u32>)> =
        problems.0.iter().map(|problem| (problem.field.as_str(), problem.line)).collect();
    assert_eq!(
        lines,
        [
            ("version", Some(1)),
            ("id", Some(2)),
            ("attach", Some(3)),
            ("addresses[1]", Some(6)),
            ("mac", Some(7)),
            ("gateway[0]", Some(8)),
            ("network.denyOut[1]", Some(12)),
        ]
    );
    assert!(problems.to_string().ends_with(
        "error: bad.yaml:12: denyOut[1] \"example.com\": domains cannot be denied\n  hint: deny everything with \"0.0.0.0/0\" and \
         list what may be reached in allowOut"
    ));
}

fn network(network: Value) -> Value {
    json!({"network": network})
}

fn headers(count: usize) -> Value {
    (0..count).map(|n| (format!("X-{n}"), json!("v"))).collect::<serde_json::Map<_, _>>().into()
}

fn rule(headers: Value) -> Value {
    network(json!({"rules": {"a.com": [{"transform": {"headers": headers}}]}}))
}

#[test]
fn rules() {
    let hosts = |count: usize| -> Value {
        (0..count).map(|n| (format!("a{n}.com"), json!([]))).collect::<serde_json::Map<_, _>>().into()
    };
    good(network(json!({"rules": hosts(10)})));
    assert_eq!(only(network(json!({"rules": hosts(11)}))), "rules: 11 hosts are too many: 10 is the most");
    let two = json!({"rules": {"a.com": [{}, {}]}});
    assert_eq!(only(network(two)), "rules.a.com: 2 transforms are too many: 1 is the most");
    good(rule(headers(20)));
    assert_eq!(only(rule(headers(21))), "rules.a.com[0].transform.headers: 21 headers are too many: 20 is the most");
    for key in ["", "*", "http://a.com", "1.2.3.4", "a.*.com", "a.com:443"] {
        let message = only(network(json!({"rules": {key: []}})));
        assert!(message.starts_with(&format!("rules.{key} {key:?}: ")), "{message}");
    }
    let long = format!("{}.com", ["a".repeat(62).as_str(); 2].join("."));
    assert_eq!(long.len(), 129);
    assert_eq!(
        only(network(json!({"rules": {long.clone(): []}}))),
        format!("rules.{long}: the host is longer than 128 bytes")
    );

    let place = "rules.a.com[0].transform.headers";
    for name in ["", "a b", "a:", "é", "a\r\n"] {
        assert_eq!(only(rule(json!({name: "v"}))), format!("{place} {name:?}: not the name of a header"));
    }
    good(rule(json!({"a".repeat(64): "v".repeat(2048)})));
    assert_eq!(only(rule(json!({"a".repeat(65): "v"}))), format!("{place}: a header name is longer than 64 bytes"));
    assert_eq!(
        only(rule(json!({"A": "v".repeat(2049)}))),
        format!("{place} \"A\": the value is longer than 2048 bytes")
    );
    for value in ["a\r\nb: c", "a\0", " a", "a ", "a\u{7f}"] {
        assert_eq!(
            only(rule(json!({"A": value}))),
            format!("{place} \"A\": the value has a character that a header cannot carry")
        );
    }
    assert_eq!(only(rule(json!({"A": "1", "a": "2"}))), format!("{place} \"a\": is there twice, in another case"));
    assert_eq!(good(rule(json!({"Authorization": "v"}))).policy.transforms[0].headers[0].0, "authorization");
    assert!(good(rule(json!({}))).policy.transforms.is_empty(), "nothing to set is no transform");
    let limits = Limits { rule_hosts: 0, ..Limits::default() };
    assert!(validate(&document(rule(json!({}))), None, &limits).is_err(), "the operator's limits count");
}

#[test]
fn egress_proxies() {
    let proxy = |value: Value| network(json!({"egressProxy": value}));
    for (address, host, port) in [
        ("192.0.2.1:1080", ProxyHost::Address("192.0.2.1".parse().unwrap()), 1080),
        ("[2001:db8::1]:1080", ProxyHost::Address("2001:db8::1".parse().unwrap()), 1080),
    ] {
        let proxy = good(proxy(json!({"address": address}))).policy.egress_proxy.unwrap();
        assert_eq!((proxy.host, proxy.port), (host, port));
    }
    let named = good(proxy(json!({"address": "Proxy.example:65535", "username": "u", "password": "p"})))
        .policy
        .egress_proxy
        .unwrap();
    assert!(matches!(named.host, ProxyHost::Name(name) if name.as_str() == "proxy.example"));
    for address in [
        "",
        "proxy",
        "proxy:",
        ":1080",
        "proxy:0",
        "proxy:65536",
        "proxy:+1",
        "2001:db8::1:1080",
        "[proxy]:1",
        "1.2.3:80",
        "socks5://a:1",
    ] {
        assert_eq!(only(proxy(json!({"address": address}))), "egressProxy.address: not host:port", "{address}");
    }
    assert_eq!(
        only(proxy(json!({"address": "a:1", "password": "p"}))),
        "egressProxy.password: a password needs a username"
    );
    for field in ["username", "password"] {
        let mut long = json!({"address": "a:1", "username": "u"});
        long[field] = json!("x".repeat(256));
        assert_eq!(only(proxy(long.clone())), format!("egressProxy.{field}: longer than 255 bytes"));
        long[field] = json!("x".repeat(255));
        good(proxy(long));
    }
}

#[test]
fn public_urls() {
    let mask = |value: &str| network(json!({"maskRequestHost": value}));
    for host in [
        "localhost:${PORT}",
        "${PORT}.example.com",
        "example.com",
        "example.com:80",
        "127.0.0.1:${PORT}",
        "[::1]:${PORT}",
    ] {
        assert_eq!(good(mask(host)).ingress.mask_request_host.as_deref(), Some(host));
    }
    for host in ["", "a b", "a\r\nb", "example.com:", "example.com:x", "http://a", "a/b", "${PORTS}", "a:80:80"] {
        assert_eq!(bad(mask(host))[0].api_message(), format!("mask request host is not valid: {host}"));
    }
    assert_eq!(
        bad(mask("bücher.example"))[0].api_message(),
        "mask request host 'bücher.example' is not ASCII. Please use ASCII characters only."
    );
    assert_eq!(good(network(json!({"httpsPorts": [1, 65535]}))).ingress.https_ports, [1, 65535]);
    assert_eq!(only(network(json!({"httpsPorts": [443, 0]}))), "httpsPorts[1]: 0 is no port");
}
