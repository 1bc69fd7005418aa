//! Why sockets stayed in the kernel: counted by the shim, shown by `ringroad stat`.

use std::sync::OnceLock;

/// The reasons with their counts, in the order in which they are to be shown.
pub type BypassRows = fn() -> Vec<(&'static str, u64)>;

static ROWS: OnceLock<BypassRows> = OnceLock::new();

/// Says where the counts come from. The first registration stays.
pub fn register_bypass(rows: BypassRows) {
    let _ = ROWS.set(rows);
}

/// The counts now; empty when nobody counts.
pub fn bypass_rows() -> Vec<(&'static str, u64)> {
    ROWS.get().map(|rows| rows()).unwrap_or_default()
}
