//! Both ends of a connection in one program, at an address of its own host: inside the stack.

use lab::{Lab, Namespace, Running, SERVER, SERVER6, eventually, must_have_stack, stack_of};
use ringroad_tests::{assert_bypassed, ringroad};

/// A server's thread and a client: so many bytes one way over TCP, datagrams there and back. Then it stays.
const PROGRAM: &str = "
import hashlib, select, socket, sys, threading, time
def stay(*what): sys.__excepthook__(*what); time.sleep(600)
sys.excepthook = stay
address, family = sys.argv[1], socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET
listener = socket.socket(family, socket.SOCK_STREAM)
listener.bind((address, 7000)); listener.listen(8)
echo = socket.socket(family, socket.SOCK_DGRAM)
echo.bind((address, 7001))
sums = []
def serve():
    connection, _ = listener.accept()
    digest = hashlib.sha256()
    while data := connection.recv(1 << 16):
        digest.update(data)
    sums.append(digest.hexdigest())
    connection.sendall(b'done'); connection.close()
def answer():
    while True:
        data, peer = echo.recvfrom(2048)
        echo.sendto(data, peer)
threads = [threading.Thread(target=f, daemon=True) for f in (serve, answer)]
# What it waits for is the stack's from here on.
select.select([listener, echo], [], [], 0)
for t in threads: t.start()
data = bytes(range(251)) * 100_000
client = socket.create_connection((address, 7000), timeout=30)
client.sendall(data); client.shutdown(socket.SHUT_WR)
assert client.recv(10) == b'done' and client.recv(10) == b''
threads[0].join()
assert sums == [hashlib.sha256(data).hexdigest()]
ask = socket.socket(family, socket.SOCK_DGRAM); ask.settimeout(20)
for n in range(1000):
    ask.sendto(b'%d' % n, (address, 7001))
    assert ask.recv(2048) == b'%d' % n, n
print('all is well', flush=True)
time.sleep(600)
";

fn finished(host: &Namespace, command: &[&str]) -> Running {
    let mut program = host.spawn(command);
    eventually("the program has talked to itself", 60, || {
        let said = program.said();
        assert!(program.is_running(), "it has ended:\n{said}");
        assert!(!said.contains("Traceback"), "{:#?}", stack_of(host, &program));
        said.contains("all is well")
    });
    program
}

#[test]
fn a_program_talks_to_itself_inside_its_stack() {
    for address in [SERVER, SERVER6] {
        let lab = Lab::new("home");
        let (server, _client) = lab.dual_pair();
        let file = lab.file("talk.py", PROGRAM);
        let words = ["python3", file.to_str().unwrap(), address];
        let before = server.counters();
        let program = finished(&server, &ringroad(&["--strict"], &words));
        assert_bypassed(&server, &before);
        let counters = &must_have_stack(&server, &program)["counters"];
        let counted = |name: &str| counters[name].as_u64().unwrap_or_else(|| panic!("{name} in {counters}"));
        assert!(counted("home_frames") > 2000 && counted("tx_frames") == 0, "{counters}");
    }
}
