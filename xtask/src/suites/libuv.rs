//! libuv's tests, built from Debian's sources.

use super::job::Job;
use super::{Suite, fetch, folder, read};

pub(super) fn prepare() -> Result<String, String> {
    let folder = folder(Suite::Libuv);
    if !folder.join("build/uv_run_tests_a").is_file() {
        fetch::source(&folder, "libuv1")?;
        fetch::cmake(&folder, &[], &["uv_run_tests_a"])?;
    }
    Ok(fetch::version(&folder, "libuv1"))
}

pub(super) fn jobs() -> Vec<Job> {
    let folder = folder(Suite::Libuv);
    let set = |name, value: &str| (name, value.to_owned());
    vec![Job {
        suite: Suite::Libuv,
        name: "tests",
        command: vec![folder.join("build/uv_run_tests_a").to_string_lossy().into_owned()],
        chosen: Vec::new(),
        // The last two as Debian sets them.
        env: vec![
            set("UV_RUN_AS_ROOT", "1"),
            set("UV_TEST_TIMEOUT_MULTIPLIER", "2"),
            set("RES_OPTIONS", "attempts:0"),
        ],
        folder: Some(folder.join("source")),
        choose: |test| vec![test.to_owned()],
        read: read::tap,
        file: None,
        in_turns: true,
        limit: 600,
    }]
}
