//! Single values: words, addresses, prefixes, ports.

use std::net::IpAddr;

use stack::policy::{PortRange, Prefix};

/// What is wrong with a value, and what may have been meant.
pub(super) type Wrong = (String, String);

/// Something of the file as it may be shown: short, without control characters.
pub(super) fn quote(text: &str) -> String {
    let mut short: String = text.chars().take(40).map(|c| if c.is_control() { '·' } else { c }).collect();
    if text.chars().nth(40).is_some() {
        short.push('…');
    }
    format!("\"{short}\"")
}

/// "did you mean", when one of `known` is near enough to `word`.
pub(super) fn nearest(word: &str, known: &[&str]) -> Option<String> {
    let word: String = word.chars().take(40).flat_map(char::to_lowercase).collect();
    let distance = |k: &&str| strsim::damerau_levenshtein(&word, k);
    let best = known.iter().min_by_key(|k| distance(k))?;
    let limit = (best.len() / 3).max(1);
    (distance(best) <= limit).then(|| format!("did you mean \"{best}\"?"))
}

/// One of a few words.
pub(super) fn choice<T: Copy>(word: &str, choices: &[(&str, T)]) -> Result<T, Wrong> {
    choices.iter().find(|(name, _)| *name == word).map(|&(_, value)| value).ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|&(name, _)| name).collect();
        let all =
            format!("one of {}", names.iter().map(|n| format!("\"{n}\"")).collect::<Vec<_>>().join(", "));
        (format!("unknown value {}", quote(word)), nearest(word, &names).unwrap_or(all))
    })
}

/// A local address of a table, one that a host can have or a group that it can join; or a network of such.
pub(super) fn local(text: &str) -> Result<Prefix, Wrong> {
    let prefix = remote(text).map_err(|(what, hint)| match text.contains('/') {
        true => (what, hint),
        false => (
            format!("{} is no address", quote(text)),
            "an IPv4 or IPv6 address, like \"10.77.0.1\"".to_owned(),
        ),
    })?;
    let address = prefix.address();
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    if prefix == Prefix::host(address) && (address.is_unspecified() || broadcast) {
        let hint = "a table is for addresses of this host, or groups; others fall to `default`".to_owned();
        return Err((format!("{} is no address of a host", quote(text)), hint));
    }
    Ok(prefix)
}

/// As one would write it: a host without its length.
pub(super) fn short(prefix: &Prefix) -> String {
    if *prefix == Prefix::host(prefix.address()) { prefix.address().to_string() } else { prefix.to_string() }
}

/// A remote: an address, or a network in CIDR notation.
pub(super) fn remote(text: &str) -> Result<Prefix, Wrong> {
    let form = || "an address or a network, like \"10.77.0.0/24\"".to_owned();
    let (address, len) = match text.split_once('/') {
        Some((address, len)) => (address, Some(len)),
        None => (text, None),
    };
    let Ok(address) = address.parse::<IpAddr>() else {
        let meant = nearest(text, &["any"]).unwrap_or_else(form);
        return Err((format!("{} is no address or network", quote(text)), meant));
    };
    let Some(len) = len else { return Ok(Prefix::host(address.to_canonical())) };
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let digits = len.len() <= 3 && len.bytes().all(|b| b.is_ascii_digit());
    let parsed = digits.then(|| len.parse().ok()).flatten().and_then(|len: u8| Prefix::new(address, len));
    match parsed {
        None => {
            Err((format!("{} has no prefix length", quote(text)), format!("a number from 0 to {longest}")))
        }
        Some(prefix) if prefix.address() != address => Err((
            format!("{} has bits set beyond its prefix", quote(text)),
            format!("the network is \"{prefix}\", the host \"{address}\""),
        )),
        Some(prefix) => Ok(prefix),
    }
}

/// One port as a number.
pub(super) fn port(number: i128) -> Result<PortRange, Wrong> {
    match u16::try_from(number) {
        Ok(port) if port > 0 => Ok(PortRange::one(port)),
        _ => Err((format!("{number} is no port"), "ports go from 1 to 65535".to_owned())),
    }
}

/// Ports as text: one, or a range.
pub(super) fn port_range(text: &str) -> Result<PortRange, Wrong> {
    let number = |text: &str| {
        let text = text.trim();
        let digits = !text.is_empty() && text.len() <= 9 && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse::<i128>().ok()).flatten()
    };
    let form = || "a port, or a range like \"8000-8099\"".to_owned();
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (Some(first), Some(last)) = (number(first), number(last)) else {
        let meant = nearest(text, &["any"]).unwrap_or_else(form);
        return Err((format!("{} is no port or range of ports", quote(text)), meant));
    };
    let (first, last) = (port(first)?.first, port(last)?.last);
    if first > last {
        return Err((format!("{} goes backwards", quote(text)), format!("did you mean \"{last}-{first}\"?")));
    }
    Ok(PortRange { first, last })
}
