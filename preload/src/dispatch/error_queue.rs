//! The error queue (MSG_ERRQUEUE): errors about datagrams and connects, completions of MSG_ZEROCOPY, then what the
//! kernel's socket has in its own.

use libc::{MSG_TRUNC, MSG_ZEROCOPY, c_int};
use ringroad::Runtime;
use stack::error::SocketError;
use stack::types::SocketId;

use super::datagram_recv::Call;
use super::recv::Received;
use super::telling::{self, Clock};
use crate::errno::Leave;
use crate::reason::Reason;

/// Receives what waits there.
pub(super) fn receive(
    call: &mut Call<'_>,
    (runtime, id): (&'static Runtime, SocketId),
) -> Result<Received, Leave> {
    let (report, now) = {
        let mut turn = runtime.lock();
        turn.poll();
        let now = turn.now();
        let want = call.cursor.left();
        let mut sink = |bytes: &[u8]| call.cursor.put(bytes);
        (turn.stack().recv_error(id, want, &mut sink), now)
    };
    let report = match report {
        Ok(report) => report,
        Err(SocketError::WouldBlock) => return completed(call, (runtime, id)),
        Err(error) => return Err(error.into()),
    };
    telling::error(call.control, &report, Clock { now })?;
    let cut = if report.len > report.copied { MSG_TRUNC } else { 0 };
    Ok(Received {
        bytes: report.copied,
        flags: libc::MSG_ERRQUEUE | cut,
        remote: Some(call.held.file.told(report.remote)),
    })
}

fn completed(call: &mut Call<'_>, (runtime, id): (&'static Runtime, SocketId)) -> Result<Received, Leave> {
    let completed = runtime.lock().stack().take_completed(id)?;
    telling::completed(call.control, &completed.ok_or(Reason::Message)?, call.held.file.family())?;
    Ok(Received { bytes: 0, flags: libc::MSG_ERRQUEUE, remote: None })
}

/// A send with these flags has sent something: if it is to be told when its bytes may be changed again, it is done.
pub(super) fn complete((runtime, id): (&'static Runtime, SocketId), flags: c_int) {
    if flags & MSG_ZEROCOPY != 0 {
        // A socket that is gone meanwhile has nobody to tell.
        let _ = runtime.lock().stack().complete(id);
    }
}
