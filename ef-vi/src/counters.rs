//! What driving an adapter counts.

/// Declares the counters, one row each: the field, the name in reports, what it counts.
macro_rules! counters {
    ($($field:ident $name:literal $what:literal;)*) => {
        /// What an adapter counts.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct EfViCounters {
            $(#[doc = $what] pub $field: u64,)*
        }

        impl EfViCounters {
            /// Names and numbers, for a report.
            pub(crate) fn each(&self, each: &mut dyn FnMut(&'static str, u64)) {
                $(each($name, self.$field);)*
            }
        }
    };
}

counters! {
    rx_frames "ef_vi_rx_frames" "Frames received.";
    rx_bad_checksum "ef_vi_rx_bad_checksum" "Those of which the adapter says that a checksum is wrong; the stack looks again.";
    rx_discarded "ef_vi_rx_discarded" "Frames that the adapter calls broken, dropped.";
    rx_parts "ef_vi_rx_parts" "Buffers that held parts of frames longer than one, dropped.";
    rx_truncated "ef_vi_rx_truncated" "Frames that the adapter cut, for want of buffers.";
    rx_starved "ef_vi_rx_starved" "Times that the pool had no frames to receive into.";
    tx_frames "ef_vi_tx_frames" "Frames handed to the adapter.";
    tx_small "ef_vi_tx_small" "Those that were written to it, by CTPIO or PIO.";
    tx_ctpio "ef_vi_tx_ctpio" "Those that went by CTPIO; the others' fallback was sent.";
    tx_failed "ef_vi_tx_failed" "Frames that the adapter could not send.";
    tx_rejected "ef_vi_tx_rejected" "Frames that can never be sent, dropped.";
    events_unknown "ef_vi_events_unknown" "Events that were not asked for.";
    halted "ef_vi_halted" "Times that the adapter stopped: it was reset, its events were not taken in time, or what it said cannot be.";
}
