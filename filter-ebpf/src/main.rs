//! The kernel program. Each hook is one file that finds the sandbox, asks [`filter_core::decide`] and leaves by one exit.
#![no_std]
#![no_main]

mod emit;
mod frame;
mod from_sandbox;
mod maps;
mod tables;

/// Kernel helpers are for programs under a GPL-compatible licence.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
