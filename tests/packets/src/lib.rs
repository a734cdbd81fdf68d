//! Packet tables over `BPF_PROG_TEST_RUN`: what a [`Frame`] meets in the kernel program, and all that it changes there.
//!
//! A [`Row`] is a packet with a name, the [`Profile`] of the sandbox that sends it, and the [`Reason`](filter_core::Reason) it
//! must get. A [`Stage`] attaches the profiles once and checks rows: the verdict, every counter, every byte of every pinned
//! map, and every field of the event; and that [`filter_core::decide()`] in userspace says the same. Root is needed.

mod check;
mod event;
mod expect;
mod flow_table;
mod frame;
mod kernel;
mod living;
mod packets;
mod profile;
mod raw_socket;
mod row;
mod stage;
mod state;

pub use event::EventRing;
pub use frame::{Frame, Shown};
pub use kernel::now;
pub use packets::{arp, icmp, icmp_error, ip, other, tcp, udp};
pub use profile::{
    GATEWAY_LINK, GATEWAY_MAC, GATEWAY4, GATEWAY6, MARK_MASK, OWN_MARK, Profile, SANDBOX_LINK, SANDBOX_MAC, SANDBOX4,
    SANDBOX6,
};
pub use raw_socket::{Offload, RawSocket, offload_checksums};
pub use row::{Answered, Effect, Row, Told, row, towards};
pub use stage::{Attached, Stage};
pub use state::State;
