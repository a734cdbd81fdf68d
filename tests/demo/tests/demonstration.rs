//! The demonstration as it is run: to its end, interrupted, and failing. It never leaves anything behind.

use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use test_world::{poll, wait_until};

/// Longer than a whole demonstration takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

/// A running demonstration whose output goes to a file.
struct Demo {
    child: Child,
    output: PathBuf,
}

impl Demo {
    fn start(name: &str, examples: &Path) -> Self {
        let program = Path::new(env!("CARGO_BIN_EXE_filter-demo"));
        let filter_ctl = program.with_file_name("filter-ctl");
        assert!(filter_ctl.exists(), "no {}: build it with `cargo build -p filter-ctl`", filter_ctl.display());
        let output = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("demo-{name}"));
        let file = File::create(&output).unwrap();
        let mut command = Command::new(program);
        command.arg("--filter-ctl").arg(filter_ctl).arg("--examples").arg(examples);
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        Self { child: command.spawn().unwrap(), output }
    }

    fn output(&self) -> String {
        let mut text = String::new();
        File::open(&self.output).unwrap().read_to_string(&mut text).unwrap();
        text
    }

    fn end(&mut self) -> ExitStatus {
        poll(LIMIT, || self.child.try_wait().unwrap()).unwrap_or_else(|| panic!("it hangs: {}", self.output()))
    }

    /// Namespaces, pins and files whose names have this process's id.
    fn leftovers(&self) -> Vec<PathBuf> {
        let tag = format!("sf-test-{}-", self.child.id());
        let places = [Path::new("/run/netns"), Path::new("/sys/fs/bpf"), &std::env::temp_dir()].map(fs::read_dir);
        let entries = places.into_iter().flatten().flatten().flatten();
        entries
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(&tag))
            .map(|entry| entry.path())
            .collect()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

#[test]
fn every_expectation_holds() {
    let mut demo = Demo::start("whole", &examples());
    let status = demo.end();
    let output = demo.output();
    assert!(status.success(), "{status}: {output}");
    assert!(output.lines().next_back().unwrap().starts_with("  ✔ All "), "{output}");
    assert!(!output.contains('\x1b') && !output.contains('\r'), "{output}");
    assert!(demo.leftovers().is_empty(), "{:?}", demo.leftovers());
}

#[test]
fn an_interrupt_leaves_nothing() {
    let mut demo = Demo::start("interrupted", &examples());
    let began = wait_until(LIMIT, || demo.output().contains("$ filter-ctl apply"));
    assert!(began, "{}", demo.output());
    kill(Pid::from_raw(demo.child.id().cast_signed()), Signal::SIGINT).unwrap();
    let status = demo.end();
    let output = demo.output();
    assert_eq!(status.code(), Some(1), "{output}");
    assert!(output.contains("✔ Nothing is left") && output.contains("error: interrupted"), "{output}");
    assert!(demo.leftovers().is_empty(), "{:?}", demo.leftovers());
}

#[test]
fn an_error_leaves_nothing() {
    let mut demo = Demo::start("failing", Path::new("/nonexistent"));
    let status = demo.end();
    let output = demo.output();
    assert_eq!(status.code(), Some(1), "{output}");
    assert!(output.contains("✔ Nothing is left") && output.contains("cannot read /nonexistent/"), "{output}");
    assert!(demo.leftovers().is_empty(), "{:?}", demo.leftovers());
}
