//! The bypass suite: attackers inside a sandbox who try to reach what its policy denies, and a witness outside who tells whether they did.
//!
//! A [`Case`] is one attack, in a file of its own below `cases`. It is tried by a process inside three sandboxes of one [`Arena`] that differ in
//! what holds them ([`Filter`]): nothing, the filter, and for comparison a rule set of nftables with the same lists. What counts is neither what the
//! attacker sees nor what the filter says, but what comes by on the wire to the internet and to its servers. A case that the witness does
//! not see where nothing holds the attacker shows nothing, and is a failure.

mod arena;
mod attack;
mod budgets;
mod case;
pub mod cases;
mod frames;
mod nftables;
mod relay;
mod report;
mod server;
mod subject;
mod target;
mod witness;

pub use arena::Arena;
pub use attack::main as attack;
pub use budgets::budgets;
pub use case::{Case, Class, End, Family, Policy, Rights};
pub use report::{Budget, Outcome, ROW, Row};
pub use subject::{Filter, Mode};
pub use target::Target;
