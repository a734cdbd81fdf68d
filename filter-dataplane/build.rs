//! Puts the kernel program, which `cargo xtask build` has linked, where the crate can include it.

use std::path::PathBuf;
use std::{env, fs};

/// Names another object than the one that the workspace's build made.
const OVERRIDE: &str = "SANDBOX_FILTER_BPF_OBJECT";

fn main() {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("..");
    let object = env::var_os(OVERRIDE).map_or_else(|| root.join("target/bpf/filter.o"), PathBuf::from);
    println!("cargo::rerun-if-env-changed={OVERRIDE}");
    println!("cargo::rerun-if-changed={}", object.display());
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("filter.o");
    if let Err(error) = fs::copy(&object, &out) {
        println!("cargo::error=the kernel program {} cannot be read: {error}", object.display());
        println!("cargo::error=build it first: cargo xtask build");
    }
}
