//! The documentation's examples.

use super::*;
use crate::pages::examples;

#[test]
fn every_example_of_the_documentation_is_a_policy() {
    let page = include_str!("../../../../docs/policy.md");
    let policies = examples(page, "toml");
    assert_eq!(policies.len(), 10);
    for text in policies {
        let file = PolicyFile::parse(text).unwrap_or_else(|faults| panic!("{faults} in\n{text}"));
        assert_eq!(file.warnings, [], "{text}");
    }
    let readme = include_str!("../../../../README.md");
    assert!(examples(readme, "toml").into_iter().all(|text| PolicyFile::parse(text).is_ok()));

    let [with_file, addresses, ..] = examples(page, "text")[..] else { panic!("an example is gone") };
    let text = with_sets(with_file.trim(), "'@blocked'");
    let files = [("blocked.txt".to_owned(), addresses.to_owned())].into();
    let file = PolicyFile::from_bundle(Bundle { text, files }).unwrap();
    assert_eq!(file.spec.tables[0].rules[0].remote_sets[0].prefixes.len(), 2);
}

#[test]
fn the_verdict_of_the_documentation_is_the_verdict() {
    let page = include_str!("../../../../docs/policy.md");
    let file = PolicyFile::parse(examples(page, "toml")[0]).unwrap();
    let verdict = file.try_flow(&"tcp 10.0.0.9:4000 -> 10.77.0.1:22".parse().unwrap());
    assert!(page.contains(&verdict.words), "{}", verdict.words);
    let cloaked = examples(page, "toml").into_iter().find(|text| text.contains("cloak = true")).unwrap();
    let asked = "icmp echo-request 10.77.0.9 -> 10.77.0.1".parse().unwrap();
    let verdict = PolicyFile::parse(cloaked).unwrap().try_flow(&asked);
    assert!(page.contains(&verdict.words), "{}", verdict.words);
    let faulty = "[[table]]\nlocal = '10.77.0.1'\n#\n";
    let shown = examples(page, "console").into_iter().find(|text| text.contains("policy check")).unwrap();
    let wrong = faulty.replace("#", "rule = [{ name = 'r', direction = 'in', action = 'deny', protcol = 'tcp', remote = '10.77.0.5/24' }]");
    for fault in faults(&wrong) {
        let what = fault.splitn(3, ':').nth(2).unwrap_or_default().to_owned();
        assert!(shown.contains(&what), "{what} in {shown}");
    }
}
