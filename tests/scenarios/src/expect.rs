//! What a sandbox gets through, seen from every side at once.

use crate::{Outcome, Probe, Stage};
use anyhow::Result;
use filter_core::Reason;
use std::thread;
use std::time::Duration;
use test_world::Sandbox;

impl Stage {
    /// Asks every probe from the sandbox and checks, for each: the client gets an answer exactly when the reason allows, and is
    /// refused at once when it denies the destination, never left to its time-out; `explain` says the same with this very reason; what is denied is not seen on the wire behind the filter; and the
    /// sandbox's counter of the reason rises.
    ///
    /// # Errors
    /// When a client or a command cannot run.
    ///
    /// # Panics
    /// When something is otherwise; tells all that is.
    #[track_caller]
    pub fn expect(&self, sandbox: &Sandbox, table: &[(Reason, &[Probe])]) -> Result<()> {
        let id = crate::stage::id(sandbox);
        let rows: Vec<(Reason, Probe)> =
            table.iter().flat_map(|(reason, probes)| probes.iter().map(|probe| (*reason, *probe))).collect();
        let before = self.daemon.status(id)?.counters.reasons;
        let mut wire = self.world.host().sniff("up0")?;
        let mut wrong: Vec<String> = thread::scope(|scope| {
            let asked: Vec<_> = rows.iter().map(|row| scope.spawn(|| self.ask(sandbox, id, row))).collect();
            let told = asked.into_iter().map(|thread| thread.join().expect("a probe does not panic"));
            told.collect::<Result<Vec<_>>>()
        })?
        .concat();
        for (_, probe) in rows.iter().filter(|(reason, _)| !reason.allows()) {
            let seen = wire.count(|frame| probe.is_in(frame))?;
            if seen > 0 {
                wrong.push(format!("{probe}: denied, but {seen} packets left the host"));
            }
        }
        let after = self.daemon.status(id)?.counters.reasons;
        for (reason, _) in table {
            if after.get(reason.name()) <= before.get(reason.name()) {
                wrong.push(format!("no packet was counted as {}: {after:?}", reason.name()));
            }
        }
        assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), self.daemon.log());
        Ok(())
    }

    /// What is otherwise than the row says.
    fn ask(&self, sandbox: &Sandbox, id: &str, (reason, probe): &(Reason, Probe)) -> Result<Vec<String>> {
        let mut wrong = Vec::new();
        let expected = outcome(*reason, probe);
        let patience = Duration::from_millis(if expected == Outcome::Silent { 400 } else { 5_000 });
        let got = probe.ask(sandbox, patience)?;
        if got != expected {
            wrong.push(format!("{probe}: {expected:?} expected for {}, not {got:?}", reason.name()));
        }
        let told = self.daemon.explain(id, &probe.to_string())?;
        if told.allowed != reason.allows() || told.reason != reason.number() {
            wrong.push(format!("{probe}: {} expected, but explain says {}", reason.name(), told.reason_name));
        }
        Ok(wrong)
    }
}

/// What a client sees of a verdict: denied destinations are answered, everything else that is denied is not.
fn outcome(reason: Reason, probe: &Probe) -> Outcome {
    match reason {
        _ if reason.allows() => Outcome::Through,
        Reason::AddressDenied
        | Reason::ProtectedRange
        | Reason::ProtectedHost
        | Reason::ProtectedLink
        | Reason::ProtectedSandbox
        | Reason::ProtectedEmbedded => probe.rejection(),
        _ => Outcome::Silent,
    }
}
