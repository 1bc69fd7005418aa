//! The same program with the same test, on the kernel and on the road: what it answers must be the same.

use std::path::PathBuf;

use lab::{Counters, Lab, Namespace, Running, Where, ringroad, start};

use crate::{assert_no_connections, on_kernel};

/// Two hosts, and where the program in question runs.
pub struct Stage {
    /// The laboratory.
    pub lab: Lab,
    /// The host of 10.77.0.1.
    pub server: Namespace,
    /// The host of 10.77.0.2.
    pub client: Namespace,
    /// On which TCP the program in question runs.
    pub place: Where,
    before: (Counters, Counters),
}

impl Stage {
    fn new(name: &str, place: Where) -> Self {
        let lab = Lab::new(name);
        let (server, client) = lab.pair();
        let before = (server.counters(), client.counters());
        Self { lab, server, client, place, before }
    }

    /// Starts the server in question, and waits until it listens.
    #[must_use]
    pub fn serve(&self, program: &[&str], port: u16) -> Running {
        match self.place {
            Where::Kernel => on_kernel(&self.server, program, port),
            Where::Road => start(&self.server, &ringroad(&["--strict"], program), port, Where::Road),
        }
    }

    /// Runs the client in question to its end.
    #[must_use]
    pub fn ask(&self, program: &[&str]) -> String {
        match self.place {
            Where::Kernel => self.client.must(program),
            Where::Road => self.client.must(&ringroad(&["--strict"], program)),
        }
    }

    /// As [`Stage::ask`], for so many seconds at the most.
    #[must_use]
    pub fn ask_for(&self, seconds: u32, program: &[&str]) -> String {
        match self.place {
            Where::Kernel => self.client.run_for(seconds, program).must(),
            Where::Road => self.client.run_for(seconds, &ringroad(&["--strict"], program)).must(),
        }
    }

    /// On the road: the server's kernel has seen no connection.
    pub fn assert_served_past_the_kernel(&self) {
        if self.place == Where::Road {
            assert_no_connections(&self.server, &self.before.0);
        }
    }

    /// On the road: the client's kernel has seen no connection.
    pub fn assert_asked_past_the_kernel(&self) {
        if self.place == Where::Road {
            assert_no_connections(&self.client, &self.before.1);
        }
    }
}

/// Runs `test` on the kernel, then on the road.
///
/// # Panics
/// When what it tells differs, or it does.
#[track_caller]
pub fn same_on_both(name: &str, test: impl Fn(&Stage) -> String) {
    let kernel = test(&Stage::new(&format!("{name}-k"), Where::Kernel));
    let road = test(&Stage::new(name, Where::Road));
    assert_eq!(road, kernel, "{name}: on the road, and on the kernel");
}

/// The path of one of the programs in `tests/programs`.
///
/// # Panics
/// When there is none of this name.
#[must_use]
pub fn program(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("programs").join(name);
    assert!(path.exists(), "{}", path.display());
    path.to_string_lossy().into_owned()
}
