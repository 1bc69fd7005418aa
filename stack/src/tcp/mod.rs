//! TCP. RFC 9293 and what has grown round it: one file, one idea, one RFC.
