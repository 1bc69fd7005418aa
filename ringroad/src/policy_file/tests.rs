//! Every kind of fault with its exact place, and what correct files mean.

use std::fmt::Write;

use stack::policy::{Action, Mode, PortRange, Prefix, RuleDirection, RuleProtocol};
use tempfile::NamedTempFile;

use super::*;

mod cloak;
mod pages;
mod plain;
mod sets;

/// The example of the documentation.
const EXAMPLE: &str = r#"default = "allow"                 # addresses that have no table: allow | deny
[[table]]
local = "10.77.0.1"
mode  = "enforce"                 # enforce | monitor (judge and count, let pass)
[[table.rule]]
name = "web"
direction = "in"                  # in | out | both
protocol  = "tcp"                 # tcp | udp | any
local_port = [80, 443, "8000-8099"]
remote = ["10.77.0.0/24"]
remote_port = "any"
action = "allow"                  # allow | deny; first match wins; no match: denied
"#;

fn faults(text: &str) -> Vec<String> {
    match PolicyFile::parse(text) {
        Ok(file) => panic!("no fault in {text:?}: {:?}", file.spec),
        Err(faults) => faults.iter().map(ToString::to_string).collect(),
    }
}

/// A table whose one rule has `lines` besides what it must have; they begin in line 7.
fn rule(lines: &str) -> String {
    format!(
        "[[table]]\nlocal = \"10.0.0.1\"\n[[table.rule]]\nname = \"r\"\ndirection = \"in\"\naction = \"allow\"\n{lines}\n"
    )
}

fn rule_fault(lines: &str) -> String {
    let mut faults = faults(&rule(lines));
    assert_eq!(faults.len(), 1, "{faults:?}");
    faults.remove(0)
}

#[test]
fn the_example_means_what_it_says() {
    let file = PolicyFile::parse(EXAMPLE).unwrap();
    let table = &file.spec.tables[0];
    assert_eq!((file.spec.default, file.spec.tables.len()), (Action::Allow, 1));
    let local = Prefix::host("10.77.0.1".parse().unwrap());
    assert_eq!(
        (table.name.as_str(), &table.locals[..], table.mode),
        ("10.77.0.1", &[local][..], Mode::Enforce)
    );
    let rule = &table.rules[0];
    assert_eq!((rule.name.as_str(), rule.action), ("web", Action::Allow));
    assert_eq!((rule.direction, rule.protocol), (RuleDirection::In, RuleProtocol::Tcp));
    let range = |first, last| PortRange { first, last };
    assert_eq!(rule.local_ports, [range(80, 80), range(443, 443), range(8000, 8099)]);
    assert_eq!(rule.remotes, [Prefix::new("10.77.0.0".parse().unwrap(), 24).unwrap()]);
    assert_eq!(rule.remote_ports, [PortRange::ANY]);
    assert_eq!(file.policy.rules(), 1);
    assert_eq!(
        explain(&file.spec),
        "10.77.0.1 (enforced)\n    \
           1. web: allow TCP from 10.77.0.0/24, any port, to our ports 80, 443, 8000-8099\n       \
              everything else: denied, without an answer\n\n\
         Every other local address: allowed.\n"
    );
}

#[test]
fn what_is_left_out_has_a_meaning() {
    let file = PolicyFile::parse(&rule("")).unwrap();
    let rule = &file.spec.tables[0].rules[0];
    assert_eq!((file.spec.default, file.spec.tables[0].mode), (Action::Allow, Mode::Enforce));
    assert_eq!(rule.protocol, RuleProtocol::Any);
    assert_eq!((&rule.local_ports, &rule.remote_ports), (&vec![PortRange::ANY], &vec![PortRange::ANY]));
    assert_eq!(rule.remotes, [Prefix::ANY_V4]);

    let empty = PolicyFile::parse("").unwrap();
    assert_eq!(explain(&empty.spec), "Every local address: allowed.\n");
    let closed =
        PolicyFile::parse("default = 'deny'\n[[table]]\nlocal = '2001:db8::1'\nmode = 'monitor'").unwrap();
    assert_eq!(
        explain(&closed.spec),
        "2001:db8::1 (monitored: judged and counted, but nothing is dropped)\n       \
         everything: denied, without an answer\n\n\
         Every other local address: denied, without an answer.\n"
    );
}

#[test]
fn single_values_need_no_list() {
    let lines = "local_port = 80\nremote_port = '1024-65535'\nremote = '10.0.0.7'\nprotocol = 'udp'";
    let file = PolicyFile::parse(&rule(lines)).unwrap();
    assert_eq!(
        explain(&file.spec).lines().nth(1),
        Some("    1. r: allow UDP from 10.0.0.7, ports 1024-65535, to our port 80")
    );
}

#[test]
fn rules_that_are_never_reached_are_named() {
    let text = "[[table]]
local = '10.0.0.1'
rule = [
    { name = 'all', direction = 'both', action = 'deny', remote = '10.0.0.0/8' },
    { name = 'web', direction = 'in', action = 'allow', local_port = 80, remote = ['10.1.0.0/16', '10.2.0.1'] },
    { name = 'ssh', direction = 'in', action = 'allow', local_port = 22, remote = ['10.1.0.0/16', '11.0.0.1'] },
]
";
    let words = explain(&PolicyFile::parse(text).unwrap().spec);
    let notes: Vec<_> = words.lines().enumerate().filter(|(_, line)| line.contains("never")).collect();
    assert_eq!(notes, [(3, "       never reached: rule 1 (all) matches all of it")]);
}

#[test]
fn unknown_keys_and_values() {
    assert_eq!(faults("defualt = 'deny'"), [r#"1:1: unknown key "defualt"; did you mean "default"?"#]);
    assert_eq!(
        faults("\n  color = 1"),
        [r#"2:3: unknown key "color"; the keys of the file are default, sets, shadow, table"#]
    );
    assert_eq!(faults("default = 'alow'"), [r#"1:11: unknown value "alow"; did you mean "allow"?"#]);
    assert_eq!(faults("default = 'maybe'"), [r#"1:11: unknown value "maybe"; one of "allow", "deny""#]);
    assert_eq!(
        faults("[[table]]\nlocal = '10.0.0.1'\nmode = 'enfroce'\nrules = 3"),
        [
            r#"3:8: unknown value "enfroce"; did you mean "enforce"?"#,
            r#"4:1: unknown key "rules"; did you mean "rule"?"#
        ]
    );
    assert_eq!(rule_fault("protcol = 'tcp'"), r#"7:1: unknown key "protcol"; did you mean "protocol"?"#);
    assert_eq!(rule_fault("protocol = 'TCP'"), r#"7:12: unknown value "TCP"; did you mean "tcp"?"#);
    assert_eq!(
        rule_fault("  'port' = 1"),
        "7:3: unknown key \"port\"; the keys of a rule are name, direction, \
        protocol, interface, local_port, remote, remote_port, icmp_type, action, limit, log, counter, comment"
    );
}

#[test]
fn missing_keys() {
    assert_eq!(
        faults("[[table]]\nmode = 'enforce'\n  [[table.rule]]\n"),
        [
            "1:1: missing `local` in this [[table]]",
            "3:3: missing `name` in this [[table.rule]]",
            "3:3: missing `direction` in this [[table.rule]]",
            "3:3: missing `action` in this [[table.rule]]",
        ]
    );
    // A misspelt key is one fault, not two.
    assert_eq!(faults("[[table]]\nlocl = '10.0.0.1'"), [r#"2:1: unknown key "locl"; did you mean "local"?"#]);
}

#[test]
fn wrong_types() {
    assert_eq!(faults("default = true"), ["1:11: `default` cannot be true or false; a string in quotes"]);
    assert_eq!(faults("table = 3"), ["1:9: `table` cannot be an integer; begin each with [[table]]"]);
    assert_eq!(faults("[table]\nlocal = 1"), ["1:1: `table` cannot be a table; begin each with [[table]]"]);
    assert_eq!(
        faults("[[table]]\nlocal = '10.0.0.1'\nrule = [5]"),
        ["3:9: a `rule` cannot be an integer; begin each with [[table.rule]]"]
    );
    assert_eq!(
        rule_fault("local_port = [80, 4.5]"),
        "7:19: `local_port` cannot be a floating-point number; a port, a range like \"8000-8099\", a list of \
         these, or \"any\""
    );
    assert_eq!(
        rule_fault("remote = 10"),
        "7:10: `remote` cannot be an integer; a network like \"10.77.0.0/24\", an address, a set like \
         \"@office\", a list of these, or \"any\""
    );
}

#[test]
fn local_addresses() {
    let fault = |address: &str| {
        let mut faults = faults(&format!("[[table]]\nlocal = \"{address}\""));
        assert_eq!(faults.len(), 1);
        faults.remove(0)
    };
    assert_eq!(
        fault("10.77.0"),
        "2:9: \"10.77.0\" is no address; an IPv4 or IPv6 address, like \"10.77.0.1\""
    );
    assert_eq!(
        fault("10.77.0.1/24"),
        "2:9: \"10.77.0.1/24\" has bits set beyond its prefix; the network is \"10.77.0.0/24\", the host \
         \"10.77.0.1\""
    );
    for group in ["224.0.0.1", "ff02::1"] {
        let file = PolicyFile::parse(&format!("[[table]]\nlocal = \"{group}\"")).unwrap();
        assert_eq!(file.spec.tables[0].name, group);
    }
    for address in ["0.0.0.0", "255.255.255.255", "::"] {
        let expected = format!(
            "2:9: \"{address}\" is no address of a host; a table is for addresses of this host, or groups; others \
             fall to `default`"
        );
        assert_eq!(fault(address), expected);
    }
    assert_eq!(
        faults("[[table]]\nlocal = '10.0.0.1'\n\n[[table]]\nlocal = '::ffff:10.0.0.1'"),
        ["5:9: \"10.0.0.1\" has a table already; the first is in line 2"]
    );
}

#[test]
fn names() {
    let with = |name: &str| {
        format!(
            "[[table]]\nlocal = '10.0.0.1'\n[[table.rule]]\nname = {name}\ndirection = 'in'\naction = 'deny'\n"
        )
    };
    assert_eq!(faults(&with("''")), ["4:8: \"\" is no name for a rule; 1 to 64 printable characters"]);
    assert_eq!(
        faults(&with(r#""a\u001bb""#)),
        ["4:8: \"a·b\" is no name for a rule; 1 to 64 printable characters"]
    );
    let long = "x".repeat(65);
    let shown = "x".repeat(40);
    assert_eq!(
        faults(&with(&format!("'{long}'"))),
        [format!("4:8: \"{shown}…\" is no name for a rule; 1 to 64 printable characters")]
    );
    let twice = with("'a'") + "[[table.rule]]\nname = 'a'\ndirection = 'in'\naction = 'deny'\n";
    assert_eq!(faults(&twice), ["8:8: this table has a rule \"a\" already; the first is in line 4"]);
    // The same name in another table is another rule.
    let other = with("'a'") + &with("'a'").replace("10.0.0.1", "10.0.0.2");
    assert_eq!(PolicyFile::parse(&other).unwrap().policy.rules(), 2);
}

#[test]
fn ports() {
    assert_eq!(rule_fault("local_port = 0"), "7:14: 0 is no port; ports go from 1 to 65535");
    assert_eq!(rule_fault("local_port = [80, 65536]"), "7:19: 65536 is no port; ports go from 1 to 65535");
    assert_eq!(rule_fault("remote_port = -1"), "7:15: -1 is no port; ports go from 1 to 65535");
    assert_eq!(rule_fault("remote_port = '8000-70000'"), "7:15: 70000 is no port; ports go from 1 to 65535");
    assert_eq!(
        rule_fault("local_port = ['90-80']"),
        "7:15: \"90-80\" goes backwards; did you mean \"80-90\"?"
    );
    assert_eq!(
        rule_fault("local_port = 'http'"),
        "7:14: \"http\" is no port or range of ports; a port, or a range like \"8000-8099\""
    );
    assert_eq!(
        rule_fault("local_port = 'an'"),
        "7:14: \"an\" is no port or range of ports; did you mean \"any\"?"
    );
    assert_eq!(
        rule_fault("local_port = []"),
        "7:14: `local_port` is an empty list, which matches nothing; a port, a range like \"8000-8099\", a list of \
         these, or \"any\""
    );
    assert_eq!(
        rule_fault("local_port = [80, 'any']"),
        "7:19: \"any\" in a list of `local_port`; write `local_port = \"any\"`, or leave it out of the list"
    );
    assert!(PolicyFile::parse(&rule("local_port = [0x50, '443', ' 8000 - 8099 ']")).is_ok());
}

#[test]
fn remotes() {
    assert_eq!(
        rule_fault("remote = ['10.0.0.0/8', '10.77.0.5/24']"),
        "7:25: \"10.77.0.5/24\" has bits set beyond its prefix; the network is \"10.77.0.0/24\", the host \
         \"10.77.0.5\""
    );
    assert_eq!(
        rule_fault("remote = '10.77.0.0/33'"),
        "7:10: \"10.77.0.0/33\" has no prefix length; a number from 0 to 32"
    );
    assert_eq!(
        rule_fault("remote = '2001:db8::/+8'"),
        "7:10: \"2001:db8::/+8\" has no prefix length; a number from 0 to 128"
    );
    assert_eq!(
        rule_fault("remote = 'example.com'"),
        "7:10: \"example.com\" is no address or network; an address or a network, like \"10.77.0.0/24\""
    );
    assert_eq!(
        rule_fault("remote = ['2001:db8::/32']"),
        "7:11: \"2001:db8::/32\" never meets 10.0.0.1; a table's addresses and the remotes of its rules are \
         both IPv4, or both IPv6"
    );
}

#[test]
fn syntax_errors_come_with_the_rest() {
    assert_eq!(
        faults("default = allow\n[[table]]\nlocal = \"10.0.0\"\n[[table.rule]]\nname=\"x\n"),
        [
            "1:11: not TOML: string values must be quoted, expected literal string",
            "3:9: \"10.0.0\" is no address; an IPv4 or IPv6 address, like \"10.77.0.1\"",
            "5:8: not TOML: invalid basic string, expected `\"`",
        ]
    );
    // What stands below a header that was not understood is not judged.
    assert_eq!(faults("[[table]\nlocal = 1\n"), ["1:9: not TOML: unclosed array table, expected `]`"]);
    assert_eq!(faults("default = 'deny'\ndefault = 'deny'"), ["2:1: not TOML: duplicate key"]);
}

#[test]
fn columns_count_characters() {
    assert_eq!(
        faults("table = [{ 'ö' = 1, mode = 'x', local = '10.0.0.1' }]"),
        [
            "1:12: unknown key \"ö\"; the keys of a table are local, interface, name, mode, cloak, offload, rule",
            "1:28: unknown value \"x\"; one of \"enforce\", \"monitor\"",
        ]
    );
    let text = "default = 'ö' # äöü\n'ключ' = 1\r\n";
    assert_eq!(
        faults(text),
        [
            "1:11: unknown value \"ö\"; one of \"allow\", \"deny\"",
            "2:1: unknown key \"ключ\"; the keys of the file are default, sets, shadow, table",
        ]
    );
}

#[test]
fn too_much_is_refused_at_its_place() {
    let list = (0..1000).map(|n| (n * 2 + 1).to_string()).collect::<Vec<_>>().join(", ");
    let text = rule(&format!("protocol = 'tcp'\nlocal_port = [{list}]\nremote_port = [{list}]"));
    assert_eq!(
        faults(&text),
        ["4:8: table 10.0.0.1, rule \"r\": the lists of ports and addresses multiply to more than 524288 \
          combinations; split or merge ranges"]
    );
}

/// A policy whose one rule is for `remote`, under `sets` that begin in line 2.
fn with_sets(sets: &str, remote: &str) -> String {
    let rule = format!("{{ name = 'r', direction = 'in', action = 'allow', remote = {remote} }}");
    format!("[sets]\n{sets}\n[[table]]\nlocal = '10.0.0.1'\nrule = [{rule}]\n")
}

#[test]
fn one_table_for_many_addresses() {
    let text = "[sets]\nfrontends = ['10.77.0.1', '10.77.0.2', '2001:db8::1']\n\
                [[table]]\nlocal = '@frontends'\nrule = [{ name = 'r', direction = 'in', action = 'allow' }]\n\
                [[table]]\nname = 'back'\nlocal = ['10.78.0.0/24', '10.79.0.1']\n\
                [[table]]\nlocal = ['10.80.0.0/24', '10.81.0.1']\n[[table]]\nlocal = '10.78.0.7'\n";
    let file = PolicyFile::parse(text).unwrap();
    let names: Vec<&str> = file.spec.tables.iter().map(|table| table.name.as_str()).collect();
    assert_eq!(names, ["@frontends", "back", "10.80.0.0/24 and 1 more", "10.78.0.7"]);
    assert!(file.spec.tables[0].rules[0].is_for_all());
    assert_eq!(
        explain(&file.spec).lines().next(),
        Some("@frontends: 10.77.0.1, 10.77.0.2, 2001:db8::1 (enforced)")
    );
    assert_eq!(
        faults("[sets]\na = ['10.0.0.1']\n[[table]]\nlocal = '10.0.0.1'\n[[table]]\nlocal = '@a'"),
        ["6:9: \"10.0.0.1\" has a table already; the first is in line 4"]
    );
    assert_eq!(
        faults("[[table]]\nname = 'a'\nlocal = '10.0.0.1'\n[[table]]\nname = 'a'\nlocal = '10.0.0.2'"),
        ["5:8: there is a table \"a\" already; the first is in line 2"]
    );
}

#[test]
fn limits_counters_and_comments() {
    let lines = "limit = 50\ncounter = 'web'\ncomment = 'ask Jo'";
    let file = PolicyFile::parse(&rule(lines)).unwrap();
    let told = explain(&file.spec);
    let told: Vec<&str> = told.lines().skip(1).take(2).collect();
    assert_eq!(
        told,
        [
            "    1. r: allow TCP and UDP from anywhere, any port, to our any port; at most 50 new flows a second from one \
             source; counted for web",
            "       # ask Jo"
        ]
    );
    assert_eq!(file.spec.tables[0].rules[0].line, 3);
    assert_eq!(rule_fault("limit = 0"), "7:9: 0 flows a second is no limit; a number from 1 to 1000000");
    assert_eq!(
        rule_fault("limit = '5/s'"),
        "7:9: `limit` cannot be a string; how many flows a second may begin from one source, like 100"
    );
    let denying = rule("limit = 5").replace("allow", "deny");
    assert_eq!(
        faults(&denying),
        [
            "7:9: a limit is for flows that come in and are allowed; leave it out, or change the direction or action \
          of this rule"
        ]
    );
    assert_eq!(
        rule_fault("counter = ''"),
        "7:11: \"\" is no name for a counter; 1 to 64 printable characters"
    );
    assert_eq!(
        rule_fault("comment = \"a\\nb\""),
        "7:11: \"a·b\" is no comment; at most 256 printable characters, in one line"
    );
}

#[test]
fn warnings_name_what_stands_in_the_way() {
    let text = "[sets]\nunused = '10.0.0.1'\nsix = '2001:db8::/32'\nfew = ['10.1.0.1', '10.1.0.2']\n\
                [[table]]\nlocal = '10.0.0.1'\nrule = [\n\
                { name = 'all', direction = 'in', action = 'deny', remote = '10.0.0.0/8' },\n\
                { name = 'few', direction = 'in', action = 'allow', remote = '@few' },\n\
                { name = 'six', direction = 'in', action = 'allow', remote = '@six' },\n\
                { name = 'few again', direction = 'in', action = 'allow', remote = ['@few', '11.0.0.1'] },\n\
                { name = 'few out', direction = 'both', action = 'allow', remote = '@few' },\n]\n";
    let file = PolicyFile::parse(text).unwrap();
    let warnings: Vec<String> = file.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "2:1: warning: no rule names the set \"unused\"",
            "9:10: warning: rule \"few\" can never match: \"all\", in line 8, matches all that it would",
            "10:10: warning: rule \"six\" can never match: it is for nothing of the family of \"10.0.0.1\"",
        ]
    );
    assert!(file.render_warnings("p.toml").starts_with("p.toml:2:1: warning: no rule"));
}

#[test]
fn a_policy_of_a_million_rules_is_refused_with_the_reason() {
    let mut text = String::from("[[table]]\nlocal = '10.0.0.1'\nrule = [\n");
    for n in 0..140_000 {
        let _ = writeln!(text, "{{name='{n}',direction='in',action='deny'}},");
    }
    assert_eq!(faults(&(text + "]\n")), ["1:1: more than 131072 rules"]);
    let file = NamedTempFile::new().unwrap();
    file.as_file().set_len(MAX_BYTES as u64 + 1).unwrap();
    let error = PolicyFile::load(file.path()).unwrap_err().to_string();
    assert!(error.ends_with("longer than 33554432 bytes"), "{error}");
}

#[test]
fn very_many_faults_are_counted() {
    let text: String = (0..20_000).fold(String::new(), |mut text, n| {
        let _ = writeln!(text, "key{n} = 1");
        text
    });
    let faults = PolicyFile::parse(&text).unwrap_err();
    assert_eq!(faults.iter().count(), 100);
    assert!(faults.to_string().ends_with("\nand 19900 more"));
}

#[test]
fn rendered_faults_show_the_line_and_disarm_it() {
    let text = "defualt = \"deny\" # \u{7}\u{1b}[31m\n\tmode = 1\n";
    let faults = PolicyFile::parse("defualt = \"deny\"\n\tmode = 1\n").unwrap_err();
    assert_eq!(
        faults.render("web.toml", text),
        "web.toml:1:1: unknown key \"defualt\"; did you mean \"default\"?\n    \
             1 | defualt = \"deny\" # ··[31m\n      \
               | ^^^^^^^\n\
         web.toml:2:2: unknown key \"mode\"; the keys of the file are default, sets, shadow, table\n    \
             2 | ·mode = 1\n      \
               |  ^^^^\n"
    );
}

#[test]
fn files_that_cannot_be_read() {
    let error = PolicyFile::load(Path::new("/nonexistent/policy.toml")).unwrap_err();
    assert_eq!(error.to_string(), "/nonexistent/policy.toml: No such file or directory (os error 2)");
    assert!(error.faults().is_none());

    let file = NamedTempFile::new().unwrap();
    let path = file.path();
    fs::write(path, b"default = 'allow'\nx = '\xff'").unwrap();
    let error = PolicyFile::load(path).unwrap_err();
    assert_eq!(error.faults().unwrap().to_string(), "2:6: not UTF-8: byte 0xff");
    fs::write(path, EXAMPLE).unwrap();
    assert_eq!(PolicyFile::load(path).unwrap().policy.rules(), 1);
}

/// Whatever is done to a file, its faults lie in it, and nothing panics.
#[test]
fn mutated_files_do_no_harm() {
    let mut x = 1_u64;
    let mut random = move |below: usize| {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (x >> 33) as usize % below
    };
    let pieces = [
        "[[",
        "]",
        "\"",
        "'",
        "=",
        "\n",
        ",",
        "{",
        "}",
        "ö",
        "99999999999",
        "-",
        "/",
        "\u{1}",
        "table",
        "#",
        "@a",
    ];
    for _ in 0..3_000 {
        let sets = "[sets]\na = ['@b', '10.0.0.0/8']\nb = { file = 'x' }\n[[table]]";
        let mut text = EXAMPLE.replacen("[[table]]", sets, 1) + "limit = 5\n";
        for _ in 0..1 + random(4) {
            let at = (0..=random(text.len() + 1)).rev().find(|&at| text.is_char_boundary(at)).unwrap();
            match random(3) {
                0 => text.truncate(at),
                1 => text.insert_str(at, pieces[random(pieces.len())]),
                _ => _ = (at < text.len()).then(|| text.remove(at)),
            }
        }
        let files = [("x".to_owned(), "10.0.0.1\n".to_owned())].into();
        let bundle = Bundle { text: text.clone(), files };
        if let Err(faults) = PolicyFile::from_bundle(bundle) {
            let lines = text.split('\n').count();
            for fault in faults.iter() {
                assert!((1..=lines).contains(&fault.line), "{fault} in {text:?}");
                let line = text.split('\n').nth(fault.line - 1).unwrap_or_default();
                assert!(fault.column + fault.width <= line.chars().count() + 2, "{fault} in {text:?}");
            }
            assert!(!faults.render("f", &text).is_empty());
        }
    }
}
