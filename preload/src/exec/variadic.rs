//! `execl`, `execle` and `execlp` name the new program's arguments as C's variadic functions do: what lies in registers is put
//! below what lies on the stack (System V ABI for x86-64, §3.5.7), and the table that `execve` takes is made of both.

use core::arch::naked_asm;
use core::ptr;

use libc::{c_char, c_int};

use super::Table;
use crate::errno::{self, Errno};
use crate::intercept::{execv, execve, execvp};
use crate::user::{Fault, Place};

/// Arguments that the ABI passes in registers, after the program's name.
const IN_REGISTERS: usize = 5;
/// More arguments than the kernel would take: it gives a quarter of the stack's limit to them.
const MOST: usize = 1 << 20;

/// A frame: the five registers at its foot, the caller's stack behind its 40 bytes and the return address.
macro_rules! with_words {
    () => {
        "sub rsp, 40
        mov [rsp], rsi
        mov [rsp + 8], rdx
        mov [rsp + 16], rcx
        mov [rsp + 24], r8
        mov [rsp + 32], r9
        mov rsi, rsp
        lea rdx, [rsp + 48]
        call {to}
        add rsp, 40
        ret"
    };
}

/// Takes libc's place.
///
/// # Safety
/// As the C function, whose further arguments follow those that are named.
#[cfg_attr(not(test), unsafe(no_mangle))]
#[cfg_attr(test, allow(dead_code))]
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn execl(path: *const c_char, first: *const c_char) -> c_int {
    naked_asm!(with_words!(), to = sym listed)
}

/// Takes libc's place.
///
/// # Safety
/// As the C function, whose further arguments follow those that are named.
#[cfg_attr(not(test), unsafe(no_mangle))]
#[cfg_attr(test, allow(dead_code))]
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn execlp(file: *const c_char, first: *const c_char) -> c_int {
    naked_asm!(with_words!(), to = sym looked_for)
}

/// Takes libc's place.
///
/// # Safety
/// As the C function, whose further arguments follow those that are named.
#[cfg_attr(not(test), unsafe(no_mangle))]
#[cfg_attr(test, allow(dead_code))]
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn execle(path: *const c_char, first: *const c_char) -> c_int {
    naked_asm!(with_words!(), to = sym with_environment)
}

extern "C" fn listed(path: *const c_char, registers: Table, stack: Table) -> c_int {
    with(Words { registers: registers.into(), stack: stack.into() }, |args, _| {
        // SAFETY: the application's own path and arguments, up to a null pointer.
        unsafe { execv(path, args) }
    })
}

extern "C" fn looked_for(file: *const c_char, registers: Table, stack: Table) -> c_int {
    with(Words { registers: registers.into(), stack: stack.into() }, |args, _| {
        // SAFETY: as in `listed`.
        unsafe { execvp(file, args) }
    })
}

extern "C" fn with_environment(path: *const c_char, registers: Table, stack: Table) -> c_int {
    with(Words { registers: registers.into(), stack: stack.into() }, |args, after| {
        let Ok(env) = after.read::<usize>() else { return failed(libc::EFAULT) };
        // SAFETY: as in `listed`; the environment is what follows the null pointer.
        unsafe { execve(path, args, ptr::with_exposed_provenance(env)) }
    })
}

fn failed(error: c_int) -> c_int {
    errno::set(Errno(error));
    -1
}

/// Calls with the arguments as a table, and the place behind the null pointer that ends them. Comes back only when the call
/// fails.
fn with(words: Words, call: impl FnOnce(Table, Place) -> c_int) -> c_int {
    match words.table() {
        Ok(args) if args.len() > MOST => failed(libc::E2BIG),
        Ok(args) => call(args.as_ptr(), words.at(args.len())),
        Err(_) => failed(libc::EFAULT),
    }
}

/// Where the arguments are.
#[derive(Clone, Copy)]
struct Words {
    registers: Place,
    stack: Place,
}

impl Words {
    fn at(self, n: usize) -> Place {
        let (place, n) = match n.checked_sub(IN_REGISTERS) {
            None => (self.registers, n),
            Some(n) => (self.stack, n),
        };
        place.after(n * size_of::<usize>())
    }

    /// They up to the null pointer that ends them, that included.
    fn table(self) -> Result<Vec<*const c_char>, Fault> {
        let mut args = Vec::new();
        while args.len() <= MOST && args.last().is_none_or(|last: &*const c_char| !last.is_null()) {
            let word = self.at(args.len()).read::<usize>()?;
            args.push(ptr::with_exposed_provenance(word));
        }
        Ok(args)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user::tests::Edge;

    fn words(registers: &[usize; IN_REGISTERS], stack: &[usize]) -> Words {
        Words { registers: registers.as_ptr().into(), stack: stack.as_ptr().into() }
    }

    fn addresses(words: Words) -> Vec<usize> {
        words.table().unwrap().iter().map(|word| word.addr()).collect()
    }

    #[test]
    fn arguments_end_with_the_first_null_wherever_they_lie() {
        assert_eq!(addresses(words(&[0, 7, 7, 7, 7], &[7])), [0]);
        assert_eq!(addresses(words(&[1, 2, 3, 4, 0], &[7])), [1, 2, 3, 4, 0]);
        let (registers, stack) = ([1, 2, 3, 4, 5], [0, 9]);
        let many = words(&registers, &stack);
        assert_eq!(addresses(many), [1, 2, 3, 4, 5, 0]);
        assert_eq!(many.at(6).read::<usize>().unwrap(), 9, "what follows them is on the stack");
        let registers = [1, 2, 0, 9, 7];
        assert_eq!(words(&registers, &stack).at(3).read::<usize>().unwrap(), 9, "or in a register");
    }

    #[test]
    fn arguments_without_an_end_are_a_fault() {
        let edge = Edge::new();
        edge.before(8).write(&1_usize).unwrap();
        let stack = Words { registers: [1_usize; IN_REGISTERS].as_ptr().into(), stack: edge.before(8) };
        assert!(stack.table().is_err());
    }
}
