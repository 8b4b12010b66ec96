//! The y axis of a chart: its range, round ticks, and the unit of their labels.

/// Most lines of a grid.
const TICKS: f64 = 5.0;

/// From the lowest to the highest tick, in the values' own unit.
pub(super) struct Axis {
    low: f64,
    high: f64,
    step: f64,
    /// What one of the labels' unit is in the values' own.
    unit: f64,
    name: &'static str,
}

impl Axis {
    /// For times in seconds.
    pub(super) fn seconds(least: f64, most: f64) -> Self {
        let (unit, name) = match most {
            most if most >= 7200.0 => (3600.0, "h"),
            most if most >= 120.0 => (60.0, "min"),
            _ => (1.0, "s"),
        };
        Self::new(least, most, unit, name)
    }

    /// For sizes in bytes.
    pub(super) fn bytes(least: f64, most: f64) -> Self {
        const GIB: f64 = 1_073_741_824.0;
        const MIB: f64 = 1_048_576.0;
        let (unit, name) = if most >= 2.0 * GIB { (GIB, "GiB") } else { (MIB, "MiB") };
        Self::new(least, most, unit, name)
    }

    fn new(least: f64, most: f64, unit: f64, name: &'static str) -> Self {
        // Values that hardly differ get a range all the same.
        let room = ((most - least) * 0.1).max(most.abs() * 0.02).max(unit * 0.01);
        let low = if least <= 0.0 { 0.0 } else { (least - room).max(0.0) };
        let step = round_step((most + room - low) / unit / TICKS) * unit;
        let low = (low / step).floor() * step;
        let high = ((most + room) / step).ceil() * step;
        Self { low, high, step, unit, name }
    }

    /// How far up a value is, from 0 to 1.
    pub(super) fn share(&self, value: f64) -> f64 {
        ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    /// The values that get a line and a label.
    pub(super) fn ticks(&self) -> impl Iterator<Item = f64> {
        (0..=20_u32)
            .map(|index| self.low + f64::from(index) * self.step)
            .take_while(|value| *value <= self.high + self.step / 2.0)
    }

    /// A tick with its unit.
    pub(super) fn label(&self, value: f64) -> String {
        let value = value / self.unit;
        let mut step = self.step / self.unit;
        let mut digits = 0;
        // As many as tell one tick from the next; rounding must not ask for one more.
        while step < 0.99 && digits < 6 {
            step *= 10.0;
            digits += 1;
        }
        format!("{value:.digits$} {}", self.name)
    }
}

/// The next of 1, 2 and 5 times a power of ten.
fn round_step(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    let leading = step / power;
    let round = if leading <= 1.0 {
        1.0
    } else if leading <= 2.0 {
        2.0
    } else if leading <= 5.0 {
        5.0
    } else {
        10.0
    };
    round * power
}

/// A size for people.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "sizes are whole and below 2^53")]
pub(super) fn bytes(value: f64) -> String {
    indicatif::HumanBytes(value.max(0.0) as u64).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_hold_all_values() {
        for (least, most) in
            [(0.0, 0.0), (0.0, 95.0), (61.0, 63.5), (0.4, 0.41), (10.0, 86_000.0), (300.0, 300.0)]
        {
            let axis = Axis::seconds(least, most);
            let ticks: Vec<f64> = axis.ticks().collect();
            assert!((2..=8).contains(&ticks.len()), "{least} {most}: {ticks:?}");
            assert!(ticks[0] <= least && *ticks.last().unwrap() >= most, "{least} {most}: {ticks:?}");
            let mut labels: Vec<String> = ticks.iter().map(|tick| axis.label(*tick)).collect();
            labels.dedup();
            assert_eq!(labels.len(), ticks.len(), "{labels:?}");
        }
        assert_eq!(Axis::seconds(0.0, 95.0).label(20.0), "20 s");
        assert_eq!(Axis::seconds(0.0, 600.0).label(120.0), "2 min");
        assert_eq!(Axis::bytes(0.0, 3e9).label(1_073_741_824.0), "1 GiB");
    }
}
