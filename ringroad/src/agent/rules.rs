//! The agent's file: who may have which interface, and what of it.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::{fs, io};

use af_xdp::{Limits, Offload};
use serde::Deserialize;

use super::users::Asker;
use super::wire::{Wish, processes};

/// Frames that a rule permits when it does not say.
const FRAMES: u32 = 16384;
/// As many places as a port can have.
const PROCESSES_MOST: u8 = 250;

/// The file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rules {
    #[serde(default)]
    allow: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    user: Option<Name>,
    group: Option<Name>,
    interface: Vec<String>,
    #[serde(default)]
    address: Vec<IpAddr>,
    #[serde(default)]
    port: Vec<Ports>,
    #[serde(default = "yes")]
    connect: bool,
    #[serde(default = "frames")]
    frames: u32,
    #[serde(default = "processes")]
    processes: u8,
    /// Superframes, too, and with them a packet socket: whoever has it can send on every interface.
    #[serde(default)]
    offload: bool,
}

fn yes() -> bool {
    true
}

fn frames() -> u32 {
    FRAMES
}

/// A name, or a number.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Name {
    Number(u32),
    Word(String),
}

impl Name {
    fn text(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Word(word) => word.clone(),
        }
    }
}

/// A port, or `"first-last"`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Ports {
    One(u16),
    Range(String),
}

impl Ports {
    fn range(&self) -> Result<RangeInclusive<u16>, String> {
        match self {
            Self::One(port) => Ok(*port..=*port),
            Self::Range(text) => {
                let ends = text
                    .split_once('-')
                    .and_then(|(first, last)| Some((first.trim().parse().ok()?, last.trim().parse().ok()?)));
                let range =
                    ends.map(|(first, last): (u16, u16)| first..=last).filter(|range| !range.is_empty());
                range.ok_or_else(|| format!("\"{text}\" is no range of ports, like \"8000-8099\""))
            }
        }
    }
}

impl Rules {
    /// Reads the file, which must be such that only its owner, the agent's user, can have written it.
    pub(super) fn load(path: &Path) -> Result<Self, String> {
        let told = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
        let about = fs::metadata(path).map_err(|e| told(&e))?;
        if about.uid() != rustix::process::geteuid().as_raw() || about.mode() & 0o022 != 0 {
            return Err(told(&"others can write it; `chown root` and `chmod go-w` it"));
        }
        let text = fs::read_to_string(path).map_err(|e| told(&e))?;
        Self::parse(&text).map_err(|e| told(&e))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let rules: Self = toml::from_str(text).map_err(|e| e.to_string().trim_end().to_owned())?;
        for (at, rule) in rules.allow.iter().enumerate() {
            let fault = |why: &str| Err(format!("allow {}: {why}", at + 1));
            if rule.user.is_some() == rule.group.is_some() {
                return fault("one of `user` and `group` is needed");
            }
            if rule.interface.is_empty() {
                return fault("no interface is named");
            }
            if !(1..=PROCESSES_MOST).contains(&rule.processes) {
                return fault("`processes` is 1 to 250");
            }
            rule.limits(1..=1)?;
        }
        Ok(rules)
    }

    /// What `asker` may have of what is wished, and where by superframes.
    ///
    /// # Errors
    /// Why nothing, in words for the user.
    pub(super) fn judge(&self, asker: &Asker, wish: &Wish) -> Result<(Limits, Offload), String> {
        let (who, what) = (asker.name(), wish.interfaces.join(", "));
        let rule = self
            .allow
            .iter()
            .find(|rule| rule.is_for(asker) && wish.interfaces.iter().all(|i| rule.interface.contains(i)))
            .ok_or_else(|| format!("user {who} may not use {what}"))?;
        if wish.frames > rule.frames {
            let (most, wished) = (rule.frames, wish.frames);
            return Err(format!("user {who} may have {most} frames, and wants {wished} (RINGROAD_FRAMES)"));
        }
        if !(1..=rule.processes).contains(&wish.processes) {
            let (most, wished) = (rule.processes, wish.processes);
            return Err(format!(
                "user {who} may have places for {most} processes, and wants {wished} (RINGROAD_PROCESSES)"
            ));
        }
        let ephemeral = ephemeral().map_err(|e| format!("reading the ephemeral ports: {e}"))?;
        Ok((rule.limits(ephemeral)?, if rule.offload { Offload::Auto } else { Offload::Off }))
    }
}

impl Rule {
    fn is_for(&self, asker: &Asker) -> bool {
        self.user.as_ref().is_some_and(|name| asker.is_user(&name.text()))
            || self.group.as_ref().is_some_and(|name| asker.is_in(&name.text()))
    }

    fn limits(&self, ephemeral: RangeInclusive<u16>) -> Result<Limits, String> {
        let mut ports = self.port.iter().map(Ports::range).collect::<Result<Vec<_>, _>>()?;
        if self.connect && !ports.is_empty() {
            ports.push(ephemeral);
        }
        Ok(Limits { addresses: self.address.clone(), ports })
    }
}

/// The ports from which the kernel chooses.
fn ephemeral() -> io::Result<RangeInclusive<u16>> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")?;
    let mut ends = text.split_whitespace().map(str::parse::<u16>);
    match (ends.next(), ends.next()) {
        (Some(Ok(first)), Some(Ok(last))) => Ok(first..=last),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "[[allow]]\nuser = \"web\"\ninterface = [\"a\", \"b\"]\naddress = [\"10.0.0.1\"]\n\
        port = [80, \"8000-8099\"]\nconnect = false\noffload = true\n[[allow]]\ngroup = 50\ninterface = [\"c\"]\nframes = 2000\n";

    fn asker(user: &str, gid: u32) -> Asker {
        Asker { uid: 7, gid, user: Some(user.into()), groups: Vec::new() }
    }

    fn wish(interfaces: &[&str], frames: u32) -> Wish {
        let interfaces = interfaces.iter().map(|i| (*i).into()).collect();
        Wish { interfaces, frames, processes: processes() }
    }

    #[test]
    fn places_for_processes_are_counted() {
        let rules = Rules::parse("[[allow]]\nuser=7\ninterface=[\"a\"]\nprocesses=40\n").unwrap();
        let judge = |processes| rules.judge(&asker("x", 7), &Wish { processes, ..wish(&["a"], 1) });
        assert!(judge(1).is_ok() && judge(40).is_ok());
        assert!(judge(0).is_err());
        let many = judge(41).unwrap_err();
        assert_eq!(many, "user x may have places for 40 processes, and wants 41 (RINGROAD_PROCESSES)");
        // Who says nothing of them wishes for what a file that says nothing permits.
        let early: Wish = serde_json::from_str(r#"{"interfaces": ["a"], "frames": 1}"#).unwrap();
        assert_eq!(early, wish(&["a"], 1));
    }

    #[test]
    fn who_is_named_gets_what_is_named_and_nobody_else() {
        let rules = Rules::parse(TEXT).unwrap();
        let (limits, offload) = rules.judge(&asker("web", 7), &wish(&["b", "a"], 16384)).unwrap();
        assert_eq!(offload, Offload::Auto);
        assert_eq!(limits.addresses, [IpAddr::from([10, 0, 0, 1])]);
        assert_eq!(limits.ports, [80..=80, 8000..=8099]);
        assert_eq!(rules.judge(&asker("x", 50), &wish(&["c"], 2000)), Ok((Limits::default(), Offload::Off)));
        let refused = |who: &Asker, wish: Wish| rules.judge(who, &wish).unwrap_err();
        assert_eq!(refused(&asker("web", 7), wish(&["a", "c"], 1)), "user web may not use a, c");
        assert_eq!(refused(&asker("x", 7), wish(&["a"], 1)), "user x may not use a");
        let many = refused(&asker("x", 50), wish(&["c"], 2001));
        assert_eq!(many, "user x may have 2000 frames, and wants 2001 (RINGROAD_FRAMES)");
    }

    #[test]
    fn ports_for_connections_come_with_ports_to_serve_at() {
        let rules = Rules::parse("[[allow]]\nuser=\"*\"\ninterface=[\"a\"]\nport=[80]\n").unwrap();
        let (limits, _) = rules.judge(&asker("x", 7), &wish(&["a"], 1)).unwrap();
        assert_eq!(limits.ports, [80..=80, ephemeral().unwrap()]);
    }

    #[test]
    fn faults_of_the_file_are_told() {
        for (text, part) in [
            ("[[allow]]\ninterface=[\"a\"]\n", "one of `user` and `group`"),
            ("[[allow]]\nuser=1\ngroup=1\ninterface=[\"a\"]\n", "one of `user` and `group`"),
            ("[[allow]]\nuser=1\ninterface=[]\n", "no interface"),
            ("[[allow]]\nuser=1\ninterface=[\"a\"]\nprocesses=0\n", "1 to 250"),
            ("[[allow]]\nuser=1\ninterface=[\"a\"]\nport=[\"9-8\"]\n", "no range of ports"),
            ("[[allow]]\nuser=1\ninterface=[\"a\"]\nprt=[1]\n", "prt"),
            ("[[allow]]\nuser=1\ninterface=[\"a\"]\naddress=[\"10.0.0.0/8\"]\n", "address"),
        ] {
            let error = Rules::parse(text).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
