//! Echo requests with ping.

use std::{net::IpAddr, time::Duration};

use anyhow::{Context, Result};

use crate::node::Node;

/// What a series of echo requests got.
#[derive(Clone, Debug)]
pub struct Ping {
    /// Echo replies received.
    pub received: u32,
    /// ICMP errors received.
    pub errors: u32,
    /// What ping printed, for messages.
    pub output: String,
}

impl Node {
    /// Sends `count` echo requests 20 ms apart and waits at most `patience` for the last reply. An error means that ping
    /// could not run.
    pub fn ping(&self, address: impl Into<IpAddr>, count: u32, patience: Duration) -> Result<Ping> {
        let (address, count) = (address.into().to_string(), count.to_string());
        let patience = patience.as_secs_f32().to_string();
        let output = self.run(&["ping", "-n", "-i", "0.02", "-c", &count, "-W", &patience, &address])?;
        let text = output.stdout + &output.stderr;
        let summary = text.lines().find(|line| line.contains("packets transmitted")).with_context(|| text.clone())?;
        Ok(Ping { received: number(summary, " received"), errors: number(summary, " errors"), output: text })
    }
}

/// The number in front of `label`; a label that is not there counts as zero.
fn number(summary: &str, label: &str) -> u32 {
    let field = summary.split(", ").find_map(|field| field.strip_suffix(label));
    field.and_then(|digits| digits.trim_start_matches('+').parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_summary() {
        let summary = "3 packets transmitted, 1 received, +2 errors, 66.6% packet loss, time 40ms";
        assert_eq!((number(summary, " received"), number(summary, " errors")), (1, 2));
        let summary = "3 packets transmitted, 3 received, 0% packet loss, time 40ms";
        assert_eq!((number(summary, " received"), number(summary, " errors")), (3, 0));
    }
}
