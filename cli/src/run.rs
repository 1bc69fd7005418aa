//! `ringroad run`: the environment, the flags over it, then the program in our place.

use std::process::ExitCode;

use ringroad::Config;
use ringroad::config::{ROWS, Warning};

use crate::args::Run;
use crate::{complain, keep};

/// Becomes the program. Comes back only when that failed.
pub(crate) fn run(flags: &Run) -> ExitCode {
    let (mut config, warnings) = Config::from_env();
    warnings.iter().for_each(|w| complain(w));
    if warnings.iter().any(Warning::is_grave) {
        return ExitCode::from(2);
    }
    if let Err(error) = apply(flags, &mut config) {
        complain(&error);
        return ExitCode::from(2);
    }
    // Without an interface there is nothing to fall back from: say which there are, and run nothing.
    config.strict |= config.interfaces.is_empty();
    match ringroad::launch::run(&config, &flags.command, &keep::DETACH) {
        Ok(never) => match never {},
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// Sets what the flags say. A flag is read as its variable is.
fn apply(flags: &Run, config: &mut Config) -> Result<(), String> {
    let strict = flags.strict.then(|| "1".to_owned());
    let given = [
        ("--iface", "RINGROAD_IFACE", &flags.iface),
        ("--backend", "RINGROAD_BACKEND", &flags.backend),
        ("--address", "RINGROAD_ADDRESS", &flags.address),
        ("--policy", "RINGROAD_POLICY", &flags.policy),
        ("--profile", "RINGROAD_PROFILE", &flags.profile),
        ("--spin", "RINGROAD_SPIN_US", &flags.spin),
        ("--spin-calls", "RINGROAD_SPIN_CALLS", &flags.spin_calls),
        ("--congestion", "RINGROAD_CONGESTION", &flags.congestion),
        ("--log", "RINGROAD_LOG", &flags.log),
        ("--strict", "RINGROAD_STRICT", &strict),
    ];
    for (flag, variable, value) in given {
        let Some(value) = value else { continue };
        if value.is_empty() {
            // Of a variable of a script that has none, most often.
            return Err(format!("{flag}: no value"));
        }
        let row = ROWS.iter().find(|row| row.name == variable);
        row.map_or(Ok(()), |row| (row.parse)(config, value)).map_err(|e| format!("{flag} {value}: {e}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Args, Task};
    use clap::Parser;
    use std::time::Duration;

    fn flags(words: &[&str]) -> Run {
        let Task::Run(run) = Args::parse_from([&["ringroad", "run"], words, &["--", "x"]].concat()).task
        else {
            panic!("not run")
        };
        run
    }

    #[test]
    fn flags_win_over_the_environment() {
        let (mut config, _) = Config::from_vars([("RINGROAD_IFACE".into(), "eth0".into())]);
        let given =
            flags(&["--iface", "a,b", "--spin", "75", "--profile", "latency", "--log", "info", "--strict"]);
        apply(&given, &mut config).unwrap();
        assert_eq!(config.interfaces, ["a", "b"]);
        assert_eq!(config.spin(), Duration::from_micros(75));
        assert_eq!(config.profile, ringroad::Profile::Latency);
        assert!(config.strict);
    }

    #[test]
    fn every_flag_has_its_variable() {
        let mut config = Config::default();
        let before = format!("{config:?}");
        for given in [
            ["--iface", "a"],
            ["--address", "10.88.0.2/24"],
            ["--policy", "f"],
            ["--profile", "latency"],
            ["--spin", "9"],
            ["--spin-calls", "recv=9"],
            ["--log", "info"],
        ] {
            apply(&flags(&given), &mut config).unwrap();
            assert_ne!(format!("{config:?}"), before, "{given:?} changed nothing");
            config = Config::default();
        }
    }

    #[test]
    fn an_empty_value_is_none() {
        let error = apply(&flags(&["--policy", ""]), &mut Config::default()).unwrap_err();
        assert_eq!(error, "--policy: no value");
    }

    #[test]
    fn a_bad_value_names_the_flag() {
        let error = apply(&flags(&["--profile", "fast"]), &mut Config::default()).unwrap_err();
        assert_eq!(error, "--profile fast: expected balanced, latency or throughput");
    }
}
