//! Making proofs for the trees of RFC 6962. Whoever only verifies needs nothing of it.
//!
//! A proof is a list of roots of ranges of leaves, so whoever keeps the leaves, or only the perfect subtrees
//! ([`NodeId`]), can make one.

use std::ops::Range;

use super::{Tree, node};
use crate::Hash;

/// A perfect subtree: it covers the leaves `index << level .. (index + 1) << level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId {
    /// Its height; 0 is a leaf.
    pub level: u32,
    /// Its place among those of its height.
    pub index: u64,
}

impl NodeId {
    /// How many leaves the tree has when this node is complete.
    pub const fn complete_at(self) -> u64 {
        (self.index + 1) << self.level
    }
}

/// The perfect subtrees that make a range of leaves, which must begin where a perfect subtree of its size may begin.
/// All ranges of proofs do.
pub fn perfect_nodes(range: &Range<u64>) -> Vec<NodeId> {
    let mut nodes = Vec::new();
    let mut begin = range.start;
    while begin < range.end {
        let level = (range.end - begin).ilog2();
        nodes.push(NodeId {
            level,
            index: begin >> level,
        });
        begin += 1 << level;
    }
    nodes
}

/// The root of a range from its perfect subtrees, in the order of [`perfect_nodes`].
pub fn join(nodes: &[Hash]) -> Option<Hash> {
    let (last, others) = nodes.split_last()?;
    Some(
        others
            .iter()
            .rev()
            .fold(*last, |right, left| node(left, &right)),
    )
}

/// The root over these leaves.
pub fn root(leaves: &[Hash]) -> Hash {
    let mut tree = Tree::default();
    for leaf in leaves {
        tree.push(*leaf);
    }
    tree.root()
}

/// The largest power of two that is less than `n`, for `n` > 1.
const fn split(n: u64) -> u64 {
    1 << (n - 1).ilog2()
}

/// The ranges whose roots prove that the leaf `index` is in a tree of `size` leaves, the deepest first.
///
/// Nothing for an index that is not in the tree.
pub fn inclusion(index: u64, size: u64) -> Vec<Range<u64>> {
    let mut ranges = Vec::new();
    let (mut begin, mut end) = (0, size);
    if index >= size {
        return ranges;
    }
    while end - begin > 1 {
        let middle = begin + split(end - begin);
        if index < middle {
            ranges.push(middle..end);
            end = middle;
        } else {
            ranges.push(begin..middle);
            begin = middle;
        }
    }
    ranges.reverse();
    ranges
}

/// The ranges whose roots prove that a tree of `first` leaves is the beginning of one of `second`, the deepest first.
/// Nothing for `first` = 0 or `first` ≥ `second`.
pub fn consistency(first: u64, second: u64) -> Vec<Range<u64>> {
    let mut ranges = Vec::new();
    if first == 0 || first >= second {
        return ranges;
    }
    let (mut begin, mut end) = (0, second);
    while end != first {
        let middle = begin + split(end - begin);
        if first <= middle {
            ranges.push(middle..end);
            end = middle;
        } else {
            ranges.push(begin..middle);
            begin = middle;
        }
    }
    // A first tree that is one perfect subtree from the left is known to whoever asks.
    if begin != 0 {
        ranges.push(begin..end);
    }
    ranges.reverse();
    ranges
}

impl Tree {
    /// The tree whose perfect parts are these.
    pub fn of_peaks(leaves: u64, peaks: Vec<Hash>) -> Option<Self> {
        (peaks.len() == leaves.count_ones() as usize).then_some(Self { leaves, peaks })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::{leaf, verify_consistency, verify_inclusion};

    fn leaves(n: u64) -> Vec<Hash> {
        (0..n).map(|i| leaf(&i.to_be_bytes())).collect()
    }

    fn roots_of(leaves: &[Hash], ranges: &[Range<u64>]) -> Vec<Hash> {
        ranges
            .iter()
            .map(|range| {
                root(
                    &leaves[usize::try_from(range.start).unwrap()
                        ..usize::try_from(range.end).unwrap()],
                )
            })
            .collect()
    }

    #[test]
    fn every_leaf_is_proven_in_and_no_other() {
        for size in 1..=33 {
            let leaves = leaves(size);
            let top = root(&leaves);
            for index in 0..size {
                let path = roots_of(&leaves, &inclusion(index, size));
                let own = &leaves[usize::try_from(index).unwrap()];
                assert!(verify_inclusion(own, index, size, &path, &top));
                for (other, leaf) in leaves.iter().enumerate() {
                    let same = other as u64 == index;
                    assert_eq!(verify_inclusion(leaf, index, size, &path, &top), same);
                    assert_eq!(verify_inclusion(own, other as u64, size, &path, &top), same);
                }
                for at in 0..path.len() {
                    let mut broken = path.clone();
                    broken[at][0] ^= 1;
                    assert!(!verify_inclusion(own, index, size, &broken, &top));
                    broken.remove(at);
                    assert!(!verify_inclusion(own, index, size, &broken, &top));
                }
            }
            assert!(!verify_inclusion(&leaves[0], size, size, &[], &top));
        }
    }

    #[test]
    fn every_beginning_is_proven_and_nothing_else() {
        for second in 1..=33 {
            let all = leaves(second);
            let top = root(&all);
            for first in 1..=second {
                let old = root(&all[..usize::try_from(first).unwrap()]);
                let proof = roots_of(&all, &consistency(first, second));
                assert!(verify_consistency(first, second, &old, &top, &proof));
                assert!(!verify_consistency(first, second, &[1; 32], &top, &proof));
                assert!(!verify_consistency(first, second, &old, &[1; 32], &proof));
                for other in (0..second).filter(|other| *other != first) {
                    assert!(!verify_consistency(other, second, &old, &top, &proof));
                }
                for at in 0..proof.len() {
                    let mut broken = proof.clone();
                    broken[at][31] ^= 0x80;
                    assert!(!verify_consistency(first, second, &old, &top, &broken));
                }
                let mut longer = proof.clone();
                longer.push([3; 32]);
                assert!(!verify_consistency(first, second, &old, &top, &longer));
            }
        }
    }

    /// Proofs can be made from the perfect subtrees alone, each kept by the leaf that completed it.
    #[test]
    fn completed_subtrees_are_enough_for_every_proof() {
        let size = 40;
        let all = leaves(size);
        let mut tree = Tree::default();
        let kept: Vec<Vec<Hash>> = all.iter().map(|leaf| tree.push(*leaf)).collect();
        let from_kept = |range: &Range<u64>| {
            let nodes: Vec<Hash> = perfect_nodes(range)
                .into_iter()
                .map(|id| kept[usize::try_from(id.complete_at()).unwrap() - 1][id.level as usize])
                .collect();
            join(&nodes).unwrap()
        };
        for second in 1..=size {
            let mut ranges: Vec<Range<u64>> = std::iter::once(0..second).collect();
            for first in 0..second {
                ranges.extend(consistency(first, second));
                ranges.extend(inclusion(first, second));
            }
            for range in ranges {
                assert_eq!(
                    from_kept(&range),
                    roots_of(&all, std::slice::from_ref(&range))[0]
                );
            }
            let peaks = perfect_nodes(&(0..second));
            let peaks = peaks
                .iter()
                .map(|id| kept[usize::try_from(id.complete_at()).unwrap() - 1][id.level as usize]);
            let again = Tree::of_peaks(second, peaks.collect()).unwrap();
            let whole = 0..second;
            assert_eq!(
                again.root(),
                roots_of(&all, std::slice::from_ref(&whole))[0]
            );
        }
        assert_eq!(Tree::of_peaks(3, vec![[0; 32]]), None);
    }
}
