//! Raw bindings of ef_vi, the vendor's interface to the rings of Solarflare and Xilinx NICs.
//!
//! They are made by bindgen, when the crate is built, from the `<etherfabric/*.h>` that are installed: in
//! `EF_VI_INCLUDE_DIR` if that is set, else in the usual places. The vendor's `-devel` package brings them,
//! with `libciul`. Without the headers the crate builds all the same, empty, and [`AVAILABLE`] is `false`
//! (installed them since? `cargo clean -p ef-vi-sys`).
//!
//! Nothing drives these bindings yet. ef_vi's hot calls are `static inline` functions of its headers; they
//! are not bound.

/// Whether the headers were there when this crate was built.
pub const AVAILABLE: bool = cfg!(ef_vi);

#[cfg(ef_vi)]
#[allow(missing_docs, unreachable_pub, non_camel_case_types, non_snake_case, non_upper_case_globals)]
#[allow(clippy::all, clippy::undocumented_unsafe_blocks, clippy::multiple_unsafe_ops_per_block)]
mod bindings {
    include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
}

#[cfg(ef_vi)]
pub use bindings::*;
