//! Text in columns.

/// Sets rows in columns two spaces apart, each line indented by `indent`; what looks like a number stands on
/// the right. The first row is the heading and sets the number of columns.
pub(crate) fn columns(indent: usize, rows: &[Vec<String>]) -> String {
    let count = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|r| r[column].chars().count()).max().unwrap_or(0);
    let numeric = |column: usize| {
        let mut cells = rows.iter().skip(1).map(|r| r[column].as_str()).peekable();
        cells.peek().is_some() && cells.all(|c| c.parse::<f64>().is_ok() || c == "-")
    };
    let shapes: Vec<(usize, bool)> = (0..count).map(|c| (width(c), numeric(c))).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = " ".repeat(indent);
        for (cell, (width, right)) in row.iter().zip(&shapes) {
            let gap = " ".repeat(width - cell.chars().count());
            line += &if *right { format!("{gap}{cell}  ") } else { format!("{cell}{gap}  ") };
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// A row of cells.
pub(crate) fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_left_and_numbers_right() {
        let rows = [row(["NAME", "N"]), row(["a", "1000"]), row(["longer", "7"]), row(["x", "-"])];
        assert_eq!(columns(2, &rows), "  NAME       N\n  a       1000\n  longer     7\n  x          -\n");
        assert_eq!(columns(0, &[]), "");
    }
}
