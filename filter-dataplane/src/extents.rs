//! Which parts of an array are free.

use std::collections::BTreeMap;

/// Some elements in a row; at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// The first.
    pub(crate) base: u32,
    /// How many.
    pub(crate) nodes: u32,
}

impl Extent {
    fn end(&self) -> u32 {
        self.base + self.nodes
    }

    /// Whether all of another one is in this.
    pub(crate) fn has(&self, other: &Extent) -> bool {
        self.base <= other.base && other.end() <= self.end()
    }
}

/// The free elements: how many there are in a row, by the first of them. No two rows touch.
pub(crate) struct Free(BTreeMap<u32, u32>);

impl Free {
    /// All of an array of this length.
    pub(crate) fn new(length: u32) -> Free {
        Free(BTreeMap::from([(0, length)]))
    }

    /// Takes so many, where the first row has room; `None` when no row has.
    pub(crate) fn take(&mut self, nodes: u32) -> Option<Extent> {
        let (base, _) = self.0.iter().find(|(_, free)| **free >= nodes)?;
        let extent = Extent { base: *base, nodes };
        self.claim(extent).then_some(extent)
    }

    /// Takes these, if they are free.
    pub(crate) fn claim(&mut self, extent: Extent) -> bool {
        let Some(row) = self.row_at(extent.base).filter(|row| row.has(&extent)) else {
            return false;
        };
        self.0.remove(&row.base);
        for (base, end) in [(row.base, extent.base), (extent.end(), row.end())] {
            if base < end {
                self.0.insert(base, end - base);
            }
        }
        true
    }

    /// Gives back what was taken; the row that it is in now.
    pub(crate) fn give(&mut self, extent: Extent) -> Extent {
        let (mut base, mut end) = (extent.base, extent.end());
        if let Some(before) = base.checked_sub(1).and_then(|last| self.row_at(last)) {
            base = before.base;
        }
        if let Some(behind) = self.0.remove(&end) {
            end += behind;
        }
        self.0.insert(base, end - base);
        Extent { base, nodes: end - base }
    }

    /// The row that has an element.
    fn row_at(&self, element: u32) -> Option<Extent> {
        let (base, nodes) = self.0.range(..=element).next_back()?;
        let row = Extent { base: *base, nodes: *nodes };
        (element < row.end()).then_some(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_row_with_room_is_taken_and_rows_grow_together() {
        let mut free = Free::new(100);
        let [a, b, c] = [10, 20, 30].map(|nodes| free.take(nodes).unwrap());
        assert_eq!([a.base, b.base, c.base], [0, 10, 30]);
        assert!(free.take(41).is_none());
        assert_eq!(free.give(a), a);
        assert_eq!(free.take(11).unwrap().base, 60, "ten are not enough");
        assert_eq!(free.take(4).unwrap(), Extent { base: 0, nodes: 4 });
        assert_eq!(free.give(c), c);
        assert_eq!(free.give(b), Extent { base: 4, nodes: 56 });
    }

    #[test]
    fn what_is_taken_cannot_be_claimed() {
        let mut free = Free::new(100);
        assert!(free.claim(Extent { base: 40, nodes: 20 }));
        for taken in [(40, 1), (59, 1), (30, 11), (59, 2), (0, 100), (99, 2)] {
            assert!(!free.claim(Extent { base: taken.0, nodes: taken.1 }), "{taken:?}");
        }
        assert!(free.claim(Extent { base: 0, nodes: 40 }) && free.claim(Extent { base: 60, nodes: 40 }));
        assert!(free.take(1).is_none());
    }

    #[test]
    fn nothing_is_lost_or_had_twice() {
        let mut random = 7_u32;
        let mut next = |below: u32| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 8) % below
        };
        let (mut free, mut taken) = (Free::new(1_000), Vec::<Extent>::new());
        for _ in 0..5_000 {
            if next(2) == 0
                && let Some(extent) = free.take(1 + next(90))
            {
                assert!(taken.iter().all(|other| other.end() <= extent.base || extent.end() <= other.base));
                taken.push(extent);
            } else if !taken.is_empty() {
                free.give(taken.swap_remove(next(taken.len() as u32) as usize));
            }
        }
        for extent in taken {
            free.give(extent);
        }
        assert_eq!(free.take(1_000).unwrap().base, 0);
    }
}
