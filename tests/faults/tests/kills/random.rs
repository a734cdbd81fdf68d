//! Kills at any moment, while a client asks for one thing after the other.

use crate::kill::Operation;
use crate::report::Row;
use crate::stage::{Stage, which};
use anyhow::{Context, Result, bail, ensure};
use filter_ctl::api::State;
use nix::sys::signal::Signal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Random numbers that a seed determines (SplitMix64).
pub(crate) struct Random(pub u64);

impl Random {
    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// How the sandboxes are: the policy of `a`, and the state of `b`, if it is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    a: usize,
    b: Option<State>,
}

/// Longest life of a daemon under the client.
const LIFE_MS: u64 = 300;

impl Stage {
    /// Lets a client work for a random time, kills the daemon, and makes sure that what was acknowledged holds, and that what was
    /// asked for last was either done or not.
    pub(crate) fn kill_at_random(&mut self, random: &mut Random) -> Result<Row> {
        self.flow.longest_gap();
        let (sent, passed) = (self.a_flood.sent(), self.a_witness.arrived()?);
        let before = self.held()?;
        let killed = AtomicBool::new(false);
        let (life, mut choice) = (Duration::from_millis(random.below(LIFE_MS)), Random(random.below(u64::MAX)));
        let ended = thread::scope(|scope| {
            let client = scope.spawn(|| self.client(before, &mut choice, &killed));
            thread::sleep(life);
            killed.store(true, Ordering::SeqCst);
            self.daemon.signal(Signal::SIGKILL)?;
            client.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        let (acknowledged, asked) = ended?;
        self.daemon.dies()?;
        self.enforcement_goes_on()?;
        let adopted = self.takes_over()?;
        let now = self.held()?;
        ensure!(
            now == acknowledged || now == asked,
            "{acknowledged:?} was, {asked:?} was asked for, {now:?} came of it"
        );
        self.flow.goes_on()?;
        let passed = self.a_witness.arrived()? - passed + self.strangers();
        ensure!(passed == 0, "{passed} denied packets passed");
        Ok(Row {
            point: "(at random)",
            operation: Operation::Anything,
            hits: 1,
            clsact: u64::from(self.hook == "clsact"),
            adopted: adopted.into(),
            denied: self.a_flood.sent() - sent,
            passed,
            gap: self.flow.longest_gap(),
        })
    }

    fn held(&self) -> Result<Held> {
        let there = self.agrees()?;
        let a = there.get("a").context("a is not held")?;
        Ok(Held { a: which(a), b: there.get("b").map(|status| status.state) })
    }

    /// Works until the daemon is gone; tells what was acknowledged, and what was asked for when it died.
    fn client(&self, mut held: Held, random: &mut Random, killed: &AtomicBool) -> Result<(Held, Held)> {
        let documents = [self.policy(0), self.policy(1), self.document_b()].map(|text| self.daemon.file(&text));
        let [first, second, other] = documents;
        let (policies, other) = ([first?, second?], other?);
        loop {
            let choice = random.below(4);
            let (words, next) = match (choice, held.b) {
                (0 | 1, _) => (["apply", "-f", &policies[1 - held.a]].to_vec(), Held { a: 1 - held.a, ..held }),
                (_, None) => (["apply", "-f", &other].to_vec(), Held { b: Some(State::Active), ..held }),
                (2, Some(State::Active)) => (["delete", "b"].to_vec(), Held { b: Some(State::Sealed), ..held }),
                (_, Some(_)) => (["detach", "b"].to_vec(), Held { b: None, ..held }),
            };
            let output = self.daemon.ctl(&words)?;
            if output.code() == Some(0) {
                held = next;
            } else if killed.load(Ordering::SeqCst) {
                return Ok((held, next));
            } else {
                bail!("`{}` was refused: {}", output.command, output.stderr);
            }
        }
    }
}
