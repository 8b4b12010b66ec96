//! Which points are taken.

use std::time::{SystemTime, UNIX_EPOCH};

/// The points to kill at, `<name>#<occurrence>:before` or `:after`, out of the recorded commits.
pub(crate) fn chosen(recorded: &[String], sample: usize) -> Vec<String> {
    let mut all: Vec<String> = recorded
        .iter()
        .flat_map(|commit| ["before", "after"].map(|side| format!("{commit}:{side}")))
        .collect();
    let asked = std::env::var("IMAGE_MANAGER_TEST_TORTURE").unwrap_or_else(|_| sample.to_string());
    if asked == "all" {
        return all;
    }
    if let Some(part) = part_of(&asked) {
        return all.into_iter().enumerate().filter_map(|(at, point)| part(at).then_some(point)).collect();
    }
    if let Some(first) = asked.strip_suffix("..") {
        let from = all.iter().position(|point| point == first);
        return all.split_off(from.unwrap_or_else(|| panic!("no point {first}: {}", all.join(" "))));
    }
    let Ok(count) = asked.parse::<usize>() else {
        return asked.split_ascii_whitespace().map(str::to_owned).collect();
    };
    let mut random = Random::new();
    shuffle(&mut all, &mut random);
    all.truncate(count);
    all
}

/// Of `2/5`, which is the second part of five: whether a point belongs to it, by its place in the list.
fn part_of(asked: &str) -> Option<impl Fn(usize) -> bool + use<>> {
    let (part, parts) = asked.split_once('/')?;
    let (part, parts): (usize, usize) = (part.parse().ok()?, parts.parse().ok()?);
    assert!(
        (1..=parts).contains(&part),
        "IMAGE_MANAGER_TEST_TORTURE={asked}: from 1/{parts} to {parts}/{parts}"
    );
    Some(move |at| at % parts == part - 1)
}

fn shuffle<T>(items: &mut [T], random: &mut Random) {
    for last in (1..items.len()).rev() {
        items.swap(last, random.below(last + 1));
    }
}

/// Numbers that a printed seed repeats (splitmix64).
pub(crate) struct Random(u64);

impl Random {
    /// From `IMAGE_MANAGER_TEST_SEED`, or from the clock.
    pub(crate) fn new() -> Self {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let seed =
            std::env::var("IMAGE_MANAGER_TEST_SEED").map_or_else(|_| now(), |text| text.parse().unwrap());
        eprintln!("IMAGE_MANAGER_TEST_SEED={seed}");
        Self(seed)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let limit = u64::try_from(limit).unwrap();
        usize::try_from((mixed ^ (mixed >> 31)) % limit).unwrap()
    }

    /// Milliseconds below `limit`.
    pub(crate) fn milliseconds(&mut self, limit: usize) -> u64 {
        u64::try_from(self.below(limit)).unwrap()
    }
}
