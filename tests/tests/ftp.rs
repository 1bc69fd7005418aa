//! vsftpd: each session is a pair of processes of its own, of which one is in a sandbox, and neither may have more address
//! space than 200 MB.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use lab::{Lab, Namespace, SERVER};
use ringroad_tests::{bounded, on_road};

const SIZE: usize = 3_000_000;

/// A folder that anybody may read, and a configuration of vsftpd's with that for its root.
fn site(folder: &Path, data: &[u8]) -> String {
    let root = folder.join("ftp");
    fs::create_dir(&root).expect("a folder");
    fs::write(root.join("file"), data).expect("a file");
    for path in [folder, &root] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("a folder for all");
    }
    let path = folder.join("vsftpd.conf");
    let text = format!(
        "listen=YES\nbackground=NO\nanonymous_enable=YES\nlocal_enable=NO\nanon_root={}\n",
        root.display()
    );
    fs::write(&path, text).expect("a file");
    path.to_string_lossy().into_owned()
}

/// One client's session, that it has open.
struct Session(BufReader<TcpStream>);

impl Session {
    fn open(client: &Namespace) -> Self {
        let stream = client.enter(|| TcpStream::connect((SERVER, 21)).expect("a connection"));
        let mut session = Self(BufReader::new(bounded(stream)));
        session.hears("220");
        session.says("USER anonymous", "331");
        session.says("PASS x@example.org", "230");
        session
    }

    fn hears(&mut self, code: &str) {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("an answer");
        assert!(line.starts_with(code), "{line}");
    }

    fn says(&mut self, words: &str, code: &str) {
        self.0.get_mut().write_all(format!("{words}\r\n").as_bytes()).expect("it is taken");
        self.hears(code);
    }
}

#[test]
fn vsftpd_serves_one_client_after_another_and_several_at_once() {
    let lab = Lab::new("vsftpd");
    let (server, client) = lab.pair();
    let data: Vec<u8> = (0..SIZE).map(|n| (n / 251 * 7 + n) as u8).collect();
    let conf = site(lab.folder(), &data);
    let _program = on_road(&server, &["--strict"], &["/usr/sbin/vsftpd", &conf], 21);
    let before = server.counters();
    let folder = lab.folder().to_owned();
    let fetch = |name: &str| {
        let out = folder.join(name).to_string_lossy().into_owned();
        client.must(&["curl", "-sS", "--max-time", "50", "-o", &out, &format!("ftp://{SERVER}/file")]);
        assert!(fs::read(&out).expect("what was fetched") == data, "{name}: other bytes");
    };
    for n in 0..3 {
        fetch(&format!("after-{n}"));
    }
    let mut sessions: Vec<Session> = (0..3).map(|_| Session::open(&client)).collect();
    std::thread::scope(|scope| {
        let fetch = &fetch;
        for n in 0..2 {
            scope.spawn(move || fetch(&format!("beside-{n}")));
        }
    });
    for session in &mut sessions {
        session.says("SIZE file", "213");
        session.says("QUIT", "221");
    }
    // What a process in a sandbox listens for is the kernel's: the five files came by that.
    assert_eq!(server.counters().since(&before, "TcpPassiveOpens"), 5);
}
