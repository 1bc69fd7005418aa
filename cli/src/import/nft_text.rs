//! The text of nft, as `nft list ruleset` prints it and people write it, into the objects that nft has for it in JSON;
//! each says where it stood.

use std::collections::HashMap;
use std::mem;

use serde_json::{Value, json};

use super::nft_statement::{self, Tokens};

/// Pieces that are put in place of names at the most, and how deep blocks may lie in one another.
const TOKENS: usize = 2 << 20;
const DEEP: usize = 16;

/// A piece of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) line: u64,
    pub(super) what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    Word(String),
    /// In quotes.
    Text(String),
    /// One of `{ } , =`.
    Sign(char),
    /// The end of a line, or `;`.
    End,
}

impl Token {
    pub(super) fn is(&self, sign: char) -> bool {
        self.what == What::Sign(sign)
    }

    /// A word, or what stands in quotes.
    pub(super) fn word(&self) -> Option<&str> {
        match &self.what {
            What::Word(word) | What::Text(word) => Some(word),
            _ => None,
        }
    }
}

/// Cuts the text into pieces.
fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut all = Vec::new();
    let joined = text.replace("\\\n", " \u{1}");
    let mut chars = joined.chars().peekable();
    let mut line = 1;
    while let Some(c) = chars.next() {
        let what = match c {
            '\u{1}' => {
                line += 1;
                continue;
            }
            '\n' | ';' => What::End,
            '{' | '}' | ',' => What::Sign(c),
            '=' if chars.next_if_eq(&'=').is_none() => What::Sign('='),
            '=' => continue,
            '#' => {
                while chars.next_if(|c| *c != '\n').is_some() {}
                continue;
            }
            '"' => {
                let mut inside = String::new();
                loop {
                    match chars.next() {
                        Some('"') => break,
                        Some(c) if c != '\n' => inside.push(c),
                        _ => return Err(format!("line {line}: a quotation that does not end")),
                    }
                }
                What::Text(inside)
            }
            '!' | '<' | '>' => {
                let mut sign = String::from(c);
                // `!=`, `<=`, `>=`; and `<<`, `>>`.
                sign.extend(chars.next_if(|next| *next == '=' || (*next == c && c != '!')));
                What::Word(sign)
            }
            c if c.is_whitespace() => continue,
            c => {
                let mut word = String::from(c);
                let goes_on = |c: &char| !c.is_whitespace() && !"{},;=!<>\"#\u{1}".contains(*c);
                while let Some(c) = chars.next_if(goes_on) {
                    word.push(c);
                }
                What::Word(word)
            }
        };
        all.push(Token { line, what });
        if c == '\n' {
            line += 1;
        }
    }
    all.push(Token { line, what: What::End });
    Ok(all)
}

/// Reads a ruleset; the error says in which line it is none.
pub(super) fn read(text: &str) -> Result<Vec<Value>, String> {
    let mut reader = Reader { tokens: named(tokens(text)?)?, ..Reader::default() };
    while reader.at < reader.tokens.len() {
        reader.command()?;
    }
    Ok(reader.objects)
}

/// Puts what `define` names in the place of the names.
fn named(tokens: Vec<Token>) -> Result<Vec<Token>, String> {
    let mut names: HashMap<String, Vec<Token>> = HashMap::new();
    let mut all: Vec<Token> = Vec::with_capacity(tokens.len());
    let mut define: Option<(String, Vec<Token>, usize)> = None;
    let mut put = 0;
    for token in tokens {
        let value = match token.word().and_then(|word| word.strip_prefix('$')) {
            Some(name) => {
                let known = names.get(name);
                let known = known.ok_or_else(|| format!("line {}: ${name} is not defined", token.line))?;
                // In definitions, too: each may name those before it twice.
                put += known.len();
                if put > TOKENS {
                    return Err(format!(
                        "line {}: with ${name}, names stand for more than can be read",
                        token.line
                    ));
                }
                known.clone()
            }
            None => vec![token.clone()],
        };
        if let Some((name, body, open)) = &mut define {
            *open = (*open + usize::from(token.is('{'))).saturating_sub(usize::from(token.is('}')));
            if token.what == What::End && *open == 0 {
                names.insert(mem::take(name), body.split_off(1));
                define = None;
            } else if token.what != What::End {
                body.extend(value.into_iter().map(|t| Token { line: token.line, ..t }));
            }
            continue;
        }
        // `define` and a name, and then the sign.
        if token.is('=')
            && let [.., word, name] = &all[..]
            && word.word() == Some("define")
            && let Some(name) = name.word().map(str::to_owned)
        {
            all.truncate(all.len() - 2);
            define = Some((name, vec![token], 0));
            continue;
        }
        all.extend(value.into_iter().map(|t| Token { line: token.line, ..t }));
    }
    match define {
        Some((name, ..)) => Err(format!("the definition of {name} does not end")),
        None => Ok(all),
    }
}

#[derive(Default)]
struct Reader {
    tokens: Vec<Token>,
    at: usize,
    objects: Vec<Value>,
}

impl Reader {
    /// A command, or a block of the listing.
    fn command(&mut self) -> Result<(), String> {
        let line = self.tokens[self.at].line;
        let (mut words, block) = self.head();
        if words.is_empty() && !block {
            return Ok(());
        }
        let first = words.first().and_then(Token::word).unwrap_or_default().to_owned();
        if matches!(first.as_str(), "add" | "create") {
            words.remove(0);
        }
        let text = shown(&words);
        let word = |n: usize| words.get(n).and_then(Token::word).unwrap_or_default().to_owned();
        // The family may be left out.
        let given = matches!(word(1).as_str(), "ip" | "ip6" | "inet" | "arp" | "bridge" | "netdev");
        let (family, next) = if given { (word(1), 2) } else { ("ip".to_owned(), 1) };
        match (word(0).as_str(), block) {
            ("table", true) => return self.table(&family, &word(next)),
            ("table", false) => {}
            ("flush", false) if word(1) == "ruleset" => {}
            ("rule", _) => {
                let start = self.at;
                // A set in braces opens what looks like a block.
                let mut rest = words.split_off((next + 2).min(words.len()));
                if block {
                    self.at = start - 1;
                    rest.extend(self.statement());
                }
                self.rule((&family, &word_of(&words, next), &word_of(&words, next + 1)), &rest);
            }
            ("chain", true) => return self.chain(&family, &word(next), &word(next + 1), line),
            ("set", true) => return self.set(&family, &word(next), &word(next + 1), line),
            (_, true) => {
                self.skip()?;
                self.unknown(line, &text, &first);
            }
            _ => self.unknown(line, &text, &first),
        }
        Ok(())
    }

    /// The words up to the end of the line, or to the block that begins there.
    fn head(&mut self) -> (Vec<Token>, bool) {
        let mut words = Vec::new();
        while let Some(token) = self.tokens.get(self.at).cloned() {
            self.at += 1;
            match token.what {
                What::End => return (words, false),
                What::Sign('{') => return (words, true),
                _ => words.push(token),
            }
        }
        (words, false)
    }

    /// A statement with whatever stands in braces, up to the end of the line outside of them.
    fn statement(&mut self) -> Vec<Token> {
        let (mut all, mut open) = (Vec::new(), 0_usize);
        while let Some(token) = self.tokens.get(self.at).cloned() {
            if open == 0 && (token.what == What::End || token.is('}')) {
                break;
            }
            self.at += 1;
            open = (open + usize::from(token.is('{'))).saturating_sub(usize::from(token.is('}')));
            if token.what != What::End {
                all.push(token);
            }
        }
        all
    }

    /// Passes over the block that has begun.
    fn skip(&mut self) -> Result<(), String> {
        let mut open = 1;
        while open > 0 {
            let token = self.next_in_block()?;
            open = open + usize::from(token.is('{')) - usize::from(token.is('}'));
            if open > DEEP {
                return Err(format!("line {}: blocks in blocks in blocks", token.line));
            }
        }
        Ok(())
    }

    fn next_in_block(&mut self) -> Result<Token, String> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token.ok_or_else(|| "a block does not end: a brace is missing".to_owned())
    }

    /// What follows in a block, statement by statement; none at its end.
    fn next_statement(&mut self) -> Result<Option<Vec<Token>>, String> {
        loop {
            let statement = self.statement();
            let end = self.next_in_block()?;
            if !statement.is_empty() {
                if end.is('}') {
                    self.at -= 1;
                }
                return Ok(Some(statement));
            }
            if end.is('}') {
                return Ok(None);
            }
        }
    }

    fn table(&mut self, family: &str, table: &str) -> Result<(), String> {
        loop {
            let line = self.tokens.get(self.at).map_or(0, |token| token.line);
            if self.tokens.get(self.at).is_some_and(|token| token.is('}')) {
                self.at += 1;
                return Ok(());
            }
            if self.at >= self.tokens.len() {
                return Err(format!("the table {table} does not end: a brace is missing"));
            }
            let (words, block) = self.head();
            let (kind, name) = (word_of(&words, 0), word_of(&words, 1));
            match (kind.as_str(), block) {
                ("", false) | ("comment", false) => {}
                ("chain", true) => self.chain(family, table, &name, line)?,
                ("set", true) => self.set(family, table, &name, line)?,
                _ => {
                    if block {
                        self.skip()?;
                    }
                    self.unknown(line, &shown(&words), &kind);
                }
            }
        }
    }

    fn chain(&mut self, family: &str, table: &str, name: &str, line: u64) -> Result<(), String> {
        let mut chain = json!({ "family": family, "table": table, "name": name, "line": line });
        let mut text = format!("chain {name}");
        let mut rules = Vec::new();
        while let Some(statement) = self.next_statement()? {
            let word = |n| word_of(&statement, n);
            match word(0).as_str() {
                "type" => {
                    text = format!("{text}: {}", shown(&statement));
                    (chain["type"], chain["hook"]) = (word(1).into(), word(3).into());
                }
                "policy" => chain["policy"] = word(1).into(),
                "comment" => {}
                _ => rules.push(statement),
            }
        }
        chain["text"] = text.into();
        self.objects.push(json!({ "chain": chain }));
        rules.iter().for_each(|rule| self.rule((family, table, name), rule));
        Ok(())
    }

    fn rule(&mut self, (family, table, chain): (&str, &str, &str), tokens: &[Token]) {
        let line = tokens.first().map_or(0, |token| token.line);
        let (expr, comment) = nft_statement::read(&mut Tokens::new(tokens));
        let mut rule = json!({ "family": family, "table": table, "chain": chain, "expr": expr, "line": line, "text": shown(tokens) });
        if let Some(comment) = comment {
            rule["comment"] = comment.into();
        }
        self.objects.push(json!({ "rule": rule }));
    }

    fn set(&mut self, family: &str, table: &str, name: &str, line: u64) -> Result<(), String> {
        let text = format!("set {name}");
        let mut set = json!({ "family": family, "table": table, "name": name, "line": line, "text": text });
        while let Some(statement) = self.next_statement()? {
            let rest: Vec<String> = (1..statement.len()).map(|n| word_of(&statement, n)).collect();
            match word_of(&statement, 0).as_str() {
                "type" => set["type"] = rest.join(" ").into(),
                "typeof" => {
                    let family = rest.first().map(String::as_str);
                    let address = rest.get(1).is_some_and(|field| field == "saddr" || field == "daddr");
                    set["type"] = match (family, address) {
                        (Some("ip"), true) => "ipv4_addr".into(),
                        (Some("ip6"), true) => "ipv6_addr".into(),
                        _ => rest.join(" ").into(),
                    };
                }
                "elements" => set["elem"] = nft_statement::elements(&statement[1..]),
                _ => {}
            }
        }
        self.objects.push(json!({ "set": set }));
        Ok(())
    }

    /// Something that policies have nothing for.
    fn unknown(&mut self, line: u64, text: &str, kind: &str) {
        let kind = if kind.is_empty() { "block" } else { kind };
        self.objects.push(json!({ kind: { "line": line, "text": text } }));
    }
}

fn word_of(words: &[Token], n: usize) -> String {
    words.get(n).and_then(Token::word).unwrap_or_default().to_owned()
}

/// As it stood, more or less.
fn shown(tokens: &[Token]) -> String {
    let one = |token: &Token| match &token.what {
        What::Word(word) => word.clone(),
        What::Text(text) => format!("\"{text}\""),
        What::Sign(sign) => sign.to_string(),
        What::End => String::new(),
    };
    tokens.iter().map(one).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
#[path = "tests_nft_text.rs"]
mod tests;
