//! What the stacks tell of themselves: sockets, everything of one stack, and a picture in a terminal.

use lab::{CLIENT, IFACE, Lab, Namespace, Running, SERVER, Site, eventually_some, product};
use ringroad_tests::on_road;
use serde_json::Value;

const FILES: &[(&str, usize)] = &[("small.bin", 612)];

/// A server that is asked all the time.
fn busy(lab: &Lab, port: u16) -> (Namespace, [Running; 2]) {
    let (server, client) = lab.pair();
    let site = Site::new(lab, port, FILES);
    let nginx = on_road(&server, &[], &site.nginx(), port);
    let url = format!("http://{SERVER}:{port}/small.bin");
    let load = client.spawn(&["wrk", "-t1", "-c4", "-d60", &url]);
    (server, [nginx, load])
}

fn sockets(server: &Namespace, flags: &[&str]) -> Vec<Value> {
    let text = server.must(&[&[product(), "sockets", "--json"], flags].concat());
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

#[test]
fn sockets_are_listed_with_their_process_and_everything_is_dumped() {
    let lab = Lab::new("looking");
    let (server, _running) = busy(&lab, 8111);
    let open = eventually_some("four connections", 10, || {
        let open: Vec<Value> =
            sockets(&server, &["-t"]).into_iter().filter(|s| s["bytes_out"] != 0).collect();
        (open.len() == 4).then_some(open)
    });
    for socket in &open {
        let remote = socket["remote"].as_str().unwrap_or_default();
        assert!(socket["state"] == "ESTABLISHED" && remote.starts_with(CLIENT), "{socket}");
        assert!(socket["command"].as_str().is_some_and(|c| c.contains("nginx")), "{socket}");
    }
    let listening = sockets(&server, &["-l"]);
    assert!(listening.iter().any(|s| s["local"] == "0.0.0.0:8111"), "{listening:?}");
    assert!(listening.iter().all(|s| s["state"] == "LISTEN"), "{listening:?}");
    let pid = open[0]["pid"].to_string();
    let dump: Value = serde_json::from_str(&server.must(&[product(), "dump", &pid, "--json"])).expect("JSON");
    assert_eq!(dump["stack"]["sockets"].as_array().map(Vec::len), Some(5), "{dump}");
    assert_eq!(dump["tables"]["sockets"], 5);
    let frames: u64 = ["free", "elsewhere", "held", "held and being sent", "being sent"]
        .iter()
        .map(|who| dump["frames"][who].as_u64().expect("a number of frames"))
        .sum();
    let port: u64 = dump["port_frames"].as_object().expect("frames").values().filter_map(Value::as_u64).sum();
    assert_eq!((frames, port), (16384, 16384));
    let has = |list: &str, what: &str| {
        let lines = dump[list].as_array().cloned().unwrap_or_default();
        lines.iter().any(|line| line.as_str().is_some_and(|line| line.contains(what)))
    };
    assert!(has("addresses", &format!("{SERVER}/24")) && has("routes", "10.77.0.0/24"), "{dump}");
    assert!(has("neighbours", CLIENT), "{dump}");
    let text = server.must(&[product(), "dump", &pid]);
    for words in ["FRAMES", "OF THE PORT", "TABLE", "STEERED", "NEIGHBOUR", "rx_frames", "ESTAB"] {
        assert!(text.contains(words), "{words} is not in\n{text}");
    }
    assert_eq!(server.run(&[product(), "dump", "1"]).code, 1);
}

/// A server on the road that is the first process of a PID namespace of its own.
fn alone(host: &Namespace, address: &str, port: &str) -> Running {
    let road = [product(), "run", "--strict", "--iface", IFACE, "--"];
    let namespace = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let program = ["/usr/bin/python3", "-m", "http.server", "-b", address, port];
    host.spawn(&[&namespace[..], &road, &program].concat())
}

/// Containers have PID namespaces of their own, and may share the directory of control sockets with the host.
#[test]
fn processes_of_one_number_in_two_pid_namespaces_are_two() {
    let lab = Lab::new("namesakes");
    let (server, client) = lab.pair();
    let _both = [alone(&server, SERVER, "8113"), alone(&client, CLIENT, "8114")];
    let ends = [format!("{SERVER}:8113"), format!("{CLIENT}:8114")];
    let pid_of = |listening: &[Value], end: &str| {
        listening.iter().find(|socket| socket["local"] == end).and_then(|socket| socket["pid"].as_u64())
    };
    let pids = eventually_some("both are listed", 20, || {
        let listening = sockets(&server, &["-l"]);
        Some([pid_of(&listening, &ends[0])?, pid_of(&listening, &ends[1])?])
    });
    assert!(pids[0] != pids[1] && pids.iter().all(|pid| *pid > 1), "{pids:?}");
    // Where each is the first process that is who is asked; the other is one that does not show there.
    for (pid, (own, other)) in pids.iter().zip([(&ends[0], &ends[1]), (&ends[1], &ends[0])]) {
        let pid = pid.to_string();
        let inside = ["nsenter", "--target", &pid, "--pid", "--mount", product(), "sockets", "-l", "--json"];
        let lines = server.must(&inside);
        let listening: Vec<Value> =
            lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(pid_of(&listening, own), Some(1), "{listening:?}");
        assert_eq!(pid_of(&listening, other), Some(0), "{listening:?}");
    }
}

/// Runs a command in a terminal of 80 by 24, writes a key, or sends SIGTERM, when what it shows has the words, and tells how it ended and
/// whether the terminal is as it was.
const TERMINAL: &str = r#"
import fcntl, os, pty, select, signal, struct, sys, termios
key, words, command = sys.argv[1].encode().decode("unicode_escape").encode(), sys.argv[2].encode(), sys.argv[3:]
child, fd = pty.fork()
if child == 0:
    sys.stdin.readline()
    os.execvp(command[0], command)
fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
before = termios.tcgetattr(fd)[3]
os.write(fd, b"\n")
shown, sent = b"", False
while select.select([fd], [], [], 20)[0]:
    try:
        more = os.read(fd, 65536)
    except OSError:
        break
    shown += more
    if not sent and all(word in shown for word in words.split(b"|")):
        sent = True
        os.kill(child, signal.SIGTERM) if key == b"TERM" else os.write(fd, key)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
entered, left = shown.rfind(b"\x1b[?1049h"), shown.rfind(b"\x1b[?1049l")
print(code, sent, termios.tcgetattr(fd)[3] == before, 0 <= entered < left)
"#;

#[test]
fn top_draws_in_a_terminal_and_leaves_it_as_it_was() {
    let lab = Lab::new("top");
    let (server, _running) = busy(&lab, 8112);
    for key in ["q", "\\x03", "TERM"] {
        let command = ["python3", "-c", TERMINAL, key, "ringroad|COMMAND|ESTAB|nginx", product(), "top"];
        let ended = server.run_for(40, &command).must();
        assert_eq!(ended.trim(), "0 True True True", "{key}");
    }
    let nowhere = server.run(&[product(), "top"]);
    assert!(nowhere.code == 1 && nowhere.stderr.contains("needs a terminal"), "{}", nowhere.said());
}
