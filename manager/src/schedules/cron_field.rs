//! One field of a cron entry: lists, ranges, steps and names.

use std::collections::BTreeSet;
use std::ops::Range;

use super::cron::CronError;
use super::suggestions::nearest;

/// What may stand in a field.
pub(super) struct FieldRule {
    /// What the field is called.
    name: &'static str,
    min: u32,
    max: u32,
    /// Names of the values, beginning with `min`.
    names: &'static [&'static str],
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
/// `sun` twice, because 0 and 7 are Sunday: `fri-sun` is 5-7.
const WEEKDAYS: [&str; 8] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// The five fields in their order.
pub(super) const FIELD_RULES: [FieldRule; 5] = [
    FieldRule { name: "minute", min: 0, max: 59, names: &[] },
    FieldRule { name: "hour", min: 0, max: 23, names: &[] },
    FieldRule { name: "day of month", min: 1, max: 31, names: &[] },
    FieldRule { name: "month", min: 1, max: 12, names: &MONTHS },
    FieldRule { name: "day of week", min: 0, max: 7, names: &WEEKDAYS },
];

/// The values that a field stands for.
#[derive(Debug)]
pub(super) struct Field {
    /// Never empty. Sunday is 0.
    pub values: BTreeSet<u32>,
    /// Whether a `*` stands in it.
    pub starred: bool,
    /// Whether it is nothing but `*`.
    whole: bool,
    /// Where it stands in the entry.
    pub span: Range<usize>,
}

impl Field {
    /// The field as `*` or as a list of numbers.
    pub(super) fn to_plain(&self) -> String {
        if self.whole {
            return "*".to_owned();
        }
        self.values.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
    }
}

/// Reads the field `text`, which begins at the byte `start` of the entry.
pub(super) fn parse_field(rule: &FieldRule, text: &str, start: usize) -> Result<Field, CronError> {
    let mut values = BTreeSet::new();
    let mut at = start;
    for item in text.split(',') {
        for value in parse_item(rule, item, at)? {
            // 7 is another name of Sunday.
            values.insert(if rule.max == 7 { value % 7 } else { value });
        }
        at += item.len() + 1;
    }
    let span = start..start + text.len();
    Ok(Field { values, starred: text.contains('*'), whole: text == "*", span })
}

/// Reads one item of a list: `*`, `7`, `1-5`, each range also with `/step`.
fn parse_item(rule: &FieldRule, item: &str, at: usize) -> Result<Vec<u32>, CronError> {
    let span = at..at + item.len();
    if item.is_empty() {
        let help = "write a value before and after each comma, as in `1,15`";
        return Err(CronError::new(format!("an empty item in the {} field", rule.name), span, help));
    }
    let (range, step) = match item.split_once('/') {
        Some((range, step)) => (range, Some((step, at + range.len() + 1))),
        None => (item, None),
    };
    let (first, last) = match range.split_once('-') {
        _ if range == "*" => (rule.min, if rule.max == 7 { 6 } else { rule.max }),
        Some((first, last)) => parse_range(rule, first, last, at)?,
        None => {
            let value = parse_value(rule, range, at)?;
            if let Some((step, _)) = step {
                let help = format!("write `{value}-{}/{step}` or `*/{step}`", rule.max);
                return Err(CronError::new("a step needs a range or `*` before it", span, help));
            }
            (value, value)
        }
    };
    let step = step.map_or(Ok(1), |(step, at)| parse_step(rule, step, at))?;
    Ok((first..=last).step_by(step).collect())
}

fn parse_range(rule: &FieldRule, first: &str, last: &str, at: usize) -> Result<(u32, u32), CronError> {
    let from = parse_value(rule, first, at)?;
    let mut to = parse_value(rule, last, at + first.len() + 1)?;
    if rule.max == 7 && to == 0 && from > 0 {
        to = 7; // `fri-sun`
    }
    if from <= to {
        return Ok((from, to));
    }
    let highest = if rule.max == 7 { 6 } else { rule.max };
    let help = format!("write `{from}-{highest},{}-{to}`", rule.min);
    let span = at..at + first.len() + 1 + last.len();
    Err(CronError::new(format!("this range of the {} field runs backwards", rule.name), span, help))
}

fn parse_step(rule: &FieldRule, text: &str, at: usize) -> Result<usize, CronError> {
    let widest = rule.max - rule.min;
    let step = if is_number(text) { text.parse::<u32>().ok() } else { None };
    match step.filter(|step| (1..=widest).contains(step)) {
        Some(step) => Ok(usize::try_from(step).unwrap_or(1)),
        None => Err(CronError::new(
            format!("`{}` is not a step of the {} field", text.escape_debug(), rule.name),
            at..at + text.len(),
            format!("a step is a number from 1 to {widest}"),
        )),
    }
}

fn parse_value(rule: &FieldRule, text: &str, at: usize) -> Result<u32, CronError> {
    let value = if is_number(text) {
        text.parse::<u32>().ok()
    } else {
        (rule.min..).zip(rule.names).find(|(_, name)| name.eq_ignore_ascii_case(text)).map(|(value, _)| value)
    };
    if let Some(value) = value.filter(|value| (rule.min..=rule.max).contains(value)) {
        return Ok(value);
    }
    let mut help = format!("this field takes {} to {}", rule.min, rule.max);
    if let (Some(first), Some(last)) = (rule.names.first(), rule.names.last()) {
        help = format!("{help}, or {first} to {last}");
        let beginning = text.get(..3).unwrap_or(text);
        if let Some(name) = nearest(beginning, rule.names.iter().copied()).filter(|_| !is_number(text)) {
            help = format!("did you mean `{name}`?");
        }
    }
    if ["L", "W", "#", "?"].iter().any(|mark| text.contains(mark))
        && !is_number(text)
        && rule.names.is_empty()
    {
        help = format!("{help}; `L`, `W`, `#` and `?` are not part of crontab(5)");
    }
    let message = match text {
        "" => format!("a value is missing in the {} field", rule.name),
        _ => format!("`{}` is not a value of the {} field", text.escape_debug(), rule.name),
    };
    Err(CronError::new(message, at..at + text.len(), help))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
