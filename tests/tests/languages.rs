//! Programs in languages that bring their own event loops and threads, as servers and as clients.

use lab::SERVER;
use ringroad_tests::matrix::{Stage, program, same_on_both};
use ringroad_tests::on_kernel;

/// A server and a client in Python, one of them in question.
fn python(stage: &Stage, name: &str, server_in_question: bool) -> String {
    let (server, client) = (program(&format!("{name}_server.py")), program(&format!("{name}_client.py")));
    if server_in_question {
        let _server = stage.serve(&["python3", &server, SERVER, "7000"], 7000);
        let said = stage.client.must(&["python3", &client, SERVER, "7000"]);
        stage.assert_served_past_the_kernel();
        said
    } else {
        let _server = on_kernel(&stage.server, &["python3", &server, SERVER, "7000"], 7000);
        let said = stage.ask(&["python3", &client, SERVER, "7000"]);
        stage.assert_asked_past_the_kernel();
        said
    }
}

#[test]
fn asyncio_serves() {
    same_on_both("asyncio", |stage| python(stage, "asyncio", true));
}

#[test]
fn asyncio_asks() {
    same_on_both("asyncio", |stage| python(stage, "asyncio", false));
}

#[test]
fn a_thread_a_connection_serves() {
    same_on_both("threads", |stage| python(stage, "threads", true));
}

#[test]
fn threads_ask() {
    same_on_both("threads", |stage| python(stage, "threads", false));
}

/// libuv: it asks for an io_uring, is refused, and uses epoll.
#[test]
fn node_serves() {
    same_on_both("node", |stage| {
        let _node = stage.serve(&["node", &program("node_server.js"), SERVER, "8000"], 8000);
        let body = stage.lab.file("body", vec![b'b'; 300_000]);
        let body = format!("@{}", body.display());
        let url = |path: &str| format!("http://{SERVER}:8000/{path}");
        let posted = ["curl", "-sS", "--fail", "--max-time", "20", "-D", "-", "--data-binary", &body];
        let said = stage.client.must(&[&posted[..], &[&url("0")]].concat());
        let sum = said.lines().find(|line| line.starts_with("x-sum")).unwrap_or_default().to_owned();
        let urls = format!("{}[1-40]", url("100000?"));
        let many = ["curl", "-sS", "--fail", "--no-progress-meter", "--max-time", "20", "-Z", &urls];
        let length = stage.client.must(&many).len();
        stage.assert_served_past_the_kernel();
        format!("{sum} {length}")
    });
}

#[test]
fn node_asks() {
    same_on_both("node", |stage| {
        let _node = on_kernel(&stage.server, &["node", &program("node_server.js"), SERVER, "8000"], 8000);
        let said = stage.ask(&["node", &program("node_client.js"), &format!("http://{SERVER}:8000/500000")]);
        stage.assert_asked_past_the_kernel();
        said
    });
}

/// A server and a client of one kind: the one in question on the road, the other on the kernel. What clients said.
fn either(stage: &Stage, server_in_question: bool, serving: &[&str], asking: &[&[&str]]) -> Vec<String> {
    if server_in_question {
        let _server = stage.serve(serving, 8000);
        let said = asking.iter().map(|ask| stage.client.must(ask)).collect();
        stage.assert_served_past_the_kernel();
        said
    } else {
        let _server = on_kernel(&stage.server, serving, 8000);
        let said = asking.iter().map(|ask| stage.ask(ask)).collect();
        stage.assert_asked_past_the_kernel();
        said
    }
}

/// The virtual machine waits by epoll, and interrupts threads that wait by signals.
fn java(stage: &Stage, server_in_question: bool) -> String {
    let java = program("Http.java");
    let serving = ["java", &java, "serve", SERVER, "8000"];
    let urls = [0, 1000, 500_000].map(|size| format!("http://{SERVER}:8000/{size}"));
    let asking = [&["java", &java, "ask"][..], &urls.each_ref().map(String::as_str)].concat();
    either(stage, server_in_question, &serving, &[&asking]).concat()
}

#[test]
fn java_serves() {
    same_on_both("java", |stage| java(stage, true));
}

#[test]
fn java_asks() {
    same_on_both("java", |stage| java(stage, false));
}

/// tokio: edge-triggered epoll, an eventfd among its descriptors, and threads that take tasks from each other.
fn tokio(stage: &Stage, server_in_question: bool) -> String {
    let program = env!("CARGO_BIN_EXE_tokio_http");
    let serving = [program, "serve", SERVER, "8000"];
    let urls = [0, 1000, 500_000, 7, 70_000].map(|size| format!("http://{SERVER}:8000/{size}"));
    let asking = [&[program, "ask"][..], &urls.each_ref().map(String::as_str)].concat();
    let load = ["h2load", "--h1", "-n", "2000", "-c", "20", "-t", "1", &urls[1]];
    let asked: &[&[&str]] = if server_in_question { &[&asking, &load] } else { &[&asking] };
    let said = either(stage, server_in_question, &serving, asked);
    // Of the load only what became of the requests is the same every time.
    let (said, load) = said.split_first().expect("what the client said");
    let status = load.iter().flat_map(|text| text.lines()).filter(|line| line.starts_with("status"));
    said.to_owned() + &status.collect::<String>()
}

#[test]
fn tokio_serves() {
    same_on_both("tokio", |stage| tokio(stage, true));
}

#[test]
fn tokio_asks() {
    same_on_both("tokio", |stage| tokio(stage, false));
}
