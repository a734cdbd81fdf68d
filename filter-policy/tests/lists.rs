//! Every row of the validation of lists, each with the exact words of the terminal and of the REST API.

use filter_policy::{Limits, Network, Problem, Problems, validate_network};
use serde_json::{Value, json};

fn problems(network: Value) -> Vec<Problem> {
    let network: Network = serde_json::from_value(network).unwrap();
    validate_network(&network, None, &Limits::default()).map_or_else(|problems| problems.0, |_| Vec::new())
}

fn only(network: Value) -> Problem {
    let found = problems(network.clone());
    assert_eq!(found.len(), 1, "{network}: {}", Problems(found));
    found.into_iter().next().unwrap()
}

const WRITE_ADDRESS: &str = "write an address such as 8.8.8.8 or a CIDR such as 8.8.8.0/24";
const DENY_ALL: &str = "deny everything with \"0.0.0.0/0\" and list what may be reached in allowOut";

#[test]
fn denied_entries() {
    let not_an_address = "not an IPv4 or IPv6 address";
    let not_a_length = "not a prefix length: 32 is the most and only digits count";
    let unspecified = "the unspecified address cannot be denied";
    let domain = "domains cannot be denied";
    for (entry, why, hint) in [
        ("example.com", domain, DENY_ALL),
        ("*.example.com", domain, DENY_ALL),
        ("*", domain, DENY_ALL),
        ("localhost", domain, DENY_ALL),
        ("", not_an_address, WRITE_ADDRESS),
        (" ", not_an_address, WRITE_ADDRESS),
        (" 8.8.8.8", not_an_address, WRITE_ADDRESS),
        ("8.8.8.8 ", not_an_address, WRITE_ADDRESS),
        ("8.8.8.8\n", not_an_address, WRITE_ADDRESS),
        ("08.8.8.8", not_an_address, WRITE_ADDRESS),
        ("256.1.1.1", not_an_address, WRITE_ADDRESS),
        ("1.2.3", not_an_address, WRITE_ADDRESS),
        ("0x8.8.8.8", not_an_address, WRITE_ADDRESS),
        ("0x08080808", not_an_address, WRITE_ADDRESS),
        ("010.0.0.1", not_an_address, WRITE_ADDRESS),
        ("134744072", not_an_address, WRITE_ADDRESS),
        ("http://x", not_an_address, WRITE_ADDRESS),
        ("8.8.8.8:53", not_an_address, WRITE_ADDRESS),
        ("8.8.8.8-8.8.8.9", not_an_address, WRITE_ADDRESS),
        ("fe80::1%eth0", not_an_address, WRITE_ADDRESS),
        ("[::1]", not_an_address, WRITE_ADDRESS),
        ("example.com/24", not_an_address, WRITE_ADDRESS),
        ("10.0.0.0/", not_a_length, WRITE_ADDRESS),
        ("10.0.0.0/33", not_a_length, WRITE_ADDRESS),
        ("10.0.0.0/-1", not_a_length, WRITE_ADDRESS),
        ("10.0.0.0/08", not_a_length, WRITE_ADDRESS),
        ("10.0.0.0/8/8", not_a_length, WRITE_ADDRESS),
        ("10.0.0.0/255.0.0.0", not_a_length, WRITE_ADDRESS),
        ("::1/129", "not a prefix length: 128 is the most and only digits count", WRITE_ADDRESS),
        ("0.0.0.0", unspecified, DENY_ALL),
        ("0.0.0.0/8", unspecified, DENY_ALL),
        ("0.0.0.0/32", unspecified, DENY_ALL),
        ("0.0.0.0/1", unspecified, DENY_ALL),
        ("::", unspecified, DENY_ALL),
        ("::/1", unspecified, DENY_ALL),
        ("0:0:0:0:0:0:0:0/96", unspecified, DENY_ALL),
    ] {
        let problem = only(json!({"denyOut": ["8.8.8.8", entry]}));
        assert_eq!(problem.to_string(), format!("error: denyOut[1] {entry:?}: {why}\n  hint: {hint}"));
        assert_eq!(problem.field, "network.denyOut[1]");
        assert_eq!(problem.api_message(), format!("invalid denied CIDR {entry}"));
    }
}

#[test]
fn allowed_entries() {
    const NAME: &str = "write an address, a CIDR, a name such as example.com, *.example.com, or *";
    const NUMBERS: &str = "write four decimal numbers without leading zeros";
    const CIDR: &str = "write a CIDR such as 8.8.8.0/24";
    let characters = "a name has letters, digits, hyphens and dots only";
    let address = "looks like an address but is none";
    let wildcard = "a wildcard is either \"*\" alone or \"*.\" before a name";
    let label = "every part between dots needs 1 to 63 characters";
    let length = "not a prefix length: 32 is the most and only digits count";
    let long_label = "a".repeat(64);
    let long_name = format!("{}a", "a.".repeat(127));
    assert_eq!(long_name.len(), 255);
    let name_of_254 = format!("{}.ab", ["a".repeat(62).as_str(); 4].join("."));
    assert_eq!(name_of_254.len(), 254);
    for (entry, why, hint) in [
        ("", "empty", NAME),
        (".", "empty", NAME),
        ("http://x", "a URL, not a name", "write the name alone, without scheme and path"),
        ("https://example.com/a", "a URL, not a name", "write the name alone, without scheme and path"),
        ("a b", characters, NAME),
        (" example.com", characters, NAME),
        ("example.com ", characters, NAME),
        ("example.com\n", characters, NAME),
        ("example.com\0", characters, NAME),
        ("x.com:443", characters, NAME),
        ("x.com/a", characters, NAME),
        ("user@x.com", characters, NAME),
        ("-a.com", characters, NAME),
        ("a-.com", characters, NAME),
        ("fe80::1%eth0", characters, NAME),
        ("[::1]", characters, NAME),
        ("8.8.8.8:53", characters, NAME),
        ("256.1.1.1", address, NUMBERS),
        ("08.8.8.8", address, NUMBERS),
        ("1.2.3", address, NUMBERS),
        ("1.2.3.4.", address, NUMBERS),
        ("1.2.3.4.5", address, NUMBERS),
        ("0x7f.1", address, NUMBERS),
        ("0x7f000001", address, NUMBERS),
        ("0X7F000001", address, NUMBERS),
        ("a.0x", address, NUMBERS),
        ("017700000001", address, NUMBERS),
        ("2130706433", address, NUMBERS),
        ("example.123", address, NUMBERS),
        ("１.２.３.４", address, NUMBERS),
        ("*.1.2.3.4", address, NUMBERS),
        ("*foo.com", wildcard, NAME),
        ("a.*.com", wildcard, NAME),
        ("**", wildcard, NAME),
        ("*.*", wildcard, NAME),
        ("*.*.com", wildcard, NAME),
        ("example.*", wildcard, NAME),
        ("*.", "empty", NAME),
        ("a..com", label, NAME),
        (".a.com", label, NAME),
        ("a.com..", label, NAME),
        ("*..com", label, NAME),
        (long_label.as_str(), label, NAME),
        (long_name.as_str(), "longer than 253 characters", NAME),
        (name_of_254.as_str(), "longer than 253 characters", NAME),
        ("10.0.0.0/", length, CIDR),
        ("10.0.0.0/33", length, CIDR),
        ("10.0.0.0/08", length, CIDR),
        ("::/129", "not a prefix length: 128 is the most and only digits count", CIDR),
    ] {
        let problem = only(json!({"denyOut": ["0.0.0.0/0"], "allowOut": ["8.8.8.8", entry]}));
        assert_eq!(problem.to_string(), format!("error: allowOut[1] {entry:?}: {why}\n  hint: {hint}"));
        assert_eq!(
            problem.api_message(),
            format!("invalid allowed entry {entry}: neither an address nor a domain ({why})")
        );
    }
    for entry in ["0.0.0.0", "0.0.0.0/8", "0.0.0.0/32", "::", "::/96", "::/128"] {
        let problem = only(json!({"allowOut": [entry]}));
        assert_eq!(problem.message, format!("{entry:?}: the unspecified address cannot be allowed"));
        assert_eq!(problem.api_message(), format!("invalid allowed address {entry}"));
    }
}

#[test]
fn good_entries() {
    let most_of_a_name = format!("{}.a", ["a".repeat(62).as_str(); 4].join("."));
    assert_eq!(most_of_a_name.len(), 253);
    let network = json!({
        "denyOut": ["0.0.0.0/0", "::/0", "8.8.8.8", "8.8.8.8/24", "255.255.255.255", "1.2.3.4/0", "2001:db8::/32", "::1", "8.8.8.8"],
        "allowOut": [
            "0.0.0.0/0", "::/0", "10.0.0.0/8", "::ffff:1.2.3.4", "example.com", "EXAMPLE.com.", "*.example.com", "*",
            "bücher.example", "_dmarc.example.com", "r3---sn-a.example", "localhost", "xn--bcher-kva.example", "1and1.example",
            "a".repeat(63), most_of_a_name, format!("{most_of_a_name}."), "0xyz.example", "8.8.8.8.example",
        ],
    });
    let network: Network = serde_json::from_value(network).unwrap();
    let (policy, _) = validate_network(&network, None, &Limits::default()).unwrap();
    let deny: Vec<String> = policy.deny.iter().map(|entry| entry.value.to_string()).collect();
    assert_eq!(
        deny,
        [
            "0.0.0.0/0",
            "::/0",
            "8.8.8.8/32",
            "8.8.8.0/24",
            "255.255.255.255/32",
            "0.0.0.0/0",
            "2001:db8::/32",
            "::1/128",
            "8.8.8.8/32"
        ]
    );
    let names: Vec<String> = policy.names.iter().map(|entry| entry.value.to_string()).collect();
    assert_eq!(names[..5], ["example.com", "example.com", "*.example.com", "*", "xn--bcher-kva.example"]);
    assert_eq!((policy.names[0].index, policy.names[1].text.as_str()), (4, "EXAMPLE.com."));
    assert_eq!(policy.allow.len() + policy.names.len(), network.allow_out.len());
}

#[test]
fn names_need_all_traffic_denied() {
    const MESSAGE: &str = "When specifying allowed domains in allow out, you must include 'ALL_TRAFFIC' in deny out to block all \
        other traffic.";
    for deny in
        [json!([]), json!(["::/0"]), json!(["0.0.0.0/1", "128.0.0.0/1"]), json!(["1.2.3.4/0"]), json!(["10.0.0.0/8"])]
    {
        let found = problems(json!({"allowOut": ["8.8.8.8", "example.com", "*"], "denyOut": deny}));
        let last = found.last().unwrap();
        assert_eq!(last.api_message(), MESSAGE);
        assert_eq!(
            last.to_string(),
            "error: allowOut[1] \"example.com\": names need denyOut to hold \"0.0.0.0/0\"\n  hint: add \"0.0.0.0/0\" to denyOut: \
             a name opens what is denied"
        );
    }
    let without = only(json!({"allowInternetAccess": false, "allowOut": ["example.com"]}));
    assert_eq!(without.api_message(), MESSAGE);
    assert_eq!(problems(json!({"allowOut": ["example.com"], "denyOut": ["8.8.8.8", "0.0.0.0/0"]})), []);
    assert_eq!(problems(json!({"allowInternetAccess": false, "allowOut": ["a.com"], "denyOut": ["0.0.0.0/0"]})), []);
}

#[test]
fn all_problems_at_once_in_order() {
    let found = problems(json!({"denyOut": ["x.com", "8.8.8.8", "10.0.0.0/"], "allowOut": ["::", "a b", "y.com"]}));
    let fields: Vec<&str> = found.iter().map(|problem| problem.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "network.denyOut[0]",
            "network.denyOut[2]",
            "network.allowOut[0]",
            "network.allowOut[1]",
            "network.allowOut[2]"
        ]
    );
    assert_eq!(Problems(found).api_message(), "invalid denied CIDR x.com");
}

#[test]
fn a_flood_of_problems_is_summed_up() {
    let found = problems(json!({"denyOut": vec!["x.com"; 5_000]}));
    assert_eq!(found.len(), Problems::MAX + 1);
    assert_eq!(found.last().unwrap().to_string(), "error: and 4900 more like these");
    let huge = only(json!({"denyOut": ["é".repeat(1_000_000)]}));
    assert!(huge.to_string().len() < 1_000 && huge.api_message().len() < 1_000);
}

#[test]
fn no_internet_access_replaces_the_denied_list() {
    let parse = |value| validate_network(&serde_json::from_value(value).unwrap(), None, &Limits::default()).unwrap().0;
    let policy = parse(json!({"allowInternetAccess": false, "denyOut": ["8.8.8.8"], "allowOut": ["1.1.1.1"]}));
    assert_eq!(policy.deny.len(), 1);
    assert_eq!(policy.deny[0].value.to_string(), "0.0.0.0/0");
    assert_eq!(policy.deny[0].text, "allowInternetAccess: false");
    assert_eq!(policy.allow.len(), 1);
    assert!(policy.denies_by_default());
    for access in [json!(true), json!(null)] {
        let policy = parse(json!({"allowInternetAccess": access, "denyOut": ["8.8.8.8"]}));
        assert_eq!(policy.deny[0].text, "8.8.8.8", "does not undo denyOut");
        assert!(!policy.denies_by_default());
    }
    let found = problems(json!({"allowInternetAccess": false, "denyOut": ["x.com"]}));
    assert_eq!(found[0].api_message(), "invalid denied CIDR x.com", "what is replaced is still checked");
}
