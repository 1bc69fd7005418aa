//! `struct msghdr`, in and out of the application.

use core::net::SocketAddr;

use libc::msghdr;

use super::sockaddr::{self, Named};
use super::{Cursor, Place, read_sockaddr};
use crate::errno::Errno;

/// A message header and where it came from.
pub(crate) struct Message {
    place: Place,
    raw: msghdr,
}

/// What recvmsg reports besides the bytes.
pub(crate) struct Reply {
    /// The sender, when the socket tells it.
    pub(crate) name: Option<SocketAddr>,
    /// `MSG_TRUNC` and such.
    pub(crate) flags: i32,
    /// Bytes of control messages.
    pub(crate) control: usize,
}

impl Message {
    /// Reads the header at `place`.
    ///
    /// # Errors
    /// EFAULT.
    pub(crate) fn read(place: Place) -> Result<Self, Errno> {
        Ok(Self { place, raw: place.read()? })
    }

    /// Its buffers.
    ///
    /// # Errors
    /// EMSGSIZE for more than 1024 of them; as [`Cursor::array`].
    pub(crate) fn buffers(&self) -> Result<Cursor, Errno> {
        let count = i32::try_from(self.raw.msg_iovlen).ok().filter(|n| *n <= 1024);
        Cursor::array(Place::from(self.raw.msg_iov), count.ok_or(Errno(libc::EMSGSIZE))?)
    }

    /// The address it names.
    ///
    /// # Errors
    /// As [`read_sockaddr`].
    pub(crate) fn name(&self) -> Result<Option<Named>, Errno> {
        let place = Place::from(self.raw.msg_name);
        if place.is_null() || self.raw.msg_namelen == 0 {
            return Ok(None);
        }
        read_sockaddr(place, self.raw.msg_namelen).map(Some)
    }

    /// Where control messages are, or go, and how many bytes there are of them, or for them.
    pub(crate) fn control(&self) -> (Place, usize) {
        (Place::from(self.raw.msg_control), self.raw.msg_controllen)
    }

    /// Writes what recvmsg reports.
    ///
    /// # Errors
    /// EFAULT.
    pub(crate) fn write(&mut self, reply: &Reply) -> Result<(), Errno> {
        if let Some(name) = reply.name
            && !self.raw.msg_name.is_null()
        {
            let room = self.raw.msg_namelen as usize;
            self.raw.msg_namelen = sockaddr::put(Place::from(self.raw.msg_name), room, name)? as u32;
        } else if !self.raw.msg_name.is_null() {
            self.raw.msg_namelen = 0;
        }
        self.raw.msg_controllen = reply.control as _;
        self.raw.msg_flags = reply.flags;
        Ok(self.place.write(&self.raw)?)
    }
}
