//! The markdown that this program writes, as HTML: headings, tables, lists, pictures, paragraphs.

use super::html::escape;
use super::table::{Cell, Column, table};

/// The page as HTML. `picture` gives the address of a picture by its name in the text; without one its name is shown.
pub(super) fn html(text: &str, picture: &dyn Fn(&str) -> Option<String>) -> String {
    let mut lines = text.lines().peekable();
    let mut html = String::new();
    while let Some(line) = lines.next() {
        let line = line.trim();
        if line.is_empty() || (line.starts_with("<!--") && line.ends_with("-->")) {
            continue;
        }
        if line.starts_with('|') {
            let mut block = vec![line];
            while let Some(row) = lines.next_if(|line| line.trim_start().starts_with('|')) {
                block.push(row.trim());
            }
            html += &rows(&block);
        } else if let Some(heading) = heading(line) {
            html += &format!("<h3>{}</h3>\n", inline(heading));
        } else if let Some(item) = line.strip_prefix("- ") {
            let mut items = format!("<li>{}</li>\n", inline(item));
            while let Some(item) = lines.next_if(|line| line.starts_with("- ")) {
                items += &format!("<li>{}</li>\n", inline(&item[2..]));
            }
            html += &format!("<ul>\n{items}</ul>\n");
        } else if let Some((alternative, name)) = reference(line) {
            html += &match picture(name) {
                Some(address) => format!(
                    "<figure class=\"figure\"><img alt=\"{}\" src=\"{}\"></figure>\n",
                    escape(alternative),
                    escape(&address)
                ),
                None => format!("<p class=\"soft\">{}: {} is not there.</p>\n", escape(alternative), escape(name)),
            };
        } else {
            let mut paragraph = line.to_owned();
            while let Some(more) = lines.next_if(|line| is_text(line.trim())) {
                paragraph += &format!(" {}", more.trim());
            }
            html += &format!("<p>{}</p>\n", inline(&paragraph));
        }
    }
    html
}

fn heading(line: &str) -> Option<&str> {
    let text = line.trim_start_matches('#');
    (text.len() < line.len()).then(|| text.strip_prefix(' ')).flatten()
}

/// `![alternative](name)`.
fn reference(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix("![")?.strip_suffix(')')?.split_once("](")
}

/// Whether a line goes on with the paragraph before it.
fn is_text(line: &str) -> bool {
    !line.is_empty() && !["|", "#", "- ", "![", "<!--"].iter().any(|start| line.starts_with(start))
}

/// A table of lines that begin with a bar: headings, a rule, rows.
fn rows(lines: &[&str]) -> String {
    let split: Vec<Vec<String>> = lines.iter().map(|line| cells(line)).collect();
    let [header, rule, rows @ ..] = split.as_slice() else {
        return lines.iter().map(|line| format!("<p>{}</p>\n", inline(line))).collect();
    };
    let columns: Vec<Column> = header
        .iter()
        .enumerate()
        .map(|(at, name)| Column { name: name.clone(), numeric: rule.get(at).is_some_and(|rule| rule.ends_with(':')) })
        .collect();
    let cell = |(column, text): (&Column, &String)| {
        let (plain, strong) = match text.strip_prefix("**").and_then(|text| text.strip_suffix("**")) {
            Some(plain) => (plain, true),
            None => (text.trim_matches('`'), false),
        };
        let cell = match (column.numeric, plain.parse::<f64>()) {
            (true, Ok(value)) => Cell::shown(value, plain),
            (true, Err(_)) => Cell::unsorted(plain),
            (false, _) => Cell::text(plain),
        };
        if strong { cell.strong() } else { cell }
    };
    let rows: Vec<Vec<Cell>> = rows.iter().map(|row| columns.iter().zip(row).map(cell).collect()).collect();
    table(&columns, &rows)
}

/// The cells of a line, bars within them unescaped.
fn cells(line: &str) -> Vec<String> {
    let line = line.strip_prefix('|').unwrap_or(line);
    let line = line.strip_suffix('|').filter(|rest| !rest.ends_with('\\')).unwrap_or(line);
    let mut cells = vec![String::new()];
    let mut escaped = false;
    for character in line.chars() {
        let last = cells.len() - 1;
        match (escaped, character) {
            (false, '\\') => {
                escaped = true;
                continue;
            }
            (false, '|') => cells.push(String::new()),
            (true, '|') => cells[last].push('|'),
            (true, other) => cells[last].extend(['\\', other]),
            (false, other) => cells[last].push(other),
        }
        escaped = false;
    }
    cells.iter().map(|cell| cell.trim().to_owned()).collect()
}

/// Text with `**strong**` and `` `code` ``.
fn inline(text: &str) -> String {
    let mut html = String::new();
    for (at, part) in text.split("**").enumerate() {
        let mut piece = String::new();
        for (at, part) in part.split('`').enumerate() {
            let part = escape(part);
            piece += &if at % 2 == 1 { format!("<code>{part}</code>") } else { part };
        }
        html += &if at % 2 == 1 { format!("<b>{piece}</b>") } else { piece };
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# Title of `x`\n\n**One & all.**\n\nfirst line\nsecond line\n\n\
                        ![errors](overview.svg)\n![gone](a.svg)\n\n\
                        | layer | bits | MSE |\n|---|---:|--:|\n| a\\|b | **4** | 1.50e-3 |\n| `c` | – |  |\n\n\
                        - one\n- two <3>\n";

    #[test]
    fn each_kind_of_block_becomes_its_element() {
        let picture = |name: &str| (name == "overview.svg").then(|| "data:image/svg+xml;base64,AA==".to_owned());
        let html = html(PAGE, &picture);
        assert!(html.starts_with("<h3>Title of <code>x</code></h3>\n<p><b>One &amp; all.</b></p>\n"), "{html}");
        assert!(html.contains("<p>first line second line</p>"), "{html}");
        assert!(html.contains("<img alt=\"errors\" src=\"data:image/svg+xml;base64,AA==\">"), "{html}");
        assert!(html.contains("gone: a.svg is not there"), "{html}");
        let row = "<tr><td>a|b</td><td class=\"n\" data-v=\"4\"><b>4</b></td>\
                   <td class=\"n\" data-v=\"0.0015\">1.50e-3</td></tr>";
        assert!(html.contains(row), "{html}");
        assert!(html.contains("<tr><td>c</td><td class=\"n\" data-v=\"\">–</td>"), "{html}");
        assert!(html.ends_with("<ul>\n<li>one</li>\n<li>two &lt;3&gt;</li>\n</ul>\n"), "{html}");
    }

    #[test]
    fn a_broken_table_is_text() {
        assert_eq!(html("| alone |\n", &|_| None), "<p>| alone |</p>\n");
    }
}
