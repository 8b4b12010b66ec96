//! YAML as PyYAML reads it, which is what openstacksdk uses: YAML 1.1. Texts without quotes become what Python's
//! `str()` makes of them, so that a password is what every other client sends.

use std::collections::HashMap;

use serde_json::{Map, Value};
use yaml_rust2::Event;
use yaml_rust2::parser::{MarkedEventReceiver, Parser};
use yaml_rust2::scanner::{Marker, ScanError, TScalarStyle};

/// Tables in tables beyond this are not followed.
const DEEPEST: usize = 16;
/// Most values that are made of a file, those that aliases repeat included.
const MOST: usize = 100_000;

/// The first document of a file; null when it is empty.
pub(super) fn read(text: &str) -> Result<Value, ScanError> {
    let mut composer = Composer::default();
    Parser::new_from_str(text).load(&mut composer, false)?;
    match composer.problem {
        Some((mark, problem)) => Err(ScanError::new(mark, problem)),
        None => Ok(composer.root.unwrap_or_default()),
    }
}

/// A list or table that is not at its end.
enum Open {
    List(Vec<Value>),
    Table { own: Map<String, Value>, merged: Vec<Value>, key: Option<String> },
}

#[derive(Default)]
struct Composer {
    open: Vec<(Open, usize)>,
    anchors: HashMap<usize, Value>,
    root: Option<Value>,
    made: usize,
    problem: Option<(Marker, &'static str)>,
}

impl Composer {
    fn put(&mut self, value: Value, anchor: usize) {
        if anchor > 0 {
            self.anchors.insert(anchor, value.clone());
        }
        match self.open.last_mut() {
            None => drop(self.root.get_or_insert(value)),
            Some((Open::List(items), _)) => items.push(value),
            Some((Open::Table { own, merged, key }, _)) => match key.take() {
                None => *key = Some(as_key(&value)),
                Some(name) if name == "<<" => merged.push(value),
                Some(name) => drop(own.insert(name, value)),
            },
        }
    }

    fn close(&mut self) {
        let Some((open, anchor)) = self.open.pop() else { return };
        let value = match open {
            Open::List(items) => Value::Array(items),
            Open::Table { own, merged, .. } => Value::Object(merge(own, merged)),
        };
        self.put(value, anchor);
    }
}

impl MarkedEventReceiver for Composer {
    fn on_event(&mut self, event: Event, mark: Marker) {
        if self.problem.is_some() {
            return;
        }
        let value = match event {
            Event::Alias(anchor) => match self.anchors.get(&anchor) {
                Some(value) => (value.clone(), 0),
                None => return self.problem = Some((mark, "an alias refers to what contains it")),
            },
            Event::Scalar(text, TScalarStyle::Plain, anchor, None) => (plain(&text), anchor),
            Event::Scalar(text, _, anchor, _) => (Value::String(text), anchor),
            Event::SequenceStart(anchor, _) => {
                return self.open.push((Open::List(Vec::new()), anchor));
            }
            Event::MappingStart(anchor, _) => {
                let table = Open::Table { own: Map::new(), merged: Vec::new(), key: None };
                self.open.push((table, anchor));
                if self.open.len() > DEEPEST {
                    self.problem = Some((mark, "tables are nested too deeply"));
                }
                return;
            }
            Event::SequenceEnd | Event::MappingEnd => return self.close(),
            _ => return,
        };
        self.made += size(&value.0);
        if self.made > MOST {
            return self.problem = Some((mark, "aliases expand to too much"));
        }
        self.put(value.0, value.1);
    }
}

/// `<<` brings in a table or a list of tables: the earlier one counts, and what the table itself says above all.
fn merge(own: Map<String, Value>, merged: Vec<Value>) -> Map<String, Value> {
    let bases = merged.into_iter().flat_map(|value| match value {
        Value::Array(items) => items,
        one => vec![one],
    });
    let mut table = own;
    for base in bases {
        let Value::Object(base) = base else { continue };
        for (key, value) in base {
            table.entry(key).or_insert(value);
        }
    }
    table
}

fn size(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Object(table) => 1 + table.values().map(size).sum::<usize>(),
        _ => 1,
    }
}

fn as_key(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        _ => String::new(),
    }
}

/// A text without quotes.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => return Value::Bool(true),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Value::Bool(false);
        }
        _ => {}
    }
    Value::String(integer(text).or_else(|| float(text)).unwrap_or_else(|| text.to_owned()))
}

/// `12`, `1_000`, `017`, `0x1f`, `0b1`, `1:30`; a zero before digits that are not octal makes a text.
fn integer(text: &str) -> Option<String> {
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if !rest.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let digits = rest.replace('_', "");
    let number = if let Some(hex) = digits.strip_prefix("0x") {
        i128::from_str_radix(hex, 16).ok()?
    } else if let Some(binary) = digits.strip_prefix("0b") {
        i128::from_str_radix(binary, 2).ok()?
    } else if digits.contains(':') {
        sexagesimal(&digits)?
    } else if digits.len() > 1 && digits.starts_with('0') {
        i128::from_str_radix(&digits, 8).ok()?
    } else if digits.chars().all(|c| c.is_ascii_digit()) {
        // As many digits as there are: Python's integers have no bound.
        let sign = if negative && digits != "0" { "-" } else { "" };
        return Some(format!("{sign}{digits}"));
    } else {
        return None;
    };
    Some(if negative { -number } else { number }.to_string())
}

fn sexagesimal(digits: &str) -> Option<i128> {
    let mut parts = digits.split(':');
    let first = parts.next()?;
    if first.starts_with('0') || !first.chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    parts.try_fold(first.parse::<i128>().ok()?, |sum, part| {
        let valid = (1..=2).contains(&part.len()) && part.chars().all(|c| c.is_ascii_digit());
        let value = part.parse::<i128>().ok().filter(|value| valid && *value < 60)?;
        sum.checked_mul(60)?.checked_add(value)
    })
}

/// `1.50` is `1.5`; without a point it is a text, and an exponent needs its sign.
fn float(text: &str) -> Option<String> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    match unsigned {
        ".inf" | ".Inf" | ".INF" => {
            return Some(if text.starts_with('-') { "-inf" } else { "inf" }.to_owned());
        }
        ".nan" | ".NaN" | ".NAN" if unsigned == text => return Some("nan".to_owned()),
        _ => {}
    }
    let (mantissa, exponent) =
        unsigned.split_once(['e', 'E']).map_or((unsigned, None), |(m, e)| (m, Some(e)));
    let (whole, part) = mantissa.split_once('.')?;
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit() || c == '_');
    let begins = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
    let all_digits = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    let signed = exponent.is_none_or(|exponent| exponent.strip_prefix(['-', '+']).is_some_and(all_digits));
    // Without digits before the point there is no sign either.
    let begun = if whole.is_empty() { unsigned == text && begins(part) } else { begins(whole) };
    if !digits(part) || !signed || !begun {
        return None;
    }
    let number: f64 = match whole.rsplit_once(':') {
        Some(_) if exponent.is_some() => return None,
        Some((higher, last)) => {
            let sum = higher.split(':').chain([last]).enumerate().try_fold(0.0, |sum, (at, field)| {
                let valid = if at == 0 { digits(field) } else { field.len() <= 2 && all_digits(field) };
                let value = field.replace('_', "").parse::<f64>().ok()?;
                (valid && (at == 0 || value < 60.0)).then_some(sum * 60.0 + value)
            })?;
            let rest: f64 = format!("0.{}", part.replace('_', "")).parse().ok()?;
            if text.starts_with('-') { -(sum + rest) } else { sum + rest }
        }
        None if !digits(whole) => return None,
        None => text.replace('_', "").parse().ok()?,
    };
    Some(as_python(number))
}

/// As Python's `str()` has it.
fn as_python(number: f64) -> String {
    // Where Python changes to exponents.
    if number != 0.0 && !(1e-4..1e16).contains(&number.abs()) {
        let text = format!("{number:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
        return format!("{mantissa}e{sign}{exponent:0>2}");
    }
    format!("{number:?}")
}
