//! Another policy for a stack that runs.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, PoisonError};

use stack::policy::Successor;

use super::Runtime;
use crate::policy_file::Compiled;
use crate::port::Texts;

impl Runtime {
    /// The policies of the port that this process drives.
    pub(crate) fn policies(&self) -> io::Result<Texts> {
        let claimed = self.claimed.lock().unwrap_or_else(PoisonError::into_inner);
        claimed.as_ref().map_or_else(|| Ok(Texts::default()), |claimed| claimed.policies())
    }

    /// Puts the policy of `file`, which is what `text` says, in force, here and for whoever comes to drive the port, who may
    /// judge by `image`. No packet is judged by half of it. The number of policies so far.
    ///
    /// # Errors
    /// The operating system's; then nothing has changed.
    pub(crate) fn put_in_force(
        &self,
        file: &Compiled,
        text: &str,
        image: Option<BorrowedFd<'_>>,
    ) -> io::Result<u64> {
        self.succeed_guard(file, text, image)?;
        // What takes long is done before and after the lock is held.
        let old = Arc::clone(self.lock_quietly().stack().policy_in_force());
        let next = Successor::new(&old, Arc::clone(&file.policy));
        let mut turn = self.lock_quietly();
        let retired = turn.stack().succeed_policy(next);
        let generation = turn.stack().policy_generation();
        drop(turn);
        drop((retired, old));
        self.follow_marks();
        Ok(generation.into())
    }
}
