//! Counters: one row each. The struct, the names in `ringroad stat` and the documentation come from the row.

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What happened, counted since the stack was made.
        #[derive(Clone, Debug, Default)]
        pub struct Stats {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Stats {
            /// Recoveries that turned out to be needless, however that was shown.
            #[cfg(test)]
            pub(crate) fn spurious(&self) -> u64 {
                self.tcp_loss_undo + self.tcp_full_undo + self.tcp_partial_undo + self.tcp_dsack_undo
            }

            /// Every counter with its name, in the order of the table.
            pub fn rows(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }
    };
}

counters! {
    /// Frames received.
    rx_frames,
    /// Bytes received, link headers included.
    rx_bytes,
    /// Frames queued for sending.
    tx_frames,
    /// Bytes queued for sending, link headers included.
    tx_bytes,
    /// Frames from this host to itself, which no interface has seen.
    home_frames,
    /// Sends that found no free frame.
    tx_no_frames,
    /// Sends that wait for a neighbour's link address.
    tx_no_neighbour,
    /// Pieces of TCP segments received.
    ip_pieces_in,
    /// Packets put together from their pieces.
    ip_reassembled,
    /// Packets given up because pieces of them did not come in time.
    ip_reassembly_timeouts,
    /// Dropped: shorter than its headers say.
    drop_truncated,
    /// Dropped: neither IPv4 nor IPv6.
    drop_not_ip,
    /// Dropped: a header field that makes no sense.
    drop_bad_header,
    /// Dropped: IP header checksum.
    drop_ip_checksum,
    /// Dropped: L4 checksum.
    drop_l4_checksum,
    /// Dropped: an IPv6 extension header or option that is not understood.
    drop_unrecognised,
    /// Dropped: an IP fragment that is the kernel's to put together, or contradicts another.
    drop_fragment,
    /// Dropped: not addressed to us.
    drop_not_ours,
    /// Dropped: a source address that cannot be a peer's (zero, broadcast, multicast, our own).
    drop_martian,
    /// Dropped: denied by the policy, inbound.
    drop_denied_in,
    /// Dropped: denied by the policy, outbound.
    drop_denied_out,
    /// Dropped: no socket listens there.
    drop_no_socket,
    /// Dropped: of a connection that another stack of the port has now.
    drop_moved,
    /// Dropped: the accept queue or the backlog is full.
    drop_backlog,
    /// Dropped: a socket's receive buffer is full.
    drop_buffer_full,
    /// Dropped: a transport that is not ours.
    drop_not_transport,
    /// Dropped: so few frames are free that no queue may grow.
    drop_no_frames,
    /// Passive opens (SYN-RECEIVED → ESTABLISHED).
    tcp_passive_opens,
    /// SYNs answered with a cookie (RFC 4987).
    tcp_syncookies_sent,
    /// Cookies that came back and were good.
    tcp_syncookies_recv,
    /// ACKs that should have been of a cookie and were not.
    tcp_syncookies_failed,
    /// Fast Opens of ours whose data the SYN-ACK acknowledged (RFC 7413).
    tcp_fastopen_active,
    /// Fast Opens of ours whose data had to be sent again.
    tcp_fastopen_active_fail,
    /// Connections opened by a SYN with a good cookie.
    tcp_fastopen_passive,
    /// SYNs with a cookie that was not good.
    tcp_fastopen_passive_fail,
    /// SYNs with a good cookie that found too many such connections pending.
    tcp_fastopen_listen_overflow,
    /// SYNs that asked for a cookie.
    tcp_fastopen_cookie_reqd,
    /// Connections that found no room to wait in TIME-WAIT.
    tcp_time_wait_overflow,
    /// Active opens.
    tcp_active_opens,
    /// Connection attempts that failed.
    tcp_attempt_fails,
    /// Connections that ended by reset.
    tcp_resets_in,
    /// Resets sent.
    tcp_resets_out,
    /// Segments received.
    tcp_segs_in,
    /// Segments sent, retransmissions included.
    tcp_segs_out,
    /// Paths taken for narrower because of a likely black hole (RFC 8899).
    tcp_mtu_black_holes,
    /// Longer segments sent to try a path (RFC 8899 §5.3).
    tcp_mtu_probes,
    /// Those of them that arrived (TCPMTUPSuccess).
    tcp_mtu_probes_acked,
    /// Segments retransmitted.
    tcp_retransmits,
    /// Retransmission time-outs.
    tcp_timeouts,
    /// Fast recoveries entered with SACK (TCPSackRecovery).
    tcp_sack_recovery,
    /// Fast recoveries entered without it (TCPRenoRecovery).
    tcp_reno_recovery,
    /// Retransmissions that were lost too (TCPLostRetransmit).
    tcp_lost_retransmit,
    /// Tail loss probes sent (TCPLossProbes).
    tcp_loss_probes,
    /// Tail loss probes that repaired a loss (TCPLossProbeRecovery).
    tcp_loss_probe_recovery,
    /// Time-outs that F-RTO showed to be needless (TCPSpuriousRTOs).
    tcp_spurious_rtos,
    /// Recoveries after a time-out that were undone (TCPLossUndo).
    tcp_loss_undo,
    /// Fast recoveries undone when they were over, by timestamps (TCPFullUndo).
    tcp_full_undo,
    /// Fast recoveries undone before, by timestamps (TCPPartialUndo).
    tcp_partial_undo,
    /// Recoveries undone because all retransmissions were reported as duplicates (TCPDSACKUndo).
    tcp_dsack_undo,
    /// ACKs that reported a duplicate (TCPDSACKRecv).
    tcp_dsack_recv,
    /// ACKs that showed reordering (TCPSACKReorder).
    tcp_sack_reorder,
    /// Time-outs at which the peer had thrown away what it had SACKed (TCPSACKReneging).
    tcp_sack_reneging,
    /// Segments of data that had met congestion (IpExtInCEPkts, of TCP with ECN).
    tcp_ce_in,
    /// Reductions because the peer echoed congestion (RFC 3168).
    tcp_ecn_reductions,
    /// Connections that made no progress and were given up because others got no frame (TCPAbortOnMemory).
    tcp_aborts_on_memory,
    /// Zero-window probes sent.
    tcp_window_probes,
    /// Keepalive probes sent.
    tcp_keepalives,
    /// Segments that arrived out of order and were kept.
    tcp_out_of_order,
    /// Segments outside the window.
    tcp_out_of_window,
    /// Segments refused by PAWS (RFC 7323 §5).
    tcp_paws,
    /// Challenge ACKs sent (RFC 5961).
    tcp_challenge_acks,
    /// Segments handled by header prediction.
    tcp_fast_path,
    /// Datagrams received.
    udp_in,
    /// Datagrams sent.
    udp_out,
    /// Answers to stray packets (RST, port unreachable) that the rate limit held back.
    answers_limited,
    /// Frames that waited for a neighbour and were dropped.
    tx_parked_dropped,
    /// ICMP errors sent.
    icmp_errors_out,
    /// ICMP errors that found their socket.
    icmp_errors_in,
    /// ICMP errors that found none.
    icmp_errors_stray,
}
