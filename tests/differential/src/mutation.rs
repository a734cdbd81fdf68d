//! What breaks a frame.

use crate::random::Random;

/// One change of a frame.
#[derive(Clone, Debug)]
pub(crate) enum Mutation {
    /// A byte is another one.
    Flip { at: usize, with: u8 },
    /// The end is missing.
    Cut { to: usize },
    /// A length field says so much more or less.
    Length { at: usize, by: i16 },
    /// Bytes come behind the end.
    Extra { bytes: Vec<u8> },
}

impl Mutation {
    pub(crate) fn random(random: &mut Random, length: usize) -> Mutation {
        match random.below(8) {
            0..=3 => Mutation::Flip { at: place(random, length), with: flip(random) },
            4 | 5 => Mutation::Cut { to: random.below(length + 1) },
            // Where the lengths of the headers are, in a frame without a tag.
            6 => Mutation::Length {
                at: random.pick(&[16, 18, 38, 58, 54]),
                by: random.pick(&[-40, -20, -9, -8, -4, -1, 1, 4, 8, 9, 20, 1480]),
            },
            _ => {
                let length = 1 + random.below(12);
                Mutation::Extra { bytes: random.bytes(length) }
            }
        }
    }

    pub(crate) fn apply(&self, frame: &mut Vec<u8>) {
        match self {
            Mutation::Flip { at, with } => {
                if let Some(byte) = frame.get_mut(*at) {
                    *byte ^= with;
                }
            }
            Mutation::Cut { to } => frame.truncate(*to),
            Mutation::Length { at, by } => {
                if let Some([high, low]) = frame.get_mut(*at..at + 2) {
                    [*high, *low] = u16::from_be_bytes([*high, *low]).wrapping_add_signed(*by).to_be_bytes();
                }
            }
            Mutation::Extra { bytes } => frame.extend(bytes),
        }
    }
}

/// Headers more often than payload.
fn place(random: &mut Random, length: usize) -> usize {
    let end = if random.percent(70) { length.min(60) } else { length };
    random.below(end.max(1))
}

fn flip(random: &mut Random) -> u8 {
    if random.percent(60) { 1 << random.below(8) } else { random.byte() }
}
