//! Unmodified programs that speak UDP, on the road: the kernel's own UDP sees none of it.

use lab::{CLIENT, Counters, IFACE, Lab, Namespace, Running, SERVER, eventually, stack_of};
use ringroad_tests::{on_kernel, ringroad};

/// Starts a program on the road and waits until its stack has a UDP socket at `port`.
fn on_road(host: &Namespace, program: &[&str], port: u16) -> Running {
    let mut running = host.spawn(&ringroad(&[], program));
    eventually(&format!("{} is at port {port}", program[0]), 20, || {
        assert!(running.is_running(), "{} has ended:\n{}", program[0], running.said());
        stack_of(host, &running).is_some_and(|stack| {
            let sockets = stack["sockets"].as_array().cloned().unwrap_or_default();
            let at = format!(":{port}");
            let is = |s: &serde_json::Value, key: &str, what: &str| {
                s[key].as_str().is_some_and(|v| v.eq_ignore_ascii_case(what) || v.ends_with(what))
            };
            sockets.iter().any(|s| is(s, "protocol", "udp") && is(s, "local", &at))
        })
    });
    running
}

/// What the kernel's UDP of a host has received and sent since `before`.
fn seen(host: &Namespace, before: &Counters) -> [u64; 2] {
    let now = host.counters();
    ["UdpInDatagrams", "UdpOutDatagrams"].map(|name| now.since(before, name))
}

/// dnsmasq receives with IP_PKTINFO, answers from the address it was asked at, and is asked a hundred times.
#[test]
fn dnsmasq_answers_dig_past_the_kernel() {
    let lab = Lab::new("dnsmasq");
    let (server, client) = lab.pair();
    let mut program = vec!["dnsmasq", "-k", "-C", "/dev/null", "--no-resolv", "--no-hosts", "--user=root"];
    let pid_file = format!("--pid-file={}", lab.folder().join("pid").display());
    program.push(&pid_file);
    program.push("--address=/road.test/192.0.2.7");
    let interface = format!("--interface={IFACE}");
    program.extend([interface.as_str(), "--except-interface=lo"]);
    let _dnsmasq = on_road(&server, &program, 53);
    let at = format!("@{SERVER}");
    let ask = || {
        let said = client.must(&["dig", &at, "+short", "+tries=2", "+time=3", "one.road.test"]);
        assert_eq!(said.trim(), "192.0.2.7");
    };
    // With the first answer the kernel may have to be asked for the neighbour, which it is by a datagram to nobody.
    ask();
    let before = server.counters();
    (0..20).for_each(|_| ask());
    assert_eq!(seen(&server, &before), [0, 0]);
}

/// Many ask at once, and what it does not know it asks another, as a client.
#[test]
fn dnsmasq_answers_many_at_once_and_passes_questions_on() {
    let lab = Lab::new("dnsmasq-many");
    let (server, client) = lab.pair();
    let path = |name: &str| format!("--pid-file={}", lab.folder().join(name).display());
    let all = ["dnsmasq", "-k", "-C", "/dev/null", "--no-resolv", "--no-hosts", "--user=root"];
    let its_pid_file = path("behind");
    let behind = [&all[..], &[&its_pid_file, "--port=5300", "--address=/far.test/192.0.2.9"]].concat();
    let _behind = on_kernel(&client, &behind, 5300);
    let (pid_file, interface) = (path("pid"), format!("--interface={IFACE}"));
    let passes_on = format!("--server=/far.test/{CLIENT}#5300");
    let own = [&pid_file, &interface, "--except-interface=lo", "--address=/road.test/192.0.2.7", &passes_on];
    // Each question goes on, also one that was asked before.
    let _dnsmasq =
        on_road(&server, &[&all[..], &own, &["--cache-size=0", "--dns-forward-max=1000"]].concat(), 53);
    // A datagram may be lost, and is asked for again, which dig says.
    let ask = |domain: &str| {
        let dig = format!("dig @{SERVER} +short +tries=3 +time=5");
        let script = format!(
            "seq 240 | sed 's/.*/n&.{domain}/' | xargs -P 12 -n 20 {dig} | grep -v '^;' | sort | uniq -c"
        );
        client
            .run_for(60, &["sh", "-c", &script])
            .must()
            .split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(ask("road.test"), ["240", "192.0.2.7"]);
    let before = server.counters();
    assert_eq!(ask("road.test"), ["240", "192.0.2.7"]);
    assert_eq!(seen(&server, &before), [0, 0]);
    assert_eq!(ask("far.test"), ["240", "192.0.2.9"]);
    let [received, _] = seen(&server, &before);
    assert_eq!(received, 0, "received by the kernel");
}

/// The client's side: dig binds, sends, waits in epoll and receives, on the road.
#[test]
fn dig_on_the_road_asks_a_dnsmasq_of_the_kernel() {
    let lab = Lab::new("dig");
    let (server, client) = lab.pair();
    let pid_file = format!("--pid-file={}", lab.folder().join("pid").display());
    let program = ["dnsmasq", "-k", "-C", "/dev/null", "--no-resolv", "--no-hosts", "--user=root", &pid_file];
    let _dnsmasq = on_kernel(&server, &[&program[..], &["--address=/road.test/192.0.2.7"]].concat(), 53);
    let before = client.counters();
    let ask = format!("@{SERVER}");
    let names: Vec<String> = (0..20).map(|n| format!("n{n}.road.test")).collect();
    let mut dig = vec!["dig", &ask, "+short", "+tries=2", "+time=3"];
    dig.extend(names.iter().map(String::as_str));
    let said = client.must(&ringroad(&[], &dig));
    assert_eq!(said.lines().filter(|line| *line == "192.0.2.7").count(), 20, "{said}");
    let [received, sent] = seen(&client, &before);
    // Whoever wants the kernel to resolve a neighbour sends it an empty datagram.
    assert!(received == 0 && sent <= 2, "{received} received, {sent} sent by the kernel");
}

/// A whole file by datagrams of a kilobyte, to a socat on the road.
#[test]
fn socat_receives_a_file_by_datagrams() {
    let lab = Lab::new("socat");
    let (server, client) = lab.pair();
    // As much as a receive buffer holds: nothing is lost, however late its reader comes.
    let content: Vec<u8> = (0..40_000u32).map(|n| (n * 7 / 3) as u8).collect();
    let (from, to) = (lab.file("from", &content), lab.folder().join("to"));
    let listen = format!("UDP4-RECV:7000,bind={SERVER}");
    let create = format!("CREATE:{}", to.display());
    let _socat = on_road(&server, &["socat", "-b1000", "-u", &listen, &create], 7000);
    let before = server.counters();
    let send = format!(
        "import socket\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\nb=open('{}','rb').read()\n\
         for i in range(0,len(b),1000):\n s.sendto(b[i:i+1000],('{SERVER}',7000))",
        from.display()
    );
    client.must(&["python3", "-c", &send]);
    eventually("the file has come whole", 10, || std::fs::read(&to).is_ok_and(|got| got == content));
    assert_eq!(seen(&server, &before), [0, 0]);
}

/// What iperf3 says of 20 Mbit/s for two seconds: datagrams, and how many of them were lost.
fn iperf3_told(client: &Namespace, how: &[&str], reverse: &[&str]) -> [u64; 2] {
    let flags = ["iperf3", "-u", "-c", SERVER, "-b", "20M", "-t", "2", "-l", "1200", "-J"];
    let text = client.run_for(30, &[how, &flags, reverse].concat()).must();
    let told: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
    ["packets", "lost_packets"]
        .map(|name| told["end"]["sum"][name].as_u64().unwrap_or_else(|| panic!("no {name} in {text}")))
}

/// iperf3 sends and receives 20 Mbit/s of datagrams on the road, both ways; few may be lost. Who has not the processor for
/// long enough loses some on the kernel, too: so in one of five runs few are.
#[test]
fn iperf3_sends_datagrams_both_ways() {
    let lab = Lab::new("iperf3");
    let (server, client) = lab.pair();
    let iperf = ringroad_tests::on_road(&server, &[], &["iperf3", "-s", "--forceflush", "-B", SERVER], 5201);
    let mut asked = 0;
    for reverse in [&[][..], &["-R"]] {
        let before = server.counters();
        let mut few_lost = || {
            asked += 1;
            ringroad_tests::iperf3_listens(&iperf, asked);
            let [packets, lost] = iperf3_told(&client, &[], reverse);
            println!("{lost} of {packets} lost");
            packets > 3000 && lost * 20 < packets
        };
        let runs = (1..=5).find(|_| few_lost()).expect("a run in which few are lost");
        let [received, sent] = seen(&server, &before);
        // A socket leaves the kernel when it is first used, not when it is bound: the datagram that says that a client is
        // there may come in between, and is read from the kernel. Whoever wants the kernel to confirm a neighbour sends
        // it an empty datagram.
        assert!(
            received <= runs && sent <= 2 * runs,
            "{reverse:?}: {received} received, {sent} sent by the kernel"
        );
    }
}

/// As a client, towards a server of the kernel.
#[test]
fn iperf3_on_the_road_asks_by_datagrams_both_ways() {
    let lab = Lab::new("iperf3-client");
    let (server, client) = lab.pair();
    let iperf = on_kernel(&server, &["iperf3", "-s", "--forceflush", "-B", SERVER], 5201);
    let mut asked = 0;
    for reverse in [&[][..], &["-R"]] {
        let before = client.counters();
        let mut few_lost = || {
            asked += 1;
            ringroad_tests::iperf3_listens(&iperf, asked);
            let [packets, lost] = iperf3_told(&client, &ringroad(&[], &[]), reverse);
            println!("{lost} of {packets} lost");
            packets > 3000 && lost * 20 < packets
        };
        let runs = (1..=5).find(|_| few_lost()).expect("a run in which few are lost");
        let [received, sent] = seen(&client, &before);
        // As above: the first words may pass the kernel.
        assert!(
            received <= 2 * runs && sent <= 2 * runs,
            "{reverse:?}: {received} received, {sent} sent by the kernel"
        );
    }
}

/// A receiver of a group: the kernel's membership stands (so IGMP is spoken), the datagrams do not pass it.
#[test]
fn a_group_is_joined_in_the_kernel_and_heard_past_it() {
    let lab = Lab::new("group");
    let (server, client) = lab.pair();
    let to = lab.folder().join("heard");
    let listen = format!("UDP4-RECV:7000,ip-add-membership=239.7.7.7:{SERVER},bind=0.0.0.0");
    let mut hear = on_road(&server, &["socat", "-u", &listen, &format!("CREATE:{}", to.display())], 7000);
    let members = server.must(&["ip", "maddr", "show", "dev", IFACE]);
    assert!(members.contains("239.7.7.7"), "{members}");
    let before = server.counters();
    let send = format!(
        "import socket\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n\
         s.setsockopt(0,socket.IP_MULTICAST_IF,socket.inet_aton('{CLIENT}'))\n\
         for i in range(50): s.sendto(b'%03d\\n'%i,('239.7.7.7',7000))"
    );
    client.must(&["python3", "-c", &send]);
    let expected: String = (0..50).map(|n| format!("{n:03}\n")).collect();
    eventually("all is heard", 10, || std::fs::read_to_string(&to).is_ok_and(|got| got == expected));
    assert_eq!(seen(&server, &before), [0, 0]);
    hear.kill();
    eventually("the membership is gone", 5, || {
        !server.must(&["ip", "maddr", "show", "dev", IFACE]).contains("239.7.7.7")
    });
}

/// Questions of sockperf's client, and answers that were what was sent.
fn sockperf_told(said: &str) -> [u64; 2] {
    let total = said.lines().find(|line| line.contains("[Total Run]")).unwrap_or_default();
    ["SentMessages=", "ReceivedMessages="].map(|name| {
        let rest = total.split_once(name).map_or("", |(_, rest)| rest);
        rest.split(';').next().and_then(|number| number.trim().parse().ok()).unwrap_or(0)
    })
}

/// sockperf asks and answers, one end on the road. It compares each answer with what was sent.
fn sockperf(tcp: &[&str], server_on_road: bool) {
    let lab = Lab::new("sockperf");
    let (server, client) = lab.pair();
    let serve = [&["sockperf", "server", "-i", SERVER, "-p", "11111"][..], tcp].concat();
    let ask = ["sockperf", "ping-pong", "-i", SERVER, "-p", "11111", "-t", "1", "-m", "200"];
    let ask = [&ask[..], &["--data-integrity"], tcp].concat();
    let answering = match (server_on_road, tcp.is_empty()) {
        (true, true) => on_road(&server, &serve, 11111),
        (true, false) => ringroad_tests::on_road(&server, &[], &serve, 11111),
        (false, true) => server.spawn(&serve),
        (false, false) => on_kernel(&server, &serve, 11111),
    };
    eventually("sockperf answers", 20, || answering.said().contains("to block on socket"));
    let host = if server_on_road { &server } else { &client };
    let before = host.counters();
    let said = client.run_for(30, &if server_on_road { ask } else { ringroad(&[], &ask) }).must();
    let [sent, received] = sockperf_told(&said);
    let lost = sent.saturating_sub(received);
    // The last one is under way when the time is up; a datagram may be lost.
    assert!(received > 0 && lost <= 1 + received / 20, "{tcp:?} {server_on_road}\n{said}");
    assert!(!said.contains("data integrity test failed"), "{said}");
    let [heard, told] = seen(host, &before);
    // Whoever wants the kernel to confirm a neighbour sends it an empty datagram.
    assert!(heard == 0 && told <= 2, "{heard} received, {told} sent by the kernel");
    let opened = ["TcpActiveOpens", "TcpPassiveOpens"].map(|name| host.counters().since(&before, name));
    assert_eq!(opened, [0, 0], "{tcp:?} {server_on_road}");
}

/// By datagrams and by a connection, the one end on the road and then the other; at the same time, since it rests more
/// than it runs.
#[test]
fn sockperf_plays_ping_pong_by_both_protocols() {
    std::thread::scope(|scope| {
        for tcp in [&[][..], &["--tcp"]] {
            for server_on_road in [true, false] {
                scope.spawn(move || sockperf(tcp, server_on_road));
            }
        }
    });
}
