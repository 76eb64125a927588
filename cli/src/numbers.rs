//! Numbers for people: as many digits as mean something.

use crate::quantities::Form;
use crate::results::Measured;

/// `digits` significant digits: plain where that is short, else with an exponent. No trailing zeros after an exponent's
/// mantissa, so `1e-9`, not `1.000e-9`.
pub fn significant(x: f64, digits: usize) -> String {
    if x == 0.0 {
        return "0".to_owned();
    }
    if !x.is_finite() {
        return x.to_string();
    }
    // Rounded first, so that 9.9996 has the exponent of 10.00.
    let rounded = format!("{:.*e}", digits.saturating_sub(1), x);
    let (mantissa, exponent) = rounded.split_once('e').expect("the form e has an exponent");
    let exponent: i32 = exponent.parse().expect("the exponent is a number");
    if (-4..=digits.max(5) as i32).contains(&exponent) {
        let places = (digits as i32 - 1 - exponent).max(0) as usize;
        return format!("{x:.places$}");
    }
    let mantissa = if mantissa.contains('.') { mantissa.trim_end_matches('0').trim_end_matches('.') } else { mantissa };
    format!("{mantissa}e{exponent}")
}

/// A value with its error to two digits, `12.34 ± 0.05`; without an error, to four digits.
///
/// An error below a millionth of the value is not worth its space and left out.
pub fn measured(m: &Measured, form: Form) -> String {
    let scale = if form == Form::Share { 100.0 } else { 1.0 };
    let unit = if form == Form::Share { " %" } else { "" };
    let value = m.value * scale;
    let error = m.error().map(|e| e * scale).filter(|e| *e > 1e-6 * value.abs() && e.is_finite());
    let Some(error) = error else {
        let whole = form == Form::Count && value.fract() == 0.0 && value.abs() < 1e9;
        let digits = if form == Form::Share { 3 } else { 4 };
        return if whole { format!("{value}{unit}") } else { format!("{}{unit}", significant(value, digits)) };
    };
    let last = error.log10().floor() as i32 - 1;
    let first = if value == 0.0 { last } else { value.abs().log10().floor() as i32 };
    let top = first.max(last + 1);
    if !(-4..=5).contains(&top) {
        let power = 10f64.powi(top);
        let places = (top - last).clamp(0, 6) as usize;
        return format!("({:.places$} ± {:.places$})e{top}{unit}", value / power, error / power);
    }
    let places = (-last).clamp(0, 9) as usize;
    format!("{value:.places$} ± {error:.places$}{unit}")
}

/// A duration: `0.42 s`, `12 s`, `3 min 20 s`, `2 h 5 min`.
pub fn duration(seconds: f64) -> String {
    if seconds < 9.95 {
        return format!("{} s", significant(seconds, 2));
    }
    let s = seconds.round() as u64;
    match s {
        0..60 => format!("{s} s"),
        60..3600 => format!("{} min {} s", s / 60, s % 60),
        _ => format!("{} h {} min", s / 3600, s / 60 % 60),
    }
}

/// A count with thin groups of three: `12 345`.
pub fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) && digits.len() > 4 {
            out.push('\u{202f}');
        }
        out.push(c);
    }
    out
}

/// `1.2e-9` as `1.2·10⁻⁹` and `-3` as `−3`, for text that is not read by programs.
pub fn typeset(text: &str) -> String {
    let mut out = String::new();
    let chars: Vec<char> = text.chars().collect();
    let mut i = 0;
    while i < chars.len() {
        let exponent = chars[i] == 'e'
            && i > 0
            && (chars[i - 1].is_ascii_digit() || chars[i - 1] == ')')
            && chars.get(i + 1).is_some_and(|c| c.is_ascii_digit() || *c == '-');
        if exponent {
            let before = out.chars().rev().nth(1);
            let mantissa_is_one = out.ends_with('1') && before.is_none_or(|c| !c.is_ascii_digit() && c != '.');
            if mantissa_is_one {
                out.pop();
                out.push_str("10");
            } else {
                out.push_str("·10");
            }
            i += 1;
            while i < chars.len() && (chars[i].is_ascii_digit() || chars[i] == '-') {
                out.push(superscript(chars[i]));
                i += 1;
            }
            continue;
        }
        out.push(if chars[i] == '-' { '−' } else { chars[i] });
        i += 1;
    }
    out
}

fn superscript(c: char) -> char {
    match c {
        '-' => '⁻',
        '0' => '⁰',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        '4' => '⁴',
        '5' => '⁵',
        '6' => '⁶',
        '7' => '⁷',
        '8' => '⁸',
        '9' => '⁹',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn significant_digits_are_kept_and_no_more() {
        for (x, text) in [
            (0.0, "0"),
            (1.0, "1.000"),
            (-12.345678, "-12.35"),
            (0.00012345, "0.0001234"),
            (0.000012345, "1.234e-5"),
            (1e-9, "1e-9"),
            (9.9996, "10.00"),
            (12345.6, "12346"),
            (1234567.0, "1.235e6"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(significant(x, 4), text, "{x:e}");
        }
        assert_eq!(significant(5.0, 1), "5");
        assert_eq!(significant(96.4, 2), "96");
    }

    #[test]
    fn the_error_decides_the_digits() {
        let show = |v, e| measured(&Measured::mean(v, e, 10), Form::Number);
        assert_eq!(show(12.3456, 0.0521), "12.346 ± 0.052");
        assert_eq!(show(1234.5, 32.1), "1234 ± 32");
        assert_eq!(show(0.0, 0.5), "0.00 ± 0.50");
        assert_eq!(show(1.5e-7, 3e-9), "(1.500 ± 0.030)e-7");
        assert_eq!(show(2.0, f64::NAN), "2.000");
        assert_eq!(measured(&Measured::bounded(2.0, 1e-12), Form::Number), "2.000");
    }

    #[test]
    fn shares_are_per_cent_and_counts_are_whole() {
        assert_eq!(measured(&Measured::exact(0.1234), Form::Share), "12.3 %");
        assert_eq!(measured(&Measured::mean(0.5, 0.01, 9), Form::Share), "50.0 ± 1.0 %");
        assert_eq!(measured(&Measured::exact(1797.0), Form::Count), "1797");
        assert_eq!(measured(&Measured::exact(12.34567), Form::Count), "12.35");
    }

    #[test]
    fn durations_read_naturally() {
        for (s, text) in
            [(0.0, "0 s"), (0.4213, "0.42 s"), (12.3, "12 s"), (200.0, "3 min 20 s"), (7530.0, "2 h 5 min")]
        {
            assert_eq!(duration(s), text);
        }
    }

    #[test]
    fn large_counts_are_grouped() {
        assert_eq!(grouped(1797), "1797");
        assert_eq!(grouped(1234567), "1\u{202f}234\u{202f}567");
    }

    #[test]
    fn exponents_and_signs_are_typeset() {
        assert_eq!(typeset("-1.2e-9"), "−1.2·10⁻⁹");
        assert_eq!(typeset("1e-10"), "10⁻¹⁰");
        assert_eq!(typeset("(1.50 ± 0.03)e-7"), "(1.50 ± 0.03)·10⁻⁷");
        assert_eq!(typeset("layer 2 mean"), "layer 2 mean");
    }
}
