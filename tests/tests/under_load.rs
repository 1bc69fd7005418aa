//! Servers of many kinds under load, on the kernel and on the road: processes and threads for each connection, connections
//! that are handed on.

use std::collections::BTreeSet;
use std::fmt::Write;

use lab::{SERVER, eventually};
use ringroad_tests::matrix::{Stage, program, same_on_both};

/// Of what h2load or ab tell, what does not depend on time.
fn outcome(said: &str) -> String {
    let matters = ["status codes:", "Complete requests:", "Failed requests:", "Non-2xx", "Document Length:"];
    let lines = said.lines().filter(|line| matters.iter().any(|what| line.starts_with(what)));
    lines.fold(String::new(), |mut all, line| {
        let _ = writeln!(all, "{line}");
        all
    })
}

/// Connections that are kept, and one for each request.
fn asked_by_both(stage: &Stage, url: &str) -> String {
    let kept =
        stage.client.run_for(120, &["h2load", "--h1", "-n", "4000", "-c", "32", "-t", "1", url]).must();
    let once = stage.client.run_for(120, &["ab", "-q", "-n", "2000", "-c", "16", url]).must();
    outcome(&kept) + &outcome(&once)
}

#[test]
fn java_serves_many_clients() {
    same_on_both("java-load", |stage| {
        let _java = stage.serve(&["java", &program("Http.java"), "serve", SERVER, "8000"], 8000);
        let told = asked_by_both(stage, &format!("http://{SERVER}:8000/3000"));
        stage.assert_served_past_the_kernel();
        told
    });
}

/// More connections at once than the port has places for processes.
#[test]
fn pythons_socketserver_serves_many_clients() {
    same_on_both("socketserver", |stage| {
        let _server = stage.serve(&["python3", &program("forking_server.py"), SERVER, "7000"], 7000);
        let told =
            stage.client.run_for(180, &["python3", &program("forking_client.py"), SERVER, "7000"]).must();
        assert_eq!(told, "call 288\nask 2688\n");
        stage.assert_served_past_the_kernel();
        told
    });
}

/// The master accepts, and sends each connection to one of four workers.
#[test]
fn nodes_cluster_serves_many_clients() {
    same_on_both("node-cluster", |stage| {
        let _node = stage.serve(&["node", &program("cluster.js"), SERVER, "80"], 80);
        let url = format!("http://{SERVER}/3000");
        let workers = || {
            let ask = format!("for n in $(seq 16); do curl -sS --fail -D - -o /dev/null {url}; done");
            let said = stage.client.must(&["sh", "-c", &ask]);
            let named = said.lines().filter(|line| line.starts_with("x-worker"));
            named.map(str::to_owned).collect::<BTreeSet<_>>().len()
        };
        eventually("all four workers answer", 60, || workers() == 4);
        let told = asked_by_both(stage, &url);
        stage.assert_served_past_the_kernel();
        told
    });
}
