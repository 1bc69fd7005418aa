//! libevent's tests, built from Debian's sources, with each of its ways to wait.

use super::job::Job;
use super::{Suite, fetch, folder, read};

/// What is not looked at: TLS, which another library does, and programs for measuring and showing.
const OPTIONS: &[&str] = &[
    "-DEVENT__LIBRARY_TYPE=STATIC",
    "-DEVENT__DISABLE_OPENSSL=ON",
    "-DEVENT__DISABLE_BENCHMARK=ON",
    "-DEVENT__DISABLE_SAMPLES=ON",
];

/// Ways to wait, and the better ones that have to be switched off for them.
const WAYS: &[(&str, &[&str])] =
    &[("epoll", &[]), ("poll", &["EVENT_NOEPOLL"]), ("select", &["EVENT_NOEPOLL", "EVENT_NOPOLL"])];

pub(super) fn prepare() -> Result<String, String> {
    let folder = folder(Suite::Libevent);
    if !folder.join("build/bin/regress").is_file() {
        fetch::source(&folder, "libevent")?;
        fetch::cmake(&folder, OPTIONS, &["regress"])?;
    }
    Ok(fetch::version(&folder, "libevent"))
}

pub(super) fn jobs() -> Vec<Job> {
    let program = folder(Suite::Libevent).join("build/bin/regress").to_string_lossy().into_owned();
    let one = |(name, without): &(&'static str, &[&'static str])| Job {
        suite: Suite::Libevent,
        name,
        command: vec![program.clone()],
        chosen: Vec::new(),
        env: without.iter().map(|name| (*name, "1".to_owned())).collect(),
        folder: None,
        choose: |test| vec![test.to_owned()],
        read: read::tinytest,
        file: None,
        in_turns: false,
        limit: 300,
    };
    WAYS.iter().map(one).collect()
}
