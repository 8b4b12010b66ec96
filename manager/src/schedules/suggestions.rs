//! "Did you mean": the nearest of some words.

/// Longest word that is compared; the cost grows with the square.
const LONGEST_WORD: usize = 64;

/// The candidate nearest to `word`, if any is near enough to be a slip of the fingers.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = word.chars().count();
    if length == 0 || length > LONGEST_WORD {
        return None;
    }
    let furthest = length.div_ceil(3);
    candidates
        .into_iter()
        .filter(|candidate| candidate.chars().count().abs_diff(length) <= furthest)
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= furthest && *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Letters inserted, left out, replaced or swapped with the next one between two words, whatever their case
/// (optimal string alignment).
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.to_lowercase().chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    let mut letter_before = None;
    for (index, letter) in left.to_lowercase().chars().enumerate() {
        let mut next = Vec::with_capacity(row.len());
        let mut beside = index + 1;
        next.push(beside);
        let mut other_before = None;
        for (column, (other, pair)) in right.iter().zip(row.windows(2)).enumerate() {
            let [above_left, above] = *pair else { continue };
            let replaced = above_left + usize::from(*other != letter);
            beside = replaced.min(above + 1).min(beside + 1);
            if letter_before == Some(*other) && other_before == Some(letter) {
                let swapped = column.checked_sub(1).and_then(|column| before.get(column));
                beside = swapped.map_or(beside, |swapped| beside.min(swapped + 1));
            }
            next.push(beside);
            other_before = Some(*other);
        }
        before = std::mem::replace(&mut row, next);
        letter_before = Some(letter);
    }
    row.last().copied().unwrap_or_default()
}
