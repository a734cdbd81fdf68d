//! Ethernet II and the IEEE 802.1Q tag.
//!
//! A priority tag (VLAN 0) is read through, because the kernel takes such a frame as untagged; another VLAN is another network
//! than the one the policy is about. Length fields (IEEE 802.3, LLC/SNAP) are not ethertypes and deny (CVE-2021-27853).

use super::{Flow, Source};
use crate::Reason;

const HEADER: u32 = 14;
const TAG: u32 = 4;
const VLAN_ID: u16 = 0x0fff;

#[inline(always)]
pub(super) fn parse<S: Source>(frame: &S, flow: &mut Flow) -> Result<(), Reason> {
    let header: [u8; HEADER as usize] = frame.load(0).ok_or(Reason::TruncatedFrame)?;
    flow.destination_mac = [header[0], header[1], header[2], header[3], header[4], header[5]];
    flow.source_mac = [header[6], header[7], header[8], header[9], header[10], header[11]];
    flow.ethertype = u16::from_be_bytes([header[12], header[13]]);
    flow.network = HEADER;

    let stripped = frame.stripped_vlan();
    if let Some(control) = stripped
        && control & VLAN_ID != 0
    {
        return Err(Reason::Vlan);
    }
    if is_tag(flow.ethertype) {
        if stripped.is_some() {
            return Err(Reason::Vlan);
        }
        let tag: [u8; TAG as usize] = frame.load(HEADER).ok_or(Reason::TruncatedFrame)?;
        if u16::from_be_bytes([tag[0], tag[1]]) & VLAN_ID != 0 {
            return Err(Reason::Vlan);
        }
        flow.ethertype = u16::from_be_bytes([tag[2], tag[3]]);
        flow.network = HEADER + TAG;
        if is_tag(flow.ethertype) {
            return Err(Reason::Vlan);
        }
    }
    Ok(())
}

/// Tag protocol identifiers that the kernel takes off: customer tag and service tag.
#[inline(always)]
fn is_tag(ethertype: u16) -> bool {
    matches!(ethertype, 0x8100 | 0x88a8)
}
