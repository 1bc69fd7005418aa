//! Where Linux does otherwise than a drill expects of us, and why that is right.
//!
//! A drill that is listed here and passes on the kernel after all is a failure: take its row out.

/// A drill that Linux does not pass.
#[derive(Clone, Copy, Debug)]
pub struct Difference {
    /// Its full name.
    pub drill: &'static str,
    /// What Linux does instead, and why we do not.
    pub reason: &'static str,
    /// What says that ours is right.
    pub rfc: &'static str,
}

/// A drill that is not run on Linux at all.
#[derive(Clone, Copy, Debug)]
pub struct StackOnly {
    /// Its full name.
    pub drill: &'static str,
    /// Why not.
    pub reason: &'static str,
}

/// Every difference.
pub const DIFFERENCES: &[Difference] = &[
    Difference {
        drill: "rfc3465::after_a_time_out_an_ack_opens_by_one_segment",
        reason: "Linux opens the window by all that an ACK covers, after a time-out too, when much of it left the \
                 network long before",
        rfc: "RFC 3465 §2.3",
    },
    Difference {
        drill: "rfc5961::data_with_an_ack_from_nowhere_is_not_taken",
        reason: "Linux's header prediction takes the text of a segment in order before it looks at how old its ACK \
                 is; only its slow path refuses it. Ours does so on both paths",
        rfc: "RFC 5961 §5.2",
    },
    Difference {
        drill: "rfc7323::a_segment_without_is_dropped",
        reason: "Linux takes segments without timestamps where timestamps were agreed",
        rfc: "RFC 7323 §3.2: SHOULD silently drop",
    },
    Difference {
        drill: "rfc9293::s3_5::data_on_the_syn_ack_is_taken",
        reason: "Linux drops text that comes with a SYN-ACK, unless it has asked for Fast Open; the peer has to send \
                 it again",
        rfc: "RFC 9293 §3.10.7.3, MUST-34 of RFC 1122 §4.2.2.4",
    },
    Difference {
        drill: "rfc9293::s3_8_6::an_ack_counts_even_at_a_shut_window",
        reason: "Linux drops a segment with text outside a shut window whole, its ACK included",
        rfc: "RFC 9293 §3.10.7.4 first: special allowance for valid ACKs",
    },
];

/// What needs more time than a test may take, or a TCP whose memory can be used up.
pub const STACK_ONLY: &[StackOnly] = &[
    StackOnly {
        drill: "bbr::the_first_window_is_paced",
        reason: "version 3, in a module that few kernels have",
    },
    StackOnly { drill: "bbr::a_loss_does_not_take_the_window", reason: "as above" },
    StackOnly { drill: "bbr::a_pace_may_be_set", reason: "as above" },
    StackOnly { drill: "rfc9293::events::an_hour_passes", reason: "an hour" },
    StackOnly {
        drill: "rfc9293::s3_6::time_wait_ends_after_a_minute",
        reason: "a minute, which Linux cannot be told to shorten",
    },
    StackOnly { drill: "rfc1191::a_narrow_path_is_tried_again_after_ten_minutes", reason: "ten minutes" },
    StackOnly { drill: "rfc7323::after_24_days_paws_says_nothing", reason: "25 days" },
];
