//! Patterns as sshd_config(5) has them: `*` stands for anything, `?` for one character, `!` before one takes out what it
//! matches.

/// Whether a text is as a pattern says.
pub(super) fn matches(text: &str, pattern: &str) -> bool {
    let (text, pattern): (Vec<char>, Vec<char>) = (text.chars().collect(), pattern.chars().collect());
    let (mut at, mut of) = (0, 0);
    // Where the last star is, and how far it has reached.
    let mut star: Option<(usize, usize)> = None;
    while let Some(c) = text.get(at) {
        match pattern.get(of) {
            Some('*') => {
                star = Some((of, at));
                of += 1;
            }
            Some(p) if *p == '?' || p == c => (at, of) = (at + 1, of + 1),
            _ => {
                let Some((place, reached)) = star else { return false };
                star = Some((place, reached + 1));
                (at, of) = (reached + 1, place + 1);
            }
        }
    }
    pattern.iter().skip(of).all(|p| *p == '*')
}

/// Whether a text is one of those that a list means.
pub(super) fn lists(list: &[String], text: &str) -> bool {
    let taken_out = list.iter().filter_map(|one| one.strip_prefix('!')).any(|one| matches(text, one));
    !taken_out && list.iter().any(|one| matches(text, one))
}

/// A text that is as a pattern says.
pub(super) fn example(pattern: &str) -> String {
    pattern.replace(['*', '?'], "x")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_sshd() {
        for (text, pattern, is) in [
            ("root", "root", true),
            ("root", "r*", true),
            ("root", "r??t", true),
            ("root", "r?t", false),
            ("root", "*", true),
            ("", "*", true),
            ("a.b.example", "*.b.*", true),
            ("aab", "*ab", true),
            ("ab", "a", false),
            ("a", "ab", false),
        ] {
            assert_eq!(matches(text, pattern), is, "{text} {pattern}");
            assert!(matches(&example(pattern), pattern), "{pattern}");
        }
        let list = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
        assert!(lists(&list("!root,*"), "ops") && !lists(&list("!root,*"), "root"));
        assert!(!lists(&list("!root"), "ops"), "something must be taken in, too");
    }
}
