//! `posix_spawn` and its relatives: libc makes a process that shares our memory until it is another program, and what it does
//! there (file actions) is not seen. So the environment is furnished beforehand, as for an exec, and a connection that is
//! meant for the new program goes as one that is sent (`heirs`): the keeper has it until somebody uses it, who has the
//! kernel's socket behind it by whichever descriptor.
//!
//! Meant for the new program is what an action puts in place, what lies on a standard descriptor, and what was made to outlive
//! an exec. The many that a server has open and does not speak of stay where they are.

use std::collections::HashMap;

use libc::{c_char, c_int, c_void, pid_t};

use crate::dispatch::rights;
use crate::errno::{Leave, Outcome};
use crate::fdtable::{self, Flag, Held};
use crate::kernel::{self, Program};
use crate::reason::Reason;
use crate::{environment, state};

/// More sets of actions than that are not remembered: a program destroys what it makes.
const SETS_MOST: usize = 1024;
/// Nor are more descriptors of one set.
const NAMES_MOST: usize = 256;

/// Descriptors that a set of file actions (by its address) puts in place.
#[derive(Default)]
pub(crate) struct Actions(HashMap<usize, Vec<c_int>>);

impl Actions {
    fn add(&mut self, set: usize, fd: c_int) {
        if self.0.len() < SETS_MOST || self.0.contains_key(&set) {
            let named = self.0.entry(set).or_default();
            if named.len() < NAMES_MOST && !named.contains(&fd) {
                named.push(fd);
            }
        }
    }

    fn forget(&mut self, set: usize) {
        self.0.remove(&set);
    }

    fn named(&self, set: usize) -> Vec<c_int> {
        self.0.get(&set).cloned().unwrap_or_default()
    }
}

/// What `posix_spawn` is told, beside the program.
#[derive(Clone, Copy)]
pub(crate) struct Told {
    /// Where the child's number goes.
    pub(crate) pid: *mut pid_t,
    /// File actions.
    pub(crate) actions: *const c_void,
    /// Attributes.
    pub(crate) attributes: *const c_void,
    /// Arguments of the program.
    pub(crate) args: *const *const c_char,
}

/// `posix_spawn`.
pub(crate) fn posix_spawn(
    pid: *mut pid_t,
    path: *const c_char,
    actions: *const c_void,
    attributes: *const c_void,
    args: *const *const c_char,
    env: *const *const c_char,
) -> Outcome {
    spawn(Program::Path(path), Told { pid, actions, attributes, args }, env)
}

/// `posix_spawnp`.
pub(crate) fn posix_spawnp(
    pid: *mut pid_t,
    name: *const c_char,
    actions: *const c_void,
    attributes: *const c_void,
    args: *const *const c_char,
    env: *const *const c_char,
) -> Outcome {
    spawn(Program::Name(name), Told { pid, actions, attributes, args }, env)
}

/// `system`.
pub(crate) fn system(command: *const c_char) -> Outcome {
    // Without one it only tells whether there is a shell.
    if !command.is_null() {
        lend(&[]);
    }
    Err(Reason::Plain.into())
}

/// `popen`.
pub(crate) fn popen(_: *const c_char, _: *const c_char) -> Outcome {
    lend(&[]);
    Err(Reason::Plain.into())
}

/// `posix_spawn_file_actions_init`.
pub(crate) fn init(actions: *mut c_void) -> Outcome {
    state::lock().actions.forget(actions.addr());
    Err(Reason::Plain.into())
}

/// `posix_spawn_file_actions_destroy`.
pub(crate) fn destroy(actions: *mut c_void) -> Outcome {
    init(actions)
}

/// `posix_spawn_file_actions_adddup2`.
pub(crate) fn adddup2(actions: *mut c_void, fd: c_int, _: c_int) -> Outcome {
    state::lock().actions.add(actions.addr(), fd);
    Err(Reason::Plain.into())
}

fn spawn(program: Program, told: Told, env: *const *const c_char) -> Outcome {
    let named = match told.actions.is_null() {
        true => Vec::new(),
        false => state::lock().actions.named(told.actions.addr()),
    };
    lend(&named);
    match environment::furnished(env, None) {
        Ok(Some(whole)) => Ok(kernel::spawn(program, told, &whole) as isize),
        // What cannot be read libc's child cannot read either.
        Ok(None) | Err(_) => Err(Leave::Bypass(Reason::Plain)),
    }
}

/// What is meant for the new program goes where that finds it.
fn lend(named: &[c_int]) {
    if !fdtable::any() {
        return;
    }
    let all = state::lock().registry.in_range(0, c_int::MAX);
    let is_meant = |held: &&Held| held.fd <= libc::STDERR_FILENO || held.file.is(Flag::Offered);
    let inherited = all.iter().filter(is_meant).filter(|held| outlives_exec(held.fd)).map(|held| held.fd);
    inherited.chain(named.iter().copied()).for_each(rights::entrust);
}

fn outlives_exec(fd: c_int) -> bool {
    kernel::fcntl(fd, libc::F_GETFD, 0).is_ok_and(|flags| flags & libc::FD_CLOEXEC == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_actions_is_known_until_it_is_made_anew_or_destroyed() {
        let mut actions = Actions::default();
        [7, 9, 7].into_iter().for_each(|fd| actions.add(0x1000, fd));
        actions.add(0x2000, 3);
        assert_eq!((actions.named(0x1000), actions.named(0x2000)), (vec![7, 9], vec![3]));
        actions.forget(0x1000);
        assert_eq!((actions.named(0x1000), actions.named(0x2000)), (vec![], vec![3]));
    }

    #[test]
    fn what_is_never_destroyed_has_an_end() {
        let mut actions = Actions::default();
        (0..2 * SETS_MOST).for_each(|set| actions.add(set, 1));
        (0..2 * NAMES_MOST as c_int).for_each(|fd| actions.add(0, fd));
        assert_eq!((actions.0.len(), actions.named(0).len()), (SETS_MOST, NAMES_MOST));
    }
}
