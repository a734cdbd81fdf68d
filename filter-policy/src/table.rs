//! Builds the search tree of [`filter_core::table`] from ranges.

use filter_core::abi::Capture;
use filter_core::table::{HEADER, Node, V4_KEYS, V4_ROOT, V6_KEYS, V6_ROOT};

/// Addresses from the end of the range before up to and including `last`, and their answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) last: u128,
    pub(crate) answer: u8,
}

/// Builds a table. The ranges of each family are in order and cover all of its addresses.
pub(crate) fn build(generation: u32, capture: Capture, v4: &[Range], v6: &[Range]) -> Vec<Node> {
    let mut header = Node { keys: [0; V4_KEYS], ..Node::EMPTY };
    (header.keys[0], header.keys[1]) = (generation, capture as u32);
    let mut nodes = vec![Node::EMPTY; 3];
    nodes[HEADER as usize] = header;
    grow(&mut nodes, V4_ROOT, V4_KEYS, v4, |node, at, last| node.keys[at] = last as u32);
    grow(&mut nodes, V6_ROOT, V6_KEYS, v6, |node, at, last| {
        let words = [last >> 96, last >> 64, last >> 32, last].map(|word| word as u32);
        node.keys[4 * at..4 * at + 4].copy_from_slice(&words);
    });
    nodes
}

/// Adds the tree of one family, its root at `root` and all else at the end, each level behind the one above it.
fn grow(nodes: &mut Vec<Node>, root: u32, keys: usize, ranges: &[Range], set: impl Fn(&mut Node, usize, u128)) {
    let divided = |lasts: &[u128]| {
        let mut node = Node::EMPTY;
        lasts[..lasts.len() - 1].iter().enumerate().for_each(|(at, last)| set(&mut node, at, *last));
        node
    };
    let mut lasts: Vec<u128> = ranges.iter().map(|range| range.last).collect();
    let leaves = lasts.chunks(keys + 1).zip(ranges.chunks(keys + 1)).map(|(lasts, ranges)| {
        let parts = std::array::from_fn(|at| ranges[at.min(ranges.len() - 1)].answer);
        Node { parts, ..divided(lasts) }
    });
    let mut levels: Vec<Vec<Node>> = vec![leaves.collect()];
    while levels[levels.len() - 1].len() > 1 {
        lasts = lasts.chunks(keys + 1).map(|chunk| chunk[chunk.len() - 1]).collect();
        levels.push(lasts.chunks(keys + 1).map(divided).collect());
    }
    let mut at = root as usize;
    while let Some(mut level) = levels.pop() {
        let below = if at == root as usize { nodes.len() } else { at + level.len() };
        if !levels.is_empty() {
            for (child, node) in (below..).step_by(keys + 1).zip(&mut level) {
                let child = u32::try_from(child).expect("a table has fewer nodes than IPv4 addresses");
                node.parts[..4].copy_from_slice(&child.to_ne_bytes());
                node.inner = 1;
            }
        }
        if at == root as usize {
            nodes[at] = level[0];
        } else {
            nodes.append(&mut level);
        }
        at = below;
    }
}
