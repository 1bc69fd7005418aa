//! Copies to and from memory that may not be there, without a system call and without asking first.
//!
//! The copy is a routine of our own in assembly. A fault inside it is recognised by the address of the
//! instruction: the SIGSEGV and SIGBUS handler (`signals`) calls [`fix_up`], which moves the thread to the
//! routine's end that reports the fault. This is what the kernel's `copy_to_user` does with its exception table.

use core::arch::global_asm;
use core::ptr;

use super::Fault;

// rdi: to, rsi: from, rdx: bytes. Returns 0, or 1 after a fault. Only caller-saved registers are touched and
// the stack is not, so the fault exit can leave from any instruction. Up to 256 bytes go by 16 and then by the
// bits of what is left; more go by `rep movsb`, which is fastest there on any CPU with ERMS.
global_asm!(
    ".pushsection .text.ringroad_user_copy,\"ax\",@progbits",
    ".globl ringroad_user_copy",
    ".hidden ringroad_user_copy",
    ".type ringroad_user_copy,@function",
    "ringroad_user_copy:",
    "mov rcx, rdx",
    "cmp rdx, 256",
    "ja 9f",
    "2: cmp rcx, 16",
    "jb 3f",
    "movdqu xmm0, [rsi]",
    "movdqu [rdi], xmm0",
    "add rsi, 16",
    "add rdi, 16",
    "sub rcx, 16",
    "jmp 2b",
    "3: test cl, 8",
    "jz 4f",
    "mov rax, [rsi]",
    "mov [rdi], rax",
    "add rsi, 8",
    "add rdi, 8",
    "4: test cl, 4",
    "jz 5f",
    "mov eax, [rsi]",
    "mov [rdi], eax",
    "add rsi, 4",
    "add rdi, 4",
    "5: test cl, 2",
    "jz 6f",
    "movzx eax, word ptr [rsi]",
    "mov [rdi], ax",
    "add rsi, 2",
    "add rdi, 2",
    "6: test cl, 1",
    "jz 7f",
    "movzx eax, byte ptr [rsi]",
    "mov [rdi], al",
    "7: xor eax, eax",
    "ret",
    "9: rep movsb",
    "xor eax, eax",
    "ret",
    ".globl ringroad_user_copy_fault",
    ".hidden ringroad_user_copy_fault",
    "ringroad_user_copy_fault:",
    "mov eax, 1",
    "ret",
    ".size ringroad_user_copy, . - ringroad_user_copy",
    ".popsection",
);

unsafe extern "C" {
    fn ringroad_user_copy(to: *mut u8, from: *const u8, len: usize) -> usize;
    /// The exit that reports a fault; also the end of the instructions that may fault.
    static ringroad_user_copy_fault: u8;
}

/// Copies `len` bytes from the application.
///
/// # Safety
/// `to` is writable for `len` bytes that no reference covers.
#[inline]
pub(super) unsafe fn from_user(to: *mut u8, from: usize, len: usize) -> Result<(), Fault> {
    // SAFETY: `to` by contract; reading `from` either works or ends in the fault exit.
    let faulted = unsafe { ringroad_user_copy(to, ptr::with_exposed_provenance(from), len) };
    if faulted == 0 { Ok(()) } else { Err(Fault) }
}

/// Copies `len` bytes to the application.
///
/// # Safety
/// `from` is readable for `len` bytes, and `to` is memory that the application gave to be written.
#[inline]
pub(super) unsafe fn to_user(to: usize, from: *const u8, len: usize) -> Result<(), Fault> {
    // SAFETY: `from` by contract; writing `to` either works or ends in the fault exit.
    let faulted = unsafe { ringroad_user_copy(ptr::with_exposed_provenance_mut(to), from, len) };
    if faulted == 0 { Ok(()) } else { Err(Fault) }
}

/// Called in the handler of SIGSEGV and SIGBUS: if the thread faulted in the copy routine, sends it to the
/// fault exit and answers true.
pub(crate) fn fix_up(context: &mut libc::ucontext_t) -> bool {
    let begin = (ringroad_user_copy as *const ()).addr();
    let end = (&raw const ringroad_user_copy_fault).addr();
    let rip = &mut context.uc_mcontext.gregs[libc::REG_RIP as usize];
    let inside = (begin..end).contains(&(*rip as usize));
    if inside {
        *rip = end as libc::greg_t;
    }
    inside
}
