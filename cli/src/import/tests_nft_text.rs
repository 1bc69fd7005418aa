//! Rulesets as nft prints them and people write them.

use ringroad::policy_file::{PolicyFile, explain};

use super::super::nft;

/// The rules in words, and what was left out.
fn imported(text: &str) -> (Vec<String>, Vec<String>) {
    let draft = nft::read(text).unwrap();
    let file = PolicyFile::parse(&draft.policy(&[])).unwrap();
    let numbered = |line: &&str| line.starts_with(|c: char| c.is_ascii_digit());
    let told = explain(&file.spec);
    let rules = told.lines().map(str::trim).filter(numbered).map(str::to_owned).collect();
    (rules, draft.left_out().map(str::to_owned).collect())
}

const LISTED: &str = r#"table inet filter {
	comment "the house"
	set bad guys-1 {
		type ipv4_addr
		flags interval
		elements = { 198.51.100.0/24, 203.0.113.9,
			     203.0.113.11 }
	}

	set seen {
		type ipv4_addr
		flags timeout
		elements = { 192.0.2.1 timeout 1h expires 59m }
	}

	map where {
		type inet_service : verdict
		elements = { 22 : accept }
	}

	chain input {
		type filter hook input priority filter; policy drop;
		ct state established,related accept
		ct state vmap { established : accept, related : accept, invalid : drop }
		iif "lo" accept
		ip saddr @bad counter packets 12 bytes 720 drop
		iifname { "eth1", "br-lan" } tcp dport { 22, 80, 8000-8099 } ct state new accept comment "the shop"
		ip6 saddr 2001:db8::/32 udp dport 53 log prefix "dns: " accept
		icmp type { echo-request, timestamp-request } ip saddr 10.0.0.0/8 accept
		icmpv6 type nd-neighbor-solicit accept
		iifname "eth*" accept
		ip saddr != 10.0.0.1 tcp dport 25 accept
		tcp flags syn / fin,syn drop
		limit rate 10/second accept
		ip saddr 10.0.0.1-10.0.0.9 accept
		meta l4proto tcp reject with icmpx admin-prohibited
		jump helper
	}

	chain helper {
		accept
	}

	chain output {
		type filter hook output priority 0; policy accept;
		oifname "wan0" ip daddr 192.0.2.0/24 tcp dport https drop
	}

	chain nat {
		type nat hook postrouting priority srcnat; policy accept;
		masquerade
	}
}
"#;

#[test]
fn a_listing_is_carried_over_and_the_rest_is_told_with_its_line() {
    let (rules, left_out) = imported(&LISTED.replace("bad guys-1", "bad"));
    assert_eq!(
        rules,
        [
            "1. 1: deny TCP and UDP from @bad (3), any port, to our any port",
            "2. 2: allow TCP from anywhere, any port, to our ports 22, 80, 8000-8099, by br-lan or eth1",
            "3. 3: allow UDP from 2001:db8::/32, any port, to our port 53; told of",
            "4. 4: allow ICMP from 10.0.0.0/8: echo-request, timestamp-request",
            "5. 5: allow ICMPv6 from anywhere: nd-neighbor-solicit",
            "6. 6: allow TCP and UDP from anywhere, any port, to our any port, by eth*",
            "7. 7: deny TCP from anywhere, any port, to our any port",
            "8. 8: deny TCP to 192.0.2.0/24, port 443, from our any port, by wan0",
            "9. 9: allow TCP and UDP to anywhere, any port, from our any port",
        ]
    );
    let expected = [
        "line 10: set seen (the address 192.0.2.1 timeout 1h expires 59m)",
        "line 16: map where (a map)",
        "line 32: ip saddr != 10.0.0.1 tcp dport 25 accept (the comparison !=)",
        "line 33: tcp flags syn / fin , syn drop (the statement tcp)",
        "line 34: limit rate 10/second accept (the statement limit)",
        "line 35: ip saddr 10.0.0.1-10.0.0.9 accept (the address 10.0.0.1-10.0.0.9)",
        "line 37: jump helper (the statement jump)",
        "line 41: accept (its chain is at no hook for what comes in or goes out)",
        "line 49: chain nat: type nat hook postrouting priority srcnat (the hook postrouting)",
        "line 51: masquerade (its chain is at no hook for what comes in or goes out)",
    ];
    let mut left_out = left_out;
    left_out.sort();
    assert_eq!(left_out, expected);
}

#[test]
fn files_of_commands_with_names_for_values() {
    let text = "#!/usr/sbin/nft -f\nflush ruleset\ndefine LAN = { 10.1.0.0/16, 10.2.0.0/16 }\ndefine WEB = 80\n\
        add table ip t\nadd chain ip t in { type filter hook input priority 0; policy drop; }\n\
        add rule ip t in ip saddr $LAN tcp dport { $WEB, 443 } \\\n  accept\n\
        add rule t in udp dport ntp accept # the clock\ninclude \"more.nft\"\ndelete chain ip t old\n";
    let (rules, left_out) = imported(text);
    assert_eq!(
        rules,
        [
            "1. 1: allow TCP from 10.1.0.0/16, 10.2.0.0/16, any port, to our ports 80, 443",
            "2. 2: allow UDP from anywhere, any port, to our port 123",
        ]
    );
    assert_eq!(
        left_out,
        ["line 10: include \"more.nft\" (an include)", "line 11: delete chain ip t old (a delete)"]
    );
}

#[test]
fn what_is_no_ruleset_is_refused_with_its_line() {
    let error = |text: &str| nft::read(text).unwrap_err();
    assert_eq!(error("table ip t {\n chain c {\n"), "a block does not end: a brace is missing");
    assert_eq!(error("table ip t {\n"), "the table t does not end: a brace is missing");
    assert_eq!(error("\nadd rule ip t c comment \"x\n"), "line 2: a quotation that does not end");
    assert_eq!(error("add rule ip t c ip saddr $LAN accept"), "line 1: $LAN is not defined");
    let deep = format!("map x {}", "{".repeat(40));
    assert_eq!(error(&deep), "line 1: blocks in blocks in blocks");
}

#[test]
fn comparisons_are_signs_with_spaces_or_without() {
    for rule in
        ["tcp dport <= 1024", "tcp dport<=1024", "tcp dport >= 1024", "tcp dport>1024", "tcp dport != 22"]
    {
        let op = ["<=", ">=", ">", "!="].into_iter().find(|op| rule.contains(op)).unwrap();
        let text = format!(
            "table ip t {{\n chain c {{\n type filter hook input priority 0; policy drop;\n {rule} accept\n }}\n}}\n"
        );
        let (rules, left_out) = imported(&text);
        assert!(rules.is_empty(), "{rule}: {rules:?}");
        assert!(left_out[0].ends_with(&format!("(the comparison {op})")), "{rule}: {left_out:?}");
    }
}

#[test]
fn names_that_stand_for_ever_more_are_refused() {
    let mut text = "define a0 = { 1.1.1.1, 2.2.2.2 }\n".to_owned();
    for n in 1..60 {
        text += &format!("define a{n} = {{ $a{0}, $a{0} }}\n", n - 1);
    }
    let wrong = nft::read(&text).unwrap_err();
    assert!(
        wrong.starts_with("line 1") && wrong.ends_with("names stand for more than can be read"),
        "{wrong}"
    );
}
