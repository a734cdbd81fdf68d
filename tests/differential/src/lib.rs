//! Random and mutated packets before three judges: the kernel program under `BPF_PROG_TEST_RUN`, `filter_core` in userspace, and
//! [`test_model`], which shares no code with either. All agree on what passes, and on why wherever the filter tells why.
//!
//! A [`Campaign`] makes packets from a seed, attaches the [`profiles`] once, and tells the first disagreement as
//! small as it could make it. Root is needed.
#![forbid(unsafe_code)]

mod addresses;
mod campaign;
mod grammar;
mod judges;
mod mutation;
mod profile;
mod random;
mod shrink;
mod stage;

pub use campaign::{Campaign, Summary};
pub use profile::{Profile, profiles};
