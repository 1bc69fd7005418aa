//! `cargo xtask guest`: tests in a machine whose NICs do zero-copy, which no virtual interface of this host does.
//!
//! QEMU boots a kernel of Debian's with the test binaries as its only files. The two NICs are there what a cable of the
//! laboratory is elsewhere (`LAB_NICS`).

mod image;
mod kernel;
mod machine;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{packages, run};
use image::Image;
use kernel::Kernel;

/// The longest that the guest may run in CI, in seconds: several times what it takes on a machine that has nothing else to do.
pub(crate) const LIMIT: u32 = 600;

/// Drivers, besides those built in.
const MODULES: &[&str] = &["virtio_pci", "virtio_net", "veth", "8021q", "tun"];

/// Programs of this host that the laboratory runs; for others busybox is enough. Its shell is not: it would not see these.
const PROGRAMS: &[&str] = &["sh", "ip", "ethtool", "sysctl", "timeout"];

/// A test of a package that runs in the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Test<'a> {
    package: &'static str,
    name: &'static str,
    /// Those of its tests that run: whose names hold one of these words.
    words: &'a str,
}

/// Each says something that zero-copy could make untrue; a boot has no time for more.
const TESTS: &[Test<'static>] = &[
    Test { package: "ringroad-nic-suite", name: "af_xdp", words: "native" },
    Test {
        package: "ringroad-af-xdp",
        name: "lab",
        words: "frames::native processes::over processes::what steering::an_interface_that_goes",
    },
    Test { package: "ringroad", name: "lab", words: "streams::ten_megabytes" },
    // Of the kernel's VLANs, which not every host has.
    Test { package: "ringroad", name: "vlans", words: "a_vlan_is a_vlan_whose" },
    // Last: Linux 7.3's virtio_net was seen to oops when a queue that had been out of use was bound for zero-copy.
    Test { package: "ringroad-nic-suite", name: "af_xdp", words: "every_queue" },
];

const INIT: &str = "#!/bin/sh
/bin/busybox --install -s /bin 2>/dev/null
export PATH=/bin LAB_NICS='eth0 eth1'
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp; mount -t tmpfs run /run; mount -t bpf bpf /sys/fs/bpf
while read module; do insmod /modules/$module; done </modules/order
ip link set lo up
for nic in $LAB_NICS; do ethtool -L $nic combined 2; ethtool -G $nic rx 64 tx 64; done
failed=0
run() {
    echo \"guest: $*\"
    \"$@\" || failed=1
}
echo \"guest: up\"
";

const BYE: &str = "echo \"guest: ended with $failed\"
poweroff -f
";

/// Runs the tests, or of all tests of their packages those whose names hold one of `only`, for so many seconds at most,
/// and gives every line to `each`; whether all went well. Why they cannot run here, as one line.
pub(crate) fn run(only: &[String], seconds: u32, each: impl FnMut(&str)) -> Result<bool, String> {
    if !run::is_root() || !Path::new("/dev/net/tun").exists() {
        return Err("the guest is not run: its cables need root and /dev/net/tun".to_owned());
    }
    packages::install_all(packages::GUEST)?;
    let folder = crate::root().join("target/guest");
    let kernel = Kernel::fetch(&folder.join("kernel"))?;
    let files = folder.join("files");
    let fault = |e: std::io::Error| format!("{}: {e}", files.display());
    // From here on what fails is ours.
    let image = match programs(&only.join(" ")).and_then(|programs| image(&kernel, &programs)) {
        Ok(image) => image,
        Err(why) => {
            println!("{why}");
            return Ok(false);
        }
    };
    fs::write(&files, image).map_err(fault)?;
    println!("guest: Linux {}", kernel.release);
    Ok(boot(machine::command(&kernel.image, &files, seconds), each))
}

fn boot(mut machine: Command, mut each: impl FnMut(&str)) -> bool {
    let mut ended = None;
    run::stream(&mut machine, |line| {
        let line = line.trim_end();
        ended = line.strip_prefix("guest: ended with ").map(str::to_owned).or(ended.take());
        each(line);
    });
    if ended.is_none() {
        println!("the guest did not come to its end: its time was up, or its kernel died");
    }
    ended.as_deref() == Some("0")
}

/// The tests that run, each with its binary.
fn programs(only: &str) -> Result<Vec<(Test<'_>, PathBuf)>, String> {
    let mut programs = Vec::new();
    for test in wanted(only) {
        let binary = build(&test)?;
        let mut words = test.words.split_whitespace();
        if only.is_empty() {
            // A test that was renamed would not run, and nobody would notice.
            if let Some(word) = words.find(|word| !holds(&binary, word)) {
                return Err(format!("{} has no test whose name holds {word}", test.package));
            }
        } else if !words.any(|word| holds(&binary, word)) {
            continue;
        }
        programs.push((test, binary));
    }
    if programs.is_empty() { Err(format!("no test's name holds {only}")) } else { Ok(programs) }
}

/// The rows of the table, or each of its binaries once, for the tests that are named.
fn wanted(only: &str) -> Vec<Test<'_>> {
    if only.is_empty() {
        return TESTS.to_vec();
    }
    let mut all: Vec<Test<'_>> = Vec::new();
    for Test { package, name, .. } in TESTS.iter().copied() {
        let test = Test { package, name, words: only };
        if !all.contains(&test) {
            all.push(test);
        }
    }
    all
}

/// Whether a test's binary has one whose name holds `word`.
fn holds(binary: &Path, word: &str) -> bool {
    let listed = Command::new(binary).args(["--list", "--format=terse", word]).output();
    listed.is_ok_and(|listed| listed.stdout.windows(6).any(|part| part == b": test"))
}

/// Builds a test; its binary.
fn build(test: &Test<'_>) -> Result<PathBuf, String> {
    let mut cargo = run::cargo();
    cargo.args(["test", "--locked", "--no-run", "--message-format=json-render-diagnostics"]);
    cargo.args(["--package", test.package, "--test", test.name]);
    let output = cargo.stderr(Stdio::inherit()).output().map_err(|e| e.to_string())?;
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let messages = lines.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let binary = messages.filter_map(|m| Some(PathBuf::from(m["executable"].as_str()?))).next_back();
    binary.filter(|_| output.status.success()).ok_or_else(|| format!("{} cannot be built", test.package))
}

/// The guest's files: an init that runs the tests, and what it takes.
fn image(kernel: &Kernel, programs: &[(Test<'_>, PathBuf)]) -> Result<Vec<u8>, String> {
    let mut image = Image::new();
    for folder in ["proc", "sys", "dev", "tmp", "run", "etc", "var"] {
        image.folder(folder);
    }
    let mut init = INIT.to_owned();
    for (test, binary) in programs {
        let stripped = stripped(binary)?;
        let Test { package, name, words } = test;
        image.program(&format!("/tests/{package}-{name}"), &stripped)?;
        let _ =
            writeln!(init, "run /tests/{package}-{name} --test-threads=1 --color=never --nocapture {words}");
    }
    image.file("/init", (init + BYE).as_bytes());
    image.program("/bin/busybox", &run::path("busybox").ok_or("there is no busybox")?)?;
    for name in PROGRAMS {
        let path = run::path(name).ok_or_else(|| format!("there is no {name}"))?;
        image.program(&format!("/bin/{name}"), &path)?;
    }
    let mut order = String::new();
    for (name, content) in kernel.modules(MODULES)? {
        image.file(&format!("/modules/{name}"), &content);
        order += &format!("{name}\n");
    }
    image.file("/modules/order", order.as_bytes());
    Ok(image.finish())
}

/// A copy without what only a debugger reads: the guest's memory is small.
fn stripped(binary: &Path) -> Result<PathBuf, String> {
    let copy = crate::root().join("target/guest").join(binary.file_name().unwrap_or_default());
    let mut strip = Command::new("strip");
    match run::quietly(strip.arg("-o").arg(&copy).arg(binary)) {
        true => Ok(copy),
        false => Err(format!("{} cannot be stripped", binary.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_run_in_place_of_the_table_and_each_binary_once() {
        assert_eq!(wanted(""), TESTS);
        let named = wanted("one two");
        let packages: Vec<&str> = named.iter().map(|test| test.package).collect();
        assert_eq!(packages, ["ringroad-nic-suite", "ringroad-af-xdp", "ringroad", "ringroad"]);
        assert!(named.iter().all(|test| test.words == "one two"));
    }

    /// The binary that runs this.
    #[test]
    fn a_name_that_no_test_has_is_known() {
        let binary = std::env::current_exe().unwrap();
        assert!(holds(&binary, "guest::tests::a_name_that"));
        assert!(!holds(&binary, "guest::tests::a_name_that_was_changed"));
    }
}
