//! A stage whose daemon answers over TCP, clients that say exactly what they are told to, and the published SDKs.
#![forbid(unsafe_code)]

mod client;
mod open;
mod sdk;

pub use client::{Reply, Request};
pub use open::{EXAMPLE, INSIDE, Open, PORT, PROVIDER, Provided, at};
pub use sdk::{Driver, Sdk, Thrown, schemathesis};
