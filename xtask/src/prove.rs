//! `cargo xtask prove`: what shows a property more thoroughly than a test that everybody runs has time for.

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::{build, steps::Steps, tool::Tool};

/// One long proof.
struct Proof {
    name: &'static str,
    /// What is known when it has passed.
    shows: &'static str,
    command: fn() -> Tool,
}

const PROOFS: &[Proof] = &[
    Proof {
        name: "two-lists",
        shows: "one search of the compiled table answers like the two lists, for a million random policies",
        command: || {
            Tool::cargo("test")
                .args(["--release", "--package", "filter-policy", "--test", "two_lists"])
                .env("PROPTEST_CASES", "1000000")
        },
    },
    Proof {
        name: "fuzz",
        shows: "hellos, requests, names, documents, what daemon and sidecar say: ten minutes of fuzzing each find nothing",
        command: || Tool::cargo("run").args(["--package", "xtask", "--", "fuzz", "--minutes", "10"]),
    },
    Proof {
        name: "differential",
        shows: "the kernel program, the decision in userspace and an independent model agree, for a million random packets",
        command: || {
            Tool::cargo("test")
                .args(["--release", "--package", "test-differential", "--test", "agreement", "--", "--nocapture"])
                .env("DIFFERENTIAL_PACKETS", "1000000")
        },
    },
    Proof {
        name: "hellos",
        shows: "a million changed TLS hellos are taken only where another parser sees the same name in them",
        command: || {
            Tool::cargo("test")
                .args(["--release", "--package", "filter-sidecar", "--test", "hello", "--", "--nocapture"])
                .env("HELLO_CHANGES", "1000000")
        },
    },
    Proof {
        name: "older-kernel",
        shows: "every named packet gets the same without the kernel's own view of it, as where the kernel does not tell its types",
        command: || {
            Tool::cargo("test")
                .args(["--package", "test-packets", "--test", "table", "--test", "wire"])
                .env("SANDBOX_FILTER_KERNEL_TYPES", "off")
        },
    },
    Proof {
        name: "reading-kernel",
        shows: "every named packet gets the same where the kernel's structure is read from memory, as before Linux 6.2",
        command: || {
            Tool::cargo("test")
                .args(["--package", "test-packets", "--test", "table", "--test", "wire"])
                .env("SANDBOX_FILTER_KERNEL_TYPES", "read")
        },
    },
    Proof {
        name: "older-kernel-checksums",
        shows: "so does every kind of checksum that is left to a device",
        command: || {
            Tool::cargo("test")
                .args(["--package", "test-scenarios", "--test", "scenarios", "checksum"])
                .env("SANDBOX_FILTER_KERNEL_TYPES", "off")
        },
    },
    Proof {
        name: "atomicity",
        shows: "no packet sees two policies or an outdated one, and none is lost, over 10,000 swaps under full load",
        command: || {
            Tool::cargo("test")
                .args(["--package", "test-faults", "--test", "atomicity", "--", "--nocapture"])
                .env("ATOMICITY_SWAPS", "10000")
        },
    },
    Proof {
        name: "kills",
        shows: "a daemon killed at each of its fail points, ten times, and a hundred times at random lets nothing denied pass",
        command: || {
            Tool::cargo("test")
                .args(["--package", "test-faults", "--test", "kills", "--", "--nocapture"])
                .env("KILLS_PER_POINT", "10")
                .env("KILLS_AT_RANDOM", "100")
        },
    },
    Proof {
        name: "power-cuts",
        shows: "whenever the power fails, the store has everything that was acknowledged, and all or nothing of the rest, over 50 workloads",
        command: || {
            Tool::cargo("test")
                .args(["--package", "filter-ctl", "--lib", "power_cut", "--", "--nocapture"])
                .env("POWER_CUTS", "50")
        },
    },
    Proof {
        name: "api-kills",
        shows: "a daemon killed under clients of the API, ten times at each fail point and a hundred times at random: what was acknowledged holds, and nothing is left",
        command: || {
            Tool::cargo("test")
                .args(["--package", "test-faults", "--test", "clients", "kills::", "--", "--nocapture"])
                .env("API_KILLS_PER_POINT", "10")
                .env("API_KILLS_AT_RANDOM", "100")
        },
    },
    Proof {
        name: "sidecar",
        shows: "a sidecar killed, frozen or out of descriptors, 120 times under load, lets nothing denied pass and is back within a second",
        command: || {
            Tool::cargo("test")
                .args(["--package", "test-faults", "--test", "sidecar", "faults_", "--", "--nocapture"])
                .env("SIDECAR_FAULTS", "120")
        },
    },
    Proof {
        name: "names-atomicity",
        shows: "kernel and sidecar change as one: nothing reaches a name that is not allowed any more, over 2,000 swaps under load",
        command: || {
            Tool::cargo("test")
                .args(["--package", "test-faults", "--test", "sidecar", "kernel_and_sidecar", "--", "--nocapture"])
                .env("NAME_SWAPS", "2000")
        },
    },
    Proof {
        name: "cycles",
        shows: "10,000 sandboxes come and go: each has its own policy and none before it, and nothing is left of them",
        command: || {
            Tool::cargo("test")
                .args(["--package", "test-faults", "--test", "many", "cycles::", "--", "--nocapture"])
                .env("MANY_CYCLES", "10000")
        },
    },
    Proof {
        name: "namespaces",
        shows: "1,000 namespaces with equal interface indexes and addresses: each sandbox has its own policy, and nothing is left",
        command: || {
            Tool::cargo("test")
                .args(["--package", "test-faults", "--test", "many", "namespaces::", "--", "--nocapture"])
                .env("MANY_NAMESPACES", "1000")
        },
    },
];

/// Runs the named proofs, or all of them, and ends with a table.
pub(crate) fn task(names: &[String], list: bool) -> Result<ExitCode> {
    let proofs = chosen(names)?;
    if list {
        for proof in proofs {
            println!("{}\n    {}", proof.name, proof.shows);
        }
        return Ok(ExitCode::SUCCESS);
    }
    build::everything(&build::Options { fail_points: true, ..build::Options::default() })?;
    let mut steps = Steps::default();
    for proof in proofs {
        steps.run(&format!("{}: {}", proof.name, proof.shows), || (proof.command)().run());
    }
    println!("\n{}", steps.table());
    Ok(if steps.succeeded() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn chosen(names: &[String]) -> Result<Vec<&'static Proof>> {
    if names.is_empty() {
        return Ok(PROOFS.iter().collect());
    }
    let find = |name: &String| match PROOFS.iter().find(|proof| proof.name == name) {
        Some(proof) => Ok(proof),
        None => bail!("there is no proof {name:?}\n  hint: `cargo xtask prove --list` names them"),
    };
    names.iter().map(find).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proofs_are_found_by_name() {
        assert_eq!(chosen(&[]).unwrap().len(), PROOFS.len());
        assert_eq!(chosen(&["two-lists".into()]).unwrap().len(), 1);
        assert!(chosen(&["nothing".into()]).is_err());
    }
}
