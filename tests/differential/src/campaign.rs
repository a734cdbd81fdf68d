//! Many packets, in batches whose counters are read once.

use crate::grammar::{self, Way};
use crate::judges::{self, Case, kernel_takes};
use crate::mutation::Mutation;
use crate::profile::profiles;
use crate::random::Random;
use crate::shrink::shrink;
use crate::stage::Stage;
use anyhow::{Result, bail, ensure};
use filter_core::Reason;
use filter_core::abi::{self, Counter};
use filter_dataplane::Counters;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Packets between two readings of a sandbox's counters.
const BATCH: usize = 250;

/// A run of the three judges.
pub struct Campaign {
    stage: Stage,
    random: Random,
    /// A disagreement of each kind, and how many there were.
    told: BTreeMap<Kind, (String, usize)>,
}

/// Direction, userspace's answer, the model's answer, whether the kernel said as userspace does.
type Kind = (bool, u8, u8, bool);

/// What a campaign met: packets by direction and reason.
#[derive(Debug, Default)]
pub struct Summary {
    reasons: BTreeMap<(bool, Reason), usize>,
}

struct Made {
    case: Case,
    whole: Vec<u8>,
    mutations: Vec<Mutation>,
}

impl Campaign {
    /// Attaches every profile. The seed determines the packets.
    ///
    /// # Errors
    /// Without root, or what the kernel refused.
    pub fn new(seed: u64) -> Result<Campaign> {
        Ok(Campaign { stage: Stage::new(&profiles())?, random: Random::new(seed), told: BTreeMap::new() })
    }

    /// Judges so many packets.
    ///
    /// # Errors
    /// All kinds of disagreement, each with the smallest packet found.
    pub fn run(&mut self, packets: usize) -> Result<Summary> {
        let mut summary = Summary::default();
        let mut left = packets;
        for turn in 0.. {
            if left == 0 {
                break;
            }
            let count = left.min(BATCH);
            left -= count;
            let profile = turn / 2 % self.stage.attached.len();
            let way = if turn % 2 == 0 { Way::FromSandbox } else { Way::ToSandbox };
            let batch: Vec<Made> = (0..count).map(|_| make(&mut self.random, profile, way)).collect();
            self.judge(profile, way, &batch, &mut summary)?;
        }
        let told = self.told.values().map(|(text, count)| format!("\n{count} × {text}")).collect::<String>();
        ensure!(told.is_empty(), "{} kinds of disagreement{told}", self.told.len());
        Ok(summary)
    }

    fn judge(&mut self, profile: usize, way: Way, batch: &[Made], summary: &mut Summary) -> Result<()> {
        let before = self.stage.counters(profile, way)?;
        let mut expected = before.rows().to_vec();
        let mut disagreed = false;
        for made in batch {
            let reason = judges::core(&self.stage, &made.case);
            *summary.reasons.entry((way == Way::FromSandbox, reason)).or_default() += 1;
            let model = judges::model(&self.stage, &made.case);
            let asked = kernel_takes(&made.case.frame);
            let kernel = !asked || self.kernel(&made.case)? == reason.allows();
            if !kernel || !judges::agree(way, reason, model) {
                let kind = (way == Way::FromSandbox, reason.number(), model.reason, kernel);
                match self.told.get_mut(&kind) {
                    Some((_, count)) => *count += 1,
                    None => {
                        let text = self.report(made)?;
                        self.told.insert(kind, (text, 1));
                    }
                }
                disagreed = true;
            }
            if !asked {
                continue;
            }
            expected[row(way, reason)] += 1;
        }
        let after = self.stage.counters(profile, way)?;
        if !disagreed && !same(&after, &expected) {
            // One of them was counted by another reason: which?
            for made in batch.iter().filter(|made| kernel_takes(&made.case.frame)) {
                if self.counted(&made.case)? != Some(row(way, judges::core(&self.stage, &made.case))) {
                    bail!("{}", self.report(made)?);
                }
            }
            bail!("the counters of a batch do not add up, those of its packets do: {after:?}, not {expected:?}");
        }
        if way == Way::ToSandbox {
            self.stage.refresh(profile, batch.len() as u32)?;
        }
        Ok(())
    }

    fn kernel(&mut self, case: &Case) -> Result<bool> {
        self.stage.run(case.profile, case.way, case.mark, &case.frame)
    }

    /// The one row by reason that a packet moves.
    fn counted(&mut self, case: &Case) -> Result<Option<usize>> {
        let before = self.stage.counters(case.profile, case.way)?;
        self.kernel(case)?;
        let after = self.stage.counters(case.profile, case.way)?;
        let moved: Vec<usize> = rows().filter(|row| before.rows()[*row] != after.rows()[*row]).collect();
        Ok(if let [row] = moved[..] { Some(row) } else { None })
    }

    /// The kind of disagreement about a packet, if there is one.
    fn kind(&mut self, case: &Case) -> Result<Option<Kind>> {
        let core = judges::core(&self.stage, case);
        let model = judges::model(&self.stage, case);
        let kernel = !kernel_takes(&case.frame)
            || (self.kernel(case)? == core.allows() && self.counted(case)? == Some(row(case.way, core)));
        let agreed = kernel && judges::agree(case.way, core, model);
        Ok((!agreed).then_some((case.way == Way::FromSandbox, core.number(), model.reason, kernel)))
    }

    /// The smallest packet that is found to have the disagreement, and what the three say of it.
    fn report(&mut self, made: &Made) -> Result<String> {
        let kind = self.kind(&made.case)?;
        let mut mutations = made.mutations.clone();
        let mut at = 0;
        while at < mutations.len() {
            let dropped = mutations.remove(at);
            let case = Case { frame: mutated(&made.whole, &mutations), ..made.case.clone() };
            if self.kind(&case)? != kind {
                mutations.insert(at, dropped);
                at += 1;
            }
        }
        let frame = mutated(&made.whole, &mutations);
        let frame =
            shrink(&frame, |frame| Ok(self.kind(&Case { frame: frame.to_vec(), ..made.case.clone() })? == kind))?;
        let case = Case { frame, ..made.case.clone() };
        let core = judges::core(&self.stage, &case);
        let model = judges::model(&self.stage, &case);
        let kernel = if !kernel_takes(&case.frame) {
            "cannot be asked".to_owned()
        } else {
            let passes = self.kernel(&case)?;
            let reason = self.counted(&case)?.and_then(|row| Reason::from_number(row as u8));
            format!("passes: {passes}, {}", reason.map_or("inbound or nothing", Reason::name))
        };
        let name = |number| Reason::from_number(number).map_or("?", Reason::name);
        Ok(format!(
            "{} {:?} mark {:#x}\n  kernel:    {kernel}\n  userspace: {}\n  model:     {}\n  mutations: {mutations:?}\n  frame:     {}",
            self.stage.attached[case.profile].profile.name,
            case.way,
            case.mark,
            core.name(),
            name(model.reason),
            hex(&case.frame),
        ))
    }
}

impl Summary {
    /// How many packets passed, and how many did not.
    #[must_use]
    pub fn verdicts(&self) -> (usize, usize) {
        let sum =
            |allows| self.reasons.iter().filter(|((_, reason), _)| reason.allows() == allows).map(|(_, n)| n).sum();
        (sum(true), sum(false))
    }

    /// How many packets from the sandbox had this reason, and how many towards it.
    #[must_use]
    pub fn of(&self, reason: Reason) -> (usize, usize) {
        let count = |from| self.reasons.get(&(from, reason)).copied().unwrap_or(0);
        (count(true), count(false))
    }

    /// A line for every reason that was met.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = format!("{:24} {:>9} {:>9}\n", "reason", "from", "to");
        for reason in Reason::ALL {
            let (from, to) = self.of(*reason);
            if from + to > 0 {
                writeln!(table, "{:24} {from:9} {to:9}", reason.name()).expect("a string takes all");
            }
        }
        table
    }
}

fn make(random: &mut Random, profile: usize, way: Way) -> Made {
    let whole = grammar::frame(random, way);
    let count = random.pick(&[0, 0, 0, 0, 1, 1, 2, 3]);
    let mutations: Vec<Mutation> = (0..count).map(|_| Mutation::random(random, whole.len())).collect();
    let mark = if way == Way::ToSandbox { random.pick(&[0, 0, 0, 0, 0, 0x50, 0x1_0053, 0x40, 0xff]) } else { 0 };
    let frame = mutated(&whole, &mutations);
    Made { case: Case { profile, way, mark, frame }, whole, mutations }
}

fn mutated(whole: &[u8], mutations: &[Mutation]) -> Vec<u8> {
    let mut frame = whole.to_vec();
    for mutation in mutations {
        mutation.apply(&mut frame);
    }
    frame
}

/// The row that counts a packet: what passes towards the sandbox is counted together.
fn row(way: Way, reason: Reason) -> usize {
    match way {
        Way::ToSandbox if reason.allows() => Counter::InboundAllowed as usize,
        _ => usize::from(reason.number()),
    }
}

/// The rows that count packets.
fn rows() -> impl Iterator<Item = usize> {
    (1..abi::REASONS as usize).chain([Counter::InboundAllowed as usize])
}

fn same(after: &Counters, expected: &[u64]) -> bool {
    rows().all(|row| after.rows()[row] == expected[row])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes all");
        text
    })
}
