//! What is shown on kernels with TCX (Linux 6.6) alone.

use filter_dataplane::HookKind;

/// Whether this kernel has TCX. Where it has none, that is told: what is about it is left out.
#[must_use]
pub fn has_tcx() -> bool {
    let has_tcx = HookKind::probe() == HookKind::Tcx;
    if !has_tcx {
        println!("SKIPPED: what is about TCX, which this kernel does not offer");
    }
    has_tcx
}

/// The kinds of hooks that this kernel has, as the operator's configuration calls them.
#[must_use]
pub fn kinds_of_hooks() -> &'static [&'static str] {
    if has_tcx() { &["tcx", "clsact"] } else { &["clsact"] }
}
