//! Types of ICMP messages by name, number and code.

use stack::policy::{PortRange, RuleProtocol};

use super::value::{Wrong, nearest, quote};

/// The names of ICMP's types, as nft has them (IANA, ICMP Parameters).
const V4: [(&str, u8); 13] = [
    ("echo-reply", 0),
    ("destination-unreachable", 3),
    ("source-quench", 4),
    ("redirect", 5),
    ("echo-request", 8),
    ("router-advertisement", 9),
    ("router-solicitation", 10),
    ("time-exceeded", 11),
    ("parameter-problem", 12),
    ("timestamp-request", 13),
    ("timestamp-reply", 14),
    ("address-mask-request", 17),
    ("address-mask-reply", 18),
];

/// Those of ICMPv6's (IANA, ICMPv6 Parameters).
const V6: [(&str, u8); 14] = [
    ("destination-unreachable", 1),
    ("packet-too-big", 2),
    ("time-exceeded", 3),
    ("parameter-problem", 4),
    ("echo-request", 128),
    ("echo-reply", 129),
    ("mld-listener-query", 130),
    ("mld-listener-report", 131),
    ("mld-listener-done", 132),
    ("nd-router-solicit", 133),
    ("nd-router-advert", 134),
    ("nd-neighbor-solicit", 135),
    ("nd-neighbor-advert", 136),
    ("nd-redirect", 137),
];

fn names(protocol: RuleProtocol) -> &'static [(&'static str, u8)] {
    if protocol == RuleProtocol::Icmpv6 { &V6 } else { &V4 }
}

/// All messages of a type.
fn all_of(of: u8) -> PortRange {
    let first = u16::from(of) << 8;
    PortRange { first, last: first | 0xff }
}

/// A type by its number.
pub(super) fn by_number(number: i128) -> Result<PortRange, Wrong> {
    match u8::try_from(number) {
        Ok(number) => Ok(all_of(number)),
        Err(_) => Err((format!("{number} is no type of ICMP"), "types go from 0 to 255".to_owned())),
    }
}

/// A type by its name or number, with a code or without.
pub(super) fn by_text(protocol: RuleProtocol, text: &str) -> Result<PortRange, Wrong> {
    let (name, code) = match text.split_once('/') {
        Some((name, code)) => (name, Some(code)),
        None => (text, None),
    };
    let byte =
        |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u8>().ok()).flatten();
    let known = names(protocol).iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    let Some(number) = known.or_else(|| byte(name)) else {
        let all: Vec<&str> = names(protocol).iter().map(|(name, _)| *name).collect();
        let list = format!("a number, or one of {}", all.join(", "));
        return Err((format!("{} is no type of ICMP", quote(name)), nearest(name, &all).unwrap_or(list)));
    };
    match code.map(byte) {
        None => Ok(all_of(number)),
        Some(Some(code)) => Ok(PortRange::one(u16::from(number) << 8 | u16::from(code))),
        Some(None) => {
            let what = format!("{} is no code of ICMP", quote(code.unwrap_or_default()));
            Err((what, "codes go from 0 to 255".to_owned()))
        }
    }
}

/// Whether a message asks for an answer: what does not is never kept out (RFC 792, RFC 4443, RFC 4861). As `asks()` of
/// the steering program.
pub(super) fn asks(protocol: RuleProtocol, number: u16) -> bool {
    let of = (number >> 8) as u8;
    match protocol {
        RuleProtocol::Icmpv6 => of >= 128 && of != 129 && !(133..=137).contains(&of),
        _ => !matches!(of, 0 | 3 | 4 | 5 | 11 | 12 | 14 | 16 | 18),
    }
}

/// Types and codes in words.
pub(super) fn shown(protocol: RuleProtocol, types: &[PortRange]) -> String {
    let one = |range: &PortRange| {
        let (first, code) = ((range.first >> 8) as u8, range.first as u8);
        let name = names(protocol).iter().find(|(_, number)| *number == first);
        let name = name.map_or_else(|| format!("type {first}"), |(name, _)| (*name).to_owned());
        if range.first == range.last { format!("{name} with code {code}") } else { name }
    };
    match types {
        [PortRange::ANY] => "whatever it is".to_owned(),
        _ => types.iter().map(one).collect::<Vec<_>>().join(", "),
    }
}
