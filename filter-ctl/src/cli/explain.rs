//! `explain`: what the attached program says of the first packet of a new connection, and why.

use std::{net::IpAddr, process::ExitCode};

use filter_policy::SandboxId;

use super::{
    client::Client,
    destination::Destination,
    error::{Failure, exit},
    output::{self, BAD, BOLD, DIM, GOOD, Output, paint, plain},
};
use crate::api::Explanation;

pub(super) async fn run(
    client: &Client,
    output: &mut Output,
    id: &SandboxId,
    destination: Destination,
    exit_code: bool,
) -> Result<ExitCode, Failure> {
    let explanation: Explanation = client.post(&format!("/v1/sandboxes/{id}/explain"), &destination.request()).await?;
    if output.json {
        output.json(&explanation)?;
    } else {
        output.text(&block(&explanation, destination.assumed_port))?;
    }
    Ok(ExitCode::from(if exit_code && !explanation.allowed { exit::DENIED } else { exit::DONE }))
}

fn block(explanation: &Explanation, assumed_port: bool) -> String {
    let Explanation { id, reason, reason_name, source, .. } = explanation;
    let verdict = if explanation.allowed { paint(GOOD, "ALLOW") } else { paint(BAD, "DENY") };
    let to = endpoint(explanation.destination, explanation.port);
    let protocol = output::protocol(explanation.protocol);
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
    if let Some(advice) = &explanation.advice {
        text += &output::hint(advice);
    }
    let asked = if assumed_port { ", port 443 because none was given" } else { "" };
    let judge = format!(
        "(judged by the program that is attached to {}, generation {}; a new connection from {source}{asked})",
        plain(&explanation.device),
        explanation.generation
    );
    text + &format!("  {}\n", paint(DIM, judge))
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
}
