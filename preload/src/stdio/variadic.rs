//! `dprintf` and its fortified form take their arguments as C's variadic functions do: what lies in registers is
//! put beside a `va_list` (System V ABI for x86-64, §3.5.7), and the function that takes one is called.

use core::arch::naked_asm;

use libc::{c_char, c_int};

use crate::intercept::{__vdprintf_chk, vdprintf};

/// A frame: the `va_list` at its foot, the registers 32 bytes above, the caller's stack behind its 216 bytes and
/// the return address. The number of named arguments, in bytes of registers, and where the `va_list` is passed:
macro_rules! with_list {
    ($named:literal, $list:literal) => {
        concat!(
            "sub rsp, 216\n",
            "mov [rsp + 48], rdx\n",
            "mov [rsp + 56], rcx\n",
            "mov [rsp + 64], r8\n",
            "mov [rsp + 72], r9\n",
            "test al, al\n",
            "je 2f\n",
            "movaps [rsp + 80], xmm0\n",
            "movaps [rsp + 96], xmm1\n",
            "movaps [rsp + 112], xmm2\n",
            "movaps [rsp + 128], xmm3\n",
            "movaps [rsp + 144], xmm4\n",
            "movaps [rsp + 160], xmm5\n",
            "movaps [rsp + 176], xmm6\n",
            "movaps [rsp + 192], xmm7\n",
            "2:\n",
            "mov dword ptr [rsp], ",
            $named,
            "\n",
            "mov dword ptr [rsp + 4], 48\n",
            "lea rax, [rsp + 224]\n",
            "mov [rsp + 8], rax\n",
            "lea rax, [rsp + 32]\n",
            "mov [rsp + 16], rax\n",
            "mov ",
            $list,
            ", rsp\n",
            "call {to}\n",
            "add rsp, 216\n",
            "ret",
        )
    };
}

/// Takes libc's place.
///
/// # Safety
/// As the C function, whose further arguments follow those that are named.
#[cfg_attr(not(test), unsafe(no_mangle))]
#[cfg_attr(test, allow(dead_code))]
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn dprintf(fd: c_int, format: *const c_char) -> c_int {
    naked_asm!(with_list!(16, "rdx"), to = sym vdprintf)
}

/// Takes libc's place.
///
/// # Safety
/// As the C function, whose further arguments follow those that are named.
#[cfg_attr(not(test), unsafe(no_mangle))]
#[cfg_attr(test, allow(dead_code))]
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn __dprintf_chk(fd: c_int, level: c_int, format: *const c_char) -> c_int {
    naked_asm!(with_list!(24, "rcx"), to = sym __vdprintf_chk)
}
