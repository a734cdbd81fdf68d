//! How a packet that is handed over gets from a bridge's port to the bridge: a socket that is assigned at a port is lost where netfilter sees
//! bridged packets. So the port's program sends it to the bridge device, for a MAC address that nobody has and that tells the slot. Without the
//! program there, which gives it to its socket, the host has no use for it: it is for another host.

/// Begins the address: locally administered, and no group's.
const PREFIX: [u8; 4] = [0x06, b's', b'f', 0];

/// The address of a packet of the sandbox in a slot.
#[inline(always)]
#[must_use]
pub const fn carried(slot: u32) -> [u8; 6] {
    let [a, b, c, d] = PREFIX;
    let [_, _, high, low] = slot.to_be_bytes();
    [a, b, c, d, high, low]
}

/// The slot that such an address tells.
#[inline(always)]
#[must_use]
pub const fn carried_slot(prefix: [u8; 4], [high, low]: [u8; 2]) -> Option<u32> {
    if u32::from_ne_bytes(prefix) != u32::from_ne_bytes(PREFIX) {
        return None;
    }
    Some(u32::from_be_bytes([0, 0, high, low]))
}

/// Begins the priority of a packet of a cgroup that is handed over: it goes to the loopback device, where nothing but this tells whose it was.
const PRIORITY: u32 = 0x5f46_0000;

/// The priority (`SO_PRIORITY`) of such a packet of the sandbox in a slot.
#[inline(always)]
#[must_use]
pub const fn carried_priority(slot: u32) -> u32 {
    PRIORITY | slot
}

/// The slot that such a priority tells.
#[inline(always)]
#[must_use]
pub const fn prioritised_slot(priority: u32) -> Option<u32> {
    if priority & 0xffff_0000 == PRIORITY { Some(priority & 0xffff) } else { None }
}

const _: () = assert!(super::MAX_SANDBOXES <= 1 << 16);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::MAX_SANDBOXES;

    #[test]
    fn an_address_tells_its_slot() {
        for slot in [0, 1, 255, 256, MAX_SANDBOXES - 1] {
            let [a, b, c, d, e, f] = carried(slot);
            assert_eq!(carried_slot([a, b, c, d], [e, f]), Some(slot));
            assert!(a & 1 == 0 && a & 2 != 0, "a group's, or a maker's");
        }
        assert_eq!(prioritised_slot(carried_priority(MAX_SANDBOXES - 1)), Some(MAX_SANDBOXES - 1));
        assert_eq!(prioritised_slot(6), None);
        assert_eq!(carried_slot([2, b's', b'f', 0], [0, 1]), None);
    }
}
