//! `cargo xtask bench --gate`: verdicts beside rules tried in turn and DPDK's rte_acl; what nftables and our steering
//! program take for a packet on the same kind of cable; nginx behind thousands of rules, beside none; and how long it takes
//! until as many are in force in a server that runs.

use std::net::Ipv4Addr;
use std::time::Instant;

use lab::{
    CLIENT, IFACE, Lab, Namespace, PacketSocket, Running, SERVER, Site, SplitMix, Where, product, ringroad,
    start,
};

use crate::measure::{Load, Served, Side, pair_row, site};
use crate::run;

/// Rules that a packet is judged by; a steering program takes no more than 1,024.
const RULES: [usize; 4] = [10, 100, 1_000, 10_000];
const MOST_IN_FRONT: usize = 1_024;
/// Frames of a round, and rounds; the sides take turns in each, and the lowest counts: what else the machine does only adds.
const FRAMES: usize = 2_048;
const ROUNDS: usize = 30;
/// Rules that nginx is behind, and pairs of runs.
const BEHIND: usize = 5_000;
const PAIRS: usize = 7;
/// Rules that are put in force in a server that runs, and how often.
const APPLIED: [usize; 4] = [10, 1_000, 10_000, 100_000];
const TIMES: usize = 5;
const SECONDS: u32 = 2;
/// Where the program listens that our steering program is there for.
const PORT: u16 = 80;

/// All of it; whether it ran.
pub(crate) fn run() -> bool {
    let bench = ["bench", "--package=ringroad-benches", "--bench=firewalls"];
    if !run::cargo().args(bench).status().is_ok_and(|status| status.success()) {
        return false;
    }
    println!();
    packets();
    println!();
    behind_rules();
    println!();
    applied();
    true
}

/// Rule `n` of those that packets are judged by: a network of its own, and a range of ports.
struct Rule {
    network: Ipv4Addr,
    ports: [u16; 2],
}

impl Rule {
    fn new(n: usize) -> Self {
        // An odd factor: each network comes once, in an order without a pattern.
        let place = (n as u32).wrapping_mul(40_503) & 0xffff;
        let first = 1024 + (n as u16 % 997) * 64;
        Self { network: Ipv4Addr::from_bits(10 << 24 | place << 8), ports: [first, first + 63] }
    }

    /// The one host and port of it that packets are from and to.
    fn end(&self) -> (Ipv4Addr, u16) {
        (Ipv4Addr::from_bits(self.network.to_bits() | 7), self.ports[0])
    }
}

/// Who drops the packets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// An input chain without rules, whose policy is to drop.
    NoRules,
    /// A rule of nftables for each.
    Linear,
    /// One rule of nftables and a set of hosts with ports.
    Set,
    /// One rule of nftables and a set of networks with ranges of ports.
    Intervals,
    /// Our steering program (`offload = "xdp"`).
    InFront,
}

impl Way {
    const ALL: [(Self, &str); 5] = [
        (Self::NoRules, "no rules"),
        (Self::Linear, "nft, linear"),
        (Self::Set, "nft, set"),
        (Self::Intervals, "nft, intervals"),
        (Self::InFront, "ringroad, xdp"),
    ];

    /// What `nft -f` reads.
    fn ruleset(self, rules: &[Rule]) -> String {
        let interval = |rule: &Rule| format!("{}/24 . {}-{}", rule.network, rule.ports[0], rule.ports[1]);
        let end = |rule: &Rule| format!("{} . {}", rule.end().0, rule.end().1);
        let list = |each: &dyn Fn(&Rule) -> String| rules.iter().map(each).collect::<Vec<_>>().join(", ");
        let (set, lines) = match self {
            Self::NoRules | Self::InFront => (String::new(), String::new()),
            Self::Linear => (String::new(), rules.iter().map(linear).collect()),
            Self::Set => (format!("elements = {{ {} }}", list(&end)), BY_SET.to_owned()),
            Self::Intervals => {
                (format!("flags interval; elements = {{ {} }}", list(&interval)), BY_SET.to_owned())
            }
        };
        let set =
            if set.is_empty() { set } else { format!("set s {{ type ipv4_addr . inet_service; {set} }}\n") };
        format!(
            "flush ruleset\ntable ip t {{\n{set}chain c {{ type filter hook input priority 0; policy drop;\n{lines}}}\n}}\n"
        )
    }
}

const BY_SET: &str = "ip saddr . udp dport @s drop\n";

fn linear(rule: &Rule) -> String {
    format!("ip saddr {}/24 udp dport {}-{} drop\n", rule.network, rule.ports[0], rule.ports[1])
}

/// A cable, and whoever drops what comes over it.
struct Cable {
    way: Way,
    server: Namespace,
    frames: Vec<Vec<u8>>,
    socket: PacketSocket,
    _road: Option<Running>,
    _lab: Lab,
}

impl Cable {
    fn new(way: Way, rules: &[Rule]) -> Self {
        let lab = Lab::new("packets");
        let (server, client) = lab.pair();
        server.must(&["ip", "route", "replace", "10.0.0.0/8", "dev", IFACE]);
        for place in ["all", IFACE] {
            server.must(&["sysctl", "-qw", &format!("net.ipv4.conf.{place}.rp_filter=0")]);
        }
        let road = (way == Way::InFront).then(|| in_front(&lab, &server, rules));
        if road.is_none() {
            let file = lab.file("rules.nft", way.ruleset(rules));
            server.must(&["nft", "-f", &file.to_string_lossy()]);
        }
        let link = [server.link_address(IFACE), client.link_address(IFACE)];
        let mut random = SplitMix(5);
        let mut any = || &rules[(random.next() % rules.len() as u64) as usize];
        let frames = (0..FRAMES).map(|_| datagram(link, any().end())).collect();
        Self { way, server, frames, socket: client.frames(IFACE), _road: road, _lab: lab }
    }

    /// Nanoseconds of a packet: it is sent, received and dropped before the call returns.
    fn round(&self) -> f64 {
        let before = self.server.counters();
        let begun = Instant::now();
        let sent = self.frames.iter().filter(|frame| self.socket.send(frame).is_ok()).count();
        let took = begun.elapsed();
        let received = self.server.counters().since(&before, "IpInReceives") as usize;
        // What comes to the steering program does not come to the kernel.
        let expected = if self.way == Way::InFront { 0 } else { FRAMES };
        if sent != FRAMES || received != expected {
            println!("  {sent} of {FRAMES} packets were sent, and {received} came to the kernel");
        }
        took.as_nanos() as f64 / FRAMES as f64
    }
}

/// A program on the road behind a policy that the steering program carries out.
fn in_front(lab: &Lab, server: &Namespace, rules: &[Rule]) -> Running {
    let rules: String = (0..rules.len()).map(|n| deny(n, "udp")).collect();
    let policy = format!("[[table]]\nlocal = \"{SERVER}\"\noffload = \"xdp\"\n{rules}");
    let file = lab.file("policy.toml", policy);
    let site = Site::new(lab, PORT, &[]);
    start(server, &ringroad(&["--policy", &file.to_string_lossy()], &site.nginx()), PORT, Where::Road)
}

/// Rule `n` in the policy language.
fn deny(n: usize, protocol: &str) -> String {
    let Rule { network, ports: [first, last] } = Rule::new(n);
    format!(
        "[[table.rule]]\nname = \"{n}\"\ndirection = \"in\"\nprotocol = \"{protocol}\"\nlocal_port = \"{first}-{last}\"\n\
         remote = \"{network}/24\"\naction = \"deny\"\n"
    )
}

/// A frame with an empty datagram to the server.
fn datagram([to, from]: [[u8; 6]; 2], (source, port): (Ipv4Addr, u16)) -> Vec<u8> {
    let server: Ipv4Addr = SERVER.parse().unwrap_or(Ipv4Addr::UNSPECIFIED);
    let mut ip =
        [&[0x45, 0, 0, 28, 0, 0, 0x40, 0, 64, 17, 0, 0], &source.octets()[..], &server.octets()].concat();
    let sum: u32 = ip.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    let port = port.to_be_bytes();
    let udp = [0x30, 0x39, port[0], port[1], 0, 8, 0, 0];
    [&to[..], &from, &[8, 0], &ip, &udp].concat()
}

/// What a packet takes that is dropped, by who drops it and the number of rules.
fn packets() {
    println!(
        "a packet over veth, sent, received and dropped, in ns; behind +, what the rules add to no rules;"
    );
    println!("packets meet rules without a pattern; lowest of {ROUNDS} rounds of {FRAMES}");
    let names: String = Way::ALL.iter().map(|(_, name)| format!(" {name:>18}")).collect();
    println!("{:>7}{names}", "rules");
    for count in RULES {
        let rules: Vec<Rule> = (0..count).map(Rule::new).collect();
        let ways = Way::ALL.iter().filter(|(way, _)| *way != Way::InFront || count <= MOST_IN_FRONT);
        let cables: Vec<Cable> = ways.map(|(way, _)| Cable::new(*way, &rules)).collect();
        let mut least = vec![f64::INFINITY; cables.len()];
        for _ in 0..ROUNDS {
            cables.iter().zip(&mut least).for_each(|(cable, least)| *least = least.min(cable.round()));
        }
        let cell = |value: &f64| format!(" {:>18}", format!("{value:.0} {:+.0}", value - least[0]));
        println!("{count:7}{}", least.iter().map(cell).collect::<String>());
    }
}

/// How long the command takes to put rules in force in a server that runs.
fn applied() {
    let lab = Lab::new("applied");
    let (server, _client) = lab.pair();
    let site = Site::new(&lab, PORT, &[]);
    let _nginx = start(&server, &ringroad(&[], &site.nginx()), PORT, Where::Road);
    println!(
        "`ringroad policy apply`, from its start to its end: the least of {TIMES}, and what the file has"
    );
    for count in APPLIED {
        let rules: String = (0..count).map(|n| deny(n, "tcp")).collect();
        let text = format!("[[table]]\nlocal = \"{SERVER}\"\n{rules}");
        let kib = text.len() >> 10;
        let file = lab.file("rules.toml", text);
        let apply = || {
            let begun = Instant::now();
            server.must(&[product(), "policy", "apply", &file.to_string_lossy()]);
            begun.elapsed()
        };
        let least = (0..TIMES).map(|_| apply()).min().unwrap_or_default();
        println!("{count:7} rules {:8.1} ms   {kib} KiB", least.as_secs_f64() * 1e3);
    }
}

/// Requests a second of nginx behind many rules, the last of which lets the client in, and behind none.
fn behind_rules() {
    let lab = Lab::new("behind");
    let site = site(&lab);
    let rules: String = (1..BEHIND).map(|n| deny(n, "tcp")).collect();
    let last = format!(
        "[[table.rule]]\nname = \"web\"\ndirection = \"in\"\nremote = \"{CLIENT}\"\naction = \"allow\"\n"
    );
    let file = lab.file("policy.toml", format!("[[table]]\nlocal = \"{SERVER}\"\n{rules}{last}"));
    let flags = ["--policy", &file.to_string_lossy()];
    let sides = [Side::road(), Side::road()];
    let flags: [&[&str]; 2] = [&flags, &[]];
    let servers: Vec<Running> =
        sides.iter().zip(flags).map(|(side, flags)| side.serve(flags, &site.nginx(), PORT)).collect();
    let name = "nginx, 612 B, median of pairs";
    println!("{name:38} {:>12} {:>12} {:>7}   of pairs", "5,000 rules", "no rules", "ratio");
    for (name, close) in [("keep-alive, 32", false), ("Connection: close, 32", true)] {
        let load = Load { file: "612B", connections: 32, close };
        let run = |at: usize| Served::by(&sides[at], &servers[at], &load, SECONDS);
        let pairs: Vec<[Served; 2]> = (0..PAIRS).map(|_| [0, 1].map(run)).collect();
        pair_row(&format!("{name}, requests/s"), &pairs, |served| served.rate);
        pair_row(&format!("{name}, processor, µs"), &pairs, |served| served.processor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_apart_and_frames_have_a_right_sum() {
        let networks: std::collections::BTreeSet<_> = (0..10_000).map(|n| Rule::new(n).network).collect();
        assert_eq!(networks.len(), 10_000);
        let frame = datagram([[2; 6], [4; 6]], Rule::new(9_999).end());
        let sum: u32 = frame[14..34].chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
    }
}
