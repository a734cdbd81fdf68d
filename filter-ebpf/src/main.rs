//! The kernel program. Each hook is one file that finds the sandbox, asks [`filter_core::decide`] and leaves by one exit; the steps of
//! the decision are functions of their own ([`steps`]).
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod atomic;
mod attachment;
mod cgroup;
mod checksum;
mod connections;
mod dial;
mod emit;
mod flows;
mod frame;
mod from_bridge;
mod from_sandbox;
mod hand_over;
mod judged;
mod maps;
mod neighbour;
mod own_socket;
mod plain;
#[cfg(feature = "record")]
mod record;
mod reject;
mod seldom;
#[cfg(feature = "slow")]
mod slow;
mod steps;
mod tables;
mod time_wait;
mod to_sandbox;
mod tuple;

use aya_ebpf::bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC};

/// Lets the packet go on: `TCX_NEXT`, and `TC_ACT_UNSPEC` where there is no TCX.
pub const NEXT: i32 = TC_ACT_UNSPEC;
/// Ends the packet.
pub const DROP: i32 = TC_ACT_SHOT;

/// Kernel helpers are for programs under a GPL-compatible licence.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
