//! Tags in comments, and what they stand at.

use crate::source::{Source, matching, words};

/// A requirement that a comment names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) rfc: u32,
    pub(super) wanted: Wanted,
    pub(super) place: Place,
    /// What it stands at: `stack/src/tcp/rto.rs#backoff`. Lines would change with every edit.
    pub(super) anchor: String,
    pub(super) line: usize,
}

/// Which one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// By RFC 9293's numbers: `MUST-57`.
    Number(String),
    /// By section: `7.2`.
    Section(String),
}

/// Where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Code,
    Test,
}

impl Tag {
    /// As it is written.
    pub(super) fn name(&self) -> String {
        match &self.wanted {
            Wanted::Number(id) => format!("RFC {} {id}", self.rfc),
            Wanted::Section(section) => format!("RFC {} §{section}", self.rfc),
        }
    }
}

/// A comment: its lines joined, and where it begins and ends in the text.
struct Comment {
    text: String,
    inner: bool,
    line: usize,
    start: usize,
    end: usize,
}

/// The tags of one file.
pub(super) fn of(source: &Source) -> Vec<Tag> {
    // The tool's own words about tags are none.
    if source.path.starts_with("xtask/") {
        return vec![];
    }
    // Blanking keeps characters, not bytes: positions are counted in characters.
    let code: Vec<char> = source.code.chars().collect();
    let functions = functions(&source.code);
    let mut tags = Vec::new();
    for comment in comments(&source.text) {
        let wanted = wanted(&comment.text);
        if wanted.is_empty() {
            continue;
        }
        let name = if comment.inner { None } else { holder(&comment, &code, &functions) };
        let anchor = name.as_ref().map_or(source.path.clone(), |n| format!("{}#{n}", source.path));
        let place = if is_test(source, comment.end) { Place::Test } else { Place::Code };
        tags.extend(wanted.into_iter().map(|(rfc, wanted)| Tag {
            rfc,
            wanted,
            place,
            anchor: anchor.clone(),
            line: comment.line,
        }));
    }
    tags
}

/// Whether what stands at `at` is a test: it is in a file of tests, or was cut away as one.
fn is_test(source: &Source, at: usize) -> bool {
    if source.path.starts_with("tests/") || source.product.trim().is_empty() {
        return true;
    }
    let rest = |text: &str| text.chars().skip(at).find(|c| !c.is_whitespace());
    rest(&source.code) != rest(&source.product)
}

fn comments(text: &str) -> Vec<Comment> {
    let mut all: Vec<Comment> = Vec::new();
    let (mut at, mut open) = (0, false);
    for (n, line) in text.split('\n').enumerate() {
        let length = line.chars().count() + 1;
        let alone = line.trim_start();
        let found =
            if alone.starts_with("//") { Some(alone) } else { line.rfind("// ").map(|at| &line[at..]) };
        if let Some(words) = found {
            let inner = words.starts_with("//!");
            let words = words.trim_start_matches(['/', '!']);
            let joins = open && alone.starts_with("//") && all.last().is_some_and(|c| c.inner == inner);
            match all.last_mut() {
                Some(last) if joins => {
                    last.text.push_str(words);
                    last.end = at + length;
                }
                _ => all.push(Comment {
                    text: words.to_owned(),
                    inner,
                    line: n + 1,
                    start: at,
                    end: at + length,
                }),
            }
        }
        open = alone.starts_with("//");
        at += length;
    }
    all
}

/// The requirements that a comment names.
fn wanted(text: &str) -> Vec<(u32, Wanted)> {
    let mut all = Vec::new();
    for after in text.split("RFC ").skip(1) {
        let digits = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        let Ok(rfc) = after[..digits].parse() else { continue };
        let mut rest = &after[digits..];
        let mut range: Option<Wanted> = None;
        loop {
            let trimmed = rest.trim_start_matches([' ', ',', '(']);
            let trimmed = trimmed.strip_prefix("and ").unwrap_or(trimmed);
            if let Some(after) = trimmed.strip_prefix('…') {
                range = all.last().map(|(_, w): &(u32, Wanted)| w.clone());
                rest = after;
                continue;
            }
            let Some((item, after)) = item(trimmed) else { break };
            if let (Some(Wanted::Number(from)), Wanted::Number(to)) = (range.take(), &item) {
                all.extend(between(&from, to).map(|id| (rfc, Wanted::Number(id))));
            }
            all.push((rfc, item));
            rest = after;
        }
    }
    all
}

/// `MUST-3` and `MUST-7`: 4, 5 and 6.
fn between(from: &str, to: &str) -> impl Iterator<Item = String> {
    let split = |id: &str| id.split_once('-').and_then(|(w, n)| Some((w.to_owned(), n.parse::<u32>().ok()?)));
    let (word, from) = split(from).unwrap_or_default();
    let to = split(to).map_or(0, |(_, to)| to);
    (from + 1..to).map(move |n| format!("{word}-{n}"))
}

fn item(text: &str) -> Option<(Wanted, &str)> {
    if let Some(section) = text.strip_prefix('§') {
        let end = section.find(|c: char| !c.is_ascii_alphanumeric() && c != '.').unwrap_or(section.len());
        let name = section[..end].trim_end_matches('.');
        return (!name.is_empty()).then(|| (Wanted::Section(name.to_owned()), &section[end..]));
    }
    let word = ["MUST-", "SHLD-", "MAY-", "REC-"].into_iter().find(|w| text.starts_with(w))?;
    let number = &text[word.len()..];
    let end = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
    (end > 0).then(|| (Wanted::Number(format!("{word}{}", &number[..end])), &number[end..]))
}

/// A function: its name, and where it begins and ends, in characters.
struct Function {
    name: String,
    start: usize,
    end: usize,
}

fn functions(code: &str) -> Vec<Function> {
    let mut all = Vec::new();
    // Blanked code holds no character that is longer than a byte but in names, which nobody writes.
    for (at, _) in code.match_indices("fn ") {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let Some(open) = code[at..].find([';', '{']).map(|n| at + n) else { continue };
        let Some(name) = words(&code[at + 3..]).next() else { continue };
        if code.as_bytes()[open] == b'{' {
            let end = matching(code, open, b'{', b'}');
            let chars = |at: usize| code[..at].chars().count();
            all.push(Function { name: name.to_owned(), start: chars(at), end: chars(end) });
        }
    }
    all
}

/// What a comment is about: the function it stands in, or the item that follows it.
fn holder(comment: &Comment, code: &[char], functions: &[Function]) -> Option<String> {
    let inside = functions.iter().filter(|f| f.start <= comment.start && comment.start < f.end);
    if let Some(innermost) = inside.min_by_key(|f| f.end - f.start) {
        return Some(innermost.name.clone());
    }
    let after: String = code[comment.end.min(code.len())..].iter().take(400).collect();
    let kinds = ["fn", "struct", "enum", "const", "static", "trait", "type", "mod"];
    // Attributes first, then visibility and the like, then what it is.
    let line = after.lines().find(|l| !l.trim().is_empty() && !l.trim_start().starts_with('#'))?;
    let mut all = words(line).skip_while(|w| !kinds.contains(w));
    let kind = all.next()?;
    let name = all.next()?;
    // `const fn` is a function.
    let name = if kind == "const" && name == "fn" { all.next()? } else { name };
    Some(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_requirements_may_follow_one_number() {
        let text = "RFC 9293 MUST-35, MUST-36 and §3.8.6.1: words (RFC 1122 §4.2.3.4). RFC 7323 is bare";
        let names: Vec<String> = wanted(text)
            .into_iter()
            .map(|(rfc, wanted)| {
                Tag { rfc, wanted, place: Place::Code, anchor: String::new(), line: 0 }.name()
            })
            .collect();
        assert_eq!(names, ["RFC 9293 MUST-35", "RFC 9293 MUST-36", "RFC 9293 §3.8.6.1", "RFC 1122 §4.2.3.4"]);
        assert_eq!(wanted("RFC 9293 SHLD-14 … SHLD-17").len(), 4);
    }

    #[test]
    fn a_tag_stands_at_what_it_is_about() {
        let text = "//! RFC 1 §1\n\n/// RFC 1 §2 and then, RFC 1\n/// §3, too.\n#[inline]\npub const fn first() {\n    // RFC 1 §4\n}\n\n\
                    #[cfg(test)]\nmod tests {\n    /// RFC 1 §5\n    #[test]\n    fn second() {}\n}\n";
        let tags = of(&Source::new("stack/src/a.rs", text));
        let seen: Vec<(String, &str, Place)> =
            tags.iter().map(|t| (t.name(), t.anchor.as_str(), t.place)).collect();
        let first = "stack/src/a.rs#first";
        let want = [
            ("RFC 1 §1", "stack/src/a.rs", Place::Code),
            ("RFC 1 §2", first, Place::Code),
            ("RFC 1 §3", first, Place::Code),
            ("RFC 1 §4", first, Place::Code),
            ("RFC 1 §5", "stack/src/a.rs#second", Place::Test),
        ];
        assert_eq!(seen, want.map(|(name, anchor, place)| (name.to_owned(), anchor, place)));
    }
}
