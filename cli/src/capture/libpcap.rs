//! Filter expressions, by the compiler in libpcap. The library is looked for when a filter is given, so that nothing else
//! needs it.

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::ptr::NonNull;

use libloading::{Library, Symbol};
use ringroad::capture::bpf::{self, Insn};

/// As Debian and as its authors call it.
const NAMES: [&str; 2] = ["libpcap.so.0.8", "libpcap.so.1"];
/// DLT_EN10MB.
const ETHERNET: c_int = 1;
/// PCAP_NETMASK_UNKNOWN.
const NO_NETMASK: c_uint = u32::MAX;

/// `struct bpf_insn` of pcap/bpf.h.
#[repr(C)]
struct RawInsn {
    code: u16,
    jt: u8,
    jf: u8,
    k: u32,
}

/// `struct bpf_program` of pcap/bpf.h.
#[repr(C)]
struct RawProgram {
    len: c_uint,
    insns: *const RawInsn,
}

type OpenDead = unsafe extern "C" fn(c_int, c_int) -> *mut c_void;
type Compile = unsafe extern "C" fn(*mut c_void, *mut RawProgram, *const c_char, c_int, c_uint) -> c_int;
type GetErr = unsafe extern "C" fn(*mut c_void) -> *const c_char;
type FreeCode = unsafe extern "C" fn(*mut RawProgram);
type Close = unsafe extern "C" fn(*mut c_void);

/// The calls that are needed.
struct Calls<'l> {
    open_dead: Symbol<'l, OpenDead>,
    compile: Symbol<'l, Compile>,
    get_err: Symbol<'l, GetErr>,
    free_code: Symbol<'l, FreeCode>,
    close: Symbol<'l, Close>,
}

/// Compiles a filter for Ethernet that keeps `snaplen` bytes.
///
/// # Errors
/// What libpcap says of the expression, or that there is no libpcap.
pub(crate) fn compile(expression: &str, snaplen: u32) -> Result<Vec<Insn>, String> {
    let text = CString::new(expression).map_err(|_| "a filter has no zero in it".to_owned())?;
    let library = load()?;
    let calls = Calls::of(&library).map_err(|e| format!("libpcap: {e}"))?;
    let snaplen = c_int::try_from(snaplen).unwrap_or(c_int::MAX);
    // SAFETY: pcap_open_dead takes any two numbers.
    let handle = unsafe { (calls.open_dead)(ETHERNET, snaplen) };
    let handle = NonNull::new(handle).ok_or("libpcap has no memory")?;
    let compiled = calls.compiled(handle, &text);
    // SAFETY: the handle is libpcap's own and is not used any more.
    unsafe { (calls.close)(handle.as_ptr()) };
    compiled.map_err(|what| format!("filter {expression:?}: {what}"))
}

fn load() -> Result<Library, String> {
    // SAFETY: what libpcap runs when it is loaded is its own set-up, which may run in any thread at any time.
    let open = |name: &&str| unsafe { Library::new(name) }.ok();
    let missing = || format!("a filter needs libpcap ({}): apt-get install libpcap0.8", NAMES.join(" or "));
    NAMES.iter().find_map(open).ok_or_else(missing)
}

impl<'l> Calls<'l> {
    fn of(library: &'l Library) -> Result<Self, libloading::Error> {
        // SAFETY: the type is that of pcap_open_dead in pcap/pcap.h.
        let open_dead = unsafe { library.get(b"pcap_open_dead\0") }?;
        // SAFETY: likewise of pcap_compile.
        let compile = unsafe { library.get(b"pcap_compile\0") }?;
        // SAFETY: likewise of pcap_geterr.
        let get_err = unsafe { library.get(b"pcap_geterr\0") }?;
        // SAFETY: likewise of pcap_freecode.
        let free_code = unsafe { library.get(b"pcap_freecode\0") }?;
        // SAFETY: likewise of pcap_close.
        let close = unsafe { library.get(b"pcap_close\0") }?;
        Ok(Self { open_dead, compile, get_err, free_code, close })
    }

    fn compiled(&self, handle: NonNull<c_void>, text: &CStr) -> Result<Vec<Insn>, String> {
        let mut program = RawProgram { len: 0, insns: std::ptr::null() };
        const OPTIMISE: c_int = 1;
        // SAFETY: the handle is open, and program and text are ours for the call.
        let done =
            unsafe { (self.compile)(handle.as_ptr(), &mut program, text.as_ptr(), OPTIMISE, NO_NETMASK) };
        if done != 0 {
            // SAFETY: the handle is open.
            let what = unsafe { (self.get_err)(handle.as_ptr()) };
            // SAFETY: pcap_geterr gives a string in the handle, which lives until that is closed.
            return Err(unsafe { CStr::from_ptr(what) }.to_string_lossy().into_owned());
        }
        let len = (program.len as usize).min(bpf::MOST + 1);
        // SAFETY: pcap_compile has set both: so many instructions are there, until pcap_freecode.
        let raw = unsafe { std::slice::from_raw_parts(program.insns, len) };
        let insns = raw.iter().map(|i| Insn { code: i.code, jt: i.jt, jf: i.jf, k: i.k }).collect();
        // SAFETY: the program is pcap_compile's, and its instructions are copied.
        unsafe { (self.free_code)(&mut program) };
        Ok(insns)
    }
}

#[cfg(test)]
mod tests {
    use ringroad::capture::bpf::Program;

    use super::*;

    /// A segment from 10.77.0.2:4000 to 10.77.0.1:80.
    fn segment() -> Vec<u8> {
        let mut frame =
            vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0];
        frame.extend([10, 77, 0, 2, 10, 77, 0, 1, 0x0f, 0xa0, 0, 80, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x12]);
        frame.extend([0; 6]);
        frame
    }

    #[test]
    fn expressions_find_what_they_say() {
        let frame = segment();
        for (expression, wanted) in [
            ("tcp port 80 and host 10.77.0.2", true),
            ("tcp port 80 and host 10.77.0.3", false),
            ("udp", false),
            ("ip6 or (src net 10.77.0.0/24 and dst port http)", true),
            ("tcp[tcpflags] & (tcp-syn|tcp-ack) == (tcp-syn|tcp-ack)", true),
            ("greater 100", false),
            ("ether src 02:00:00:00:00:02 and not icmp", true),
        ] {
            let text = compile(expression, 262_144).unwrap();
            let got = Program::new(&text).unwrap().run(&frame, frame.len() as u32);
            assert_eq!(got, if wanted { 262_144 } else { 0 }, "{expression}");
        }
    }

    #[test]
    fn what_is_no_expression_is_told_in_the_library_s_words() {
        let error = compile("tcp prot 80", 96).unwrap_err();
        assert!(error.starts_with("filter \"tcp prot 80\": ") && error.contains("syntax error"), "{error}");
        assert!(compile("a\0b", 96).is_err());
    }
}
