//! `ringroad policy import`: policies from what other firewalls are told. What cannot be said is listed where it stood and
//! on standard error, never dropped silently.

mod draft;
mod iptables;
mod kubernetes;
mod nft;
mod nft_statement;
mod nft_text;

use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use ringroad::policy_file::PolicyFile;

use crate::args::{Format, Import};
use crate::{complain, print};

/// The longest input, in bytes.
const MAX_BYTES: u64 = 32 << 20;
/// It could not be read or understood.
const UNTRIED: u8 = 2;
/// Something was left out.
const PARTLY: u8 = 1;

/// Prints the policy; what was left out goes to standard error, too.
pub(crate) fn run(flags: &Import) -> ExitCode {
    let text = match read(&flags.file) {
        Ok(text) => text,
        Err(error) => {
            complain(&format!("{}: {error}", flags.file.display()));
            return ExitCode::from(UNTRIED);
        }
    };
    let draft = match flags.from {
        Format::Nft => nft::read(&text),
        Format::Iptables => Ok(iptables::read(&text)),
        Format::Kubernetes => kubernetes::read(&text),
    };
    let draft = match draft {
        Ok(draft) => draft,
        Err(error) => {
            complain(&format!("{}: {error}", flags.file.display()));
            return ExitCode::from(UNTRIED);
        }
    };
    let policy = draft.policy(&flags.local);
    if let Err(faults) = PolicyFile::parse(&policy) {
        complain(&format!("what came of it is no policy: {faults}"));
        return ExitCode::from(UNTRIED);
    }
    print(&policy);
    for left_out in draft.left_out() {
        let _ = writeln!(io::stderr(), "left out: {left_out}");
    }
    if draft.left_out().next().is_some() { ExitCode::from(PARTLY) } else { ExitCode::SUCCESS }
}

fn read(file: &Path) -> io::Result<String> {
    let from: Box<dyn Read> =
        if file == Path::new("-") { Box::new(io::stdin()) } else { Box::new(std::fs::File::open(file)?) };
    let mut text = String::new();
    from.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("longer than {MAX_BYTES} bytes")));
    }
    Ok(text)
}
