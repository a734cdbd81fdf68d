//! From text to documents: both forms, places, limits, and what may never happen.

use std::time::Instant;

use filter_policy::{
    Document, Limits, Operator, Parsed, Problems, compile,
    document::{MAX_DOCUMENT_BYTES, check_unique},
    parse, validate, warnings,
};
use proptest::prelude::*;

const FULL: &str = r#"# A document with every field.
version: 1
id: agent7
name: "Build agent, team blue"
attach: { interface: veth7, netns: web }
addresses: [198.51.100.2, "2001:db8:1::/64"]
mac: "02:00:00:00:00:07"
gateway: [198.51.100.1]
dhcp: true
inboundFrom: [203.0.113.0/24]
onDeny: drop
network:
  allowInternetAccess: true
  denyOut:
    - 0.0.0.0/0   # everything
    - "::/0"
  allowOut: [203.0.113.0/24,
    api.example.com]
  rules:
    api.example.com:
      - transform: { headers: { Authorization: "Bearer hunter2" } }
  egressProxy: { address: "proxy.example:1080", username: u, password: hunter2 }
  allowPublicTraffic: false
  maskRequestHost: "localhost:${PORT}"
  httpsPorts: [8443]
"#;

fn fails(text: &str) -> String {
    parse(text, "bad.yaml").expect_err(text).to_string()
}

/// A whole document around a network configuration in flow form.
fn with_network(network: &str) -> String {
    format!("version: 1\nid: a\nattach: {{ interface: veth7 }}\naddresses: any\nnetwork: {network}\n")
}

fn one(text: &str) -> Parsed {
    parse(text, "agent.yaml").unwrap_or_else(|problems| panic!("{problems}")).remove(0)
}

#[test]
fn lines_of_everything() {
    let Parsed { lines, .. } = one(FULL);
    assert_eq!((lines.allow_out.as_slice(), lines.deny_out.as_slice()), (&[17, 18][..], &[15, 16][..]));
    for (field, line) in [
        ("version", 2),
        ("id", 3),
        ("attach.netns", 5),
        ("addresses[1]", 6),
        ("network", 12),
        ("network.denyOut", 14),
        ("network.denyOut[1]", 16),
        ("network.allowOut[1]", 18),
        ("network.rules.api.example.com", 20),
        ("network.rules.api.example.com[0].transform.headers", 21),
        ("network.egressProxy.password", 22),
        ("network.httpsPorts[0]", 25),
        ("network.denyOut[9]", 14),
        ("gateway[3]", 8),
        ("nowhere", 2),
    ] {
        assert_eq!(lines.line(field), Some(line), "{field}");
    }
    assert_eq!(lines.place("network.denyOut[0]"), "agent.yaml:15");
    let written = serde_json::to_string(&lines).unwrap();
    assert_eq!(serde_json::from_str::<filter_policy::Lines>(&written).unwrap(), lines);
}

#[test]
fn yaml_and_json_mean_the_same() {
    let document = one(FULL).document;
    let compact = serde_json::to_string(&document).unwrap();
    let pretty = serde_json::to_string_pretty(&document).unwrap();
    for text in [&compact, &pretty, &pretty.replace("  ", "\t")] {
        assert_eq!(one(text).document, document);
    }
    assert_eq!(one(&pretty).lines.line("network.denyOut[1]").map(|line| pretty.lines().nth(line as usize - 1)), {
        Some(pretty.lines().find(|line| line.contains("::/0")))
    });
    let sandbox = validate(&document, None, &Limits::default()).unwrap();
    assert_eq!(sandbox.policy.names.len(), 1);
}

#[test]
fn many_documents_and_their_lines() {
    let text = "version: 1\nid: a\nattach: {netns: a}\naddresses: any\n---\n---\nversion: 1\nid: b\nattach: {netns: b}\naddresses: any\n...\n";
    let parsed = parse(text, "two.yaml").unwrap();
    assert_eq!(parsed.len(), 2);
    assert_eq!((parsed[0].lines.line("id"), parsed[1].lines.line("id")), (Some(2), Some(8)));
    check_unique(&parsed).unwrap();
    let again = parse(&text.replace("id: b", "id: a"), "two.yaml").unwrap();
    assert_eq!(
        check_unique(&again).unwrap_err().to_string(),
        "error: two.yaml:8: id \"a\": already used at two.yaml:2"
    );
}

#[test]
fn words_for_every_mistake() {
    for (text, message) in [
        ("", "error: bad.yaml: no document in it"),
        ("# nothing\n---\n", "error: bad.yaml: no document in it"),
        ("5", "error: bad.yaml:1: expected the fields of a sandbox, found a number"),
        ("[1]", "error: bad.yaml:1: expected the fields of a sandbox, found a list"),
        ("id: [\n", "error: bad.yaml:1: unclosed bracket '['"),
        ("version: 1\nid: a\nid: b\n", "error: bad.yaml:3: duplicate mapping key `id` is not allowed here"),
        ("a: &a {b: c}\n<<: *a\n", "error: bad.yaml:2: merge key not allowed here"),
        (&with_network("!secret {}"), "error: bad.yaml:5: unsupported tag `!secret`"),
        (&with_network("{denyOut: 5}"), "error: bad.yaml:5: denyOut: expected a list, found a number"),
        (&with_network("{denyOut: }"), "error: bad.yaml:5: denyOut: expected a list, found nothing"),
        (&with_network("{allowOut: null}"), "error: bad.yaml:5: allowOut: expected a list, found nothing"),
        (
            &with_network("{denyOut: [8.8.8.8, 5]}"),
            "error: bad.yaml:5: denyOut[1]: expected text, found a number\n  hint: put it in quotes",
        ),
        (
            &with_network("{denyOut: [{a: 1}, 5]}"),
            "error: bad.yaml:5: denyOut[0]: expected text, found fields\n  hint: put it in quotes",
        ),
        (
            &with_network("{httpsPorts: [70000]}"),
            "error: bad.yaml:5: httpsPorts[0]: expected a whole number up to 65535",
        ),
        (
            &with_network("{allowInternetAccess: no}"),
            "error: bad.yaml:5: allowInternetAccess: expected true or false, found text",
        ),
        (&with_network("{egressProxy: {}}"), "error: bad.yaml:5: egressProxy.address: is missing"),
        (
            &with_network("{allowout: []}"),
            "error: bad.yaml:5: allowout: unknown field\n  hint: did you mean \"allowOut\"?",
        ),
        (
            &with_network("{dhcp: true}"),
            "error: bad.yaml:5: dhcp: unknown field\n  hint: did you mean \"dhcp\" at the top of the document?",
        ),
        (
            &with_network("{rules: {a.com: [{transform: {header: {}}}]}}"),
            "error: bad.yaml:5: rules.a.com[0].transform.header: unknown field `header`, expected `headers`",
        ),
        (
            &(with_network("{}") + "allowOut: []\n"),
            "error: bad.yaml:6: allowOut: unknown field\n  hint: did you mean \"network.allowOut\"?",
        ),
        (
            &(with_network("{}") + "xyz: 1\n"),
            "error: bad.yaml:6: xyz: unknown field\n  hint: known here: version, id, name, attach, addresses, mac, gateway, dhcp, \
             inboundFrom, onDeny, network",
        ),
        (&(with_network("{}") + "onDeny: refuse\n"), "error: bad.yaml:6: onDeny: expected `reject` or `drop`"),
        (
            &with_network("{}").replace("any", "all"),
            "error: bad.yaml:4: addresses: expected a list of addresses or the word any, found text",
        ),
        (
            &with_network("{}").replace("id: a", "id: 42"),
            "error: bad.yaml:2: id: expected text, found a number\n  hint: put it in quotes",
        ),
    ] {
        assert_eq!(fails(text), message);
    }
}

#[test]
fn all_mistakes_of_all_documents_at_once() {
    let text = "version: 1\nadresses: any\nattach: { interfac: veth7 }\nid: 5\nnetwork:\n  deny_out: []\n---\nid: a\n";
    assert_eq!(
        fails(text),
        "error: bad.yaml:1: addresses: is missing\n\
         error: bad.yaml:2: adresses: unknown field\n  hint: did you mean \"addresses\"?\n\
         error: bad.yaml:3: attach.interfac: unknown field\n  hint: did you mean \"interface\"?\n\
         error: bad.yaml:6: deny_out: unknown field\n  hint: did you mean \"denyOut\"?\n\
         error: bad.yaml:8: version: is missing\n\
         error: bad.yaml:8: attach: is missing\n\
         error: bad.yaml:8: addresses: is missing"
    );
}

#[test]
fn secrets_are_never_shown() {
    let parsed = one(FULL);
    assert!(!format!("{parsed:?}").contains("hunter2"));
    let sandbox = validate(&parsed.document, None, &Limits::default()).unwrap();
    assert!(!format!("{sandbox:?}").contains("hunter2"));
    assert!(serde_json::to_string(&parsed.document).unwrap().contains("hunter2"), "the store keeps it");
    assert!(!serde_json::to_string(&parsed.document.redacted()).unwrap().contains("hunter2"));
    for network in [
        "{egressProxy: 'u:hunter2@proxy:1'}",
        "{egressProxy: ['hunter2']}",
        "{egressProxy: {address: a, password: ['hunter2']}}",
        "{egressProxy: {address: 'a:1', password: 'hunter2'}}",
        "{egressProxy: {address: 'a:1', username: u, password: !x 'hunter2'}}",
        "{egressProxy: {address: 'a:1', username: u, password: 'hunter2}}",
        "{rules: {a.com: [{transform: {headers: {X: ['hunter2']}}}]}}",
        "{rules: {a.com: [{transform: {headers: 'hunter2'}}]}}",
        "{rules: {a.com: [{transform: {headers: {X: \"hunter2\\r\\n\"}}}]}}",
        "{rules: {a.com: [{transform: {headers: {X: \"hunter2\\q\"}}}]}}",
    ] {
        let shown = match parse(&with_network(network), "bad.yaml") {
            Ok(parsed) => validate(&parsed[0].document, None, &Limits::default()).expect_err(network).to_string(),
            Err(problems) => problems.to_string() + &problems.api_message(),
        };
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn an_empty_allow_list_denies_through_every_form() {
    let written = one(&with_network("{denyOut: ['0.0.0.0/0'], allowOut: []}")).document;
    let absent = one(&with_network("{denyOut: ['0.0.0.0/0']}")).document;
    assert_eq!(written, absent);
    let once = serde_json::to_string(&written).unwrap();
    assert!(once.contains(r#""allowOut":[]"#) && once.contains(r#""denyOut":["0.0.0.0/0"]"#), "{once}");
    let twice = serde_json::to_string(&one(&once).document).unwrap();
    assert_eq!(once, twice);
    let back: Document = serde_json::from_str(&twice).unwrap();
    let policy = validate(&back, None, &Limits::default()).unwrap().policy;
    let compiled = compile(&policy, &Operator::default(), 1);
    for address in ["8.8.8.8", "1.1.1.1", "2001:db8::1"] {
        let value = compiled.lookup(&address.parse::<std::net::IpAddr>().unwrap().into());
        assert_eq!(value.reason, filter_core::Reason::AddressDenied.number(), "{address}");
    }
}

#[test]
fn too_large_is_said_before_it_is_read() {
    let text = "[".repeat(MAX_DOCUMENT_BYTES + 1);
    let started = Instant::now();
    assert_eq!(fails(&text), "error: bad.yaml: 67108865 bytes are too many: 64 MiB is the most");
    assert!(started.elapsed().as_millis() < 100);
}

#[test]
fn a_million_entries_fit_and_a_bomb_does_not() {
    let list: String =
        (0..1_000_000u32).map(|n| format!("\n    - {}", std::net::Ipv4Addr::from(0x0100_0000 + n * 977))).collect();
    let parsed = one(&with_network(&format!("\n  denyOut:{list}")));
    assert_eq!(parsed.lines.deny_out.last(), Some(&1_000_006));
    let sandbox = validate(&parsed.document, Some(&parsed.lines), &Limits::default()).unwrap();
    let compiled = compile(&sandbox.policy, &Operator::default(), 1);
    let denied = compiled.lookup(&filter_core::Address::v4([1, 0, 3, 209]));
    assert_eq!(denied.reason, filter_core::Reason::AddressDenied.number());
    assert!(compiled.rest.len() < 400_000, "{}", compiled.rest.len());

    let bomb: String = ('a'..'i')
        .zip('b'..='i')
        .map(|(from, to)| format!("{to}: &{to} [{}]\n", vec![format!("*{from}"); 10].join(",")))
        .collect();
    let deep = "[".repeat(1_000_000);
    let anchors = "- &a x\n".repeat(100_000);
    let documents = "---\na: 1\n".repeat(100_000);
    let wide = format!("a: &a [{}]\nb: [{}]\n", "x,".repeat(2_000), "*a,".repeat(90));
    for text in [format!("a: &a [x,x,x,x,x,x,x,x,x,x]\n{bomb}"), wide, deep, anchors, documents] {
        let message = fails(&text);
        assert!(message.contains("too large or too complex") || message.contains("recursion limit"), "{message}");
    }
}

/// Whatever `text` is, the answer is a document or problems. A sandbox survives being written and read again.
fn judge(text: &str) -> String {
    match parse(text, "fuzz") {
        Ok(documents) => {
            for Parsed { document, lines } in &documents {
                if let Ok(sandbox) = validate(document, Some(lines), &Limits::default()) {
                    let again = one(&serde_json::to_string(document).unwrap()).document;
                    assert_eq!(validate(&again, None, &Limits::default()).unwrap(), sandbox);
                    return Problems(warnings(&sandbox, Some(lines))).to_string();
                }
            }
            String::new()
        }
        Err(problems) => {
            assert!(!problems.0.is_empty());
            problems.to_string()
        }
    }
}

#[test]
fn every_prefix_of_a_document() {
    let json = serde_json::to_string_pretty(&one(FULL).document).unwrap();
    for text in [FULL, &json] {
        for end in 0..=text.len() {
            let shown = judge(&text[..end]);
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(3_000) })]

    #[test]
    fn any_text(text in "\\PC{0,80}") {
        judge(&text);
    }

    #[test]
    fn a_document_with_a_stretch_replaced(start in 0..FULL.len(), length in 0..40usize, instead in "[-:,#&*!|>'\"%@`{}\\[\\] \n\ta0./]{0,12}") {
        let end = (start + length).min(FULL.len());
        judge(&format!("{}{instead}{}", &FULL[..start], &FULL[end..]));
    }
}
