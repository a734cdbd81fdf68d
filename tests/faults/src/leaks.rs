//! What a daemon could leave behind: BPF objects, pins, files, filters, rules, routes, and memory.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! use test_faults::leaks::{Scope, Snapshot};
//! # let world = test_world::World::new("leaks")?;
//!
//! let scope = Scope::default().directory(world.pin_dir()).node(world.host());
//! let before = Snapshot::take(&scope)?;
//! // Things come, and go again.
//! before.comes_back(&scope)?;
//! # Ok(()) }
//! ```
//!
//! BPF objects are those of the whole machine: whatever else makes some must not run meanwhile.

use anyhow::{Context, Result, ensure};
use aya::maps::loaded_maps;
use aya::programs::{loaded_links, loaded_programs};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use test_world::{Node, poll};

/// The kernel frees BPF objects some grace periods after their last user has gone. What else runs on the machine may have some of its
/// own for a while.
const FREED: Duration = Duration::from_secs(120);

/// Where to look for leaks, beside the BPF objects of the machine.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    directories: Vec<PathBuf>,
    nodes: Vec<Node>,
}

impl Scope {
    /// Looks at the files below a directory as well: pins, records, sockets. One that is not there has none.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Scope {
        self.directories.push(directory.into());
        self
    }

    /// Looks at the devices, queueing disciplines, filters, rules and routes of a namespace as well.
    #[must_use]
    pub fn node(mut self, node: &Node) -> Scope {
        self.nodes.push(node.clone());
        self
    }
}

/// Everything that is there at a moment, a line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// BPF objects of the machine.
    objects: BTreeSet<String>,
    /// What is in the scope.
    scoped: BTreeSet<String>,
}

impl Snapshot {
    /// Looks.
    ///
    /// # Errors
    /// When something cannot be read.
    pub fn take(scope: &Scope) -> Result<Snapshot> {
        let mut objects = BTreeSet::new();
        // An object may go between its number and its description: an error of one is no news.
        for program in loaded_programs().flatten() {
            objects.insert(format!("program {} {}", program.id(), program.name_as_str().unwrap_or("?")));
        }
        for map in loaded_maps().flatten() {
            objects.insert(format!("map {} {}", map.id(), map.name_as_str().unwrap_or("?")));
        }
        for link in loaded_links().flatten() {
            objects.insert(format!("link {} of program {}", link.id(), link.program_id()));
        }
        let mut found = BTreeSet::new();
        for directory in &scope.directories {
            files(directory, &mut found)?;
        }
        for node in &scope.nodes {
            for question in ["ip rule show", "ip -6 rule show", "ip route show table all", "tc qdisc show"] {
                ask(node, question, &mut found)?;
            }
            ask(node, "ip -6 route show table all", &mut found)?;
            for device in devices(node)? {
                found.insert(format!("{}: device {device}", node.name()));
                ask(node, &format!("tc filter show dev {device} ingress"), &mut found)?;
                ask(node, &format!("tc filter show dev {device} egress"), &mut found)?;
            }
        }
        Ok(Snapshot { objects, scoped: found })
    }

    /// What has come (`+`) and gone (`-`) since an earlier one. BPF objects that have gone are left out: they may have been somebody
    /// else's.
    #[must_use]
    pub fn difference(&self, earlier: &Snapshot) -> Vec<String> {
        let objects = self.objects.difference(&earlier.objects).map(|line| format!("+ {line}"));
        let come = self.scoped.difference(&earlier.scoped).map(|line| format!("+ {line}"));
        let gone = earlier.scoped.difference(&self.scoped).map(|line| format!("- {line}"));
        objects.chain(come).chain(gone).collect()
    }

    /// Waits until everything is as it is here, and no BPF object is left that was not there.
    ///
    /// # Errors
    /// When it is not after two minutes; lists the difference.
    pub fn comes_back(&self, scope: &Scope) -> Result<()> {
        let mut last = Vec::new();
        let equal = poll(FREED, || match Snapshot::take(scope) {
            Ok(now) => {
                last = now.difference(self);
                last.is_empty().then_some(())
            }
            Err(error) => {
                last = vec![format!("{error:#}")];
                None
            }
        });
        ensure!(equal.is_some(), "left behind:\n{}", last.join("\n"));
        Ok(())
    }
}

/// Memory of the kernel that does not go with a process, in KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelMemory {
    /// Slab memory that cannot be reclaimed: hash tables, trie nodes, namespaces.
    pub slab: u64,
    /// Per-CPU memory: counters.
    pub per_cpu: u64,
    /// What `vmalloc` holds: programs, arrays.
    pub vmalloc: u64,
}

impl KernelMemory {
    /// Asks the kernel. The figures are the whole machine's.
    ///
    /// # Errors
    /// When `/proc` is not mounted.
    pub fn read() -> Result<KernelMemory> {
        let text = fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo")?;
        let of = |name| field(&text, name);
        Ok(KernelMemory { slab: of("SUnreclaim:")?, per_cpu: of("Percpu:")?, vmalloc: of("VmallocUsed:")? })
    }

    /// All of it.
    #[must_use]
    pub fn total(self) -> u64 {
        self.slab + self.per_cpu + self.vmalloc
    }
}

/// Memory of a process that is resident, in KiB.
///
/// # Errors
/// When there is no such process.
pub fn resident(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    field(&fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?, "VmRSS:")
}

/// How many files a process has open.
///
/// # Errors
/// When there is no such process.
pub fn open_files(pid: u32) -> Result<usize> {
    let path = format!("/proc/{pid}/fd");
    Ok(fs::read_dir(&path).with_context(|| format!("cannot read {path}"))?.count())
}

/// The number behind a name at the beginning of a line.
fn field(text: &str, name: &str) -> Result<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name));
    let number = rest.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    number.with_context(|| format!("there is no {name}"))
}

fn files(directory: &Path, found: &mut BTreeSet<String>) -> Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.with_context(|| format!("cannot list {}", directory.display()))?,
    };
    for entry in entries {
        let entry = entry?;
        found.insert(entry.path().display().to_string());
        if entry.file_type()?.is_dir() {
            files(&entry.path(), found)?;
        }
    }
    Ok(())
}

fn devices(node: &Node) -> Result<Vec<String>> {
    let shown = node.run(&["ip", "-brief", "link", "show"])?.ok()?.stdout;
    let names = shown.lines().filter_map(|line| line.split([' ', '@']).next());
    Ok(names.map(str::to_owned).collect())
}

fn ask(node: &Node, question: &str, found: &mut BTreeSet<String>) -> Result<()> {
    let words: Vec<&str> = question.split_whitespace().collect();
    let shown = node.run(&words)?.ok()?.stdout;
    found.extend(shown.lines().map(|line| format!("{}: {question}: {}", node.name(), line.trim())));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_and_goes_is_told() {
        let set = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
        let before = Snapshot { objects: set(&["map 1 A", "map 2 B"]), scoped: set(&["pin A", "pin B"]) };
        let after = Snapshot { objects: set(&["map 2 B", "map 3 C"]), scoped: set(&["pin B", "pin C"]) };
        assert_eq!(after.difference(&before), ["+ map 3 C", "+ pin C", "- pin A"]);
        assert!(before.difference(&before).is_empty());
    }

    #[test]
    fn memory_is_read() {
        let kernel = KernelMemory::read().expect("/proc is mounted");
        assert!(kernel.slab > 0 && kernel.total() > kernel.slab);
        assert!(resident(std::process::id()).expect("it runs") > 0);
        assert!(open_files(std::process::id()).expect("it runs") > 0);
    }
}
