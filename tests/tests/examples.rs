//! The examples, as a reader would run them: one variable puts them on the road.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream, UdpSocket};
use std::time::Duration;

use lab::{IFACE, Lab, SERVER, Where, example, start};
use ringroad_tests::assert_bypassed;

#[test]
fn the_web_server_knows_its_page() {
    let lab = Lab::new("http");
    let (server, client) = lab.pair();
    let (iface, address) = (format!("RINGROAD_IFACE={IFACE}"), format!("{SERVER}:8080"));
    let command = ["env", &iface, &example("http"), &address, "Hello, road!"];
    let _http = start(&server, &command, 8080, Where::Road);
    let before = server.counters();
    let url = format!("http://{SERVER}:8080/");
    for _ in 0..3 {
        assert_eq!(client.must(&["curl", "-sS", "--max-time", "60", &url, &url]), "Hello, road!Hello, road!");
    }
    assert_bypassed(&server, &before);
}

#[test]
fn the_echo_server_says_what_it_heard() {
    let lab = Lab::new("echo");
    let (server, client) = lab.pair();
    let (iface, address) = (format!("RINGROAD_IFACE={IFACE}"), format!("{SERVER}:7007"));
    let _echo = start(&server, &["env", &iface, &example("echo"), &address], 7007, Where::Road);
    let before = server.counters();
    let said: Vec<u8> = (0..200_000u32).map(|n| (n % 251) as u8).collect();
    let heard = client.enter(|| {
        let mut stream = TcpStream::connect((SERVER, 7007)).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a time limit");
        let mut out = stream.try_clone().expect("a second handle");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                out.write_all(&said).expect("all said");
                out.shutdown(Shutdown::Write).expect("no more to say");
            });
            let mut heard = Vec::new();
            stream.read_to_end(&mut heard).expect("an answer");
            heard
        })
    });
    assert!(heard == said, "{} bytes came back", heard.len());
    client.enter(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
        socket.set_read_timeout(Some(Duration::from_secs(60))).expect("a time limit");
        socket.send_to(b"ping", (SERVER, 7007)).expect("a datagram sent");
        let mut heard = [0; 16];
        assert_eq!(socket.recv(&mut heard).expect("a datagram"), 4);
        assert_eq!(&heard[..4], b"ping");
    });
    assert_bypassed(&server, &before);
}
