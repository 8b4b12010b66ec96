//! Numbers and ids of builds that never were, the same in each run. The tests of the pages have theirs from here.

/// Well mixed numbers, the same in each run (SplitMix64).
pub(crate) fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x1234_5678);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A UUIDv7: the order of ids is that of times.
pub(crate) fn id_of(created: u64, random: u64) -> String {
    format!(
        "{:08x}-{:04x}-7{:03x}-8{:03x}-{:012x}",
        created >> 16,
        created & 0xffff,
        random & 0xfff,
        (random >> 12) & 0xfff,
        random >> 16
    )
}
