//! `ringroad agent`: programs of users without privilege on the road, as far as the agent's file permits.

use std::fs;
use std::io::{Error, ErrorKind, Read};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use lab::{
    CLIENT, IFACE, Lab, Namespace, Running, SERVER, Signal, Site, eventually, product, product_for_all,
    stack_of,
};
use ringroad_tests::replacing::{CLIENTS, Load, all_frames_are_accounted_for, replaced, signal};
use ringroad_tests::{accepted, assert_no_connections, fetch_at_once, sha256};

/// Nobody, who may; and a number that nobody has, who may not.
const PERMITTED: &str = "--reuid=65534";
const STRANGER: &str = "--reuid=64321";

struct Agent {
    /// A copy of the command that every user can start.
    command: String,
    rules: String,
    socket: String,
    running: Running,
}

impl Agent {
    fn start(lab: &Lab, host: &Namespace, rules: &str) -> Self {
        let command = product_for_all(lab);
        fs::write(command.with_file_name("hello"), "hello from nobody").expect("a file");
        let rules = lab.file("agent.toml", rules).to_string_lossy().into_owned();
        let socket = lab.folder().join("agent.sock").to_string_lossy().into_owned();
        let running = Self::listening(host, &rules, &socket);
        Self { command: command.to_string_lossy().into_owned(), rules, socket, running }
    }

    fn listening(host: &Namespace, rules: &str, socket: &str) -> Running {
        let agent = host.spawn(&[product(), "agent", "--rules", rules, "--socket", socket]);
        eventually("the agent listens", 10, || fs::metadata(socket).is_ok_and(|m| m.mode_is_open()));
        agent
    }

    /// It ends; what it has handed out goes on.
    fn stop(&mut self) {
        self.running.signal(Signal::Kill);
        self.running.ended(20);
        fs::remove_file(&self.socket).expect("the socket that it has left");
    }

    fn start_again(&mut self, host: &Namespace) {
        self.running = Self::listening(host, &self.rules, &self.socket);
    }

    /// The command line of a program that a user puts on the road.
    fn run<'a>(&'a self, user: &'a str, variable: &'a str, program: &[&'a str]) -> Vec<&'a str> {
        let road = ["env", variable, &self.command, "run", "--strict", "--iface", IFACE, "--"];
        let user = ["setpriv", user, "--regid=65534", "--clear-groups", "--no-new-privs"];
        [&user[..], &road, program].concat()
    }

    fn variable(&self) -> String {
        format!("RINGROAD_AGENT={}", self.socket)
    }
}

trait Open {
    fn mode_is_open(&self) -> bool;
}

impl Open for fs::Metadata {
    /// Whether everybody may connect already.
    fn mode_is_open(&self) -> bool {
        self.permissions().mode() & 0o666 == 0o666
    }
}

fn web_server<'a>(folder: &'a str, port: &'a str) -> [&'a str; 8] {
    ["/usr/bin/python3", "-m", "http.server", "-d", folder, "-b", SERVER, port]
}

fn rules(more: &str) -> String {
    format!("[[allow]]\nuser = 65534\ninterface = [\"{IFACE}\"]\n{more}")
}

#[test]
fn a_user_without_privilege_serves_on_the_road() {
    let lab = Lab::new("agent");
    let (server, client) = lab.pair();
    let agent = Agent::start(&lab, &server, &rules(""));
    let before = server.counters();
    let folder = lab.folder().join("for-all").to_string_lossy().into_owned();
    let variable = agent.variable();
    let web = server.spawn(&agent.run(PERMITTED, &variable, &web_server(&folder, "8000")));
    eventually("the server has a stack that listens", 20, || listens(&server, &web, 8000));
    let url = format!("http://{SERVER}:8000/hello");
    for _ in 0..5 {
        assert_eq!(client.must(&["curl", "-sS", "--fail", "--max-time", "60", &url]), "hello from nobody");
    }
    assert_no_connections(&server, &before);
}

#[test]
fn who_is_not_permitted_is_told_so_in_one_line() {
    let lab = Lab::new("stranger");
    let (server, _client) = lab.pair();
    let agent = Agent::start(&lab, &server, &rules(""));
    let variable = agent.variable();
    let outcome = server.run(&agent.run(STRANGER, &variable, &["true"]));
    let expected = format!("ringroad: asking the agent for {IFACE}: user 64321 may not use {IFACE}\n");
    assert_eq!((outcome.code, outcome.stderr.as_str()), (1, expected.as_str()));
    // Without --strict the program runs, in the kernel.
    let words = agent.run(STRANGER, &variable, &["echo", "ran"]);
    let words: Vec<&str> = words.into_iter().filter(|word| *word != "--strict").collect();
    let outcome = server.run(&words);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (0, "ran\n"));
    assert!(
        outcome.stderr.contains("may not use") && outcome.stderr.lines().count() == 1,
        "{}",
        outcome.stderr
    );
}

/// The socket for superframes can send on every interface: only a rule that says so hands it out.
#[test]
fn superframes_are_sent_where_a_rule_says_so() {
    for (rule, expected) in [("", false), ("offload = true\n", true)] {
        let lab = Lab::new("agent-offload");
        let (server, client) = lab.pair();
        let agent = Agent::start(&lab, &server, &rules(rule));
        let folder = lab.folder().join("for-all").to_string_lossy().into_owned();
        fs::write(lab.folder().join("for-all/large"), vec![7; 4 << 20]).expect("a file");
        let variable = agent.variable();
        let web = server.spawn(&agent.run(PERMITTED, &variable, &web_server(&folder, "8000")));
        eventually("the server has a stack that listens", 20, || listens(&server, &web, 8000));
        let url = format!("http://{SERVER}:8000/large");
        client.must(&["curl", "-sS", "--fail", "--max-time", "60", "-o", "/dev/null", &url]);
        let stack = stack_of(&server, &web).expect("its stack");
        let sent = stack["counters"]["xdp_superframes_sent"].as_u64();
        assert_eq!(sent > Some(0), expected, "{stack}");
    }
}

/// RINGROAD_PROCESSES holds as far as the file permits.
#[test]
fn as_many_processes_have_places_as_the_file_permits() {
    let lab = Lab::new("agent-places");
    let (server, _client) = lab.pair();
    let agent = Agent::start(&lab, &server, &rules("processes = 40\n"));
    let variable = agent.variable();
    let asks = |places: &str| {
        let words = agent.run(PERMITTED, &variable, &["true"]);
        server.run(&[&["env", places][..], &words].concat())
    };
    let many = asks("RINGROAD_PROCESSES=41");
    let refused = "user nobody may have places for 40 processes, and wants 41 (RINGROAD_PROCESSES)";
    assert!(many.code == 1 && many.stderr.contains(refused), "{}", many.said());
    assert_eq!(asks("RINGROAD_PROCESSES=40").must(), "");
}

/// A port that the file does not name stays the kernel's: the program serves there as ever.
#[test]
fn a_port_that_is_not_permitted_stays_in_the_kernel() {
    let lab = Lab::new("limits");
    let (server, client) = lab.pair();
    let agent = Agent::start(&lab, &server, &rules("port = [8000]\n"));
    let folder = lab.folder().join("for-all").to_string_lossy().into_owned();
    let variable = agent.variable();
    let fetch = |port: u16| {
        let url = format!("http://{SERVER}:{port}/hello");
        client.must(&["curl", "-sS", "--fail", "--max-time", "60", &url])
    };
    for (port, kernels) in [("8000", 0), ("8001", 1)] {
        let web = server.spawn(&agent.run(PERMITTED, &variable, &web_server(&folder, port)));
        let port = port.parse().expect("a number");
        eventually("the server has a stack that listens", 20, || listens(&server, &web, port));
        let before = server.counters();
        assert_eq!(fetch(port), "hello from nobody");
        assert_eq!(server.counters().since(&before, "TcpPassiveOpens"), kernels, "port {port}");
        drop(web);
        eventually("the interface is free again", 20, || {
            !server.must(&["ip", "link", "show", IFACE]).contains("xdp")
        });
    }
}

/// What a program of one user left when it ended does not bar another, who is permitted, too.
#[test]
fn the_keeper_of_another_user_makes_way() {
    let lab = Lab::new("way");
    let (server, client) = lab.pair();
    let other = format!("[[allow]]\nuser = 64321\ninterface = [\"{IFACE}\"]\n");
    let agent = Agent::start(&lab, &server, &rules(&other));
    let listener = client.enter(|| TcpListener::bind((CLIENT, 9000)).expect("a listener"));
    let variable = agent.variable();
    let closes = "import socket; socket.create_connection(('10.77.0.2', 9000)).close()";
    let mut first = server.spawn(&agent.run(PERMITTED, &variable, &["/usr/bin/python3", "-c", closes]));
    let mut call = accepted(&listener);
    assert_eq!(first.ended(20), 0, "{}", first.said());
    assert_eq!(call.read(&mut [0; 8]).expect("its end"), 0);
    drop(call);
    assert!(server.must(&["ip", "link", "show", IFACE]).contains("xdp"), "TIME-WAIT is kept");
    server.run(&agent.run(STRANGER, &variable, &["true"])).must();
}

/// Has a user without privilege serve on port 80, from files in a folder that is that user's.
fn permit_port_80(lab: &Lab, server: &Namespace) {
    server.must(&["sysctl", "-qw", "net.ipv4.ip_unprivileged_port_start=80"]);
    server.must(&["chown", "-R", "65534:65534", &lab.folder().to_string_lossy()]);
}

/// nginx of a user without privilege, with four workers: they are replaced and killed under load, with the agent and while
/// there is none.
#[test]
fn workers_of_a_user_without_privilege_are_replaced_and_killed_under_load() {
    const WORKERS: usize = 4;
    let lab = Lab::new("agent-workers");
    let (server, client) = lab.pair();
    let permits = format!("address = [\"{SERVER}\"]\nport = [80]\n");
    let site = Site::with_workers(&lab, 80, &[], WORKERS);
    permit_port_80(&lab, &server);
    let mut agent = Agent::start(&lab, &server, &rules(&permits));
    let before = server.counters();
    let variable = agent.variable();
    let nginx = server.spawn(&agent.run(PERMITTED, &variable, &site.nginx()));
    eventually("nginx listens", 20, || listens(&server, &nginx, 80));
    let load = Load::default();
    let mut workers = replaced(&server, WORKERS, || nginx.children(), &[]);
    let failures = load.during(&client, || {
        load.is_served();
        assert_no_connections(&server, &before);
        for has_agent in [true, false] {
            if !has_agent {
                agent.stop();
            }
            nginx.signal(Signal::Hup);
            workers = replaced(&server, WORKERS, || nginx.children(), &workers);
            load.is_served();
            eventually("the old workers are gone", 20, || nginx.children().len() == WORKERS);
            signal(&server, "-KILL", &workers[..1]);
            load.is_served();
            eventually("another worker", 20, || {
                let all = nginx.children();
                all.len() == WORKERS && !all.contains(&workers[0])
            });
            workers = nginx.children();
        }
        agent.start_again(&server);
        load.is_served();
    });
    let cut = |e: &Error| matches!(e.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe);
    assert!(failures.len() <= 2 * CLIENTS && failures.iter().all(cut), "{failures:?}");
    eventually("frames that only stacks that live have", 10, || all_frames_are_accounted_for(&server));
}

/// A server of a user without privilege, by the command that is made of the laboratory's folder and that of its files.
fn serves_a_user(name: &str, command: impl FnOnce(&Lab, &str) -> Vec<String>) {
    let lab = Lab::new(name);
    let (server, client) = lab.pair();
    let site = Site::new(&lab, 1, &[("file", 100_000)]);
    let file = site.path("file");
    let command = command(&lab, file.trim_end_matches("/file"));
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    permit_port_80(&lab, &server);
    let agent = Agent::start(&lab, &server, &rules("port = [80]\n"));
    let variable = agent.variable();
    let before = server.counters();
    let web = server.spawn(&agent.run(PERMITTED, &variable, &command));
    eventually("it listens", 20, || listens(&server, &web, 80));
    fetch_at_once(&client, &format!("http://{SERVER}/file"), 8, &sha256(&client, &file));
    assert_no_connections(&server, &before);
}

#[test]
fn apaches_processes_serve_for_a_user_without_privilege() {
    serves_a_user("agent-prefork", |lab, www| {
        let (at, modules) = (lab.folder().display(), "/usr/lib/apache2/modules");
        let text = format!(
            "ServerRoot {at}\nServerName road\nLoadModule mpm_prefork_module {modules}/mod_mpm_prefork.so\n\
             LoadModule authz_core_module {modules}/mod_authz_core.so\nListen {SERVER}:80\nPidFile {at}/pid\n\
             ErrorLog {at}/error.log\nDocumentRoot {www}\nStartServers 4\nMinSpareServers 2\nMaxSpareServers 4\n\
             ServerLimit 12\nMaxRequestWorkers 12\n<Directory />\nRequire all granted\n</Directory>\n"
        );
        let conf = lab.file("apache.conf", text).to_string_lossy().into_owned();
        ["/usr/sbin/apache2", "-DFOREGROUND", "-f", &conf].map(str::to_owned).into()
    });
}

#[test]
fn a_process_for_each_connection_serves_for_a_user_without_privilege() {
    serves_a_user("agent-forks", |_, www| {
        let text = format!(
            "import http.server, socketserver\n\
             class Server(socketserver.ForkingMixIn, http.server.HTTPServer): pass\n\
             Handler = lambda *all: http.server.SimpleHTTPRequestHandler(*all, directory='{www}')\n\
             Server(('{SERVER}', 80), Handler).serve_forever()"
        );
        ["/usr/bin/python3", "-c", &text].map(str::to_owned).into()
    });
}

fn listens(host: &Namespace, program: &Running, port: u16) -> bool {
    let suffix = format!(":{port}");
    stack_of(host, program).is_some_and(|stack| {
        let sockets = stack["sockets"].as_array().cloned().unwrap_or_default();
        sockets.iter().any(|s| s["local"].as_str().is_some_and(|local| local.ends_with(&suffix)))
    })
}
