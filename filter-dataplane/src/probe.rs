//! Whether this process and this kernel can do what the filter needs, found by trying.

use crate::{Error, Namespace};
use aya::maps::MapType;
use aya::programs::{ProgramType, SchedClassifier, TcAttachType};
use aya::sys::{is_map_supported, is_program_supported};
use std::fs;

const CAPABILITIES: [(u32, &str); 3] = [(12, "CAP_NET_ADMIN"), (39, "CAP_BPF"), (21, "CAP_SYS_ADMIN")];

/// In front of what the kernel has to offer.
const KERNEL: &str = "kernel: ";

/// Something that the filter cannot do without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// What it is.
    pub what: String,
    /// Whether it is there.
    pub met: bool,
    /// What to do when it is not.
    pub hint: String,
}

/// Everything that the filter cannot do without, each tried. Without rights the rest cannot be tried and is left out.
#[must_use]
pub fn needs() -> Vec<Need> {
    let effective = effective_capabilities();
    let mut needs: Vec<Need> = CAPABILITIES
        .iter()
        .map(|(bit, name)| Need {
            what: (*name).to_owned(),
            met: effective & (1 << bit) != 0,
            hint: "run it as root, or through the systemd unit, which grants what it needs".to_owned(),
        })
        .collect();
    if needs.iter().any(|need| !need.met) {
        return needs;
    }
    let map = |kind| is_map_supported(kind).unwrap_or(false);
    let classifier = is_program_supported(ProgramType::SchedClassifier).unwrap_or(false);
    let btf = fs::exists("/sys/kernel/btf/vmlinux").unwrap_or(false);
    needs.extend(
        [
            ("tc programs", classifier, "CONFIG_BPF_SYSCALL and CONFIG_NET_CLS_BPF, and no lockdown"),
            ("LPM tries", map(MapType::LpmTrie), "CONFIG_BPF_SYSCALL"),
            ("arrays of maps", map(MapType::ArrayOfMaps), "CONFIG_BPF_SYSCALL"),
            ("per-CPU arrays", map(MapType::PerCpuArray), "CONFIG_BPF_SYSCALL"),
            ("ring buffers", map(MapType::RingBuf), "Linux 5.8 or later"),
            ("BTF (/sys/kernel/btf/vmlinux)", btf, "CONFIG_DEBUG_INFO_BTF"),
            ("TCX", tcx(), "Linux 6.6 or later and CONFIG_NET_XGRESS"),
        ]
        .map(|(what, met, option)| Need {
            what: format!("{KERNEL}{what}"),
            met,
            hint: format!("boot a kernel with {option}"),
        }),
    );
    needs
}

/// Checks rights, program and map types.
///
/// # Errors
/// [`Error::Unsupported`] naming the first thing that is missing.
pub fn check() -> Result<(), Error> {
    let Some(Need { what, hint, .. }) = needs().into_iter().find(|need| !need.met) else {
        return Ok(());
    };
    let missing = match what.strip_prefix(KERNEL) {
        Some(feature) => format!("this kernel does not offer {feature}"),
        None => format!("the daemon lacks {what}"),
    };
    Err(Error::Unsupported { missing, hint })
}

/// Names of the TCX programs at the ingress of a device, in the order in which they run.
///
/// # Errors
/// When the namespace cannot be entered or the device is gone.
pub fn programs_at(namespace: &Namespace, device: &str) -> Result<Vec<String>, Error> {
    let found = namespace.enter(|| SchedClassifier::query_tcx(device, TcAttachType::Ingress))?;
    let (_, programs) = found.map_err(Error::from)?;
    Ok(programs.iter().map(|program| program.name_as_str().unwrap_or("?").to_owned()).collect())
}

/// Every namespace has a loopback device to ask about.
fn tcx() -> bool {
    SchedClassifier::query_tcx("lo", TcAttachType::Ingress).is_ok()
}

fn effective_capabilities() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0)
}
