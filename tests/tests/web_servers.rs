//! Web servers and proxies in the ways they are set up: TLS, HTTP/2, upstreams, streams and datagrams passed on, with
//! and without SO_REUSEPORT, sendfile and splice.

use std::fmt::Write as _;

use lab::{CLIENT, Running, SERVER, Site, Where, eventually, stacks};
use ringroad_tests::matrix::{Stage, program, same_on_both};
use ringroad_tests::{fetched_sha256, iperf3_listens, on_kernel, sha256};

const FILES: &[(&str, usize)] = &[("small.bin", 612), ("big.bin", 1 << 20)];

/// A web site at the client's host, on the kernel, for proxies to ask.
fn upstream(stage: &Stage) -> (Site, Running) {
    let site = Site::new(&stage.lab, 8081, FILES);
    let nginx = on_kernel(&stage.client, &site.nginx(), 8081);
    (site, nginx)
}

/// The sum of what each URL gives, which must be the file's; how many these were.
fn all_give(stage: &Stage, urls: &[&str], file: &str) -> String {
    let expected = sha256(&stage.client, file);
    for url in urls {
        assert_eq!(fetched_sha256(&stage.client, url), expected, "{url}");
    }
    format!("{} URLs\n", urls.len())
}

/// A self-signed certificate and its key.
fn certificate(stage: &Stage) -> (String, String) {
    let path = |name: &str| stage.lab.folder().join(name).to_string_lossy().into_owned();
    let (key, certificate) = (path("key.pem"), path("cert.pem"));
    let make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    stage.server.must(
        &[&make[..], &["-subj", "/CN=road", "-days", "2", "-keyout", &key, "-out", &certificate]].concat(),
    );
    (key, certificate)
}

fn nginx_conf(stage: &Stage, www: &str) -> String {
    let (key, certificate) = certificate(stage);
    let at = stage.lab.folder().display().to_string();
    let mut conf = format!(
        "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n\
         daemon off; worker_processes 2; pid {at}/matrix.pid; error_log stderr notice; user nobody nogroup;\n\
         events {{ worker_connections 1024; }}\nhttp {{ access_log off;\n"
    );
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        let _ = writeln!(conf, "{kind}_temp_path {at}/m-{kind};");
    }
    let proxy = "location /up/ { proxy_pass http://back/; proxy_http_version 1.1; proxy_set_header Connection \"\"; }";
    let _ = write!(
        conf,
        "upstream back {{ server {CLIENT}:8081; keepalive 8; }}\n\
         server {{ listen 80 reuseport; sendfile on; root {www}; {proxy} }}\n\
         server {{ listen 8080; sendfile off; root {www}; {proxy} }}\n\
         server {{ listen 443 ssl http2 reuseport; ssl_certificate {certificate}; ssl_certificate_key {key}; \
         root {www}; {proxy} }}\n}}\n\
         stream {{ server {{ listen 9000; proxy_pass {CLIENT}:8081; }}\n\
         server {{ listen 5300 udp reuseport; proxy_pass {CLIENT}:5301; proxy_timeout 5s; }} }}\n"
    );
    conf
}

#[test]
fn nginx_serves_in_every_way() {
    same_on_both("nginx-ways", |stage| {
        let (site, _upstream) = upstream(stage);
        let file = site.path("big.bin");
        let www = file.trim_end_matches("/big.bin");
        let conf = stage.lab.file("matrix.conf", nginx_conf(stage, www));
        let conf = conf.to_string_lossy().into_owned();
        let reverse = stage.client.spawn(&["python3", &program("udp_reverse.py"), CLIENT, "5301"]);
        lab::eventually("the datagram server is up", 10, || reverse.said().contains("up"));
        let _nginx = stage.serve(&["nginx", "-e", "stderr", "-c", &conf], 9000);
        let urls = [
            format!("http://{SERVER}/big.bin"),
            format!("http://{SERVER}/up/big.bin"),
            format!("http://{SERVER}:8080/big.bin"),
            format!("http://{SERVER}:8080/up/big.bin"),
            format!("http://{SERVER}:9000/big.bin"),
        ];
        let mut told = all_give(stage, &urls.each_ref().map(String::as_str), &file);
        for (version, path) in
            [("1.1", "big.bin"), ("2", "big.bin"), ("1.1", "up/big.bin"), ("2", "up/big.bin")]
        {
            let fetch = format!(
                "curl -ksS --fail --max-time 20 --http{version} -o fetched -w '%{{http_version}} %{{size_download}}' \
                 https://{SERVER}/{path} && cmp fetched {file}"
            );
            let folder = stage.lab.folder().display().to_string();
            let said = stage.client.must(&["sh", "-c", &format!("cd {folder} && {fetch}")]);
            let _ = writeln!(told, "{path}: {said}");
        }
        let load = format!("h2load -n 1000 -c 10 -m 10 -t 1 https://{SERVER}/small.bin | grep ^status");
        told += &stage.client.must(&["sh", "-c", &load]);
        told += &stage.client.must(&["python3", &program("udp_reverse_client.py"), SERVER, "5300"]);
        stage.assert_served_past_the_kernel();
        told
    });
}

#[test]
fn h2load_and_curl_ask_over_tls() {
    same_on_both("h2-asks", |stage| {
        let (key, certificate) = certificate(stage);
        let http = format!(
            "server {{ listen 443 ssl http2; ssl_certificate {certificate}; ssl_certificate_key {key}; \
             location / {{ return 200 hello; }} }}"
        );
        let site = Site::with(&stage.lab, 80, FILES, &http);
        let _nginx = on_kernel(&stage.server, &site.nginx(), 443);
        let url = format!("https://{SERVER}/");
        let mut told = stage.ask(&["curl", "-ksS", "--http2", "--max-time", "20", &url, &url]);
        let load = stage.ask(&["h2load", "-n", "1000", "-c", "10", "-m", "10", "-t", "2", &url]);
        told.extend(load.lines().filter(|line| line.starts_with("status")));
        stage.assert_asked_past_the_kernel();
        told
    });
}

fn haproxy_conf() -> String {
    let front = |name: &str, mode: &str, port: u16| {
        format!(
            "frontend {name}\n  mode {mode}\n  bind {SERVER}:{port}\n  default_backend {name}-to\n\
             backend {name}-to\n  mode {mode}\n  server up {CLIENT}:8081\n"
        )
    };
    let defaults = "global\n  nbthread 4\ndefaults\n  timeout connect 5s\n  timeout client 20s\n  timeout server 20s\n  \
                    option splice-request\n  option splice-response\n";
    format!("{defaults}{}{}", front("web", "http", 80), front("any", "tcp", 9000))
}

/// Four threads; what it passes on goes through pipes.
#[test]
fn haproxy_passes_on() {
    same_on_both("haproxy", |stage| {
        let (site, _upstream) = upstream(stage);
        let conf = stage.lab.file("haproxy.cfg", haproxy_conf());
        let _haproxy = stage.serve(&["haproxy", "-db", "-f", &conf.to_string_lossy()], 9000);
        let (web, any) = (format!("http://{SERVER}/big.bin"), format!("http://{SERVER}:9000/big.bin"));
        let mut told = all_give(stage, &[&web, &any, &web, &any], &site.path("big.bin"));
        for port in [80, 9000] {
            let load =
                format!("h2load --h1 -n 500 -c 10 -t 1 http://{SERVER}:{port}/small.bin | grep ^status");
            told += &stage.client.must(&["sh", "-c", &load]);
        }
        if stage.place == Where::Road {
            let refused =
                stacks(&stage.server).iter().filter_map(|s| s["bypass"]["splice"].as_u64()).sum::<u64>();
            assert_eq!(refused, 0, "splices that were refused");
        }
        stage.assert_served_past_the_kernel();
        told
    });
}

/// Apache with a module that says how it works on many connections, by at least so many processes, each of which has a
/// stack; what its clients are told.
fn apache(stage: &Stage, (mpm, processes): (&str, usize), ways: &str, folders: &[&str]) -> String {
    let site = Site::new(&stage.lab, 1, FILES);
    let file = site.path("big.bin");
    let www = file.trim_end_matches("/big.bin");
    let at = stage.lab.folder().display().to_string();
    let modules = "/usr/lib/apache2/modules";
    let conf = format!(
        "ServerRoot {at}\nServerName road\nLoadModule mpm_{mpm}_module {modules}/mod_mpm_{mpm}.so\n\
         LoadModule authz_core_module {modules}/mod_authz_core.so\nListen {SERVER}:80\nPidFile {at}/pid\n\
         ErrorLog /dev/stderr\nUser nobody\nGroup nogroup\nDocumentRoot {www}\nMaxKeepAliveRequests 0\n\
         {ways}\nEnableMMAP off\n<Directory />\nRequire all granted\n</Directory>\n"
    );
    let conf = stage.lab.file("apache.conf", conf);
    let apache = stage.serve(&["apache2", "-DFOREGROUND", "-f", &conf.to_string_lossy()], 80);
    if stage.place == Where::Road {
        eventually("a stack in every process", 60, || {
            let with: Vec<u64> = stacks(&stage.server).iter().filter_map(|s| s["pid"].as_u64()).collect();
            let children = apache.children();
            children.len() >= processes && children.iter().all(|pid| with.contains(&u64::from(*pid)))
        });
    }
    let mut told = String::new();
    for folder in folders {
        let url = format!("http://{SERVER}{folder}big.bin");
        told += &all_give(stage, &[&url, &url], &file);
        let load = format!("h2load --h1 -n 500 -c 10 -t 1 http://{SERVER}{folder}small.bin | grep ^status");
        told += &stage.client.must(&["sh", "-c", &load]);
    }
    stage.assert_served_past_the_kernel();
    told
}

/// The event MPM: two processes with threads, accept in one of them, sendfile on and off.
#[test]
fn apache_serves_by_events() {
    for sendfile in ["On", "Off"] {
        let ways = format!(
            "StartServers 2\nThreadsPerChild 16\nServerLimit 2\nMaxRequestWorkers 32\nEnableSendfile {sendfile}"
        );
        same_on_both("apache", |stage| apache(stage, ("event", 2), &ways, &["/"]));
    }
}

/// The prefork MPM: a process for each connection, all of which accept; more are started as they are needed.
#[test]
fn apache_serves_by_processes() {
    let ways = "StartServers 4\nMinSpareServers 2\nMaxSpareServers 4\nServerLimit 12\nMaxRequestWorkers 12";
    same_on_both("apache-fork", |stage| apache(stage, ("prefork", 4), ways, &["/"]));
}

/// As many as a server has in earnest, with nothing said of it: each waits for connections in a stack of its own.
#[test]
fn apache_serves_by_sixty_processes() {
    const PROCESSES: usize = 60;
    let ways = format!(
        "StartServers {PROCESSES}\nMinSpareServers {PROCESSES}\nMaxSpareServers {PROCESSES}\n\
         ServerLimit {PROCESSES}\nMaxRequestWorkers {PROCESSES}"
    );
    same_on_both("apache-sixty", |stage| apache(stage, ("prefork", PROCESSES), &ways, &["/"]));
}

/// mod_proxy keeps connections to the server behind it, or opens one for each request.
#[test]
fn apache_passes_on() {
    let modules = "/usr/lib/apache2/modules";
    let ways = format!(
        "StartServers 2\nThreadsPerChild 16\nServerLimit 2\nMaxRequestWorkers 32\n\
         LoadModule proxy_module {modules}/mod_proxy.so\nLoadModule proxy_http_module {modules}/mod_proxy_http.so\n\
         ProxyPass /kept/ http://{CLIENT}:8081/\nProxyPass /once/ http://{CLIENT}:8081/ disablereuse=on"
    );
    same_on_both("apache-proxy", |stage| {
        let (_site, _nginx) = upstream(stage);
        let told = apache(stage, ("event", 2), &ways, &["/kept/", "/once/"]);
        stage.assert_served_past_the_kernel();
        told
    });
}

/// A client that keeps its connections, and one that does not.
#[test]
fn ab_asks_many_times() {
    same_on_both("ab", |stage| {
        let site = Site::new(&stage.lab, 80, FILES);
        let _nginx = on_kernel(&stage.server, &site.nginx(), 80);
        let mut told = String::new();
        for kept in ["-k", "-q"] {
            let ask = ["ab", "-q", kept, "-n", "600", "-c", "12"];
            let said = stage.ask(&[&ask[..], &[&format!("http://{SERVER}/small.bin")]].concat());
            let matters = [
                "Complete requests",
                "Failed requests",
                "HTML transferred",
                "Non-2xx",
                "Keep-Alive requests",
            ];
            let lines = said.lines().filter(|line| matters.iter().any(|what| line.starts_with(what)));
            lines.for_each(|line| _ = writeln!(told, "{line}"));
        }
        stage.assert_asked_past_the_kernel();
        told
    });
}

#[test]
fn curl_sends_files() {
    same_on_both("upload", |stage| {
        let _server = on_kernel(&stage.server, &["python3", &program("uploads.py"), SERVER], 80);
        let sizes = [0, 1, 65_536, 3_000_000];
        let paths = sizes.map(|n| {
            let file = stage
                .lab
                .file(&format!("{n}.bin"), (0..n).map(|at| (at / 251 + at) as u8).collect::<Vec<_>>());
            file.to_string_lossy().into_owned()
        });
        let expected: Vec<String> = paths.iter().map(|path| sha256(&stage.client, path)).collect();
        // Each after the other on one connection, then all at once.
        let url = format!("http://{SERVER}/");
        let mut ask = vec!["curl", "-sS", "--fail"];
        paths.iter().for_each(|path| ask.extend(["-T", path, &url]));
        let said = stage.ask(&ask);
        assert_eq!(said.lines().collect::<Vec<_>>(), expected);
        ask.splice(1..1, ["-Z", "--no-progress-meter"]);
        let said = stage.ask(&ask);
        let (mut heard, mut expected) =
            (said.lines().collect::<Vec<_>>(), expected.iter().map(String::as_str).collect::<Vec<_>>());
        heard.sort_unstable();
        expected.sort_unstable();
        assert_eq!(heard, expected);
        stage.assert_asked_past_the_kernel();
        said.lines().count().to_string()
    });
}

/// Bulk over TCP, both directions, as server and as client.
#[test]
fn iperf3_measures_over_tcp() {
    for server_in_question in [true, false] {
        same_on_both("iperf3", |stage| {
            let command = ["iperf3", "-s", "--forceflush", "-B", SERVER];
            let server = match server_in_question {
                true => stage.serve(&command, 5201),
                false => on_kernel(&stage.server, &command, 5201),
            };
            let mut told = String::new();
            for (direction, client) in [&[][..], &["-R", "-P", "2"]].into_iter().zip(1..) {
                iperf3_listens(&server, client);
                let command = [&["iperf3", "-c", SERVER, "-n", "8M", "-J"], direction].concat();
                let said = if server_in_question { stage.client.must(&command) } else { stage.ask(&command) };
                let report: serde_json::Value = serde_json::from_str(&said).expect("iperf3 speaks JSON");
                let bytes = |of: &str| report["end"][of]["bytes"].as_u64().unwrap_or_default();
                // Whose sender ends before all is received has counted less, on the kernel, too.
                let whole = bytes("sum_sent") >= 8 << 20 && bytes("sum_received") > 0;
                let _ = writeln!(told, "{} {whole}", report["error"]);
            }
            match server_in_question {
                true => stage.assert_served_past_the_kernel(),
                false => stage.assert_asked_past_the_kernel(),
            }
            told
        });
    }
}
