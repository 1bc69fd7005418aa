//! af-xdp
