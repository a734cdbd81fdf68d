//! The API over TCP, with real traffic. One program, so that all tests run beside each other.
#![forbid(unsafe_code)]

mod bad_input;
mod idempotent;
mod keys;
mod listening;
mod openapi;
mod provided;
mod sdk;
mod tampered;
mod updates;
mod validation;
