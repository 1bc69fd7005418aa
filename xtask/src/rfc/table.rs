//! The requirements, one table an RFC.
//!
//! ```text
//! RFC 6298 Computing TCP's Retransmission Timer
//! §2.1 | MUST | Until a round trip was measured, RTO is one second.
//! MUST-51 | MUST | … | why we do not
//! ```

use std::fs;
use std::io;
use std::path::Path;

use super::tags::{Place, Tag, Wanted};

/// The requirements of one RFC.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) number: u32,
    pub(super) title: String,
    pub(super) rows: Vec<Row>,
}

/// One requirement.
#[derive(Debug)]
pub(super) struct Row {
    /// `MUST-57`, or `§7.2`.
    pub(super) id: String,
    /// MUST, SHOULD, MAY, or what the RFC describes without such a word.
    pub(super) level: String,
    /// What it asks, in our words.
    pub(super) words: String,
    /// Why we do otherwise.
    pub(super) exception: Option<String>,
    pub(super) code: Vec<String>,
    pub(super) tests: Vec<String>,
}

impl Row {
    /// Whether it is obligatory and nothing shows that it is kept.
    pub(super) fn is_bare_must(&self) -> bool {
        self.level.starts_with("MUST") && self.tests.is_empty() && self.exception.is_none()
    }

    /// Whether it is said to be missing, and is not.
    pub(super) fn is_done_after_all(&self) -> bool {
        self.exception.as_deref() == Some("not yet") && !self.tests.is_empty()
    }
}

/// Reads every table of a folder, by number.
pub(super) fn load(folder: &Path) -> io::Result<Vec<Table>> {
    let mut tables = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let text = fs::read_to_string(&path)?;
        tables.push(parse(&text).map_err(|e| io::Error::other(format!("{}: {e}", path.display())))?);
    }
    tables.sort_by_key(|table| table.number);
    Ok(tables)
}

fn parse(text: &str) -> Result<Table, String> {
    let mut lines = text.lines().filter(|l| !l.trim().is_empty());
    let head = lines.next().and_then(|l| l.strip_prefix("RFC ")).and_then(|l| l.split_once(' '));
    let (number, title) = head.ok_or("the first line is RFC, its number and its title")?;
    let number = number.parse().map_err(|_| format!("no number: {number}"))?;
    let rows = lines.map(row).collect::<Result<Vec<_>, _>>()?;
    let mut ids: Vec<&str> = rows.iter().map(|row: &Row| row.id.as_str()).collect();
    ids.sort_unstable();
    match ids.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(twice) => Err(format!("{} stands twice", twice[0])),
        None => Ok(Table { number, title: title.to_owned(), rows }),
    }
}

fn row(line: &str) -> Result<Row, String> {
    let cells: Vec<&str> = line.split('|').map(str::trim).collect();
    let (id, level, words, exception) = match cells[..] {
        [id, level, words] => (id, level, words, None),
        [id, level, words, exception] => (id, level, words, Some(exception.to_owned())),
        _ => return Err(format!("id | level | words [| exception], not: {line}")),
    };
    Ok(Row {
        id: id.to_owned(),
        level: level.to_owned(),
        words: words.to_owned(),
        exception,
        code: vec![],
        tests: vec![],
    })
}

/// Enters a tag where it belongs; false when its RFC has a table, and nothing there is what it names. An RFC
/// without a table is merely mentioned, and so is a section of which the table has only parts.
pub(super) fn place(tables: &mut [Table], tag: &Tag) -> bool {
    let Some(table) = tables.iter_mut().find(|table| table.number == tag.rfc) else { return true };
    if let Wanted::Section(section) = &tag.wanted
        && table.rows.iter().any(|row| row.id.starts_with(&format!("§{section}.")))
        && !table.rows.iter().any(|row| row.id == format!("§{section}"))
    {
        return true;
    }
    let Some(row) = find(table, &tag.wanted) else { return false };
    let list = match tag.place {
        Place::Code => &mut row.code,
        Place::Test => &mut row.tests,
    };
    if !list.contains(&tag.anchor) {
        list.push(tag.anchor.clone());
    }
    true
}

/// The row of a number; of a section, or the nearest section round it that has one.
fn find<'t>(table: &'t mut Table, wanted: &Wanted) -> Option<&'t mut Row> {
    let mut id = match wanted {
        Wanted::Number(id) => return table.rows.iter_mut().find(|row| row.id == *id),
        Wanted::Section(section) => format!("§{section}"),
    };
    loop {
        if let Some(at) = table.rows.iter().position(|row| row.id == id) {
            return table.rows.get_mut(at);
        }
        id.truncate(id.rfind('.')?);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "RFC 7 A title\n§3 | MUST | words\n§3.1 | MAY | other | never\nMUST-1 | MUST | more\n";

    fn tag(wanted: Wanted, place: Place) -> Tag {
        Tag { rfc: 7, wanted, place, anchor: "here".to_owned(), line: 1 }
    }

    #[test]
    fn tags_go_to_their_row_or_the_section_round_it() {
        let mut tables = [parse(TEXT).unwrap()];
        assert!(tables[0].rows[0].is_bare_must());
        assert!(place(&mut tables, &tag(Wanted::Section("3.2.1".to_owned()), Place::Test)));
        assert!(place(&mut tables, &tag(Wanted::Section("3.1".to_owned()), Place::Code)));
        assert!(!place(&mut tables, &tag(Wanted::Section("4".to_owned()), Place::Code)));
        assert!(!place(&mut tables, &tag(Wanted::Number("MUST-2".to_owned()), Place::Code)));
        let rows = &tables[0].rows;
        assert_eq!((rows[0].tests.len(), rows[1].code.len()), (1, 1));
        assert!(!rows[0].is_bare_must() && rows[2].is_bare_must());
    }

    #[test]
    fn a_table_that_is_none_is_refused() {
        assert!(parse("A title\n").is_err());
        assert!(parse("RFC 7 A title\n§3 | MUST\n").is_err());
        assert!(parse("RFC 7 A title\n§3 | MUST | a\n§3 | MUST | b\n").is_err());
    }
}
