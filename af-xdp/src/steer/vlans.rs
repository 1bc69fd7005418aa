//! On which VLANs of the interface the host's addresses live.

use std::io;
use std::net::IpAddr;
use std::sync::atomic::Ordering;

use super::Steering;
use super::keys::sixteen;

/// The word of `struct steer_config` that says whether addresses live on VLANs, or ever did.
const TAGGED: usize = 5;
/// Bytes in key and value of the map: an address, a VLAN's number.
pub(super) const SHAPE: (usize, usize) = (16, 4);

impl Steering {
    /// An address of the host lives on a VLAN of the interface, or (none) on the interface itself: only packets with that
    /// tag, or without one, are steered that are sent to it. A fact about the host, for all stacks.
    ///
    /// # Errors
    /// The operating system's; `E2BIG` when there are too many.
    pub fn set_vlan(&self, address: IpAddr, vlan: Option<u16>) -> io::Result<()> {
        let (key, seen) = (sixteen(address), self.config.long(TAGGED));
        let Some(vlan) = vlan else {
            return if seen.load(Ordering::Relaxed) == 0 { Ok(()) } else { self.tagged.delete(&key) };
        };
        self.tagged.update(&key, &u32::from(vlan).to_ne_bytes())?;
        seen.store(1, Ordering::Relaxed);
        Ok(())
    }
}
