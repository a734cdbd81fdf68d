//! Everything that fuzzing found worth keeping is tried again.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use test_fuzz::TARGETS;

/// Most that the inputs of all targets may take.
const MOST_BYTES: u64 = 1 << 20;

fn folder(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(of)
}

fn entries(of: &str) -> BTreeSet<PathBuf> {
    fs::read_dir(folder(of))
        .unwrap_or_else(|error| panic!("{of}: {error}"))
        .map(|entry| entry.unwrap().path())
        .collect()
}

fn stems(of: &str) -> BTreeSet<String> {
    entries(of).iter().map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect()
}

#[test]
fn what_was_found_holds() {
    for (name, target) in TARGETS {
        let inputs = entries(&format!("corpus/{name}"));
        assert!(inputs.len() >= 10, "{name} has {} inputs", inputs.len());
        for input in inputs {
            eprintln!("{}", input.display());
            target(&fs::read(input).unwrap());
        }
    }
}

#[test]
fn every_target_has_a_program_and_a_corpus() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(stems("libfuzzer/targets"), targets);
    assert_eq!(stems("corpus"), targets);
}

#[test]
fn the_corpus_is_small() {
    let size = |(name, _): &(&str, _)| -> u64 {
        entries(&format!("corpus/{name}")).iter().map(|path| path.metadata().unwrap().len()).sum()
    };
    let total: u64 = TARGETS.iter().map(size).sum();
    assert!(total < MOST_BYTES, "{total} bytes");
}
