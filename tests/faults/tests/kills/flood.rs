//! Packets that must not pass, as many as are wanted, and the witness that would see one that did.

use anyhow::{Context, Result};
use nix::sys::socket::{
    AddressFamily, MsgFlags, MultiHeaders, SockFlag, SockType, SockaddrIn, SockaddrIn6, SockaddrLike, connect,
    sendmmsg, socket,
};
use std::fs;
use std::io::IoSlice;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use test_world::{Node, World, poll};

/// Datagrams in one call.
const BATCH: usize = 32;
/// Between two looks at the clock.
const BEAT: Duration = Duration::from_millis(1);
/// One in so many datagrams is accompanied by a TCP SYN.
const SYN_EVERY: u64 = 100;

/// Where denied packets are sent: a namespace that has these addresses, and nothing else to do.
pub(crate) struct Witness {
    node: Node,
    /// Its IPv4 address.
    pub v4: Ipv4Addr,
    /// Its IPv6 address.
    pub v6: Ipv6Addr,
}

impl Witness {
    /// Makes it behind the world's host, by a link of its own with fixed neighbours.
    pub(crate) fn new(world: &World, name: &str, number: u8) -> Result<Witness> {
        let node = world.node(name)?;
        let (v4, v6) =
            (Ipv4Addr::new(192, 0, 2, number), Ipv6Addr::new(0x2001, 0xdb8, 0x66, 0, 0, 0, 0, number.into()));
        let device = format!("wit-{name}");
        world.host().ip_batch(&format!(
            "link add {device} type veth peer name eth0 address 02:00:00:66:00:{number:02x} netns {}\n\
             link set {device} up\n\
             neighbour add 10.98.0.{number} lladdr 02:00:00:66:00:{number:02x} dev {device} nud permanent\n\
             neighbour add fe80::{number} lladdr 02:00:00:66:00:{number:02x} dev {device} nud permanent\n\
             route add {v4} via 10.98.0.{number} dev {device} onlink\n\
             route add {v6} via fe80::{number} dev {device}\n",
            node.name()
        ))?;
        node.ip_batch(&format!("address add {v4}/32 dev lo\naddress add {v6}/128 dev lo\nlink set eth0 up\n"))?;
        Ok(Witness { node, v4, v6 })
    }

    /// IPv4 packets and UDP datagrams over IPv6 that have arrived. Counted by the kernel: none is missed.
    pub(crate) fn arrived(&self) -> Result<u64> {
        let (v4, v6) = self.node.within(|| -> Result<_> {
            let read = |name: &str| {
                let path = format!("/proc/thread-self/net/{name}");
                fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
            };
            Ok((read("snmp")?, read("snmp6")?))
        })??;
        let mut rows = v4.lines().filter(|line| line.starts_with("Ip:"));
        let (names, values) = (rows.next().context("no names")?, rows.next().context("no values")?);
        let column = names.split_whitespace().position(|name| name == "InReceives").context("no InReceives")?;
        let mut sum: u64 = values.split_whitespace().nth(column).context("no value")?.parse()?;
        for row in v6.lines() {
            let mut words = row.split_whitespace();
            if let (Some("Udp6InDatagrams" | "Udp6NoPorts" | "Udp6InErrors"), Some(value)) =
                (words.next(), words.next())
            {
                sum += value.parse::<u64>()?;
            }
        }
        Ok(sum)
    }

    /// Waits until no packet arrives any more: what was judged before has all arrived then.
    pub(crate) fn settled(&self) -> Result<u64> {
        let quiet = Duration::from_millis(30);
        let (mut last, mut since) = (self.arrived()?, Instant::now());
        poll(Duration::from_secs(5), || {
            let now = self.arrived().ok()?;
            if now != last {
                (last, since) = (now, Instant::now());
            }
            (since.elapsed() >= quiet).then_some(now)
        })
        .context("denied packets go on passing")
    }
}

/// A sender that keeps its rate, both families in turn, with some TCP. Ends when dropped.
pub(crate) struct Flood {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Flood {
    /// Starts to send `rate` packets a second from a node to a witness.
    pub(crate) fn start(node: &Node, to: &Witness, rate: u64) -> Result<Flood> {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (v4, v6) = (SocketAddrV4::new(to.v4, 9), SocketAddrV6::new(to.v6, 9, 0, 0));
        let thread = thread::Builder::new().name("flood".to_owned()).spawn({
            let (node, stop, sent) = (node.clone(), stop.clone(), sent.clone());
            move || node.within(|| send(v4, v6, rate, &stop, &sent))?
        })?;
        Ok(Flood { stop, sent, thread: Some(thread) })
    }

    /// Packets that the kernel has taken.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Whether it still sends.
    pub(crate) fn is_alive(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(Err(error)) = self.thread.take().and_then(|thread| thread.join().ok()) {
            println!("the flood ended: {error:#}");
        }
    }
}

fn send(v4: SocketAddrV4, v6: SocketAddrV6, rate: u64, stop: &AtomicBool, sent: &AtomicU64) -> Result<()> {
    let datagram = |family| socket(family, SockType::Datagram, SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC, None);
    let (socket4, socket6) = (datagram(AddressFamily::Inet)?, datagram(AddressFamily::Inet6)?);
    let (to4, to6) = (SockaddrIn::from(v4), SockaddrIn6::from(v6));
    let started = Instant::now();
    let mut tried: u64 = 0;
    while !stop.load(Ordering::Relaxed) {
        let due = (started.elapsed().as_secs_f64() * rate as f64) as u64;
        while tried < due && !stop.load(Ordering::Relaxed) {
            let taken = if (tried / BATCH as u64).is_multiple_of(2) {
                batch(socket4.as_raw_fd(), to4)
            } else {
                batch(socket6.as_raw_fd(), to6)
            };
            sent.fetch_add(taken, Ordering::Relaxed);
            if tried % SYN_EVERY < BATCH as u64 {
                let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
                let tcp = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
                // In progress, or no way there while the device is down: either is fine.
                connect(tcp.as_raw_fd(), &to4).ok();
            }
            tried += BATCH as u64;
        }
        thread::sleep(BEAT);
    }
    Ok(())
}

/// Sends a batch; tells how many the kernel took. A device that is down takes none.
fn batch<A: SockaddrLike + Copy>(socket: i32, to: A) -> u64 {
    let mut headers = MultiHeaders::<A>::preallocate(BATCH, None);
    let payload = [IoSlice::new(b"denied")];
    let (payloads, addresses) = ([payload; BATCH], [Some(to); BATCH]);
    let taken = sendmmsg(socket, &mut headers, &payloads, addresses, [], MsgFlags::empty());
    taken.map_or(0, |results| results.count() as u64)
}
