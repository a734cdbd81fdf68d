//! `denials`: what was denied to a sandbox lately.

use std::{process::ExitCode, time::SystemTime};

use filter_policy::SandboxId;
use jiff::{SignedDuration, tz::TimeZone};

use super::{
    client::Client,
    error::Failure,
    output::{DIM, Output, paint},
    watch::View,
};
use crate::api::{Denial, Denials};

pub(super) async fn run(
    client: &Client,
    output: &mut Output,
    id: &SandboxId,
    since: Option<SignedDuration>,
) -> Result<ExitCode, Failure> {
    let path = format!("/v1/sandboxes/{id}/denials");
    let path = since.map_or(path.clone(), |since| format!("{path}?sinceMs={}", before_now(since)));
    let found: Denials = client.get(&path).await?;
    if output.json {
        output.json(&found)?;
    } else {
        output.text(&shown(&found, TimeZone::system()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A time that is not negative, as people write it: `10m`, `1h 30m`.
pub(super) fn duration(text: &str) -> Result<SignedDuration, String> {
    let parsed: Result<SignedDuration, _> = text.parse();
    let positive = parsed.ok().filter(|duration| !duration.is_negative());
    positive.ok_or_else(|| "a time is written like 30s, 10m or 2h".to_owned())
}

/// The moment so long ago, milliseconds since 1970.
fn before_now(ago: SignedDuration) -> u128 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    now.as_millis().saturating_sub(ago.unsigned_abs().as_millis())
}

fn shown(found: &Denials, zone: TimeZone) -> String {
    let mut text = String::new();
    if found.dropped > 0 {
        text += &aside(&format!("{} older denials were dropped", found.dropped));
    }
    let mut view = View::new(false, zone);
    text.extend(found.denials.iter().map(|Denial { event, count, .. }| view.line(event, *count)));
    if found.denials.is_empty() {
        text += &aside("nothing was denied, as far as it was told");
    }
    for (count, why) in [(found.suppressed, "held back by the rate limit"), (found.lost, "lost: the ring was full")] {
        if count > 0 {
            text += &aside(&format!("since it was attached, {count} more were counted and are not shown: {why}"));
        }
    }
    text
}

fn aside(line: &str) -> String {
    format!("{}\n", paint(DIM, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_short() {
        assert_eq!(duration("10m").unwrap(), SignedDuration::from_mins(10));
        assert_eq!(duration("1h 30m").unwrap(), SignedDuration::from_mins(90));
        for bad in ["", "10", "-5m", "soon", "1y"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert_eq!(before_now(SignedDuration::MAX), 0);
    }

    #[test]
    fn what_is_missing_is_said() {
        let found = r#"{"denials":[{"timeMs":1700000000000,"id":"a","reason":41,"reasonName":"name-denied","generation":1,
            "protocol":"tcp","destinationPort":443,"name":"x\u001b[2J","length":0,"count":3,"lastMs":1700000000900}],
            "dropped":2,"suppressed":5,"lost":0}"#;
        let text = shown(&serde_json::from_str(found).unwrap(), TimeZone::UTC);
        assert_eq!(
            anstream::adapter::strip_str(&text).to_string(),
            "\
2 older denials were dropped
22:13:20  DENY   tcp     x\\u{1b}[2J:443      name-denied       ×3
since it was attached, 5 more were counted and are not shown: held back by the rate limit
"
        );
        let text = shown(&Denials::default(), TimeZone::UTC);
        assert!(text.contains("nothing was denied"));
    }
}
