//! The number of the host's firewall rules: another one after each change, whoever makes it. Asked for by `NETLINK_NETFILTER`, subsystem
//! `nf_tables`, it costs a few system calls, where a list of rules costs a process.

use super::connections::{connect, messages, receive};
use filter_dataplane::Namespace;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, send};
use std::os::fd::AsRawFd;

/// `NFT_MSG_NEWGEN` and `NFT_MSG_GETGEN`, and what `nfnetlink` adds: the subsystem.
const NEW: u16 = (10 << 8) | 15;
const GET: u16 = (10 << 8) | 16;
/// `NLM_F_REQUEST`.
const REQUEST: u16 = 1;
/// `NFTA_GEN_ID`.
const ID: u16 = 1;
/// Length of `nlmsghdr` with `nfgenmsg`, and of the latter.
const LENGTH: u32 = 20;
const FAMILY: usize = 4;

/// The number as it is now; `None` when the kernel does not tell.
pub(super) fn now(host: &Namespace) -> Option<u32> {
    host.enter(ask).ok()?.ok()?
}

fn ask() -> Result<Option<u32>, Errno> {
    let socket = connect()?;
    let mut message = LENGTH.to_ne_bytes().to_vec();
    message.extend([GET.to_ne_bytes(), REQUEST.to_ne_bytes()].concat());
    message.extend([0; 12]);
    send(socket.as_raw_fd(), &message, MsgFlags::empty())?;
    let answer = receive(&socket)?;
    let answers = messages(&answer);
    let told = answers.into_iter().find(|(kind, _)| *kind == NEW).and_then(|(_, body)| id(body.get(FAMILY..)?));
    Ok(told)
}

/// The id among attributes.
fn id(mut attributes: &[u8]) -> Option<u32> {
    loop {
        let length = usize::from(u16::from_ne_bytes(attributes.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(attributes.get(2..4)?.try_into().ok()?);
        if kind == ID {
            return Some(u32::from_be_bytes(attributes.get(4..8)?.try_into().ok()?));
        }
        attributes = attributes.get(length.max(4).next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_found_among_attributes_and_nowhere_else() {
        let bytes = [&[8, 0, 2, 0, 0, 0, 0, 9][..], &[8, 0, 1, 0, 0, 0, 1, 2]].concat();
        assert_eq!(id(&bytes), Some(258));
        for length in 0..bytes.len() {
            assert_eq!(id(&bytes[..length]), None, "{length}");
        }
        assert_eq!(id(&[0, 0, 9, 9, 0, 0, 0, 0]), None);
    }
}
