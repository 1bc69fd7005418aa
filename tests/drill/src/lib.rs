//! Drills: scripts in packetdrill's notation that a TCP has to pass, one file an RFC.
//!
//! The same drill runs against our stack in virtual time and against the Linux kernel through a TUN interface
//! in a network namespace, over IPv4 and IPv6, so that what we expect of ourselves is checked as well. Where
//! the two differ, [`differences`] says why.
//!
//! ```console
//! $ cargo test -p ringroad-drill --test stack rfc5961     # ours
//! $ cargo test -p ringroad-drill --test kernel rfc5961    # Linux's, as root
//! ```

pub mod differences;
pub mod drill;
pub mod drills;
pub mod kernel;
pub mod notation;
pub mod on_stack;
pub mod packet;
pub mod segment;
pub mod subject;

pub use drill::{Drill, Family, On};
pub use packet::Complaint;
pub use segment::Segment;
pub use subject::{Errno, Knob, State};
