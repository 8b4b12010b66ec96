//! Durations and sizes as people write them.

use std::ops::Range;
use std::time::Duration;

use super::suggestions::nearest;

/// Why a text is no duration or size.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct QuantityError {
    /// What is wrong, to stand beside the caret.
    pub label: String,
    /// Bytes of the text that it is about.
    pub span: Range<usize>,
    /// What would be right.
    pub help: String,
}

impl QuantityError {
    fn new(label: impl Into<String>, span: Range<usize>, help: impl Into<String>) -> Self {
        Self { label: label.into(), span, help: help.into() }
    }
}

const DURATION_HELP: &str = "write, for example, \"90s\", \"30m\" or \"1h 30m\"";
const DURATION_UNITS: [&str; 8] = ["seconds", "sec", "minutes", "min", "hours", "days", "weeks", "hour"];

/// Reads `90s`, `30m`, `1h 30m`; zero is allowed.
pub(super) fn parse_duration(text: &str) -> Result<Duration, QuantityError> {
    use humantime::DurationError as Error;
    let all = 0..text.len();
    if text.trim() == "0" {
        return Ok(Duration::ZERO);
    }
    if text.trim_start().starts_with('-') {
        return Err(QuantityError::new("negative", all, DURATION_HELP));
    }
    humantime::parse_duration(text).map_err(|error| match error {
        Error::Empty => QuantityError::new("empty", all, DURATION_HELP),
        Error::InvalidCharacter(at) => {
            let end = text.get(at..).and_then(|rest| rest.chars().next()).map_or(at, |c| at + c.len_utf8());
            QuantityError::new("not part of a duration", at..end, DURATION_HELP)
        }
        Error::NumberExpected(at) => QuantityError::new("expected a number", at..text.len(), DURATION_HELP),
        Error::UnknownUnit { unit, value, .. } if unit.is_empty() => {
            let help = format!("write \"{value}s\" for seconds or \"{value}m\" for minutes");
            QuantityError::new("the unit is missing", all, help)
        }
        Error::UnknownUnit { start, end, unit, .. } => {
            let help = match nearest(&unit, DURATION_UNITS) {
                Some(known) => format!("did you mean `{known}`? {DURATION_HELP}"),
                None => DURATION_HELP.to_owned(),
            };
            QuantityError::new("unknown unit", start..end, help)
        }
        Error::NumberOverflow => QuantityError::new("too large", all, DURATION_HELP),
    })
}

const SIZE_HELP: &str = "write, for example, \"500 MiB\" or \"4 GiB\"";
const SIZE_UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

/// Reads `500 MiB`, `4GiB`, `1.5 GiB`, `20 GB`, `0`. Letters alone (`4G`) are refused: to some they mean
/// 1000, to others 1024.
pub(super) fn parse_size(text: &str) -> Result<u64, QuantityError> {
    let all = 0..text.len();
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Err(QuantityError::new("empty", all, SIZE_HELP));
    }
    if trimmed.starts_with('-') {
        return Err(QuantityError::new("negative", all, SIZE_HELP));
    }
    let digits = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(digits);
    let unit_at = text.len() - text.trim_start().len() + trimmed.len() - unit.trim_start().len();
    let unit_span = unit_at..unit_at + unit.trim_start().len();
    let unit = unit.trim_start();
    if number.is_empty() {
        return Err(QuantityError::new("expected a number", all, SIZE_HELP));
    }
    let Some((_, bytes)) = SIZE_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)) else {
        if unit.is_empty() {
            if number == "0" {
                return Ok(0);
            }
            let help = format!("write \"{number} MiB\" or \"{number} GiB\"");
            return Err(QuantityError::new("the unit is missing", all, help));
        }
        let letter = unit.to_ascii_uppercase();
        let help = if ["K", "M", "G", "T"].contains(&letter.as_str()) {
            format!("write \"{number} {letter}iB\" (1024) or \"{number} {letter}B\" (1000)")
        } else {
            format!("the units are KiB, MiB, GiB, TiB and KB, MB, GB, TB; {SIZE_HELP}")
        };
        return Err(QuantityError::new("unknown unit", unit_span, help));
    };
    scale(number, *bytes).ok_or_else(|| QuantityError::new("not a number of bytes", all, SIZE_HELP))
}

/// `number` (decimal, with at most nine places) times `bytes`, in whole bytes.
fn scale(number: &str, bytes: u64) -> Option<u64> {
    let (whole, places) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || places.is_empty() || places.len() > 9 || places.contains('.') {
        return None;
    }
    let divisor = 10_u64.pow(u32::try_from(places.len()).ok()?);
    let part = u128::from(places.parse::<u64>().ok()?) * u128::from(bytes) / u128::from(divisor);
    whole.parse::<u64>().ok()?.checked_mul(bytes)?.checked_add(u64::try_from(part).ok()?)
}

/// A duration for people: `1h 30m`.
pub(super) fn show_duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// A size for people: `4 GiB`, `500 MB`, else bytes.
pub(super) fn show_size(bytes: u64) -> String {
    let mut units = SIZE_UNITS;
    units.sort_by_key(|(_, unit)| std::cmp::Reverse(*unit));
    units
        .iter()
        .find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit))
        .map_or_else(|| format!("{bytes} B"), |(name, unit)| format!("{} {name}", bytes / unit))
}
