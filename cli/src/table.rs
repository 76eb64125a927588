//! Tables for a terminal: never wider than it, numbers to the right, columns of least importance dropped first.

use comfy_table::{CellAlignment, ContentArrangement, Table as Drawn, presets};

/// A table under construction.
#[derive(Clone, Debug, Default)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

#[derive(Clone, Debug)]
struct Column {
    title: String,
    kind: Kind,
    importance: u8,
}

/// How a column is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// To the left, on one line.
    Name,
    /// To the right, on one line.
    Number,
    /// To the left, wrapped where there is no room.
    Text,
}

/// A sentence on lines of at most `width`, each with a line end; a longer word stands alone.
pub fn wrapped(sentence: &str, width: usize) -> String {
    let (mut text, mut used) = (String::new(), 0);
    for word in sentence.split(' ') {
        let long = word.chars().count();
        if used > 0 {
            let fits = used + 1 + long <= width;
            text.push(if fits { ' ' } else { '\n' });
            used = if fits { used + 1 } else { 0 };
        }
        text.push_str(word);
        used += long;
    }
    text + "\n"
}

/// Space between two columns.
const GAP: usize = 2;
/// A text column narrower than this is no pleasure to read.
const NARROW: usize = 20;

impl Table {
    /// A table without columns.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a column. Those of the least importance are dropped first where there is no room; 255 always stays.
    pub fn column(mut self, title: impl Into<String>, kind: Kind, importance: u8) -> Self {
        self.columns.push(Column { title: title.into(), kind, importance });
        self
    }

    /// Adds a row with one cell per column.
    ///
    /// # Panics
    /// If the number of cells differs.
    #[track_caller]
    pub fn row(&mut self, cells: Vec<String>) {
        assert_eq!(cells.len(), self.columns.len(), "{} cells for {} columns", cells.len(), self.columns.len());
        self.rows.push(cells);
    }

    /// The table as text, at most `width` columns wide wherever that is possible, with a line end.
    pub fn render(&self, width: usize) -> String {
        let mut kept: Vec<usize> = (0..self.columns.len()).collect();
        while self.least_width(&kept) > width {
            let droppable = kept.iter().filter(|k| self.columns[**k].importance < u8::MAX);
            // Of equals the last one goes.
            let Some(&gone) = droppable.min_by_key(|k| (self.columns[**k].importance, usize::MAX - **k)) else { break };
            kept.retain(|&k| k != gone);
        }
        let mut text = self.draw(&kept, width);
        let dropped = self.columns.len() - kept.len();
        if dropped > 0 {
            let plural = if dropped == 1 { "column" } else { "columns" };
            let note = format!("({dropped} more {plural} in a wider terminal, or with --format json or csv)");
            text.push_str(&wrapped(&note, width));
        }
        text
    }

    /// The width that the columns need at least.
    fn least_width(&self, kept: &[usize]) -> usize {
        let widths = kept.iter().map(|&k| {
            let cells = self.rows.iter().map(|r| &r[k]).chain([&self.columns[k].title]);
            let widest = cells.map(|c| c.chars().count()).max().unwrap_or(0);
            if self.columns[k].kind == Kind::Text { widest.min(NARROW) } else { widest }
        });
        widths.map(|w| w + GAP).sum::<usize>().saturating_sub(GAP)
    }

    fn draw(&self, kept: &[usize], width: usize) -> String {
        let mut table = Drawn::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        table.set_width(u16::try_from(width.max(self.least_width(kept))).unwrap_or(u16::MAX));
        table.set_header(kept.iter().map(|&k| self.columns[k].title.clone()));
        for row in &self.rows {
            table.add_row(kept.iter().map(|&k| row[k].clone()));
        }
        for (place, &k) in kept.iter().enumerate() {
            if let Some(column) = table.column_mut(place) {
                column.set_padding((if place == 0 { 0 } else { GAP as u16 }, 0));
                let right = self.columns[k].kind == Kind::Number;
                column.set_cell_alignment(if right { CellAlignment::Right } else { CellAlignment::Left });
                if self.columns[k].kind != Kind::Text {
                    column.set_constraint(comfy_table::ColumnConstraint::ContentWidth);
                }
            }
        }
        let drawn = table.to_string();
        let mut lines: Vec<&str> = drawn.lines().map(str::trim_end).collect();
        let longest = lines.iter().map(|l| l.chars().count()).max().unwrap_or(0);
        let rule = "─".repeat(longest);
        // A title of several lines would be a title too long; all are one line here.
        lines.insert(lines.len().min(1), &rule);
        lines.join("\n") + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Table {
        let mut table = Table::new()
            .column("layer", Kind::Name, 255)
            .column("λ_max", Kind::Number, 9)
            .column("trace", Kind::Number, 5)
            .column("what it is", Kind::Text, 1);
        table.row(vec!["1".into(), "0.5".into(), "12.25".into(), "a layer with quite a long description".into()]);
        table.row(vec!["head".into(), "-1e-9".into(), "3".into(), "short".into()]);
        table
    }

    fn wide() -> Table {
        let mut table = Table::new().column("a", Kind::Name, 255).column("x".repeat(80), Kind::Number, 1);
        table.row(vec!["1".into(), "2".into()]);
        table
    }

    #[test]
    fn numbers_stand_to_the_right() {
        let text = example().render(100);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "layer  λ_max  trace  what it is");
        assert_eq!(lines[2], "1        0.5  12.25  a layer with quite a long description");
        assert_eq!(lines[3], "head   -1e-9      3  short");
        assert!(lines[1].chars().all(|c| c == '─'));
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in 14..100 {
            let text = example().render(width);
            for line in text.lines() {
                assert!(line.chars().count() <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn the_least_important_columns_go_first_and_are_counted() {
        let text = example().render(22);
        assert!(text.starts_with("layer  λ_max  trace\n"), "{text}");
        let note = "(1 more column in a wider terminal, or with --format json or csv)";
        assert!(text.replace('\n', " ").ends_with(&format!(" {note} ")), "{text}");
        // At 70 columns it fits one line.
        assert!(wide().render(70).ends_with(&format!("\n{note}\n")), "{}", wide().render(70));
        assert!(example().render(15).starts_with("layer  λ_max\n"));
    }

    #[test]
    fn a_table_without_rows_is_its_header() {
        let text = Table::new().column("a", Kind::Name, 1).render(80);
        assert_eq!(text, "a\n─\n");
    }

    #[test]
    #[should_panic(expected = "1 cells for 2 columns")]
    fn a_short_row_is_refused() {
        Table::new().column("a", Kind::Name, 1).column("b", Kind::Name, 1).row(vec!["x".into()]);
    }
}
