//! Adds up what the test programs print, line by line.

use std::fmt;

/// The sum over all test programs so far.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) ignored: u64,
    /// What tests said that did not run in full, as `TEST: REASON`.
    pub(crate) skipped: Vec<String>,
    /// A test program has said how many tests it runs, but not yet how that ended.
    running: bool,
    /// Inside the list of what passing tests printed.
    successes: bool,
    /// The test whose output is being listed.
    test: String,
}

impl Tally {
    /// Takes in one line of output, and tells whether a person wants to see it. What passing tests print is listed only
    /// so that it can be searched for skipped ones.
    pub(crate) fn line(&mut self, line: &str) -> bool {
        if let Some(reason) = line.strip_prefix("SKIPPED:") {
            let test = if self.successes { self.test.as_str() } else { "a test" };
            self.skipped.push(format!("{test}: {}", reason.trim()));
            return true;
        }
        if is_start(line) {
            self.unended();
            self.running = true;
        } else if let Some(result) = line.strip_prefix("test result: ") {
            self.passed += count(result, "passed");
            self.failed += count(result, "failed");
            self.ignored += count(result, "ignored");
            (self.running, self.successes) = (false, false);
        } else if line == "successes:" {
            self.successes = true;
        } else if line == "failures:" {
            self.successes = false;
        } else if let Some(test) = line.strip_prefix("---- ").and_then(|line| line.strip_suffix(" stdout ----")) {
            self.test = test.into();
        }
        !self.successes
    }

    /// The last line has been read. A failure that no test program reported, such as one that crashed, counts as one.
    pub(crate) fn end(&mut self, succeeded: bool) {
        self.unended();
        if !succeeded && self.failed == 0 {
            self.failed = 1;
        }
    }

    fn unended(&mut self) {
        if self.running {
            self.failed += 1;
            self.running = false;
        }
        self.successes = false;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

/// `running 12 tests`
fn is_start(line: &str) -> bool {
    let words: Vec<&str> = line.split(' ').collect();
    matches!(words[..], ["running", number, "test" | "tests"] if number.parse::<u64>().is_ok())
}

/// The number before a word in `ok. 5 passed; 0 failed; 1 ignored; …`.
fn count(result: &str, word: &str) -> u64 {
    let parts = result.split([';', '.']).map(str::trim);
    parts.filter_map(|part| part.strip_suffix(word)?.trim().parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(output: &str, succeeded: bool) -> (Tally, String) {
        let mut tally = Tally::default();
        let shown: Vec<&str> = output.lines().filter(|line| tally.line(line)).collect();
        tally.end(succeeded);
        (tally, shown.join("\n"))
    }

    const PASSING: &str = "
running 3 tests
test a ... ok
test b ... ok
test c ... ignored

successes:

---- a stdout ----
a word
---- b stdout ----
SKIPPED: no IPv6 here

successes:
    a
    b

test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 4 filtered out; finished in 1.20s
";

    #[test]
    fn sums_go_over_all_programs() {
        let (tally, _) = read(&PASSING.repeat(3), true);
        assert_eq!(tally.to_string(), "6 passed, 0 failed");
        assert_eq!(tally.ignored, 3);
    }

    #[test]
    fn what_passing_tests_print_is_hidden_but_for_skipped_ones() {
        let (tally, shown) = read(PASSING, true);
        assert_eq!(tally.skipped, ["b: no IPv6 here"]);
        assert!(shown.contains("test a ... ok") && shown.contains("SKIPPED: no IPv6 here"), "{shown}");
        assert!(!shown.contains("a word"), "{shown}");
    }

    #[test]
    fn what_failing_tests_print_is_shown() {
        let output = "running 2 tests\nsuccesses:\n\nsuccesses:\n    a\n\nfailures:\n\n---- b stdout ----\npanicked\n\n\
                      failures:\n    b\n\ntest result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured";
        let (tally, shown) = read(output, false);
        assert_eq!(tally.to_string(), "1 passed, 1 failed");
        assert!(shown.contains("panicked"), "{shown}");
    }

    #[test]
    fn a_program_that_crashes_is_a_failure() {
        let (tally, _) = read(&format!("running 2 tests\ntest a ... {PASSING}"), false);
        assert_eq!(tally.to_string(), "2 passed, 1 failed");
        let (tally, _) = read("", false);
        assert_eq!(tally.to_string(), "0 passed, 1 failed");
    }
}
