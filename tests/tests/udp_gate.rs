//! The gate and what UDP has besides plain datagrams: fragments, which the kernel's socket carries, and groups.

use lab::{CLIENT, IFACE, Lab, Namespace, SERVER, eventually, must_have_stack, ringroad, stack_of};
use serde_json::Value;

/// A second address of the client, which the policy does not know.
const STRANGER: &str = "10.77.0.3";

/// The client may come in on port 7000, and may be answered; a group's table lets the client in too.
fn policy() -> String {
    let table = |local: &str| {
        format!(
            "[[table]]\nlocal = \"{local}\"\nmode = \"enforce\"\n[[table.rule]]\nname = \"friend\"\n\
             direction = \"in\"\nprotocol = \"udp\"\nlocal_port = [7000]\nremote = [\"{CLIENT}/32\"]\n\
             remote_port = \"any\"\naction = \"allow\"\n"
        )
    };
    format!("default = \"allow\"\n{}{}", table(SERVER), table("239.7.7.7"))
}

/// Receives datagrams and prints the length of each, until one of a single byte has come.
const RECEIVE: &str = "import socket,sys,struct\n\
    s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\ns.bind(('0.0.0.0',7000))\n\
    m=socket.inet_aton('239.7.7.7')+socket.inet_aton('10.77.0.1')\n\
    s.setsockopt(0,socket.IP_ADD_MEMBERSHIP,m)\nn=0\n\
    while n!=1:\n b,a=s.recvfrom(70000); n=len(b); print(a[0],n,flush=True)";

fn send(client: &Namespace, from: &str, to: &str, len: usize) {
    let program = format!(
        "import socket\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\ns.bind(('{from}',0))\n\
         s.setsockopt(0,socket.IP_MULTICAST_IF,socket.inet_aton('{from}'))\n\
         s.sendto(bytes({len}),('{to}',7000))"
    );
    client.must(&["python3", "-c", &program]);
}

fn denied(stack: &Value) -> u64 {
    let tables = stack["policy"]["tables"].as_array().map(Vec::as_slice).unwrap_or_default();
    tables.iter().filter_map(|t| t["denied"]["packets"].as_u64()).sum()
}

#[test]
fn fragments_and_groups_are_judged_like_everything_else() {
    let lab = Lab::new("udp-gate");
    let (server, client) = lab.pair();
    client.must(&["ip", "address", "add", &format!("{STRANGER}/24"), "dev", IFACE]);
    let file = lab.file("policy.toml", policy());
    let flags = ["--policy", &file.to_string_lossy()];
    let mut receiver = server.spawn(&ringroad(&flags, &["python3", "-c", RECEIVE]));
    eventually("the receiver is on the road", 20, || {
        stack_of(&server, &receiver)
            .is_some_and(|s| s["sockets"].as_array().is_some_and(|all| !all.is_empty()))
    });
    for (n, (to, len)) in
        [(SERVER, 100), (SERVER, 5000), ("239.7.7.7", 200), ("239.7.7.7", 6000)].into_iter().enumerate()
    {
        send(&client, STRANGER, to, len);
        send(&client, CLIENT, to, len);
        // One after the other, so that the two worlds keep their order.
        eventually("the friend is heard", 10, || receiver.said().lines().count() == n + 1);
    }
    let stack = must_have_stack(&server, &receiver);
    assert_eq!(denied(&stack), 4, "{stack}");
    send(&client, CLIENT, SERVER, 1);
    assert_eq!(receiver.ended(10), 0, "{}", receiver.said());
    let heard: Vec<String> = [100, 5000, 200, 6000, 1].map(|n| format!("{CLIENT} {n}")).to_vec();
    assert_eq!(receiver.said().lines().collect::<Vec<_>>(), heard);
}

/// What the policy forbids does not leave by the kernel's socket either.
#[test]
fn nothing_forbidden_leaves_by_the_kernels_socket() {
    let lab = Lab::new("udp-gate");
    let (server, client) = lab.pair();
    let file = lab.file("policy.toml", policy());
    let flags = ["--policy", &file.to_string_lossy()];
    let program = format!(
        "import socket\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n\
         s.setsockopt(socket.SOL_SOCKET,socket.SO_BROADCAST,1)\n\
         s.setsockopt(0,socket.IP_MULTICAST_IF,socket.inet_aton('{SERVER}'))\n\
         for to,n,f in [('{CLIENT}',10,0),('{CLIENT}',5000,0),('10.77.0.255',10,0),('239.9.9.9',10,0),('{CLIENT}',9,0x8000)]:\n \
         try: s.sendto(bytes(n),f,(to,9000)); print('sent')\n \
         except OSError as e: print(e.errno)"
    );
    let before = client.counters();
    let said = server.must(&ringroad(&flags, &["python3", "-c", &program]));
    assert_eq!(said.split_whitespace().collect::<Vec<_>>(), ["1"; 5], "EPERM each");
    let now = client.counters();
    let came = ["UdpNoPorts", "UdpInDatagrams", "IpReasmReqds"].map(|name| now.since(&before, name));
    assert_eq!(came, [0, 0, 0]);
}
