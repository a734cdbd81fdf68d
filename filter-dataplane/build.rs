//! Puts the kernel program, which `cargo xtask build` has linked, where the crate can include it.

use std::path::PathBuf;
use std::{env, fs};

/// Name another object than the one that the workspace's build made.
const OVERRIDE: &str = "SANDBOX_FILTER_BPF_OBJECT";
const RECORD_OVERRIDE: &str = "SANDBOX_FILTER_BPF_RECORD_OBJECT";

fn main() {
    embed("filter.o", OVERRIDE);
    if env::var_os("CARGO_FEATURE_RECORD").is_some() {
        embed("filter-record.o", RECORD_OVERRIDE);
    }
}

fn embed(name: &str, variable: &str) {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("..");
    let object = env::var_os(variable).map_or_else(|| root.join("target/bpf").join(name), PathBuf::from);
    println!("cargo::rerun-if-env-changed={variable}");
    println!("cargo::rerun-if-changed={}", object.display());
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join(name);
    if let Err(error) = fs::copy(&object, &out) {
        println!("cargo::error=the kernel program {} cannot be read: {error}", object.display());
        println!("cargo::error=build it first: cargo xtask build");
    }
}
