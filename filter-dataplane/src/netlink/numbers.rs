//! Numbers by which one namespace knows others.

use super::ask::ask;
use crate::{Error, Namespace};
use futures_util::StreamExt;
use rtnetlink::Handle;
use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::nsid::{NsidAttribute, NsidMessage};
use std::os::fd::AsRawFd;

/// The number by which `namespace` knows the other one, if it knows it.
///
/// # Errors
/// When the namespace cannot be entered or asked.
pub(crate) fn number_of(namespace: &Namespace, other: &Namespace) -> Result<Option<i32>, Error> {
    let fd = other.file().as_raw_fd() as u32;
    ask(namespace, "look up a namespace", async |handle: Handle| ask_number(handle, fd).await)
}

/// [`number_of`]; gives it a number when it has none.
///
/// # Errors
/// When the namespace cannot be entered or asked.
pub(crate) fn give_number(namespace: &Namespace, other: &Namespace) -> Result<Option<i32>, Error> {
    const ANY: i32 = -1;
    let fd = other.file().as_raw_fd() as u32;
    ask(namespace, "number a namespace", async |mut handle: Handle| {
        if let Some(number) = ask_number(handle.clone(), fd).await? {
            return Ok(Some(number));
        }
        let mut message = NsidMessage::default();
        message.attributes.extend([NsidAttribute::Fd(fd), NsidAttribute::Id(ANY)]);
        let mut request = NetlinkMessage::from(RouteNetlinkMessage::NewNsId(message));
        request.header.flags = NLM_F_REQUEST | NLM_F_ACK;
        // Somebody else may number it at the same moment: what counts is that it has one.
        handle.request(request)?.for_each(|_| std::future::ready(())).await;
        ask_number(handle, fd).await
    })
}

async fn ask_number(mut handle: Handle, fd: u32) -> Result<Option<i32>, rtnetlink::Error> {
    let mut message = NsidMessage::default();
    message.attributes.push(NsidAttribute::Fd(fd));
    let mut request = NetlinkMessage::from(RouteNetlinkMessage::GetNsId(message));
    request.header.flags = NLM_F_REQUEST;
    let mut answers = handle.request(request)?;
    while let Some(answer) = answers.next().await {
        if let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNsId(found)) = answer.payload {
            return Ok(found.attributes.into_iter().find_map(|attribute| match attribute {
                NsidAttribute::Id(id) if id >= 0 => Some(id),
                _ => None,
            }));
        }
    }
    Ok(None)
}
