//! Groups of series by their labels.

use std::collections::HashMap;

use skopos_model::Labels;
use xxhash_rust::xxh3::xxh3_64;

use super::METRIC_NAME;
use super::vector::{Key, mix};

/// Which labels identify a group.
pub(crate) enum Pick<'a> {
    /// These, in sorted order.
    By(&'a [&'a str]),
    /// All but these (sorted) and the metric's name.
    Without(&'a [&'a str]),
    /// All, the name too unless it was dropped.
    All,
}

impl Pick<'_> {
    fn hash(&self, key: &Key) -> u64 {
        match self {
            Self::By(labels) => labels.iter().fold(0, |h, l| mix(h, key.get(l))),
            Self::Without(labels) => {
                key.pairs().filter(|(n, _)| *n != METRIC_NAME && labels.binary_search(n).is_err()).fold(0, |h, (n, v)| mix(mix(h, n), v))
            }
            Self::All => key.hash(),
        }
    }

    fn same(&self, a: &Key, b: &Key) -> bool {
        match self {
            Self::By(labels) => labels.iter().all(|l| a.get(l) == b.get(l)),
            Self::Without(labels) => {
                let left = a.pairs().filter(|(n, _)| *n != METRIC_NAME && labels.binary_search(n).is_err());
                left.eq(b.pairs().filter(|(n, _)| *n != METRIC_NAME && labels.binary_search(n).is_err()))
            }
            Self::All => a.same(b),
        }
    }

    /// The group's labels.
    pub(crate) fn labels(&self, key: &Key) -> Labels {
        match self {
            Self::By(labels) => Labels::new(labels.iter().map(|l| (*l, key.get(l)))),
            Self::Without(labels) => Labels::new(key.pairs().filter(|(n, _)| *n != METRIC_NAME && labels.binary_search(n).is_err())),
            Self::All => Labels::new(key.pairs()),
        }
    }
}

/// Groups series: the group of each, and the first member of each group, in order of appearance.
pub(crate) fn group(keys: &[Key], pick: &Pick<'_>) -> (Vec<u32>, Vec<u32>) {
    let mut groups = Groups::default();
    let codes = keys.iter().map(|key| groups.code(key, pick)).collect();
    (codes, groups.first_index)
}

/// Numbers groups as they appear.
#[derive(Default)]
pub(crate) struct Groups<'a> {
    by_hash: HashMap<u64, Vec<u32>, PassThrough>,
    first: Vec<&'a Key>,
    first_index: Vec<u32>,
    seen: u32,
    last: Option<u32>,
    /// Values of the last group's labels, for [`Pick::By`].
    last_values: Vec<&'a str>,
}

impl<'a> Groups<'a> {
    /// The group of `key`, a new one when it is the first of its kind.
    pub(crate) fn code(&mut self, key: &'a Key, pick: &Pick<'_>) -> u32 {
        let index = self.seen;
        self.seen += 1;
        // Sorted series tend to stay in the group of the one before.
        if let Pick::By(labels) = pick {
            let same = self.last.is_some() && labels.iter().zip(&self.last_values).all(|(l, v)| key.get(l) == *v);
            if let (true, Some(last)) = (same, self.last) {
                return last;
            }
            self.last_values.clear();
            self.last_values.extend(labels.iter().map(|l| key.get(l)));
        } else if let Some(last) = self.last
            && pick.same(self.first[last as usize], key)
        {
            return last;
        }
        let slot = self.by_hash.entry(pick.hash(key)).or_default();
        let found = slot.iter().copied().find(|c| pick.same(self.first[*c as usize], key));
        let code = found.unwrap_or_else(|| {
            let code = u32::try_from(self.first.len()).unwrap_or(u32::MAX);
            slot.push(code);
            self.first.push(key);
            self.first_index.push(index);
            code
        });
        self.last = Some(code);
        code
    }

    /// The group of `key` when there is one.
    pub(crate) fn find(&self, key: &Key, pick: &Pick<'_>) -> Option<u32> {
        self.by_hash.get(&pick.hash(key))?.iter().copied().find(|c| pick.same(self.first[*c as usize], key))
    }

    pub(crate) fn len(&self) -> usize {
        self.first.len()
    }
}

/// Keys are hashes already.
#[derive(Default, Clone, Copy)]
pub(crate) struct PassThrough;

impl std::hash::BuildHasher for PassThrough {
    type Hasher = Identity;
    fn build_hasher(&self) -> Identity {
        Identity(0)
    }
}

/// See [`PassThrough`].
#[derive(Default)]
pub(crate) struct Identity(u64);

impl std::hash::Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64(bytes) ^ self.0.rotate_left(1);
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}
