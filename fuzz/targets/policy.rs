//! The policy file: any text is understood or refused with places that lie in it; what is understood can be
//! explained.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringroad::policy_file::{PolicyFile, explain};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match PolicyFile::parse(text) {
        Ok(file) => assert!(!explain(&file.spec).is_empty(), "nothing to say"),
        Err(faults) => {
            assert!(faults.iter().count() > 0, "refused without a fault");
            assert!(!faults.render("policy.toml", text).is_empty());
        }
    }
});
