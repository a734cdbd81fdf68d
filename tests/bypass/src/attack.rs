//! The process inside the sandbox, and what attempts are made of.

use crate::cases;
use crate::target::{RELAY, Target};
use anyhow::{Context, Result, ensure};
use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};
use socket2::{Domain, Protocol, Socket, Type};
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

/// How long a connection may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long an answer may take that nobody waits for.
const SILENCE: Duration = Duration::from_millis(250);
/// Who an attacker without rights is.
const NOBODY: u32 = 65_534;

/// Tries a case as the sandbox that this process is in: its words are the case's name, the targets, and maybe a cgroup to go to as nobody.
///
/// # Errors
/// When there is no such case, or the cgroup cannot be entered. An attempt that fails is told on standard error.
pub fn main(words: &[String]) -> Result<()> {
    let [name, targets, rest @ ..] = words else { anyhow::bail!("attack CASE TARGETS [CGROUP]") };
    let case = cases::named(name).context("no such case")?;
    if let [cgroup] = rest {
        let members = format!("{cgroup}/cgroup.procs");
        fs::write(&members, "0").with_context(|| members.clone())?;
        setgroups(&[]).context("setgroups")?;
        setgid(Gid::from_raw(NOBODY)).context("setgid")?;
        setuid(Uid::from_raw(NOBODY)).context("setuid")?;
    }
    let targets = Target::many(targets)?;
    thread::scope(|scope| {
        for target in &targets {
            scope.spawn(|| {
                if let Err(error) = (case.attempt)(target) {
                    eprintln!("{:?}: {error:#}", target.family);
                }
            });
        }
    });
    Ok(())
}

/// A connection.
pub(crate) fn connect(to: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, PATIENCE).with_context(|| format!("connect {to}"))?;
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// What is said in answer, until it ends or nothing comes for a while.
pub(crate) fn listen(stream: &mut TcpStream) -> Vec<u8> {
    let (mut heard, mut bytes) = (Vec::new(), [0; 4096]);
    while let Ok(length @ 1..) = stream.read(&mut bytes) {
        heard.extend_from_slice(&bytes[..length]);
    }
    heard
}

/// Connects, says this, and listens.
pub(crate) fn say(to: SocketAddr, bytes: impl AsRef<[u8]>) -> Result<Vec<u8>> {
    let mut stream = connect(to)?;
    stream.write_all(bytes.as_ref())?;
    Ok(listen(&mut stream))
}

/// Connects, says this byte by byte, and listens.
pub(crate) fn say_slowly(to: SocketAddr, bytes: impl AsRef<[u8]>) -> Result<Vec<u8>> {
    let mut stream = connect(to)?;
    for byte in bytes.as_ref() {
        stream.write_all(&[*byte])?;
    }
    Ok(listen(&mut stream))
}

/// Connects, says one thing, listens, and says the next one over the same connection.
pub(crate) fn converse(to: SocketAddr, parts: &[&[u8]]) -> Result<()> {
    let mut stream = connect(to)?;
    for part in parts {
        stream.write_all(part)?;
        listen(&mut stream);
    }
    Ok(())
}

/// Asks a relay to say this to somebody.
pub(crate) fn through_relay(relay: IpAddr, to: SocketAddr, words: &str) -> Result<()> {
    say(SocketAddr::new(relay, RELAY), format!("{to}\n{words}\n")).map(drop)
}

/// A socket for datagrams of a family.
pub(crate) fn udp(like: IpAddr) -> Result<UdpSocket> {
    let any: IpAddr = if like.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    UdpSocket::bind((any, 0)).context("bind")
}

/// Sends a datagram.
pub(crate) fn send(to: SocketAddr, bytes: impl AsRef<[u8]>) -> Result<()> {
    udp(to.ip())?.send_to(bytes.as_ref(), to).with_context(|| format!("send to {to}")).map(drop)
}

/// A socket of any kind that can reach an address.
pub(crate) fn socket(to: SocketAddr, kind: Type, protocol: Option<Protocol>) -> Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), kind, protocol).context("socket")?;
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.set_read_timeout(Some(SILENCE))?;
    Ok(socket)
}

/// Runs a program to its end, which must be a good one.
pub(crate) fn run(line: &str) -> Result<()> {
    let output = Command::new("timeout").arg("5").args(["sh", "-c", line]).stdin(Stdio::null()).output()?;
    ensure!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// An address as it stands in a URL.
pub(crate) fn host(address: IpAddr) -> String {
    if address.is_ipv6() { format!("[{address}]") } else { address.to_string() }
}
