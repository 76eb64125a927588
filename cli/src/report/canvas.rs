//! A drawing surface: plotters' SVG with the page's colours, sharp to a quarter of a pixel.
//!
//! plotters rounds to whole pixels and writes fixed colours. So everything is drawn four times as large under a view box
//! that shrinks it again, and in stand-in colours that are replaced by the page's CSS variables, which know light from
//! dark.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::RGBColor;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::error::{Failure, Result};

/// Units per pixel.
pub const SCALE: i32 = 4;
/// Size of all text, pixels.
pub const FONT: i32 = 12;
/// Width of an average character as a share of the font size, on the safe side: digits of common sans-serif fonts take
/// 0.55 to 0.6.
const CHARACTER: f64 = 0.6;

/// The surface.
pub type Root<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// What drawing returns. Drawing into memory can't fail for a reason that a user could do something about.
pub type Drawn<T = ()> = std::result::Result<T, DrawingAreaErrorKind<std::io::Error>>;

/// A colour by its role on the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    /// Text and rugs.
    Text,
    /// Axis labels.
    Muted,
    /// Grid lines and marks.
    Grid,
    /// Axis lines.
    Axis,
    /// The background of a card, to set marks off from lines below them.
    Card,
    /// A series: a layer, a part of the data.
    Series(usize),
    /// A series in a dashed line.
    Dashed(usize),
}

/// Number of different series colours; further series begin again, told apart by their markers and labels.
pub const COLOURS: usize = 8;

impl Ink {
    /// The stand-in.
    pub fn stand_in(self) -> RGBColor {
        let (group, k) = match self {
            Ink::Text => (0, 0),
            Ink::Muted => (0, 1),
            Ink::Grid => (0, 2),
            Ink::Axis => (0, 3),
            Ink::Card => (0, 4),
            Ink::Series(k) => (1, k % COLOURS),
            Ink::Dashed(k) => (2, k % COLOURS),
        };
        RGBColor(1, group, k as u8)
    }

    fn variable(self) -> String {
        match self {
            Ink::Text => "var(--ink)".to_owned(),
            Ink::Muted => "var(--muted)".to_owned(),
            Ink::Grid => "var(--grid)".to_owned(),
            Ink::Axis => "var(--axis)".to_owned(),
            Ink::Card => "var(--card)".to_owned(),
            Ink::Series(k) | Ink::Dashed(k) => format!("var(--s{})", k % COLOURS),
        }
    }

    /// All roles.
    fn all() -> impl Iterator<Item = Ink> {
        let plain = [Ink::Text, Ink::Muted, Ink::Grid, Ink::Axis, Ink::Card];
        plain.into_iter().chain((0..COLOURS).flat_map(|k| [Ink::Series(k), Ink::Dashed(k)]))
    }
}

/// A line style of `width` pixels.
pub fn stroke(ink: Ink, width: f64) -> ShapeStyle {
    ShapeStyle { color: ink.stand_in().to_rgba(), filled: false, stroke_width: (width * f64::from(SCALE)) as u32 }
}

/// A filling, `opacity` from 0 to 1.
pub fn fill(ink: Ink, opacity: f64) -> ShapeStyle {
    ShapeStyle { color: ink.stand_in().mix(opacity), filled: true, stroke_width: 0 }
}

/// A text style at the given anchor.
pub fn text(ink: Ink, h: HPos, v: VPos) -> TextStyle<'static> {
    // plotters divides font sizes by 1.24 on their way into the SVG.
    let size = f64::from(FONT * SCALE) * 1.24;
    ("sans-serif", size).into_font().color(&ink.stand_in()).pos(Pos::new(h, v))
}

/// Width of a text in pixels, an estimate on the safe side: no fonts are at hand.
pub fn text_width(label: &str) -> f64 {
    // Superscripts are small, the rest is taken as wide as a digit.
    let characters: f64 = label.chars().map(|c| if "⁻⁰¹²³⁴⁵⁶⁷⁸⁹".contains(c) { 0.65 } else { 1.0 }).sum();
    characters * CHARACTER * f64::from(FONT)
}

/// Draws a picture of `width` × `height` pixels; `label` says in words what it shows.
///
/// # Errors
/// Only if plotters can't draw.
pub fn picture(width: i32, height: i32, label: &str, draw: impl FnOnce(&Root<'_>) -> Drawn) -> Result<String> {
    let mut svg = String::new();
    {
        let size = ((width * SCALE) as u32, (height * SCALE) as u32);
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        draw(&root)
            .and_then(|()| root.present())
            .map_err(|e| Failure::new(format!("a picture of the report can't be drawn: {e}")))?;
    }
    Ok(themed(&svg, width, height, label))
}

/// Replaces stand-in colours, and the fixed size by one that follows the page.
fn themed(svg: &str, width: i32, height: i32, label: &str) -> String {
    let body = svg.split_once(">\n").map_or("", |(_, body)| body);
    let mut text = format!(
        "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">\n{body}",
        width * SCALE,
        height * SCALE,
        super::page::escape(label),
    );
    for ink in Ink::all() {
        let RGBColor(r, g, b) = ink.stand_in();
        let stand_in = format!("\"#{r:02X}{g:02X}{b:02X}\"");
        let dash = if matches!(ink, Ink::Dashed(_)) { " stroke-dasharray=\"20 12\"" } else { "" };
        text = text.replace(&format!("stroke={stand_in}"), &format!("stroke=\"{}\"{dash}", ink.variable()));
        text = text.replace(&stand_in, &format!("\"{}\"", ink.variable()));
    }
    // What says nothing: full opacity, and the font, which the style sheet gives.
    merged(&text.replace(" opacity=\"1\"", "").replace(" font-family=\"sans-serif\"", ""))
}

/// Consecutive polylines of the same style as one path: a rug of a thousand ticks then takes a fifth of the space.
fn merged(svg: &str) -> String {
    let mut out = String::with_capacity(svg.len());
    let mut open: Option<(&str, String)> = None;
    let close = |out: &mut String, open: &mut Option<(&str, String)>| {
        if let Some((style, d)) = open.take() {
            out.push_str(&format!("<path {style} d=\"{d}\"/>\n"));
        }
    };
    for line in svg.lines() {
        let parts = line
            .strip_prefix("<polyline ")
            .and_then(|rest| rest.strip_suffix("\"/>"))
            .and_then(|rest| rest.split_once(" points=\""));
        let Some((style, points)) = parts else {
            close(&mut out, &mut open);
            out.push_str(line);
            out.push('\n');
            continue;
        };
        if open.as_ref().is_none_or(|(same, _)| *same != style) {
            close(&mut out, &mut open);
            open = Some((style, String::new()));
        }
        if let Some((_, d)) = &mut open {
            // Coordinates after the first of a path are lines to them.
            d.push('M');
            d.push_str(points.trim_end());
        }
    }
    close(&mut out, &mut open);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_one_style_become_one_path() {
        let line = |style: &str, points: &str| format!("<polyline {style} points=\"{points} \"/>");
        let svg = [line("a", "1,2 3,4"), line("a", "5,6 7,8"), "<text>".into(), line("b", "0,0 1,1")].join("\n");
        let want = "<path a d=\"M1,2 3,4M5,6 7,8\"/>\n<text>\n<path b d=\"M0,0 1,1\"/>\n";
        assert_eq!(merged(&svg), want);
    }

    #[test]
    fn colours_become_variables_and_nothing_is_loaded() {
        let svg = picture(10, 10, "a <test>", |root| {
            root.draw(&PathElement::new([(0, 0), (40, 40)], stroke(Ink::Dashed(9), 1.0)))?;
            root.draw(&Circle::new((20, 20), 4, fill(Ink::Text, 0.5)))
        })
        .unwrap();
        assert!(svg.starts_with("<svg viewBox=\"0 0 40 40\" role=\"img\" aria-label=\"a &lt;test&gt;\">"), "{svg}");
        assert!(svg.contains("stroke=\"var(--s1)\" stroke-dasharray") && svg.contains("fill=\"var(--ink)\""), "{svg}");
        assert!(!svg.contains('#') && !svg.contains("http"), "{svg}");
    }
}
