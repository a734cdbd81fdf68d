//! What can stand in a packet's way: the filter, its floors and its rivals. A row of [`SETUPS`] each.

mod filter;
mod floor;
mod gate;
mod nft;

use crate::spread::Spread;
use crate::world::World;
use anyhow::{Context, Result};
use aya::programs::SchedClassifier;
pub(crate) use filter::Filter;
use filter_policy::{Compiled, Operator, Policy, compile};
pub(crate) use floor::Floor;
use floor::Wanted;
pub(crate) use gate::{Gate, Way};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What is put into a world, or at its gate. It stays for as long as it is held.
pub(crate) enum Installed {
    /// Nothing, or what goes with the world.
    Nothing,
    /// A program that does less than the filter must.
    Floor(Floor),
    /// The filter.
    Filter(Box<Filter>),
}

/// Something to put into a world.
pub(crate) struct Setup {
    /// What it is called between the parts of the benchmark.
    pub(crate) key: &'static str,
    /// What people call it.
    pub(crate) name: &'static str,
    /// The list that it holds.
    pub(crate) list: List,
    /// Where it is.
    pub(crate) at: At,
    install: fn(&Kit, &World) -> Result<Installed>,
}

/// Where a setup is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// In the world that they share: where the gate is not.
    Bare,
    /// In the same world: at the gate, in turns.
    Gate,
    /// In a world of its own.
    Own,
}

/// A list of allowed prefixes; all else is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum List {
    /// A thousand.
    Thousand,
    /// A million.
    Million,
}

/// Everything that there is to put into a world. Packets towards the client run the same as those from it.
pub(crate) const SETUPS: &[Setup] = &[
    Setup {
        key: "bare",
        name: "nothing attached",
        list: List::Thousand,
        at: At::Bare,
        install: |_, _| Ok(Installed::Nothing),
    },
    Setup {
        key: "again",
        name: "nothing attached, again",
        list: List::Thousand,
        at: At::Bare,
        install: |_, _| Ok(Installed::Nothing),
    },
    Setup {
        key: "empty",
        name: "empty tcx programs",
        list: List::Thousand,
        at: At::Gate,
        install: |kit, world| floor::install(kit, world, Wanted::program("empty")),
    },
    Setup {
        key: "least",
        name: "an array by the device, one look at a list and a counter",
        list: List::Thousand,
        at: At::Gate,
        install: |kit, world| {
            floor::install(kit, world, Wanted { back: "least_back", lines: 1_024, ..Wanted::program("least") })
        },
    },
    Setup {
        key: "checked",
        name: "the checks that a filter cannot do without, for IPv4 alone",
        list: List::Thousand,
        at: At::Gate,
        install: |kit, world| {
            floor::install(kit, world, Wanted { back: "checked_back", lines: 256, ..Wanted::program("checked") })
        },
    },
    Setup {
        key: "past",
        name: "a program that forwards by itself",
        list: List::Thousand,
        at: At::Gate,
        install: |kit, world| floor::install(kit, world, Wanted::program("past")),
    },
    Setup {
        key: "lookup",
        name: "one LPM lookup of 1,000 CIDRs",
        list: List::Thousand,
        at: At::Gate,
        install: |kit, world| floor::install(kit, world, Wanted { list: Some(List::Thousand), ..LOOKUP }),
    },
    Setup {
        key: "lookup-1m",
        name: "one LPM lookup of 1,000,000 CIDRs",
        list: List::Million,
        at: At::Gate,
        install: |kit, world| floor::install(kit, world, Wanted { list: Some(List::Million), ..LOOKUP }),
    },
    Setup {
        key: "access",
        name: "one look at 12 MB of memory",
        list: List::Million,
        at: At::Gate,
        install: |kit, world| {
            floor::install(kit, world, Wanted { lines: 12_000_000 / 64, ..Wanted::program("one_access") })
        },
    },
    Setup {
        key: "ours",
        name: "the filter, 1,000 CIDRs",
        list: List::Thousand,
        at: At::Gate,
        install: |kit, world| filter::at_gate(kit, world, List::Thousand, false),
    },
    Setup {
        key: "ours-1m",
        name: "the filter, 1,000,000 CIDRs",
        list: List::Million,
        at: At::Gate,
        install: |kit, world| filter::at_gate(kit, world, List::Million, false),
    },
    Setup {
        key: "reject",
        name: "the filter, answering what it denies",
        list: List::Thousand,
        at: At::Gate,
        install: |kit, world| filter::at_gate(kit, world, List::Thousand, true),
    },
    Setup {
        key: "clsact",
        name: "the filter by clsact",
        list: List::Thousand,
        at: At::Own,
        install: filter::by_clsact,
    },
    Setup {
        key: "nft",
        name: "an nft set of 1,000 CIDRs",
        list: List::Thousand,
        at: At::Own,
        install: |_, world| nft::install(world, false),
    },
    Setup {
        key: "nft-ct",
        name: "the nft set and conntrack",
        list: List::Thousand,
        at: At::Own,
        install: |_, world| nft::install(world, true),
    },
];

/// One lookup, and nothing to look up.
const LOOKUP: Wanted = Wanted { back: "one_lookup_back", ..Wanted::program("one_lookup") };

/// What setups are made of.
pub(crate) struct Kit {
    floors: Vec<u8>,
    slow: Option<Vec<u8>>,
    policies: [(List, Compiled); 2],
}

impl Kit {
    /// Reads the kernel programs in `objects` and compiles the policies. `slow`: the filter that is slower on purpose.
    pub(crate) fn new(objects: &Path, slow: bool) -> Result<Kit> {
        let read = |name: &str| {
            let path: PathBuf = objects.join(name);
            let hint = || format!("cannot read {}\n  hint: `cargo xtask bench` builds it", path.display());
            fs::read(&path).with_context(hint)
        };
        Ok(Kit {
            floors: read("floors.o")?,
            slow: slow.then(|| read("filter-slow.o")).transpose()?,
            policies: [List::Thousand, List::Million].map(|list| (list, list.compiled())),
        })
    }

    fn policy(&self, list: List) -> &Compiled {
        let found = self.policies.iter().find(|(of, _)| *of == list);
        &found.expect("all lists are there").1
    }
}

impl Setup {
    /// The setup of a key.
    ///
    /// # Panics
    /// When there is none.
    pub(crate) fn of(key: &str) -> &'static Setup {
        SETUPS.iter().find(|setup| setup.key == key).unwrap_or_else(|| panic!("there is no setup {key:?}"))
    }

    /// Puts it into a world; what is to be at the gate is ready for it then.
    pub(crate) fn install(&self, kit: &Kit, world: &World) -> Result<Installed> {
        (self.install)(kit, world).with_context(|| format!("cannot set up {}", self.name))
    }
}

impl Installed {
    /// The program of a direction, which is to be put at a gate.
    fn program(&mut self, way: Way) -> Result<Option<&mut SchedClassifier>> {
        match self {
            Installed::Nothing => Ok(None),
            Installed::Floor(floor) => floor.program(way).map(Some),
            Installed::Filter(filter) => filter.program(way).map(Some),
        }
    }

    /// The mean time of a run of the program on a frame from the client, without the packet's way; `None` without a program.
    pub(crate) fn time(&mut self, world: &World, frame: &[u8], repeat: u32) -> Result<Option<Duration>> {
        match self {
            Installed::Nothing => Ok(None),
            Installed::Floor(floor) => floor.time(world, frame, repeat).map(Some),
            Installed::Filter(filter) => filter.time(world, frame, repeat).map(Some),
        }
    }
}

impl List {
    /// Its prefixes.
    pub(crate) fn spread(self) -> Spread {
        Spread::new(match self {
            List::Thousand => 1_000,
            List::Million => 1_000_000,
        })
    }

    /// The policy `denyOut: 0.0.0.0/0`, `allowOut:` the list.
    fn compiled(self) -> Compiled {
        let entry = |(value, index): (ipnet::Ipv4Net, u32)| filter_policy::Entry {
            value: value.into(),
            text: String::new(),
            index,
        };
        let policy = Policy {
            allow: self.spread().prefixes().zip(0..).map(entry).collect(),
            deny: vec![entry((ipnet::Ipv4Net::default(), 0))],
            ..Policy::default()
        };
        compile(&policy, &Operator::default(), 1)
    }
}
