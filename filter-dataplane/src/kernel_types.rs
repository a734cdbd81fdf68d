//! What the running kernel says of its own types (BTF, Linux 5.4), as far as the program asks for it.
//!
//! aya resolves no functions of the kernel that a program calls, and no fields. The program has numbers in their places
//! ([`filter_core::abi`]), which are replaced before it is loaded.

use filter_core::abi::{self, CAST_TO_KERNEL, KERNEL_VIEW, KernelView, LEAD, READ_FIELD, SUMMED_BITS, SkbField};
use std::env;
use std::fs;
use std::sync::OnceLock;

const BTF: &str = "/sys/kernel/btf/vmlinux";
/// Set to `off`: the program does without, as where the kernel does not tell. Set to `read`: it reads memory, as before Linux 6.2.
const SWITCH: &str = "SANDBOX_FILTER_KERNEL_TYPES";

/// What a program is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KernelTypes {
    /// Number of the function `bpf_cast_to_kern_ctx`, where there is one.
    cast: Option<u32>,
    /// The bits of `ip_summed` in its byte.
    summed_bits: u32,
    /// By its number in [`SkbField`], the offset of each field.
    fields: [(u16, u16); 5],
}

impl KernelTypes {
    /// Those of the running kernel; `None` when it does not tell, lacks one, or is not to be asked.
    pub(crate) fn of_this_kernel() -> Option<KernelTypes> {
        let types = this_kernel().0;
        match env::var(SWITCH).as_deref() {
            Ok("off") => None,
            Ok("read") => types.map(|types| KernelTypes { cast: None, ..types }),
            _ => types,
        }
    }

    fn find(types: &Types<'_>) -> Option<KernelTypes> {
        let skb = types.named(STRUCT, "sk_buff")?;
        let bytes = |bit: u32| u16::try_from(bit / 8).ok().filter(|at| i16::try_from(*at).is_ok());
        let whole = |name| types.field(skb, name).filter(|(bit, _)| bit % 8 == 0).and_then(|(bit, _)| bytes(bit));
        let (summed, _) = types.field(skb, "ip_summed").filter(|(bit, bits)| *bits == 2 && bit % 8 < 7)?;
        let fields = [
            (SkbField::SUMMED, bytes(summed)?),
            (SkbField::CHECKSUM_START, whole("csum_start")?),
            (SkbField::CHECKSUM_OFFSET, whole("csum_offset")?),
            (SkbField::HEAD, whole("head")?),
            (SkbField::DATA, whole("data")?),
        ];
        let cast = types.named(FUNCTION, "bpf_cast_to_kern_ctx");
        Some(KernelTypes { cast, summed_bits: 3 << (summed % 8), fields })
    }
}

/// How many bytes an element of an array has before what it holds, so that this lies in lines of the processor's cache: 0 when the kernel
/// does not tell where the elements of its arrays begin. The same for as long as the kernel runs.
pub(crate) fn lead() -> u32 {
    this_kernel().1
}

fn this_kernel() -> (Option<KernelTypes>, u32) {
    static READ: OnceLock<(Option<KernelTypes>, u32)> = OnceLock::new();
    *READ.get_or_init(|| {
        let bytes = fs::read(BTF).unwrap_or_default();
        let Some(types) = Types::parse(&bytes) else {
            return (None, 0);
        };
        let elements = types.named(STRUCT, "bpf_array").and_then(|array| types.field(array, "value"));
        (KernelTypes::find(&types), elements.map_or(0, |(bit, _)| abi::lead(bit as usize / 8)))
    })
}

/// The object with the kernel's own numbers in the places of those that stand for them; without types it is told that there are none.
pub(crate) fn resolve(object: &[u8], types: Option<&KernelTypes>) -> Vec<u8> {
    let mut object = object.to_vec();
    let (instructions, _) = object.as_chunks_mut::<8>();
    for instruction in instructions {
        resolve_one(instruction, types);
    }
    object
}

/// An instruction is an operation, its registers, an offset of two bytes and a number of four.
fn resolve_one(instruction: &mut [u8; 8], types: Option<&KernelTypes>) {
    const CALL: u8 = 0x85;
    /// A call of a function of the kernel has this in the place of the source register.
    const KERNEL_FUNCTION: u8 = 2 << 4;
    const MOVE: u8 = 0xb7;
    const AND: u8 = 0x57;
    const XOR: u8 = 0xa7;
    const LOAD_ONE: u8 = 0x71;
    const LOAD_TWO: u8 = 0x69;
    const LOAD_EIGHT: u8 = 0x79;
    let [operation, _, a, b, number @ ..] = *instruction;
    let (offset, number) = (u16::from_le_bytes([a, b]), u32::from_le_bytes(number));
    match (operation, offset, number, types) {
        (MOVE, 0, KERNEL_VIEW, _) => {
            let view = match types {
                None => KernelView::NONE,
                Some(KernelTypes { cast: None, .. }) => KernelView::READ,
                Some(KernelTypes { cast: Some(_), .. }) => KernelView::CAST,
            };
            instruction[4..].copy_from_slice(&view.to_le_bytes());
        }
        (MOVE, 0, READ_FIELD.., Some(types)) => {
            if let Some((_, place)) = types.fields.get((number - READ_FIELD) as usize) {
                instruction[4..].copy_from_slice(&u32::from(*place).to_le_bytes());
            }
        }
        (MOVE, 0, LEAD, _) => instruction[4..].copy_from_slice(&lead().to_le_bytes()),
        (CALL, 0, CAST_TO_KERNEL, Some(KernelTypes { cast: Some(cast), .. })) => {
            instruction[1] |= KERNEL_FUNCTION;
            instruction[4..].copy_from_slice(&cast.to_le_bytes());
        }
        (AND | XOR | MOVE, 0, SUMMED_BITS, Some(types)) => {
            instruction[4..].copy_from_slice(&types.summed_bits.to_le_bytes());
        }
        (LOAD_ONE | LOAD_TWO | LOAD_EIGHT, _, 0, Some(types)) => {
            if let Some((_, place)) = types.fields.iter().find(|(field, _)| *field == offset) {
                instruction[2..4].copy_from_slice(&place.to_le_bytes());
            }
        }
        _ => {}
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
        let Some(KernelTypes { cast, summed_bits, fields }) = KernelTypes::of_this_kernel() else {
            println!("SKIPPED: the kernel does not tell its types");
            return;
        };
        let [summed, start, offset, head, data] = fields.map(|(_, place)| place);
        assert!(cast.is_none_or(|cast| cast > 0) && summed > 0 && summed_bits.count_ones() == 2);
        assert_eq!((offset, data), (start + 2, head + 8));
    }

    #[test]
    fn only_what_stands_for_something_is_replaced() {
        let types = KernelTypes { cast: Some(0x0102_0304), summed_bits: 0x60, fields: [(SkbField::HEAD, 0x0110); 5] };
        let resolved = |instruction: [u8; 8], types: Option<&KernelTypes>| resolve(&instruction, types);
        for (before, after) in [
            ([0x85, 0, 0, 0, 1, 0, 0xff, 0x7f], [0x85, 0x20, 0, 0, 4, 3, 2, 1]),
            ([0x85, 0, 0, 0, 1, 0, 0, 0], [0x85, 0, 0, 0, 1, 0, 0, 0]),
            ([0xb7, 3, 0, 0, 2, 0, 0xff, 0x7f], [0xb7, 3, 0, 0, 1, 0, 0, 0]),
            ([0x57, 3, 0, 0, 3, 0, 0xff, 0x7f], [0x57, 3, 0, 0, 0x60, 0, 0, 0]),
            ([0xb7, 3, 0, 0, 3, 0, 0xff, 0x7f], [0xb7, 3, 0, 0, 0x60, 0, 0, 0]),
            ([0xb7, 3, 0, 0, 4, 1, 0xff, 0x7f], [0xb7, 3, 0, 0, 0x10, 1, 0, 0]),
            ([0xb7, 3, 0, 0, 5, 1, 0xff, 0x7f], [0xb7, 3, 0, 0, 5, 1, 0xff, 0x7f]),
            ([0x79, 0x12, 4, 0x7f, 0, 0, 0, 0], [0x79, 0x12, 0x10, 1, 0, 0, 0, 0]),
            ([0x79, 0x12, 8, 0, 0, 0, 0, 0], [0x79, 0x12, 8, 0, 0, 0, 0, 0]),
        ] {
            assert_eq!(resolved(before, Some(&types)), after);
        }
        assert_eq!(resolved([0xb7, 3, 0, 0, 2, 0, 0xff, 0x7f], None), [0xb7, 3, 0, 0, 0, 0, 0, 0]);
        let reads = KernelTypes { cast: None, ..types };
        assert_eq!(resolved([0xb7, 3, 0, 0, 2, 0, 0xff, 0x7f], Some(&reads)), [0xb7, 3, 0, 0, 2, 0, 0, 0]);
        assert_eq!(resolved([0x79, 0x12, 4, 0x7f, 0, 0, 0, 0], None), [0x79, 0x12, 4, 0x7f, 0, 0, 0, 0]);
    }

    #[test]
    fn rubbish_is_no_types() {
        for bytes in [&[][..], &[0; 24], &[0xff; 100]] {
            assert!(Types::parse(bytes).is_none());
        }
    }
}
