//! Rules that are read without the parser of TOML are what it says they are, or it reads them.

use stack::policy::RuleSpec;

use super::super::plain::{Rule, Rules, runs};
use super::read::{quickly, thoroughly};
use super::*;

/// Tables, sets, comments, every key and every form of a value.
const BASE: &str = r#"# A policy.
default = "deny"
shadow = ["10.9.0.0/16"]

[sets]
office = ["192.0.2.0/24", "2001:db8::/32"]
unused = [
    "10.8.0.0/16",   # in lines of their own
]
[[table]]
local = "10.77.0.1"
cloak = true
[[table.rule]]
name = "web"
direction = "in"                  # in | out | both
protocol  = "tcp"
local_port = [80, 443, "8000-8099"]
remote = ["10.77.0.0/24", '@office', ]
remote_port = "any"
interface = "eth*"
action = "allow"
limit = 100
log = true
counter = "customers"
comment = "für alle # auch für dich"

[[table.rule]]
name = 'ping'
  direction = "in"
	protocol = "icmp"
icmp_type = ["echo-request", 13, "3/4"]
action = "allow"
# The end of it.
[[table.rule]] # never met
name = "web again"
direction = "in"
protocol = "tcp"
local_port = 80
remote = "10.77.0.0/25"
interface = ["eth0", "eth1"]
action = "deny"

[[table]]
local = ["10.77.0.2", "10.78.0.0/16"]
name = "others"
mode = "monitor"
[[table.rule]]
name = "web"
direction = "both"
local_port = 8080
action = "allow"
[[table]]
local = "fd00::1"
"#;

type Read = Result<(PolicySpec, Vec<Fault>, Interfaces), Faults>;

fn told(read: Result<Understood, Faults>) -> Read {
    read.map(|all| (all.spec, all.warnings, all.interfaces))
}

/// What the parser makes of it, and whether it was done without.
fn compared(text: &str) -> (Read, bool) {
    let none = |_: &str| Err("it is not there".to_owned());
    let all = told(thoroughly(text, &none, true));
    let quick = quickly(text, &none, true);
    let is_quick = quick.is_some();
    if let Some(quick) = quick {
        assert_eq!(told(Ok(quick)), all, "{text}");
    }
    (all, is_quick)
}

fn random(seed: u64) -> impl FnMut(usize) -> usize {
    let mut x = seed;
    move |below| {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (x >> 33) as usize % below
    }
}

#[test]
fn plain_rules_are_read_without_the_parser_and_mean_the_same() {
    let (read, is_quick) = compared(BASE);
    let (spec, warnings, interfaces) = read.unwrap();
    assert!(is_quick);
    assert_eq!(spec.tables.iter().map(|table| table.rules.len()).collect::<Vec<_>>(), [3, 1, 0]);
    assert_eq!((warnings.len(), interfaces.len()), (2, 3), "{warnings:?}");
    assert_eq!(spec.tables[0].rules[2].line, 34);
}

#[test]
fn what_is_not_plain_is_left_to_the_parser() {
    let rule = "[[table.rule]]\nname = \"r\"\ndirection = \"in\"\naction = \"allow\"\n";
    let table = "[[table]]\nlocal = \"10.0.0.1\"\n";
    assert!(compared(&format!("{table}{rule}")).1);
    for not_plain in [
        rule.to_owned(),
        format!("{table}{rule}{rule}"),
        format!("[table]\nlocal = \"10.0.0.1\"\n{rule}"),
        format!("table = [{{ local = \"10.0.0.1\" }}]\n{rule}"),
        format!("{table}rule = []\n{rule}"),
        format!("{table}{rule}[table.rule.more]\nlimit = 5\n"),
        format!("{table}{rule}action = \"deny\"\n"),
        format!("{table}{rule}local_port = 080\n"),
        format!("{table}{rule}local_port = 8_0\n"),
        format!("{table}{rule}local_port = [80\n]\n"),
        format!("{table}{rule}local_port = [80,,81]\n"),
        format!("{table}{rule}local_port = 0\n"),
        format!("{table}{rule}comment = \"\"\"a\"\"\"\n"),
        format!("{table}{rule}comment = \"a\\u0041\"\n"),
        format!("{table}{rule}comment = \"a\"b\n"),
        format!("{table}{rule}comment = \"a\u{7f}\"\n"),
        format!("{table}{rule}# a\u{1}\n"),
        format!("{table}{rule}\"log\" = true\n"),
        format!("{table}{rule}log = truth\n"),
        format!("{table}{rule}logs = true\n"),
        format!("{table}{rule}log.more = true\n"),
        format!("{table}{rule}{}", (0..100_000).map(|n| format!("key{n} = 1\n")).collect::<String>()),
        format!("{table}{}", rule.replace('\n', "\r\n")),
        format!("{table}name = \"\"\"\n{rule}\"\"\"\n"),
        format!("{table}name = [\n{rule}]\n"),
        format!("[[table]]\nname = \"no address\"\n{rule}"),
        format!("{table}{}", rule.replace("[[table.rule]]", "[[table.rule]]]")),
        format!("{table}{}", rule.replace("[[table.rule]]", "[[table.rules]]")),
        format!("{table}{}", rule.replace("[[table.rule]]", "[[ table.rule ]]")),
    ] {
        assert!(!compared(&not_plain).1, "{not_plain}");
    }
}

#[test]
fn whatever_becomes_of_the_text_both_say_the_same() {
    const BITS: [&str; 20] = [
        "[",
        "]",
        "\"",
        "'",
        "#",
        "\n",
        "\\",
        "=",
        ",",
        ".",
        "0",
        "{",
        "}",
        "\"\"\"",
        "[[table.rule]]\n",
        "[[table]]\n",
        "[table]\n",
        "\t",
        "ü",
        "x",
    ];
    let mut random = random(7);
    let (mut quick, mut right) = (0, 0);
    for _ in 0..2_000 {
        let mut lines: Vec<String> = BASE.lines().map(|line| format!("{line}\n")).collect();
        for _ in 0..=random(3) {
            let at = random(lines.len());
            match random(4) {
                0 => _ = lines.remove(at),
                1 => lines.insert(at, lines[random(lines.len())].clone()),
                2 => lines.swap(at, at / 2),
                _ => {
                    let line = &mut lines[at];
                    let places: Vec<usize> = line.char_indices().map(|(at, _)| at).collect();
                    let place = places[random(places.len())];
                    match random(2) {
                        0 => line.insert_str(place, BITS[random(BITS.len())]),
                        _ => _ = line.remove(place),
                    }
                }
            }
        }
        let (read, is_quick) = compared(&lines.concat());
        quick += usize::from(is_quick);
        right += usize::from(read.is_ok());
    }
    assert!(quick > 100 && right >= quick, "{quick} quickly, {right} without a fault");
}

/// What most rules say, in any form, is read without pairs of keys and values; whatever else there is in one is not.
#[test]
fn short_rules_are_read_at_once() {
    let short = |lines: &str| {
        let text =
            format!("[[table.rule]]\nname = 'a rule' # one\ndirection = \"in\"\naction = 'allow'\n{lines}\n");
        let run = runs(&text).unwrap();
        let mut rules = Rules::of(&text, &run[0]);
        let read = rules.next_short((true, false)).map(|(rule, name)| (rule, text[name].to_owned()));
        let is_left = rules.next(&mut Rule::default()) == Some(true);
        assert_eq!(read.is_none(), is_left, "{text}: what is not read is still to come");
        let file = PolicyFile::parse(&format!("[[table]]\nlocal = '10.0.0.1'\n{text}"));
        if let Some((rule, name)) = &read {
            let [expected] = &file.unwrap().spec.tables[0].rules[..] else { panic!("one rule") };
            assert_eq!(
                (RuleSpec { line: rule.line + 2, ..rule.clone() }, name.as_str()),
                (expected.clone(), "'a rule'")
            );
        }
        read.is_some()
    };
    for lines in [
        "",
        "protocol = 'tcp'\n  \n# nothing",
        "protocol = 'any'\nremote = 'any'\nlocal_port = 'any'",
        "local_port = 80\nremote_port = '1024-65535'\nremote = '10.0.0.0/8'",
        "local_port = [80, 443, '8000-8099',]\nremote = [ '10.0.0.9' , \"10.1.0.0/16\" ]\t# two",
    ] {
        assert!(short(lines), "{lines}");
    }
    for lines in [
        "log = true",
        "comment = 'ask Jo'",
        "protocol = 'icmp'",
        "remote = '@office'",
        "remote = 'fd00::1'",
        "remote = ['any', '10.0.0.1']",
        "remote = []",
        "local_port = 65536",
        "local_port = '90-80'",
        "protocol = 'sctp'",
    ] {
        assert!(!short(lines), "{lines}");
    }
}

/// Two threads read what one would.
#[test]
fn a_long_policy_is_read_by_halves() {
    let mut text = "[[table]]\nlocal = '10.0.0.1'\n".to_owned();
    for n in 0..9_000 {
        let more = match n % 3_000 {
            7 => "comment = 'not short'\n",
            8 => "log = true\nlimit = 9\n",
            _ => "",
        };
        let lines = format!(
            "direction = 'in'\nremote = '10.{}.{}.0/24'\nlocal_port = [{}]\n",
            n / 200,
            n % 200,
            n + 1
        );
        text += &format!("[[table.rule]]\nname = 'rule number {n}'\n{lines}{more}action = 'allow'\n# {n}\n");
    }
    assert!(text.len() > 1 << 20);
    let (all, is_quick) = compared(&text);
    assert!(is_quick);
    let rules = all.unwrap().0.tables.remove(0).rules;
    assert_eq!(rules.len(), 9_000);
    // What is wrong in either half is found.
    for n in [10, 8_990] {
        let wrong = text.replacen(
            &format!("'rule number {n}'\ndirection"),
            &format!("'rule number {n}'\ndirections"),
            1,
        );
        assert!(quickly(&wrong, &|_: &str| Err(String::new()), true).is_none());
    }
}
