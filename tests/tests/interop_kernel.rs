//! The kernel's TCP as the peer, both as client and as server, over a cable that loses, repeats and reorders:
//! what one says the other hears, both ways at once, by its SHA-256.
//!
//! `INTEROP_BYTES` says how many bytes each way; `cargo xtask interop` sets it to 100 MiB.

use std::time::Duration;

use lab::{Lab, SERVER, Trouble, eventually_some};
use ringroad_tests::{assert_bypassed, assert_no_connections, on_kernel, on_road, ringroad};

/// Losses, in millionths; so much is repeated and held back, too.
const LOSSES: [u32; 4] = [0, 1_000, 10_000, 50_000];

/// Bytes each way: as many as take a few seconds, or what was asked for.
fn bytes(loss: u32) -> u64 {
    let usual = if loss > 10_000 { 512 << 10 } else { 4 << 20 };
    std::env::var("INTEROP_BYTES").ok().and_then(|n| n.parse().ok()).unwrap_or(usual)
}

fn trouble(loss: u32) -> Trouble {
    let reorder_by = Duration::from_micros(500);
    let seed = 7 + u64::from(loss);
    Trouble { seed, loss, duplicate: loss, reorder: loss, reorder_by, ..Trouble::default() }
}

/// Sends and receives so many bytes at once and prints the sums of both. `serve` or an address.
const TALKER: &str = r#"
import hashlib, socket, sys, threading
role, port, count, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
block = b"".join(hashlib.sha256(b"%d %d" % (seed, n)).digest() for n in range(32768))
if role == "serve":
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("0.0.0.0", port))
    listener.listen(8)
    s, _ = listener.accept()
else:
    s = socket.create_connection((role, port), timeout=60)
    s.settimeout(None)
said, heard, got = hashlib.sha256(), hashlib.sha256(), 0
def say():
    left = count
    while left:
        piece = block[:left]
        s.sendall(piece)
        said.update(piece)
        left -= len(piece)
    s.shutdown(socket.SHUT_WR)
t = threading.Thread(target=say)
t.start()
while True:
    piece = s.recv(1 << 18)
    if not piece:
        break
    heard.update(piece)
    got += len(piece)
t.join()
print("sums", said.hexdigest(), heard.hexdigest(), got, flush=True)
if role == "serve":
    # What the peer still asks is to find this process, not the kernel.
    threading.Event().wait()
"#;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Road {
    Server,
    Client,
}

/// The SHA-256 of what a talker said and of what it heard, and how much that was.
fn sums(text: &str) -> Option<Vec<String>> {
    let line = text.lines().find_map(|line| line.strip_prefix("sums "))?;
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    (words.len() == 3).then_some(words)
}

/// One of the two is on the road, the other on the kernel.
fn with_the_kernel(road: Road, loss: u32, bytes: u64) {
    let lab = Lab::new("interop");
    let (server, client, relay) = lab.pair_through(trouble(loss));
    let script = lab.folder().join("talker.py");
    std::fs::write(&script, TALKER).expect("a script");
    let (script, count) = (script.to_string_lossy().into_owned(), bytes.to_string());
    let serve = ["python3", &script, "serve", "7000", &count, "1"];
    let talk = ["python3", &script, SERVER, "7000", &count, "2"];
    let (listening, outcome) = match road {
        Road::Server => {
            let listening = on_road(&server, &[], &serve, 7000);
            let before = server.counters();
            let outcome = client.run_for(1200, &talk);
            eventually_some("the server's sums", 60, || sums(&listening.said()));
            assert_bypassed(&server, &before);
            (listening, outcome)
        }
        Road::Client => {
            let listening = on_kernel(&server, &serve, 7000);
            let before = client.counters();
            let outcome = client.run_for(1200, &ringroad(&[], &talk));
            assert_no_connections(&client, &before);
            (listening, outcome)
        }
    };
    let client_sums = sums(&outcome.must()).expect("the client's sums");
    let server_sums = eventually_some("the server's sums", 60, || sums(&listening.said()));
    assert_eq!((&server_sums[0], &client_sums[0]), (&client_sums[1], &server_sums[1]), "the sums differ");
    assert_eq!((&server_sums[2], &client_sums[2]), (&count, &count));
    assert!(loss == 0 || relay.lost() > 0);
}

#[test]
fn the_kernel_connects_to_us() {
    for loss in LOSSES {
        with_the_kernel(Road::Server, loss, bytes(loss));
    }
}

#[test]
fn we_connect_to_the_kernel() {
    for loss in LOSSES {
        with_the_kernel(Road::Client, loss, bytes(loss));
    }
}
