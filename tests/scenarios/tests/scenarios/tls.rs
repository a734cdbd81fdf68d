//! What the scenarios about TLS share: a server that keeps what it hears, clients that say anything, and a check of the whole.

use anyhow::{Context, Result, ensure};
use filter_ctl::api::DenyEvent;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, TcpStream};
use std::thread;
use std::time::Duration;
use test_scenarios::{SOON, Setup, Stage};
use test_world::internet::{WEB, WEB_ELSEWHERE, WEB6, WEB6_NEIGHBOUR};
use test_world::{Dnsmasq, Process, Recorder, wait_until};

/// Where the clients connect to, whomever they name: somebody is there, and keeps what he hears.
pub(crate) const ATTACKERS: [IpAddr; 2] = [IpAddr::V4(WEB_ELSEWHERE), IpAddr::V6(WEB6_NEIGHBOUR)];
/// The policy.
pub(crate) const NAMES: &str =
    r#"denyOut: ["0.0.0.0/0"], allowOut: ["example.test", "*.example.test", "four.test", "six.test"]"#;
/// Who resolves for the sidecar, which keeps allowed names at hand and so asks when it likes.
pub(crate) const RESOLVER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 53);
/// Longest that a client waits for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// What became of a connection, as its client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The server answered, also to the end.
    Served,
    /// A fatal alert, then an orderly end.
    Alert(u8),
    /// A reset.
    Reset,
    /// Something else.
    Other(Vec<u8>),
}

/// What a client does after its last word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It ends its side.
    Ends,
    /// It waits.
    Waits,
}

/// A stage on which the internet's port 443 keeps what it hears, on all addresses.
pub(crate) struct Table {
    pub(crate) watch: Process,
    pub(crate) recorder: Recorder,
    resolver: Dnsmasq,
    pub(crate) stage: Stage,
}

/// Whom a case is about, and what its client says.
pub(crate) type Served<'a> = (&'a str, Vec<Vec<u8>>);
/// The same, then the reason and the name that are told.
pub(crate) type Refused<'a> = (&'a str, Vec<Vec<u8>>, &'a str, &'a str);

impl Table {
    pub(crate) fn new(name: &str) -> Result<Table> {
        Table::with(name, "")
    }

    /// One with more limits of the sidecar in the operator's configuration.
    pub(crate) fn with(name: &str, limits: &str) -> Result<Table> {
        let config = format!("resolvers: [\"{RESOLVER}\"]\nsidecar: {{ toldPerSecond: 1000{limits} }}\n");
        let stage = Stage::with(name, &Setup { config: &config, ..Setup::default() })?;
        let records = [("example.test", WEB.into()), ("four.test", WEB.into()), ("six.test", WEB6.into())];
        let resolver = stage.world.internet().dnsmasq(&[RESOLVER.into()], &records)?;
        kill(Pid::from_raw(stage.nginx.pid().cast_signed()), Signal::SIGTERM)?;
        let recorder = stage.world.internet().recorder(443)?;
        stage.apply(&stage.a, NAMES)?;
        let watch = stage.daemon.ctl_start(&["watch", "a"])?;
        let table = Table { watch, recorder, resolver, stage };
        // What is denied before the watcher listens is not told.
        let begun = || {
            let said = vec![test_world::ClientHello::named("first.test").wire()];
            talk(&table.stage, ATTACKERS[0], &said, Duration::ZERO, Ending::Waits).is_ok()
                && table.told("name-denied", "first.test") > 0
        };
        ensure!(wait_until(SOON, begun), "the watcher hears nothing: {}", table.watch.stdout());
        Ok(table)
    }

    /// How many denials were told with this reason and name.
    pub(crate) fn told(&self, reason: &str, name: &str) -> usize {
        let text = self.watch.stdout();
        let complete = text.rfind('\n').map_or("", |end| &text[..end]);
        let events = complete.lines().filter_map(|line| serde_json::from_str::<DenyEvent>(line).ok());
        let is_it = |event: &DenyEvent| {
            event.reason_name == reason
                && event.name.as_deref().unwrap_or_default() == name
                && event.destination_port == Some(443)
        };
        events.filter(is_it).count()
    }

    /// Says each in both families; all of it must arrive unchanged where the name is, and nowhere else.
    pub(crate) fn served(&self, cases: &[Served<'_>]) -> Result<()> {
        let rows: Vec<_> = cases.iter().map(|(case, said)| (*case, said.as_slice())).collect();
        for (case, seen) in self.ask(&rows, Ending::Ends)? {
            ensure!(seen == Seen::Served, "{case}: {seen:?}\n{}", self.stage.daemon.log());
        }
        let mut said: Vec<Vec<u8>> = cases.iter().flat_map(|(_, said)| [said.concat(), said.concat()]).collect();
        let mut heard: Vec<Vec<u8>> = self.recorder.heard().into_iter().map(|heard| heard.bytes).collect();
        said.sort();
        heard.sort();
        ensure!(said == heard, "something else arrived");
        self.nobody_else_was_reached()
    }

    /// Says each in both families; all must be refused by an alert, told as said, and nothing may leave for it.
    pub(crate) fn refused(&self, cases: &[Refused<'_>]) -> Result<()> {
        let mut wire = self.stage.world.host().sniff("up0")?;
        let mut link = self.stage.world.host().sniff(&self.stage.a.device)?;
        let rows: Vec<_> = cases.iter().map(|(case, said, ..)| (*case, said.as_slice())).collect();
        for (case, seen) in self.ask(&rows, Ending::Waits)? {
            ensure!(seen == Seen::Alert(49), "{case}: {seen:?}\n{}", self.stage.daemon.log());
        }
        let left = wire.frames(is_of_a_client)?;
        ensure!(left.is_empty(), "on the wire: {left:02x?}");
        let resets = link.count(is_reset)?;
        ensure!(resets == 0, "{resets} resets could have overtaken an alert");
        for (case, _, reason, name) in cases {
            let alike = cases.iter().filter(|(_, _, other, of)| (other, of) == (reason, name)).count();
            let told = || self.told(reason, name) == 2 * alike;
            ensure!(wait_until(SOON, told), "{case}: told {} times\n{}", self.told(reason, name), self.watch.stdout());
        }
        ensure!(self.recorder.heard().is_empty(), "{:?}", self.recorder.heard());
        self.nobody_else_was_reached()
    }

    /// Whoever was reached was named; and who is denied was not even asked for.
    pub(crate) fn nobody_else_was_reached(&self) -> Result<()> {
        let heard = self.recorder.heard();
        ensure!(heard.iter().all(|heard| [IpAddr::from(WEB), WEB6.into()].contains(&heard.at)), "{heard:?}");
        let asked = self.resolver.log();
        ensure!(!asked.contains("denied.test") && !asked.contains("first.test"), "{asked}");
        Ok(())
    }

    fn ask<'a>(&self, cases: &[(&'a str, &[Vec<u8>])], ending: Ending) -> Result<Vec<(&'a str, Seen)>> {
        thread::scope(|scope| {
            let client = |(case, said): &(&'a str, &'_ [Vec<u8>]), to| {
                let (case, said) = (*case, said.to_vec());
                scope.spawn(move || Ok((case, talk(&self.stage, to, &said, Duration::ZERO, ending)?)))
            };
            let started: Vec<_> = cases.iter().flat_map(|case| ATTACKERS.map(|to| client(case, to))).collect();
            started.into_iter().map(|client| client.join().expect("no panic")).collect()
        })
    }
}

/// Connects from the sandbox to port 443.
pub(crate) fn connect(stage: &Stage, to: IpAddr) -> Result<TcpStream> {
    connect_to(stage, to, 443)
}

/// Connects from the sandbox.
pub(crate) fn connect_to(stage: &Stage, to: IpAddr, port: u16) -> Result<TcpStream> {
    let stream = stage.a.within(|| TcpStream::connect_timeout(&(to, port).into(), SOON))?.context("no connection")?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Says something piece by piece, and waits for what comes of it.
pub(crate) fn talk(stage: &Stage, to: IpAddr, said: &[Vec<u8>], gap: Duration, ending: Ending) -> Result<Seen> {
    let mut stream = connect(stage, to)?;
    let mut ears = stream.try_clone()?;
    let hearing = thread::spawn(move || until_end(&mut ears));
    for piece in said {
        // Who is refused hears of it, whatever he still had to say.
        if hearing.is_finished() || stream.write_all(piece).is_err() {
            break;
        }
        thread::sleep(gap);
    }
    if ending == Ending::Ends {
        // It may have been ended from the other side.
        stream.shutdown(Shutdown::Write).ok();
    }
    let heard = match hearing.join().expect("no panic") {
        Ok(heard) => heard,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(Seen::Reset),
        Err(error) => return Err(error).context("nothing came"),
    };
    Ok(match heard.as_slice() {
        [21, 3, 3, 0, 2, 2, description] => Seen::Alert(*description),
        answer if answer == [Recorder::HEARD, Recorder::ENDED].concat() => Seen::Served,
        other => Seen::Other(other.to_vec()),
    })
}

/// All that comes until the end.
pub(crate) fn until_end(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard)?;
    Ok(heard)
}

/// Waits for these words.
pub(crate) fn expect(stream: &mut TcpStream, words: &[u8]) -> Result<()> {
    let mut heard = vec![0; words.len()];
    stream.read_exact(&mut heard)?;
    ensure!(heard == words, "{heard:?}");
    Ok(())
}

/// Whether a frame carries TCP to this port.
pub(crate) fn is_tcp_to(frame: &[u8], port: u16) -> bool {
    tcp(frame).and_then(|header| header.get(2..4)) == Some(&port.to_be_bytes())
}

/// Whether a frame asks for a connection to a port.
pub(crate) fn opens_to(frame: &[u8], port: u16) -> bool {
    const SYN: u8 = 2;
    is_tcp_to(frame, port) && tcp(frame).and_then(|header| header.get(13)) == Some(&SYN)
}

/// Whether a frame of the uplink can be a client's: neither the resolver's traffic nor what the link itself has to say in
/// IPv6, from link-local or no address (solicited routers, RFC 4861; multicast reports, RFC 3810). Its neighbours are permanent.
pub(crate) fn is_of_a_client(frame: &[u8]) -> bool {
    let resolver = |at: usize| frame.get(at..at + 4) == Some(RESOLVER.octets().as_slice());
    match frame.get(12..14) {
        Some([0x08, 0x00]) => !resolver(26) && !resolver(30),
        Some([0x86, 0xdd]) => !matches!(frame.get(22..24), Some([0xfe, 0x80..=0xbf] | [0, 0])),
        _ => true,
    }
}

/// Whether a frame carries a reset from port 443.
fn is_reset(frame: &[u8]) -> bool {
    const RST: u8 = 4;
    let from = |header: &[u8]| header[..2] == 443_u16.to_be_bytes();
    tcp(frame).is_some_and(|header| header.get(13).is_some_and(|flags| flags & RST != 0) && from(header))
}

/// The TCP header in a frame without options or extension headers.
fn tcp(frame: &[u8]) -> Option<&[u8]> {
    match frame.get(12..14)? {
        [0x08, 0x00] if frame.get(23) == Some(&6) => frame.get(34..),
        [0x86, 0xdd] if frame.get(20) == Some(&6) => frame.get(54..),
        _ => None,
    }
}
