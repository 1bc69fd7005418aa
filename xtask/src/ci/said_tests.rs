//! On what cargo 1.95 and its libtest print.

use super::*;

/// Two tests that fail, one of which writes to the descriptor itself, and one that passes.
const LIBRARY: &str = "
     Running unittests src/lib.rs (target/debug/deps/one-4320c1ab17997467)

running 3 tests
test tests::bad ... FAILED
test tests::must - should panic ... ok
test tests::noisy ... raw words
FAILED

failures:

---- tests::bad stdout ----
some words

thread 'tests::bad' (2189) panicked at one/src/lib.rs:8:45:
assertion `left == right` failed: they differ
  left: 1
 right: 2
note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace

---- tests::noisy stdout ----

thread 'tests::noisy' (2193) panicked at one/src/lib.rs:9:160:
noisy


failures:
    tests::bad
    tests::noisy

test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.59s

error: test failed, to rerun pass `-p toy-one --lib`
";

const PASSED: &str = "
     Running tests/fine.rs (target/debug/deps/fine-f413923f8e24d849)

running 1 test
test fine ... ok

test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s

";

/// As it looks with one thread: libtest has said which test begins.
const CRASHED: &str = "
     Running tests/crash.rs (target/debug/deps/crash-085f9ced9c3cfaf1)

running 2 tests
test crash ... error: test failed, to rerun pass `-p toy-two --test crash`

Caused by:
  process didn't exit successfully: `target/debug/deps/crash-085f9ced9c3cfaf1` (signal: 6, SIGABRT: process abort signal)
";

const DOCUMENTATION: &str = "
   Doc-tests one

running 1 test
test one/src/lib.rs - f (line 2) ... FAILED

failures:

---- one/src/lib.rs - f (line 2) stdout ----
Test executable failed (exit status: 101).


failures:
    one/src/lib.rs - f (line 2)

test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s

all doctests ran in 0.39s; merged doctests compilation took 0.28s
error: doctest failed, to rerun pass `-p toy-one --doc`
";

fn said(parts: &[&str]) -> Said {
    let mut said = Said::default();
    parts.iter().flat_map(|part| part.lines()).for_each(|line| said.hear(line));
    said
}

fn names(said: &Said) -> Option<Vec<&str>> {
    said.only_these().map(|all| all.iter().map(|failure| failure.name.as_str()).collect())
}

#[test]
fn results_are_read_as_cargo_prints_them() {
    let line =
        "test result: FAILED. 17 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.09s";
    assert_eq!(result(line), Some((17, 1)));
    assert_eq!(result("test result_of ... ok"), None);
}

#[test]
fn failures_have_their_target_and_what_was_said() {
    let said = said(&[PASSED, LIBRARY, PASSED, "error: 1 target failed:\n    `-p toy-one --lib`\n"]);
    assert_eq!((said.passed, said.failed), (3, 2));
    let [bad, noisy] = said.only_these().unwrap() else { panic!("{said:?}") };
    assert_eq!((bad.name.as_str(), noisy.name.as_str()), ("tests::bad", "tests::noisy"));
    assert_eq!(bad.target, "toy-one --lib");
    assert_eq!(bad.binary, "target/debug/deps/one-4320c1ab17997467");
    assert!(bad.words.starts_with("some words\n\nthread 'tests::bad'") && bad.words.contains(" right: 2\n"));
    assert!(noisy.words.contains("\nnoisy\n") && !noisy.words.contains("failures"));
    assert!(said.went_well_in("target/debug/deps/fine-f413923f8e24d849"));
    assert!(!said.went_well_in(&bad.binary));
}

#[test]
fn what_is_no_test_that_failed_is_not_passed_over() {
    let sum = "error: 2 targets failed:\n    `-p toy-one --lib`\n    `-p another`\n";
    assert_eq!(names(&said(&[LIBRARY, CRASHED, sum])), None, "one crashed");
    assert_eq!(names(&said(&[LIBRARY, DOCUMENTATION, sum])), None, "an example of the documentation failed");
    assert_eq!(names(&said(&[LIBRARY, PASSED])), None, "cargo was ended before it had run all");
    assert_eq!(names(&said(&[CRASHED, "error: 1 target failed:\n    `-p toy-two --test crash`\n"])), None);
    assert_eq!(names(&said(&[PASSED])), None, "nothing failed");
}

/// Another process wrote into the list of names, or cut a line.
#[test]
fn names_that_are_not_as_many_as_failed_are_none() {
    let sum = "error: 1 target failed:\n    `-p toy-one --lib`\n";
    for broken in [
        LIBRARY.replace("    tests::bad\n", "    tests::bad\n    from a child\n"),
        LIBRARY.replace("    tests::bad\n", "a child    tests::bad\n"),
    ] {
        assert_eq!(names(&said(&[&broken, sum])), None, "{broken}");
    }
}

/// They are no libtest's: libtest-mimic's.
#[test]
fn drills_that_fail_are_named() {
    let drills = "
     Running tests/kernel.rs (target/debug/deps/kernel-646cc6fe87e539ff)

running 2 tests
test rfc5961::blind::ipv4 ... ok
test rfc5961::blind::ipv6 ... FAILED

failures:

---- rfc5961::blind::ipv6 ----
    it was to send an ACK


failures:
    rfc5961::blind::ipv6


test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 7.10s

error: test failed, to rerun pass `-p ringroad-drill --test kernel`
error: 1 target failed:
";
    let said = said(&[drills]);
    assert_eq!(names(&said).unwrap(), ["rfc5961::blind::ipv6"]);
    assert_eq!(said.only_these().unwrap()[0].words, "    it was to send an ACK\n\n\n");
}

/// What is between the lines of one test is of no account to the others.
#[test]
fn lines_that_children_write_between_are_passed_over() {
    let sum = "error: 1 target failed:\n    `-p toy-one --lib`\n";
    let mixed = LIBRARY
        .replace("test tests::bad ... FAILED\n", "test tests::bad ... ok? test result\nFAILED\nRunning\n")
        .replace("\nfailures:\n\n", "\na child\nfailures:\n\n");
    assert_eq!(names(&said(&[&mixed, sum])).unwrap(), ["tests::bad", "tests::noisy"]);
}

/// As CI said it, with fewer lines.
const DIFFERENTIAL: &str = "
     Running tests/differential.rs (target/debug/deps/differential-074c49dac3c46bf5)

running 1 test
test a_case_prints_the_same_on_the_kernel_and_under_the_shim has been running for over 60 seconds

!! unsteady: case shared_port_spreads of the differential test
!! It held when it was tried again, alone: a defect of the test, or of what it tests. The first time it said:
!!   --- shared_port_spreads: the kernel
!!   ended with 0
!!   --- shared_port_spreads: the shim
!!   ended with 137
test a_case_prints_the_same_on_the_kernel_and_under_the_shim ... FAILED

failures:

---- a_case_prints_the_same_on_the_kernel_and_under_the_shim stdout ----

thread 'a_case_prints_the_same_on_the_kernel_and_under_the_shim' (14138) panicked at preload/tests/differential.rs:91:5:
1 of 502 cases differ:
--- info_of_a_client: the kernel
new: state 7 ca 0 retransmits 0 probes 0 backoff 0 options 0, peer's scale 0
  snd_mss 536 rcv_mss 0 advmss 0 pmtu 0 reordering 3 ato 0
send(fd, \"abc\", 3, 0) = 3
failures:
    of something else
ended with 0
--- info_of_a_client: the shim
new: state 7 ca 0 retransmits 0 probes 0 backoff 0 options 0, peer's scale 0
  max_pacing_rate ffffffffffffffff rtt 1 rttvar 0 min_rtt 1 pacing 1 rto 1
ended with 0

stack backtrace:
   0: __rustc::rust_begin_unwind
             at /rustc/59807616e1fa2540724bfbac14d7976d7e4a3860/library/std/src/panicking.rs:689:5
note: Some details are omitted, run with `RUST_BACKTRACE=full` for a verbose backtrace.


failures:
    a_case_prints_the_same_on_the_kernel_and_under_the_shim

test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 218.96s

error: test failed, to rerun pass `-p ringroad-preload --test differential`
";

#[test]
fn the_differential_test_is_named_and_its_cases_that_held_at_last() {
    let said = said(&[
        PASSED,
        DIFFERENTIAL,
        PASSED,
        "error: 1 target failed:\n    `-p ringroad-preload --test differential`\n",
    ]);
    let [failure] = said.only_these().unwrap() else { panic!("{said:?}") };
    assert_eq!(failure.name, "a_case_prints_the_same_on_the_kernel_and_under_the_shim");
    assert_eq!(failure.target, "ringroad-preload --test differential");
    assert!(failure.words.contains("--- info_of_a_client: the kernel\nnew: state 7"));
    assert_eq!(said.unsteady(), ["case shared_port_spreads of the differential test"]);
}
