//! Axes: how a number becomes a place, and which numbers are written beside it.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

use super::canvas::text_width;
use crate::numbers::typeset;

/// How numbers become places along an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scale {
    /// x.
    Linear,
    /// log₁₀ x, for positive numbers.
    Log,
    /// log₁₀(1 + x): epochs, which begin at 0 and whose first ones matter most.
    LogPlusOne,
    /// sign(x) log₁₀(1 + |x|/c): decades on either side of 0, linear within ±c.
    Signed {
        /// c.
        c: f64,
    },
}

impl Scale {
    /// The place of x, in the axis's own units.
    pub fn place(self, x: f64) -> f64 {
        match self {
            Scale::Linear => x,
            Scale::Log => x.log10(),
            Scale::LogPlusOne => (1.0 + x).log10(),
            Scale::Signed { c } => x.signum() * (1.0 + x.abs() / c).log10(),
        }
    }
}

/// An axis over a range of places, with its labelled ones.
#[derive(Clone, Debug)]
pub struct Axis {
    lo: f64,
    hi: f64,
    ticks: Vec<(f64, String)>,
}

/// Space between two labels, pixels.
const GAP: f64 = 10.0;

impl Axis {
    /// From place `lo` to place `hi` (widened if they agree), along `pixels`; of the wished ticks, in order of their
    /// importance, those whose labels don't overlap a more important one. `across` is whether labels stand side by side.
    fn new(lo: f64, hi: f64, pixels: f64, wished: Vec<(f64, String)>, across: bool) -> Self {
        let (lo, hi) =
            if hi - lo > 1e-12 * hi.abs().max(lo.abs()).max(1e-300) { (lo, hi) } else { (lo - 0.5, hi + 0.5) };
        let extent = |label: &str| if across { text_width(label) } else { 14.0 };
        let to_pixels = |place: f64| (place - lo) / (hi - lo) * pixels;
        let mut ticks: Vec<(f64, String)> = Vec::new();
        for (place, label) in wished {
            let inside = (lo - 1e-9 * (hi - lo)..=hi + 1e-9 * (hi - lo)).contains(&place);
            let free = ticks.iter().all(|(other, text)| {
                let distance = (to_pixels(place) - to_pixels(*other)).abs();
                distance >= (extent(&label) + extent(text)) / 2.0 + if across { GAP } else { 4.0 }
            });
            if inside && free {
                ticks.push((place, label));
            }
        }
        ticks.sort_by(|a, b| a.0.total_cmp(&b.0));
        Self { lo, hi, ticks }
    }

    /// Round numbers between two values, about one every `spacing` pixels.
    pub fn linear(lo: f64, hi: f64, pixels: f64, spacing: f64, across: bool) -> Self {
        let span = if hi > lo { hi - lo } else { 1.0 };
        let step = round_step(span * spacing / pixels);
        let decimals = (-step.log10().floor()).clamp(0.0, 12.0) as usize;
        let huge = lo.abs().max(hi.abs()) >= 1e5;
        let label = |x: f64| {
            // Rounding noise must not write −0.0.
            let x = if x.abs() < step * 1e-6 { 0.0 } else { x };
            let plain = x == 0.0 || !(huge || decimals > 5);
            typeset(&if plain { format!("{x:.decimals$}") } else { format!("{x:.1e}").replace(".0e", "e") })
        };
        let first = (lo / step).ceil() as i64;
        let wished = (first..=(hi / step).floor() as i64).map(|k| (k as f64 * step, label(k as f64 * step))).collect();
        Self::new(lo, hi, pixels, wished, across)
    }

    /// Powers of ten between two positive values; within less than two decades their 2- and 5-fold too.
    pub fn log(lo: f64, hi: f64, pixels: f64, across: bool) -> Self {
        let (a, b) = (lo.log10(), hi.log10());
        let decades = (a.floor() as i32)..=(b.ceil() as i32);
        let stride = ((b - a) / (pixels / 36.0)).ceil().max(1.0) as i32;
        let mut wished: Vec<(f64, String)> =
            decades.clone().filter(|k| k % stride == 0).map(|k| (f64::from(k), power(k))).collect();
        if b - a < 2.0 {
            for factor in [2.0, 5.0, 3.0, 7.0] {
                if b - a >= 0.7 && factor != 2.0 && factor != 5.0 {
                    continue;
                }
                wished.extend(decades.clone().map(|k| {
                    let x = factor * 10f64.powi(k);
                    let text = if (-3..=4).contains(&k) {
                        format!("{x:.places$}", places = (-k).max(0) as usize)
                    } else {
                        format!("{factor}e{k}")
                    };
                    (x.log10(), typeset(&text))
                }));
            }
        }
        Self::new(a, b, pixels, wished, across)
    }

    /// An axis of epochs with the snapshots as its ticks: the ends first, then from the right, where there is room.
    pub fn epochs(scale: Scale, snapshots: &[usize], last: usize, pixels: f64) -> Self {
        let place = |e: usize| scale.place(e as f64);
        let mut order: Vec<usize> = vec![0, last];
        order.extend(snapshots.iter().rev());
        let wished = order.into_iter().map(|e| (place(e), e.to_string())).collect();
        Self::new(place(0), place(last.max(1)), pixels, wished, true)
    }

    /// A signed logarithmic axis: 0 and powers of ten on both sides, as many as have room.
    pub fn signed(c: f64, lo: f64, hi: f64, pixels: f64) -> Self {
        let scale = Scale::Signed { c };
        let smallest = c.log10().ceil() as i32 + 1;
        let largest = (lo.abs().max(hi.abs()).log10().ceil() as i32).max(smallest);
        let widest = (smallest..=largest).map(|k| text_width(&power(k)) + text_width("−")).fold(0.0, f64::max);
        let per_decade = pixels / (scale.place(hi) - scale.place(lo));
        // One stride for all decades, so that both sides are labelled alike.
        let stride = ((widest + GAP) / per_decade).ceil().max(1.0) as usize;
        let mut wished = vec![(0.0, "0".to_owned())];
        for k in (smallest..=largest).rev().step_by(stride) {
            let x = 10f64.powi(k);
            // Neither of a pair, if one would touch the 0.
            if scale.place(x) * per_decade < (widest + text_width("0")) / 2.0 + GAP {
                break;
            }
            wished.push((scale.place(x), power(k)));
            wished.push((scale.place(-x), format!("−{}", power(k))));
        }
        Self::new(scale.place(lo), scale.place(hi), pixels, wished, true)
    }

    /// The same axis with more room: `below` and `above` as shares of its length.
    pub fn widened(mut self, below: f64, above: f64) -> Self {
        let span = self.hi - self.lo;
        self.lo -= below * span;
        self.hi += above * span;
        self
    }

    /// The places between which it runs.
    pub fn bounds(&self) -> (f64, f64) {
        (self.lo, self.hi)
    }

    /// The labelled places.
    pub fn ticks(&self) -> &[(f64, String)] {
        &self.ticks
    }
}

/// 10ᵏ, written out while it is short.
fn power(k: i32) -> String {
    match k {
        -2..=3 => typeset(&format!("{:.places$}", 10f64.powi(k), places = (-k).max(0) as usize)),
        _ => typeset(&format!("1e{k}")),
    }
}

/// The smallest of 1, 2, 5 times a power of ten that is not below x.
fn round_step(x: f64) -> f64 {
    let power = 10f64.powf(x.max(1e-300).log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|f| f * power >= x * (1.0 - 1e-9)).unwrap_or(10.0);
    factor * power
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, place: &f64, limit: (i32, i32)) -> i32 {
        let share = (place - self.lo) / (self.hi - self.lo);
        limit.0 + (share * f64::from(limit.1 - limit.0)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.iter().map(|t| t.0).collect()
    }

    fn range(&self) -> Range<f64> {
        self.lo..self.hi
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, place: &f64) -> String {
        self.ticks.iter().find(|t| t.0 == *place).map_or_else(String::new, |t| t.1.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|t| t.1.as_str()).collect()
    }

    #[test]
    fn linear_ticks_are_round_numbers() {
        assert_eq!(labels(&Axis::linear(0.0, 1.0, 200.0, 40.0, false)), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(&Axis::linear(-3.0, 12.0, 200.0, 60.0, false)), ["0", "5", "10"]);
        assert_eq!(labels(&Axis::linear(0.0, 3e6, 200.0, 60.0, false)), ["0", "10⁶", "2·10⁶", "3·10⁶"]);
    }

    #[test]
    fn log_ticks_are_powers_of_ten_and_multiples_where_few() {
        assert_eq!(labels(&Axis::log(1e-5, 1e1, 300.0, false)), ["10⁻⁵", "10⁻⁴", "10⁻³", "0.01", "0.1", "1", "10"]);
        assert_eq!(labels(&Axis::log(0.3, 4.0, 200.0, false)), ["0.5", "1", "2"]);
        assert!(labels(&Axis::log(1.1, 1.9, 200.0, false)).is_empty());
    }

    #[test]
    fn the_signed_axis_is_symmetric_about_zero() {
        let axis = Axis::signed(1e-4, -10.0, 10.0, 400.0);
        let places: Vec<f64> = axis.ticks.iter().map(|t| t.0).collect();
        assert!(places.iter().zip(places.iter().rev()).all(|(a, b)| (a + b).abs() < 1e-12), "{axis:?}");
        assert!(labels(&axis).contains(&"0") && labels(&axis).contains(&"−10"));
    }

    #[test]
    fn labels_never_overlap() {
        let mut axes = Vec::new();
        for k in -12..8 {
            let x = 3.7 * 10f64.powi(k);
            axes.push(Axis::linear(-x, 1.7 * x, 240.0, 50.0, true));
            axes.push(Axis::log(x, x * 1e9, 240.0, true));
            axes.push(Axis::signed(x * 1e-6, -x / 50.0, x, 240.0));
        }
        axes.push(Axis::epochs(Scale::LogPlusOne, &[0, 1, 2, 3, 4, 5, 6, 100, 1000], 1000, 240.0));
        for axis in axes {
            for pair in axis.ticks.windows(2) {
                let distance = (pair[1].0 - pair[0].0) / (axis.hi - axis.lo) * 240.0;
                let needed = (text_width(&pair[0].1) + text_width(&pair[1].1)) / 2.0;
                assert!(distance > needed, "{pair:?}");
            }
        }
    }

    #[test]
    fn an_axis_of_one_value_still_has_a_length() {
        let axis = Axis::linear(2.0, 2.0, 100.0, 30.0, false);
        assert!(axis.hi > axis.lo);
        assert_eq!(Axis::epochs(Scale::Linear, &[0], 0, 100.0).bounds(), (0.0, 1.0));
    }

    #[test]
    fn the_ends_of_an_epoch_axis_are_always_labelled() {
        let axis = Axis::epochs(Scale::LogPlusOne, &[0, 1, 2, 4, 8, 15, 27, 50], 50, 240.0);
        assert_eq!((labels(&axis)[0], *labels(&axis).last().unwrap()), ("0", "50"));
        assert_eq!(labels(&axis).len(), 8);
    }
}
