//! DPDK's rte_acl, in a program of its own that is compiled when the bench runs.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use stack::policy::{RuleProtocol, RuleSpec};
use stack::types::{Direction, FlowKey};

/// The program.
pub(crate) struct Acl {
    path: PathBuf,
}

impl Acl {
    /// Compiles it; why not, in one line.
    pub(crate) fn compile() -> Result<Self, String> {
        let flags = Command::new("pkg-config").args(["--cflags", "--libs", "libdpdk"]).output();
        let flags = flags.ok().filter(|out| out.status.success()).ok_or("libdpdk-dev is not installed")?;
        let flags = String::from_utf8_lossy(&flags.stdout).into_owned();
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("acl");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/firewalls/acl.c");
        let mut cc = Command::new("cc");
        cc.args(["-O2", "-Wall", "-Werror", source, "-o"]).arg(&path).args(flags.split_whitespace());
        let well = cc.status().is_ok_and(|status| status.success());
        well.then_some(Self { path }).ok_or_else(|| "acl.c does not compile".to_owned())
    }

    /// Nanoseconds of a verdict asked for alone, and in bursts of 32; milliseconds of building. None, with its words,
    /// when it cannot hold the rules.
    ///
    /// # Panics
    /// When its verdicts are not those `expected`.
    pub(crate) fn measure(
        &self,
        rules: &[RuleSpec],
        flows: &[FlowKey],
        expected: &[Option<usize>],
    ) -> Option<[f64; 3]> {
        // It has no direction: rules that are for the other one are left out, and the numbers of the others told.
        let inbound: Vec<usize> =
            (0..rules.len()).filter(|n| rules[*n].direction.includes(Direction::In)).collect();
        let place = |rule: usize| inbound.binary_search(&rule).map_or(0, |at| at as u64 + 1);
        let input = input_of(inbound.iter().map(|n| &rules[*n]), flows);
        let out = self.run(&input)?;
        let mut words = out.split_whitespace();
        let mut next = || words.next().and_then(|word| word.parse::<f64>().ok());
        let measured = [next()?, next()?, next()?];
        let sum: u64 = expected.iter().flatten().map(|rule| place(*rule)).sum();
        assert_eq!(words.next(), Some(sum.to_string().as_str()), "rte_acl decides otherwise");
        Some(measured)
    }

    fn run(&self, input: &str) -> Option<String> {
        let mut command = Command::new(&self.path);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().ok()?;
        // What it says before it has read all is less than a pipe holds.
        let written = child.stdin.take()?.write_all(input.as_bytes());
        let out = child.wait_with_output().ok()?;
        if written.is_err() || !out.status.success() {
            println!("rte_acl: {}", String::from_utf8_lossy(&out.stderr).lines().last().unwrap_or_default());
            return None;
        }
        Some(String::from_utf8_lossy(&out.stdout).into_owned())
    }
}

/// What the program reads.
fn input_of<'a>(rules: impl ExactSizeIterator<Item = &'a RuleSpec>, flows: &[FlowKey]) -> String {
    let mut text = format!("{} {}\n", rules.len(), flows.len());
    for rule in rules {
        let (prefix, local, remote) = (&rule.remotes[0], rule.local_ports[0], rule.remote_ports[0]);
        let (address, len) = (bits(prefix.address()), prefix.len());
        let ports =
            [remote.first, remote.last, local.first, local.last].map(|port| port.to_string()).join(" ");
        let protocol = match rule.protocol {
            RuleProtocol::Tcp => 6,
            RuleProtocol::Udp => 17,
            _ => 0,
        };
        let _ = writeln!(text, "{address} {len} {ports} {protocol}");
    }
    for flow in flows {
        let (remote, local) = (flow.remote, flow.local.port());
        let _ = writeln!(text, "{} {} {local} {}", bits(remote.ip()), remote.port(), flow.protocol as u8);
    }
    text
}

fn bits(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(v4) => v4.to_bits(),
        IpAddr::V6(_) => unreachable!("the rules are of IPv4"),
    }
}
