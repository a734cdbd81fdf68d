//! Taking links off, as somebody else would.

use anyhow::Result;
use std::path::PathBuf;
use test_world::Node;

/// `BPF_OBJ_GET` and `BPF_LINK_DETACH`, which no crate at hand has.
const SCRIPT: &str = "
import ctypes, os, platform, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
number = {'x86_64': 321, 'aarch64': 280}[platform.machine()]
def bpf(command, attributes):
    result = libc.syscall(number, command, ctypes.create_string_buffer(attributes, 64), 64)
    assert result >= 0, ctypes.get_errno()
    return result
for path in sys.argv[2:]:
    text = ctypes.create_string_buffer(path.encode())
    link = bpf(7, struct.pack('QII', ctypes.addressof(text), 0, 0))
    if sys.argv[1] == 'unpin':
        os.unlink(path)
    bpf(34, struct.pack('I', link))
";

/// Whether pins of links go as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unpin {
    /// They go.
    Yes,
    /// They stay, of links that are on nothing.
    No,
}

/// Detaches pinned links by force, as `bpftool link detach` does: also those that somebody holds open.
///
/// # Errors
/// When there are none, or the kernel refuses.
pub fn detach_links(node: &Node, pins: &[PathBuf], unpin: Unpin) -> Result<()> {
    let paths: Vec<String> = pins.iter().map(|path| path.display().to_string()).collect();
    let how = if unpin == Unpin::Yes { "unpin" } else { "keep" };
    let words = ["python3", "-c", SCRIPT, how].into_iter().chain(paths.iter().map(String::as_str));
    node.run(&words.collect::<Vec<_>>())?.ok().map(drop)
}
