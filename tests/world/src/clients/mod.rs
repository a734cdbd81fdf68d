//! Real clients. Each makes one bounded attempt and tells what a user would see.

pub(crate) mod curl;
pub(crate) mod dig;
pub(crate) mod hello;
pub(crate) mod ping;
pub(crate) mod udp;
