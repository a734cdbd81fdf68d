//! One kill at a named point: the operation that leads there, the death, the life without a daemon, and the next daemon.

use crate::report::Row;
use crate::stage::{SOON, Stage, which};
use anyhow::{Context, Result, bail, ensure};
use filter_ctl::api::{Change, EndState, State};
use std::time::Duration;
use test_faults::slots;
use test_scenarios::{Unpin, detach_links};
use test_world::internet::WEB;
use test_world::wait_until;

/// What is being done when the daemon dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// `b` is applied for the first time.
    Attach,
    /// `a` gets its other policy.
    Update,
    /// The daemon starts, after a kill in idleness or in the middle of an update.
    Adopt,
    /// `b` is deleted: sealed.
    Delete,
    /// `b` is detached.
    Detach,
    /// The links of `b`, or its qdisc, were removed by somebody else.
    Mend,
    /// The device of `b` has vanished.
    Vanish,
    /// A packet of `a` is explained.
    Explain,
    /// `a` gets its other policy, and the next daemon finds that the machine was restarted.
    Restart,
    /// Whatever a client asks for, one thing after the other.
    Anything,
}

/// Every fail point, and what leads there.
pub(crate) const POINTS: &[(&str, Operation)] = &[
    ("attach.prepared", Operation::Attach),
    ("attach.protected", Operation::Attach),
    ("attach.named", Operation::Attach),
    ("attach.counters", Operation::Attach),
    ("attach.flows", Operation::Attach),
    ("attach.sandbox", Operation::Attach),
    ("attach.assigned", Operation::Attach),
    ("attach.to_sandbox.attached", Operation::Attach),
    ("attach.to_sandbox.pinned", Operation::Attach),
    ("attach.from_sandbox.attached", Operation::Attach),
    ("attach.from_sandbox.pinned", Operation::Attach),
    ("attach.committed", Operation::Attach),
    ("store.preparing", Operation::Update),
    ("store.prepared", Operation::Update),
    ("update.prepared", Operation::Update),
    ("update.named", Operation::Update),
    ("switch.built", Operation::Update),
    ("switch.placed", Operation::Update),
    ("update.switched", Operation::Update),
    ("store.committed", Operation::Update),
    ("update.committed", Operation::Update),
    ("adopt.opened", Operation::Adopt),
    ("adopt.settled", Operation::Adopt),
    ("adopt.to_sandbox.replaced", Operation::Adopt),
    ("adopt.from_sandbox.replaced", Operation::Adopt),
    ("adopt.linked", Operation::Adopt),
    ("adopt.between", Operation::Adopt),
    ("adopt.protected", Operation::Adopt),
    ("delete.prepared", Operation::Delete),
    ("delete.configured", Operation::Delete),
    ("delete.committed", Operation::Delete),
    ("detach.prepared", Operation::Detach),
    ("detach.to_sandbox.unpinned", Operation::Detach),
    ("detach.from_sandbox.unpinned", Operation::Detach),
    ("detach.released", Operation::Detach),
    ("detach.COUNTERS.cleared", Operation::Detach),
    ("detach.FLOWS.cleared", Operation::Detach),
    ("detach.SANDBOXES.cleared", Operation::Detach),
    ("detach.cleared", Operation::Detach),
    ("store.removing", Operation::Detach),
    ("store.removed", Operation::Detach),
    ("detach.forgotten", Operation::Detach),
    ("mend.assigned", Operation::Mend),
    ("attach.to_sandbox.attached", Operation::Mend),
    ("attach.to_sandbox.pinned", Operation::Mend),
    ("attach.from_sandbox.pinned", Operation::Mend),
    ("detach.released", Operation::Vanish),
    ("detach.SANDBOXES.cleared", Operation::Vanish),
    ("explain.assigned", Operation::Explain),
    ("store.preparing", Operation::Restart),
    ("store.prepared", Operation::Restart),
    ("switch.placed", Operation::Restart),
    ("store.committed", Operation::Restart),
];

/// Updates in the middle of which the daemon was killed before it is killed again while it takes over.
const BEFORE_ADOPTION: [Option<&str>; 4] =
    [None, Some("update.switched"), Some("update.prepared"), Some("switch.placed")];

impl Stage {
    /// Kills the daemon at a point and makes sure of everything. `round` varies what is around it.
    pub(crate) fn kill(&mut self, point: &'static str, operation: Operation, round: usize) -> Result<Row> {
        self.flow.longest_gap();
        let (sent, sent_b, passed) = (self.a_flood.sent(), self.b_flood.sent(), self.a_witness.arrived()?);
        let round = match operation {
            Operation::Attach => self.attach(point, round),
            Operation::Update => self.update(point),
            Operation::Adopt => self.adopt(point, round),
            Operation::Delete => self.delete(point),
            Operation::Detach => self.detach(point),
            Operation::Mend => self.mend(point),
            Operation::Vanish => self.vanish(point),
            Operation::Explain => self.explain(point),
            Operation::Restart => self.restart(point),
            Operation::Anything => bail!("nothing leads to one point"),
        };
        let Round { adopted, passed_b, strict_b } = round.with_context(|| format!("{operation:?} at {point}"))?;
        self.flow.goes_on()?;
        let passed = self.a_witness.arrived()? - passed + passed_b + self.strangers();
        ensure!(passed == 0, "{operation:?} at {point}: {passed} denied packets passed");
        let sent_b = if strict_b { self.b_flood.sent() - sent_b } else { 0 };
        let denied = self.a_flood.sent() - sent + sent_b;
        Ok(Row {
            point,
            operation,
            hits: 1,
            clsact: u64::from(self.hook == "clsact"),
            adopted: adopted.into(),
            denied,
            passed,
            gap: self.flow.longest_gap(),
        })
    }

    /// A device is down until its program is attached, in every second round. In the others it is up: what it sent before the
    /// policy was acknowledged was not judged, what it sends from then on is.
    fn attach(&mut self, point: &str, round: usize) -> Result<Round> {
        let down = round.is_multiple_of(2);
        self.switch_b(!down)?;
        let before = if down { self.b_witness.settled()? } else { 0 };
        self.arm(point)?;
        let document = self.daemon.file(&self.document_b())?;
        self.dies_of(point, &["apply", "-f", &document])?;
        self.enforcement_goes_on()?;
        let adopted = self.takes_over()?;
        let there = self.agrees()?.get("b").map(|status| status.state);
        ensure!(matches!(there, None | Some(State::Active)), "{there:?}");
        // Nobody but the death has kept its hooks away.
        let log = self.daemon.log();
        ensure!(!log.contains("ERROR"), "what was never there is told as an error: {log}");
        let applied = self.daemon.apply(&self.document_b())?.remove(0);
        let expected = if there.is_some() { Change::Unchanged } else { Change::Created };
        ensure!(applied.change == expected && applied.generation == 1, "{applied:?}");
        let before = if down { before } else { self.b_witness.settled()? };
        self.switch_b(true)?;
        self.reaches(&self.b, WEB)?;
        self.agrees()?;
        let passed_b = self.b_witness.arrived()? - before;
        self.daemon.detach("b")?;
        self.agrees()?;
        Ok(Round { adopted, passed_b, strict_b: down })
    }

    fn update(&mut self, point: &str) -> Result<Round> {
        let old = self.daemon.status("a")?;
        let next = 1 - which(&old);
        self.updates_in_vain(point, next)?;
        self.enforcement_goes_on()?;
        let adopted = self.takes_over()?;
        self.old_or_new(&old)?;
        let applied = self.daemon.apply(&self.policy(next))?.remove(0);
        ensure!(matches!(applied.change, Change::Updated | Change::Unchanged), "{applied:?}");
        ensure!(which(&self.agrees()?["a"]) == next);
        Ok(Round::of_a(adopted))
    }

    fn adopt(&mut self, point: &str, round: usize) -> Result<Round> {
        self.with_b()?;
        let before = self.b_witness.settled()?;
        let old = self.daemon.status("a")?;
        match BEFORE_ADOPTION[round % BEFORE_ADOPTION.len()] {
            None => self.daemon.kill9()?,
            Some(earlier) => self.updates_in_vain(earlier, 1 - which(&old))?,
        }
        self.arm(point)?;
        self.dies_at_start(point)?;
        self.enforcement_goes_on()?;
        let adopted = self.takes_over()?;
        self.old_or_new(&old)?;
        self.daemon.apply(&self.policy(1 - which(&old)))?;
        self.agrees()?;
        let passed_b = self.b_witness.arrived()? - before;
        Ok(Round { adopted, passed_b, strict_b: true })
    }

    fn delete(&mut self, point: &str) -> Result<Round> {
        self.with_b()?;
        let before = self.b_witness.settled()?;
        self.arm(point)?;
        self.dies_of(point, &["delete", "b"])?;
        self.enforcement_goes_on()?;
        let adopted = self.takes_over()?;
        match self.agrees()?["b"].state {
            State::Active => self.reaches(&self.b, WEB)?,
            State::Sealed => self.misses(&self.b, WEB)?,
            State::Detached => bail!("its device is there"),
        }
        let ended = self.daemon.delete("b")?;
        ensure!(ended == EndState::Sealed, "{ended:?}");
        self.misses(&self.b, WEB)?;
        self.agrees()?;
        let passed_b = self.b_witness.arrived()? - before;
        self.daemon.detach("b")?;
        self.agrees()?;
        Ok(Round { adopted, passed_b, strict_b: true })
    }

    /// Either the old policy is whole, or nothing of it is left.
    fn detach(&mut self, point: &str) -> Result<Round> {
        self.with_b()?;
        self.arm(point)?;
        self.dies_of(point, &["detach", "b"])?;
        self.enforcement_goes_on()?;
        let adopted = self.takes_over()?;
        let passed_b = match self.agrees()?.get("b").map(|status| status.state) {
            None => 0,
            Some(State::Active) => {
                let before = self.b_witness.settled()?;
                self.reaches(&self.b, WEB)?;
                let passed = self.b_witness.arrived()? - before;
                self.daemon.detach("b")?;
                passed
            }
            Some(state) => bail!("half detached: {state:?}"),
        };
        self.reaches(&self.b, WEB)?;
        self.agrees()?;
        Ok(Round { adopted, passed_b, strict_b: false })
    }

    /// The device is down meanwhile: one whose links or qdisc were removed is not filtered until they are restored.
    fn mend(&mut self, point: &str) -> Result<Round> {
        self.with_b()?;
        let before = self.b_witness.settled()?;
        self.switch_b(false)?;
        self.arm(point)?;
        if self.hook == "clsact" {
            self.world.host().run(&["tc", "qdisc", "del", "dev", &self.b.device, "clsact"])?.ok()?;
        } else {
            let links = slots::links(self.daemon.pin_dir(), self.slot("b")?)?;
            // A pin alone would be put back: the daemon holds the links.
            detach_links(self.world.host(), &links, Unpin::Yes)?;
        }
        self.has_died(point)?;
        self.enforcement_goes_on()?;
        let adopted = self.takes_over()?;
        ensure!(self.agrees()?["b"].state == State::Active);
        self.switch_b(true)?;
        self.reaches(&self.b, WEB)?;
        self.agrees()?;
        Ok(Round { adopted, passed_b: self.b_witness.arrived()? - before, strict_b: true })
    }

    fn vanish(&mut self, point: &str) -> Result<Round> {
        self.with_b()?;
        self.arm(point)?;
        self.world.host().ip(&format!("link del {}", self.b.device))?;
        self.has_died(point)?;
        self.enforcement_goes_on()?;
        let adopted = self.takes_over()?;
        let state = self.agrees()?["b"].state;
        ensure!(state == State::Detached, "{state:?}");
        let ended = self.daemon.delete("b")?;
        ensure!(ended == EndState::Gone, "{ended:?}");
        self.b.connect(self.world.host())?;
        self.agrees()?;
        Ok(Round { adopted, passed_b: 0, strict_b: false })
    }

    fn explain(&mut self, point: &str) -> Result<Round> {
        let old = self.daemon.status("a")?;
        self.arm(point)?;
        self.dies_of(point, &["explain", "a", "203.0.113.10"])?;
        self.enforcement_goes_on()?;
        let adopted = self.takes_over()?;
        let now = &self.agrees()?["a"];
        ensure!((now.generation, now.updated) == (old.generation, old.updated), "{now:?}");
        Ok(Round::of_a(adopted))
    }

    /// What was prepared may have been acknowledged, and nobody can be asked: it is true from then on. What was not is not.
    fn restart(&mut self, point: &str) -> Result<Round> {
        let old = self.daemon.status("a")?;
        self.updates_in_vain(point, 1 - which(&old))?;
        self.enforcement_goes_on()?;
        self.daemon.restarts_machine()?;
        let adopted = self.takes_over()?;
        let now = &self.agrees()?["a"];
        let added = u32::from(point != "store.preparing");
        ensure!(now.state == State::Active && now.generation == old.generation + added, "{old:?} became {now:?}");
        Ok(Round::of_a(adopted))
    }

    /// A command in whose middle the daemon dies, and which is not acknowledged therefore.
    fn dies_of(&mut self, point: &str, words: &[&str]) -> Result<()> {
        let answer = self.daemon.ctl(words)?;
        ensure!(answer.code() != Some(0), "the daemon died, yet `{}` was acknowledged", answer.command);
        self.has_died(point).with_context(|| answer.stderr)
    }

    /// An update of `a` in whose middle the daemon dies.
    fn updates_in_vain(&mut self, point: &str, next: usize) -> Result<()> {
        self.arm(point)?;
        let document = self.daemon.file(&self.policy(next))?;
        self.dies_of(point, &["apply", "-f", &document])
    }

    /// After an update that was not acknowledged, `a` has its old policy or the new one, whole.
    fn old_or_new(&self, old: &filter_ctl::api::SandboxStatus) -> Result<()> {
        let now = &self.agrees()?["a"];
        let same = which(now) == which(old);
        let expected = if same { old.generation } else { old.generation + 1 };
        ensure!(now.state == State::Active && now.generation == expected, "{old:?} became {now:?}");
        Ok(())
    }

    /// Attaches `b` unless it is.
    fn with_b(&self) -> Result<()> {
        self.daemon.apply(&self.document_b())?;
        let attached = wait_until(SOON, || self.daemon.status("b").is_ok_and(|status| status.state == State::Active));
        ensure!(attached, "b is not attached");
        self.reaches(&self.b, WEB)
    }
}

/// What came of one kill.
struct Round {
    adopted: bool,
    /// Packets of `b` that passed while they must not, and whether all that it sent was denied.
    passed_b: u64,
    strict_b: bool,
}

impl Round {
    fn of_a(adopted: bool) -> Round {
        Round { adopted, passed_b: 0, strict_b: false }
    }
}

/// A gap in the allowed flow that is longer means that it did not live through.
pub(crate) const LONGEST_GAP: Duration = Duration::from_secs(2);
