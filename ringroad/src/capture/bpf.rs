//! Classic BPF: the language of packet filters (McCanne and Jacobson, 1993), as libpcap's compiler writes it. A program
//! is checked before it runs: it only jumps forward, and every way through it ends in an answer.

use serde::{Deserialize, Serialize};

/// Instructions in a program at the most (linux/bpf_common.h: BPF_MAXINSNS).
pub const MOST: usize = 4096;
/// Words of scratch memory (linux/filter.h: BPF_MEMWORDS).
const MEMORY: usize = 16;

/// An instruction as it is handed around (linux/filter.h: struct sock_filter).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Insn {
    /// What to do.
    pub code: u16,
    /// Instructions to jump over when it is so.
    pub jt: u8,
    /// Likewise when it is not.
    pub jf: u8,
    /// The operand.
    pub k: u32,
}

/// Why something is no program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The instruction, from 0; the length, when the program as a whole is at fault.
    pub at: usize,
    /// What is wrong with it.
    pub what: &'static str,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the filter's instruction {} {}", self.at, self.what)
    }
}

/// A place in the packet: at a distance from its begin, or from where X says.
#[derive(Clone, Copy, Debug)]
enum Place {
    At(u32),
    Behind(u32),
}

#[derive(Clone, Copy, Debug)]
enum Operand {
    K(u32),
    X,
}

#[derive(Clone, Copy, Debug)]
enum Alu {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Or,
    And,
    Xor,
    Shl,
    Shr,
}

#[derive(Clone, Copy, Debug)]
enum Test {
    Equal,
    Greater,
    AtLeast,
    Set,
}

/// An instruction that was checked. Jumps say where they lead.
#[derive(Clone, Copy, Debug)]
enum Op {
    Load(u8, Place),
    LoadLen,
    LoadK(u32),
    LoadMemory(u8),
    LoadX(u32),
    LoadXLen,
    LoadXMemory(u8),
    /// Four times the low half of a byte: the length of an IPv4 header.
    LoadXHeader(u32),
    Store(u8),
    StoreX(u8),
    Alu(Alu, Operand),
    Negate,
    Jump(u16),
    Branch(Test, Operand, u16, u16),
    AToX,
    XToA,
    Return(u32),
    ReturnA,
}

/// A program that was checked.
#[derive(Clone, Debug)]
pub struct Program(Vec<Op>);

impl Program {
    /// Checks a program.
    ///
    /// # Errors
    /// The first [`Fault`].
    pub fn new(text: &[Insn]) -> Result<Self, Fault> {
        if text.is_empty() || text.len() > MOST {
            return Err(Fault { at: text.len(), what: "is missing, or one too many" });
        }
        let decode =
            |(at, insn): (usize, &Insn)| decode(insn, at, text.len()).map_err(|what| Fault { at, what });
        let ops: Vec<Op> = text.iter().enumerate().map(decode).collect::<Result<_, _>>()?;
        match ops.last() {
            Some(Op::Return(_) | Op::ReturnA) => Ok(Self(ops)),
            _ => Err(Fault { at: text.len(), what: "should be there: the last one does not end it" }),
        }
    }

    /// What it answers to a packet that was `len` bytes long: how many of its bytes are wanted, 0 for none. A load from
    /// beyond the packet, or a division by zero, ends it with 0.
    #[inline]
    pub fn run(&self, packet: &[u8], len: u32) -> u32 {
        self.answer(packet, len).unwrap_or(0)
    }

    fn answer(&self, packet: &[u8], len: u32) -> Option<u32> {
        let (mut a, mut x, mut memory, mut at) = (0u32, 0u32, [0u32; MEMORY], 0usize);
        loop {
            // Jumps lead forward: each instruction runs at most once.
            let op = *self.0.get(at)?;
            at += 1;
            match op {
                Op::Load(size, place) => a = load(packet, size, place, x)?,
                Op::LoadLen => a = len,
                Op::LoadK(k) => a = k,
                Op::LoadMemory(n) => a = memory[usize::from(n)],
                Op::LoadX(k) => x = k,
                Op::LoadXLen => x = len,
                Op::LoadXMemory(n) => x = memory[usize::from(n)],
                Op::LoadXHeader(k) => x = (load(packet, 1, Place::At(k), 0)? & 0xf) << 2,
                Op::Store(n) => memory[usize::from(n)] = a,
                Op::StoreX(n) => memory[usize::from(n)] = x,
                Op::Alu(alu, operand) => a = compute(alu, a, value(operand, x))?,
                Op::Negate => a = a.wrapping_neg(),
                Op::Jump(to) => at = to.into(),
                Op::Branch(test, operand, yes, no) => {
                    at = if holds(test, a, value(operand, x)) { yes.into() } else { no.into() };
                }
                Op::AToX => x = a,
                Op::XToA => a = x,
                Op::Return(k) => return Some(k),
                Op::ReturnA => return Some(a),
            }
        }
    }
}

#[inline]
fn value(operand: Operand, x: u32) -> u32 {
    match operand {
        Operand::K(k) => k,
        Operand::X => x,
    }
}

#[inline]
fn load(packet: &[u8], size: u8, place: Place, x: u32) -> Option<u32> {
    let at = match place {
        Place::At(k) => k,
        // As the kernel does.
        Place::Behind(k) => x.wrapping_add(k),
    };
    let from = packet.get(at as usize..)?;
    match size {
        4 => Some(u32::from_be_bytes(*from.first_chunk()?)),
        2 => Some(u16::from_be_bytes(*from.first_chunk()?).into()),
        _ => Some((*from.first()?).into()),
    }
}

#[inline]
fn compute(alu: Alu, a: u32, b: u32) -> Option<u32> {
    Some(match alu {
        Alu::Add => a.wrapping_add(b),
        Alu::Sub => a.wrapping_sub(b),
        Alu::Mul => a.wrapping_mul(b),
        Alu::Div => a.checked_div(b)?,
        Alu::Mod => a.checked_rem(b)?,
        Alu::Or => a | b,
        Alu::And => a & b,
        Alu::Xor => a ^ b,
        // The kernel shifts by the low five bits.
        Alu::Shl => a.wrapping_shl(b),
        Alu::Shr => a.wrapping_shr(b),
    })
}

#[inline]
fn holds(test: Test, a: u32, b: u32) -> bool {
    match test {
        Test::Equal => a == b,
        Test::Greater => a > b,
        Test::AtLeast => a >= b,
        Test::Set => a & b != 0,
    }
}

/// Checks an instruction (linux/bpf_common.h has the numbers).
fn decode(insn: &Insn, at: usize, len: usize) -> Result<Op, &'static str> {
    let &Insn { code, k, .. } = insn;
    let memory = || u8::try_from(k).ok().filter(|n| usize::from(*n) < MEMORY).ok_or("has no such memory");
    match code & 7 {
        0 | 1 => load_op(code, k, memory),
        2 if code == 0x02 => memory().map(Op::Store),
        3 if code == 0x03 => memory().map(Op::StoreX),
        4 => alu_op(code, k),
        5 => jump_op(insn, at, len),
        6 if code == 0x06 => Ok(Op::Return(k)),
        6 if code == 0x16 => Ok(Op::ReturnA),
        7 if code == 0x07 => Ok(Op::AToX),
        7 if code == 0x87 => Ok(Op::XToA),
        _ => Err(UNKNOWN),
    }
}

const UNKNOWN: &str = "is not known";

fn load_op(code: u16, k: u32, memory: impl Fn() -> Result<u8, &'static str>) -> Result<Op, &'static str> {
    match code {
        // Beyond are the kernel's extensions, which are not of the packet.
        0x20 | 0x28 | 0x30 | 0x40 | 0x48 | 0x50 | 0xb1 if k > i32::MAX as u32 => {
            Err("loads what is no packet")
        }
        0x20 => Ok(Op::Load(4, Place::At(k))),
        0x28 => Ok(Op::Load(2, Place::At(k))),
        0x30 => Ok(Op::Load(1, Place::At(k))),
        0x40 => Ok(Op::Load(4, Place::Behind(k))),
        0x48 => Ok(Op::Load(2, Place::Behind(k))),
        0x50 => Ok(Op::Load(1, Place::Behind(k))),
        0x80 => Ok(Op::LoadLen),
        0x00 => Ok(Op::LoadK(k)),
        0x60 => memory().map(Op::LoadMemory),
        0x01 => Ok(Op::LoadX(k)),
        0x81 => Ok(Op::LoadXLen),
        0x61 => memory().map(Op::LoadXMemory),
        0xb1 => Ok(Op::LoadXHeader(k)),
        _ => Err(UNKNOWN),
    }
}

fn operand(code: u16, k: u32) -> Operand {
    if code & 0x08 == 0 { Operand::K(k) } else { Operand::X }
}

fn alu_op(code: u16, k: u32) -> Result<Op, &'static str> {
    let alu = match code & !0x08 {
        0x04 => Alu::Add,
        0x14 => Alu::Sub,
        0x24 => Alu::Mul,
        0x34 => Alu::Div,
        0x44 => Alu::Or,
        0x54 => Alu::And,
        0x64 => Alu::Shl,
        0x74 => Alu::Shr,
        0x94 => Alu::Mod,
        0xa4 => Alu::Xor,
        0x84 if code == 0x84 => return Ok(Op::Negate),
        _ => return Err(UNKNOWN),
    };
    match (alu, operand(code, k)) {
        (Alu::Div | Alu::Mod, Operand::K(0)) => Err("divides by zero"),
        (Alu::Shl | Alu::Shr, Operand::K(32..)) => Err("shifts by more than there is"),
        (alu, operand) => Ok(Op::Alu(alu, operand)),
    }
}

fn jump_op(insn: &Insn, at: usize, len: usize) -> Result<Op, &'static str> {
    let to = |over: u32| {
        let to = (at + 1).checked_add(over as usize).filter(|to| *to < len);
        to.and_then(|to| u16::try_from(to).ok()).ok_or("jumps out of the program")
    };
    let test = match insn.code & !0x08 {
        0x05 if insn.code == 0x05 => return to(insn.k).map(Op::Jump),
        0x15 => Test::Equal,
        0x25 => Test::Greater,
        0x35 => Test::AtLeast,
        0x45 => Test::Set,
        _ => return Err(UNKNOWN),
    };
    Ok(Op::Branch(test, operand(insn.code, insn.k), to(insn.jt.into())?, to(insn.jf.into())?))
}
