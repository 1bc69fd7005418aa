//! The steering program's objects are what their source says.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/bpf");

/// The compiler that the checked-in object is made with; another version makes other code of the same source.
const CLANG: &str = "clang version 14.";

#[test]
fn source_and_object_were_recorded_together() {
    let sums =
        Command::new("sha256sum").args(["--check", "--strict", "SHA256SUMS"]).current_dir(FOLDER).output();
    let sums = sums.unwrap();
    assert!(
        sums.status.success(),
        "the source or the object has changed by itself: run af-xdp/bpf/build.sh\n{}",
        String::from_utf8_lossy(&sums.stdout)
    );
}

#[test]
fn the_objects_are_what_the_compiler_makes_of_the_source() {
    let version = ["clang-14", "clang"].iter().find_map(|c| Command::new(c).arg("--version").output().ok());
    let version = version.map(|v| String::from_utf8_lossy(&v.stdout).into_owned()).unwrap_or_default();
    if !version.contains(CLANG) {
        println!("not compared: no {CLANG}x here ({})", version.lines().next().unwrap_or("no clang at all"));
        return;
    }
    let fresh = tempfile::tempdir().unwrap();
    let built = Command::new(format!("{FOLDER}/build.sh")).arg(fresh.path()).status().unwrap();
    assert!(built.success());
    let objects: [(&str, &[&str]); 2] = [
        ("steer.bpf.o", &["xdp", "xdp.frags", ".relxdp", ".relxdp.frags", ".maps", "license"]),
        ("steer_tc.bpf.o", &["classifier", "socket", ".relclassifier", ".maps", "license"]),
    ];
    for (object, names) in objects {
        let (made, kept) = (sections(&fresh.path().join(object)), sections(&Path::new(FOLDER).join(object)));
        for name in names {
            assert!(kept.contains_key(*name), "no section {name} in {object}");
            let same = made.get(*name) == kept.get(*name);
            assert!(same, "section {name} of {object} is stale: run af-xdp/bpf/build.sh");
        }
    }
}

/// The sections of an ELF64 file, little-endian, by name.
fn sections(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let file = std::fs::read(path).unwrap();
    let number = |at: usize, len: usize| {
        file[at..at + len].iter().rev().fold(0usize, |n, byte| n << 8 | usize::from(*byte))
    };
    assert_eq!(file[..6], *b"\x7fELF\x02\x01");
    let (table, size, count, names) = (number(0x28, 8), number(0x3a, 2), number(0x3c, 2), number(0x3e, 2));
    let place = |i: usize| (number(table + i * size + 0x18, 8), number(table + i * size + 0x20, 8));
    let name = |i: usize| {
        let at = place(names).0 + number(table + i * size, 4);
        file[at..].iter().take_while(|b| **b != 0).map(|b| char::from(*b)).collect::<String>()
    };
    (0..count).map(|i| (name(i), file[place(i).0..][..place(i).1].to_vec())).collect()
}
