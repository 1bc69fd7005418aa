//! Every drill against our stack, in virtual time.

use drill::{Family, On, drills};
use libtest_mimic::{Arguments, Trial};

const FAMILIES: &[(Family, &str)] = &[(Family::V4, "ipv4"), (Family::V6, "ipv6")];

fn main() {
    let args = Arguments::from_args();
    let mut trials = Vec::new();
    for row in drills::all() {
        for (family, word) in FAMILIES {
            let run = move || {
                (row.run)(On::Stack(*family));
                Ok(())
            };
            trials.push(Trial::test(format!("{}::{word}", row.name), run));
        }
    }
    libtest_mimic::run(&args, trials).exit();
}
