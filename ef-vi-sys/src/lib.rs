//! Raw bindings of ef_vi, the vendor's interface to the rings of Solarflare, Xilinx and AMD NICs.
//!
//! They are made by bindgen, when the crate is built, from the `<etherfabric/*.h>` that are installed (Onload 8 or
//! newer): in `EF_VI_INCLUDE_DIR` if that is set, else in the usual places. The vendor's `-devel` package brings them.
//! What is macro or `static inline` there comes from `shim/shim.c`, compiled against the same headers. Without the
//! headers the crate builds all the same, empty, and [`AVAILABLE`] is `false` (installed them since?
//! `cargo clean -p ef-vi-sys`).
//!
//! The library is opened at run time (`open`). Its structures change between releases while its name stays, and
//! the headers do not say their version; so the library that is there when this crate is built (`EF_VI_LIBRARY`,
//! else in the usual places) is asked for its own (or `EF_VI_VERSION` says it), and another one is refused later.
//!
//! # The stand-in
//! For machines without such a card, the feature `stand-in` builds all this against headers and a library of our own
//! (`stand-in/`): the calls that Ringroad makes, over a packet socket on any interface, or over a wire in memory
//! (`memory:NAME:0`, `memory:NAME:1`), as an adapter of the kind that is named before an `@`: `x2` (posted buffers,
//! PIO, CTPIO), `sfn7` (no CTPIO) or `x3` (superbuffers). An interface whose alias is such a name is the kernel's end of that
//! adapter. Where a real adapter would do what nobody can foresee (a
//! push of nothing, a buffer posted twice, a packet read after its release) it aborts and says why. It is for tests
//! alone: the kernel sees its frames, too.

/// Whether the headers were there when this crate was built.
pub const AVAILABLE: bool = cfg!(ef_vi);

#[cfg(ef_vi)]
mod library;

#[cfg(ef_vi)]
#[allow(missing_docs, unreachable_pub, non_camel_case_types, non_snake_case, non_upper_case_globals)]
#[allow(clippy::all, clippy::undocumented_unsafe_blocks, clippy::multiple_unsafe_ops_per_block)]
mod bindings {
    include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
}

#[cfg(ef_vi)]
#[allow(missing_docs, unreachable_pub, non_camel_case_types, non_snake_case, non_upper_case_globals)]
#[allow(clippy::all, clippy::undocumented_unsafe_blocks)]
mod shim {
    include!(concat!(env!("OUT_DIR"), "/shim.rs"));
}

#[cfg(ef_vi)]
pub use {bindings::*, library::*, shim::*};
