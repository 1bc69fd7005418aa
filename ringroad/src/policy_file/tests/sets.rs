//! Sets of addresses: inline, from files, of sets.

use super::*;

/// What a directory of files says, or its faults.
fn load(files: &[(&str, &str)]) -> Result<PolicyFile, String> {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(dir.path().join(name), text).unwrap();
    }
    let loaded = PolicyFile::load(&dir.path().join("policy.toml"));
    loaded.map_err(|error| error.faults().map_or_else(|| error.to_string(), ToString::to_string))
}

#[test]
fn sets_are_inline_from_files_and_of_sets() {
    let sets = "office = ['192.0.2.0/24', '2001:db8::/32']\npartners = { file = 'partners.txt' }\n\
                all = ['@office', '@partners', '198.51.100.7']";
    let partners = "# who they are\n203.0.113.0/24   # the first\n\n  203.0.113.0/24\n10.9.0.1\n";
    let text = with_sets(sets, "['@all', '10.5.0.0/16']");
    let file = load(&[("policy.toml", &text), ("partners.txt", partners)]).unwrap();
    let rule = &file.spec.tables[0].rules[0];
    let all: Vec<String> = rule.remote_sets[0].prefixes.iter().map(value::short).collect();
    assert_eq!(all, ["10.9.0.1", "192.0.2.0/24", "198.51.100.7", "203.0.113.0/24", "2001:db8::/32"]);
    assert_eq!(explain_rule(rule), "allow TCP and UDP from 10.5.0.0/16, @all (5), any port, to our any port");
    assert_eq!(file.warnings, []);
    // What was loaded can be understood without the files.
    assert_eq!(PolicyFile::from_bundle(file.bundle.clone()).unwrap().spec, file.spec);
}

#[test]
fn faults_of_sets() {
    let fault = |sets: &str, remote: &str| faults(&with_sets(sets, remote)).join("\n");
    assert_eq!(
        fault("a = ['@b']\nb = ['@c', '10.0.0.0/8']\nc = ['@a']\nd = ['@a']", "'@d'"),
        "2:1: the set \"a\" holds itself: @a → @b → @c → @a; take one of them out of another"
    );
    assert_eq!(
        fault("a = ['@a']", "'@a'"),
        "2:1: the set \"a\" holds itself: @a → @a; take one of them out of another"
    );
    assert_eq!(
        fault("office = ['10.0.0.0/8']", "'@ofice'"),
        "5:68: no set is named \"@ofice\"; did you mean \"@office\"?"
    );
    assert_eq!(fault("a = ['@nobody']", "'@a'"), "2:5: no set is named \"@nobody\"; there are @a");
    assert_eq!(
        fault("a = '10.0.0.1/8'", "'@a'"),
        "2:5: \"10.0.0.1/8\" has bits set beyond its prefix; the network is \"10.0.0.0/8\", the host \"10.0.0.1\""
    );
    assert_eq!(
        fault("'a b' = '10.0.0.1'", "'any'"),
        "2:1: \"a b\" is no name for a set; letters, digits, - and _, at most 64"
    );
    assert_eq!(
        fault("a = { fiel = 'x' }", "'@a'").lines().nth(1),
        Some("2:7: unknown key \"fiel\"; did you mean \"file\"?")
    );
    assert_eq!(fault("a = { file = 'x' }", "'@a'"), "2:14: \"x\" cannot be read: it is not there");
    assert_eq!(
        faults("sets = 3"),
        [
            "1:8: `sets` cannot be an integer; begin them with [sets], then a line for each: name = [\"10.0.0.0/8\"]"
        ]
    );

    let text = with_sets("a = { file = 'a.txt' }", "'@a'");
    let wrong = "10.0.0.1\n  10.0.0\n# fine\n10.0.0.300\n";
    assert_eq!(
        load(&[("policy.toml", &text), ("a.txt", wrong)]).unwrap_err(),
        "2:14: a.txt:2:3: \"10.0.0\" is no address or network; an address or a network, like \"10.77.0.0/24\"\n\
         2:14: a.txt:4:1: \"10.0.0.300\" is no address or network; an address or a network, like \"10.77.0.0/24\""
    );
    let error = load(&[("policy.toml", &text)]).unwrap_err();
    assert_eq!(error, "2:14: \"a.txt\" cannot be read: No such file or directory (os error 2)");
    let many = (0..=MAX_SET)
        .fold(String::new(), |all, n| all + &format!("{}\n", std::net::Ipv4Addr::from_bits(n as u32)));
    assert_eq!(
        load(&[("policy.toml", &text), ("a.txt", &many)]).unwrap_err(),
        "2:14: \"a.txt\" has more than 100000 lines; split it"
    );
}

#[test]
fn a_long_chain_of_sets_is_no_deep_stack() {
    let chain: String = (1..900).map(|n| format!("s{n} = ['@s{}']\n", n - 1)).collect();
    let text = with_sets(&format!("s0 = '10.1.0.0/16'\n{chain}"), "'@s899'");
    let file = PolicyFile::parse(&text).unwrap();
    assert_eq!(file.spec.tables[0].rules[0].remote_sets[0].prefixes.len(), 1);
}

#[test]
fn whose_flows_are_recorded_is_a_list_of_addresses_and_sets() {
    let text = "shadow = ['10.0.0.9', '@bad', '2001:db8::/32']\nsets.bad = ['192.0.2.0/24', '10.0.0.9']\n";
    let file = PolicyFile::parse(text).unwrap();
    assert_eq!(file.warnings, []);
    let marked = file.policy.marked().unwrap();
    let holds = |address: &str| marked.holds(address.parse().unwrap());
    assert!(holds("10.0.0.9") && holds("192.0.2.77") && holds("2001:db8::1"));
    assert!(!holds("10.0.0.8") && !holds("192.0.3.1") && !holds("::1"));
    let told = explain(&file.spec);
    assert!(
        told.ends_with("Recorded in full: flows with 10.0.0.9, 192.0.2.0/24, 2001:db8::/32.\n"),
        "{told}"
    );
    assert!(PolicyFile::parse("").unwrap().policy.marked().is_none());
}

#[test]
fn what_cannot_be_recorded_is_told() {
    assert_eq!(
        faults("shadow = '10.0.0.9/24'"),
        [
            "1:10: \"10.0.0.9/24\" has bits set beyond its prefix; the network is \"10.0.0.0/24\", the host \"10.0.0.9\""
        ]
    );
    assert!(faults("shadow = '@nobody'")[0].contains("nobody"));
    assert!(faults("shadow = []")[0].starts_with("1:10: `shadow` is an empty list"));
}
