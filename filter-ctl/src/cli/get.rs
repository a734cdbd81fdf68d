//! `get`: what is in effect.

use std::{
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use anstyle::Style;
use filter_policy::{
    Document, SandboxId,
    document::{Addresses, OnDeny},
};

use super::{
    arguments::Format,
    client::Client,
    error::Failure,
    output::{self, BOLD, Cell, DIM, GOOD, Output, PLAIN, WARN, paint, plain},
    summary,
};
use crate::api::{Asked, SandboxStatus, State};

pub(super) async fn run(
    client: &Client,
    output: &mut Output,
    id: Option<&SandboxId>,
    format: Option<Format>,
) -> Result<ExitCode, Failure> {
    if output.json && format.is_some() {
        return Err(Failure::Usage("--json prints everything and --output documents only: choose one"));
    }
    let sandboxes: Vec<SandboxStatus> = match id {
        Some(id) => vec![client.get(&format!("/v1/sandboxes/{id}")).await?],
        None => client.get("/v1/sandboxes").await?,
    };
    match (format, sandboxes.as_slice()) {
        (Some(format), all) => {
            output.text(&documents(all, format, id.is_some())?)?;
            if all.iter().any(|status| has_secrets(&status.document)) {
                output.aside(&format!("{} passwords and header values are left out\n", paint(WARN, "warning:")));
            }
        }
        (None, [one]) if output.json && id.is_some() => output.json(one)?,
        (None, all) if output.json => output.json(&all)?,
        (None, [one]) if id.is_some() => output.text(&details(one, now()))?,
        (None, []) => output.aside("no sandboxes: filter-ctl apply -f FILE makes one\n"),
        (None, all) => output.text(&table(all, now()))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Documents as `apply` reads them: of YAML any number, of JSON one, or a list.
fn documents(sandboxes: &[SandboxStatus], format: Format, one: bool) -> Result<String, Failure> {
    let documents: Vec<&Document> = sandboxes.iter().map(|status| &status.document).collect();
    let failed = |error: &dyn std::fmt::Display| Failure::Output(std::io::Error::other(error.to_string()));
    if format == Format::Yaml {
        let yaml = documents.iter().map(serde_saphyr::to_string).collect::<Result<Vec<_>, _>>();
        return Ok(yaml.map_err(|error| failed(&error))?.join("---\n"));
    }
    let json = match documents.as_slice() {
        [document] if one => serde_json::to_string_pretty(document),
        all => serde_json::to_string_pretty(all),
    };
    Ok(json.map_err(|error| failed(&error))? + "\n")
}

fn has_secrets(document: &Document) -> bool {
    !document.network.rules.is_empty() || document.network.egress_proxy.is_some()
}

fn table(sandboxes: &[SandboxStatus], now: u64) -> String {
    let titles = ["SANDBOX", "ATTACHED", "GEN", "ALLOW", "DENY", "ALLOWED", "DENIED", "STATE", "AGE"];
    let mut rows = vec![titles.map(|title| Cell::new(DIM, title)).into_iter().collect::<Vec<_>>()];
    for column in [2, 5, 6] {
        rows[0][column].right = true;
    }
    rows.extend(sandboxes.iter().map(|status| row(status, now)));
    output::table(&rows, 2)
}

fn row(status: &SandboxStatus, now: u64) -> Vec<Cell> {
    let network = &status.document.network;
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
    let (style, state) = state(status.state);
    vec![
        Cell::new(BOLD, &status.id),
        Cell::new(PLAIN, &attached(status)),
        Cell::number(status.generation),
        Cell::new(PLAIN, &or_dash(summary::allowed(network))),
        Cell::new(PLAIN, &or_dash(summary::denied(network))),
        Cell::number(output::count(status.counters.allowed)),
        Cell::number(output::count(status.counters.denied)),
        Cell::new(style, state),
        Cell::new(PLAIN, &output::age(now.saturating_sub(status.created))),
    ]
}

fn details(status: &SandboxStatus, now: u64) -> String {
    let SandboxStatus { document, counters, .. } = status;
    let age = |then: u64| output::age(now.saturating_sub(then));
    let (style, state) = state(status.state);
    let since = format!("created {} ago, changed {} ago", age(status.created), age(status.updated));
    let packets = |count: u64, bytes: u64| format!("{count} packets, {}", output::bytes(bytes));
    let mut rows = vec![
        ("state", format!("{}, {since}", paint(style, state))),
        ("attached", plain(&attached(status)).into_owned()),
        ("generation", status.generation.to_string()),
    ];
    rows.extend(status.asked.as_ref().map(|by| ("asked for", asked(by, now))));
    rows.extend(written(document));
    rows.extend([
        ("allowed", packets(counters.allowed, counters.bytes_allowed)),
        ("denied", packets(counters.denied, counters.bytes_denied)),
        ("let in", packets(counters.inbound_allowed, counters.inbound_bytes)),
        (
            "answered",
            format!("{} denials, {} held back by the rate limit", counters.rejects_sent, counters.rejects_suppressed),
        ),
    ]);
    let told = format!("{} told", counters.events_sent);
    let kept = format!("{} held back by the rate limit, {} lost", counters.events_suppressed, counters.events_lost);
    rows.push(("events", format!("{told}, {kept}")));

    let mut text = paint(BOLD, plain(&status.id));
    text.extend(status.name.as_deref().map(|name| format!("   {}", plain(name))));
    text.push('\n');
    text.extend(rows.iter().map(|(label, value)| format!("  {label:<14}{value}\n")));
    if !counters.reasons.is_empty() {
        text.push_str("  packets by reason\n");
    }
    let width = counters.reasons.keys().map(String::len).max().unwrap_or(0);
    text.extend(counters.reasons.iter().map(|(reason, count)| format!("    {:width$}  {count}\n", plain(reason))));
    text
}

/// How it was asked for: by whom, and how long it lives.
fn asked(Asked { key, template, provided, ends, metadata }: &Asked, now: u64) -> String {
    let mut words = vec![key.as_ref().map_or("by the operator".to_owned(), |key| format!("with key {}", plain(key)))];
    if !template.is_empty() {
        words.push(format!("template {}", plain(template)));
    }
    words.extend(provided.then(|| "made by the provider".to_owned()));
    words.extend(ends.map(|ends| format!("ends in {}", output::age(ends.saturating_sub(now)))));
    words.extend(metadata.iter().map(|(name, value)| format!("{}={}", plain(name), plain(value))));
    words.join(", ")
}

/// The fields of a document that say something.
fn written(document: &Document) -> Vec<(&'static str, String)> {
    let network = &document.network;
    let addresses = match &document.addresses {
        Addresses::Any => "any (the source is not checked)".to_owned(),
        Addresses::List(list) => summary::listed(list),
    };
    let mut fields = vec![("addresses", addresses)];
    fields.extend(document.mac.clone().map(|mac| ("mac", mac)));
    for (label, list) in [
        ("gateway", &document.gateway),
        ("inboundFrom", &document.inbound_from),
        ("allowOut", &network.allow_out),
        ("denyOut", &network.deny_out),
    ] {
        if !list.is_empty() {
            fields.push((label, summary::listed(list)));
        }
    }
    if network.allow_internet_access == Some(false) {
        fields.push(("internet", "no access but for allowOut".to_owned()));
    }
    if !network.rules.is_empty() {
        fields.push(("rules", summary::listed(&network.rules.keys().cloned().collect::<Vec<_>>())));
    }
    fields.extend(network.egress_proxy.as_ref().map(|proxy| ("egressProxy", proxy.address.clone())));
    fields.extend(document.dhcp.then(|| ("dhcp", "passes".to_owned())));
    let on_deny = if document.on_deny == OnDeny::Reject { "reject" } else { "drop" };
    fields.push(("onDeny", on_deny.to_owned()));
    fields.into_iter().map(|(label, value)| (label, plain(&value).into_owned())).collect()
}

fn attached(status: &SandboxStatus) -> String {
    format!("{} ({})", status.device, status.hook)
}

fn state(state: State) -> (Style, &'static str) {
    match state {
        State::Active => (GOOD, "active"),
        State::Sealed => (WARN, "sealed"),
        State::Detached => (DIM, "detached"),
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::api::CounterStatus;

    const DOCUMENT: &str = r#"
version: 1
id: agent
name: "Build agent, team blue"
attach: { interface: veth7 }
addresses: [198.51.100.2, "2001:db8:1::/64"]
gateway: [198.51.100.1]
network: { denyOut: ["0.0.0.0/0"], allowOut: ["203.0.113.0/24", "api.example.com", "no", "1e5.example"] }
"#;

    fn status() -> SandboxStatus {
        let parsed = filter_policy::parse(DOCUMENT, "agent.yaml").unwrap().remove(0);
        SandboxStatus {
            id: "agent".to_owned(),
            name: parsed.document.name.clone(),
            state: State::Active,
            device: "veth7".to_owned(),
            hook: "tcx".to_owned(),
            generation: 8,
            document: parsed.document,
            counters: CounterStatus {
                allowed: 1_234,
                denied: 3,
                bytes_allowed: 3_450_000,
                bytes_denied: 222,
                reasons: BTreeMap::from([("address-denied".to_owned(), 3), ("allowed-by-list".to_owned(), 1_234)]),
                events_sent: 2,
                events_suppressed: 1,
                events_lost: 0,
                inbound_allowed: 1_100,
                inbound_bytes: 9_000_000,
                rejects_sent: 3,
                rejects_suppressed: 0,
            },
            denied_resolvers: Vec::new(),
            asked: None,
            created: 1_000,
            updated: 8_000,
        }
    }

    fn strip(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn a_line_for_each_sandbox() {
        let mut sealed = SandboxStatus { id: "ci42".to_owned(), state: State::Sealed, ..status() };
        sealed.device = "veth8@web".to_owned();
        sealed.document.network = filter_policy::Network::default();
        sealed.counters = CounterStatus::default();
        assert_eq!(
            strip(&table(&[status(), sealed], 8_300)),
            "\
SANDBOX  ATTACHED         GEN  ALLOW              DENY       ALLOWED  DENIED  STATE   AGE
agent    veth7 (tcx)        8  3 names 1 address  0.0.0.0/0     1.2k       3  active  2h
ci42     veth8@web (tcx)    8  –                  –                0       0  sealed  2h
"
        );
    }

    #[test]
    fn everything_about_one() {
        assert_eq!(
            strip(&details(&status(), 8_300)),
            "\
agent   Build agent, team blue
  state         active, created 2h ago, changed 5m ago
  attached      veth7 (tcx)
  generation    8
  addresses     198.51.100.2, 2001:db8:1::/64
  gateway       198.51.100.1
  allowOut      203.0.113.0/24, api.example.com, no, 1e5.example
  denyOut       0.0.0.0/0
  onDeny        reject
  allowed       1234 packets, 3.4 MB
  denied        3 packets, 222 B
  let in        1100 packets, 9.0 MB
  answered      3 denials, 0 held back by the rate limit
  events        2 told, 1 held back by the rate limit, 0 lost
  packets by reason
    address-denied   3
    allowed-by-list  1234
"
        );
    }

    #[test]
    fn documents_come_back_as_they_were() {
        let odd = |id: &str| {
            let mut status = status();
            status.document.id = id.to_owned();
            status.document.name = Some("- a: #\"'\\ {b} \u{e9}\u{1f600} ".to_owned());
            status
        };
        let all = [odd("42"), odd("1e5"), odd("null"), odd("true"), odd("no"), odd("0x1f"), odd("agent")];
        let yaml = documents(&all, Format::Yaml, false).unwrap();
        let read = filter_policy::parse(&yaml, "yaml").unwrap_or_else(|problems| panic!("{problems}\n{yaml}"));
        assert_eq!(read.len(), all.len());
        for (read, written) in read.iter().zip(&all) {
            assert_eq!(read.document, written.document, "{yaml}");
        }
        let json = documents(&all[..1], Format::Json, true).unwrap();
        assert_eq!(filter_policy::parse(&json, "json").unwrap()[0].document, all[0].document);
    }
}
