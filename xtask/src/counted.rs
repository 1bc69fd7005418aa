//! Instructions that a whole server on the road takes, as callgrind counts them: where times are noise, they repeat.

use std::collections::HashMap;
use std::path::PathBuf;

use lab::Running;

use crate::measure::Side;
use crate::run;

/// What is ours of the server, by its file's name.
const LIBRARY: &str = "libringroad_preload.so";

/// Whether there is something to count with.
pub(crate) fn can() -> bool {
    run::found("valgrind") && run::found("vgdb")
}

/// A server under callgrind.
pub(crate) struct Counted {
    server: Running,
    out: PathBuf,
    looks: u32,
}

impl Counted {
    /// Starts `program`, which is one process, by way of `words`. It does not spin: how often that looks is a matter of time.
    pub(crate) fn start(side: &Side, words: &[&str], program: &[&str], port: u16) -> Self {
        let out = side.folder().join("callgrind");
        let file = format!("--callgrind-out-file={}", out.display());
        // What is not counted is many times as fast.
        let program = [&["valgrind", "--tool=callgrind", "--instr-atstart=no", &file], program].concat();
        let server = side.serve_by(words, &["--strict", "--profile", "throughput"], &program, port);
        Self { server, out, looks: 0 }
    }

    /// What `work` takes of it.
    pub(crate) fn of(&mut self, side: &Side, work: impl FnOnce()) -> Instructions {
        let pid = format!("--pid={}", self.server.pid());
        let tell = |words: &[&str]| side.server.must(&[&["vgdb", &pid], words].concat());
        tell(&["instrumentation", "on"]);
        work();
        tell(&["dump"]);
        tell(&["instrumentation", "off"]);
        self.looks += 1;
        let file = self.out.with_extension(self.looks.to_string());
        Instructions::read(&std::fs::read_to_string(file).unwrap_or_default())
    }
}

/// So many instructions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Instructions {
    /// In our library.
    pub(crate) ours: u64,
    /// In the whole process.
    pub(crate) all: u64,
}

impl Instructions {
    /// From callgrind's file: lines of `position cost` belong to the object (`ob=`) above them; the one behind `calls=` is
    /// what the called function took, which has lines of its own. A name stands where it comes first: `ob=(1) /usr/lib/…`,
    /// then `ob=(1)`.
    fn read(text: &str) -> Self {
        let (mut sum, mut names) = (Self::default(), HashMap::new());
        let (mut ours, mut called) = (false, false);
        for line in text.lines() {
            if let Some(object) = line.strip_prefix("ob=").or_else(|| line.strip_prefix("cob=")) {
                let (number, name) = object.split_once(' ').unwrap_or((object, ""));
                if !name.is_empty() {
                    names.insert(number, name.ends_with(LIBRARY));
                }
                if line.starts_with("ob=") {
                    ours = names.get(number).copied().unwrap_or(false);
                }
            } else if line.starts_with("calls=") {
                called = true;
            } else if line.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '*'))
                && !std::mem::take(&mut called)
            {
                let cost = line.split(' ').nth(1).and_then(|cost| cost.parse().ok()).unwrap_or(0);
                sum.all += cost;
                sum.ours += if ours { cost } else { 0 };
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_called_counts_once_and_names_are_remembered() {
        let text = "\
version: 1
events: Ir

ob=(1) /usr/bin/redis-server
fl=(1) ae.c
fn=(1) main
16 100
+3 20
cob=(2) /opt/libringroad_preload.so
cfn=(2) epoll_wait
calls=7 0
* 5000

ob=(2)
fn=(2)
0 4000
cob=(1)
cfn=(1)
calls=1 16
-2 120

ob=(1)
fn=(3) other
1 3
";
        assert_eq!(Instructions::read(text), Instructions { ours: 4000, all: 4123 });
        assert_eq!(Instructions::read(""), Instructions::default());
    }
}
