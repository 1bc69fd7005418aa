//! Rust files as the checks see them: comments and literals blanked, tests cut away, lines kept.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// One Rust file of the workspace.
pub(crate) struct Source {
    /// Where it is, from the root of the workspace, with `/` between the parts.
    pub(crate) path: String,
    /// Its text as it stands.
    pub(crate) text: String,
    /// The text with comments, strings and character literals blanked; lines stay lines.
    pub(crate) code: String,
    /// `code` with every `#[cfg(test)]` item blanked too; empty for a file that holds only tests.
    pub(crate) product: String,
}

impl Source {
    /// Reads `text` as the file `path`.
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let code = blank(text);
        let product = if is_test_path(path) { String::new() } else { without_tests(&code) };
        Self { path: path.to_owned(), text: text.to_owned(), code, product }
    }
}

/// Every Rust file below `root`, without build output and hidden folders.
///
/// # Errors
/// The operating system's, with the path it was about.
pub(crate) fn load(root: &Path) -> io::Result<Vec<Source>> {
    let mut files = Vec::new();
    walk(root, &mut files)?;
    files.sort();
    let mut sources = Vec::new();
    for file in files {
        let text =
            fs::read_to_string(&file).map_err(|e| io::Error::other(format!("{}: {e}", file.display())))?;
        let path = file.strip_prefix(root).unwrap_or(&file).to_string_lossy().replace('\\', "/");
        sources.push(Source::new(&path, &text));
    }
    let tests: HashSet<String> = sources.iter().flat_map(test_modules).collect();
    for source in &mut sources {
        let stem = source.path.trim_end_matches(".rs");
        if tests.iter().any(|t| stem == t || stem.starts_with(&format!("{t}/"))) {
            source.product.clear();
        }
    }
    Ok(sources)
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !name.starts_with('.') && !name.starts_with("target") {
                walk(&path, files)?;
            }
        } else if name.ends_with(".rs") {
            files.push(path);
        }
    }
    Ok(())
}

fn is_test_path(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.split('/').skip(1).any(|part| part == "tests")
}

/// Blanks comments, strings and character literals with spaces.
pub(crate) fn blank(text: &str) -> String {
    let src: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < src.len() {
        let end = literal_end(&src, at).unwrap_or(at);
        if end > at {
            out.extend(src[at..end].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
            at = end;
        } else {
            out.push(src[at]);
            at += 1;
        }
    }
    out
}

/// Where the comment or literal that begins at `at` ends; `None` when none begins there.
fn literal_end(src: &[char], at: usize) -> Option<usize> {
    let next = src.get(at + 1).copied();
    match src[at] {
        '/' if next == Some('/') => {
            Some(src[at..].iter().position(|&c| c == '\n').map_or(src.len(), |n| at + n))
        }
        '/' if next == Some('*') => Some(block_comment_end(src, at)),
        '"' => Some(string_end(src, at + 1)),
        '\'' => char_end(src, at),
        'r' | 'b' | 'c' if !inside_word(src, at) => prefixed_end(src, at),
        _ => None,
    }
}

fn inside_word(src: &[char], at: usize) -> bool {
    at > 0 && (src[at - 1].is_alphanumeric() || src[at - 1] == '_')
}

fn block_comment_end(src: &[char], at: usize) -> usize {
    let (mut i, mut depth) = (at, 0);
    while i + 1 < src.len() {
        match (src[i], src[i + 1]) {
            ('/', '*') => (depth, i) = (depth + 1, i + 2),
            ('*', '/') => {
                (depth, i) = (depth - 1, i + 2);
                if depth == 0 {
                    return i;
                }
            }
            _ => i += 1,
        }
    }
    src.len()
}

fn string_end(src: &[char], mut i: usize) -> usize {
    while i < src.len() {
        match src[i] {
            '\\' => i += 2,
            '"' => return i + 1,
            _ => i += 1,
        }
    }
    src.len()
}

/// A character literal, not a lifetime: `'x'` or an escape.
fn char_end(src: &[char], at: usize) -> Option<usize> {
    if src.get(at + 1) == Some(&'\\') {
        let close = src.get(at + 3..)?.iter().position(|&c| c == '\'')?;
        return Some(at + 3 + close + 1);
    }
    (src.get(at + 2) == Some(&'\'')).then_some(at + 3)
}

/// `b"…"`, `c"…"`, `b'…'`, `r"…"`, `r#"…"#`, `br#"…"#` and their like.
fn prefixed_end(src: &[char], at: usize) -> Option<usize> {
    let mut i = at;
    if matches!(src[i], 'b' | 'c') {
        i += 1;
        match src.get(i)? {
            '"' => return Some(string_end(src, i + 1)),
            '\'' => return char_end(src, i),
            'r' => {}
            _ => return None,
        }
    }
    i += 1;
    let hashes = src.get(i..)?.iter().take_while(|&&c| c == '#').count();
    if src.get(i + hashes) != Some(&'"') {
        return None;
    }
    i += hashes + 1;
    while i < src.len() {
        if src[i] == '"' && src[i + 1..].iter().take(hashes).filter(|&&c| c == '#').count() == hashes {
            return Some(i + 1 + hashes);
        }
        i += 1;
    }
    Some(src.len())
}

/// Blanks every item under a `#[cfg(test)]` (or `cfg(all(test, …))`) in code that is blanked already.
fn without_tests(code: &str) -> String {
    let mut out: Vec<u8> = code.bytes().collect();
    let mut from = 0;
    while let Some(start) = code[from..].find("#[cfg(").map(|n| from + n) {
        let attribute = matching(code, start + 1, b'[', b']');
        from = attribute;
        if is_test_attribute(&code[start..attribute]) {
            let end = item_end(code, attribute);
            out[start..end].iter_mut().filter(|b| **b != b'\n').for_each(|b| *b = b' ');
            from = end;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn is_test_attribute(attribute: &str) -> bool {
    let plain = attribute.replace("not(test)", "");
    words(&plain).any(|w| w == "test")
}

/// The identifiers of some code, in order.
pub(crate) fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|w| !w.is_empty())
}

/// The end of the item that begins at or after `at`: past its `;`, or past its braces.
fn item_end(code: &str, at: usize) -> usize {
    match code[at..].find([';', '{']).map(|n| at + n) {
        Some(open) if code.as_bytes()[open] == b'{' => matching(code, open, b'{', b'}'),
        Some(semicolon) => semicolon + 1,
        None => code.len(),
    }
}

/// Just past the bracket that closes the one at `open`.
pub(crate) fn matching(code: &str, open: usize, left: u8, right: u8) -> usize {
    let mut depth = 0usize;
    for (n, b) in code.bytes().enumerate().skip(open) {
        if b == left {
            depth += 1;
        } else if b == right {
            depth = depth.saturating_sub(1);
            if depth == 0 {
                return n + 1;
            }
        }
    }
    code.len()
}

/// The files (without `.rs`) that `source` declares by `#[cfg(test)] mod name;`.
fn test_modules(source: &Source) -> Vec<String> {
    let stem = source.path.trim_end_matches(".rs");
    let (folder, name) = stem.rsplit_once('/').unwrap_or(("", stem));
    let base = if matches!(name, "lib" | "main" | "mod") { folder } else { stem };
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(start) = source.code[from..].find("#[cfg(").map(|n| from + n) {
        from = matching(&source.code, start + 1, b'[', b']');
        let item = &source.code[from..item_end(&source.code, from)];
        let mut names = words(item).skip_while(|w| *w != "mod").skip(1);
        if is_test_attribute(&source.code[start..from])
            && item.trim_end().ends_with(';')
            && let Some(module) = names.next()
        {
            found.push(format!("{base}/{module}"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_and_lines_stay() {
        let code = blank("let a = \"unsafe // x\"; // unsafe\nlet b = 'u'; /* /* dbg! */ */ fn f<'a>() {}\n");
        assert!(!code.contains("unsafe") && !code.contains("dbg"));
        assert_eq!(code.lines().count(), 2);
        assert!(code.contains("fn f<'a>() {}"));
    }

    #[test]
    fn raw_strings_and_escapes_end_where_they_end() {
        let code = blank(r###"x(r#"a " unsafe"#); y(b'\''); z('\u{1F}'); w("\" unsafe"); c"unsafe"; keep"###);
        assert!(!code.contains("unsafe"));
        assert!(code.contains("y(") && code.contains("z(") && code.contains("w(") && code.contains("keep"));
    }

    #[test]
    fn tests_are_no_product() {
        let s =
            Source::new("a/src/b.rs", "fn x() {}\n#[cfg(test)]\nmod tests {\n fn y() { {} }\n}\nfn z() {}\n");
        assert!(s.product.contains("fn x") && s.product.contains("fn z") && !s.product.contains("fn y"));
        assert_eq!(s.product.lines().count(), 6);
        assert!(Source::new("a/src/tests.rs", "fn x() {}").product.is_empty());
        assert!(Source::new("a/src/b.rs", "#[cfg(not(test))] fn x() {}").product.contains("fn x"));
    }

    #[test]
    fn modules_declared_for_tests_are_found() {
        let s = Source::new(
            "a/src/lib.rs",
            "#[cfg(test)]\npub(crate) mod wire;\n#[cfg(all(test, loom))] mod model;",
        );
        assert_eq!(test_modules(&s), ["a/src/wire", "a/src/model"]);
        let s = Source::new("a/src/b.rs", "#[cfg(test)] mod t;");
        assert_eq!(test_modules(&s), ["a/src/b/t"]);
    }
}
