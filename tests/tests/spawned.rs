//! Connections that go along to programs by `posix_spawn`: put in place by file actions, or made to outlive an exec; and what
//! their parent does with them afterwards.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use lab::{Lab, SERVER};
use ringroad_tests::{assert_bypassed, bounded, on_road};

/// Serves connections, one after the other, by the program that `start` begins.
fn serves(name: &str, start: &str, said: &[u8], answered: &[u8]) {
    let lab = Lab::new(name);
    let (server, client) = lab.pair();
    let script = format!(
        "
import os, socket, subprocess
SED = ['sed', '-u', 's/^/heard /']
listener = socket.create_server(('0.0.0.0', 80), backlog=8)
while True:
    peer, _ = listener.accept()
    {start}
    peer.close()
"
    );
    let _program = on_road(&server, &["--strict"], &["python3", "-c", &script], 80);
    let before = server.counters();
    for _ in 0..3 {
        let mut stream = bounded(client.enter(|| TcpStream::connect((SERVER, 80)).expect("a connection")));
        stream.write_all(said).expect("all is taken");
        stream.shutdown(Shutdown::Write).expect("an end");
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).expect("an answer, and its end");
        assert_eq!(String::from_utf8_lossy(&heard), String::from_utf8_lossy(answered));
    }
    assert_bypassed(&server, &before);
}

const LINES: &[u8] = b"one\ntwo\n";
const HEARD: &[u8] = b"heard one\nheard two\n";

#[test]
fn file_actions_put_a_connection_in_place_whatever_the_environment() {
    let start = "fd = peer.fileno()
    actions = [(os.POSIX_SPAWN_DUP2, fd, n) for n in range(3)] + [(os.POSIX_SPAWN_CLOSE, fd)]
    os.waitpid(os.posix_spawn('/bin/sed', SED, {}, file_actions=actions), 0)";
    serves("spawn-actions", start, LINES, HEARD);
}

/// Without files to be closed, subprocess uses posix_spawn; with them, fork and exec.
#[test]
fn subprocesses_have_connections_for_standard_streams() {
    for closes in ["False", "True"] {
        let start =
            format!("subprocess.Popen(['/bin/sed'] + SED[1:], stdin=peer, stdout=peer, close_fds={closes})");
        serves("spawn-streams", &start, LINES, HEARD);
    }
}

#[test]
fn a_program_finds_by_its_number_what_was_made_to_outlive_an_exec() {
    let begin = "os.set_inheritable(peer.fileno(), True)
    command = '/bin/sed -u \"s/^/heard /\" <&%d >&%d' % (peer.fileno(), peer.fileno())
    ";
    let starts = [
        "os.waitpid(os.posix_spawn('/bin/sh', ['sh', '-c', command], os.environ), 0)",
        "subprocess.run(['/bin/sh', '-c', command], pass_fds=[peer.fileno()])",
        "subprocess.run(['/bin/sh', '-c', command], close_fds=False)",
    ];
    for start in starts {
        serves("spawn-number", &format!("{begin}{start}"), LINES, HEARD);
    }
}

/// A shell and its children use it in between: each gives it back.
#[test]
fn a_parent_goes_on_with_its_connection_when_the_program_has_ended() {
    let start = "
    for n in range(2):
        assert peer.recv(3, socket.MSG_WAITALL) == b'one'
        subprocess.run(['/bin/sh', '-c', 'head -c 4; echo; head -c 2'], stdin=peer, stdout=peer, close_fds=False)
        peer.sendall(b'and ' + peer.recv(2, socket.MSG_WAITALL) + b'. ')";
    let (said, heard) = (b"one two thr".repeat(2), b" two\n tand hr. ".repeat(2));
    serves("spawn-back", start, &said, &heard);
}
