//! The environment, read by the table.

use std::ffi::OsString;
use std::fmt;

use super::Config;
use super::table::ROWS;

/// Something in the environment that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// A `RINGROAD_*` variable that means nothing.
    Unknown {
        /// The variable.
        name: String,
        /// The nearest name that means something.
        nearest: Option<&'static str>,
    },
    /// A value that cannot be read.
    BadValue {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
        /// What was expected.
        expected: String,
    },
}

/// What a program is not to begin without, when it was asked for.
const PROTECTION: [&str; 2] = ["RINGROAD_POLICY", "RINGROAD_STRICT"];

impl Warning {
    /// Whether a protection was asked for that the program would do without: then it is not to begin.
    pub fn is_grave(&self) -> bool {
        let name = match self {
            Warning::Unknown { nearest, .. } => *nearest,
            Warning::BadValue { name, .. } => Some(*name),
        };
        name.is_some_and(|name| PROTECTION.contains(&name))
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::Unknown { name, nearest: Some(near) } => {
                write!(f, "{name} means nothing; did you mean {near}?")
            }
            Warning::Unknown { name, nearest: None } => write!(f, "{name} means nothing"),
            Warning::BadValue { name, value, expected } => {
                write!(f, "{name}={value}: {expected}")?;
                if self.is_grave() { Ok(()) } else { f.write_str("; the default is used") }
            }
        }
    }
}

/// A configuration with what was wrong in its source.
pub type Settings = (Config, Vec<Warning>);

impl Config {
    /// As [`Config::from_env`], from any source of variables.
    pub fn from_vars(vars: impl IntoIterator<Item = (OsString, OsString)>) -> Settings {
        let mut config = Config::default();
        let mut warnings = Vec::new();
        for (name, value) in vars {
            let Some(name) = name.to_str().filter(|n| n.starts_with("RINGROAD_")) else { continue };
            let value = value.to_string_lossy();
            match ROWS.iter().find(|r| r.name == name) {
                None => warnings.push(Warning::Unknown { name: name.into(), nearest: nearest(name) }),
                Some(row) => {
                    if let Err(expected) = (row.parse)(&mut config, &value) {
                        warnings.push(Warning::BadValue {
                            name: row.name,
                            value: value.into_owned(),
                            expected,
                        });
                    }
                }
            }
        }
        (config, warnings)
    }
}

/// The setting whose name is most like `name`, when one is like it at all.
fn nearest(name: &str) -> Option<&'static str> {
    ROWS.iter()
        .map(|r| (strsim::jaro_winkler(tail(r.name), tail(name)), r.name))
        .filter(|(likeness, _)| *likeness > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

fn tail(name: &str) -> &str {
    name.strip_prefix("RINGROAD_").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{Profile, help};

    fn parse(vars: &[(&str, &str)]) -> Settings {
        Config::from_vars(vars.iter().map(|(n, v)| (OsString::from(n), OsString::from(v))))
    }

    #[test]
    fn every_setting_is_read() {
        let (c, w) = parse(&[
            ("RINGROAD_IFACE", "veth0, eth1"),
            ("RINGROAD_POLICY", "/etc/p.toml"),
            ("RINGROAD_PROFILE", "latency"),
            ("RINGROAD_SPIN_US", "75"),
            ("RINGROAD_SPIN_CALLS", "accept=7"),
            ("RINGROAD_CONGESTION", "reno"),
            ("RINGROAD_ECN", "1"),
            ("RINGROAD_LOG", "debug"),
            ("RINGROAD_STRICT", "1"),
            ("RINGROAD_FRAMES", "2048"),
            ("RINGROAD_LINGER_MS", "500"),
            ("PATH", "/bin"),
        ]);
        assert_eq!(w, []);
        assert_eq!(c.interfaces, ["veth0", "eth1"]);
        assert_eq!(c.policy.as_deref(), Some(std::path::Path::new("/etc/p.toml")));
        assert_eq!((c.profile, c.spin()), (Profile::Latency, Duration::from_micros(75)));
        assert_eq!(c.spin_calls.to_string(), "accept=7");
        assert_eq!((c.log, c.strict, c.frames), (tracing::Level::DEBUG, true, 2048));
        assert_eq!(c.linger, Duration::from_millis(500));
        assert_eq!((c.congestion.name(), c.ecn), ("reno", Some(1)));
    }

    #[test]
    fn the_default_rows_give_the_default_configuration() {
        let (c, _) = parse(&[]);
        let vars: Vec<_> = ROWS
            .iter()
            // One that is the profile's, the host's or the port's is no value.
            .filter(|r| !r.default.ends_with("'s") && r.name != "RINGROAD_CONTROL_DIR")
            .map(|r| (r.name, r.default))
            .collect();
        let (d, w) = parse(&vars);
        assert_eq!(w, []);
        assert_eq!(format!("{c:?}"), format!("{d:?}"));
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest() {
        let (_, w) = parse(&[("RINGROAD_IFCE", "x"), ("RINGROAD_SPIN", "3"), ("RINGROAD_ZZZ", "")]);
        let lines: Vec<_> = w.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "RINGROAD_IFCE means nothing; did you mean RINGROAD_IFACE?",
                "RINGROAD_SPIN means nothing; did you mean RINGROAD_SPIN_US?",
                "RINGROAD_ZZZ means nothing"
            ]
        );
    }

    #[test]
    fn a_bad_value_leaves_the_default() {
        let (c, w) = parse(&[("RINGROAD_FRAMES", "7"), ("RINGROAD_PROFILE", "fast")]);
        assert_eq!((c.frames, c.profile), (16384, Profile::Balanced));
        assert_eq!(w[0].to_string(), "RINGROAD_FRAMES=7: expected 1024 to 4194304; the default is used");
    }

    #[test]
    fn what_would_cost_a_program_its_protection_is_grave() {
        let grave = |name, value| parse(&[(name, value)]).1[0].is_grave();
        assert!(grave("RINGROAD_POLCY", "/etc/p.toml") && grave("RINGROAD_STRICT", "perhaps"));
        assert!(!grave("RINGROAD_FRAMES", "7") && !grave("RINGROAD_ZZZ", ""));
        let (_, w) = parse(&[("RINGROAD_STRICT", "perhaps")]);
        assert_eq!(w[0].to_string(), "RINGROAD_STRICT=perhaps: expected 1 or 0");
    }

    #[test]
    fn who_names_a_policy_insists_on_the_road() {
        assert!(parse(&[("RINGROAD_POLICY", "/etc/p.toml")]).0.insists());
        assert!(parse(&[("RINGROAD_STRICT", "1")]).0.insists());
        assert!(!parse(&[("RINGROAD_IFACE", "veth0"), ("RINGROAD_POLICY", "")]).0.insists());
    }

    #[test]
    fn the_help_has_a_line_for_each_row() {
        assert_eq!(help().lines().count(), ROWS.len());
    }
}
