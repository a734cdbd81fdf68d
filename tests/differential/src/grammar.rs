//! Frames that mostly make sense.

use crate::addresses;
use crate::profile::{GATEWAY_LINK, GATEWAY_MAC, GATEWAY4, GATEWAY6, SANDBOX_LINK, SANDBOX_MAC, SANDBOX4, SANDBOX6};
use crate::random::Random;
use std::net::{IpAddr, Ipv6Addr};

const PORTS: &[u16] = &[53, 53, 67, 68, 80, 443, 546, 547, 5353, 8080];

/// Which way a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    FromSandbox,
    ToSandbox,
}

/// A frame on its way.
pub(crate) fn frame(random: &mut Random, way: Way) -> Vec<u8> {
    let (ethertype, mut body, group) = match random.below(20) {
        0 => arp(random, way),
        1 => dhcp(random, way),
        2..=10 => ip4(random, way),
        11..=18 => ip6(random, way),
        _ => (
            random.pick(&[0x0800, 0x86dd, 0x0806, 0x8847, 0x0026, 0x9100, 0x88a8, 0x05ff, 0x0600]),
            bytes(random, 80),
            None,
        ),
    };
    let (mut from, mut to) =
        if way == Way::FromSandbox { (SANDBOX_MAC, GATEWAY_MAC) } else { (GATEWAY_MAC, SANDBOX_MAC) };
    if let Some(group) = group.filter(|_| random.percent(70)) {
        to = group;
    }
    let other = random.pick(&[[0xff; 6], [2, 0, 0, 0, 0, 3], [1, 0, 0x5e, 0, 0, 1], SANDBOX_MAC, GATEWAY_MAC, [0; 6]]);
    match random.below(40) {
        0 => from = other,
        1 | 2 => to = other,
        _ => {}
    }
    let mut frame = [to, from].concat();
    let tags = if random.percent(7) { 1 + random.below(2) } else { 0 };
    for _ in 0..tags {
        frame.extend(random.pick(&[0x8100_u16, 0x8100, 0x8100, 0x88a8]).to_be_bytes());
        let number: u16 = random.pick(&[0, 0, 0, 7, 0xfff]);
        frame.extend((number | random.pick(&[0, 0, 0xe000, 0x1000])).to_be_bytes());
    }
    frame.extend(u16::to_be_bytes(ethertype));
    frame.append(&mut body);
    match random.below(20) {
        0 => frame.extend(bytes(random, 20)),
        // Filled up, sometimes with something.
        1 | 2 if frame.len() < 64 => {
            frame.resize(random.pick(&[60, 60, 64]).max(frame.len()), 0);
            if random.percent(20)
                && let Some(last) = frame.last_mut()
            {
                *last = 1;
            }
        }
        _ => {}
    }
    frame
}

type Content = (u16, Vec<u8>, Option<[u8; 6]>);

fn arp(random: &mut Random, way: Way) -> Content {
    let (near, far) = if way == Way::FromSandbox { (SANDBOX_MAC, GATEWAY_MAC) } else { (GATEWAY_MAC, SANDBOX_MAC) };
    let reply = random.below(2) as u8;
    let mut body = vec![0, 1, 8, 0, 6, 4, 0, 1 + reply];
    body.extend(if random.percent(95) { near } else { far });
    body.extend(addresses::arp(random).octets());
    body.extend(if reply == 1 && random.percent(90) { far } else { [0; 6] });
    body.extend(addresses::arp(random).octets());
    (0x0806, body, (reply == 0 || random.percent(10)).then_some([0xff; 6]))
}

fn ip4(random: &mut Random, way: Way) -> Content {
    let (source, destination) = ends(random, way, false);
    let (protocol, mut payload) = transport(random, way, source, destination);
    let options = if random.percent(15) { options4(random) } else { Vec::new() };
    let mut word = random.pick(&[0, 0, 0x4000]);
    if random.percent(12) {
        word = random.pick(&[0x2000, 0x2000, 1, 0x2001, 5, 0x2005, 0x1fff, 0x8000, 0xc000, 0x1ff0]);
        if random.percent(30) {
            payload.truncate(random.below(24));
        }
    }
    let mut body = vec![0x40 | (5 + options.len() / 4) as u8, random.byte()];
    body.extend(((20 + options.len() + payload.len()) as u16).to_be_bytes());
    body.extend(random.word().to_be_bytes());
    body.extend(u16::to_be_bytes(word));
    body.extend([random.pick(&[0, 1, 64, 255]), protocol, 0, 0]);
    body.extend(octets(source));
    body.extend(octets(destination));
    body.extend(options);
    body.extend(payload);
    (0x0800, body, (destination == IpAddr::from([255; 4])).then_some([0xff; 6]))
}

fn options4(random: &mut Random) -> Vec<u8> {
    let mut options = Vec::new();
    while options.len() < 36 && random.percent(60) {
        match random.below(9) {
            0 | 1 => options.push(1),
            2 => options.push(0),
            3 => options.extend([148, 4, 0, 0]),
            4 => options.extend([7, 7, 4, 0, 0, 0, 0]),
            5 => options.extend([131, 7, 4, 10, 0, 0, 1]),
            6 => options.extend([137, 3, 4]),
            7 => options.extend([68, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            _ => options.extend([random.byte(), random.byte() % 12]),
        }
    }
    options.truncate(40);
    options.resize(options.len().next_multiple_of(4), 0);
    options
}

fn ip6(random: &mut Random, way: Way) -> Content {
    let neighbour = random.percent(30);
    if neighbour && random.percent(40) {
        return question(random, way);
    }
    let (source, destination) = if neighbour {
        let (a, b) = (addresses::link(random), addresses::link(random));
        if way == Way::ToSandbox && random.percent(60) { (GATEWAY_LINK.into(), b) } else { (a, b) }
    } else {
        ends(random, way, true)
    };
    let (mut next, mut payload) =
        if neighbour { (58, discovery(random, way, destination)) } else { transport(random, way, source, destination) };
    if random.percent(25) {
        let most = if random.percent(10) { 8 } else { 3 };
        for _ in 0..=random.below(most) {
            (next, payload) = extension(random, next, payload);
        }
    }
    let mut body = vec![0x60, 0, 0, 0];
    body.extend((payload.len() as u16).to_be_bytes());
    body.extend([next, if neighbour && random.percent(95) { 255 } else { random.pick(&[0, 1, 64, 254, 255]) }]);
    body.extend(octets(source));
    body.extend(octets(destination));
    body.extend(payload);
    let end = octets(destination);
    (0x86dd, body, (end[0] == 0xff).then(|| [0x33, 0x33, end[12], end[13], end[14], end[15]]))
}

fn extension(random: &mut Random, next: u8, payload: Vec<u8>) -> (u8, Vec<u8>) {
    let kind = random.pick(&[0, 0, 60, 60, 60, 44, 44, 43, 135, 139, 51, 50, 59]);
    let mut header = vec![next, 0];
    if kind == 44 {
        header.extend(random.pick(&[0_u16, 0, 0, 1, 1, 8, 9, 0xfff8, 6]).to_be_bytes());
        header.extend(random.bytes(4));
    } else {
        header[1] = random.pick(&[0, 0, 1, 2]);
        let length = usize::from(header[1]) * 8 + 8;
        header.extend(random.pick(&[[1, 4], [5, 2], [0xc2, 4], [0, 0]]));
        header.resize(length, 0);
    }
    header.extend(payload);
    (kind, header)
}

/// A neighbour solicitation or advertisement as they are meant to be.
fn question(random: &mut Random, way: Way) -> Content {
    let own = random.pick(&[SANDBOX6, SANDBOX_LINK]);
    let gateway = random.pick(&[GATEWAY6, GATEWAY_LINK]);
    let (near, far, mac) =
        if way == Way::FromSandbox { (own, gateway, SANDBOX_MAC) } else { (gateway, own, GATEWAY_MAC) };
    let asks = random.percent(50);
    let destination = if asks && random.percent(60) {
        let end = far.octets();
        let mut group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0];
        group[13..].copy_from_slice(&end[13..]);
        group.into()
    } else {
        far
    };
    let mut message = vec![if asks { 135 } else { 136 }, 0, 0, 0, if asks { 0 } else { 0x60 }, 0, 0, 0];
    message.extend(if asks { far } else { near }.octets());
    if random.percent(60) {
        message.extend([if asks { 1 } else { 2 }, 1]);
        message.extend(mac);
    }
    let mut body = vec![0x60, 0, 0, 0, 0, message.len() as u8, 58, 255];
    body.extend(near.octets());
    body.extend(destination.octets());
    body.extend(message);
    let end = destination.octets();
    (0x86dd, body, (end[0] == 0xff).then(|| [0x33, 0x33, end[12], end[13], end[14], end[15]]))
}

/// DHCP or router discovery as they are meant to be.
fn dhcp(random: &mut Random, way: Way) -> Content {
    let out = way == Way::FromSandbox;
    let payload = bytes(random, 20);
    let mut datagram = Vec::new();
    let v6 = random.percent(50);
    let (client, server) = if v6 { (546_u16, 547_u16) } else { (68, 67) };
    let (source, destination) = if out { (client, server) } else { (server, client) };
    datagram.extend(source.to_be_bytes());
    datagram.extend(destination.to_be_bytes());
    datagram.extend((8 + payload.len() as u16).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    if !v6 {
        let ends = random.pick(&[([0; 4], [255; 4]), (SANDBOX4.octets(), GATEWAY4.octets())]);
        let (source, destination) =
            if out { ends } else { (GATEWAY4.octets(), random.pick(&[[255; 4], SANDBOX4.octets()])) };
        let mut body = vec![0x45, 0, 0, 20 + datagram.len() as u8, 0, 0, 0, 0, 64, 17, 0, 0];
        body.extend(source);
        body.extend(destination);
        body.extend(datagram);
        return (0x0800, body, (destination == [255; 4]).then_some([0xff; 6]));
    }
    let (mut near, mut far) = (SANDBOX_LINK, random.pick(&[GATEWAY_LINK, Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2)]));
    let (mut protocol, mut message) = (17, datagram);
    if random.percent(40) {
        far = if out { Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2) } else { GATEWAY_LINK };
        protocol = 58;
        message = if out { vec![133, 0, 0, 0, 0, 0, 0, 0] } else { [vec![134], vec![0; 15]].concat() };
        if random.percent(60) {
            message.extend([1, 1]);
            message.extend(if out { SANDBOX_MAC } else { GATEWAY_MAC });
        }
    }
    if !out {
        (near, far) = (GATEWAY_LINK, random.pick(&[SANDBOX_LINK, SANDBOX6]));
    }
    let mut body = vec![0x60, 0, 0, 0, 0, message.len() as u8, protocol, 255];
    body.extend(near.octets());
    body.extend(far.octets());
    body.extend(message);
    let end = far.octets();
    (0x86dd, body, (end[0] == 0xff).then(|| [0x33, 0x33, end[12], end[13], end[14], end[15]]))
}

/// A neighbour discovery message that fits its destination more often than not.
fn discovery(random: &mut Random, way: Way, destination: IpAddr) -> Vec<u8> {
    let kind = random.pick(&[133, 134, 135, 135, 135, 135, 136, 136, 136, 137]);
    let mut message = vec![kind, u8::from(random.percent(3)), 0, 0];
    message.extend(random.pick(&[[0; 4], [0x60, 0, 0, 0], [0xe0, 0, 0, 0]]));
    match kind {
        133 => {}
        134 => message.extend([0; 8]),
        _ => {
            let same = random.percent(30);
            message.extend(octets(if same { destination } else { addresses::link(random) }));
            if kind == 137 {
                message.extend(octets(addresses::link(random)));
            }
        }
    }
    while random.percent(40) {
        let mac = if (way == Way::FromSandbox) == random.percent(95) { SANDBOX_MAC } else { GATEWAY_MAC };
        message.extend([random.pick(&[1, 1, 2, 2, 3, 14, 24]), 1]);
        message.extend(mac);
    }
    message
}

fn transport(random: &mut Random, way: Way, source: IpAddr, destination: IpAddr) -> (u8, Vec<u8>) {
    let v6 = source.is_ipv6();
    match random.below(20) {
        0..=6 => (6, tcp(random, way)),
        7..=12 => (17, udp(random, way)),
        13..=16 => (if v6 { 58 } else { 1 }, echo(random, way, v6)),
        17 | 18 => (if v6 { 58 } else { 1 }, error(random, way, source, destination)),
        _ => (random.pick(&[0, 1, 2, 4, 41, 47, 50, 51, 58, 59, 89, 132, 255]), bytes(random, 40)),
    }
}

/// Ports: the far one is often known, the near one hardly ever. What comes in has near ports that nothing else has: a flow that it
/// opens in the kernel is one that no error here quotes.
fn ports(random: &mut Random, way: Way) -> [u8; 4] {
    let near = match way {
        Way::FromSandbox if random.percent(5) => random.pick(PORTS),
        Way::FromSandbox => random.word() & 0x7fff,
        Way::ToSandbox => random.word() | 0x8000,
    };
    let far = if random.percent(70) { random.pick(PORTS) } else { random.word() };
    let (source, destination) = if way == Way::FromSandbox { (near, far) } else { (far, near) };
    let ([a, b], [c, d]) = (source.to_be_bytes(), destination.to_be_bytes());
    [a, b, c, d]
}

fn tcp(random: &mut Random, way: Way) -> Vec<u8> {
    let mut segment = ports(random, way).to_vec();
    segment.extend(random.bytes(8));
    let words = if random.percent(20) { random.pick(&[4, 6, 8, 15]) } else { 5 };
    segment.extend([words << 4, random.pick(&[2, 2, 0x12, 0x10, 0x18, 0x04, 0x14, 0x11, 0, 0xff, 0x42])]);
    segment.extend([0xff, 0xff, 0, 0, 0, 0]);
    segment.resize(segment.len().max(usize::from(words) * 4), 1);
    segment.extend(bytes(random, 16));
    segment
}

fn udp(random: &mut Random, way: Way) -> Vec<u8> {
    let mut datagram = if random.percent(6) {
        let service = [[0, 67, 0, 68], [2, 35, 2, 34]];
        let question = [[0, 68, 0, 67], [2, 34, 2, 35]];
        let asks = way == Way::FromSandbox && random.percent(50);
        random.pick(if asks { &question } else { &service }).to_vec()
    } else {
        ports(random, way).to_vec()
    };
    let payload = bytes(random, 32);
    let length = 8 + payload.len() as u16;
    datagram.extend(if random.percent(6) { random.pick(&[0, 7, 8, length + 1, 9]) } else { length }.to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    datagram
}

fn echo(random: &mut Random, way: Way, v6: bool) -> Vec<u8> {
    let usual: &[u8] = if v6 { &[128, 129] } else { &[8, 0] };
    let kind = if random.percent(75) {
        random.pick(usual)
    } else {
        random.pick(&[1, 2, 3, 4, 5, 9, 10, 11, 12, 13, 17, 100, 130, 131, 132, 133, 134, 135, 136, 137, 138, 143, 200])
    };
    let mut message = vec![kind, u8::from(random.percent(5)), 0, 0];
    let identifier = random.word() & 0x7fff | if way == Way::ToSandbox { 0x8000 } else { 0 };
    message.extend(identifier.to_be_bytes());
    message.extend(random.bytes(2));
    message.extend(bytes(random, 40));
    message
}

/// An ICMP error with a packet in it, which went the other way.
fn error(random: &mut Random, way: Way, source: IpAddr, destination: IpAddr) -> Vec<u8> {
    let v6 = source.is_ipv6();
    let kind = random.pick(if v6 { &[1, 2, 3, 4] } else { &[3, 11, 12, 4] });
    let mut message = vec![kind, random.pick(&[0, 1, 3, 4]), 0, 0, 0, 0, 5, 0xdc];
    let back = if way == Way::FromSandbox { Way::ToSandbox } else { Way::FromSandbox };
    let inner_source = if random.percent(90) { destination } else { addresses::own(random, v6) };
    let inner_destination = if random.percent(30) { source } else { addresses::remote(random, v6) };
    let (protocol, payload) = match random.below(8) {
        0..=3 => (17, udp(random, back)),
        4..=5 => (6, tcp(random, back)),
        6 => (if v6 { 58 } else { 1 }, echo(random, back, v6)),
        _ => (random.byte(), bytes(random, 20)),
    };
    if v6 {
        message.extend([0x60, 0, 0, 0]);
        message.extend((payload.len() as u16).to_be_bytes());
        message.extend([protocol, 60]);
    } else {
        message.extend([0x45, 0]);
        message.extend((20 + payload.len() as u16).to_be_bytes());
        message.extend([0, 0]);
        message.extend(random.pick(&[0_u16, 0, 0, 0x4000, 0x2000, 7]).to_be_bytes());
        message.extend([60, protocol, 0, 0]);
    }
    message.extend(octets(inner_source));
    message.extend(octets(inner_destination));
    let keep = if random.percent(15) { random.below(12) } else { payload.len() };
    message.extend(&payload[..keep.min(payload.len())]);
    message
}

fn ends(random: &mut Random, way: Way, v6: bool) -> (IpAddr, IpAddr) {
    let (own, remote) = (addresses::own(random, v6), addresses::remote(random, v6));
    if way == Way::FromSandbox { (own, remote) } else { (remote, own) }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

fn bytes(random: &mut Random, most: usize) -> Vec<u8> {
    let length = random.below(most + 1);
    random.bytes(length)
}
