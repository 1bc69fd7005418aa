//! AF_XDP for real: network namespaces, veth, a kernel at the other end. As root.

mod checksum;
mod credit;
mod frames;
mod guard;
mod net;
mod offload;
mod processes;
mod stacks;
mod steering;
