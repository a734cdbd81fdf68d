//! Builds the search tree of [`filter_core::table`] from ranges.

use filter_core::abi::Capture;
use filter_core::table::{First, Node, Page, V4_KEYS, V4_TOP, V4_TOP_KEYS, V6_KEYS, node_place};

/// Addresses from the end of the range before up to and including `last`, and their answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) last: u128,
    pub(crate) answer: u8,
}

/// Builds a table: its beginning, and its other pages. The ranges of each family are in order and cover all of its addresses.
pub(crate) fn build(generation: u32, capture: Capture, v4: &[Range], v6: &[Range]) -> (First, Vec<Page>) {
    let (page, mut rest) = v4_pages(v4);
    let v6 = add_v6(&mut rest, v6);
    let mut first = First { page, v6 };
    first.set_policy(generation, capture);
    (first, rest)
}

/// Parts of an IPv4 node.
const V4_PARTS: usize = V4_KEYS + 1;
/// Parts of an IPv4 page.
const V4_PAGE_PARTS: usize = V4_PARTS * (V4_TOP_KEYS + 1);

/// The IPv4 tree: its first page, then the pages of each level behind those of the one above it.
fn v4_pages(ranges: &[Range]) -> (Page, Vec<Page>) {
    // From the leaves up: what the parts of each level's pages end with.
    let mut levels: Vec<Vec<u32>> = vec![ranges.iter().map(|range| range.last as u32).collect()];
    while levels[levels.len() - 1].len() > V4_PAGE_PARTS {
        let below = &levels[levels.len() - 1];
        levels.push(below.chunks(V4_PAGE_PARTS).map(|chunk| chunk[chunk.len() - 1]).collect());
    }
    let count = |lasts: &Vec<u32>| lasts.len().div_ceil(V4_PAGE_PARTS);
    let mut first_page = Page::EMPTY;
    let mut pages = Vec::with_capacity(levels.iter().map(count).sum());
    let answers: Vec<u8> = ranges.iter().map(|range| range.answer).collect();
    let root = levels.len() - 1;
    for (height, lasts) in levels.iter().enumerate().rev() {
        let below = if height == root { 0 } else { pages.len() + count(lasts) };
        for (nth, chunk) in lasts.chunks(V4_PAGE_PARTS).enumerate() {
            let first = nth * V4_PAGE_PARTS;
            let page = v4_page(chunk, |at, node| {
                if height == 0 {
                    node.set_answers(&answers[first + at..(first + at + V4_PARTS).min(first + chunk.len())]);
                } else {
                    node.set_below(index(below + first + at));
                }
            });
            if height == root {
                first_page = page;
            } else {
                pages.push(page);
            }
        }
    }
    (first_page, pages)
}

/// A page whose parts end with `lasts`; `fill` says what is below the node of the parts from one on.
fn v4_page(lasts: &[u32], fill: impl Fn(usize, &mut Node)) -> Page {
    let mut page = Page::EMPTY;
    let divide =
        |node: &mut Node, lasts: &[u32]| node.keys[..lasts.len() - 1].copy_from_slice(&lasts[..lasts.len() - 1]);
    for (nth, chunk) in lasts.chunks(V4_PARTS).enumerate() {
        let node = &mut page.0[V4_TOP + 1 + nth];
        divide(node, chunk);
        fill(nth * V4_PARTS, node);
    }
    let ends: Vec<u32> = lasts.chunks(V4_PARTS).map(|chunk| chunk[chunk.len() - 1]).collect();
    let top = &mut page.0[V4_TOP];
    divide(top, &ends);
    page
}

/// Parts of an IPv6 node.
const V6_PARTS: usize = V6_KEYS + 1;
/// Families of nodes, the children of one, that a page has room for.
const PAGE_FAMILIES: usize = 2;

/// Adds the IPv6 tree, the families of each level behind those of the one above it, to pages of their own; its root is returned.
fn add_v6(pages: &mut Vec<Page>, ranges: &[Range]) -> Node {
    let divided = |lasts: &[u128]| {
        let mut node = Node::EMPTY;
        for (at, last) in lasts[..lasts.len() - 1].iter().enumerate() {
            let words = [last >> 96, last >> 64, last >> 32, *last].map(|word| word as u32);
            node.keys[4 * at..4 * at + 4].copy_from_slice(&words);
        }
        node
    };
    let mut lasts: Vec<u128> = ranges.iter().map(|range| range.last).collect();
    let leaves = lasts.chunks(V6_PARTS).zip(ranges.chunks(V6_PARTS)).map(|(lasts, ranges)| {
        let mut node = divided(lasts);
        node.set_answers(&ranges.iter().map(|range| range.answer).collect::<Vec<u8>>());
        node
    });
    let mut levels: Vec<Vec<Node>> = vec![leaves.collect()];
    while levels[levels.len() - 1].len() > 1 {
        lasts = lasts.chunks(V6_PARTS).map(|chunk| chunk[chunk.len() - 1]).collect();
        levels.push(lasts.chunks(V6_PARTS).map(divided).collect());
    }
    let first = pages.len();
    let mut families: Vec<Vec<Node>> = Vec::new();
    let mut root = None;
    while let Some(mut level) = levels.pop() {
        let below = families.len() + if root.is_none() { 0 } else { level.len().div_ceil(V6_PARTS) };
        if !levels.is_empty() {
            for (family, node) in (below..).zip(&mut level) {
                let at = family % PAGE_FAMILIES * V6_PARTS;
                node.set_below(node_place(index(first + family / PAGE_FAMILIES), index(at)));
            }
        }
        if root.is_none() {
            root = level.first().copied();
        } else {
            families.extend(level.chunks(V6_PARTS).map(<[Node]>::to_vec));
        }
    }
    pages.extend(families.chunks(PAGE_FAMILIES).map(|families| {
        let mut page = Page::EMPTY;
        for (family, nodes) in families.iter().zip(page.0.chunks_mut(V6_PARTS)) {
            nodes[..family.len()].copy_from_slice(family);
        }
        page
    }));
    root.unwrap_or(Node::EMPTY)
}

fn index(at: usize) -> u32 {
    u32::try_from(at).expect("a table has fewer nodes than IPv4 addresses")
}
