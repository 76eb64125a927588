//! The list of networks that have a name.

use eigenlens_nets::zoo::Family;
use serde::Serialize;

use crate::args::Format;
use crate::error::Result;
use crate::show::{csv, json};
use crate::table::{Kind, Table};

/// A network, as JSON and CSV show it.
#[derive(Serialize)]
struct Row {
    name: String,
    title: &'static str,
    /// `width = 16, norm = batch`, with the values that hold if nothing is given.
    options: String,
}

/// All networks with their options.
///
/// # Errors
/// Never: every value has a CSV form.
pub fn list(format: Format, width: usize) -> Result<String> {
    let row = |f: Family| Row {
        name: f.to_string(),
        title: f.title(),
        options: f.defaults().values().iter().map(|(k, v)| format!("{k} = {v}")).collect::<Vec<_>>().join(", "),
    };
    let rows: Vec<Row> = Family::all().into_iter().map(row).collect();
    Ok(match format {
        Format::Json => json(&rows),
        Format::Csv => csv(&["name", "title", "options"], rows.iter().map(|r| (&r.name, r.title, &r.options)))?,
        Format::Table => {
            let mut table = Table::new().column("name", Kind::Name, 255).column("what it is", Kind::Text, 254).column(
                "options of [model], with defaults",
                Kind::Text,
                253,
            );
            rows.into_iter().for_each(|r| table.row(vec![r.name, r.title.to_owned(), r.options]));
            format!("{}\nmodel.name = \"resnet-8\" takes one; `init` goes with all of them.\n", table.render(width))
        }
    })
}
