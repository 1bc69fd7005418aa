//! OpenSSH: scp fetches by a child of its own, and the server is a program that is executed for each connection.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;

use lab::SERVER;
use ringroad_tests::matrix::{Stage, same_on_both};
use ringroad_tests::{on_kernel, sha256};

/// Where sshd locks in what it does not trust. Its service would make it; what the test has made goes with it.
struct Cage {
    is_ours: bool,
}

impl Cage {
    const PATH: &str = "/run/sshd";

    fn new() -> Self {
        match fs::DirBuilder::new().mode(0o755).create(Self::PATH) {
            Ok(()) => Self { is_ours: true },
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Self { is_ours: false },
            Err(error) => panic!("{}: {error}", Self::PATH),
        }
    }
}

impl Drop for Cage {
    fn drop(&mut self) {
        if self.is_ours {
            // Not if somebody else uses it meanwhile.
            let _ = fs::remove_dir(Self::PATH);
        }
    }
}

/// The server's words, with a host key of its own, and for one user key.
fn sshd(stage: &Stage) -> Vec<String> {
    let at = stage.lab.folder().display().to_string();
    for key in ["host", "user"] {
        let path = format!("{at}/{key}");
        stage.server.must(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", &path]);
    }
    let conf = stage.lab.file(
        "sshd.conf",
        format!(
            "ListenAddress {SERVER}\nHostKey {at}/host\nAuthorizedKeysFile {at}/user.pub\nStrictModes no\n\
             UsePAM no\nPidFile none\nPermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\n"
        ),
    );
    ["/usr/sbin/sshd", "-D", "-e", "-f", &conf.to_string_lossy()].map(str::to_owned).to_vec()
}

/// Words that fetch a file over ssh.
fn scp(stage: &Stage, from: &str, to: &str) -> Vec<String> {
    let key = stage.lab.folder().join("user").display().to_string();
    let flags = ["-q", "-F", "/dev/null", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no"];
    let known = ["-o", "UserKnownHostsFile=/dev/null", "-i", &key];
    let what = [format!("root@{SERVER}:{from}"), to.to_owned()];
    let words = ["scp"].into_iter().chain(flags).chain(known).map(str::to_owned);
    words.chain(what).collect()
}

#[test]
fn scp_fetches() {
    same_on_both("scp", |stage| {
        let _cage = Cage::new();
        let sshd = sshd(stage);
        let words: Vec<&str> = sshd.iter().map(String::as_str).collect();
        let _sshd = on_kernel(&stage.server, &words, 22);
        let file =
            stage.lab.file("sent", (0..3_000_000_u32).map(|n| (n / 251 + n) as u8).collect::<Vec<_>>());
        let (from, to) = (file.display().to_string(), format!("{}.came", file.display()));
        let scp = scp(stage, &from, &to);
        let said = stage.ask(&scp.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(sha256(&stage.client, &to), sha256(&stage.server, &from), "{said}");
        stage.assert_asked_past_the_kernel();
        fs::metadata(to).expect("the file").len().to_string()
    });
}
