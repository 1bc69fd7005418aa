//! The command line.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args as Group, Parser, Subcommand, ValueEnum};

/// Runs programs on a TCP/IP stack of their own, beside the kernel's, behind a gate.
#[derive(Debug, Parser)]
#[command(name = "ringroad", version)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) task: Task,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Run a program; its sockets on the named interfaces leave the kernel
    Run(Run),
    /// Show every stack that runs on this host
    Stat(Stat),
    /// Show sockets, as ss does those of the kernel
    Sockets(Sockets),
    /// Show what the stacks do, every second, in the terminal
    Top(Top),
    /// Show everything of one stack
    Dump(Dump),
    /// Open interfaces for users without privilege, as a file permits (as root)
    Agent(Agent),
    /// Go on with what programs leave when they end (started by `run`)
    #[command(hide = true)]
    Keep(Keep),
    /// Show what the gates refused lately, and who scans
    Alerts(Alerts),
    /// Show what every flow carries, second by second
    Flows(Flows),
    /// Write what passes the stacks to a file, with what became of it
    Capture(Capture),
    /// Check policies, and change those in force
    Policy {
        #[command(subcommand)]
        task: Policy,
    },
}

/// Flags of `ringroad run`. Each is also an environment variable; the flag wins.
#[derive(Debug, Group)]
#[command(after_help = after_help())]
pub(crate) struct Run {
    /// Interfaces to accelerate, separated by commas
    #[arg(long, value_name = "IF[,IF…]")]
    pub(crate) iface: Option<String>,
    /// Policy file; without one everything is allowed
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<String>,
    /// How frames get here: af-xdp, packet (tc and a packet socket), tap (a device of its own), ef-vi, or auto: af-xdp where it
    /// can be had
    #[arg(long, value_name = "NAME")]
    pub(crate) backend: Option<String>,
    /// The program's own address behind a TAP device, of IPv4, IPv6 or both (with `--backend tap`)
    #[arg(long, value_name = "ADDRESS/PREFIX[,…]")]
    pub(crate) address: Option<String>,
    /// How to trade latency, throughput and processor time: balanced, latency or throughput
    #[arg(long)]
    pub(crate) profile: Option<String>,
    /// How long a wait spins before it blocks
    #[arg(long, value_name = "MICROSECONDS")]
    pub(crate) spin: Option<String>,
    /// The same for calls of one kind: recv, send, accept, connect, poll, epoll
    #[arg(long, value_name = "CALL=MICROSECONDS[,…]")]
    pub(crate) spin_calls: Option<String>,
    /// Congestion control of connections that do not choose one: cubic, reno or bbr
    #[arg(long, value_name = "NAME")]
    pub(crate) congestion: Option<String>,
    /// What to say on standard error: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL")]
    pub(crate) log: Option<String>,
    /// Do not run the program when it cannot be accelerated
    #[arg(long)]
    pub(crate) strict: bool,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

/// Flags of `ringroad agent`.
#[derive(Debug, Group)]
pub(crate) struct Agent {
    /// Who may use what
    #[arg(long, value_name = "FILE", default_value = ringroad::agent::RULES)]
    pub(crate) rules: PathBuf,
    /// Where to listen
    #[arg(long, value_name = "PATH", default_value = ringroad::agent::SOCKET)]
    pub(crate) socket: PathBuf,
    /// Answer the one request on standard input
    #[arg(long, hide = true)]
    pub(crate) answer: bool,
}

/// Flags of `ringroad keep`.
#[derive(Debug, Group)]
pub(crate) struct Keep {
    /// Start the keeper, away from whoever asks for it
    #[arg(long)]
    pub(crate) detach: bool,
}

/// Flags of `ringroad stat`.
#[derive(Debug, Group)]
pub(crate) struct Stat {
    /// Only the stack of this process
    pub(crate) pid: Option<u32>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Flags of `ringroad sockets`.
#[derive(Debug, Group)]
pub(crate) struct Sockets {
    /// Only the stack of this process
    #[arg(long)]
    pub(crate) pid: Option<u32>,
    /// TCP
    #[arg(short, long)]
    pub(crate) tcp: bool,
    /// UDP
    #[arg(short, long)]
    pub(crate) udp: bool,
    /// Those that listen, or have no peer
    #[arg(short, long)]
    pub(crate) listening: bool,
    /// All, those in TIME-WAIT and in their handshake as well
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Print a line of JSON each
    #[arg(long)]
    pub(crate) json: bool,
}

/// Flags of `ringroad top`.
#[derive(Debug, Group)]
pub(crate) struct Top {
    /// Only the stack of this process
    pub(crate) pid: Option<u32>,
}

/// Flags of `ringroad dump`.
#[derive(Debug, Group)]
pub(crate) struct Dump {
    /// The process
    pub(crate) pid: u32,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Flags of `ringroad capture`.
#[derive(Debug, Group)]
#[command(after_help = CAPTURE_HELP)]
pub(crate) struct Capture {
    /// The pcapng file; - for standard output
    #[arg(short = 'w', long = "write", value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Only the stack of this process
    #[arg(long, value_name = "PID")]
    pub(crate) pid: Option<u32>,
    /// End after so many packets
    #[arg(short = 'c', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// End after so many seconds
    #[arg(long, value_name = "N")]
    pub(crate) seconds: Option<u64>,
    /// Keep at most so many bytes of each packet
    #[arg(short = 's', long, value_name = "BYTES", default_value_t = 262_144, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) snaplen: u32,
    /// Which packets, as for tcpdump: tcp port 80 and host 10.0.0.9
    #[arg(value_name = "FILTER", allow_hyphen_values = true)]
    pub(crate) filter: Vec<String>,
}

/// Flags of `ringroad alerts`.
#[derive(Debug, Group)]
pub(crate) struct Alerts {
    /// Only the stack of this process
    pub(crate) pid: Option<u32>,
    /// Print a line of JSON each
    #[arg(long)]
    pub(crate) json: bool,
}

/// Flags of `ringroad flows`.
#[derive(Debug, Group)]
#[command(after_help = FLOWS_HELP)]
pub(crate) struct Flows {
    /// Only the stack of this process
    pub(crate) pid: Option<u32>,
    /// Print a line of JSON each
    #[arg(long)]
    pub(crate) json: bool,
    /// Only flows that are meant by this: 'port 80 and not remote 10.77.0.0/24'
    #[arg(long, value_name = "FILTER")]
    pub(crate) filter: Option<ringroad::flows::Filter>,
    /// Flows that were kept, in a file or a directory; not those of now
    #[arg(long, value_name = "PATH", conflicts_with = "pid")]
    pub(crate) from: Vec<PathBuf>,
    /// Send IPFIX messages instead of printing: udp:HOST:PORT, tcp:HOST:PORT, file:PATH
    #[arg(long, value_name = "WHERE", conflicts_with_all = ["json", "filter"])]
    pub(crate) ipfix: Option<crate::flows::Collector>,
}

const FLOWS_HELP: &str = "\
Filter:
  FIELD VALUE [and|or|not …], with parentheses; FIELD != VALUE
  local, remote                     an address or a network
  port, local_port, remote_port     a port or a range, as 8000-8099
  pid                               a number
  protocol, direction, verdict, state, rule, table, command     a word";

/// What to do with a policy.
#[derive(Debug, Subcommand)]
#[command(after_help = POLICY_HELP)]
pub(crate) enum Policy {
    /// Say what a policy file means, or every fault in it with line and column
    Check {
        /// The file
        file: PathBuf,
    },
    /// Show the policy that is in force in every stack, in words
    Show {
        /// Only the stack of this process
        pid: Option<u32>,
        /// Print the file itself
        #[arg(long)]
        source: bool,
    },
    /// Put a policy in force in every stack that runs; established flows are judged anew
    Apply {
        /// The file
        file: PathBuf,
    },
    /// Put in force again what was before, in every stack
    Rollback,
    /// Say what changes from one policy to another
    Diff {
        /// The file
        file: PathBuf,
        /// The other file; without it FILE is compared with what is in force
        new: Option<PathBuf>,
    },
    /// Write a policy from what another firewall is told; what cannot be said is listed
    Import(Import),
    /// Write the policy that permits what was seen, from flows that were kept
    Suggest {
        /// Files of flows, or directories of them
        #[arg(required = true, value_name = "PATH")]
        from: Vec<PathBuf>,
        /// Only flows that are meant by this, as for `ringroad flows`
        #[arg(long, value_name = "FILTER")]
        filter: Option<ringroad::flows::Filter>,
    },
    /// Say what would happen to a flow or an ICMP message, and which rule says so
    Test {
        /// The policy; without it what is in force
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
        /// tcp 10.0.0.9:4000 -> 10.77.0.1:22, icmp echo-request 10.0.0.9 -> 10.77.0.1; then, if you like, iface eth1
        #[arg(required = true, value_name = "FLOW", allow_hyphen_values = true)]
        flow: Vec<String>,
    },
}

/// What to import.
#[derive(Debug, Group)]
pub(crate) struct Import {
    /// Whose words: `nft -j list ruleset`, `iptables-save`, or a NetworkPolicy
    pub(crate) from: Format,
    /// The file; - for standard input
    pub(crate) file: PathBuf,
    /// The addresses of this host that the rules are for; without them all
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) local: Vec<IpAddr>,
}

/// Whose words are imported.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Format {
    /// nft -j list ruleset
    Nft,
    /// iptables-save, ip6tables-save
    Iptables,
    /// NetworkPolicy, in YAML or JSON
    Kubernetes,
}

const CAPTURE_HELP: &str = "\
Each packet has a comment that says which way it went, what became of it and by which rule, and whose it was; in Wireshark
and tshark, frame.comment contains \"dropped\" finds those that were. Packets that the kernel keeps, or that the steering
program sheds, are not seen. It ends with --count, --seconds, Ctrl-C, or the process of --pid.";

const POLICY_HELP: &str = "\
Exit status:
  0  done; check: no fault; diff: no difference; test: allowed
  1  refused, nothing was changed; check: faults; diff: different; test: denied; import: something was left out
  2  it could not be tried: no such file, no stack runs, a wrong command line
  3  apply, rollback: in force in some processes and not in others";

fn after_help() -> String {
    format!("Environment:\n{}", ringroad::config::help())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn everything_behind_the_dashes_is_the_program() {
        let args = Args::parse_from(["ringroad", "run", "--iface", "a,b", "--", "nginx", "-c", "--iface"]);
        let Task::Run(run) = args.task else { panic!("not run") };
        assert_eq!(run.iface.as_deref(), Some("a,b"));
        assert_eq!(run.command, ["nginx", "-c", "--iface"]);
    }

    #[test]
    fn a_program_is_required() {
        assert!(Args::try_parse_from(["ringroad", "run", "--iface", "a"]).is_err());
        assert!(Args::try_parse_from(["ringroad", "run", "--spin", "3", "nginx"]).is_err());
    }
}
