//! Pieces of the page: text made safe, figures, facts.

/// Text as it may stand in HTML, also inside a quoted attribute.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Control characters have no place in HTML.
            c if c.is_control() && c != '\n' && c != '\t' => {}
            c => out.push(c),
        }
    }
    out
}

/// The page of a body, with its style.
pub fn whole(title: &str, version: &str, body: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"generator\" content=\"eigenlens {}\">\n<title>{}</title>\n<style>\n{}</style>\n</head>\n\
         <body>\n{body}</body>\n</html>\n",
        escape(version),
        escape(title),
        include_str!("style.css"),
    )
}

/// A symbol with its subscripts: `λ_max` as λ with a small max below.
pub fn symbol(text: &str) -> String {
    let mut words = escape(text).split(' ').map(str::to_owned).collect::<Vec<_>>();
    for word in &mut words {
        if let Some((base, index)) = word.split_once('_') {
            let end = index.find(|c: char| !c.is_alphanumeric()).unwrap_or(index.len());
            let (index, rest) = index.split_at(end);
            *word = format!("{base}<sub>{index}</sub>{}", symbol(rest));
        }
    }
    words.join(" ")
}

/// A picture with its title and, smaller, what there is to say about it.
pub fn figure(svg: &str, title: &str, note: &str) -> String {
    let note = if note.is_empty() { String::new() } else { format!("<span>{}</span>", escape(note)) };
    format!("<figure><figcaption>{}{note}</figcaption>\n{svg}</figure>\n", escape(title))
}

/// Figures side by side as far as there is room. Nothing if there are none.
pub fn figures(figures: &[String]) -> String {
    if figures.is_empty() { String::new() } else { format!("<div class=\"charts\">\n{}</div>\n", figures.concat()) }
}

/// Maps side by side as far as there is room.
pub fn maps(figures: &[String]) -> String {
    format!("<div class=\"charts maps\">\n{}</div>\n", figures.concat())
}

/// Terms and what they mean.
pub fn definitions<'a>(rows: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let rows: String =
        rows.into_iter().map(|(term, text)| format!("<dt>{}</dt><dd>{}</dd>\n", escape(term), escape(&text))).collect();
    format!("<dl>\n{rows}</dl>\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_in_names_stays_text() {
        assert_eq!(escape("<img src=x onerror='a&b'>\u{1b}[0m"), "&lt;img src=x onerror=&#39;a&amp;b&#39;&gt;[0m");
        assert!(figure("", "<b>", "\"").contains("&lt;b&gt;<span>&quot;</span>"));
    }

    #[test]
    fn subscripts_are_set_small() {
        assert_eq!(symbol("|λ_min / λ_max|"), "|λ<sub>min</sub> / λ<sub>max</sub>|");
        assert_eq!(symbol("‖H‖_F²/‖H‖_2"), "‖H‖<sub>F²</sub>/‖H‖<sub>2</sub>");
        assert_eq!(symbol("a < b"), "a &lt; b");
    }

    #[test]
    fn no_figures_leave_no_trace() {
        assert_eq!(figures(&[]), "");
    }
}
