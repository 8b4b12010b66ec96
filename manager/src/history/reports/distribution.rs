//! How values are distributed, for medians and percentiles.
//!
//! Values are kept as they are until they are stored; a stored distribution has counts of buckets. A bucket
//! holds one value below 64, and above that all values with the same six leading bits: its middle is within
//! 1.6 % of each of them.

use std::borrow::Cow;

/// Values below this have a bucket each.
const SINGLE: u64 = 64;
/// Buckets between a power of two and the next.
const OCTAVE: u64 = 32;
/// Larger values count as this one: nine thousand years in milliseconds, 256 TiB in bytes.
const LARGEST: u64 = (1 << 48) - 1;
/// How many buckets there are: those of one value, and 42 octaves.
const BUCKETS: usize = 64 + 42 * 32;

/// Values, or counts of buckets, or both.
#[derive(Debug, Clone, Default)]
pub(super) struct Distribution {
    /// Exact.
    values: Vec<u64>,
    /// Empty, or a count for each bucket.
    counts: Vec<u32>,
    counted: u64,
    /// The smallest and the largest, exact.
    range: Option<(u64, u64)>,
}

impl Distribution {
    /// Takes a value in.
    pub(super) fn add(&mut self, value: u64) {
        let value = value.min(LARGEST);
        self.values.push(value);
        self.widen(value, value);
    }

    /// Takes another one's values in.
    pub(super) fn merge(&mut self, other: &Self) {
        let Some((least, most)) = other.range else { return };
        self.widen(least, most);
        self.values.extend(&other.values);
        if other.counts.is_empty() {
            return;
        }
        self.counts.resize(BUCKETS, 0);
        self.counted += other.counted;
        let used = bucket(least)..=bucket(most);
        let theirs = other.counts.get(used.clone()).into_iter().flatten();
        for (count, more) in self.counts.get_mut(used).into_iter().flatten().zip(theirs) {
            *count = count.saturating_add(*more);
        }
    }

    /// The value that `percent` of the values are not above; `None` without values.
    pub(super) fn percentile(&self, percent: u64) -> Option<u64> {
        let (least, most) = self.range?;
        let total = self.counted + self.values.len() as u64;
        let rank = (total * percent).div_ceil(100).max(1);
        if self.counts.is_empty() {
            let mut sorted = self.values.clone();
            sorted.sort_unstable();
            return sorted.get(usize::try_from(rank - 1).ok()?).copied();
        }
        let counts =
            if self.values.is_empty() { Cow::Borrowed(&self.counts) } else { Cow::Owned(self.folded()) };
        let mut seen = 0;
        // All others are zero.
        let mut used = (bucket(least)..=bucket(most)).zip(counts.get(bucket(least)..)?);
        let (reached, _) = used.find(|(_, count)| {
            seen += u64::from(**count);
            seen >= rank
        })?;
        Some(middle(reached).clamp(least, most))
    }

    /// The smallest and the largest value.
    pub(super) fn range(&self) -> Option<(u64, u64)> {
        self.range
    }

    /// Appends it in its stored form: how many buckets are in use; if any are, the smallest and the largest
    /// value, and for each bucket its distance from the one before and its count. All are LEB128 numbers.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let counts = self.folded();
        let used = counts.iter().filter(|count| **count > 0).count() as u64;
        put(out, used);
        let Some((least, most)) = self.range else { return };
        put(out, least);
        put(out, most);
        let mut before = 0;
        for (index, count) in (0_u64..).zip(&counts).filter(|(_, count)| **count > 0) {
            put(out, index - before);
            put(out, u64::from(*count));
            before = index;
        }
    }

    /// Takes a stored one in, off the front of `bytes`. `None` when it is damaged.
    pub(super) fn merge_stored(&mut self, bytes: &mut &[u8]) -> Option<()> {
        let used = take(bytes)?;
        if used == 0 {
            return Some(());
        }
        let (least, most) = (take(bytes)?, take(bytes)?);
        if least > most {
            return None;
        }
        self.widen(least, most);
        self.counts.resize(BUCKETS, 0);
        let mut index = 0_usize;
        for _ in 0..used {
            index = index.checked_add(usize::try_from(take(bytes)?).ok()?)?;
            let count = u32::try_from(take(bytes)?).ok()?;
            let here = self.counts.get_mut(index)?;
            *here = here.saturating_add(count);
            self.counted += u64::from(count);
        }
        Some(())
    }

    fn widen(&mut self, least: u64, most: u64) {
        self.range = Some(self.range.map_or((least, most), |(low, high)| (low.min(least), high.max(most))));
    }

    /// All of it as counts.
    fn folded(&self) -> Vec<u32> {
        let mut counts = self.counts.clone();
        counts.resize(BUCKETS, 0);
        for value in &self.values {
            if let Some(count) = counts.get_mut(bucket(*value)) {
                *count = count.saturating_add(1);
            }
        }
        counts
    }
}

/// The bucket of a value.
fn bucket(value: u64) -> usize {
    let value = value.min(LARGEST);
    let index = if value < SINGLE {
        value
    } else {
        let shift = u64::from(58 - value.leading_zeros());
        SINGLE + (shift - 1) * OCTAVE + (value >> shift) - OCTAVE
    };
    usize::try_from(index).unwrap_or(BUCKETS - 1)
}

/// The value in the middle of a bucket.
fn middle(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < SINGLE {
        return bucket;
    }
    let shift = (bucket - SINGLE) / OCTAVE + 1;
    let leading = (bucket - SINGLE) % OCTAVE + OCTAVE;
    (leading << shift) + (1 << (shift - 1))
}

fn put(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or_default();
        value >>= 7;
        if value == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..63).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(values: &[u64]) -> Distribution {
        let mut distribution = Distribution::default();
        for value in values {
            distribution.add(*value);
        }
        distribution
    }

    fn stored(distribution: &Distribution) -> Distribution {
        let mut bytes = Vec::new();
        distribution.encode(&mut bytes);
        let mut read = Distribution::default();
        let mut rest = bytes.as_slice();
        read.merge_stored(&mut rest).unwrap();
        assert!(rest.is_empty());
        read
    }

    #[test]
    fn few_values_are_exact() {
        assert_eq!(of(&[]).percentile(50), None);
        assert_eq!(of(&[70_001]).percentile(95), Some(70_001));
        assert_eq!(of(&[4, 1, 3, 2]).percentile(50), Some(2));
        assert_eq!(of(&(1..=100).collect::<Vec<_>>()).percentile(95), Some(95));
    }

    proptest! {
        /// Whatever is stored and merged, a percentile is within 1.6 % of the exact one.
        #[test]
        fn stored_percentiles_are_close(
            parts in prop::collection::vec(prop::collection::vec(0_u64..1 << 41, 0..40), 1..6),
            percent in 1_u64..=100,
        ) {
            let mut merged = Distribution::default();
            let mut bytes = Vec::new();
            for part in &parts {
                merged.merge(&stored(&of(part)));
                of(part).encode(&mut bytes);
            }
            let mut read = Distribution::default();
            let mut rest = bytes.as_slice();
            for _ in &parts {
                read.merge_stored(&mut rest).unwrap();
            }
            let exact = of(&parts.concat());
            prop_assert_eq!(read.percentile(percent), merged.percentile(percent));
            prop_assert_eq!(merged.range(), exact.range());
            match (merged.percentile(percent), exact.percentile(percent)) {
                (Some(close), Some(exact)) => prop_assert!(close.abs_diff(exact) * 64 <= exact, "{close} {exact}"),
                (close, exact) => prop_assert_eq!(close, exact),
            }
        }

        /// Damaged bytes are noticed or read as something; nothing panics.
        #[test]
        fn damaged_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut read = Distribution::default();
            let _ = read.merge_stored(&mut bytes.as_slice());
            let _ = read.percentile(50);
        }
    }
}
