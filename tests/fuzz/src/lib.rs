//! What must hold for any bytes. Each function panics where it does not.
//!
//! `cargo xtask fuzz` runs them under libFuzzer (`libfuzzer/`, a package of its own). What that found worth keeping is in `corpus/`, a
//! folder for each, and every run of the tests tries it again.
#![forbid(unsafe_code)]

mod documents;
mod hand_over;
mod hello;
mod names;
mod requests;

pub use documents::documents;
pub use hand_over::hand_over;
pub use hello::hello;
pub use names::names;
pub use requests::requests;

/// A function, and what it is called in `libfuzzer/` and in `corpus/`.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 5] =
    [("documents", documents), ("hand_over", hand_over), ("hello", hello), ("names", names), ("requests", requests)];
