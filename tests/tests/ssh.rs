//! OpenSSH: scp fetches by a child of its own, and the server is a program that is executed for each connection.

use std::fs::{self, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};

use lab::{Running, SERVER, eventually_some};
use ringroad_tests::matrix::{Stage, same_on_both};
use ringroad_tests::{bounded, on_kernel, sha256};

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

/// The server's words, with a host key of its own, and for one user key, which is everybody's.
fn sshd(stage: &Stage) -> Vec<String> {
    let at = stage.lab.folder().display().to_string();
    for key in ["host", "user"] {
        let path = format!("{at}/{key}");
        stage.server.must(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", &path]);
    }
    // Keys are looked for with the user's own rights.
    fs::set_permissions(stage.lab.folder(), Permissions::from_mode(0o755)).expect("a folder for all");
    let conf = stage.lab.file(
        "sshd.conf",
        format!(
            "ListenAddress {SERVER}\nHostKey {at}/host\nAuthorizedKeysFile {at}/user.pub\nStrictModes no\n\
             UsePAM no\nPidFile none\nPermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\n\
             PrintMotd no\nPrintLastLog no\nMaxStartups 100\n"
        ),
    );
    ["/usr/sbin/sshd", "-D", "-e", "-f", &conf.to_string_lossy()].map(str::to_owned).to_vec()
}

/// Flags of a client that knows nobody.
fn flags(stage: &Stage) -> Vec<String> {
    let key = stage.lab.folder().join("user").display().to_string();
    let flags = ["-q", "-F", "/dev/null", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no"];
    let known = ["-o", "UserKnownHostsFile=/dev/null", "-i", &key];
    flags.into_iter().chain(known).map(str::to_owned).collect()
}

/// Words that copy a file over ssh, from or to a `user` of the server.
fn scp(stage: &Stage, from: &str, to: &str) -> Vec<String> {
    ["scp".to_owned()].into_iter().chain(flags(stage)).chain([from, to].map(str::to_owned)).collect()
}

fn words(all: &[String]) -> Vec<&str> {
    all.iter().map(String::as_str).collect()
}

#[test]
fn scp_fetches() {
    same_on_both("scp", |stage| {
        let _cage = Cage::new();
        let sshd = sshd(stage);
        let _sshd = on_kernel(&stage.server, &words(&sshd), 22);
        let (from, to) = file(stage, "sent", 3_000_000);
        let said = stage.ask(&words(&scp(stage, &format!("root@{SERVER}:{from}"), &to)));
        assert_eq!(sha256(&stage.client, &to), sha256(&stage.server, &from), "{said}");
        stage.assert_asked_past_the_kernel();
        fs::metadata(to).expect("the file").len().to_string()
    });
}

#[test]
fn scp_sends() {
    same_on_both("scp-to", |stage| {
        let _cage = Cage::new();
        let sshd = sshd(stage);
        let _sshd = on_kernel(&stage.server, &words(&sshd), 22);
        let (from, to) = file(stage, "sent", 3_000_000);
        let said = stage.ask(&words(&scp(stage, &from, &format!("root@{SERVER}:{to}"))));
        assert_eq!(sha256(&stage.server, &to), sha256(&stage.client, &from), "{said}");
        stage.assert_asked_past_the_kernel();
        fs::metadata(to).expect("the file").len().to_string()
    });
}

/// A file that everybody can read, and the path of another.
fn file(stage: &Stage, name: &str, octets: u32) -> (String, String) {
    let file = stage.lab.file(name, (0..octets).map(|n| (n / 251 + n) as u8).collect::<Vec<_>>());
    fs::set_permissions(&file, Permissions::from_mode(0o644)).expect("a file for all");
    (file.display().to_string(), format!("{}.came", file.display()))
}

/// The server in question, on its road or the kernel's; the client is the kernel's.
struct Served<'a> {
    stage: &'a Stage,
    sshd: Running,
    _cage: Cage,
}

impl<'a> Served<'a> {
    fn new(stage: &'a Stage) -> Self {
        let _cage = Cage::new();
        let sshd = stage.serve(&words(&sshd(stage)), 22);
        Self { stage, sshd, _cage }
    }

    /// A line of the shell that speaks to the server.
    fn ssh(&self, user: &str, rest: &str) -> String {
        format!("ssh {} {user}@{SERVER} {rest}", flags(self.stage).join(" "))
    }

    /// What a line of the shell says on the client's host, and how it ends.
    fn shell(&self, line: &str) -> String {
        self.stage.client.must(&["bash", "-c", &format!("{line}; echo ended $?")])
    }
}

/// Commands, a terminal, and a login by a user who is not root (whose shell is a program of its own): the connection goes
/// from the listener to the monitor, to the child in its sandbox, back, and to the session.
#[test]
fn sshd_lets_in() {
    same_on_both("sshd", |stage| {
        let served = Served::new(stage);
        let mut said = served.shell(&served.ssh("root", "'echo heard; id -u; exit 7'"));
        said += &served.shell(&served.ssh("root", "-T 'wc -c' < <(head -c 300000 /dev/zero)"));
        said += &served
            .shell(&served.ssh("root", "-tt 'tty | tr -d 0-9; stty -echo; read x; echo heard $x' <<< word"));
        let typed = "printf 'stty -echo; PS1=\nexport PS1; echo in-$((6*7))\nexit 3\n'";
        let heard = served.shell(&format!("{typed} | {} | grep -o '^in-42'", served.ssh("root", "-tt")));
        said += &heard;
        said += &served.shell(&served.ssh("sync", ""));
        said += &served.shell(&format!("{} -o PubkeyAuthentication=no", served.ssh("root", "true")));
        stage.assert_served_past_the_kernel();
        said
    });
}

/// By root, whose session is the monitor itself, and by a user, whose session is a process of its own.
#[test]
fn sshd_has_files_copied_both_ways() {
    same_on_both("sshd-scp", |stage| {
        let served = Served::new(stage);
        let (from, to) = file(stage, "large", 100_000_000);
        fs::set_permissions(stage.lab.folder(), Permissions::from_mode(0o777)).expect("a folder for all");
        let sum = sha256(&stage.server, &from);
        for user in ["root", "sync"] {
            for (from, to) in [
                (format!("{user}@{SERVER}:{from}"), to.clone()),
                (from.clone(), format!("{user}@{SERVER}:{to}.{user}")),
            ] {
                stage.client.run_for(120, &words(&scp(stage, &from, &to))).must();
                let to = to.rsplit(':').next().expect("a path");
                assert_eq!(sha256(&stage.client, to), sum, "{from} to {to}");
                fs::remove_file(to).expect("what came");
            }
        }
        stage.assert_served_past_the_kernel();
        drop(served);
        sum
    });
}

#[test]
fn sshd_has_many_sessions_at_once() {
    same_on_both("sshd-many", |stage| {
        let served = Served::new(stage);
        let one = served.ssh("root", "\"read x; seq 20000 | md5sum; echo $n; echo \\$x\" <<< word");
        let said = served.shell(&format!("for n in 1 2 3 4 5 6; do {{ {one} | sort; }} & done | sort; wait"));
        stage.assert_served_past_the_kernel();
        said
    });
}

/// A descendant of a process that has more filters of system calls than that has.
fn in_sandbox(ancestor: u32) -> Option<u32> {
    let (mut found, filters) = (vec![ancestor], filters(ancestor)?);
    while let Some(pid) = found.pop() {
        if self::filters(pid) > Some(filters) {
            return Some(pid);
        }
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        found.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
    }
    None
}

fn filters(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Seccomp_filters:"))?;
    line.trim().parse().ok()
}

/// The child that speaks to a client before that is let in is killed, and so is a session: their clients hear an end, and
/// the next is served.
#[test]
fn sshd_goes_on_when_its_children_are_killed() {
    same_on_both("sshd-kill", |stage| {
        let served = Served::new(stage);
        let mut stream =
            bounded(stage.client.enter(|| TcpStream::connect((SERVER, 22)).expect("a connection")));
        let mut banner = [0; 8];
        stream.read_exact(&mut banner).expect("a banner");
        stream.write_all(b"SSH-2.0-stranger\r\n").expect("an answer");
        let child = eventually_some("a child is in its sandbox", 20, || in_sandbox(served.sshd.pid()));
        stage.server.must(&["kill", "-9", &child.to_string()]);
        let mut rest = Vec::new();
        // An end, or a reset for what it had not read.
        let _ = stream.read_to_end(&mut rest);
        let mut said = String::from_utf8_lossy(&banner).into_owned();
        said += &served.shell(&served.ssh("root", "'kill -9 $PPID; sleep 60'"));
        said += &served.shell(&served.ssh("root", "'echo heard'"));
        stage.assert_served_past_the_kernel();
        said
    });
}
