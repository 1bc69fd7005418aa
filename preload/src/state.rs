//! What changes under one lock: the registry of files, and the epoll sets.
//!
//! The lock is taken after the runtime's, never before it: whoever needs both takes the runtime's first.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};

use crate::epoll::Interests;
use crate::fdtable::Registry;
use crate::groups::Joined;
use crate::heirs::Heirs;
use crate::spawn::Actions;

/// What the lock guards.
#[derive(Default)]
pub(crate) struct State {
    /// Files and descriptors.
    pub(crate) registry: Registry,
    /// Epoll sets.
    pub(crate) interests: Interests,
    /// What children may ask for.
    pub(crate) heirs: Heirs,
    /// Groups that UDP sockets have joined.
    pub(crate) groups: Joined,
    /// What programs that are spawned will find in place.
    pub(crate) actions: Actions,
}

static STATE: OnceLock<Mutex<State>> = OnceLock::new();

/// Takes the lock.
pub(crate) fn lock() -> MutexGuard<'static, State> {
    STATE.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
}

/// Held by the thread that asks for connections.
pub(crate) type Claims = MutexGuard<'static, ()>;

static CLAIMS: Mutex<()> = Mutex::new(());

/// Taken, before all others, while a connection is asked for.
pub(crate) fn lock_claims() -> Claims {
    CLAIMS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The same, where nobody asks for a connection at present.
pub(crate) fn try_lock_claims() -> Option<Claims> {
    match CLAIMS.try_lock() {
        Ok(claims) => Some(claims),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}
