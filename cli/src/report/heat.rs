//! Heat maps: a matrix as coloured cells, with every number on hover and in a table below.
//!
//! Written without plotters, which knows no titles of shapes. Cells have classes for their colours, which the style sheet
//! gives for light and dark pages.

use super::lines::WIDTH;
use super::page::{escape, figure};
use crate::numbers::{significant, typeset};

/// Steps of the scale of positive numbers, and of either side of the scale of numbers with a sign.
const STEPS: usize = 16;
const SIDE: usize = 7;
/// Decades that a logarithmic scale shows at most: what is smaller has the colour of its lower end.
const DECADES: f64 = 8.0;

/// How numbers become colours.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Levels {
    /// In proportion, from the first to the second.
    Linear(f64, f64),
    /// By the logarithm, from the first to the second; what is below (0, too) has the first colour.
    Log(f64, f64),
    /// From −x to x with 0 between two colours, by the logarithm of 1 + 1000 |·|/x.
    Signed(f64),
    /// From −x to x in proportion, with 0 between two colours: for correlations.
    Even(f64),
}

impl Levels {
    /// A scale for these numbers: signed if one is negative, logarithmic if they are positive over more than a factor of ten,
    /// else linear from 0. `None` without numbers.
    pub fn of(values: impl Iterator<Item = f64> + Clone) -> Option<Self> {
        let finite = values.filter(|x| x.is_finite());
        let (lo, hi) = finite.clone().fold((f64::MAX, f64::MIN), |(a, b), x| (a.min(x), b.max(x)));
        if lo > hi {
            return None;
        }
        if lo < 0.0 {
            return Some(Levels::Signed(hi.max(-lo)));
        }
        let least = finite.filter(|x| *x > 0.0).fold(f64::MAX, f64::min).max(hi * 10f64.powf(-DECADES));
        Some(if least < f64::MAX && hi > 10.0 * least { Levels::Log(least, hi) } else { Levels::Linear(0.0, hi) })
    }

    /// From 0 to 1, or to more if a number is larger: for shares and couplings.
    pub fn share(values: impl Iterator<Item = f64> + Clone) -> Option<Self> {
        let hi = values.filter(|x| x.is_finite()).fold(f64::MIN, f64::max);
        (hi > f64::MIN).then(|| Levels::Linear(0.0, hi.max(1.0)))
    }

    /// The class of a number's colour, and of a text upon it.
    fn class(self, x: f64) -> (String, &'static str) {
        let step = |place: f64| ((place.clamp(0.0, 1.0) * STEPS as f64) as usize).min(STEPS - 1);
        let sequential = |place: f64| {
            let k = step(if place.is_nan() { 0.0 } else { place });
            (format!("h{k}"), if k >= STEPS / 2 { "strong" } else { "faint" })
        };
        match self {
            Levels::Linear(lo, hi) => sequential((x - lo) / (hi - lo)),
            Levels::Log(lo, _) if x <= lo => sequential(0.0),
            Levels::Log(lo, hi) => sequential((x / lo).ln() / (hi / lo).ln()),
            Levels::Signed(_) | Levels::Even(_) if x == 0.0 => ("none".to_owned(), "faint"),
            Levels::Signed(end) | Levels::Even(end) => {
                let even = matches!(self, Levels::Even(_));
                let size = x.abs() / end;
                let place = if even { size } else { (1000.0 * size).ln_1p() / 1001f64.ln() };
                let k = ((place * SIDE as f64).ceil() as usize).clamp(1, SIDE);
                (format!("{}{k}", if x < 0.0 { 'm' } else { 'p' }), if k > SIDE / 2 + 1 { "strong" } else { "faint" })
            }
        }
    }

    /// Classes from one end of the scale to the other.
    fn classes(self) -> Vec<String> {
        match self {
            Levels::Linear(..) | Levels::Log(..) => (0..STEPS).map(|k| format!("h{k}")).collect(),
            Levels::Signed(_) | Levels::Even(_) => {
                let (below, above) = ((1..=SIDE).rev(), 1..=SIDE);
                below.map(|k| format!("m{k}")).chain(above.map(|k| format!("p{k}"))).collect()
            }
        }
    }

    /// What stands at the left, middle and right of the scale.
    fn marks(self) -> [f64; 3] {
        match self {
            Levels::Linear(lo, hi) => [lo, f64::midpoint(lo, hi), hi],
            Levels::Log(lo, hi) => [lo, (lo * hi).sqrt(), hi],
            Levels::Signed(end) | Levels::Even(end) => [-end, 0.0, end],
        }
    }
}

/// A matrix to be shown.
pub struct Map<'a> {
    /// Names of the rows.
    pub rows: &'a [String],
    /// Names of the columns.
    pub columns: &'a [String],
    /// What the columns are, below them; empty if that is clear.
    pub across: &'a str,
    /// The numbers, row by row; `None` where there is none.
    pub values: &'a [Vec<Option<f64>>],
    /// Their errors, if they have some.
    pub errors: Option<&'a [Vec<Option<f64>>]>,
    /// Colours.
    pub levels: Levels,
}

/// Sizes of a map, pixels.
struct Layout {
    left: f64,
    top: f64,
    cell: (f64, f64),
    /// Whether the names of columns stand upright, and the room below the cells that they take.
    upright: bool,
    below: f64,
}

/// Width of a character of the labels, pixels.
const CHARACTER: f64 = 6.3;
/// Height of a label.
const LINE: f64 = 12.0;
/// Characters of a label at most.
const LONGEST: usize = 13;

fn cut(name: &str) -> String {
    if name.chars().count() <= LONGEST {
        name.to_owned()
    } else {
        name.chars().take(LONGEST - 1).chain(['…']).collect()
    }
}

fn widest(names: &[String]) -> f64 {
    names.iter().map(|n| cut(n).chars().count()).max().unwrap_or(0) as f64 * CHARACTER
}

fn short(x: f64) -> String {
    typeset(&significant(x, 2))
}

impl Map<'_> {
    /// The figure: the map, and a table of its numbers that opens.
    pub fn figure(&self, title: &str, note: &str) -> String {
        let numbers = format!(
            "<details><summary>numbers</summary><div class=\"scroll\"><table>\n{}</table></div></details>\n",
            self.table()
        );
        figure(&(self.svg(title) + &numbers), title, note)
    }

    fn layout(&self) -> Layout {
        let (rows, columns) = (self.rows.len() as f64, self.columns.len() as f64);
        let left = widest(self.rows) + 6.0;
        let width = ((f64::from(WIDTH) - left - 2.0) / columns).min(72.0);
        let square = self.across.is_empty();
        let height = if square { width.min(34.0_f64.max(260.0 / rows)) } else { (260.0 / rows).clamp(11.0, 22.0) };
        let upright = widest(self.columns) + 4.0 > width && columns > 1.0;
        let names = if upright { widest(self.columns) + 6.0 } else { LINE + 4.0 };
        let across = if square { 0.0 } else { LINE + 2.0 };
        Layout { left, top: 2.0, cell: (width, height), upright, below: names + across }
    }

    fn svg(&self, title: &str) -> String {
        let l = self.layout();
        let (bottom, bar) = (l.top + l.cell.1 * self.rows.len() as f64, 26.0);
        let height = bottom + l.below + bar;
        let mut svg = format!(
            "<svg class=\"heat\" viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-label=\"{}\">\n",
            escape(&format!("{title}: {} by {}", self.rows.len(), self.columns.len()))
        );
        for (i, row) in self.values.iter().enumerate() {
            for (j, value) in row.iter().enumerate() {
                svg.push_str(&self.cell(&l, i, j, *value));
            }
        }
        self.labels(&mut svg, &l, bottom);
        self.scale(&mut svg, height - bar + 4.0);
        svg.push_str("</svg>\n");
        svg
    }

    fn cell(&self, l: &Layout, i: usize, j: usize, value: Option<f64>) -> String {
        let (x, y) = (l.left + j as f64 * l.cell.0, l.top + i as f64 * l.cell.1);
        let place = format!("x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\"", l.cell.0, l.cell.1);
        let between = if self.across.is_empty() { " – ".to_owned() } else { format!(", {} ", self.across) };
        let name = escape(&format!("{}{between}{}", self.rows[i], self.columns[j]));
        let Some(value) = value.filter(|x| x.is_finite()) else {
            return format!("<rect class=\"none\" {place}><title>{name}: not defined</title></rect>\n");
        };
        let (class, ink) = self.levels.class(value);
        let number = self.number(i, j, value);
        let mut text = format!("<rect class=\"{class}\" {place}><title>{name}: {number}</title></rect>\n");
        let written = short(value);
        if l.cell.1 >= LINE && written.chars().count() as f64 * 5.4 + 2.0 <= l.cell.0 {
            let (x, y) = (x + l.cell.0 / 2.0, y + l.cell.1 / 2.0 + 3.5);
            text.push_str(&format!("<text class=\"cell {ink}\" x=\"{x:.1}\" y=\"{y:.1}\">{written}</text>\n"));
        }
        text
    }

    /// A number with its error, in full.
    fn number(&self, i: usize, j: usize, value: f64) -> String {
        let error = self.errors.and_then(|e| e[i][j]).filter(|e| *e > 1e-12 * value.abs() && e.is_finite());
        let error = error.map_or(String::new(), |e| format!(" ± {}", significant(e, 2)));
        typeset(&format!("{}{error}", significant(value, 4)))
    }

    fn labels(&self, svg: &mut String, l: &Layout, bottom: f64) {
        // Of names that would touch each other only every second, third, … is written.
        let every = |pitch: f64, room: f64| (room / pitch).ceil().max(1.0) as usize;
        for (i, name) in self.rows.iter().enumerate().step_by(every(l.cell.1, LINE - 1.0)) {
            let (x, y) = (l.left - 4.0, l.top + (i as f64 + 0.5) * l.cell.1 + 4.0);
            svg.push_str(&format!(
                "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"end\">{}</text>\n",
                escape(&cut(name))
            ));
        }
        let room = if l.upright { LINE - 1.0 } else { 1.0 };
        for (j, name) in self.columns.iter().enumerate().step_by(every(l.cell.0, room)) {
            let (x, name) = (l.left + (j as f64 + 0.5) * l.cell.0, escape(&cut(name)));
            svg.push_str(&if l.upright {
                let (x, y) = (x + 4.0, bottom + 4.0);
                format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"end\" transform=\"rotate(-90 {x:.1} {y:.1})\">{name}</text>\n")
            } else {
                format!("<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{name}</text>\n", bottom + LINE)
            });
        }
        if !self.across.is_empty() {
            let x = l.left + l.cell.0 * self.columns.len() as f64 / 2.0;
            let y = bottom + l.below - 2.0;
            svg.push_str(&format!(
                "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{}</text>\n",
                escape(self.across)
            ));
        }
    }

    /// The scale of the colours.
    fn scale(&self, svg: &mut String, y: f64) {
        let (classes, [low, middle, high]) = (self.levels.classes(), self.levels.marks());
        let (left, width) = (f64::from(WIDTH) - 190.0, 180.0);
        let step = width / classes.len() as f64;
        for (k, class) in classes.iter().enumerate() {
            let x = left + k as f64 * step;
            svg.push_str(&format!(
                "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{step:.1}\" height=\"8\"/>\n"
            ));
        }
        let y = y + 19.0;
        for (x, mark, anchor) in
            [(left, low, "start"), (left + width / 2.0, middle, "middle"), (left + width, high, "end")]
        {
            svg.push_str(&format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>\n", short(mark)));
        }
        let kind = match self.levels {
            Levels::Linear(..) | Levels::Even(_) => "linear scale",
            Levels::Log(..) => "log scale",
            Levels::Signed(_) => "signed log scale",
        };
        svg.push_str(&format!("<text x=\"{:.1}\" y=\"{y:.1}\" text-anchor=\"end\">{kind}</text>\n", left - 8.0));
    }

    fn table(&self) -> String {
        let head: String = self.columns.iter().map(|c| format!("<th>{}</th>", escape(c))).collect();
        let row = |(i, name): (usize, &String)| {
            let cell = |(j, value): (usize, &Option<f64>)| match value {
                Some(x) if x.is_finite() => format!("<td>{}</td>", self.number(i, j, *x)),
                _ => "<td class=\"none\">–</td>".to_owned(),
            };
            let cells: String = self.values[i].iter().enumerate().map(cell).collect();
            format!("<tr><th>{}</th>{cells}</tr>\n", escape(name))
        };
        let rows: String = self.rows.iter().enumerate().map(row).collect();
        format!("<thead><tr><th>{}</th>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n", escape(self.across))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_follows_the_numbers() {
        let of = |x: &[f64]| Levels::of(x.iter().copied());
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[f64::NAN]), None);
        assert_eq!(of(&[2.0, 3.0, 0.0]), Some(Levels::Linear(0.0, 3.0)));
        assert_eq!(of(&[0.1, 3.0, 0.0]), Some(Levels::Log(0.1, 3.0)));
        assert_eq!(of(&[1e-30, 1.0]), Some(Levels::Log(1e-8, 1.0)));
        assert_eq!(of(&[-5.0, 3.0]), Some(Levels::Signed(5.0)));
        assert_eq!(Levels::share([0.2, f64::INFINITY].into_iter()), Some(Levels::Linear(0.0, 1.0)));
        // All numbers are 0.
        assert_eq!(of(&[0.0]).unwrap().class(0.0).0, "h0");
    }

    #[test]
    fn colours_ascend_with_the_numbers_and_keep_the_sign() {
        let step = |levels: Levels, x: f64| levels.class(x).0;
        for levels in [Levels::Linear(0.0, 1.0), Levels::Log(1e-4, 1.0)] {
            let steps: Vec<usize> =
                (0..=100).map(|i| step(levels, 1e-4 + f64::from(i) / 100.0)[1..].parse().unwrap()).collect();
            assert!(steps.is_sorted() && steps[0] == 0 && steps[100] == STEPS - 1, "{steps:?}");
        }
        let signed = Levels::Signed(2.0);
        assert_eq!(
            (step(signed, -2.0), step(signed, 2.0), step(signed, 0.0)),
            ("m7".into(), "p7".into(), "none".into())
        );
        assert_eq!(step(signed, 1e-300), "p1");
        let even = Levels::Even(1.0);
        assert_eq!([-1.0, -0.5, 0.1, 1.0].map(|x| step(even, x)), ["m7", "m4", "p1", "p7"].map(String::from));
        assert_eq!(signed.classes().len(), 2 * SIDE);
    }

    #[test]
    fn names_are_text_and_numbers_are_on_hover_and_in_the_table() {
        let names = ["<b>".to_owned(), "encoder.blocks.12.attention".to_owned()];
        let values = [vec![Some(1.0), None], vec![Some(f64::NAN), Some(0.123_456)]];
        let errors = [vec![None, None], vec![None, Some(0.01)]];
        let levels = Levels::of([1.0, 0.123].into_iter()).unwrap();
        let map = Map { rows: &names, columns: &names, across: "", values: &values, errors: Some(&errors), levels };
        let html = map.figure("R", "");
        assert!(html.contains("&lt;b&gt; – &lt;b&gt;: 1.000</title>") && !html.contains("<b>"), "{html}");
        assert!(html.contains("0.1235 ± 0.010</title>") && html.contains("<td>0.1235 ± 0.010</td>"), "{html}");
        assert!(html.matches("not defined").count() == 2 && !html.contains("NaN"), "{html}");
    }

    #[test]
    fn cells_stay_inside_of_the_picture_for_any_number_of_layers() {
        for count in [1, 2, 5, 26, 100] {
            let names: Vec<String> = (0..count).map(|i| format!("block{i}.conv")).collect();
            let values = vec![vec![Some(1.0); count]; count];
            let levels = Levels::Linear(0.0, 1.0);
            for across in ["", "epoch"] {
                let map = Map { rows: &names, columns: &names, across, values: &values, errors: None, levels };
                let l = map.layout();
                assert!(l.left + l.cell.0 * count as f64 <= f64::from(WIDTH), "{count}");
                assert!(l.cell.0 > 1.0 && l.cell.1 > 1.0);
            }
        }
    }
}
