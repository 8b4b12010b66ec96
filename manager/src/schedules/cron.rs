//! Five-field cron entries with the semantics of crontab(5).
//!
//! The fields are read here, strictly and with positions, because `croner` alone also takes what crontab(5)
//! does not know (`L`, `W`, `#`, `?`, `+`, empty list items, month names in the minute field) and reads `*/2`
//! in a day field as "restricted". `croner` then gets plain numbers and searches the calendar; time zones
//! are the planner's business.

use std::fmt;
use std::ops::Range;

use chrono::{NaiveDateTime, SubsecRound, TimeZone, Utc};
use croner::parser::{CronParser, Seconds, Year};

use super::cron_field::{FIELD_RULES, Field, parse_field};
use super::suggestions::nearest;

/// Longest entry that is read.
const LONGEST_ENTRY: usize = 200;

/// The nicknames of crontab(5) and what they stand for.
const NICKNAMES: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

/// The most days that each month can have.
const LONGEST_MONTHS: [u32; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/// A cron entry that has been checked.
#[derive(Clone, PartialEq)]
pub struct Cron {
    /// As it stands in the file.
    pub source: String,
    /// Finds matching times on a calendar without time zones.
    calendar: croner::Cron,
    /// Whether it runs at intervals (`*` in the minute or the hour), not at fixed times.
    interval: bool,
}

/// The calendar inside has thousands of bits; the source says it all.
impl fmt::Debug for Cron {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Cron").field(&self.source).finish()
    }
}

/// What is wrong with a cron entry, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CronError {
    /// What is wrong.
    pub message: String,
    /// Bytes of the entry that it is about.
    pub span: Range<usize>,
    /// What would be right.
    pub help: Option<String>,
}

impl CronError {
    pub(super) fn new(message: impl Into<String>, span: Range<usize>, help: impl Into<String>) -> Self {
        Self { message: message.into(), span, help: Some(help.into()) }
    }
}

impl Cron {
    /// Reads an entry: five fields, or one of the nicknames (`@daily`).
    pub fn parse(source: &str) -> Result<Self, CronError> {
        if source.len() > LONGEST_ENTRY {
            let message = format!("the cron entry is longer than {LONGEST_ENTRY} bytes");
            return Err(CronError::new(message, 0..source.len(), "use ranges and steps instead of lists"));
        }
        let trimmed = source.trim();
        let expansion = if trimmed.starts_with('@') { expand_nickname(source)? } else { source };
        let [minute, hour, day, month, weekday] = parse_fields(expansion)?;
        refuse_never(&day, &month, &weekday)?;

        let text = [&minute, &hour, &day, &month, &weekday].map(Field::to_plain).join(" ");
        let calendar = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            // crontab(5): either day field suffices only when neither contains a star.
            .dom_and_dow(day.starred || weekday.starred)
            .build()
            .parse(&text)
            .map_err(|error| CronError { message: error.to_string(), span: 0..source.len(), help: None })?;
        let interval = minute.starred || hour.starred;
        Ok(Self { source: source.to_owned(), calendar, interval })
    }

    /// Whether it runs at intervals: `*` or `*/n` stands in the minute or the hour field. Such entries follow
    /// the wall clock through a change of the offset; all others name fixed times of day, which are made up
    /// for when they fall into a gap and are not repeated when they come twice.
    pub fn runs_at_intervals(&self) -> bool {
        self.interval
    }

    /// Whether this wall-clock minute is one of the entry's.
    pub fn matches(&self, local: NaiveDateTime) -> bool {
        self.calendar.is_time_matching(&Utc.from_utc_datetime(&local)).unwrap_or(false)
    }

    /// The first matching wall-clock time after `local`, on a calendar without time zones. `None` at the end
    /// of the calendar (year 5000).
    pub fn next_local(&self, local: NaiveDateTime) -> Option<NaiveDateTime> {
        // croner keeps fractions of a second, so they go first.
        let from = Utc.from_utc_datetime(&local.trunc_subsecs(0));
        self.calendar.find_next_occurrence(&from, false).ok().map(|found| found.naive_utc())
    }
}

/// What a nickname stands for.
fn expand_nickname(source: &str) -> Result<&'static str, CronError> {
    let trimmed = source.trim();
    if let Some((_, fields)) = NICKNAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(trimmed)) {
        return Ok(fields);
    }
    let start = source.find('@').unwrap_or(0);
    let span = start..start + trimmed.len();
    if trimmed.eq_ignore_ascii_case("@reboot") {
        return Err(CronError::new(
            "`@reboot` is not a time",
            span,
            "a restart of the manager must not build images; use `@daily`, or \"\" for on demand only",
        ));
    }
    let names = NICKNAMES.map(|(name, _)| name);
    let help = match nearest(trimmed, names) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("expected one of {}", names.join(", ")),
    };
    Err(CronError::new("unknown nickname", span, help))
}

/// Reads the five fields; says so when there are more or fewer.
fn parse_fields(source: &str) -> Result<[Field; 5], CronError> {
    let words = words(source);
    if words.len() != FIELD_RULES.len() {
        let message = format!("a cron entry has 5 fields, but this one has {}", words.len());
        let help = if words.len() == 6 {
            "there is no field for seconds or years, only: minute hour day-of-month month day-of-week"
        } else {
            "the fields are: minute hour day-of-month month day-of-week, as in \"0 3 * * *\""
        };
        return Err(CronError::new(message, 0..source.len(), help));
    }
    let mut fields = Vec::with_capacity(FIELD_RULES.len());
    for (rule, span) in FIELD_RULES.iter().zip(words) {
        fields.push(parse_field(rule, source.get(span.clone()).unwrap_or_default(), span.start)?);
    }
    <[Field; 5]>::try_from(fields)
        .map_err(|_| CronError::new("not 5 fields", 0..source.len(), "write \"0 3 * * *\""))
}

/// Where the words of `text` are.
fn words(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start = None;
    for (at, character) in text.char_indices() {
        if character.is_whitespace() {
            found.extend(start.take().map(|begin| begin..at));
        } else {
            start = start.or(Some(at));
        }
    }
    found.extend(start.map(|begin| begin..text.len()));
    found
}

/// An entry like `0 0 30 2 *` never fires; nobody means that.
fn refuse_never(day: &Field, month: &Field, weekday: &Field) -> Result<(), CronError> {
    let either_suffices = !day.starred && !weekday.starred;
    let some_day = (1_u32..).zip(LONGEST_MONTHS).any(|(number, length)| {
        month.values.contains(&number) && day.values.first().is_some_and(|first| *first <= length)
    });
    if either_suffices || some_day {
        return Ok(());
    }
    Err(CronError::new(
        "this never fires: no such day in these months",
        day.span.start..month.span.end,
        "for the end of a month, use the first day of the next: \"0 0 1 * *\"",
    ))
}
