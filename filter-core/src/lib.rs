//! The decision, shared by the kernel program, the daemon, `explain` and the tests.
//!
//! Bytes become a [`packet::Flow`], a flow and a sandbox's tables become a [`Verdict`], and every verdict carries a
//! numbered [`Reason`]. Nothing here does I/O, allocates or knows which side of the system call it runs on: the kernel program
//! supplies its maps through [`Tables`] and its socket buffer through [`packet::Source`], a test supplies slices and lists.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod abi;
pub mod address;
pub mod decide;
pub mod packet;
pub mod protected;
mod reason;
pub mod table;

pub use address::Address;
pub use decide::flow::{FlowChange, inbound_key, outbound_key};
pub use decide::inbound::decide_inbound;
pub use decide::remote::Remote;
pub use decide::socket::{decide_destination, decide_received, decide_sent};
pub use decide::steps::Steps;
pub use decide::{Far, Tables, Verdict, decide, is_honest};
pub use reason::Reason;
