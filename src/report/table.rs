//! Plain columns as kubectl prints them.

use comfy_table::{ContentArrangement, Table, presets};

/// Rows under upper-case headings, two spaces between columns, nothing wrapped.
#[must_use]
pub fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(headings.iter().copied());
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_nothing_trails() {
        let rows = [vec!["pgset-0".to_owned(), "primary".to_owned()], vec!["p".to_owned(), String::new()]];
        assert_eq!(table(&["MEMBER", "ROLE"], &rows), "MEMBER   ROLE\npgset-0  primary\np\n");
    }
}
