//! Examples in the documentation, for the tests that hold them true.

/// The pieces of a page that are marked as `kind`.
pub(crate) fn examples<'t>(page: &'t str, kind: &str) -> Vec<&'t str> {
    let begin = format!("```{kind}\n");
    let after = |at: usize| &page[at + begin.len()..];
    page.match_indices(&begin).filter_map(|(at, _)| after(at).split("```").next()).collect()
}
