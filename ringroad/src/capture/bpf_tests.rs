//! The interpreter beside the kernel's: the same programs, the same packets, the same answers.

use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;

use super::bpf::{Fault, Insn, MOST, Program};

/// The programs that are run at both.
const PROGRAMS: usize = 4000;
/// The packets that each of them gets.
const PACKETS: usize = 6;

/// A socket whose filter the kernel runs. It answers by what it lets through.
struct Kernel {
    to: UnixDatagram,
    from: UnixDatagram,
}

impl Kernel {
    /// `None` when the kernel refuses the program.
    fn new(program: &[Insn]) -> Option<Self> {
        let (to, from) = UnixDatagram::pair().unwrap();
        from.set_nonblocking(true).unwrap();
        let mut text: Vec<libc::sock_filter> =
            program.iter().map(|i| libc::sock_filter { code: i.code, jt: i.jt, jf: i.jf, k: i.k }).collect();
        let len = u16::try_from(text.len()).unwrap();
        let program = libc::sock_fprog { len, filter: text.as_mut_ptr() };
        let size = size_of_val(&program) as libc::socklen_t;
        let (level, name) = (libc::SOL_SOCKET, libc::SO_ATTACH_FILTER);
        // SAFETY: the program and its text outlive the call, which copies them.
        let done = unsafe {
            libc::setsockopt(from.as_raw_fd(), level, name, std::ptr::from_ref(&program).cast(), size)
        };
        (done == 0).then_some(Self { to, from })
    }

    /// How many bytes of the packet come through.
    fn run(&self, packet: &[u8]) -> usize {
        self.to.send(packet).unwrap();
        let mut room = [0; 256];
        self.from.recv(&mut room).unwrap_or(0)
    }
}

/// xorshift64*.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 11) % n
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
}

const LOADS: &[u16] = &[0x20, 0x28, 0x30, 0x40, 0x48, 0x50, 0x80, 0x00, 0x60, 0x01, 0x81, 0x61, 0xb1];
const ALU: &[u16] = &[
    0x04, 0x14, 0x24, 0x34, 0x44, 0x54, 0x64, 0x74, 0x94, 0xa4, 0x84, 0x0c, 0x1c, 0x2c, 0x3c, 0x4c, 0x5c,
    0x6c, 0x7c, 0x9c, 0xac,
];
const JUMPS: &[u16] = &[0x05, 0x15, 0x25, 0x35, 0x45, 0x1d, 0x2d, 0x3d, 0x4d];
const REST: &[u16] = &[0x02, 0x03, 0x06, 0x16, 0x07, 0x87];

/// Mostly a program; now and then something that is none.
fn program(rng: &mut Rng) -> Vec<Insn> {
    let len = 3 + rng.below(18) as usize;
    // Memory that was not stored to may not be read, says the kernel.
    let mut text: Vec<Insn> = (0..4).map(|k| Insn { code: 0x02, jt: 0, jf: 0, k }).collect();
    for at in 0..len {
        let kinds: &[&[u16]] = &[LOADS, LOADS, ALU, ALU, JUMPS, REST];
        let mut code = {
            let kind = rng.of(kinds);
            rng.of(kind)
        };
        if rng.below(400) == 0 {
            code = rng.next() as u16 & 0xff;
        }
        let left = (len - at) as u64;
        let (small, large) = (rng.below(40) as u32, u32::MAX >> rng.below(32));
        let k = match code {
            0x02 | 0x03 | 0x60 | 0x61 => rng.below(4) as u32,
            0x05 => rng.below(left) as u32,
            0x64 | 0x74 => rng.below(32) as u32,
            0x06 => rng.of(&[0, 1, 7, 30, 256]),
            _ => rng.of(&[small, small, 0x0800, large]),
        };
        let near = |rng: &mut Rng| rng.below(left.min(255)) as u8;
        text.push(Insn { code, jt: near(rng), jf: near(rng), k });
    }
    text.push(Insn { code: rng.of(&[0x06, 0x16]), jt: 0, jf: 0, k: 64 });
    text
}

#[test]
fn it_answers_as_the_kernel_does() {
    let mut rng = Rng(0x5eed);
    let (mut ran, mut wanted, mut refused) = (0, 0, 0);
    for n in 0..PROGRAMS {
        let text = program(&mut rng);
        let (ours, kernels) = (Program::new(&text), Kernel::new(&text));
        let Some(kernel) = kernels else {
            refused += 1;
            continue;
        };
        let ours = match ours {
            Ok(ours) => ours,
            // Those are of no packet, and libpcap writes none for a file.
            Err(Fault { what: "loads what is no packet", .. }) => continue,
            Err(fault) => panic!("program {n}: the kernel takes {text:x?}, and {fault}"),
        };
        for _ in 0..PACKETS {
            let packet: Vec<u8> = (0..1 + rng.below(60)).map(|_| rng.next() as u8).collect();
            let len = packet.len();
            let got = (ours.run(&packet, len as u32) as usize).min(len);
            assert_eq!(got, kernel.run(&packet), "program {n}: {text:x?} on {packet:x?}");
            ran += 1;
            wanted += usize::from(got > 0);
        }
    }
    assert!(
        ran > PROGRAMS && wanted > ran / 8 && refused > 10,
        "{ran} ran, {wanted} wanted, {refused} refused"
    );
}

#[test]
fn what_is_no_program_is_refused_with_the_place() {
    let insn = |code, jt, jf, k| Insn { code, jt, jf, k };
    let end = insn(0x06, 0, 0, 1);
    let fault = |text: &[Insn]| Program::new(text).unwrap_err().to_string();
    assert_eq!(fault(&[]), "the filter's instruction 0 is missing, or one too many");
    assert_eq!(fault(&vec![end; MOST + 1]), "the filter's instruction 4097 is missing, or one too many");
    assert!(Program::new(&vec![end; MOST]).is_ok());
    assert_eq!(fault(&[insn(0x15, 0, 1, 0), end]), "the filter's instruction 0 jumps out of the program");
    assert_eq!(
        fault(&[insn(0x05, 0, 0, u32::MAX), end]),
        "the filter's instruction 0 jumps out of the program"
    );
    assert_eq!(fault(&[end, insn(0x02, 0, 0, 16), end]), "the filter's instruction 1 has no such memory");
    assert_eq!(fault(&[insn(0x34, 0, 0, 0), end]), "the filter's instruction 0 divides by zero");
    assert_eq!(
        fault(&[insn(0x64, 0, 0, 32), end]),
        "the filter's instruction 0 shifts by more than there is"
    );
    assert_eq!(
        fault(&[insn(0x20, 0, 0, 0xffff_f000), end]),
        "the filter's instruction 0 loads what is no packet"
    );
    assert_eq!(fault(&[insn(0x99, 0, 0, 0), end]), "the filter's instruction 0 is not known");
    assert_eq!(
        fault(&[insn(0x00, 0, 0, 0)]),
        "the filter's instruction 1 should be there: the last one does not end it"
    );
}
