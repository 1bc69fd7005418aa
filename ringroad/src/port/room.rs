//! Whether a limit on address space (RLIMIT_AS) leaves room for a stack. It is asked before anything is made: an allocation that
//! fails ends the process, and the program is to go on in the kernel.

use std::io;

use memmap2::MmapOptions;
use rustix::process::{Resource, getrlimit};

use crate::error::StartError;

/// What rings, maps of the steering programs and threads take besides the frames, and what the program may need next.
const BESIDES: u64 = 16 << 20;

/// Whether a stack with so many octets of frames has room.
///
/// # Errors
/// It has not.
pub(super) fn check(frames: u64) -> Result<(), StartError> {
    let Some(limit) = getrlimit(Resource::As).current else { return Ok(()) };
    let needed = needed(frames);
    reserve(needed).map_err(|_| {
        let of = format!("a stack takes {} MB of address space, and {} MB is all", needed >> 20, limit >> 20);
        StartError::new("finding room for the stack", of)
            .remedy("allow more (RLIMIT_AS), or take fewer frames (RINGROAD_FRAMES)")
    })
}

/// Its tables have about 800 octets for each frame of 4 KiB.
fn needed(frames: u64) -> u64 {
    frames.saturating_add(frames / 4).saturating_add(BESIDES)
}

/// Takes so much address space, and gives it back.
fn reserve(octets: u64) -> io::Result<()> {
    let octets = usize::try_from(octets).map_err(io::Error::other)?;
    MmapOptions::new().len(octets).no_reserve_swap().map_anon().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_where_nothing_limits_it_and_no_room_for_more_than_there_can_be() {
        assert!(reserve(needed(64 << 20)).is_ok());
        assert!(reserve(1 << 62).is_err());
        assert_eq!(needed(64 << 20), 96 << 20);
    }
}
