//! The measurements so far, a line each.

use std::time::{Duration, Instant};

/// Within this time 99 of 100 answers must come.
const LIMIT: Duration = Duration::from_millis(20);

/// Something that is done again and again; it says why when it cannot be done.
pub(crate) type Act<'a> = Box<dyn FnMut(usize) -> Result<(), String> + 'a>;
/// What is measured, by what people call it.
pub(crate) type Acts<'a> = Vec<(String, Act<'a>)>;

/// The measurements so far.
#[derive(Default)]
pub(crate) struct Table {
    exceeded: Vec<String>,
}

impl Table {
    /// Measures what one program does and, where there is another one, what that does, in turn.
    pub(crate) fn measure_all(&mut self, now: Acts<'_>, before: Option<Acts<'_>>, runs: usize) {
        let mut before = before.unwrap_or_default().into_iter();
        for (what, act) in now {
            let other = before.next().map(|(name, act)| {
                assert_eq!(name, what, "both programs do the same");
                act
            });
            self.measure(&what, act, other, runs);
        }
    }

    fn measure(&mut self, what: &str, mut act: Act<'_>, before: Option<Act<'_>>, runs: usize) {
        // The first time is not measured.
        if let Err(why) = act(0) {
            tell(what, &format!("cannot be measured: {why}"));
            self.exceeded.push(what.to_owned());
            return;
        }
        let mut unknown = String::new();
        let mut before = before.and_then(|mut before| match before(0) {
            Ok(()) => Some(before),
            Err(why) => {
                unknown = format!("  before: {}", why.lines().next().unwrap_or_default());
                None
            }
        });
        let (mut times, mut earlier) = (Vec::new(), Vec::new());
        for index in 0..runs {
            times.push(timed(&mut act, index));
            earlier.extend(before.as_mut().map(|before| timed(before, index)));
        }
        let (now, limit) = (Percentiles::of(times), LIMIT.as_secs_f64() * 1000.0);
        let beside = if earlier.is_empty() { unknown } else { now.beside(&Percentiles::of(earlier)) };
        let figure = format!("p50 {:7.1} ms  p99 {:7.1} ms", now.median, now.highest);
        self.line(what, &figure, now.highest / limit, &beside);
    }

    /// A figure, its ratio to its limit, and the same of the program before.
    pub(crate) fn line(&mut self, what: &str, figure: &str, ratio: f64, beside: &str) {
        let mark = if ratio > 1.0 { "  OVER" } else { "" };
        println!("{what:<60} {figure:>34}  {ratio:6.3} of the limit{mark}{beside}");
        if ratio > 1.0 {
            self.exceeded.push(what.to_owned());
        }
    }

    /// What is over its limit.
    pub(crate) fn exceeded(&self) -> &[String] {
        &self.exceeded
    }
}

/// A figure without a limit.
pub(crate) fn tell(what: &str, figure: &str) {
    println!("{what:<60} {figure:>34}");
}

fn timed(act: &mut Act<'_>, index: usize) -> Duration {
    let began = Instant::now();
    act(index).unwrap();
    began.elapsed()
}

/// In milliseconds.
struct Percentiles {
    median: f64,
    highest: f64,
}

impl Percentiles {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |percent: usize| {
            let place = (times.len() * percent).div_ceil(100) - 1;
            times[place].as_secs_f64() * 1000.0
        };
        Self { median: at(50), highest: at(99) }
    }

    /// The figures of the program before, and what part of them these are.
    fn beside(&self, before: &Self) -> String {
        format!(
            "  before: p50 {:7.1} ms  p99 {:7.1} ms, now {:.2} and {:.2} of it",
            before.median,
            before.highest,
            self.median / before.median,
            self.highest / before.highest
        )
    }
}
