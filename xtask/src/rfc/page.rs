//! COMPLIANCE.md.

use std::fmt::Write;

use super::table::{Row, Table};

const HEAD: &str = "# What the RFCs ask, and where it is

Made by `cargo xtask rfc` from the tables in `xtask/rfc/` and from tags in code and tests (`RFC 8985 §7.2`, `RFC 9293
MUST-57`): do not edit it. `cargo xtask rfc --check`, part of `cargo xtask test`, fails when it is stale, when a tag
names nothing that is in a table, and when a MUST has neither a test nor an exception. The words are ours, and shorter
than the RFC's. Anchors are file#function; names that begin with `rfc` are drills in `tests/drill/src/drills/`, which run
against Linux, too.

";
/// Anchors of one cell at the most.
const MOST: usize = 3;

/// The whole page.
pub(super) fn of(tables: &[Table]) -> String {
    let mut page = HEAD.to_owned();
    page.push_str("| RFC | | requirements | tested | code only | otherwise, with a reason | open |\n");
    page.push_str("|---|---|--:|--:|--:|--:|--:|\n");
    for table in tables {
        // What an RFC tells without asking for it is there for tags, and no requirement.
        let asks: Vec<&Row> = table.rows.iter().filter(|row| row.level != "TEXT").collect();
        let count = |what: &dyn Fn(&Row) -> bool| asks.iter().filter(|row| what(row)).count();
        let tested = |row: &Row| row.exception.is_none() && !row.tests.is_empty();
        let code = |row: &Row| row.exception.is_none() && row.tests.is_empty() && !row.code.is_empty();
        let _ = writeln!(
            page,
            "| [{n}](https://www.rfc-editor.org/rfc/rfc{n}) | {} | {} | {} | {} | {} | {} |",
            table.title,
            asks.len(),
            count(&tested),
            count(&code),
            count(&|row| row.exception.is_some()),
            count(&|row| row.exception.is_none() && row.tests.is_empty() && row.code.is_empty()),
            n = table.number,
        );
    }
    for table in tables {
        let _ = write!(page, "\n## RFC {}: {}\n\n", table.number, table.title);
        page.push_str("| | | what | code | tests |\n|---|---|---|---|---|\n");
        let bare = |row: &&Row| row.level == "TEXT" && row.code.is_empty() && row.tests.is_empty();
        for row in table.rows.iter().filter(|row| !bare(row)) {
            write_row(&mut page, row);
        }
    }
    page
}

fn write_row(page: &mut String, row: &Row) {
    let level = if row.id.starts_with(&row.level) || row.level == "TEXT" { "" } else { &row.level };
    let words = match &row.exception {
        Some(reason) => format!("{} **Otherwise:** {reason}", row.words),
        None => row.words.clone(),
    };
    let (code, tests) = (cell(&row.code, short_code), cell(&row.tests, short_test));
    let _ = writeln!(page, "| {} | {level} | {words} | {code} | {tests} |", row.id);
}

fn cell(anchors: &[String], short: impl Fn(&str) -> String) -> String {
    let shown: Vec<String> = anchors.iter().take(MOST).map(|a| format!("`{}`", short(a))).collect();
    let more = anchors.len().saturating_sub(MOST);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{rest}", shown.join("<br>"))
}

/// Most code is the stack's: its folder goes without saying.
fn short_code(anchor: &str) -> String {
    anchor.strip_prefix("stack/src/").unwrap_or(anchor).to_owned()
}

fn short_test(anchor: &str) -> String {
    match anchor.strip_prefix("tests/drill/src/drills/") {
        Some(drill) => drill.replace(".rs#", "::").replace(".rs", "").replace('/', "::"),
        None => short_code(anchor),
    }
}
