//! The Merkle tree of RFC 6962 (section 2.1) over SHA-256: roots, proofs of inclusion and of consistency, and their
//! verification (RFC 9162, section 2.1).
//!
//! A proof is a list of roots of ranges of leaves, so whoever keeps the leaves, or only the perfect subtrees
//! ([`NodeId`]), can make one.

use std::ops::Range;

use sha2::{Digest as _, Sha256};

use crate::Hash;

/// The hash of a leaf.
pub fn leaf(data: &[u8]) -> Hash {
    let mut hash = Sha256::new();
    hash.update([0]);
    hash.update(data);
    hash.finalize().into()
}

/// The hash of a node over its two children.
pub fn node(left: &Hash, right: &Hash) -> Hash {
    let mut hash = Sha256::new();
    hash.update([1]);
    hash.update(left);
    hash.update(right);
    hash.finalize().into()
}

/// The root of a tree without leaves.
pub fn empty_root() -> Hash {
    Sha256::digest([]).into()
}

/// A tree that grows on the right and keeps only the roots of its perfect parts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    leaves: u64,
    /// The perfect parts from the left, of falling height: one for each bit of `leaves`.
    peaks: Vec<Hash>,
}

impl Tree {
    /// How many leaves it has.
    pub const fn len(&self) -> u64 {
        self.leaves
    }

    /// Whether it has none.
    pub const fn is_empty(&self) -> bool {
        self.leaves == 0
    }

    /// Adds a leaf, by its hash. Gives the perfect subtrees that it completes: itself, and what ends with it, by height.
    pub fn push(&mut self, leaf: Hash) -> Vec<Hash> {
        let mut completed = vec![leaf];
        let mut top = leaf;
        for _ in 0..self.leaves.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                top = node(&left, &top);
                completed.push(top);
            }
        }
        self.peaks.push(top);
        self.leaves += 1;
        completed
    }

    /// The tree whose perfect parts are these.
    pub fn of_peaks(leaves: u64, peaks: Vec<Hash>) -> Option<Self> {
        (peaks.len() == leaves.count_ones() as usize).then_some(Self { leaves, peaks })
    }

    /// Its root.
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        let Some(last) = peaks.next() else {
            return empty_root();
        };
        peaks.fold(*last, |right, left| node(left, &right))
    }
}

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

/// Whether `leaf` is the leaf `index` of the tree of `size` leaves with this root (RFC 9162, section 2.1.3.2).
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, path: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut place, mut last, mut hash) = (index, size - 1, *leaf);
    for sibling in path {
        if last == 0 {
            return false;
        }
        if place & 1 == 1 || place == last {
            hash = node(sibling, &hash);
            while place & 1 == 0 && place != 0 {
                place >>= 1;
                last >>= 1;
            }
        } else {
            hash = node(&hash, sibling);
        }
        place >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// Whether the tree of `first` leaves with `first_root` is the beginning of the tree of `second` leaves with
/// `second_root` (RFC 9162, section 2.1.4.2).
pub fn verify_consistency(
    first: u64,
    second: u64,
    first_root: &Hash,
    second_root: &Hash,
    proof: &[Hash],
) -> bool {
    if first == second {
        return proof.is_empty() && first_root == second_root;
    }
    if first == 0 || first > second {
        return false;
    }
    let mut proof = proof.iter();
    let seed = if first.is_power_of_two() {
        Some(first_root)
    } else {
        proof.next()
    };
    let Some(seed) = seed else {
        return false;
    };
    let (mut place, mut last) = (first - 1, second - 1);
    while place & 1 == 1 {
        place >>= 1;
        last >>= 1;
    }
    let (mut old, mut new) = (*seed, *seed);
    for sibling in proof {
        if last == 0 {
            return false;
        }
        if place & 1 == 1 || place == last {
            old = node(sibling, &old);
            new = node(sibling, &new);
            while place & 1 == 0 && place != 0 {
                place >>= 1;
                last >>= 1;
            }
        } else {
            new = node(&new, sibling);
        }
        place >>= 1;
        last >>= 1;
    }
    last == 0 && old == *first_root && new == *second_root
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The eight leaves that Certificate Transparency's own tests use, and the roots over the first n of them.
    const LEAVES: [&str; 8] = [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ];
    const ROOTS: [&str; 8] = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

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
    fn roots_are_those_of_certificate_transparency() {
        let mut tree = Tree::default();
        for (data, root) in LEAVES.iter().zip(ROOTS) {
            tree.push(leaf(&hex::decode(data).unwrap()));
            assert_eq!(hex::encode(tree.root()), root);
        }
        assert_eq!(
            hex::encode(empty_root()),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
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
