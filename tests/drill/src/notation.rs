//! packetdrill's words for a segment:
//!
//! ```text
//! S. 0:0(0) ack 1 win 65535 <mss 1460,sackOK,wscale 7>
//! [ce] P. 1:101(100) ack 1 <TS * 101>
//! ```
//!
//! Sequence numbers are relative to the first of each side. Flags are `S F R P U E W .` in any order, `-` for
//! none; `p` means that PSH does not matter. What an expectation leaves out may be anything; `<nothing>` means no options, `TS` any timestamps, and
//! `*` any number.

use crate::segment::{ACK, CWR, ECE, FIN, PSH, RST, SYN, Segment, TcpOption, URG};

const LETTERS: [(u8, char); 8] =
    [(SYN, 'S'), (FIN, 'F'), (RST, 'R'), (PSH, 'P'), (URG, 'U'), (ECE, 'E'), (CWR, 'W'), (ACK, '.')];

/// The first sequence numbers of both sides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bases {
    /// Of whoever sends the segment.
    pub seq: u32,
    /// Of whoever it is for.
    pub ack: u32,
}

/// A segment in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    ecn: Option<u8>,
    flags: u8,
    /// Flags that do not matter.
    any: u8,
    seq: Option<(u32, u32)>,
    ack: Option<u32>,
    win: Option<u16>,
    urg: Option<u16>,
    options: Option<Vec<String>>,
}

impl Text {
    /// Reads the notation.
    ///
    /// # Panics
    /// When it is not in the notation, saying where.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let (head, options) = match text.split_once('<') {
            Some((head, rest)) => (head, Some(rest.trim_end().trim_end_matches('>'))),
            None => (text, None),
        };
        let mut out = Text {
            options: options.map(|o| o.split(',').map(|s| s.trim().to_owned()).collect()),
            ..Text::default()
        };
        let mut words = head.split_whitespace().peekable();
        if let Some(word) = words.next_if(|w| w.starts_with('[')) {
            let names = ["[noecn]", "[ect1]", "[ect0]", "[ce]"];
            let ecn = names.iter().position(|n| *n == word);
            out.ecn = Some(ecn.unwrap_or_else(|| panic!("no ECN word {word}")) as u8);
        }
        let flags = words.next().unwrap_or_else(|| panic!("no flags: {text}"));
        out.any = if flags.contains('p') { PSH } else { 0 };
        out.flags = flags_of(flags);
        while let Some(word) = words.next() {
            let mut value = || number(words.next().unwrap_or_else(|| panic!("no number: {text}")));
            match word {
                "ack" => out.ack = Some(value()),
                "win" => out.win = Some(value() as u16),
                "urg" => out.urg = Some(value() as u16),
                range => out.seq = Some(range_of(range)),
            }
        }
        out
    }

    /// A segment in words.
    #[must_use]
    pub fn of(segment: &Segment, bases: Bases) -> Self {
        let options = segment.options.iter().map(|o| option_text(o, bases)).collect();
        Self {
            ecn: Some(segment.tos & 3),
            flags: segment.flags,
            any: 0,
            seq: Some((segment.seq.wrapping_sub(bases.seq), segment.len())),
            ack: segment.has(ACK).then(|| segment.ack.wrapping_sub(bases.ack)),
            win: Some(segment.wnd),
            urg: segment.has(URG).then_some(segment.urg),
            options: Some(options),
        }
    }

    /// The segment that these words describe; text and ports are left empty. Also the place in the stream and
    /// the number of octets that belong into it.
    #[must_use]
    pub fn segment(&self, bases: Bases, last_ts: u32) -> (Segment, u32, u32) {
        let (from, len) = self.seq.unwrap_or((0, 0));
        let options = self.options.iter().flatten().map(|o| option_of(o, bases, last_ts)).collect();
        let segment = Segment {
            seq: bases.seq.wrapping_add(from),
            ack: self.ack.map_or(0, |ack| bases.ack.wrapping_add(ack)),
            flags: self.flags,
            wnd: self.win.unwrap_or(20_000),
            urg: self.urg.unwrap_or(0),
            options,
            tos: self.ecn.unwrap_or(0),
            ..Segment::default()
        };
        (segment, from, len)
    }

    /// Whether `got` is what these words expect.
    #[must_use]
    pub fn matches(&self, got: &Text) -> bool {
        fn agree<T: PartialEq>(want: Option<&T>, got: Option<&T>) -> bool {
            want.is_none() || want == got
        }
        self.flags == got.flags & !self.any
            && agree(self.ecn.as_ref(), got.ecn.as_ref())
            && agree(self.seq.as_ref(), got.seq.as_ref())
            && agree(self.ack.as_ref(), got.ack.as_ref())
            && agree(self.win.as_ref(), got.win.as_ref())
            && agree(self.urg.as_ref(), got.urg.as_ref())
            && self.options.iter().flatten().all(|o| has_option(o, got.options.as_deref().unwrap_or(&[])))
    }
}

fn has_option(want: &str, got: &[String]) -> bool {
    let alike = |got: &String| {
        let (mut w, mut g) = (want.split_whitespace(), got.split_whitespace());
        loop {
            match (w.next(), g.next()) {
                (None, None) => return true,
                // A bare name: any value.
                (None, Some(_)) => return matches!(want, "TS" | "wscale" | "mss" | "sack" | "FO"),
                (Some(w), Some(g)) if w == g || w == "*" => {}
                _ => return false,
            }
        }
    };
    match want {
        "nothing" => got.is_empty(),
        _ if want.starts_with("no ") => !got.iter().any(|g| g.split(' ').next() == Some(&want[3..])),
        _ => got.iter().any(alike),
    }
}

impl std::fmt::Display for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(ecn @ 1..) = self.ecn {
            write!(f, "{} ", ["[noecn]", "[ect1]", "[ect0]", "[ce]"][usize::from(ecn & 3)])?;
        }
        let letters: String = LETTERS.iter().filter(|(bit, _)| self.flags & bit != 0).map(|l| l.1).collect();
        write!(f, "{}", if letters.is_empty() { "-" } else { &letters })?;
        if let Some((from, len)) = self.seq {
            write!(f, " {}:{}({len})", signed(from), signed(from.wrapping_add(len)))?;
        }
        for (name, value) in
            [("ack", self.ack), ("win", self.win.map(u32::from)), ("urg", self.urg.map(u32::from))]
        {
            if let Some(value) = value {
                write!(f, " {name} {}", signed(value))?;
            }
        }
        match self.options.as_deref() {
            None => Ok(()),
            Some([]) => f.write_str(" <nothing>"),
            Some(options) => write!(f, " <{}>", options.join(",")),
        }
    }
}

/// The flags of a segment, in the notation.
#[must_use]
pub fn flags(segment: &Segment) -> String {
    LETTERS.iter().filter(|(bit, _)| segment.has(*bit)).map(|l| l.1).collect()
}

/// Numbers just below the base are easier to read with their sign.
fn signed(n: u32) -> i64 {
    if n > u32::MAX - (1 << 20) { i64::from(n as i32) } else { i64::from(n) }
}

fn flags_of(word: &str) -> u8 {
    word.chars().filter(|&c| !matches!(c, '-' | 'p')).fold(0, |flags, letter| {
        let bit = LETTERS.iter().find(|(_, l)| *l == letter);
        flags | bit.unwrap_or_else(|| panic!("no flag {letter:?} in {word:?}")).0
    })
}

fn range_of(word: &str) -> (u32, u32) {
    let parts = word.split_once(':').and_then(|(from, rest)| Some((from, rest.split_once('(')?)));
    let (from, (to, len)) = parts.unwrap_or_else(|| panic!("from:to(len), not {word:?}"));
    let (from, to, len) = (number(from), number(to), number(len.trim_end_matches(')')));
    assert_eq!(to.wrapping_sub(from), len, "{word}");
    (from, len)
}

fn number(word: &str) -> u32 {
    word.parse::<i64>().unwrap_or_else(|_| panic!("a number, not {word:?}")) as u32
}

fn option_of(text: &str, bases: Bases, last_ts: u32) -> TcpOption {
    let words: Vec<&str> = text.split_whitespace().collect();
    let stamp = |word: &str| if word == "last" { last_ts } else { number(word) };
    match words[..] {
        ["mss", n] => TcpOption::Mss(number(n) as u16),
        ["wscale", n] => TcpOption::WindowScale(number(n) as u8),
        ["sackOK"] => TcpOption::SackPermitted,
        ["TS", val, ecr] => TcpOption::Timestamps(number(val), stamp(ecr)),
        ["sack", ..] => TcpOption::Sack(words[1..].iter().map(|range| block_of(range, bases)).collect()),
        ["FO"] => TcpOption::FastOpen(vec![]),
        ["FO", cookie] => TcpOption::FastOpen(from_hex(cookie)),
        ["raw", data] => TcpOption::Raw(from_hex(data)),
        ["kind", kind] => TcpOption::Other(number(kind) as u8, vec![]),
        ["kind", kind, data] => TcpOption::Other(number(kind) as u8, from_hex(data)),
        _ => panic!("no option {text:?}"),
    }
}

fn block_of(range: &str, bases: Bases) -> (u32, u32) {
    let (left, right) = range.split_once(':').unwrap_or_else(|| panic!("left:right, not {range:?}"));
    (bases.ack.wrapping_add(number(left)), bases.ack.wrapping_add(number(right)))
}

fn option_text(option: &TcpOption, bases: Bases) -> String {
    match option {
        TcpOption::Mss(mss) => format!("mss {mss}"),
        TcpOption::WindowScale(shift) => format!("wscale {shift}"),
        TcpOption::SackPermitted => "sackOK".to_owned(),
        TcpOption::Timestamps(val, ecr) => format!("TS {val} {ecr}"),
        TcpOption::Sack(blocks) => blocks.iter().fold("sack".to_owned(), |text, (left, right)| {
            format!(
                "{text} {}:{}",
                signed(left.wrapping_sub(bases.ack)),
                signed(right.wrapping_sub(bases.ack))
            )
        }),
        TcpOption::FastOpen(cookie) if cookie.is_empty() => "FO".to_owned(),
        TcpOption::FastOpen(cookie) => format!("FO {}", hex(cookie)),
        TcpOption::Raw(data) => format!("raw {}", hex(data)),
        TcpOption::Other(kind, data) => format!("kind {kind} {}", hex(data)).trim_end().to_owned(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().map(|c| c.to_digit(16).expect("hexadecimal") as u8).collect();
    digits.chunks(2).map(|d| d[0] << 4 | d.get(1).copied().unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(want: &str, got: &str) -> bool {
        Text::parse(want).matches(&Text::parse(got))
    }

    #[test]
    fn words_stand_for_segments_and_back() {
        let bases = Bases { seq: u32::MAX - 3, ack: 100 };
        for text in [
            "S 0:0(0) win 65535 <mss 1460,sackOK,TS 1 2,wscale 7>",
            "[ce] FP. 1:11(10) ack 7 win 3 <sack 5:9 11:12>",
        ] {
            let (mut segment, _, len) = Text::parse(text).segment(bases, 0);
            segment.payload = vec![0; len as usize];
            assert_eq!(Text::of(&segment, bases).to_string(), text);
        }
    }

    #[test]
    fn an_expectation_is_about_what_it_says() {
        let got = "P. 1:11(10) ack 5 win 9 <TS 3 4>";
        for want in ["P.", ".P 1:11(10)", "P. ack 5", "P. <TS>", ".p", "P. <TS * 4>", "P. <no sack>"] {
            assert!(says(want, got), "{want}");
        }
        for want in [
            ".",
            "P. 1:10(9)",
            "P. ack 6",
            "P. win 8",
            "P. <nothing>",
            "P. <TS 3 5>",
            "P. <no TS>",
            "P. <mss>",
        ] {
            assert!(!says(want, got), "{want}");
        }
    }
}
