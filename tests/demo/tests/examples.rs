//! Every example is a document that `filter-ctl check` accepts, or a folder, and says what it is for.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The documents, and the folders.
fn examples() -> (Vec<PathBuf>, Vec<PathBuf>) {
    let entries = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().partition(|path| path.is_file())
}

#[test]
fn every_example_passes_the_check() {
    let filter_ctl = Path::new(env!("CARGO_BIN_EXE_filter-demo")).with_file_name("filter-ctl");
    assert!(filter_ctl.exists(), "no {}: build it with `cargo build -p filter-ctl`", filter_ctl.display());
    let (documents, _) = examples();
    assert!(!documents.is_empty());
    for file in documents {
        let output = Command::new(&filter_ctl).arg("check").arg("-f").arg(&file).output().unwrap();
        assert!(output.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn every_example_says_what_it_is_for() {
    let (documents, folders) = examples();
    for folder in folders {
        assert!(folder.join("README.md").is_file(), "{} has no README.md", folder.display());
    }
    for file in documents {
        assert_eq!(file.extension().unwrap(), "yaml", "{}", file.display());
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("# "), "{} has no comment at its head", file.display());
        assert!(text.lines().all(|line| line.chars().count() <= 125), "{} has a long line", file.display());
    }
}
