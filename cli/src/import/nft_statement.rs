//! One rule of nft's text, statement by statement, as nft has it in JSON.

use serde_json::{Value, json};

use super::nft_text::Token;

/// Ports by the names that people write (/etc/services).
const SERVICES: [(&str, u16); 14] = [
    ("ftp", 21),
    ("ssh", 22),
    ("telnet", 23),
    ("smtp", 25),
    ("domain", 53),
    ("http", 80),
    ("pop3", 110),
    ("ntp", 123),
    ("imap2", 143),
    ("snmp", 161),
    ("ldap", 389),
    ("https", 443),
    ("imaps", 993),
    ("postgresql", 5432),
];

/// The pieces of a rule, one after the other.
pub(super) struct Tokens<'t> {
    tokens: &'t [Token],
    at: usize,
}

impl<'t> Tokens<'t> {
    pub(super) const fn new(tokens: &'t [Token]) -> Self {
        Self { tokens, at: 0 }
    }

    fn next(&mut self) -> Option<&'t Token> {
        self.at += 1;
        self.tokens.get(self.at - 1)
    }

    fn word(&mut self) -> Option<&'t str> {
        self.next()?.word()
    }

    /// Takes the next if it is this word.
    fn take(&mut self, word: &str) -> bool {
        let is = self.tokens.get(self.at).and_then(Token::word) == Some(word);
        self.at += usize::from(is);
        is
    }
}

/// The statements of a rule, and its comment.
pub(super) fn read(tokens: &mut Tokens<'_>) -> (Vec<Value>, Option<String>) {
    let (mut all, mut comment) = (Vec::new(), None);
    while let Some(token) = tokens.next() {
        let Some(word) = token.word() else {
            all.push(unknown("braces where a statement should be"));
            break;
        };
        let Some(statement) = statement(word, tokens, &mut comment) else {
            all.push(unknown(&format!("the statement {word}")));
            break;
        };
        all.extend(statement);
    }
    (all, comment)
}

fn unknown(why: &str) -> Value {
    json!({ "unknown": why })
}

/// What begins with `word`; none is known.
fn statement(word: &str, tokens: &mut Tokens<'_>, comment: &mut Option<String>) -> Option<Vec<Value>> {
    let payload =
        |protocol: &str, field: &str| json!({ "payload": { "protocol": protocol, "field": field } });
    let one = match word {
        "accept" | "drop" | "return" | "continue" => json!({ word: null }),
        "reject" => {
            // With what is of no matter: nobody is told.
            tokens.at = tokens.tokens[tokens.at..]
                .iter()
                .position(|token| token.word() == Some("comment"))
                .map_or(tokens.tokens.len(), |n| tokens.at + n);
            json!({ "reject": null })
        }
        "jump" | "goto" => json!({ word: { "target": tokens.word()? } }),
        "comment" => {
            *comment = Some(tokens.word()?.to_owned());
            return Some(Vec::new());
        }
        "counter" => {
            match tokens.take("packets") {
                true => _ = (tokens.word()?, tokens.take("bytes"), tokens.word()?),
                false if tokens.take("name") => _ = tokens.word()?,
                false => {}
            }
            json!({ "counter": null })
        }
        "log" => {
            while ["prefix", "level", "group", "snaplen", "queue-threshold", "flags"]
                .iter()
                .any(|key| tokens.take(key))
            {
                tokens.word()?;
            }
            json!({ "log": null })
        }
        "ct" => {
            let key = tokens.word()?;
            if key == "state" && tokens.take("vmap") {
                return states(tokens);
            }
            matching(json!({ "ct": { "key": key } }), Kind::Word, tokens)?
        }
        "iif" | "oif" | "iifname" | "oifname" => {
            matching(json!({ "meta": { "key": word } }), Kind::Word, tokens)?
        }
        "meta" => matching(json!({ "meta": { "key": tokens.word()? } }), Kind::Word, tokens)?,
        "ip" | "ip6" => match tokens.word()? {
            field @ ("saddr" | "daddr") => matching(payload(word, field), Kind::Address, tokens)?,
            field => matching(payload(word, field), Kind::Word, tokens)?,
        },
        "tcp" | "udp" => match tokens.word()? {
            field @ ("sport" | "dport") => matching(payload(word, field), Kind::Port, tokens)?,
            _ => return None,
        },
        "icmp" | "icmpv6" if tokens.take("type") => matching(payload(word, "type"), Kind::Word, tokens)?,
        _ => return None,
    };
    Some(vec![one])
}

/// `ct state vmap { established : accept, related : accept, invalid : drop }`: what holds anyhow, or nothing.
fn states(tokens: &mut Tokens<'_>) -> Option<Vec<Value>> {
    let words: Vec<String> =
        list(tokens)?.into_iter().map(|one| one.iter().filter_map(Token::word).collect()).collect();
    let holds =
        |word: &String| matches!(word.as_str(), "established:accept" | "related:accept" | "invalid:drop");
    if !words.iter().all(holds) {
        return None;
    }
    let left = json!({ "ct": { "key": "state" } });
    Some(vec![
        json!({ "match": { "op": "==", "left": left, "right": ["established"] } }),
        json!({ "accept": null }),
    ])
}

/// What values are.
#[derive(Clone, Copy)]
enum Kind {
    Word,
    Address,
    Port,
}

fn matching(left: Value, kind: Kind, tokens: &mut Tokens<'_>) -> Option<Value> {
    let op = ["!=", "<=", ">=", "<", ">", "&"].into_iter().find(|op| tokens.take(op)).unwrap_or("==");
    let right = if tokens.tokens.get(tokens.at)?.is('{') {
        let items = list(tokens)?;
        let items: Option<Vec<Value>> = items.iter().map(|item| single(kind, item)).collect();
        json!({ "set": items? })
    } else {
        // Words that belong together are divided by commas, too.
        let mut all = vec![value(kind, tokens.word()?)];
        while tokens.tokens.get(tokens.at).is_some_and(|token| token.is(',')) {
            tokens.at += 1;
            all.push(value(kind, tokens.word()?));
        }
        if all.len() == 1 { all.remove(0) } else { Value::Array(all) }
    };
    Some(json!({ "match": { "op": op, "left": left, "right": right } }))
}

/// What stands in braces, item by item.
fn list<'t>(tokens: &mut Tokens<'t>) -> Option<Vec<&'t [Token]>> {
    let rest = tokens.tokens.get(tokens.at..)?;
    let end = rest.iter().position(|token| token.is('}'))?;
    tokens.at += end + 1;
    let inside = rest.get(1..end)?;
    Some(inside.split(|token| token.is(',')).filter(|item| !item.is_empty()).collect())
}

/// An item that is one value.
fn single(kind: Kind, item: &[Token]) -> Option<Value> {
    match item {
        [one] => Some(value(kind, one.word()?)),
        _ => None,
    }
}

/// The elements of a set: what is more than an address is told as that.
pub(super) fn elements(tokens: &[Token]) -> Value {
    let mut tokens = Tokens::new(tokens);
    tokens.at = tokens.tokens.iter().position(|token| token.is('{')).unwrap_or(tokens.tokens.len());
    let shown = |item: &[Token]| item.iter().filter_map(Token::word).collect::<Vec<_>>().join(" ");
    let item = |item: &[Token]| single(Kind::Address, item).unwrap_or_else(|| Value::String(shown(item)));
    list(&mut tokens).unwrap_or_default().into_iter().map(item).collect()
}

fn value(kind: Kind, word: &str) -> Value {
    let range = |word: &str| word.split_once('-').map(|(a, b)| (a.to_owned(), b.to_owned()));
    let port = |word: &str| {
        let named = SERVICES.iter().find(|(name, _)| *name == word).map(|(_, port)| *port);
        named.or_else(|| word.parse().ok()).map_or_else(|| json!(word), |port: u16| json!(port))
    };
    match kind {
        _ if word.starts_with('@') => json!(word),
        Kind::Word => json!(word),
        Kind::Port => match range(word) {
            Some((first, last)) if first.bytes().all(|b| b.is_ascii_digit()) => {
                json!({ "range": [port(&first), port(&last)] })
            }
            _ => port(word),
        },
        Kind::Address => match word.split_once('/') {
            Some((address, len)) => match len.parse::<u8>() {
                Ok(len) => json!({ "prefix": { "addr": address, "len": len } }),
                Err(_) => json!(word),
            },
            None => json!(word),
        },
    }
}
