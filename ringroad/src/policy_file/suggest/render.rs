//! The policy as text, with the evidence as comments.

use std::collections::HashSet;
use std::fmt::Write;
use std::net::IpAddr;

use super::prefixes::Remotes;
use super::{Rule, Seen, Suggestion, protocol_name};
use crate::policy_file::read::NAME;

/// Port ranges that a rule's name has at the most.
const NAMED: usize = 4;
/// Room in it for the number of those that have the same name: ` (9999)`.
const NUMBERED: usize = 7;

/// The whole file.
pub(super) fn policy(seen: &Suggestion) -> String {
    let mut text = heading(seen);
    for (rules, (locals, evidence)) in seen.tables() {
        let locals: Vec<String> = locals.iter().map(IpAddr::to_string).collect();
        let _ = write!(text, "\n[[table]]\nlocal = {}\nmode = \"monitor\"\n", list(&locals, true));
        let mut names = HashSet::new();
        for (rule, evidence) in rules.iter().zip(&evidence) {
            text += &one_rule(rule, evidence, &mut names);
        }
    }
    text
}

fn heading(seen: &Suggestion) -> String {
    let (first, last) = seen.span.unwrap_or_default();
    let mut text = format!(
        "# Suggested from {} records of flows, {} to {}.\n\
         # It permits what was seen. The rest is not refused yet, but counted and told of (mode = \"monitor\"): see what\n\
         # `ringroad alerts` says for a while, and then say mode = \"enforce\", and default = \"deny\".\n",
        seen.records,
        date(first),
        date(last),
    );
    if seen.refused > 0 {
        let _ = writeln!(text, "# Left out because it was refused: {} of the records.", seen.refused);
    }
    if seen.elsewhere > 0 {
        let _ = writeln!(
            text,
            "# Left out because no table can be for its address, a broadcast: {} of the records. `default` is for it.",
            seen.elsewhere
        );
    }
    text + "default = \"allow\"\n"
}

fn one_rule(rule: &Rule, seen: &Seen, names: &mut HashSet<String>) -> String {
    let (direction, port) = if rule.outward { ("out", "remote_port") } else { ("in", "local_port") };
    let protocol = protocol_name(rule.protocol);
    let range = |(first, last): &(u16, u16)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    let words: Vec<String> = rule.ports.iter().map(range).collect();
    let name = name(&format!("{direction} {protocol}"), &words, names);
    let ports: Vec<String> = words
        .iter()
        .map(|word| if word.contains('-') { format!("\"{word}\"") } else { word.clone() })
        .collect();
    let remote = match &rule.remotes {
        Remotes::Any => "\"any\"".to_owned(),
        Remotes::These(prefixes) => {
            let prefix = |(address, len): &(IpAddr, u8)| match (address, len) {
                (IpAddr::V4(_), 32) | (IpAddr::V6(_), 128) => address.to_string(),
                _ => format!("{address}/{len}"),
            };
            list(&prefixes.iter().map(prefix).collect::<Vec<_>>(), true)
        }
    };
    format!(
        "\n{}[[table.rule]]\nname = \"{name}\"\ndirection = \"{direction}\"\nprotocol = \"{protocol}\"\n\
         {port} = {}\nremote = {remote}\naction = \"allow\"\n",
        evidence(seen),
        list(&ports, false),
    )
}

/// A name that no rule has, and that a policy takes: with as many of the ports as there is room for.
fn name(begin: &str, ports: &[String], names: &mut HashSet<String>) -> String {
    let named = |n: usize| {
        let some = ports[..n].join(", ");
        match ports.len() - n {
            0 => format!("{begin} {some}"),
            more => format!("{begin} {some} and {more} more"),
        }
    };
    let mut all = (1..=ports.len().min(NAMED)).rev().map(named);
    let plain = all.find(|name| name.len() <= NAME - NUMBERED).unwrap_or_else(|| begin.to_owned());
    let mut name = plain.clone();
    let mut others = 1;
    while !names.insert(name.clone()) {
        others += 1;
        name = format!("{plain} ({others})");
    }
    name
}

fn evidence(seen: &Seen) -> String {
    let plural = |n: usize, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
    let least = if seen.crowd { "at least " } else { "" };
    let commands: Vec<&str> = seen.commands.iter().map(String::as_str).filter(|c| !c.is_empty()).collect();
    let by = if commands.is_empty() { String::new() } else { format!(" of {}", commands.join(", ")) };
    let monitored = if seen.monitored { "; the policy in force would have refused some" } else { "" };
    format!(
        "# {least}{}{by} with {}: {} in, {} out{monitored}\n",
        plural(seen.flows(), "flow", "flows"),
        plural(seen.remotes.len(), "address", "addresses"),
        size(seen.bytes_in),
        size(seen.bytes_out),
    )
}

/// One value, or several in brackets.
fn list(words: &[String], quoted: bool) -> String {
    let words: Vec<String> =
        words.iter().map(|word| if quoted { format!("\"{word}\"") } else { word.clone() }).collect();
    match words.as_slice() {
        [one] => one.clone(),
        several => format!("[{}]", several.join(", ")),
    }
}

/// Bytes, with the unit that keeps the number short.
fn size(bytes: u64) -> String {
    let units = [(1u64 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", bytes as f64 / unit as f64),
        None => format!("{bytes} B"),
    }
}

/// A moment in UTC, from seconds since 1970: days by Howard Hinnant's `civil_from_days`.
fn date(seconds: f64) -> String {
    let seconds = seconds as u64;
    let (day, of_day) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (day / 146_097, day % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_have_their_dates() {
        for (seconds, shown) in [
            (0.0, "1970-01-01 00:00:00Z"),
            (951_782_400.0, "2000-02-29 00:00:00Z"),
            (1_795_726_032.4, "2026-11-26 20:47:12Z"),
            (4_102_444_799.0, "2099-12-31 23:59:59Z"),
        ] {
            assert_eq!(date(seconds), shown);
        }
    }

    #[test]
    fn sizes_are_short() {
        assert_eq!(
            [0, 1023, 1024, 1_572_864, 5 << 40].map(size),
            ["0 B", "1023 B", "1.0 KiB", "1.5 MiB", "5.0 TiB"]
        );
    }
}
