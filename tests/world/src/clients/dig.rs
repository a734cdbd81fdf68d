//! DNS queries with dig.

use std::net::IpAddr;

use anyhow::Result;

use crate::node::Node;

/// What one query got.
#[derive(Clone, Debug)]
pub struct Dig {
    /// The response code (`NOERROR`, `REFUSED`, …); `None` when no response came.
    pub status: Option<String>,
    /// The data of each record in the answer section.
    pub answers: Vec<String>,
    /// What dig printed, for messages.
    pub output: String,
}

impl Node {
    /// Asks `server` for the A record of `name` over UDP: one try, one second. An error means that dig could not run.
    pub fn dig(&self, server: impl Into<IpAddr>, name: &str) -> Result<Dig> {
        self.dig_with(&["+notcp"], server, name)
    }

    /// [`Node::dig`] over TCP.
    pub fn dig_tcp(&self, server: impl Into<IpAddr>, name: &str) -> Result<Dig> {
        self.dig_with(&["+tcp"], server, name)
    }

    /// [`Node::dig`] with more of dig's arguments, such as `AAAA` or `+tcp`.
    pub fn dig_with(&self, options: &[&str], server: impl Into<IpAddr>, name: &str) -> Result<Dig> {
        let server = format!("@{}", server.into());
        let fixed = ["dig", "-r", "+time=1", "+tries=1", "+noall", "+comments", "+answer", &server, name];
        let output = self.run(&[&fixed, options].concat())?;
        let text = output.stdout + &output.stderr;
        Ok(Dig { status: status(&text), answers: answers(&text), output: text })
    }
}

fn status(text: &str) -> Option<String> {
    let header = text.lines().find_map(|line| line.strip_prefix(";; ->>HEADER<<- "))?;
    header.split(", ").find_map(|field| field.strip_prefix("status: ")).map(str::to_owned)
}

/// The fifth column of each line that is no comment: name, TTL, class and type come before it.
fn answers(text: &str) -> Vec<String> {
    let records = text.lines().filter(|line| !line.starts_with(';'));
    records.filter_map(|line| line.split_whitespace().nth(4)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_response() {
        let text = ";; Got answer:\n;; ->>HEADER<<- opcode: QUERY, status: NOERROR, id: 1\n\n\
                    ;; ANSWER SECTION:\nexample.test.\t\t0\tIN\tA\t203.0.113.10\n";
        assert_eq!(status(text).as_deref(), Some("NOERROR"));
        assert_eq!(answers(text), ["203.0.113.10"]);
    }

    #[test]
    fn no_response_has_no_status() {
        let text = ";; communications error to 8.8.8.8#53: timed out\n;; no servers could be reached\n";
        assert_eq!((status(text), answers(text).len()), (None, 0));
    }
}
