//! Settings that say where something is written or found. They mean the directory of who reads them first: processes that
//! come after it, in directories of their own, get whole paths.

use std::ffi::OsString;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::Config;

/// A path that means the same in every directory.
pub(crate) fn absolute(path: impl AsRef<Path>) -> PathBuf {
    let path = path.as_ref();
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

impl Config {
    /// The variables that say so to others.
    pub(crate) fn places(&self) -> Vec<(&'static str, OsString)> {
        let alerts = (!self.alerts.is_empty())
            .then(|| self.alerts.iter().map(ToString::to_string).collect::<Vec<_>>().join(","));
        // A comma ends a name: where the directory has one, whoever reads it must be there.
        let alerts =
            alerts.filter(|_| self.alerts.iter().all(|sink| said(sink).is_some_and(|s| !s.contains(','))));
        let of = |place: &Option<crate::flows::Place>| place.as_ref().and_then(said);
        let all = [
            ("RINGROAD_ALERTS", alerts),
            ("RINGROAD_FLOWS", of(&self.flows)),
            ("RINGROAD_SHADOW", of(&self.shadow)),
            ("RINGROAD_METRICS", self.metrics.as_ref().and_then(said)),
        ];
        let all = all.into_iter().filter_map(|(name, text)| Some((name, text?.into())));
        let files = [("RINGROAD_POLICY", &self.policy), ("RINGROAD_EF_VI_LIBRARY", &self.ef_vi_library)];
        let files =
            files.into_iter().filter_map(|(name, path)| Some((name, absolute(path.as_ref()?).into())));
        all.chain(files).collect()
    }
}

/// The text that is read as this; none where the directory is no text.
fn said<T: Display + FromStr + PartialEq>(value: &T) -> Option<String> {
    let text = value.to_string();
    text.parse().is_ok_and(|same: T| same == *value).then_some(text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    fn of(vars: &[(&str, &str)]) -> Config {
        let (config, warnings) =
            Config::from_vars(vars.iter().map(|(name, value)| (name.into(), value.into())));
        assert_eq!(warnings, []);
        config
    }

    #[test]
    fn whoever_comes_later_writes_where_the_first_does() {
        let said = [
            ("RINGROAD_ALERTS", "file:alerts.json,syslog,unix:/run/alerts"),
            ("RINGROAD_FLOWS", "flows,4G"),
            ("RINGROAD_SHADOW", "../shadow"),
            ("RINGROAD_METRICS", "unix:metrics"),
            ("RINGROAD_POLICY", "shop.toml"),
        ];
        let config = of(&said);
        let here = std::env::current_dir().unwrap();
        let told: Vec<(&str, String)> =
            config.places().into_iter().map(|(name, value)| (name, value.into_string().unwrap())).collect();
        let here = here.display();
        let expected = [
            ("RINGROAD_ALERTS", format!("file:{here}/alerts.json,syslog,unix:/run/alerts")),
            ("RINGROAD_FLOWS", format!("{here}/flows,4294967296")),
            ("RINGROAD_SHADOW", format!("{here}/../shadow,268435456")),
            ("RINGROAD_METRICS", format!("unix:{here}/metrics")),
            ("RINGROAD_POLICY", format!("{here}/shop.toml")),
        ];
        assert_eq!(told, expected);
        let told: Vec<(&str, &str)> = told.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let again = of(&told);
        assert_eq!((&again.alerts, &again.flows), (&config.alerts, &config.flows));
        assert_eq!((&again.shadow, &again.metrics), (&config.shadow, &config.metrics));
    }

    #[test]
    fn what_is_said_nowhere_is_not_told() {
        assert_eq!(
            of(&[("RINGROAD_METRICS", "127.0.0.1:9100")]).places(),
            [("RINGROAD_METRICS", "127.0.0.1:9100".into())]
        );
        assert_eq!(Config::default().places(), []);
        // No text of ours makes such a path; a directory may.
        let config =
            Config { alerts: vec![crate::alerts::Sink::File("/a,b/alerts".into())], ..Config::default() };
        assert_eq!(config.places(), []);
        let directory = std::ffi::OsStr::from_bytes(b"/caf\xe9").into();
        let flows = Some(crate::flows::Place { directory, size: 1 << 20 });
        assert_eq!(Config { flows, ..Config::default() }.places(), [], "another directory would be told");
    }
}
