//! Whether this process and this kernel can do what the filter needs, found by trying.

use crate::Error;
use aya::maps::MapType;
use aya::programs::ProgramType;
use aya::sys::{is_map_supported, is_program_supported};
use std::fs;

const CAPABILITIES: [(u32, &str); 3] = [(12, "CAP_NET_ADMIN"), (39, "CAP_BPF"), (21, "CAP_SYS_ADMIN")];

/// Checks rights, program and map types.
///
/// # Errors
/// [`Error::Unsupported`] naming the first thing that is missing.
pub fn check() -> Result<(), Error> {
    let effective = effective_capabilities();
    for (bit, name) in CAPABILITIES {
        if effective & (1 << bit) == 0 {
            return Err(Error::Unsupported {
                missing: format!("the daemon lacks {name}"),
                hint: "run it as root, or through the systemd unit, which grants what it needs".to_owned(),
            });
        }
    }
    if !is_program_supported(ProgramType::SchedClassifier).unwrap_or(false) {
        return Err(kernel("tc programs", "CONFIG_BPF_SYSCALL and CONFIG_NET_CLS_BPF, and no lockdown"));
    }
    let maps = [
        (MapType::LpmTrie, "LPM tries"),
        (MapType::ArrayOfMaps, "arrays of maps"),
        (MapType::PerCpuArray, "per-CPU arrays"),
        (MapType::RingBuf, "ring buffers (5.8)"),
    ];
    for (kind, name) in maps {
        if !is_map_supported(kind).unwrap_or(false) {
            return Err(kernel(name, "CONFIG_BPF_SYSCALL"));
        }
    }
    if !fs::exists("/sys/kernel/btf/vmlinux").unwrap_or(false) {
        return Err(kernel("BTF (/sys/kernel/btf/vmlinux)", "CONFIG_DEBUG_INFO_BTF"));
    }
    Ok(())
}

fn kernel(what: &str, option: &str) -> Error {
    Error::Unsupported {
        missing: format!("this kernel does not offer {what}"),
        hint: format!("boot a kernel with {option}"),
    }
}

fn effective_capabilities() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0)
}
