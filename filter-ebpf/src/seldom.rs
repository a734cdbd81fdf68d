//! What plain packets seldom need, as functions of their own: what nearly all packets run lies close together then.
//!
//! As the [steps](crate::steps) of the walk, each is verified apart from its callers.

use crate::flows::on_stack;
use crate::maps::FLOWS;
use filter_core::Address;
use filter_core::abi::{FlowKey, SandboxConfig};
use filter_core::decide::plain;

/// Not 0 when a connection that came in may be under way by a key.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn is_followed(key: *const FlowKey, slot: u32) -> u32 {
    // SAFETY: the verifier makes sure that the pointer is null or leads to a whole value.
    let key = unsafe { key.as_ref() };
    let flows = FLOWS.get(slot);
    u32::from(flows.is_some_and(|flows| key.is_none_or(|key| flows.get_ptr(&on_stack(key)).is_some())))
}

/// Not 0 when the sandbox may speak as an address.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn owns(sandbox: *const SandboxConfig, high: u64, low: u64) -> u32 {
    // SAFETY: as in `is_followed`.
    let sandbox = unsafe { sandbox.as_ref() };
    u32::from(sandbox.is_some_and(|sandbox| plain::owns(sandbox, &Address::from_words(high, low))))
}

/// Not 0 when an address is the sandbox's.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn is_sandboxs(sandbox: *const SandboxConfig, high: u64, low: u64) -> u32 {
    // SAFETY: as in `is_followed`.
    let sandbox = unsafe { sandbox.as_ref() };
    u32::from(sandbox.is_some_and(|sandbox| plain::is_sandboxs(sandbox, &Address::from_words(high, low))))
}

/// Not 0 when an address may open connections to the sandbox.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn may_open(sandbox: *const SandboxConfig, high: u64, low: u64) -> u32 {
    // SAFETY: as in `is_followed`.
    let sandbox = unsafe { sandbox.as_ref() };
    u32::from(sandbox.is_none_or(|sandbox| plain::may_open(sandbox, &Address::from_words(high, low))))
}
