//! Whose a connection is that is handed over: that of the device that it came by, whatever its addresses.

use anyhow::{Context, Result, ensure};
use filter_core::Reason::{HandedOver, SidecarUnavailable};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{IpTransparent, TcpRepair};
use socket2::{Domain, SockRef, Socket, Type};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;
use test_scenarios::{SOON, Setup, Stage};
use test_world::internet::{GOOGLE, WEB};
use test_world::{Node, poll, wait_until};

/// Where the sandboxes believe that names are, by each family; nobody is there.
const NOWHERE: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(203, 0, 113, 99)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0x10, 0, 0, 0, 0, 0x99))];
/// Where they ask from.
const PORT: u16 = 40_000;

fn stage(name: &str) -> Result<Stage> {
    let config = format!("resolvers: [\"{GOOGLE}\"]\n");
    Stage::with(name, &Setup { config: &config, resolvers: &[IpAddr::from(GOOGLE)], ..Setup::default() })
}

/// The same of each family: where to, and the sandbox's own address.
fn families(stage: &Stage) -> [(SocketAddr, IpAddr); 2] {
    let own = [IpAddr::from(stage.a.v4), stage.a.v6.into()];
    [0, 1].map(|family| (SocketAddr::new(NOWHERE[family], 80), own[family]))
}

/// A connection from an address and [`PORT`].
fn dial(node: &Node, from: IpAddr, to: SocketAddr) -> Result<TcpStream> {
    node.within(|| -> Result<TcpStream> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddr::new(from, PORT).into())?;
        socket.connect_timeout(&to.into(), SOON)?;
        socket.set_read_timeout(Some(SOON))?;
        // Its port is free at once for the next one.
        socket.set_linger(Some(Duration::ZERO))?;
        Ok(socket.into())
    })?
}

/// The answer to the second half of a request whose first half was sent.
fn finish(stream: &mut TcpStream) -> Result<String> {
    stream.write_all(b"\r\n")?;
    let mut answer = vec![0; 4096];
    let length = stream.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

fn begin(stream: &mut TcpStream, name: &str) -> Result<()> {
    Ok(stream.write_all(format!("GET / HTTP/1.1\r\nHost: {name}\r\n").as_bytes())?)
}

#[test]
fn two_sandboxes_have_connections_of_the_same_addresses_and_ports() -> Result<()> {
    let stage = stage("sametuple")?;
    let (a, b) = (&stage.a, stage.world.sandbox("b")?);
    stage.apply(a, r#"denyOut: ["0.0.0.0/0"], allowOut: ["one.example.test"]"#)?;
    stage.daemon.apply(
        "version: 1\nid: b\nattach: { interface: veth-b }\naddresses: any\n\
         network: { denyOut: [\"0.0.0.0/0\"], allowOut: [\"two.example.test\"] }\n",
    )?;
    b.ip_batch(&format!("address add {}/32 dev eth0\naddress add {}/128 dev eth0 nodad\n", a.v4, a.v6))?;
    // What is bound to b's device needs a way there.
    stage.world.host().ip(&format!("route add {}/128 dev veth-b metric 9999", a.v6))?;
    for (to, own) in families(&stage) {
        let mut of_a = dial(a, own, to)?;
        begin(&mut of_a, "one.example.test")?;
        for (name, answer) in [("two.example.test", "200 OK"), ("one.example.test", "egress_denied")] {
            let mut of_b = dial(&b, own, to)?;
            begin(&mut of_b, name)?;
            let got = finish(&mut of_b)?;
            ensure!(got.contains(answer), "{to}: b asks for {name}: {got:?}");
        }
        let got = finish(&mut of_a)?;
        ensure!(got.contains("200 OK") && got.contains(&WEB.to_string()), "{to}: a's own: {got:?}");
    }
    Ok(())
}

/// A connection of the host's own, for the addresses and ports of one that the sandbox may open.
fn foreign(stage: &Stage, to: SocketAddr, own: IpAddr) -> Result<Socket> {
    stage.world.host().within(|| -> Result<Socket> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        setsockopt(&socket, IpTransparent, &true)?;
        setsockopt(&socket, TcpRepair, &1)?;
        socket.bind(&to.into())?;
        socket.connect(&SocketAddr::new(own, PORT).into())?;
        // Off, without a word to the far end.
        setsockopt(&socket, TcpRepair, &u32::MAX)?;
        Ok(socket)
    })?
}

#[test]
fn a_socket_of_the_host_gets_nothing_that_is_handed_over() -> Result<()> {
    let stage = stage("foreign")?;
    stage.apply(&stage.a, r#"denyOut: ["0.0.0.0/0"], allowOut: ["example.test"]"#)?;
    for (to, own) in families(&stage) {
        let (handed, denied) = (stage.counted(&stage.a, HandedOver)?, stage.counted(&stage.a, SidecarUnavailable)?);
        let socket = foreign(&stage, to, own).context("a socket of the host")?;
        let refused = dial(&stage.a, own, to).expect_err("the host's socket is in the way");
        let kind = refused.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        ensure!(kind == Some(ErrorKind::ConnectionRefused), "{to}: {refused:?}");
        ensure!(stage.counted(&stage.a, HandedOver)? == handed, "{to}: something was handed over");
        ensure!(stage.counted(&stage.a, SidecarUnavailable)? > denied, "{to}: nothing was denied");
        drop(socket);
        ensure!(wait_until(SOON, || dial(&stage.a, own, to).is_ok()), "{to}: nothing is in the way any more");
    }
    Ok(())
}

/// The sidecar closes first, so the old connection waits on its side (`TCP_TIME_WAIT`). The new one is taken at once: nobody has to ask twice.
#[test]
fn a_client_may_use_its_port_again() -> Result<()> {
    const ROUNDS: usize = 3;
    let stage = stage("again")?;
    stage.apply(&stage.a, r#"denyOut: ["0.0.0.0/0"], allowOut: ["example.test"]"#)?;
    let mut link = stage.world.host().sniff(&stage.a.device)?;
    for (round, (to, own)) in [families(&stage); ROUNDS].concat().into_iter().enumerate() {
        // The client's own end may still wait for the last word.
        let dialled = poll(SOON, || dial(&stage.a, own, to).ok());
        let mut stream = dialled.with_context(|| format!("{to}: round {round}"))?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(answer.contains("egress_denied"), "{to}: {answer:?}");
        SockRef::from(&stream).set_linger(None)?;
    }
    let asked = link.count(|frame| crate::tls::opens_to(frame, 80))?;
    ensure!(asked == 2 * ROUNDS, "{asked} requests for {} connections", 2 * ROUNDS);
    Ok(())
}

#[test]
fn a_connection_ends_with_its_sandbox_and_the_next_one_does_not_go_on_with_it() -> Result<()> {
    const NAMES: &str = r#"denyOut: ["0.0.0.0/0"], allowOut: ["example.test"]"#;
    let stage = stage("nextone")?;
    stage.apply(&stage.a, NAMES)?;
    for (to, own) in families(&stage) {
        let mut old = dial(&stage.a, own, to)?;
        begin(&mut old, "example.test")?;
        stage.daemon.detach("a")?;
        stage.apply(&stage.a, NAMES)?;
        let got = finish(&mut old);
        ensure!(got.as_ref().is_ok_and(String::is_empty) || got.is_err(), "{to}: the old connection goes on: {got:?}");
        drop(old);
        let mut new = dial(&stage.a, own, to)?;
        begin(&mut new, "example.test")?;
        ensure!(finish(&mut new)?.contains("200 OK"), "{to}: the new one's connections");
    }
    Ok(())
}
