//! What must hold for any bytes. Each function panics where it does not.
//!
//! `cargo xtask fuzz` runs them under libFuzzer (`libfuzzer/`, a package of its own). What that found worth keeping is in `corpus/`, a
//! folder for each, and every run of the tests tries it again.
#![forbid(unsafe_code)]

mod documents;
mod hand_over;
mod names;

pub use documents::documents;
pub use hand_over::hand_over;
pub use names::names;

/// A function, and what it is called in `libfuzzer/` and in `corpus/`.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 3] = [("documents", documents), ("hand_over", hand_over), ("names", names)];
