//! ringroad
