//! The commands that the documentation shows: each is one that is understood.

use clap::Parser;

use crate::args::{Args, Policy, Task};
use crate::capture::libpcap;

const PAGES: [(&str, &str, usize); 4] = [
    ("README.md", include_str!("../../README.md"), 2),
    ("docs/capture.md", include_str!("../../docs/capture.md"), 4),
    ("docs/flows.md", include_str!("../../docs/flows.md"), 10),
    ("docs/policy.md", include_str!("../../docs/policy.md"), 12),
];

/// Every `ringroad …` behind a prompt, with its words as the shell takes them: without what is before it, piped into it, and
/// behind it.
fn commands(page: &str) -> Vec<Vec<String>> {
    let blocks = page.split("```console\n").skip(1).filter_map(|rest| rest.split("```").next());
    let lines =
        blocks.flat_map(str::lines).filter_map(|line| line.strip_prefix("$ ").or(line.strip_prefix("# ")));
    lines.filter_map(|line| ours(line, shlex::split(line).unwrap_or_else(|| panic!("{line}")))).collect()
}

fn ours(line: &str, words: Vec<String>) -> Option<Vec<String>> {
    let begin = words.iter().position(|word| word == "ringroad" || word.ends_with("/ringroad"))?;
    // Of quoted words none is one of these.
    let ends = |word: &String| matches!(word.as_str(), "|" | ">");
    let words: Vec<String> = words[begin..].iter().take_while(|word| !ends(word)).cloned().collect();
    assert!(words.len() > 1, "{line}");
    Some(words)
}

fn tasks(page: &str) -> Vec<Task> {
    let understood =
        |words: Vec<String>| Args::try_parse_from(&words).unwrap_or_else(|e| panic!("{words:?}: {e}"));
    commands(page).into_iter().map(|words| understood(words).task).collect()
}

#[test]
fn every_command_of_the_documentation_is_one() {
    for (name, page, count) in PAGES {
        assert_eq!(tasks(page).len(), count, "{name}");
    }
}

#[test]
fn every_filter_and_flow_of_the_documentation_is_one() {
    let all = PAGES.iter().flat_map(|(_, page, _)| tasks(page));
    let (mut filters, mut flows) = (0, 0);
    for task in all {
        match task {
            Task::Capture(flags) if !flags.filter.is_empty() => {
                filters += 1;
                libpcap::compile(&flags.filter.join(" "), flags.snaplen).expect("a filter");
            }
            Task::Policy { task: Policy::Test { flow, .. } } => {
                flows += 1;
                flow.join(" ").parse::<ringroad::policy_file::Trial>().expect("a flow");
            }
            _ => {}
        }
    }
    assert_eq!((filters, flows), (1, 3));
}
