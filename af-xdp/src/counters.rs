//! What driving an interface counts.

/// What a NIC counts; the kernel's own counters are in [`XskNic::statistics`](crate::XskNic::statistics).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct XskCounters {
    /// Frames received, superframes counted by their segments.
    pub rx_frames: u64,
    /// Superframes cut into segments.
    pub rx_cut: u64,
    /// Descriptors of frames in several parts that could not be cut, dropped.
    pub rx_uncut: u64,
    /// Entries of the rx or completion ring that name a frame the kernel did not have.
    pub bad_entries: u64,
    /// Times that the pool had no frame for the fill ring.
    pub fill_starved: u64,
    /// Frames handed to the kernel.
    pub tx_frames: u64,
    /// Superframes handed to the kernel.
    pub tx_superframes: u64,
    /// The frames that were joined to them.
    pub tx_joined: u64,
    /// Times that the kernel did not take a superframe, or what went beside one.
    pub superframes_refused: u64,
    /// Frames that can never be sent (too long, too short, no room for metadata), dropped.
    pub tx_rejected: u64,
    /// Frames that the kernel dropped in place of sending them: a filter did, or a queueing discipline that was full.
    pub tx_dropped: u64,
    /// System calls made to have frames sent.
    pub kicks: u64,
    /// Kicks that the kernel could not serve at once (`EAGAIN`, `EBUSY`, `ENOBUFS`).
    pub kicks_refused: u64,
    /// Kicks while the interface was down.
    pub kicks_down: u64,
}
