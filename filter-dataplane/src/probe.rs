//! Whether this process and this kernel can do what the filter needs, found by trying.

use crate::hook::Hook;
use crate::instance::LOOPBACK;
use crate::tc::Tc;
use crate::{Device, Error, HookKind, Namespace, cgroup, sys};
use aya::maps::MapType;
use aya::programs::{ProgramType, SchedClassifier, TcAttachType};
use aya::sys::{is_map_supported, is_program_supported};
use nix::sched::{CloneFlags, unshare};
use std::{fs, thread};

const CAPABILITIES: [(u32, &str); 4] =
    [(12, "CAP_NET_ADMIN"), (39, "CAP_BPF"), (21, "CAP_SYS_ADMIN"), (11, "CAP_NET_BROADCAST")];

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

/// Everything that the filter cannot do without, each tried: hooks of this kind, or of any when it is `None`. Without rights
/// the rest cannot be tried and is left out.
#[must_use]
pub fn needs(hook: Option<HookKind>) -> Vec<Need> {
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
            (
                "a JIT for BPF",
                sys::has_jit(),
                "CONFIG_BPF_JIT, where it is not switched off (sysctl net.core.bpf_jit_enable)",
            ),
            match hook {
                Some(HookKind::Tcx) => ("TCX", tcx(), "Linux 6.6 or later and CONFIG_NET_XGRESS"),
                Some(HookKind::Clsact) => {
                    ("clsact", clsact(), "CONFIG_NET_SCH_INGRESS, CONFIG_NET_CLS_ACT, CONFIG_NET_CLS_BPF")
                }
                None if tcx() => ("TCX", true, ""),
                None => (
                    "TCX or clsact",
                    clsact(),
                    "CONFIG_NET_XGRESS (Linux 6.6), or CONFIG_NET_SCH_INGRESS and CONFIG_NET_CLS_BPF",
                ),
            },
        ]
        .map(|(what, met, option)| Need {
            what: format!("{KERNEL}{what}"),
            met,
            hint: format!("boot a kernel with {option}"),
        }),
    );
    needs
}

/// What policies with names need besides.
#[must_use]
pub fn names() -> Need {
    let programs = [ProgramType::CgroupSock, ProgramType::CgroupSockAddr];
    let found = programs.into_iter().all(|kind| is_program_supported(kind).unwrap_or(false));
    Need {
        what: "names: programs of a cgroup (version 2)".to_owned(),
        met: found && cgroup::here().is_ok(),
        hint: "mount a cgroup2 file system, on a kernel with CONFIG_CGROUP_BPF: policies with names are refused"
            .to_owned(),
    }
}

/// Series of kernels that every test of the filter, or those about what kernels differ in, are run on.
pub const TESTED: [&str; 3] = ["6.1", "6.12", "6.18"];

/// The release of the running kernel where it is of none of [`TESTED`]. It may do as well: what it offers is found by trying.
#[must_use]
pub fn untested_kernel() -> Option<String> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim();
    (!is_tested(release)).then(|| release.to_owned())
}

fn is_tested(release: &str) -> bool {
    TESTED.iter().any(|series| {
        release.strip_prefix(series).is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_digit()))
    })
}

/// Checks rights, program and map types, and that there are hooks of this kind.
///
/// # Errors
/// [`Error::Unsupported`] naming the first thing that is missing.
pub fn check(hook: HookKind) -> Result<(), Error> {
    let Some(Need { what, hint, .. }) = needs(Some(hook)).into_iter().find(|need| !need.met) else {
        return Ok(());
    };
    let missing = match what.strip_prefix(KERNEL) {
        Some(feature) => format!("this kernel does not offer {feature}"),
        None => format!("the daemon lacks {what}"),
    };
    Err(Error::Unsupported { missing, hint })
}

/// The programs and filters that see the packets of a device, in the order in which they do so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Whose packets: the filter's program that is to be the first.
    pub hook: &'static str,
    /// What people know them by.
    pub names: Vec<String>,
}

impl Order {
    /// Those that come before the filter's own; all of them when that is not there.
    #[must_use]
    pub fn ahead(&self) -> &[String] {
        let own = self.names.iter().position(|name| name == self.hook).unwrap_or(self.names.len());
        &self.names[..own]
    }
}

/// What is at either hook of a device: TCX programs, then the filters of a clsact qdisc.
///
/// # Errors
/// When the namespace cannot be entered or the device is gone.
pub fn programs_at(device: &Device) -> Result<Vec<Order>, Error> {
    let namespace = Namespace::find_or_own(device.netns.as_ref())?;
    let order = |hook: Hook| {
        let found = namespace.enter(|| SchedClassifier::query_tcx(&device.name, hook.attach_type()))?;
        // Without TCX there are none.
        let programs = found.map(|(_, programs)| programs).unwrap_or_default();
        let mut names: Vec<String> =
            programs.iter().map(|program| program.name_as_str().unwrap_or("?").to_owned()).collect();
        names.extend(Tc::new(&namespace, device.ifindex).filters(hook)?.map_err(Error::file("list", "filters"))?);
        Ok(Order { hook: hook.program(), names })
    };
    Hook::ALL.into_iter().map(order).collect()
}

/// Every namespace has a loopback device to ask about.
pub(crate) fn tcx() -> bool {
    SchedClassifier::query_tcx("lo", TcAttachType::Ingress).is_ok()
}

/// Makes a clsact qdisc in a namespace of its own, which goes with the thread, and asks for a filter there.
fn clsact() -> bool {
    let tried = || {
        unshare(CloneFlags::CLONE_NEWNET).ok()?;
        let namespace = Namespace::of_thread().ok()?;
        let tc = Tc::new(&namespace, LOOPBACK);
        tc.add_clsact().ok()?.ok()?;
        tc.knows_bpf().ok().filter(|known| *known)
    };
    thread::scope(|scope| scope.spawn(tried).join()).is_ok_and(|tried| tried.is_some())
}

fn effective_capabilities() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::is_tested;

    #[test]
    fn a_series_is_known_by_both_its_numbers() {
        for (release, tested) in [
            ("6.1.0-56-cloud-amd64", true),
            ("6.12.117+deb12", true),
            ("6.18-rc1", true),
            ("6.1", true),
            ("6.10.3", false),
            ("6.19.0", false),
            ("5.6.1", false),
            ("16.1.0", false),
            ("", false),
        ] {
            assert_eq!(is_tested(release), tested, "{release}");
        }
    }
}
