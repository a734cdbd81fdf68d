//! `watch`: denied packets as they happen, and what the daemon mends.
//!
//! Invariant: what is shown lags at most a second behind, and memory does not grow with the number of events.

use std::{net::IpAddr, process::ExitCode};

use filter_core::Reason;
use filter_policy::SandboxId;
use jiff::{Timestamp, tz::TimeZone};
use tokio::time::{Duration, Instant, sleep_until};

use super::{
    client::Client,
    error::Failure,
    explain::endpoint,
    output::{BAD, DIM, Output, WARN, paint, plain},
};
use crate::api::{DenyEvent, Line, Missed, Notice};

/// How long like denials are counted before they are shown.
const COUNTED: Duration = Duration::from_secs(1);

/// Most kinds of denials that are counted at once.
const MAX_KINDS: usize = 256;

pub(super) async fn run(client: &Client, output: &mut Output, id: Option<&SandboxId>) -> Result<ExitCode, Failure> {
    let path = id.map_or_else(|| "/v1/events".to_owned(), |id| format!("/v1/events?id={id}"));
    let mut lines = client.lines(&path).await?;
    let mut view = View::new(id.is_none(), TimeZone::system());
    let mut due = Instant::now();
    loop {
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => {
                interrupted?;
                output.text(&view.show())?;
                return Ok(ExitCode::SUCCESS);
            }
            () = sleep_until(due), if !view.is_empty() => output.text(&view.show())?,
            line = lines.next() => match line {
                Ok(line) if output.json => output.text(&(String::from_utf8_lossy(&line).into_owned() + "\n"))?,
                Ok(line) => {
                    let event = match serde_json::from_slice(&line) {
                        Ok(Line::Denied(event)) => event,
                        Ok(Line::Notice(notice)) => {
                            let counted = view.show();
                            output.text(&(counted + &view.notice(&notice)))?;
                            continue;
                        }
                        Ok(Line::Missed(missed)) => {
                            output.text(&(view.show() + &gap(missed)))?;
                            continue;
                        }
                        // An empty line only shows that the daemon is alive.
                        Err(_) => continue,
                    };
                    if view.is_empty() {
                        due = Instant::now() + COUNTED;
                    }
                    view.add(event);
                    if view.kinds.len() >= MAX_KINDS {
                        output.text(&view.show())?;
                    }
                }
                Err(gone) => {
                    output.text(&view.show())?;
                    return Err(gone);
                }
            },
        }
    }
}

/// Counts like denials, and shows them in columns that only ever get wider.
pub(super) struct View {
    kinds: Vec<(DenyEvent, u64)>,
    with_id: bool,
    zone: TimeZone,
    id_width: usize,
    protocol_width: usize,
    target_width: usize,
    reason_width: usize,
}

impl View {
    pub(super) fn new(with_id: bool, zone: TimeZone) -> View {
        View { kinds: Vec::new(), with_id, zone, id_width: 6, protocol_width: 6, target_width: 18, reason_width: 16 }
    }

    fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    fn add(&mut self, event: DenyEvent) {
        match self.kinds.iter_mut().find(|(first, _)| kind(first) == kind(&event)) {
            Some((_, count)) => *count += 1,
            None => self.kinds.push((event, 1)),
        }
    }

    /// A line for each kind, in the order of the first of each; forgets them.
    fn show(&mut self) -> String {
        let kinds = std::mem::take(&mut self.kinds);
        kinds.iter().map(|(event, count)| self.line(event, *count)).collect()
    }

    /// A line for what the daemon has mended, marked or found.
    fn notice(&mut self, notice: &Notice) -> String {
        let kind = format!("{:<6} ", notice.notice.name());
        let mut text = format!("{}  {}", paint(DIM, clock(notice.time_ms, &self.zone)), paint(WARN, kind));
        if self.with_id {
            text += &column(&plain(notice.id.as_deref().unwrap_or("–")), &mut self.id_width);
        }
        text + &format!("{}\n", plain(&notice.text))
    }

    /// A line for so many like denials.
    pub(super) fn line(&mut self, event: &DenyEvent, count: u64) -> String {
        let (id, protocol, reason) = (plain(&event.id), plain(&event.protocol), plain(&event.reason_name));
        let target = target(event);
        let mut text = format!("{}  {}   ", paint(DIM, clock(event.time_ms, &self.zone)), paint(BAD, "DENY"));
        if self.with_id {
            text += &column(&id, &mut self.id_width);
        }
        text += &column(&protocol, &mut self.protocol_width);
        text += &column(&target, &mut self.target_width);
        text += &column(&reason, &mut self.reason_width);
        text + &format!("×{count}\n")
    }
}

/// Stands where denials are missing.
fn gap(Missed { missed }: Missed) -> String {
    format!("{}\n", paint(DIM, format_args!("{missed} denials are not shown: they came faster than they were read")))
}

/// What makes two denials alike: everything but time, generation, source port and length.
fn kind(event: &DenyEvent) -> (&str, u8, &str, Target<'_>) {
    let ends = [event.source, event.destination];
    (&event.id, event.reason, &event.protocol, (ends, event.destination_port, event.name.as_deref()))
}

/// Both addresses, the destination port and the name.
type Target<'a> = ([Option<IpAddr>; 2], Option<u16>, Option<&'a str>);

/// Denials for the sake of where a packet is from.
const FROM: [Reason; 3] = [Reason::SourceAddress, Reason::InboundDenied, Reason::FlowTableFull];

/// Where the packet was going; where it was from too when that is what is wrong with it.
fn target(event: &DenyEvent) -> String {
    let to = match (&event.name, event.destination, event.destination_port) {
        (Some(name), _, Some(port)) => format!("{}:{port}", plain(name)),
        (_, Some(address), port) => endpoint(address, port),
        (_, None, Some(port)) => format!("–:{port}"),
        _ => "–".to_owned(),
    };
    match event.source {
        Some(source) if FROM.iter().any(|reason| reason.number() == event.reason) => format!("{to} from {source}"),
        _ => to,
    }
}

fn column(text: &str, width: &mut usize) -> String {
    *width = text.chars().count().max(*width);
    format!("{text:width$}  ")
}

/// Local time of day, as `12:04:31`.
fn clock(ms: u64, zone: &TimeZone) -> String {
    let time = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or_default();
    time.to_zoned_datetime(zone.clone()).strftime("%H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::NoticeKind;

    fn event(destination: &str, port: Option<u16>, protocol: &str) -> DenyEvent {
        DenyEvent {
            time_ms: 1_700_000_000_000,
            id: "agent".to_owned(),
            reason: 40,
            reason_name: "address-denied".to_owned(),
            generation: 8,
            protocol: protocol.to_owned(),
            source: Some("198.51.100.2".parse().unwrap()),
            destination: Some(destination.parse().unwrap()),
            source_port: Some(40_000),
            destination_port: port,
            name: None,
            length: 74,
        }
    }

    fn shown(view: &mut View) -> String {
        anstream::adapter::strip_str(&view.show()).to_string()
    }

    #[test]
    fn like_denials_are_one_line() {
        let mut view = View::new(false, TimeZone::UTC);
        for port in 0..3 {
            view.add(DenyEvent { source_port: Some(port), ..event("140.82.121.6", Some(443), "tcp") });
        }
        view.add(event("1.1.1.1", Some(53), "udp"));
        assert_eq!(
            shown(&mut view),
            "\
22:13:20  DENY   tcp     140.82.121.6:443    address-denied    ×3
22:13:20  DENY   udp     1.1.1.1:53          address-denied    ×1
"
        );
        assert!(view.is_empty());
    }

    #[test]
    fn odd_packets_fit_in() {
        let mut view = View::new(true, TimeZone::UTC);
        view.add(DenyEvent {
            protocol: "ethertype 0x88cc".to_owned(),
            source: None,
            destination: None,
            reason: 11,
            reason_name: "ethertype".to_owned(),
            ..event("1.1.1.1", None, "tcp")
        });
        let spoofed = Reason::SourceAddress;
        view.add(DenyEvent {
            reason: spoofed.number(),
            reason_name: spoofed.name().to_owned(),
            ..event("2001:db8::9", Some(443), "tcp")
        });
        assert_eq!(
            shown(&mut view),
            "\
22:13:20  DENY   agent   ethertype 0x88cc  –                   ethertype         ×1
22:13:20  DENY   agent   tcp               [2001:db8::9]:443 from 198.51.100.2  source-address    ×1
"
        );
    }

    #[test]
    fn a_gap_tells_how_many() {
        let text = gap(serde_json::from_str(r#"{"missed":12}"#).unwrap());
        let plain = anstream::adapter::strip_str(&text).to_string();
        assert_eq!(plain, "12 denials are not shown: they came faster than they were read\n");
        assert!(
            serde_json::from_str::<Missed>(&serde_json::to_string(&event("1.1.1.1", None, "tcp")).unwrap()).is_err()
        );
    }

    #[test]
    fn notices_stand_between() {
        let mut view = View::new(true, TimeZone::UTC);
        let notice = |kind, id: Option<&str>, text: &str| Notice {
            time_ms: 1_700_000_000_000,
            notice: kind,
            id: id.map(str::to_owned),
            text: text.to_owned(),
        };
        let text = view.notice(&notice(NoticeKind::Detached, Some("agent"), "its device veth\u{1b} is gone"))
            + &view.notice(&notice(NoticeKind::Route, None, "it is back"));
        assert_eq!(
            anstream::adapter::strip_str(&text).to_string(),
            "\
22:13:20  detached agent   its device veth\\u{1b} is gone
22:13:20  route  –       it is back
"
        );
    }

    #[test]
    fn clock_is_local() {
        let zone = TimeZone::fixed(jiff::tz::offset(5));
        assert_eq!(clock(1_700_000_000_000, &zone), "03:13:20");
        assert_eq!(clock(u64::MAX, &zone), "05:00:00");
    }
}
