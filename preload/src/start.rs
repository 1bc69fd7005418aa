//! The beginning: when the library is loaded, before `main`.

use ringroad::config::Warning;
use ringroad::control::register_bypass;
use ringroad::runtime::{check_policy, observe_descriptors, port_descriptors};
use ringroad::{Config, log, seccomp};

use crate::{attach, carry, environment, exit, fdtable, fork, guard, heritage, real, reason, signals, stdio};

/// The dynamic loader calls what stands in this section.
#[cfg(not(test))]
#[used]
#[unsafe(link_section = ".init_array")]
static AT_LOAD: extern "C" fn() = at_load;

#[cfg_attr(test, allow(dead_code))]
extern "C" fn at_load() {
    if !is_wanted() {
        return;
    }
    // The application may clear its environment later (nginx does): it is read now.
    let (mut config, warnings) = Config::from_env();
    refuse_unguarded(&config, &warnings);
    // It is read again with the first socket; by then the program may have changed its directory.
    config.policy = config.policy.map(|file| std::path::absolute(&file).unwrap_or(file));
    if !config.wants_acceleration() || is_confined(&config) || !fdtable::start() {
        return;
    }
    real::find_all();
    // Daemons close all descriptors that they do not know.
    port_descriptors(&config).into_iter().for_each(|fd| fdtable::protect(fd, true));
    observe_descriptors(fdtable::protect_runtimes);
    attach::configure(config);
    let carried = carry::announced();
    environment::keep();
    heritage::take_open();
    register_bypass(bypasses);
    signals::install_fault_handler();
    fork::install();
    exit::install();
    guard::activate();
    if let Some(fd) = carried {
        carry::take(fd);
    }
    stdio::take_all_standard();
}

/// Whether the environment asks for anything: two look-ups, no allocation, for every program that is started.
fn is_wanted() -> bool {
    [c"RINGROAD_IFACE", c"RINGROAD_PORT"].iter().any(|name| {
        // SAFETY: a C string; nobody changes the environment before main.
        let value = unsafe { libc::getenv(name.as_ptr()) };
        !value.is_null()
    })
}

/// Without a launcher, which has seen to that, nobody else keeps a program from beginning without what it is to be guarded by.
#[cfg_attr(test, allow(dead_code))]
fn refuse_unguarded(config: &Config, warnings: &[Warning]) {
    if config.port.is_some() {
        return;
    }
    if let Some(grave) = warnings.iter().find(|warning| warning.is_grave()) {
        exit::refuse(grave);
    }
    if let Err(error) = check_policy(config) {
        exit::refuse(error);
    }
}

/// Whether somebody has put a filter of system calls on this program since the launcher opened the road.
#[cfg_attr(test, allow(dead_code))]
fn is_confined(config: &Config) -> bool {
    let confined = config.filters.zip(seccomp::filters()).is_some_and(|(launchers, own)| own > launchers);
    if confined {
        log::tell("a filter of system calls was there before the program; it stays in the kernel");
    }
    confined
}

fn bypasses() -> Vec<(&'static str, u64)> {
    let mut rows = Vec::new();
    reason::each(|name, count| rows.push((name, count)));
    rows
}
