//! The image's preferences among versions, read here and written anew.

use super::text;
use crate::unchanged::{Doubt, Kept};

/// The fields of a preference that matter.
const FIELDS: [&str; 3] = ["Package", "Pin", "Pin-Priority"];

/// The preferences in apt's form.
pub(super) fn of(kept: &Kept) -> Result<String, Doubt> {
    let directory = "/etc/apt/preferences.d";
    let parts = kept.directory(directory).map(|(name, _)| format!("{directory}/{name}"));
    let mut out = String::new();
    for path in parts.chain(["/etc/apt/preferences".to_owned()]) {
        for line in text(kept, &path)?.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            let plain = |value: &str| value.chars().all(|one| one == ' ' || one.is_ascii_graphic());
            match name {
                "" => out.push('\n'),
                "Explanation" => {}
                _ if FIELDS.contains(&name) && plain(value) => {
                    out.push_str(line);
                    out.push('\n');
                }
                _ => return Err(Doubt::NotAsked(format!("{path}: the line {line:?} is not understood"))),
            }
        }
        out.push('\n');
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unchanged::{Family, KeptFile};

    #[test]
    fn pins_are_taken_over_and_anything_else_is_doubted() {
        let read = |text: &str| {
            let file = KeptFile { path: "/etc/apt/preferences".into(), content: text.into() };
            of(&Kept::new(Family::Dpkg, vec![file], Vec::new()).unwrap())
        };
        let pins = "# x\nExplanation: why\nPackage: *\nPin: release a=stable\nPin-Priority: 900\n\nPackage: x\nPin: version 1\n";
        let written = read(pins).unwrap();
        assert_eq!(
            written.trim(),
            "Package: *\nPin: release a=stable\nPin-Priority: 900\n\nPackage: x\nPin: version 1"
        );
        for bad in ["Other: x\n", "Package: x\n going on\n", "Pin: \u{1}\n", "nonsense\n"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
