//! Rules as they are mostly written, a key and its value a line, read without a tree of the whole file.
//!
//! A long policy is nearly all rules. A parser of TOML keeps tokens, events and a tree of them, hundreds of bytes a value; here
//! they are looked at one by one, and the parser sees the rest. Only what can mean but one thing is read: whatever else there
//! is, and whatever is wrong, has the whole file read the long way, which says what it is.

mod short;

use std::collections::HashMap;
use std::ops::Range;
use std::vec;

use toml::Spanned;
use toml::de::{DeArray, DeValue};

use super::read::{Keyed, Value};
use short::Short;
pub(super) use short::all_of;

/// How each rule begins.
const HEADER: &str = "[[table.rule]]";
/// The longest number that is read here, in digits; and the most keys of a rule, of which each is compared with all before it.
const DIGITS: usize = 9;
const KEYS: usize = 16;

/// Rules that follow one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) at: Range<usize>,
    /// The line in which the first begins, from 1.
    line: usize,
}

/// Up to so many bytes a run is read sooner than a thread begins to help.
const SHORT: usize = 1 << 20;

impl Run {
    /// One that is long as two: from its beginning, and from a header in the middle. Whatever goes on over a line is not plain.
    pub(super) fn halves(self, text: &str) -> (Self, Option<Self>) {
        let Range { start, end } = self.at;
        let middle = start + (end - start) / 2;
        let header = text.as_bytes()[middle..end].windows(1 + HEADER.len());
        let found =
            header.take(SHORT).position(|bytes| bytes[0] == b'\n' && &bytes[1..] == HEADER.as_bytes());
        let Some(at) = found.filter(|_| end - start > SHORT).map(|at| middle + at + 1) else {
            return (self, None);
        };
        let line = self.line + text.as_bytes()[start..at].iter().filter(|byte| **byte == b'\n').count();
        (Self { at: start..at, line: self.line }, Some(Self { at: at..end, line }))
    }
}

/// A policy file without its plain rules.
pub(super) struct Apart {
    pub(super) runs: Vec<Run>,
    /// The rest, everything in its place, up to the last of it.
    pub(super) rest: String,
}

/// Sets the rules of `text` apart that seem plain; `None` where there are none, or what is before one goes on in it.
pub(super) fn set_apart(text: &str) -> Option<Apart> {
    let runs = runs(text)?;
    let mut rest = Vec::with_capacity(text.len());
    let mut from = 0;
    for run in &runs {
        let before = &text[from..run.at.start];
        if !is_whole(before) {
            return None;
        }
        rest.resize(from, b' ');
        rest.extend_from_slice(before.as_bytes());
        from = run.at.end;
    }
    if from < text.len() {
        rest.resize(from, b' ');
        rest.extend_from_slice(&text.as_bytes()[from..]);
    }
    Some(Apart { runs, rest: String::from_utf8(rest).ok()? })
}

/// From each header of a rule to the next line that begins with a bracket and is none.
pub(super) fn runs(text: &str) -> Option<Vec<Run>> {
    let begins_line = |at: &usize| *at == 0 || text.as_bytes()[at - 1] == b'\n';
    let mut runs: Vec<Run> = Vec::new();
    let (mut begun, mut line, mut counted) = (None, 1, 0);
    for at in text.match_indices('[').map(|(at, _)| at).filter(begins_line) {
        match (text[at..].starts_with(HEADER), begun) {
            (true, None) => {
                line += text[counted..at].bytes().filter(|byte| *byte == b'\n').count();
                (begun, counted) = (Some(at), at);
            }
            (false, Some(start)) => {
                runs.push(Run { at: start..at, line });
                begun = None;
            }
            _ => {}
        }
    }
    runs.extend(begun.map(|start| Run { at: start..text.len(), line }));
    (!runs.is_empty()).then_some(runs)
}

/// Whether what comes after `text`, which ends with a line, is no part of it.
fn is_whole(text: &str) -> bool {
    let mut lines = Lines::new(text, 0..text.len());
    let header =
        |line: &str| line.starts_with('[') && line.ends_with(']') && !line.contains(['"', '\'', '#']);
    while !lines.is_over() {
        let line = lines.rest().lines().next().unwrap_or_default();
        if header(line) {
            lines.at += line.len();
            if lines.end_of_line().is_none() {
                return false;
            }
        } else if lines.pair().is_none() {
            return toml::de::DeTable::parse(text).is_ok();
        }
    }
    true
}

/// What a rule says.
#[derive(Default)]
pub(super) struct Rule<'t> {
    /// Where it begins.
    pub(super) header: Range<usize>,
    pub(super) line: usize,
    pairs: Vec<Pair<'t>>,
}

type Pair<'t> = (Spanned<&'t str>, Value<'t>);

impl<'t> Keyed<'t> for Rule<'t> {
    fn get(&self, key: &str) -> Option<&Value<'t>> {
        self.pairs.iter().find(|(other, _)| *other.get_ref() == key).map(|(_, value)| value)
    }

    fn keys(&self) -> impl Iterator<Item = (&str, Range<usize>)> {
        self.pairs.iter().map(|(key, _)| (*key.get_ref(), key.span()))
    }
}

/// The rules of a run, one after the other.
pub(super) struct Rules<'t> {
    /// Short ones that were read already.
    ahead: vec::IntoIter<Short>,
    lines: Lines<'t>,
}

impl<'t> Rules<'t> {
    pub(super) fn of(text: &'t str, run: &Run) -> Self {
        let lines = Lines { line: run.line, ..Lines::new(text, run.at.clone()) };
        Self { ahead: Vec::new().into_iter(), lines }
    }

    /// Puts the next into `rule`. Whether there was one; `None`: it is not plain.
    pub(super) fn next(&mut self, rule: &mut Rule<'t>) -> Option<bool> {
        let lines = &mut self.lines;
        rule.pairs.clear();
        if lines.is_over() {
            return Some(false);
        }
        let start = lines.at;
        (rule.header, rule.line) = (start..start + HEADER.len(), lines.line);
        lines.at = lines.rest().starts_with(HEADER).then_some(rule.header.end)?;
        lines.end_of_line()?;
        while !lines.is_over() && lines.peek() != Some(b'[') {
            let Some((key, value)) = lines.pair()? else { continue };
            if rule.pairs.len() == KEYS || rule.get(key.get_ref()).is_some() {
                return None;
            }
            rule.pairs.push((key, value));
        }
        Some(true)
    }
}

/// A text, line by line.
struct Lines<'t> {
    text: &'t str,
    at: usize,
    end: usize,
    line: usize,
    /// Numbers that were met: only the parser makes them.
    numbers: HashMap<&'t str, DeValue<'t>>,
}

impl<'t> Lines<'t> {
    fn new(text: &'t str, Range { start: at, end }: Range<usize>) -> Self {
        Self { text, at, end, line: 1, numbers: HashMap::new() }
    }

    fn is_over(&self) -> bool {
        self.at >= self.end
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..self.end]
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes()[..self.end].get(self.at).copied()
    }

    /// Goes on while bytes are `meant`, all of them ASCII or all others; over what.
    fn take(&mut self, meant: impl Fn(u8) -> bool) -> &'t str {
        let bytes = &self.text.as_bytes()[self.at..self.end];
        let len = bytes.iter().position(|byte| !meant(*byte)).unwrap_or(bytes.len());
        let taken = &self.text[self.at..self.at + len];
        self.at += len;
        taken
    }

    #[inline]
    fn blanks(&mut self) {
        if let Some(b' ' | b'\t') = self.peek() {
            self.take(|byte| byte == b' ' || byte == b'\t');
        }
    }

    /// Over what is left of the line: blanks and a comment.
    fn end_of_line(&mut self) -> Option<()> {
        self.blanks();
        if self.peek() == Some(b'#') {
            self.take(is_shown);
        }
        match self.peek() {
            None => Some(()),
            Some(b'\n') => {
                self.at += 1;
                self.line += 1;
                Some(())
            }
            Some(_) => None,
        }
    }

    /// The key and the value of a line, if there is something in it; `None`: it is not plain.
    fn pair(&mut self) -> Option<Option<Pair<'t>>> {
        self.blanks();
        let start = self.at;
        let key = self.take(is_key);
        if key.is_empty() {
            return self.end_of_line().map(|()| None);
        }
        let key = Spanned::new(start..self.at, key);
        self.blanks();
        self.byte(b'=')?;
        self.blanks();
        let value = if self.peek() == Some(b'[') { self.list()? } else { self.value()? };
        self.end_of_line()?;
        Some(Some((key, value)))
    }

    fn byte(&mut self, byte: u8) -> Option<()> {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there.then_some(())
    }

    fn list(&mut self) -> Option<Value<'t>> {
        let (start, mut list) = (self.at, DeArray::new());
        self.byte(b'[')?;
        self.blanks();
        while self.byte(b']').is_none() {
            list.push(self.value()?);
            self.blanks();
            if self.peek() != Some(b']') {
                self.byte(b',')?;
                self.blanks();
            }
        }
        Some(Spanned::new(start..self.at, DeValue::Array(list)))
    }

    /// A string without escapes, a small number, or a truth.
    fn value(&mut self) -> Option<Value<'t>> {
        let start = self.at;
        let value = match self.peek()? {
            quote @ (b'"' | b'\'') => {
                self.at += 1;
                let text =
                    self.take(|byte| is_shown(byte) && byte != quote && byte != b'\\' && byte != b'\t');
                self.byte(quote)?;
                DeValue::String(text.into())
            }
            b'1'..=b'9' => self.number()?,
            _ => match self.take(|byte| byte.is_ascii_lowercase()) {
                "true" => DeValue::Boolean(true),
                "false" => DeValue::Boolean(false),
                _ => return None,
            },
        };
        Some(Spanned::new(start..self.at, value))
    }

    fn number(&mut self) -> Option<DeValue<'t>> {
        let digits = self.take(|byte| byte.is_ascii_digit());
        if digits.len() > DIGITS {
            return None;
        }
        if let Some(known) = self.numbers.get(digits) {
            return Some(known.clone());
        }
        let number = DeValue::parse(digits).ok()?.into_inner();
        self.numbers.insert(digits, number.clone());
        Some(number)
    }
}

/// What may stand in keys without quotes.
fn is_key(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

/// What may stand in strings and comments: all but control characters.
fn is_shown(byte: u8) -> bool {
    (byte >= b' ' || byte == b'\t') && byte != 0x7f
}
