//! `explain`: what the attached program says of the first packet of a new connection, and why.

use std::{net::IpAddr, process::ExitCode};

use filter_policy::SandboxId;

use super::{
    client::Client,
    destination::{Destination, Host},
    error::{Failure, exit},
    output::{self, BAD, BOLD, DIM, GOOD, Output, paint, plain},
};
use crate::api::{Explanation, NameExplanation};

pub(super) async fn run(
    client: &Client,
    output: &mut Output,
    id: &SandboxId,
    destination: &Destination,
    at: Option<IpAddr>,
    exit_code: bool,
) -> Result<ExitCode, Failure> {
    if at.is_some() && matches!(destination.host, Host::Address(_)) {
        return Err(Failure::Usage("--at says where a name is believed to be, and the destination is an address"));
    }
    let request = destination.request(at);
    let explanation: Explanation = client.post(&format!("/v1/sandboxes/{id}/explain"), &request).await?;
    if output.json {
        output.json(&explanation)?;
    } else {
        output.text(&block(&explanation, destination.assumed_port))?;
    }
    Ok(ExitCode::from(if exit_code && !explanation.allowed { exit::DENIED } else { exit::DONE }))
}

fn block(explanation: &Explanation, assumed_port: bool) -> String {
    let Explanation { id, reason, reason_name, .. } = explanation;
    let verdict = if explanation.allowed { paint(GOOD, "ALLOW") } else { paint(BAD, "DENY") };
    let (to, protocol) = asked(explanation);
    let reason = format!("{reason} {}", plain(reason_name));
    let mut text = format!(
        "{verdict}   {} ({protocol})   reason {}\n",
        paint(BOLD, format_args!("{} → {to}", plain(id))),
        paint(BOLD, reason)
    );
    text += &format!("  {}\n", plain(&explanation.meaning));
    if let Some(entry) = &explanation.entry {
        let word = if explanation.allowed { "allowed by" } else { "denied by" };
        let place = explanation.place.as_ref().or(explanation.field.as_ref()).map_or("", |place| place);
        text += format!("  {word} {}   {}", paint(BOLD, plain(entry)), plain(place)).trim_end();
        text += "\n";
    }
    text.extend(explanation.name.as_ref().map(|name| lists(explanation, name)));
    if let Some(advice) = &explanation.advice {
        text += &output::hint(advice);
    }
    text + &format!("  {}\n", paint(DIM, judge(explanation, assumed_port)))
}

/// Where to, and by which protocol, as people call them.
fn asked(explanation: &Explanation) -> (String, &'static str) {
    match (&explanation.name, explanation.port) {
        (Some(name), Some(port)) => (format!("{}:{port}", plain(&name.name)), if port == 80 { "http" } else { "tls" }),
        _ => (endpoint(explanation.destination, explanation.port), output::protocol(explanation.protocol)),
    }
}

/// What the lists say that did not decide by itself: of names, and of the address.
fn lists(explanation: &Explanation, name: &NameExplanation) -> String {
    let place = |place: &Option<String>| place.as_ref().map_or(String::new(), |place| format!("   {}", plain(place)));
    let covered = explanation.entry.is_some() && name.judged;
    let names = match (name.judged, name.listed) {
        (false, 0) => "none is listed: the address decides".to_owned(),
        (false, _) => "not looked at: the address decides".to_owned(),
        (true, listed) => {
            let more = if listed > name.first.len() { " …" } else { "" };
            let first = plain(&name.first.join(", ")).into_owned() + more;
            format!("none of {listed} covers it: {first}{}", place(&name.list_place))
        }
    };
    let mut text = if covered { String::new() } else { format!("  names      {names}\n") };
    if let Some(entry) = name.address_entry.as_ref().filter(|_| name.judged) {
        let which = if name.assumed_address { "not listed" } else { "" };
        let address = if which.is_empty() { explanation.destination.to_string() } else { which.to_owned() };
        text += &format!("  addresses  {address}, denied by {}{}\n", plain(entry), place(&name.address_place));
    }
    text
}

/// Who judged what.
fn judge(explanation: &Explanation, assumed_port: bool) -> String {
    let source = explanation.source;
    let to = match &explanation.name {
        Some(name) if name.assumed_address => " to an address that no list names".to_owned(),
        Some(_) => format!(" to {}", explanation.destination),
        None => String::new(),
    };
    let asked = if assumed_port { ", port 443 because none was given" } else { "" };
    // A cgroup is known by its path. Its programs cannot be asked, and judge as those of devices do.
    let by = if explanation.device.starts_with('/') { "as by the programs" } else { "by the program that is" };
    format!(
        "(judged {by} attached to {}, generation {}; a new connection from {source}{to}{asked})",
        plain(&explanation.device),
        explanation.generation
    )
}

/// `203.0.113.9:443`, `[2001:db8::9]:443`, or the address alone.
pub(super) fn endpoint(address: IpAddr, port: Option<u16>) -> String {
    match (address, port) {
        (address, None) => address.to_string(),
        (IpAddr::V4(address), Some(port)) => format!("{address}:{port}"),
        (IpAddr::V6(address), Some(port)) => format!("[{address}]:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Protocol;

    fn denied() -> Explanation {
        Explanation {
            id: "agent".to_owned(),
            allowed: false,
            reason: 40,
            reason_name: "address-denied".to_owned(),
            meaning: "An entry of the deny list covers the address and none of the allow list does.".to_owned(),
            source: "198.51.100.2".parse().unwrap(),
            destination: "203.0.113.9".parse().unwrap(),
            protocol: Protocol::Tcp,
            port: Some(443),
            field: Some("network.denyOut[0]".to_owned()),
            entry: Some("0.0.0.0/0".to_owned()),
            place: Some("agent.yaml:6".to_owned()),
            advice: Some("to allow: add \"203.0.113.9\" to allowOut".to_owned()),
            name: None,
            device: "veth7".to_owned(),
            generation: 8,
        }
    }

    fn plain(explanation: &Explanation, assumed_port: bool) -> String {
        anstream::adapter::strip_str(&block(explanation, assumed_port)).to_string()
    }

    #[test]
    fn a_denial_names_its_entry_and_the_way_out() {
        assert_eq!(
            plain(&denied(), false),
            "\
DENY   agent → 203.0.113.9:443 (tcp)   reason 40 address-denied
  An entry of the deny list covers the address and none of the allow list does.
  denied by 0.0.0.0/0   agent.yaml:6
  to allow: add \"203.0.113.9\" to allowOut
  (judged by the program that is attached to veth7, generation 8; a new connection from 198.51.100.2)
"
        );
        assert!(block(&denied(), false).starts_with("\u{1b}[1m\u{1b}[31mDENY"));
    }

    #[test]
    fn an_allowance_says_why() {
        let explanation = Explanation {
            allowed: true,
            reason: 1,
            reason_name: "allowed-by-default".to_owned(),
            meaning: "No list names the address and the policy allows by default.".to_owned(),
            source: "2001:db8:1::2".parse().unwrap(),
            destination: "2001:db8::9".parse().unwrap(),
            field: None,
            entry: None,
            place: None,
            advice: None,
            ..denied()
        };
        assert_eq!(
            plain(&explanation, true),
            "\
ALLOW   agent → [2001:db8::9]:443 (tcp)   reason 1 allowed-by-default
  No list names the address and the policy allows by default.
  (judged by the program that is attached to veth7, generation 8; a new connection from 2001:db8:1::2, port 443 because none was given)
"
        );
    }

    #[test]
    fn icmp_has_no_port_and_a_field_stands_in_for_a_place() {
        let explanation = Explanation { protocol: Protocol::Icmp, port: None, place: None, ..denied() };
        let text = plain(&explanation, false);
        assert!(text.starts_with("DENY   agent → 203.0.113.9 (icmp)   reason"), "{text}");
        assert!(text.contains("  denied by 0.0.0.0/0   network.denyOut[0]\n"), "{text}");
    }

    fn named() -> Explanation {
        Explanation {
            reason: 41,
            reason_name: "name-denied".to_owned(),
            meaning: "No entry of the allow list covers the name.".to_owned(),
            destination: "192.0.2.1".parse().unwrap(),
            field: None,
            entry: None,
            place: None,
            advice: Some("to allow: add \"api.github.com\" to allowOut".to_owned()),
            name: Some(NameExplanation {
                name: "api.github.com".to_owned(),
                judged: true,
                assumed_address: true,
                address_entry: Some("0.0.0.0/0".to_owned()),
                address_place: Some("agent.yaml:6".to_owned()),
                listed: 14,
                first: vec!["*.githubusercontent.com".to_owned(), "pypi.org".to_owned()],
                list_place: Some("agent.yaml:9".to_owned()),
            }),
            ..denied()
        }
    }

    #[test]
    fn a_name_that_no_entry_covers() {
        assert_eq!(
            plain(&named(), false),
            "\
DENY   agent → api.github.com:443 (tls)   reason 41 name-denied
  No entry of the allow list covers the name.
  names      none of 14 covers it: *.githubusercontent.com, pypi.org …   agent.yaml:9
  addresses  not listed, denied by 0.0.0.0/0   agent.yaml:6
  to allow: add \"api.github.com\" to allowOut
  (judged by the program that is attached to veth7, generation 8; a new connection from 198.51.100.2 to an address that no list names)
"
        );
    }

    #[test]
    fn a_name_that_an_entry_covers() {
        let mut explanation = Explanation {
            allowed: true,
            reason: 62,
            reason_name: "handed-over".to_owned(),
            port: Some(80),
            entry: Some("*.github.com".to_owned()),
            place: Some("agent.yaml:9".to_owned()),
            advice: None,
            ..named()
        };
        explanation.name.as_mut().unwrap().assumed_address = false;
        let text = plain(&explanation, false);
        assert!(text.starts_with("ALLOW   agent → api.github.com:80 (http)   reason 62 handed-over\n"), "{text}");
        assert!(text.contains("  allowed by *.github.com   agent.yaml:9\n"), "{text}");
        assert!(!text.contains("  names  "), "{text}");
        assert!(text.contains("  addresses  192.0.2.1, denied by 0.0.0.0/0   agent.yaml:6\n"), "{text}");
        assert!(text.contains("a new connection from 198.51.100.2 to 192.0.2.1)"), "{text}");
    }

    #[test]
    fn an_address_that_decides_whatever_the_name_is() {
        let mut explanation = Explanation { allowed: true, entry: Some("192.0.2.0/24".to_owned()), ..named() };
        let name = explanation.name.as_mut().unwrap();
        (name.judged, name.assumed_address) = (false, false);
        let text = plain(&explanation, false);
        assert!(text.contains("  names      not looked at: the address decides\n"), "{text}");
        assert!(!text.contains("  addresses"), "{text}");
        explanation.name.as_mut().unwrap().listed = 0;
        assert!(plain(&explanation, false).contains("  names      none is listed: the address decides\n"));
    }
}
