//! Which flows are shown: `port 80 and not remote 10.77.0.0/24`.
//!
//! ```text
//! FILTER  = TERM { "or" TERM }
//! TERM    = FACTOR { ["and"] FACTOR }
//! FACTOR  = "not" FACTOR | "(" FILTER ")" | FIELD ["=" | "!="] VALUE
//! FIELD   = local | remote          an address or a network
//!         | port | local_port | remote_port      a port or a range
//!         | pid                     a number
//!         | protocol | direction | verdict | state | rule | table | command     a word; "in quotation marks" with blanks
//! ```

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;

use ipnet::IpNet;
use stack::tcp::State;

use super::{Flow, Verdict};

/// Parentheses and `not` in one another, at the most.
const DEEPEST: usize = 64;

/// What is wrong with a filter, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The column, from 1.
    pub column: usize,
    /// What.
    pub what: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "filter, column {}: {}", self.column, self.what)
    }
}

impl std::error::Error for Wrong {}

/// Which flows are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// All that each of these means; with none, all.
    All(Vec<Filter>),
    /// All that one of these means.
    Any(Vec<Filter>),
    /// All others.
    Not(Box<Filter>),
    /// The local address.
    Local(IpNet),
    /// The remote address.
    Remote(IpNet),
    /// Ports: of which ends, local and remote, and which.
    Port([bool; 2], RangeInclusive<u16>),
    /// The process.
    Pid(u32),
    /// A word of a flow, and which.
    Word(Word, String),
}

/// Words of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// `tcp`, `udp`.
    Protocol,
    /// `in`, `out`.
    Direction,
    /// `allowed`, `monitored`, `denied`.
    Verdict,
    /// A state of a connection.
    State,
    /// A rule's name.
    Rule,
    /// A table's.
    Table,
    /// A program's.
    Command,
}

impl Filter {
    /// Whether a flow is meant.
    #[must_use]
    pub fn wants(&self, flow: &Flow) -> bool {
        match self {
            Filter::All(each) => each.iter().all(|filter| filter.wants(flow)),
            Filter::Any(each) => each.iter().any(|filter| filter.wants(flow)),
            Filter::Not(filter) => !filter.wants(flow),
            Filter::Local(net) => net.contains(&flow.local.ip()),
            Filter::Remote(net) => net.contains(&flow.remote.ip()),
            Filter::Port([local, remote], ports) => {
                *local && ports.contains(&flow.local.port()) || *remote && ports.contains(&flow.remote.port())
            }
            Filter::Pid(pid) => flow.pid == *pid,
            Filter::Word(Word::Protocol, word) => flow.protocol_name() == word,
            Filter::Word(Word::Direction, word) => flow.direction_name() == word,
            Filter::Word(Word::Verdict, word) => flow.verdict.name() == word,
            Filter::Word(Word::State, word) => flow.state.eq_ignore_ascii_case(word),
            Filter::Word(Word::Rule, word) => flow.rule == *word,
            Filter::Word(Word::Table, word) => flow.table == *word,
            Filter::Word(Word::Command, word) => flow.command == *word,
        }
    }
}

impl FromStr for Filter {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let tokens = tokens(text)?;
        let end = text.chars().count() + 1;
        let mut parser = Parser { tokens: &tokens, end, depth: 0 };
        let filter = if tokens.is_empty() { Filter::All(Vec::new()) } else { parser.filter()? };
        match parser.tokens.first() {
            None => Ok(filter),
            Some(token) => Err(token.wrong(format!("{:?} has no place here", token.text))),
        }
    }
}

#[derive(Debug)]
struct Token {
    column: usize,
    text: String,
    quoted: bool,
}

impl Token {
    fn is(&self, word: &str) -> bool {
        !self.quoted && self.text == word
    }

    fn wrong(&self, what: impl Into<String>) -> Wrong {
        Wrong { column: self.column, what: what.into() }
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, Wrong> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut chars = (1..).zip(text.chars()).peekable();
    while let Some((column, c)) = chars.next() {
        let mut token = Token { column, text: String::new(), quoted: false };
        match c {
            c if c.is_whitespace() => continue,
            '(' | ')' | '=' => token.text.push(c),
            '!' if chars.next_if(|(_, c)| *c == '=').is_some() => token.text.push_str("!="),
            '"' => {
                token.quoted = true;
                loop {
                    match chars.next() {
                        Some((_, '"')) => break,
                        Some((_, c)) => token.text.push(c),
                        None => return Err(token.wrong("the quotation mark is not closed")),
                    }
                }
            }
            c => {
                token.text.push(c);
                while let Some((_, c)) = chars.next_if(|(_, c)| !c.is_whitespace() && !"()=!\"".contains(*c))
                {
                    token.text.push(c);
                }
            }
        }
        tokens.push(token);
    }
    Ok(tokens)
}

struct Parser<'t> {
    tokens: &'t [Token],
    /// The column behind the last.
    end: usize,
    depth: usize,
}

impl<'t> Parser<'t> {
    fn next(&mut self, wanted: &str) -> Result<&'t Token, Wrong> {
        let missing = || Wrong { column: self.end, what: format!("{wanted} is missing") };
        let (token, rest) = self.tokens.split_first().ok_or_else(missing)?;
        self.tokens = rest;
        Ok(token)
    }

    fn skip(&mut self, word: &str) -> bool {
        let found = self.tokens.first().is_some_and(|token| token.is(word));
        if found {
            self.tokens = &self.tokens[1..];
        }
        found
    }

    fn filter(&mut self) -> Result<Filter, Wrong> {
        let mut any = vec![self.term()?];
        while self.skip("or") {
            any.push(self.term()?);
        }
        Ok(if any.len() == 1 { any.remove(0) } else { Filter::Any(any) })
    }

    fn term(&mut self) -> Result<Filter, Wrong> {
        let mut all = vec![self.factor()?];
        while self.skip("and") || self.tokens.first().is_some_and(|t| !t.is("or") && !t.is(")")) {
            all.push(self.factor()?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Filter::All(all) })
    }

    fn factor(&mut self) -> Result<Filter, Wrong> {
        let token = self.next("a field")?;
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(token.wrong("too much in one another"));
        }
        let factor = if token.is("not") {
            Filter::Not(Box::new(self.factor()?))
        } else if token.is("(") {
            let inner = self.filter()?;
            let close = self.next("the closing parenthesis")?;
            if !close.is(")") {
                return Err(close.wrong("a closing parenthesis belongs here"));
            }
            inner
        } else {
            self.comparison(token)?
        };
        self.depth -= 1;
        Ok(factor)
    }

    fn comparison(&mut self, field: &Token) -> Result<Filter, Wrong> {
        let negated = self.skip("!=");
        if !negated {
            self.skip("=");
        }
        let name = if field.quoted { "" } else { field.text.as_str() };
        let is_field = FIELDS.contains(&name);
        if !is_field {
            return Err(field.wrong(unknown_field(&field.text)));
        }
        let value = self.next(&format!("what {name} should be"))?;
        let meant = meaning(name, value)?;
        Ok(if negated { Filter::Not(Box::new(meant)) } else { meant })
    }
}

const FIELDS: &[&str] = &[
    "local",
    "remote",
    "port",
    "local_port",
    "remote_port",
    "pid",
    "protocol",
    "direction",
    "verdict",
    "state",
    "rule",
    "table",
    "command",
];

fn unknown_field(word: &str) -> String {
    let near = FIELDS
        .iter()
        .copied()
        .max_by(|a, b| strsim::jaro_winkler(a, word).total_cmp(&strsim::jaro_winkler(b, word)));
    match near.filter(|near| strsim::jaro_winkler(near, word) > 0.8) {
        Some(near) => format!("{word:?} is no field; did you mean {near}?"),
        None => format!("{word:?} is no field; there are {}", FIELDS.join(", ")),
    }
}

fn meaning(name: &str, value: &Token) -> Result<Filter, Wrong> {
    let one_of = |word: Word, words: &[&str]| {
        let found = words.iter().find(|w| w.eq_ignore_ascii_case(&value.text));
        let wrong = || value.wrong(format!("{:?} is none of {}", value.text, words.join(", ")));
        found.map(|found| Filter::Word(word, (*found).to_owned())).ok_or_else(wrong)
    };
    let free = |word: Word| Ok(Filter::Word(word, value.text.clone()));
    match name {
        "local" => Ok(Filter::Local(network(value)?)),
        "remote" => Ok(Filter::Remote(network(value)?)),
        "port" => Ok(Filter::Port([true, true], ports(value)?)),
        "local_port" => Ok(Filter::Port([true, false], ports(value)?)),
        "remote_port" => Ok(Filter::Port([false, true], ports(value)?)),
        "pid" => value.text.parse().map(Filter::Pid).map_err(|_| value.wrong("a process has a number")),
        "protocol" => one_of(Word::Protocol, &["tcp", "udp"]),
        "direction" => one_of(Word::Direction, &["in", "out"]),
        "verdict" => one_of(Word::Verdict, &Verdict::ALL.map(Verdict::name)),
        "state" => one_of(Word::State, &State::ALL.map(State::name)),
        "rule" => free(Word::Rule),
        "table" => free(Word::Table),
        _ => free(Word::Command),
    }
}

fn network(value: &Token) -> Result<IpNet, Wrong> {
    let text = value.text.as_str();
    let host = || text.parse::<IpAddr>().ok().map(IpNet::from);
    text.parse()
        .ok()
        .or_else(host)
        .ok_or_else(|| value.wrong(format!("{text:?} is neither an address nor a network, as 10.77.0.0/24")))
}

fn ports(value: &Token) -> Result<RangeInclusive<u16>, Wrong> {
    let text = value.text.as_str();
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) if first <= last => Ok(first..=last),
        _ => Err(value.wrong(format!("{text:?} is neither a port nor a range of ports, as 8000-8099"))),
    }
}
