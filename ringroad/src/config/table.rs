//! One row a setting: parser, documentation and the warning for unknown names come from it.

use std::fmt::Write as _;
use std::time::Duration;

use af_xdp::Offload;
use stack::types::CongestionControl;

use super::{Backend, Config, Profile};

/// Stores a value in the configuration; the error says what was expected.
type Parser = fn(&mut Config, &str) -> Result<(), String>;

/// A setting.
pub struct Row {
    /// The environment variable.
    pub name: &'static str,
    /// Its default, as the user would write it.
    pub default: &'static str,
    /// What it does, in one sentence.
    pub doc: &'static str,
    /// How it is read.
    pub parse: Parser,
}

/// Every setting.
pub const ROWS: &[Row] = &[
    Row {
        name: "RINGROAD_IFACE",
        default: "",
        doc: "Interfaces to accelerate, separated by commas.",
        parse: |c, v| {
            c.interfaces = v.split(',').map(str::trim).filter(|s| !s.is_empty()).map(Into::into).collect();
            Ok(())
        },
    },
    Row {
        name: "RINGROAD_POLICY",
        default: "",
        doc: "Policy file (TOML); none allows everything. Without the one that is named the program does not run.",
        parse: |c, v| {
            c.policy = (!v.is_empty()).then(|| v.into());
            Ok(())
        },
    },
    Row {
        name: "RINGROAD_ALERTS",
        default: "",
        doc: "Where alerts are written: file:PATH, unix:PATH or syslog, separated by commas.",
        parse: |c, v| {
            let words = v.split(',').map(str::trim).filter(|s| !s.is_empty());
            c.alerts = words.map(str::parse).collect::<Result<_, String>>()?;
            Ok(())
        },
    },
    Row {
        name: "RINGROAD_FLOWS",
        default: "",
        doc: "Directory where what flows carry is kept for a day, and how much of it: DIRECTORY[,SIZE], 256M if not said.",
        parse: |c, v| {
            c.flows = if v.is_empty() { None } else { Some(v.parse()?) };
            Ok(())
        },
    },
    Row {
        name: "RINGROAD_SHADOW",
        default: "",
        doc: "Directory where flows that the policy marks are recorded for a day, and how much: DIRECTORY[,SIZE], 256M if not said, 2M or more.",
        parse: |c, v| {
            c.shadow = if v.is_empty() { None } else { Some(crate::shadow::place_of(v)?) };
            Ok(())
        },
    },
    Row {
        name: "RINGROAD_METRICS",
        default: "",
        doc: "Where Prometheus finds metrics of all stacks: ADDRESS:PORT or unix:PATH; nowhere if not said.",
        parse: |c, v| {
            c.metrics = if v.is_empty() { None } else { Some(v.parse()?) };
            Ok(())
        },
    },
    Row {
        name: "RINGROAD_PROFILE",
        default: "balanced",
        doc: "balanced, latency or throughput.",
        parse: |c, v| {
            c.profile = [Profile::Balanced, Profile::Latency, Profile::Throughput]
                .into_iter()
                .find(|p| p.name() == v)
                .ok_or("expected balanced, latency or throughput")?;
            Ok(())
        },
    },
    Row {
        name: "RINGROAD_SPIN_US",
        default: "the profile's",
        doc: "Microseconds that a wait spins before it blocks.",
        parse: |c, v| {
            c.spin = Some(Duration::from_micros(number(v)?));
            Ok(())
        },
    },
    Row {
        name: "RINGROAD_SPIN_CALLS",
        default: "",
        doc: "The same for calls of one kind, as `recv=50,epoll=0`: recv, send, accept, connect, poll, epoll.",
        parse: |c, v| {
            c.spin_calls = v.parse()?;
            Ok(())
        },
    },
    Row {
        name: "RINGROAD_CONGESTION",
        default: "cubic",
        doc: "Congestion control of connections that do not choose one: cubic, reno or bbr.",
        parse: |c, v| {
            c.congestion = CongestionControl::from_name(v.as_bytes()).ok_or_else(expected_control)?;
            Ok(())
        },
    },
    Row {
        name: "RINGROAD_ECN",
        default: "the host's",
        doc: "ECN, as net.ipv4.tcp_ecn: 0 never, 1 our connections ask for it, 2 when the peer asks.",
        parse: |c, v| {
            c.ecn = Some(number(v).ok().filter(|&mode| mode <= 2).ok_or("expected 0, 1 or 2")? as u8);
            Ok(())
        },
    },
    Row {
        name: "RINGROAD_LOG",
        default: "warn",
        doc: "Log lines on standard error: error, warn, info, debug or trace.",
        parse: |c, v| {
            c.log = v.parse().map_err(|_| "expected error, warn, info, debug or trace")?;
            Ok(())
        },
    },
    Row {
        name: "RINGROAD_STRICT",
        default: "0",
        doc: "1: an application that cannot be accelerated does not run; with a policy it never does.",
        parse: |c, v| {
            c.strict = flag(v)?;
            Ok(())
        },
    },
    Row {
        name: "RINGROAD_FRAMES",
        default: "16384",
        doc: "Frames of 4096 bytes for all interfaces together.",
        parse: |c, v| {
            let frames = number(v)?;
            if !(1024..=1 << 22).contains(&frames) {
                return Err("expected 1024 to 4194304".into());
            }
            c.frames = frames as u32;
            Ok(())
        },
    },
    Row {
        name: "RINGROAD_PROCESSES",
        default: "the port's",
        doc: "Processes that may drive the interfaces side by side, 1 to 250; 250 where the keeper opens what each needs, 16 where all is opened at the start (the first process of a container, the agent, --backend packet): there, 112 queues for all of them together, or, of more than 60 processes, 4096.",
        parse: |c, v| {
            let processes = number(v).ok().filter(|n| (1..=250).contains(n)).ok_or("expected 1 to 250")?;
            c.processes = Some(processes as u8);
            Ok(())
        },
    },
    Row {
        name: "RINGROAD_SHARE",
        default: "1",
        doc: "0: no other program of this user shares frames and interfaces with this one.",
        parse: |c, v| {
            c.share = flag(v)?;
            Ok(())
        },
    },
    Row {
        name: "RINGROAD_OFFLOAD",
        default: "auto",
        doc: "Segments joined to superframes where the kernel copies: off, on, or auto where there is one transmit queue.",
        parse: |c, v| {
            c.offload = match v {
                "off" => Offload::Off,
                "auto" => Offload::Auto,
                "on" => Offload::On,
                _ => return Err("expected auto, on or off".into()),
            };
            Ok(())
        },
    },
    Row {
        name: "RINGROAD_BACKEND",
        default: "auto",
        doc: "How frames get here: af-xdp, packet (tc and a packet socket), tap (a device of its own), ef-vi (adapters that it drives), or auto.",
        parse: |c, v| {
            let named = Backend::ALL.into_iter().find(|backend| backend.name() == v);
            c.backend = named.ok_or("expected auto, af-xdp, packet, tap or ef-vi")?;
            Ok(())
        },
    },
    Row {
        name: "RINGROAD_ADDRESS",
        default: "",
        doc: "Addresses of its own behind a TAP device, as ADDRESS/PREFIX, one of each family; for the backend tap.",
        parse: |c, v| {
            c.apart = v.parse()?;
            Ok(())
        },
    },
    Row {
        name: "RINGROAD_EF_VI_LIBRARY",
        default: "",
        doc: "The library of ef_vi; by itself the one that Ringroad was built with.",
        parse: |c, v| {
            c.ef_vi_library = (!v.is_empty()).then(|| v.into());
            Ok(())
        },
    },
    Row {
        name: "RINGROAD_LINGER_MS",
        default: "2000",
        doc: "Milliseconds for what closed connections deliver after exit, where no keeper has more time for it.",
        parse: |c, v| {
            c.linger = Duration::from_millis(number(v)?);
            Ok(())
        },
    },
    Row {
        name: "RINGROAD_CONTROL_DIR",
        default: "/run/ringroad",
        doc: "Directory of the control sockets that `ringroad stat` reads.",
        parse: |c, v| {
            c.control_dir = (!v.is_empty()).then(|| v.into());
            Ok(())
        },
    },
    Row {
        name: "RINGROAD_AGENT",
        default: crate::agent::SOCKET,
        doc: "Socket of the agent, which opens interfaces for users without privilege.",
        parse: |c, v| {
            c.agent = v.into();
            Ok(())
        },
    },
    Row {
        name: "RINGROAD_PORT",
        default: "",
        doc: "Set by `ringroad run` for the program it starts: the opened interfaces.",
        parse: |c, v| {
            c.port = (!v.is_empty()).then(|| v.into());
            Ok(())
        },
    },
    Row {
        name: "RINGROAD_FILTERS",
        default: "",
        doc: "Set by `ringroad run`: the filters of system calls it is under; a program under more stays in the kernel.",
        parse: |c, v| {
            c.filters =
                if v.is_empty() { None } else { Some(v.parse().map_err(|_| "expected a whole number")?) };
            Ok(())
        },
    },
];

fn expected_control() -> String {
    let names: Vec<&str> = CongestionControl::ALL.iter().map(|c| c.name()).collect();
    format!("expected {}", names.join(" or "))
}

fn number(v: &str) -> Result<u64, String> {
    v.parse().map_err(|_| "expected a whole number".into())
}

fn flag(v: &str) -> Result<bool, String> {
    match v {
        "1" | "yes" | "true" | "on" => Ok(true),
        "" | "0" | "no" | "false" | "off" => Ok(false),
        _ => Err("expected 1 or 0".into()),
    }
}

/// The table as text, one setting a paragraph, for `--help`.
pub fn help() -> String {
    let mut text = String::new();
    for row in ROWS {
        let default = if row.default.is_empty() { "none" } else { row.default };
        let _ = writeln!(text, "  {:<22}{} [default: {default}]", row.name, row.doc);
    }
    text
}
