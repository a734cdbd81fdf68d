//! Keeps packets with a mark on this host: a routing rule that looks for it, and a table in which every address is local.

use super::ask::ask;
use crate::listeners::Marks;
use crate::{Error, Namespace};
use rtnetlink::packet_route::route::{RouteMessage, RouteScope, RouteType};
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use rtnetlink::{Handle, RouteMessageBuilder};
use std::net::{Ipv4Addr, Ipv6Addr};

/// The routing table.
pub const TABLE: u32 = 21_318;
/// The priority of its rule: behind the table of the host's own addresses, before all that administrators number by hand.
pub const PRIORITY: u32 = 32;

/// Index of the loopback device in every namespace.
const LOOPBACK: u32 = 1;

/// Makes the rules and routes, of both families, that are not there yet. Tells whether any was missing.
///
/// # Errors
/// When the namespace cannot be entered, or what the kernel refused.
pub fn keep_marked(namespace: &Namespace, marks: Marks) -> Result<bool, Error> {
    ask(namespace, "keep marked packets on this host", async |handle: Handle| {
        let mut made = false;
        for route in routes() {
            made |= unless_there(handle.route().add(route).execute().await)?;
        }
        let mut rule = handle.rule().add().v4();
        look_for(rule.message_mut(), marks);
        made |= unless_there(rule.execute().await)?;
        let mut rule = handle.rule().add().v6();
        look_for(rule.message_mut(), marks);
        Ok(made | unless_there(rule.execute().await)?)
    })
}

/// Removes them.
///
/// # Errors
/// As [`keep_marked`].
pub fn let_marked_go(namespace: &Namespace, marks: Marks) -> Result<(), Error> {
    ask(namespace, "let marked packets go", async |handle: Handle| {
        let mut rules =
            [handle.rule().add().v4().message_mut().clone(), handle.rule().add().v6().message_mut().clone()];
        for rule in &mut rules {
            look_for(rule, marks);
            if_there(handle.rule().del(rule.clone()).execute().await)?;
        }
        for route in routes() {
            if_there(handle.route().del(route).execute().await)?;
        }
        Ok(())
    })
}

/// To every address, of both families.
fn routes() -> [RouteMessage; 2] {
    // What this host itself sends there is from loopback, so that it is answered.
    let v4 = RouteMessageBuilder::<Ipv4Addr>::new().output_interface(LOOPBACK).table_id(TABLE);
    let v4 = v4.pref_source(Ipv4Addr::LOCALHOST);
    let v6 = RouteMessageBuilder::<Ipv6Addr>::new().output_interface(LOOPBACK).table_id(TABLE);
    let v6 = v6.pref_source(Ipv6Addr::LOCALHOST);
    [
        v4.kind(RouteType::Local).scope(RouteScope::Host).build(),
        v6.kind(RouteType::Local).scope(RouteScope::Host).build(),
    ]
}

fn if_there(answer: Result<(), rtnetlink::Error>) -> Result<(), rtnetlink::Error> {
    match answer {
        Err(rtnetlink::Error::NetlinkError(refusal)) if [-libc::ENOENT, -libc::ESRCH].contains(&refusal.raw_code()) => {
            Ok(())
        }
        other => other,
    }
}

fn look_for(rule: &mut RuleMessage, marks: Marks) {
    rule.header.action = RuleAction::ToTable;
    rule.attributes.extend([
        RuleAttribute::Priority(PRIORITY),
        RuleAttribute::Table(TABLE),
        RuleAttribute::FwMark(marks.capture),
        RuleAttribute::FwMask(marks.mask),
    ]);
}

/// Whether something was made that was not there.
fn unless_there(answer: Result<(), rtnetlink::Error>) -> Result<bool, rtnetlink::Error> {
    match answer {
        Err(rtnetlink::Error::NetlinkError(refusal)) if refusal.raw_code() == -libc::EEXIST => Ok(false),
        other => other.map(|()| true),
    }
}
