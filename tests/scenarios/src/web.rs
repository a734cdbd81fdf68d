//! Names: a stage where they can be resolved, and a client that says exactly what it is told to.

use crate::{SOON, Setup, Stage};
use anyhow::{Context, Result};
use filter_ctl::api::DenyEvent;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;
use test_world::{Deadline, Dnsmasq, Node, Process, wait_until};

/// The resolver of a stage with names.
pub const RESOLVER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 53));
/// Where the sandbox believes that every name is; nobody is there.
pub const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 99));
/// The same of IPv6.
pub const NOWHERE6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0x10, 0, 0, 0, 0, 0x99));

/// How long a client waits at a time.
const TICK: Duration = Duration::from_millis(20);

impl Stage {
    /// A stage whose daemon asks [`RESOLVER`] for names.
    ///
    /// # Errors
    /// When a part of it does not start.
    pub fn with_names(name: &str) -> Result<Stage> {
        // Tests ask in a second what people do not in a minute: all of it is to be told.
        let config = format!("resolvers: [\"{RESOLVER}\"]\nsidecar: {{ toldPerSecond: 1000 }}\n");
        Stage::with(name, &Setup { config: &config, ..Setup::default() })
    }

    /// Starts [`RESOLVER`] with these records.
    ///
    /// # Errors
    /// When it does not start.
    pub fn resolver(&self, records: &[(&str, IpAddr)]) -> Result<Dnsmasq> {
        self.world.internet().dnsmasq(&[RESOLVER], records)
    }

    /// Follows what is denied, from now on.
    ///
    /// # Errors
    /// When nothing is told of.
    pub fn watch(&self) -> Result<Watch> {
        let watch = Watch(self.daemon.ctl_start(&["watch", crate::stage::id(&self.a)])?);
        // What was denied before it listens is not told.
        let heard = wait_until(SOON, || {
            drop(crate::udp(test_world::internet::CLOUDFLARE).gets_through(&self.a, false));
            !watch.events().is_empty()
        });
        heard.then_some(watch).context("nothing is told of")
    }
}

/// Somebody who follows what is denied.
pub struct Watch(Process);

impl Watch {
    /// What was denied so far.
    pub fn events(&self) -> Vec<DenyEvent> {
        let text = self.0.stdout();
        let complete = text.rfind('\n').map_or("", |end| &text[..end]);
        complete.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// How often a name was denied for a reason; the empty one stands for none.
    pub fn count(&self, reason: &str, name: &str) -> usize {
        let is = |event: &&DenyEvent| event.reason_name == reason && event.name.as_deref().unwrap_or_default() == name;
        self.events().iter().filter(is).count()
    }

    /// Waits until a name was denied for a reason so often.
    pub fn hears(&self, reason: &str, name: &str, times: usize) -> bool {
        wait_until(SOON, || self.count(reason, name) >= times)
    }
}

/// A connection over which a test says what it likes.
pub struct Talk {
    stream: TcpStream,
    /// What has come.
    pub heard: String,
    /// Whether the other side has ended it: `Some(true)` by a reset.
    pub ended: Option<bool>,
}

impl Talk {
    /// Connects from a node.
    ///
    /// # Errors
    /// When that is refused.
    pub fn connect(node: &Node, address: IpAddr, port: u16) -> Result<Talk> {
        let to = SocketAddr::new(address, port);
        let stream = node.within(|| TcpStream::connect_timeout(&to, SOON))??;
        stream.set_read_timeout(Some(TICK))?;
        stream.set_nodelay(true)?;
        Ok(Talk { stream, heard: String::new(), ended: None })
    }

    /// Says something. That nobody listens any more is seen by listening.
    pub fn say(&mut self, bytes: &[u8]) {
        drop(self.stream.write_all(bytes));
    }

    /// Says that no more will come.
    pub fn finish(&mut self) {
        drop(self.stream.shutdown(Shutdown::Write));
    }

    /// Listens until `done` holds of what has come, or the other side ends it; tells whether it came to hold.
    pub fn listen(&mut self, within: Duration, done: impl Fn(&str) -> bool) -> bool {
        let deadline = Deadline::after(within);
        let mut bytes = [0; 16 << 10];
        while !done(&self.heard) && self.ended.is_none() && !deadline.expired() {
            match self.stream.read(&mut bytes) {
                Ok(0) => self.ended = Some(false),
                Ok(read) => self.heard += &String::from_utf8_lossy(&bytes[..read]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => self.ended = Some(true),
            }
        }
        done(&self.heard)
    }

    /// Listens until this was heard.
    pub fn hears(&mut self, words: &str) -> bool {
        self.listen(SOON, |heard| heard.contains(words))
    }

    /// Listens until this was heard so often.
    pub fn hears_times(&mut self, words: &str, times: usize) -> bool {
        self.listen(SOON, |heard| heard.matches(words).count() >= times)
    }

    /// Listens to the end; tells whether there was one.
    pub fn ends(&mut self, within: Duration) -> bool {
        self.listen(within, |_| false);
        self.ended.is_some()
    }
}
