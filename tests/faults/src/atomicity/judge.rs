//! Checks every record: its verdict against the model, its generation against time and against its CPU's earlier ones.

use super::expected::Expected;
use super::policy::STREAMS;
use super::sender::Sent;
use super::swaps::Swaps;
use filter_core::abi::Record;
use filter_core::{Address, Reason};
use std::collections::BTreeMap;

/// Faults that are told one by one.
const TOLD: usize = 20;

/// What was seen so far.
pub(crate) struct Judge {
    expected: Expected,
    first_port: u16,
    /// Datagrams judged, by lane and stream.
    lanes: Vec<Sent>,
    /// Packets that are no datagrams of a lane, by reason.
    others: BTreeMap<u8, u64>,
    cpus: BTreeMap<u32, Cpu>,
    generations: BTreeMap<u32, Span>,
    wrong: Wrong,
}

#[derive(Default)]
struct Cpu {
    sequence: u64,
    generation: u32,
}

/// When a generation judged, nanoseconds of the monotonic clock.
struct Span {
    first: u64,
    last: u64,
    last_denial: u64,
}

#[derive(Default)]
struct Wrong {
    told: Vec<String>,
    more: u64,
}

impl Judge {
    pub(crate) fn new(expected: Expected, first_port: u16, lanes: usize) -> Judge {
        Judge {
            expected,
            first_port,
            lanes: vec![Sent::default(); lanes],
            others: BTreeMap::new(),
            cpus: BTreeMap::new(),
            generations: BTreeMap::new(),
            wrong: Wrong::default(),
        }
    }

    /// Datagrams of all lanes that were judged.
    pub(crate) fn judged(&self) -> u64 {
        self.lanes.iter().flatten().sum()
    }

    /// Records of all kinds.
    pub(crate) fn records(&self) -> u64 {
        self.judged() + self.others.values().sum::<u64>()
    }

    /// CPUs that have judged.
    pub(crate) fn cpus(&self) -> usize {
        self.cpus.len()
    }

    pub(crate) fn take(&mut self, record: &Record) {
        let Record { ktime, sequence, cpu: number, generation, reason, .. } = *record;
        let cpu = self.cpus.entry(number).or_default();
        if sequence != cpu.sequence {
            self.wrong.tell(|| format!("CPU {number}: record {sequence} came where {} was due", cpu.sequence));
        }
        cpu.sequence = sequence + 1;
        let lane = record.source_port.wrapping_sub(self.first_port);
        let stream = STREAMS.iter().position(|stream| Address::from(stream.destination) == record.destination);
        let of_lane = record.from_sandbox == 1 && record.destination_port == record.source_port;
        let (Some(lane), Some(stream), true) = (self.lanes.get_mut(usize::from(lane)), stream, of_lane) else {
            *self.others.entry(reason).or_default() += 1;
            return;
        };
        lane[stream] += 1;
        let told = |what: &str| {
            let (name, to) = (Reason::from_number(reason).map_or("?", Reason::name), STREAMS[stream].destination);
            format!("CPU {number}, packet {sequence} to {to}: {name} by generation {generation}: {what}")
        };
        if generation == 0 {
            self.wrong.tell(|| told("a verdict without a generation"));
            return;
        }
        if generation < cpu.generation {
            self.wrong.tell(|| told(&format!("this CPU had judged by generation {} already", cpu.generation)));
        }
        cpu.generation = cpu.generation.max(generation);
        let model = self.expected.answer(generation, stream);
        if model.reason != reason {
            let says = Reason::from_number(model.reason).map_or("?", Reason::name);
            self.wrong.tell(|| told(&format!("the model says {says}")));
        }
        let span = self.generations.entry(generation).or_insert(Span { first: ktime, last: ktime, last_denial: 0 });
        span.first = span.first.min(ktime);
        span.last = span.last.max(ktime);
        if !model.allowed {
            span.last_denial = span.last_denial.max(ktime);
        }
    }

    /// All that is wrong, now that it is known what was sent, when policies changed, and what each CPU has judged and lost.
    pub(crate) fn verdict(mut self, swaps: &Swaps, sent: &[Sent], totals: &[(u64, u64)]) -> Vec<String> {
        let wrong = &mut self.wrong;
        for (lane, (judged, sent)) in self.lanes.iter().zip(sent).enumerate() {
            if judged != sent {
                wrong.tell(|| format!("lane {lane}: sent {sent:?}, but recorded {judged:?}"));
            }
        }
        for (number, (judged, lost)) in totals.iter().enumerate() {
            let read = self.cpus.get(&(number as u32)).map_or(0, |cpu| cpu.sequence);
            if *lost > 0 || read != *judged {
                wrong.tell(|| format!("CPU {number}: {judged} judged, {read} read, {lost} lost in the ring"));
            }
        }
        for generation in 1..=swaps.generation() {
            let (Some(span), Some((from, to)), Some((told, _))) =
                (self.generations.get(&generation), swaps.span(generation), swaps.undisputed(generation))
            else {
                wrong.tell(|| format!("generation {generation} has judged nothing"));
                continue;
            };
            if span.first < from {
                wrong.tell(|| format!("generation {generation} judged {} ns before it was called", from - span.first));
            }
            if span.last > to {
                let late = span.last - to;
                wrong.tell(|| format!("generation {generation} judged {late} ns after the next was acknowledged"));
            }
            if span.last_denial < told {
                wrong.tell(|| format!("generation {generation} has denied nothing after it was acknowledged"));
            }
        }
        if let Some(foreign) = self.generations.keys().find(|generation| **generation > swaps.generation()) {
            wrong.tell(|| format!("generation {foreign} judged, which nobody called"));
        }
        self.wrong.all()
    }
}

impl Wrong {
    fn tell(&mut self, what: impl FnOnce() -> String) {
        if self.told.len() < TOLD { self.told.push(what()) } else { self.more += 1 }
    }

    fn all(mut self) -> Vec<String> {
        if self.more > 0 {
            self.told.push(format!("and {} more", self.more));
        }
        self.told
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_model::Outcome;

    const PORT: u16 = 7_000;
    const ALLOWED: u8 = Reason::AllowedByList as u8;
    const DENIED: u8 = Reason::AddressDenied as u8;

    /// Generation 1 (A) at 100 to 110, generation 2 (B) at 200 to 210.
    fn swaps() -> Swaps {
        let mut swaps = Swaps::default();
        [(100, 110), (200, 210)].into_iter().for_each(|(called, told)| swaps.push(called, told));
        swaps
    }

    /// A record of CPU 0: when, its number, the stream, the generation and the reason.
    fn record(ktime: u64, sequence: u64, stream: usize, generation: u32, reason: u8) -> Record {
        let destination = STREAMS[stream].destination.into();
        let (source_port, destination_port) = (PORT, PORT);
        let (cpu, slot, from_sandbox, pad) = (0, 1, 1, [0; 6]);
        Record {
            ktime,
            sequence,
            destination,
            cpu,
            slot,
            generation,
            source_port,
            destination_port,
            reason,
            from_sandbox,
            pad,
        }
    }

    /// A run without a fault.
    fn good() -> Vec<Record> {
        vec![
            record(101, 0, 0, 1, ALLOWED),
            record(111, 1, 4, 1, DENIED),
            record(205, 2, 2, 1, ALLOWED),
            record(206, 3, 4, 2, ALLOWED),
            record(211, 4, 2, 2, DENIED),
        ]
    }

    fn judged(records: &[Record], sent: Sent, lost: u64) -> String {
        let of = |kinds: [u8; 6]| kinds.map(Outcome::of);
        let expected = Expected::made(
            of([ALLOWED, ALLOWED, ALLOWED, ALLOWED, DENIED, DENIED]),
            of([ALLOWED, ALLOWED, DENIED, DENIED, ALLOWED, ALLOWED]),
        );
        let mut judge = Judge::new(expected, PORT, 1);
        records.iter().for_each(|record| judge.take(record));
        judge.verdict(&swaps(), &[sent], &[(5, lost)]).join("\n")
    }

    /// What is told of the good run with one record replaced.
    fn with(at: usize, record: Record) -> String {
        let mut records = good();
        records[at] = record;
        judged(&records, [1, 0, 2, 0, 2, 0], 0)
    }

    #[test]
    fn a_good_run_has_no_fault() {
        assert_eq!(judged(&good(), [1, 0, 2, 0, 2, 0], 0), "");
    }

    #[test]
    fn every_fault_is_told() {
        for (told, fault) in [
            (with(2, record(205, 2, 2, 1, DENIED)), "the model says allowed-by-list"),
            (with(4, record(211, 4, 2, 2, ALLOWED)), "the model says address-denied"),
            (with(4, record(211, 4, 2, 1, ALLOWED)), "had judged by generation 2 already"),
            (with(4, record(211, 4, 2, 0, DENIED)), "a verdict without a generation"),
            (with(2, record(205, 3, 2, 1, ALLOWED)), "record 3 came where 2 was due"),
            (with(0, record(99, 0, 0, 1, ALLOWED)), "generation 1 judged 1 ns before it was called"),
            (with(2, record(212, 2, 2, 1, ALLOWED)), "generation 1 judged 2 ns after the next was acknowledged"),
            (with(1, record(109, 1, 4, 1, DENIED)), "generation 1 has denied nothing after it was acknowledged"),
            (with(4, record(211, 4, 2, 3, ALLOWED)), "generation 3 judged, which nobody called"),
            (judged(&good(), [1, 0, 2, 0, 3, 0], 0), "but recorded"),
            (judged(&good(), [1, 0, 2, 0, 2, 0], 1), "5 judged, 5 read, 1 lost"),
            (judged(&good()[..4], [1, 0, 1, 0, 2, 0], 0), "5 judged, 4 read, 0 lost"),
            (judged(&good()[..3], [1, 0, 1, 0, 1, 0], 0), "generation 2 has judged nothing"),
        ] {
            assert!(told.contains(fault), "{fault:?} is not in {told:?}");
        }
    }
}
