//! Wrong words and missing rights: one line that helps, and the program runs on in the kernel unless it is
//! told not to.

use lab::{IFACE, Lab, Namespace, Outcome, SERVER, Site, product};
use ringroad_tests::{fetched_sha256, must_have_stack, on_road, ringroad, sha256};

const HELLO: [&str; 2] = ["echo", "hello"];

fn run(host: &Namespace, flags: &[&str]) -> Outcome {
    host.run(&[&[product(), "run"], flags, &["--"], &HELLO[..]].concat())
}

/// It ran, and one line said what was wrong.
#[track_caller]
fn assert_ran_with_a_line(outcome: &Outcome, words: &[&str]) {
    assert_eq!((outcome.code, outcome.stdout.as_str()), (0, "hello\n"), "{}", outcome.said());
    assert_said(outcome, words);
}

/// It did not run, and one line said why.
#[track_caller]
fn assert_refused_with_a_line(outcome: &Outcome, words: &[&str]) {
    assert_ne!(outcome.code, 0, "{}", outcome.said());
    assert_eq!(outcome.stdout, "", "{}", outcome.said());
    assert_said(outcome, words);
}

#[track_caller]
fn assert_said(outcome: &Outcome, words: &[&str]) {
    assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
    for word in words {
        assert!(outcome.stderr.contains(word), "{word:?} is missing in {:?}", outcome.stderr);
    }
}

#[test]
fn an_unknown_interface() {
    let lab = Lab::new("unknown");
    let (host, _other) = lab.pair();
    assert_ran_with_a_line(&run(&host, &["--iface", "nosuch0"]), &["nosuch0"]);
    assert_refused_with_a_line(&run(&host, &["--iface", "nosuch0", "--strict"]), &["nosuch0"]);
}

#[test]
fn no_interface_named() {
    let lab = Lab::new("unnamed");
    let (host, _other) = lab.pair();
    let outcome = run(&host, &[]);
    assert_ne!(outcome.code, 0);
    assert!(outcome.stderr.contains(IFACE) && outcome.stderr.contains(SERVER), "{}", outcome.stderr);
}

#[test]
fn no_right_to_open_the_interface() {
    let lab = Lab::new("rights");
    let (host, _other) = lab.pair();
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"];
    let outcome = host.run(&[&nobody[..], &ringroad(&[], &HELLO)].concat());
    assert_ran_with_a_line(&outcome, &["CAP_"]);
    let outcome = host.run(&[&nobody[..], &ringroad(&["--strict"], &HELLO)].concat());
    assert_refused_with_a_line(&outcome, &["CAP_"]);
}

#[test]
fn a_policy_that_does_not_parse() {
    let lab = Lab::new("policy");
    let (host, _other) = lab.pair();
    let file = lab.file("bad.toml", "default = \"allow\"\n[[table]]\nlocal = \"10.77.0.300\"\n");
    let file = file.to_string_lossy();
    assert_ran_with_a_line(&run(&host, &["--iface", IFACE, "--policy", &file]), &["bad.toml", "3:"]);
    assert_refused_with_a_line(
        &run(&host, &["--iface", IFACE, "--policy", &file, "--strict"]),
        &["bad.toml"],
    );
    let missing = run(&host, &["--iface", IFACE, "--policy", "/nowhere/policy.toml", "--strict"]);
    assert_refused_with_a_line(&missing, &["/nowhere/policy.toml"]);
}

#[test]
fn policy_check_says_what_a_policy_means_and_every_fault() {
    let lab = Lab::new("check");
    let host = lab.host("only");
    let good = format!(
        "default = \"deny\"\n[[table]]\nlocal = \"{SERVER}\"\n[[table.rule]]\nname = \"web\"\n\
         direction = \"in\"\nprotocol = \"tcp\"\nlocal_port = [80, \"8000-8099\"]\naction = \"allow\"\n"
    );
    let good = lab.file("good.toml", good);
    let said = host.must(&[product(), "policy", "check", &good.to_string_lossy()]);
    for word in [SERVER, "web", "80", "8000-8099"] {
        assert!(said.contains(word), "{word} is missing in {said}");
    }
    let bad = "default = \"perhaps\"\n[[table]]\nlocal = \"10.77.0.1\"\nmode = \"enfoce\"\n";
    let bad = lab.file("bad.toml", bad);
    let outcome = host.run(&[product(), "policy", "check", &bad.to_string_lossy()]);
    assert_ne!(outcome.code, 0);
    for place in ["bad.toml:1:", "bad.toml:4:"] {
        assert!(outcome.said().contains(place), "{place} is missing in {}", outcome.said());
    }
    assert_ne!(host.run(&[product(), "policy", "check", "/nowhere.toml"]).code, 0);
}

#[test]
fn a_program_on_the_interface_already() {
    let lab = Lab::new("occupied");
    let (server, client) = lab.pair();
    let site = Site::new(&lab, 80, &[("small.bin", 612)]);
    let nginx = on_road(&server, &[], &site.nginx(), 80);
    // Who wants the same as the first shares its road; this one wants other frames.
    let other = |flags: &[&str]| {
        let begin = ["env", "RINGROAD_FRAMES=4096", product(), "run", "--iface", IFACE];
        server.run(&[&begin[..], flags, &["--"], &HELLO[..]].concat())
    };
    assert_ran_with_a_line(&other(&[]), &[IFACE]);
    assert_refused_with_a_line(&other(&["--strict"]), &[IFACE]);
    let fetched = fetched_sha256(&client, &format!("http://{SERVER}/small.bin"));
    assert_eq!(fetched, sha256(&server, &site.path("small.bin")));
    let _ = must_have_stack(&server, &nginx);
}

#[test]
fn an_unknown_variable_is_answered_with_the_nearest_name() {
    let lab = Lab::new("variable");
    let (host, _other) = lab.pair();
    let outcome = host.run(&[&["env", "RINGROAD_IFCE=x"], &ringroad(&[], &HELLO)[..]].concat());
    assert_ran_with_a_line(&outcome, &["RINGROAD_IFCE", "RINGROAD_IFACE"]);
}

#[test]
fn a_program_that_is_not_there() {
    let lab = Lab::new("absent");
    let (host, _other) = lab.pair();
    let outcome = host.run(&ringroad(&[], &["/nowhere/program"]));
    assert_refused_with_a_line(&outcome, &["/nowhere/program"]);
    let bad = host.run(&[product(), "run", "--iface", IFACE, "--profile", "fast", "--", "true"]);
    assert_refused_with_a_line(&bad, &["--profile", "balanced"]);
}
