//! UDP_SEGMENT and UDP_GRO between the road and the kernel's peer, both ways.

use lab::{CLIENT, Lab, Namespace, Running, SERVER, eventually, ringroad, stack_of};

/// As many as a receive buffer holds, in datagrams of a thousand: none is lost, however late its reader comes.
const BYTES: usize = 40_000;

/// Receives so many bytes with UDP_GRO; prints how many came, in how many datagrams, and how many were wrong.
fn receive(local: &str) -> String {
    format!(
        "import socket,struct\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n\
         s.setsockopt(17,104,1)\ns.bind(('{local}',7000))\ns.settimeout(10)\nn=k=0\nout=b''\n\
         while n<{BYTES}:\n b,c,f,a=s.recvmsg(70000,64)\n \
         g=[struct.unpack('i',d)[0] for l,t,d in c if (l,t)==(17,104)]\n \
         n+=len(b); k+=-(-len(b)//g[0]) if g else 1; out+=b\n\
         print(n,k,sum(out[i]!=i%251 for i in range(n)))"
    )
}

/// Sends them in calls of ten datagrams of a thousand bytes.
fn send(remote: &str) -> String {
    format!(
        "import socket\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\ns.setsockopt(17,103,1000)\n\
         b=bytes(i%251 for i in range({BYTES}))\n\
         for i in range(0,{BYTES},10000):\n s.sendto(b[i:i+10000],('{remote}',7000))"
    )
}

fn receiver(host: &Namespace, local: &str, road: bool) -> Running {
    let program = receive(local);
    let plain = ["python3", "-c", &program];
    let running = if road { host.spawn(&ringroad(&[], &plain)) } else { host.spawn(&plain) };
    eventually("the receiver is bound", 20, || match road {
        true => stack_of(host, &running)
            .is_some_and(|s| s["sockets"].as_array().is_some_and(|all| !all.is_empty())),
        false => host.must(&["ss", "-Huln"]).contains(":7000"),
    });
    running
}

fn kernel_saw(host: &Namespace, before: &lab::Counters) -> [u64; 2] {
    let now = host.counters();
    ["UdpInDatagrams", "UdpOutDatagrams"].map(|name| now.since(before, name))
}

#[test]
fn trains_from_the_kernel_arrive_on_the_road() {
    let lab = Lab::new("trains");
    let (server, client) = lab.pair();
    let mut receiver = receiver(&server, SERVER, true);
    let before = server.counters();
    client.must(&["python3", "-c", &send(SERVER)]);
    assert_eq!(receiver.ended(20), 0, "{}", receiver.said());
    assert_eq!(receiver.said().trim(), "40000 40 0", "bytes, datagrams, wrong bytes");
    assert_eq!(kernel_saw(&server, &before), [0, 0]);
}

#[test]
fn trains_from_the_road_arrive_in_the_kernel() {
    let lab = Lab::new("trains");
    let (server, client) = lab.pair();
    let mut receiver = receiver(&client, CLIENT, false);
    let before = server.counters();
    server.must(&ringroad(&[], &["python3", "-c", &send(CLIENT)]));
    assert_eq!(receiver.ended(20), 0, "{}", receiver.said());
    assert_eq!(receiver.said().trim(), "40000 40 0", "bytes, datagrams, wrong bytes");
    let [received, sent] = kernel_saw(&server, &before);
    // Whoever wants the kernel to resolve a neighbour sends it an empty datagram.
    assert!(received == 0 && sent <= 2, "{received} received, {sent} sent by the kernel");
}
