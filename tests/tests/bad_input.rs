//! Wrong words and missing rights: one line that helps, and the program runs on in the kernel unless it is
//! told not to. Where it was to be guarded it never does.

use std::path::Path;

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

/// What nobody could carry out, and what the line says of it.
fn wrong_policies(lab: &Lab) -> Vec<(String, Vec<&'static str>)> {
    let file = |name: &str, text: &str| lab.file(name, text).to_string_lossy().into_owned();
    let twice = "[[table]]\nlocal = \"10.77.0.1\"\n[[table.rule]]\nname = \"a\"\ndirection = \"in\"\naction = \"deny\"\n\
                 [[table.rule]]\nname = \"a\"\ndirection = \"in\"\naction = \"deny\"\n";
    vec![
        (
            file("address.toml", "default = \"deny\"\n[[table]]\nlocal = \"10.77.0.300\"\n"),
            vec!["address.toml:3:9: "],
        ),
        (file("syntax.toml", "default = \n"), vec!["syntax.toml:1:"]),
        // Only to compile it finds this.
        (file("twice.toml", twice), vec!["twice.toml:8:"]),
        (file("gone.toml", "[sets]\na = { file = \"no.txt\" }\n"), vec!["gone.toml:2:"]),
        ("/nowhere/policy.toml".to_owned(), vec!["/nowhere/policy.toml: "]),
        (lab.folder().to_string_lossy().into_owned(), vec!["directory"]),
        (String::new(), vec!["--policy: no value"]),
    ]
}

#[test]
fn a_wrong_policy_lets_nothing_run() {
    let lab = Lab::new("policy");
    let (host, _other) = lab.pair();
    for (file, words) in wrong_policies(&lab) {
        for flags in
            [&["--iface", IFACE, "--policy", &file][..], &["--iface", IFACE, "--policy", &file, "--strict"]]
        {
            assert_refused_with_a_line(&run(&host, flags), &words);
        }
    }
}

/// Nobody but the road carries it out.
#[test]
fn a_policy_without_a_road_lets_nothing_run() {
    let lab = Lab::new("noroad");
    let (host, _other) = lab.pair();
    let file = lab.file("good.toml", "default = \"deny\"\n");
    let file = file.to_string_lossy();
    assert_refused_with_a_line(&run(&host, &["--iface", "nosuch0", "--policy", &file]), &["nosuch0"]);
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"];
    let words = [&nobody[..], &ringroad(&["--policy", &file], &HELLO)].concat();
    assert_refused_with_a_line(&host.run(&words), &["CAP_"]);
    // One who cannot write its name, or what else keeps programs from running without it.
    for (variable, said) in
        [("RINGROAD_POLCY=x", "RINGROAD_POLICY"), ("RINGROAD_STRICT=perhaps", "RINGROAD_STRICT")]
    {
        let words = [&["env", variable][..], &ringroad(&[], &HELLO)].concat();
        assert_refused_with_a_line(&host.run(&words), &[said]);
    }
}

/// Who has the library loaded by hand is told by the library.
#[test]
fn a_wrong_policy_lets_nothing_run_without_a_launcher() {
    let lab = Lab::new("byhand");
    let (host, _other) = lab.pair();
    let library = Path::new(product()).with_file_name("libringroad_preload.so");
    let by_hand = |iface: &str, policy: &str, program: &[&str]| {
        let settings = [
            format!("LD_PRELOAD={}", library.display()),
            format!("RINGROAD_IFACE={iface}"),
            format!("RINGROAD_POLICY={policy}"),
        ];
        let words: Vec<&str> = settings.iter().map(String::as_str).collect();
        host.run(&[&["env"][..], &words, program].concat())
    };
    for (file, words) in wrong_policies(&lab).into_iter().filter(|(file, _)| !file.is_empty()) {
        assert_refused_with_a_line(&by_hand(IFACE, &file, &HELLO), &words);
    }
    let good = lab.file("good.toml", "default = \"allow\"\n");
    let good = good.to_string_lossy();
    let outcome = by_hand(IFACE, &good, &HELLO);
    assert_eq!((outcome.code, outcome.stdout.as_str(), outcome.stderr.as_str()), (0, "hello\n", ""));
    // Here the road is opened with the first socket that needs it: so far the program comes.
    let connect = format!(
        "import os, socket; os.chdir('/'); l = socket.create_server(('{SERVER}', 80)); l.settimeout(0); print('hello', flush=True)\n\
         try: l.accept()\n\
         except BlockingIOError: print('unguarded', flush=True)"
    );
    let outcome = by_hand("nosuch0", &good, &["python3", "-c", &connect]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (1, "hello\n"), "{}", outcome.said());
    assert_said(&outcome, &["nosuch0", "does not run"]);
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
