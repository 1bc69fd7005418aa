//! `ringroad policy check`: what a file means, or what is wrong with it.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use ringroad::policy_file::{PolicyFile, explain};

use crate::print;

/// Prints the meaning of the file, or its faults on standard error.
pub(crate) fn check(file: &Path) -> ExitCode {
    match PolicyFile::load(file) {
        Ok(policy) => {
            print(&explain(&policy.spec));
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}
