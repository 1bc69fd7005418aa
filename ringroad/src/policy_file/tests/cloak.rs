//! Cloaked tables, ICMP, and what the steering program carries out: what they mean, and what is wrong with them.

use super::*;

fn warnings(text: &str) -> Vec<String> {
    PolicyFile::parse(text).unwrap().warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn a_cloaked_table_in_words() {
    let text = "[[table]]\nlocal = '10.0.0.1'\ncloak = true\noffload = 'xdp'\nrule = [\n\
        { name = 'ping', direction = 'in', protocol = 'icmp', icmp_type = ['echo-request', 13, '3/4', '200/1'], \
          remote = '10.0.0.0/8', action = 'allow' },\n\
        { name = 'all', direction = 'both', protocol = 'icmp', action = 'deny' },\n\
        { name = 'web', direction = 'in', protocol = 'tcp', local_port = 80, action = 'allow', log = true },\n]\n";
    let file = PolicyFile::parse(text).unwrap();
    assert_eq!(file.warnings, []);
    let told = explain(&file.spec);
    let lines: Vec<&str> = told.lines().take(4).map(str::trim).collect();
    assert_eq!(
        lines,
        [
            "10.0.0.1 (enforced; cloaked: the kernel answers nobody whom no rule permits; by the steering program, \
             before any socket hears of it)",
            "1. ping: allow ICMP from 10.0.0.0/8: echo-request, timestamp-request, destination-unreachable with \
             code 4, type 200 with code 1",
            "2. all: deny ICMP from anywhere: whatever it is",
            "3. web: allow TCP from anywhere, any port, to our port 80; told of",
        ]
    );
    let plain =
        text.replace("cloak = true\n", "").replace("protocol = 'icmp', action", "protocol = 'udp', action");
    let plain = PolicyFile::parse(
        &plain.replace("'icmp', icmp_type = ['echo-request', 13, '3/4', '200/1']", "'udp'"),
    );
    let told = diff(&plain.unwrap().spec, &file.spec);
    assert!(told.starts_with("table 10.0.0.1\n  cloak: off → on\n"), "{told}");
}

#[test]
fn faults_of_tables() {
    let table = |line: &str| faults(&format!("[[table]]\nlocal = '10.0.0.1'\n{line}\n"));
    assert_eq!(table("cloak = 'yes'"), ["3:9: `cloak` cannot be a string; true or false, without quotes"]);
    assert_eq!(table("clock = true"), ["3:1: unknown key \"clock\"; did you mean \"cloak\"?"]);
    assert_eq!(table("offload = 'xpd'"), ["3:11: unknown value \"xpd\"; did you mean \"xdp\"?"]);
    assert_eq!(table("offload = true"), ["3:11: `offload` cannot be true or false; a string in quotes"]);
    assert_eq!(
        table("offload = 'xdp'\nrule = [{ name = 'r', direction = 'in', action = 'allow', limit = 3 }]"),
        [
            "3:11: rule \"r\" has a limit, which the steering program cannot keep; leave out `offload`, or that limit"
        ]
    );
}

#[test]
fn faults_of_rules_for_icmp() {
    let icmp = |lines: &str| rule_fault(&format!("protocol = 'icmp'\n{lines}"));
    assert_eq!(
        icmp("icmp_type = 'echo-requst'"),
        "8:13: \"echo-requst\" is no type of ICMP; did you mean \"echo-request\"?"
    );
    assert!(
        icmp("icmp_type = 'packet-too-big'")
            .starts_with("8:13: \"packet-too-big\" is no type of ICMP; a number, or one of echo-reply, ")
    );
    assert_eq!(icmp("icmp_type = 256"), "8:13: 256 is no type of ICMP; types go from 0 to 255");
    assert_eq!(icmp("icmp_type = [8, '3/x']"), "8:17: \"x\" is no code of ICMP; codes go from 0 to 255");
    assert_eq!(
        icmp("icmp_type = []"),
        "8:13: `icmp_type` is an empty list, which matches nothing; a name like \"echo-request\", a type like 8, \
         a type and a code like \"3/4\", a list of these, or \"any\""
    );
    assert_eq!(
        icmp("local_port = 7"),
        "8:14: a rule for ICMP has no `local_port`; `icmp_type` says which messages are meant"
    );
    assert_eq!(
        icmp("log = true"),
        "8:7: what is permitted of ICMP is the kernel's to answer, and nobody is told of it; leave `log` out of \
         this rule"
    );
    assert_eq!(
        rule_fault("icmp_type = 8"),
        "7:13: `icmp_type` in a rule that is not for ICMP; protocol = \"icmp\", or \"icmpv6\""
    );
    let out = rule("protocol = 'icmp'").replace("\"in\"", "\"out\"");
    assert_eq!(
        faults(&out),
        ["5:13: the kernel's own ICMP is not judged; direction = \"in\": what others may ask"]
    );
}

#[test]
fn what_is_of_no_effect_is_a_warning() {
    assert_eq!(
        warnings(&rule("protocol = 'icmp'")),
        ["4:8: warning: rule \"r\" is of no effect: ICMP is judged only for tables with `cloak = true`"]
    );
    let cloaked = |lines: &str| rule(lines).replace("[[table.rule]]", "cloak = true\n[[table.rule]]");
    assert_eq!(warnings(&cloaked("protocol = 'icmp'")), [""; 0]);
    assert_eq!(
        warnings(&cloaked("protocol = 'icmpv6'")),
        ["5:8: warning: rule \"r\" can never match: it is for nothing of the family of \"10.0.0.1\""]
    );
    assert_eq!(
        warnings("[[table]]\nlocal = '10.0.0.1'\nmode = 'monitor'\ncloak = true\noffload = 'xdp'\n"),
        [""; 0]
    );
    let types = "[[table]]\nlocal = '10.0.0.1'\ncloak = true\nrule = [\n\
        { name = 'a', direction = 'in', protocol = 'icmp', icmp_type = 8, action = 'allow' },\n\
        { name = 'b', direction = 'in', protocol = 'icmp', icmp_type = '8/1', action = 'deny' },\n\
        { name = 'c', direction = 'in', protocol = 'icmp', icmp_type = [8, 13], action = 'deny' },\n\
        { name = 'd', direction = 'in', action = 'allow' },\n\
        { name = 'e', direction = 'in', protocol = 'icmp', action = 'allow' },\n]\n";
    assert_eq!(
        warnings(types),
        ["6:10: warning: rule \"b\" can never match: \"a\", in line 5, matches all that it would"]
    );
}
