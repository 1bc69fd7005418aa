//! Five-tuple → socket.
