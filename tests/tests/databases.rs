//! PostgreSQL: a process for each connection, forked by one that listens, and none of them is root.

use std::fs;
use std::path::PathBuf;

use lab::SERVER;
use ringroad_tests::matrix::{Stage, program, same_on_both};
use ringroad_tests::on_kernel;

/// Where Debian keeps the programs of the newest PostgreSQL whose server is installed: of others there may be clients.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed");
    let number = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    let servers =
        versions.flatten().map(|entry| entry.path()).filter(|path| path.join("bin/initdb").exists());
    servers.max_by_key(number).expect("a server of PostgreSQL").join("bin")
}

/// Words that run one of its programs as its user.
fn as_postgres(name: &str, words: &[&str]) -> Vec<String> {
    let program = programs().join(name).to_string_lossy().into_owned();
    let user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"].map(str::to_owned);
    user.into_iter().chain([program]).chain(words.iter().map(|&word| word.to_owned())).collect()
}

/// An empty cluster that believes every client, in a folder of the laboratory.
fn cluster(stage: &Stage) -> String {
    let folder = stage.lab.folder().join("cluster").to_string_lossy().into_owned();
    let make =
        format!("install -d -o postgres -g postgres {folder} && chmod 755 {}", stage.lab.folder().display());
    stage.server.must(&["sh", "-c", &make]);
    let init = as_postgres("initdb", &["-D", &folder, "-A", "trust", "-N", "--no-locale", "-E", "UTF8"]);
    stage.server.run_for(60, &words(&init)).must();
    fs::write(stage.lab.folder().join("cluster/pg_hba.conf"), "host all all 10.77.0.0/24 trust\n")
        .expect("written");
    folder
}

fn words(list: &[String]) -> Vec<&str> {
    list.iter().map(String::as_str).collect()
}

/// The words that start the server, on a cluster of its own.
fn server(stage: &Stage) -> Vec<String> {
    let folder = cluster(stage);
    let listen = format!("listen_addresses={SERVER}");
    let flags = ["-D", &folder, "-c", &listen, "-c", "unix_socket_directories=", "-c", "fsync=off"];
    as_postgres("postgres", &flags)
}

#[test]
fn psql_and_pgbench_ask() {
    same_on_both("psql", |stage| {
        let _server = on_kernel(&stage.server, &words(&server(stage)), 5432);
        let (script, folder) = (program("postgresql_client.sh"), programs());
        let said = stage.ask_for(120, &["bash", &script, SERVER, &folder.to_string_lossy()]);
        assert!(said.starts_with("number of transactions actually processed: 1600/1600"), "{said}");
        stage.assert_asked_past_the_kernel();
        said
    });
}

#[test]
fn postgresql_serves_each_connection_by_a_process_of_its_own() {
    same_on_both("postgresql", |stage| {
        let _server = stage.serve(&words(&server(stage)), 5432);
        let (script, folder) = (program("postgresql_client.sh"), programs());
        let ask = ["bash", &script, SERVER, &folder.to_string_lossy()];
        let said = stage.client.run_for(120, &ask).must();
        assert!(said.starts_with("number of transactions actually processed: 1600/1600"), "{said}");
        stage.assert_served_past_the_kernel();
        said
    });
}
