//! Whether a token could be guessed. A token that was made by a machine passes by far; what people think of must at
//! least not be among the first that others try.

use std::collections::BTreeMap;

use image_manager_proto::counted;
/// Shortest token, in characters.
pub(super) const SHORTEST: usize = 16;
/// Fewest different characters.
const DIFFERENT: usize = 6;
/// Least entropy by how often its characters occur, in bits (Shannon's, times the length).
const LEAST_BITS: f64 = 40.0;
/// So many characters must be left without the words that everybody tries.
const LEFT: usize = 8;
/// Words that everybody tries, without what separates them. Sources: the most used passwords of SecLists' lists, and
/// what stands in examples.
const WORDS: [&str; 22] = [
    "imagemanager",
    "password",
    "passwort",
    "passw0rd",
    "changeme",
    "letmein",
    "welcome",
    "iloveyou",
    "qwertyuiop",
    "asdfghjkl",
    "zxcvbnm",
    "qwerty",
    "default",
    "example",
    "secret",
    "access",
    "apikey",
    "token",
    "admin",
    "root",
    "test",
    "api",
];

/// Why a token is too weak; `None` when it is not.
pub(super) fn weakness(token: &str) -> Option<String> {
    let characters: Vec<char> = token.chars().collect();
    if characters.len() < SHORTEST {
        return Some(format!(
            "it has {}, but at least {SHORTEST} are needed",
            counted(characters.len(), "character")
        ));
    }
    let period = period(&characters);
    if period < SHORTEST.min(characters.len()) {
        return Some(format!("it repeats itself after {}", counted(period, "character")));
    }
    let mut counts: BTreeMap<char, u32> = BTreeMap::new();
    for character in &characters {
        *counts.entry(*character).or_default() += 1;
    }
    if counts.len() < DIFFERENT {
        return Some(format!("it has only {} different characters", counts.len()));
    }
    if in_order(&characters) {
        return Some("its characters are in the order of the alphabet or the digits".to_owned());
    }
    if unknown(token) < LEFT {
        return Some("it consists of words and numbers that anybody would try first".to_owned());
    }
    (bits(&counts) < LEAST_BITS).then(|| "its characters vary too little".to_owned())
}

/// After how many characters it begins anew; its length when it does not.
fn period(characters: &[char]) -> usize {
    let length = characters.len();
    let repeats = |period: &usize| {
        characters.iter().zip(characters.iter().skip(*period)).all(|(first, again)| first == again)
    };
    // One that only ends as it began is no repetition.
    (1..=length / 2).find(repeats).unwrap_or(length)
}

/// Whether most characters are the neighbours of the ones before them.
fn in_order(characters: &[char]) -> bool {
    let steps = characters.len().saturating_sub(1);
    let next = |pair: (&char, &char)| u32::from(*pair.0).abs_diff(u32::from(*pair.1)) <= 1;
    let neighbours = characters.iter().zip(characters.iter().skip(1)).filter(|pair| next(*pair)).count();
    neighbours * 5 > steps * 4
}

/// How many characters are neither part of a word that everybody tries nor digits beside nothing else.
fn unknown(token: &str) -> usize {
    let mut text: String = token.chars().filter(char::is_ascii_alphanumeric).collect();
    let others = token.chars().filter(|c| !c.is_ascii()).count();
    text.make_ascii_lowercase();
    for word in WORDS {
        text = text.replace(word, " ");
    }
    // Digits that stand by themselves are a year or a counter; among letters they may be anything.
    let pieces = text.split(' ').filter(|piece| !piece.chars().all(|c| c.is_ascii_digit()));
    pieces.map(str::len).sum::<usize>() + others
}

fn bits(counts: &BTreeMap<char, u32>) -> f64 {
    let all: f64 = counts.values().copied().map(f64::from).sum();
    counts.values().copied().map(f64::from).map(|count| count * (all / count).log2()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_everybody_tries_is_weak() {
        for weak in [
            "",
            "short",
            "aaaaaaaaaaaaaaaaaaaaaaaa",
            "abababababababababababab",
            "0000000000000001",
            "1234567890123456",
            "0123456789abcdef",
            "fedcba9876543210",
            "0123456789abcdef0123456789abcdef0123456789abcde",
            "abcdefghijklmnopqrstuvwxyz",
            "passwordpassword",
            "password12345678901",
            "changemechangeme!",
            "my-secret-api-token-2026",
            "image-manager-admin-token",
            "Qwertyuiop-Asdfghjkl",
            "aaaaaaaaaaaaaaaaaaaaabcdef",
        ] {
            assert!(weakness(weak).is_some(), "{weak}");
        }
    }

    #[test]
    fn what_machines_make_is_not() {
        for strong in [
            "b3c1e5f09a7d42681f0ec2aa97d4635e",
            "9f86d081884c7d65",
            "correct-horse-battery-staple",
            "0193d2a0-7d1b-4a87-9c50-4cf2a1be7e11",
            "im_Zk3vYw0a9TqX1sR7uBn5cL2dM8eHfGgJ4pKoIiUyTrE",
            "Zwölf Boxkämpfer jagen",
        ] {
            assert_eq!(weakness(strong), None, "{strong}");
        }
    }

    #[test]
    fn random_tokens_are_never_refused() {
        for seed in 0..2000_u64 {
            use sha2::Digest as _;
            let digest = sha2::Sha256::digest(seed.to_le_bytes());
            let hex = crate::gateway::TokenHash::of(&String::from_utf8_lossy(&digest)).to_string();
            assert_eq!(weakness(&hex), None, "{hex}");
            let (half, _) = hex.split_at(32);
            assert_eq!(weakness(half), None, "{half}");
        }
    }
}
