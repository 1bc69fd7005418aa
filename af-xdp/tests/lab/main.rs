//! AF_XDP for real: network namespaces, veth, a kernel at the other end. As root.

mod frames;
mod net;
