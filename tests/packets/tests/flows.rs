//! Connections that came in, from their first packet to their last, through both programs.

use anyhow::{Result, ensure};
use filter_core::Reason;
use filter_core::abi::{Counter, FlowKey, FlowState};
use filter_dataplane::Place;
use test_packets::{Frame, OWN_MARK, Profile, SANDBOX4, Stage, icmp, tcp, udp};

/// Protected, but in `inboundFrom`.
const PEER: &str = "10.7.0.9";
/// Nobody's friend.
const HOST: &str = "192.0.2.1";
const PORT: u16 = 50_000;

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// A sandbox, and the packets between it and a peer.
struct Link {
    stage: Stage,
    place: Place,
    mark: u32,
}

impl Link {
    fn new(name: &str, profile: Profile, mark: u32) -> Result<Link> {
        let mut link = Link::unfollowed(name, profile, mark)?;
        link.stage.dataplane().follow(link.place.slot)?;
        Ok(link)
    }

    fn unfollowed(name: &str, profile: Profile, mark: u32) -> Result<Link> {
        let stage = Stage::new(name, &[profile])?;
        let place = stage.attached(profile).place;
        Ok(Link { stage, place, mark })
    }

    /// A packet towards the sandbox, which is written as the answer to it.
    fn comes(&mut self, answer: Frame) -> Result<bool> {
        self.stage.run_towards(self.place, self.mark, &answer.reversed().bytes())
    }

    fn goes(&mut self, frame: &Frame) -> Result<bool> {
        self.stage.run(self.place, &frame.bytes())
    }

    /// State of a flow, and the seconds until it ends.
    fn flow(&self, key: &FlowKey) -> Result<Option<(u32, u64)>> {
        let now = test_packets::now();
        let flow = self.stage.state()?.flow(self.place.slot, key);
        Ok(flow.map(|(expires, state)| (state, expires.saturating_sub(now).div_ceil(1_000_000_000))))
    }

    fn flows(&self) -> Result<usize> {
        Ok(self.stage.state()?.entries(&format!("FLOWS[{}]", self.place.slot)).len())
    }
}

fn key(peer: &str, protocol: u8) -> FlowKey {
    let peer = peer.parse::<std::net::IpAddr>().expect("an address");
    let local = std::net::IpAddr::from(SANDBOX4);
    FlowKey {
        peer: peer.into(),
        local: local.into(),
        peer_port: PORT,
        local_port: 40_000,
        protocol,
        ..FlowKey::default()
    }
}

#[test]
fn a_connection_lives_from_syn_to_both_fins() -> Result<()> {
    for (profile, peer, mark, born) in [
        (Profile::Inviting, PEER, 0, 0),
        (Profile::Inviting, HOST, OWN_MARK, FlowState::MARKED),
        (Profile::Shut, HOST, OWN_MARK | 0xff00_000f, FlowState::MARKED),
    ] {
        let mut link = Link::new("life", profile, mark)?;
        let key = key(peer, 6);
        let segment = |flags| tcp(peer, PORT).flags(flags);
        ensure!(!link.goes(&segment(SYN | ACK))?, "an answer before the question");
        ensure!(link.comes(segment(SYN))?);
        ensure!(link.flow(&key)? == Some((born, 7_500)));
        for answer in [SYN | ACK, ACK] {
            ensure!(link.goes(&segment(answer))? && link.comes(segment(ACK))?);
            ensure!(link.flow(&key)? == Some((born, 7_500)));
        }
        ensure!(link.comes(segment(FIN | ACK))? && link.goes(&segment(ACK))?, "half closed");
        ensure!(link.flow(&key)? == Some((born | FlowState::PEER_FIN, 7_500)));
        ensure!(link.goes(&segment(FIN | ACK))?);
        ensure!(link.flow(&key)? == Some((born | FlowState::CLOSED, 10)));
        ensure!(link.comes(segment(ACK))?, "the last word");
        ensure!(link.flow(&key)? == Some((born | FlowState::CLOSED, 10)));
        ensure!(link.comes(segment(SYN))?, "the same ports once more");
        ensure!(link.flow(&key)? == Some((born, 7_500)));
    }
    Ok(())
}

#[test]
fn a_reset_of_either_side_ends_a_connection() -> Result<()> {
    let mut link = Link::new("reset", Profile::Inviting, 0)?;
    let segment = |flags| tcp(PEER, PORT).flags(flags);
    ensure!(link.comes(segment(SYN))? && link.goes(&segment(RST | ACK))?, "refused by the sandbox");
    ensure!(link.flows()? == 0);
    ensure!(!link.goes(&segment(RST | ACK))? && !link.comes(segment(ACK))?, "nothing is left");
    ensure!(link.comes(segment(SYN))? && link.comes(segment(RST))?, "given up by the peer");
    ensure!(link.flows()? == 0);
    ensure!(!link.goes(&segment(SYN | ACK))?, "too late");
    Ok(())
}

#[test]
fn questions_by_udp_and_echo_are_answered_for_a_while() -> Result<()> {
    let mut link = Link::new("ask", Profile::Inviting, 0)?;
    ensure!(link.comes(udp(PEER, PORT))? && link.goes(&udp(PEER, PORT))? && link.goes(&udp(PEER, PORT))?);
    ensure!(link.flow(&key(PEER, 17))? == Some((0, 180)));
    let echo = FlowKey { peer_port: 1, local_port: 0, ..key(PEER, 1) };
    ensure!(!link.goes(&icmp(PEER, 0, 0))?, "no answer to no question");
    ensure!(link.comes(icmp(PEER, 8, 0))? && link.goes(&icmp(PEER, 0, 0))?);
    ensure!(link.flow(&echo)? == Some((0, 30)));
    ensure!(!link.goes(&icmp(PEER, 8, 0))?, "a question of its own");
    ensure!(link.flows()? == 2);
    Ok(())
}

#[test]
fn a_right_that_is_taken_away_ends_what_it_opened_but_not_what_the_mark_opened() -> Result<()> {
    let mut link = Link::new("right", Profile::Inviting, 0)?;
    let ack = |port| tcp(PEER, port).flags(ACK);
    ensure!(link.comes(tcp(PEER, PORT))?);
    link.mark = OWN_MARK;
    ensure!(link.comes(tcp(PEER, PORT + 1))?);
    ensure!(link.goes(&ack(PORT))? && link.goes(&ack(PORT + 1))?);

    let mut config = link.stage.attached(Profile::Inviting).config;
    config.inbound_count = 0;
    link.stage.dataplane().configure(link.place.slot, &config)?;
    ensure!(!link.goes(&ack(PORT))? && link.goes(&ack(PORT + 1))?, "answers");
    ensure!(link.comes(ack(PORT + 1))?, "the mark");
    link.mark = 0;
    ensure!(!link.comes(ack(PORT))? && !link.comes(tcp(PEER, PORT))?, "the peer");
    ensure!(link.flows()? == 2, "nothing was opened");
    Ok(())
}

#[test]
fn a_full_table_has_room_again_once_a_flow_has_ended() -> Result<()> {
    let mut link = Link::new("cramped", Profile::Cramped, 0)?;
    let segment = |port, flags| tcp(PEER, port).flags(flags);
    ensure!(link.comes(segment(PORT, SYN))?);
    for mark in [0, OWN_MARK] {
        link.mark = mark;
        ensure!(!link.comes(segment(PORT + 1, SYN))?, "there is no room");
        ensure!(!link.goes(&segment(PORT + 1, SYN | ACK))?, "nor a flow");
    }
    link.mark = 0;
    ensure!(link.goes(&segment(PORT, ACK))? && link.comes(segment(PORT, ACK))?, "the first goes on");
    let counters = link.stage.dataplane().counters(link.place.slot)?.expect("the slot has counters");
    ensure!(counters.packets(Reason::FlowTableFull) == 2);
    ensure!(counters.get(Counter::InboundAllowed) == 2);

    ensure!(link.stage.dataplane().sweep_flows(link.place.slot)? == 1, "it is alive");
    ensure!(link.goes(&segment(PORT, RST))?);
    ensure!(link.comes(segment(PORT + 1, SYN))? && link.goes(&segment(PORT + 1, SYN | ACK))?, "room for another");
    ensure!(link.flows()? == 1);
    Ok(())
}

#[test]
fn who_is_open_to_nobody_has_no_table_until_our_own_sockets_ask_for_one() -> Result<()> {
    let mut link = Link::unfollowed("unfollowed", Profile::Shut, OWN_MARK)?;
    let segment = |flags| tcp(HOST, PORT).flags(flags);
    ensure!(!link.comes(segment(SYN))? && !link.goes(&segment(SYN | ACK))?, "there is no room for it");
    let counters = link.stage.dataplane().counters(link.place.slot)?.expect("the slot has counters");
    ensure!(counters.packets(Reason::FlowTableFull) == 1);
    for _ in 0..2 {
        link.stage.dataplane().follow(link.place.slot)?;
        ensure!(link.comes(segment(SYN))? && link.goes(&segment(SYN | ACK))? && link.flows()? == 1);
    }
    Ok(())
}

#[test]
fn who_is_opened_while_it_runs_has_a_table_by_then() -> Result<()> {
    let mut link = Link::unfollowed("opened", Profile::Shut, 0)?;
    let stage = Stage::new("open", &[Profile::Inviting])?;
    let opened = stage.attached(Profile::Inviting).config;
    let mut config = link.stage.attached(Profile::Shut).config;
    ensure!(!link.comes(tcp(PEER, PORT))?, "it is open to nobody");
    (config.inbound, config.inbound_count) = (opened.inbound, opened.inbound_count);
    link.stage.dataplane().configure(link.place.slot, &config)?;
    ensure!(link.comes(tcp(PEER, PORT))? && link.flows()? == 1);
    Ok(())
}

#[test]
fn sealing_ends_every_connection() -> Result<()> {
    let mut link = Link::new("seal", Profile::Inviting, OWN_MARK)?;
    ensure!(link.comes(tcp(HOST, PORT))?);
    let mut config = link.stage.attached(Profile::Inviting).config;
    config.flags |= filter_core::abi::SandboxFlags::SEALED;
    link.stage.dataplane().configure(link.place.slot, &config)?;
    for flags in [SYN, ACK, FIN | ACK, RST] {
        ensure!(!link.comes(tcp(HOST, PORT).flags(flags))? && !link.goes(&tcp(HOST, PORT).flags(flags))?);
    }
    let counters = link.stage.dataplane().counters(link.place.slot)?.expect("the slot has counters");
    ensure!(counters.packets(Reason::Sealed) == 8);
    Ok(())
}

#[test]
fn a_slot_that_is_used_again_has_no_flows() -> Result<()> {
    let mut link = Link::new("again", Profile::Inviting, OWN_MARK)?;
    ensure!(link.comes(tcp(HOST, PORT))? && link.goes(&tcp(HOST, PORT).flags(ACK))?);
    link.stage.attach_again(Profile::Inviting)?;
    ensure!(link.flows()? == 0);
    ensure!(!link.goes(&tcp(HOST, PORT).flags(ACK))?, "an answer to its predecessor's peer");
    Ok(())
}
