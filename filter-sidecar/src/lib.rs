//! Carries connections that a policy judges by name.
//!
//! The kernel program assigns such a connection to its sandbox's own listener: who it is from is known by where it arrives. The first
//! bytes tell the name (`tls`, `http`); what the policy allows is dialled by that name (`dial`), whatever address the
//! sandbox chose. The process has no rights and opens no file ([`lock_in`]): listeners and policies come from the daemon ([`control`]).
#![forbid(unsafe_code)]

mod carried;
mod connection;
pub mod control;
mod denials;
mod dial;
mod farewell;
pub mod hello;
mod http;
pub mod limits;
mod lock;
mod opaque;
mod places;
mod policy;
pub mod protocol;
mod refusal;
mod resolve;
mod sandbox;
mod sources;
mod stream;
mod tls;
mod warm;
mod worker;

pub use control::run;
pub use http::pure as requests;
pub use limits::Limits;
pub use lock::lock_in;
