//! What the running kernel says of its own types (BTF, Linux 5.4), as far as the program asks for it.
//!
//! aya resolves no functions of the kernel that a program calls, and no fields. The program has one call of a number that no helper
//! has, and a global with the places of the fields; both are filled in before it is loaded.

use filter_core::abi::{CAST_TO_KERNEL, SkbLayout};
use std::env;
use std::fs;
use std::sync::OnceLock;

const BTF: &str = "/sys/kernel/btf/vmlinux";
/// Set to `off`: the program does without, as on an older kernel.
const SWITCH: &str = "SANDBOX_FILTER_KERNEL_TYPES";

/// What a program is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KernelTypes {
    /// Number of the function `bpf_cast_to_kern_ctx`.
    cast: u32,
    /// Places of the fields.
    pub(crate) layout: SkbLayout,
}

impl KernelTypes {
    /// Those of the running kernel; `None` when it does not tell, lacks one, or is not to be asked.
    pub(crate) fn of_this_kernel() -> Option<KernelTypes> {
        static READ: OnceLock<Option<KernelTypes>> = OnceLock::new();
        *READ.get_or_init(|| {
            if env::var_os(SWITCH).is_some_and(|value| value == "off") {
                return None;
            }
            KernelTypes::find(&Types::parse(&fs::read(BTF).ok()?)?)
        })
    }

    fn find(types: &Types<'_>) -> Option<KernelTypes> {
        let skb = types.named(STRUCT, "sk_buff")?;
        let whole = |name| types.field(skb, name).filter(|(bit, _)| bit % 8 == 0).map(|(bit, _)| bit / 8);
        let (summed, _) = types.field(skb, "ip_summed").filter(|(_, bits)| *bits == 2)?;
        let checksum = (whole("csum_start")?, whole("csum_offset")?);
        let layout = SkbLayout::new(summed / 8, summed % 8, checksum.0, checksum.1, whole("head")?, whole("data")?)?;
        Some(KernelTypes { cast: types.named(FUNCTION, "bpf_cast_to_kern_ctx")?, layout })
    }

    /// The object with its calls of the function resolved.
    pub(crate) fn resolve(&self, object: &[u8]) -> Vec<u8> {
        /// A call of a helper; its number follows.
        const HELPER: [u8; 4] = [0x85, 0, 0, 0];
        /// A call of a function of the kernel: `BPF_PSEUDO_KFUNC_CALL` as the source register.
        const FUNCTION: [u8; 4] = [0x85, 0x20, 0, 0];
        let wanted = [HELPER, CAST_TO_KERNEL.to_le_bytes()].concat();
        let mut object = object.to_vec();
        for instruction in object.chunks_exact_mut(8).filter(|instruction| **instruction == wanted) {
            instruction[..4].copy_from_slice(&FUNCTION);
            instruction[4..].copy_from_slice(&self.cast.to_le_bytes());
        }
        object
    }
}

const STRUCT: u32 = 4;
const UNION: u32 = 5;
const FUNCTION: u32 = 12;

/// Types in the order of their numbers, which count from 1.
struct Types<'a> {
    /// Each from its first word on.
    types: Vec<&'a [u8]>,
    strings: &'a [u8],
}

impl<'a> Types<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Types<'a>> {
        const MAGIC: u32 = 0xeb9f;
        let header = word(bytes, 4)? as usize;
        let part = |at: usize| -> Option<&'a [u8]> {
            let start = header + word(bytes, at)? as usize;
            bytes.get(start..start + word(bytes, at + 4)? as usize)
        };
        let (mut rest, strings) = (part(8)?, part(16)?);
        let mut types = Vec::new();
        while !rest.is_empty() {
            types.push(rest);
            rest = rest.get(length(rest)?..)?;
        }
        (word(bytes, 0)? & 0xffff == MAGIC).then_some(Types { types, strings })
    }

    /// The number of the type of this kind and name.
    fn named(&self, kind: u32, name: &str) -> Option<u32> {
        let is = |of: &&[u8]| kind_of(of) == Some(kind) && word(of, 0).is_some_and(|at| self.is(at, name));
        self.types.iter().position(is).map(|at| at as u32 + 1)
    }

    /// Where a field of a structure begins, in bits, and how many it has when it is no whole member; those of unnamed members count.
    fn field(&self, structure: u32, name: &str) -> Option<(u32, u32)> {
        let of = self.types.get(structure.checked_sub(1)? as usize)?;
        let in_bits = word(of, 4)? >> 31 != 0;
        for member in of.get(12..length(of)?)?.chunks_exact(12) {
            let (at, offset) = (word(member, 0)?, word(member, 8)?);
            let (bit, bits) = if in_bits { (offset & 0xff_ffff, offset >> 24) } else { (offset, 0) };
            if self.is(at, name) {
                return Some((bit, bits));
            }
            if self.is(at, "")
                && let Some((inner, bits)) = self.field(word(member, 4)?, name)
            {
                return Some((bit + inner, bits));
            }
        }
        None
    }

    /// Whether the string at a place is this one.
    fn is(&self, at: u32, name: &str) -> bool {
        let rest = self.strings.get(at as usize..).unwrap_or_default();
        rest.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&0))
    }
}

/// Bytes of a type: three words, and what its kind has behind them.
fn length(of: &[u8]) -> Option<usize> {
    const COMMON: usize = 12;
    let members = word(of, 4)? as usize & 0xffff;
    Some(
        COMMON
            + match kind_of(of)? {
                1 | 14 | 17 => 4,
                3 => 12,
                STRUCT | UNION | 15 | 19 => 12 * members,
                6 | 13 => 8 * members,
                2 | 7..=12 | 16 | 18 => 0,
                _ => return None,
            },
    )
}

fn kind_of(of: &[u8]) -> Option<u32> {
    word(of, 4).map(|info| info >> 24 & 0x1f)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_kernel_tells() {
        let Some(types) = KernelTypes::of_this_kernel() else {
            println!("SKIPPED: the kernel does not tell its types, or is older than 6.2");
            return;
        };
        let KernelTypes { cast, layout } = types;
        assert!(cast > 0 && layout.summed() > 0);
        assert!(layout.checksum_offset() == layout.checksum_start() + 2, "{layout:?}");
        assert!(layout.data() == layout.head() + 8, "{layout:?}");
    }

    #[test]
    fn only_the_calls_are_resolved() {
        let types = KernelTypes { cast: 0x0102_0304, layout: SkbLayout::UNKNOWN };
        let other = [0x85, 0, 0, 0, 1, 0, 0, 0];
        let call = [0x85, 0, 0, 0, 1, 0, 0xff, 0x7f];
        let resolved = types.resolve(&[other, call, other].concat());
        assert_eq!(resolved, [other, [0x85, 0x20, 0, 0, 4, 3, 2, 1], other].concat());
    }

    #[test]
    fn rubbish_is_no_types() {
        for bytes in [&[][..], &[0; 24], &[0xff; 100]] {
            assert!(Types::parse(bytes).is_none());
        }
    }
}
