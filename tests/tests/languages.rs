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
