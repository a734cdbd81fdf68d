//! How long it takes to find a name in a list of ten thousand.

use crate::figure::{Estimate, Figure, Force, Target, Unit};
use crate::report::Section;
use crate::stats::estimate;
use filter_policy::NameList;
use filter_policy::names::{Name, NamePattern};
use std::hint::black_box;
use std::time::Instant;

/// Names in a list.
const MANY: u32 = 10_000;
/// Names that are looked for, one after the other.
const ASKED: u32 = 1_000;
/// How often all of them are.
const ROUNDS: usize = 101;
/// Longest time that one may take, in nanoseconds.
const LIMIT: f64 = 1_000.0;

pub(super) fn measure() -> Section {
    let exact = |at: u32| format!("host{at}.region{}.example.com", at % 7);
    let below = |at: u32| format!("*.host{at}.region{}.example.com", at % 7);
    let usual = list(&|at| if at % 2 == 0 { exact(at) } else { below(at) });
    let labels = |count: usize| vec!["a"; count].join(".");
    // At every depth there are names, and all begin like the one that is asked for; none covers it.
    let deep = list(&|at| format!("*.b{}.{}", at / 120, labels(at as usize % 120 + 1)));
    let asked: [(&str, &NameList, Names); 4] = [
        ("a name that is listed", &usual, &|at| exact(at * 2 % MANY)),
        ("a name below a wildcard", &usual, &|at| format!("a.b.{}", &below(at * 2 % MANY + 1)[2..])),
        ("a name that is not listed", &usual, &|at| format!("other{at}.region1.example.com")),
        ("a name of 127 labels, with wildcards at 120 depths", &deep, &|_| labels(127)),
    ];
    let section = Section::new("A list of 10,000 names").text(format!(
        "`NameList::find` by itself, in one thread, for {ASKED} names by turns; medians of {ROUNDS} rounds."
    ));
    asked.into_iter().fold(section, |section, (name, list, text)| section.figure(figure(name, find(list, text))))
}

type Names<'a> = &'a dyn Fn(u32) -> String;

fn list(text: Names<'_>) -> NameList {
    let patterns: Vec<NamePattern> = (0..MANY).map(|at| NamePattern::parse(&text(at)).expect("a pattern")).collect();
    NameList::new((0..).zip(&patterns))
}

/// What finding one takes.
fn find(list: &NameList, text: Names<'_>) -> Estimate {
    let names: Vec<Name> = (0..ASKED).map(|at| Name::parse(&text(at)).expect("a name")).collect();
    let round = |_| {
        let begun = Instant::now();
        for name in &names {
            black_box(list.find(black_box(name)));
        }
        begun.elapsed().as_nanos() as f64 / f64::from(ASKED)
    };
    estimate(&[&vec![(0..ROUNDS).map(round).collect()]], |medians| medians[0])
}

fn figure(name: &str, found: Estimate) -> Figure {
    Figure::new(name, Unit::Nanoseconds, found).target(Target {
        force: Force::Must,
        of: "time".to_owned(),
        limit: LIMIT,
        reached: found,
        unit: Unit::Nanoseconds,
        next: String::new(),
    })
}
