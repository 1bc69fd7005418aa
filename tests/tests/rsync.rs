//! rsync: its receiving side is two processes, of which one writes to the connection what the other one has read from it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use lab::{Running, SERVER};
use ringroad_tests::matrix::{Stage, same_on_both};
use ringroad_tests::{on_kernel, sha256};

const PORT: u16 = 873;
/// Small files, for each of which the two processes speak to each other.
const SMALL: u32 = 60;

/// A folder with one large file and many small ones, and an empty one.
fn folders(stage: &Stage) -> (PathBuf, PathBuf) {
    let [from, to] = ["from", "to"].map(|name| stage.lab.folder().join(name));
    for folder in [&from, &to] {
        fs::create_dir(folder).expect("a folder");
    }
    let octets = |seed: u32, len: u32| (0..len).map(|n| (n * seed + n / 251) as u8).collect::<Vec<_>>();
    fs::write(from.join("large"), octets(7, 5_000_000)).expect("a file");
    (1..=SMALL).for_each(|n| fs::write(from.join(n.to_string()), octets(n, n * 37)).expect("a file"));
    (from, to)
}

/// The words of a server for the laboratory's folder.
fn server(stage: &Stage) -> Vec<String> {
    let at = stage.lab.folder();
    fs::set_permissions(at, fs::Permissions::from_mode(0o755)).expect("a folder for all");
    let text = format!(
        "use chroot = no\nreverse lookup = no\n[all]\npath = {}\nread only = no\nuid = root\ngid = root\n",
        at.display()
    );
    let conf = stage.lab.file("rsyncd.conf", text);
    let conf = format!("--config={}", conf.display());
    ["rsync", "--daemon", "--no-detach", &format!("--address={SERVER}"), &conf].map(str::to_owned).to_vec()
}

fn words(all: &[String]) -> Vec<&str> {
    all.iter().map(String::as_str).collect()
}

/// A folder's name for the server.
fn remote(folder: &Path) -> String {
    let name = folder.file_name().expect("a name").to_string_lossy();
    format!("rsync://{SERVER}/all/{name}/")
}

fn local(folder: &Path) -> String {
    format!("{}/", folder.display())
}

/// What has come: how many files, and the sum of the large one.
fn told(stage: &Stage, from: &Path, to: &Path) -> String {
    for entry in fs::read_dir(from).expect("a folder").map(|entry| entry.expect("an entry")) {
        let came = fs::read(to.join(entry.file_name())).expect("it has come");
        assert!(came == fs::read(entry.path()).expect("what was sent"), "{}", entry.path().display());
    }
    let count = fs::read_dir(to).expect("a folder").count();
    format!("{count} {}", sha256(&stage.client, &to.join("large").display().to_string()))
}

/// A client on the kernel sends to the server in question, or fetches from it.
fn serves(name: &str, sends: bool) {
    same_on_both(name, |stage| {
        let (from, to) = folders(stage);
        let _rsync: Running = stage.serve(&words(&server(stage)), PORT);
        let ends = if sends { [local(&from), remote(&to)] } else { [remote(&from), local(&to)] };
        stage.client.run_for(60, &["rsync", "-r", &ends[0], &ends[1]]).must();
        stage.assert_served_past_the_kernel();
        told(stage, &from, &to)
    });
}

/// The client in question sends to a server on the kernel, or fetches from it.
fn asks(name: &str, sends: bool) {
    same_on_both(name, |stage| {
        let (from, to) = folders(stage);
        let _rsync = on_kernel(&stage.server, &words(&server(stage)), PORT);
        let ends = if sends { [local(&from), remote(&to)] } else { [remote(&from), local(&to)] };
        let _ = stage.ask_for(60, &["rsync", "-r", &ends[0], &ends[1]]);
        stage.assert_asked_past_the_kernel();
        told(stage, &from, &to)
    });
}

#[test]
fn rsync_is_sent_files() {
    serves("rsync-to", true);
}

#[test]
fn rsync_gives_files_out() {
    serves("rsync-from", false);
}

#[test]
fn rsync_fetches_files() {
    asks("rsync-fetch", false);
}

#[test]
fn rsync_sends_files() {
    asks("rsync-send", true);
}
