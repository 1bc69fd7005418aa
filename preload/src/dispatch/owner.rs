//! Who is told of urgent data by SIGURG: the owner of a file (F_SETOWN and its relatives).
//!
//! The kernel keeps it for a backing socket of the file's own; where connections share one it is kept here alone.
//! Either way the signal is ours to send, since the urgent data is.

use libc::{c_int, c_ulong, pid_t};

use crate::errno::{Leave, Outcome, fail};
use crate::fdtable::{File, Flag, Held};
use crate::kernel;
use crate::reason::Reason;
use crate::user::Place;

const F_SETOWN_EX: c_int = 15;
const F_GETOWN_EX: c_int = 16;
const F_OWNER_TID: c_int = 0;
const F_OWNER_PID: c_int = 1;
const F_OWNER_PGRP: c_int = 2;
const FIOSETOWN: c_ulong = 0x8901;
const SIOCSPGRP: c_ulong = 0x8902;
const FIOGETOWN: c_ulong = 0x8903;
const SIOCGPGRP: c_ulong = 0x8904;

/// An owner: a process, a group, or a thread; number zero is nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    kind: c_int,
    number: pid_t,
}

impl Owner {
    /// As F_SETOWN has it: negative numbers are groups.
    fn signed(number: c_int) -> Option<Self> {
        match number {
            ..0 => Some(Self { kind: F_OWNER_PGRP, number: number.checked_neg()? }),
            0.. => Some(Self { kind: F_OWNER_PID, number }),
        }
    }

    fn to_signed(self) -> c_int {
        if self.kind == F_OWNER_PGRP { -self.number } else { self.number }
    }

    /// In one word, for an atomic.
    pub(crate) fn pack(self) -> u64 {
        (self.kind as u64) << 32 | u64::from(self.number as u32)
    }

    /// Back from [`Owner::pack`].
    pub(crate) fn unpack(word: u64) -> Self {
        Self { kind: (word >> 32) as c_int, number: word as u32 as pid_t }
    }

    fn signal(self, signal: c_int) -> bool {
        match self.kind {
            _ if self.number == 0 => true,
            F_OWNER_TID => kernel::signal_thread(self.number, signal),
            F_OWNER_PGRP => kernel::signal_process(-self.number, signal),
            _ => kernel::signal_process(self.number, signal),
        }
    }
}

/// Urgent data was announced on this file.
pub(crate) fn announce(file: &File) {
    Owner::unpack(file.owner()).signal(libc::SIGURG);
}

/// The commands of `fcntl` that are about owners; none for others.
pub(super) fn fcntl(held: &Held, command: c_int, argument: usize) -> Option<Outcome> {
    let place = Place::from(argument as *const u8);
    Some(match command {
        libc::F_SETOWN => match Owner::signed(argument as c_int) {
            Some(owner) => set(held, owner),
            None => Err(fail(libc::EINVAL)),
        },
        F_SETOWN_EX => read_ex(place).and_then(|owner| set(held, owner)),
        libc::F_GETOWN if is_ours(held) => Ok(Owner::unpack(held.file.owner()).to_signed() as isize),
        F_GETOWN_EX if is_ours(held) => {
            let Owner { kind, number } = Owner::unpack(held.file.owner());
            place.write(&kind).and_then(|()| place.after(4).write(&number)).map(|()| 0).map_err(Into::into)
        }
        _ => return None,
    })
}

/// The requests of `ioctl` that are about owners; none for others.
pub(super) fn ioctl(held: &Held, request: c_ulong, place: Place) -> Option<Outcome> {
    Some(match request {
        FIOSETOWN | SIOCSPGRP => place.read::<c_int>().map_err(Into::into).and_then(|number| {
            Owner::signed(number).ok_or(fail(libc::EINVAL)).and_then(|owner| set(held, owner))
        }),
        FIOGETOWN | SIOCGPGRP if is_ours(held) => {
            place.write(&Owner::unpack(held.file.owner()).to_signed()).map(|()| 0).map_err(Into::into)
        }
        _ => return None,
    })
}

/// Reads a `struct f_owner_ex`.
fn read_ex(place: Place) -> Result<Owner, Leave> {
    let (kind, number) = (place.read::<c_int>()?, place.after(4).read::<pid_t>()?);
    match kind {
        F_OWNER_TID..=F_OWNER_PGRP => Ok(Owner { kind, number }),
        _ => Err(fail(libc::EINVAL)),
    }
}

/// Whether the kernel does not know the owner, because the backing socket is shared.
fn is_ours(held: &Held) -> bool {
    held.file.is(Flag::SharedBacking)
}

fn set(held: &Held, owner: Owner) -> Outcome {
    if is_ours(held) && !owner.signal(0) {
        return Err(fail(libc::ESRCH));
    }
    held.file.set_owner(owner.pack());
    if is_ours(held) { Ok(0) } else { Err(Reason::Plain.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_pack_and_a_group_is_a_negative_process() {
        for owner in [
            Owner { kind: F_OWNER_TID, number: 7 },
            Owner { kind: F_OWNER_PID, number: i32::MAX },
            Owner { kind: F_OWNER_PGRP, number: 1 },
        ] {
            assert_eq!(Owner::unpack(owner.pack()), owner);
        }
        assert_eq!(Owner::signed(-5).map(Owner::to_signed), Some(-5));
        assert_eq!(Owner::signed(5).map(Owner::to_signed), Some(5));
        assert_eq!(Owner::signed(c_int::MIN), None);
        assert!(Owner::unpack(0).signal(libc::SIGKILL), "nobody is told");
    }
}
