//! What the kernel keeps for each thread alone and a change of user depends on: capabilities, and whether they outlast it.
//! libc changes the user of all threads at once, and ends the process where that works for some of them only (nptl(7)). So what
//! the main thread does with its capabilities the helper does, too, of which the program knows nothing.

use libc::{c_int, c_ulong, c_void};
use ringroad::Runtime;

use crate::errno::Outcome;
use crate::kernel;
use crate::reason::Reason;
use crate::user::Place;

/// A `cap_user_header_t` (capset(2)): version and thread.
pub(crate) type Header = (u32, c_int);
/// Two of `cap_user_data_t`; the first version of the call has one.
pub(crate) type Sets = [u32; 6];

/// That version (`_LINUX_CAPABILITY_VERSION_1`).
const FIRST: u32 = 0x1998_0330;

/// `prctl`, where it is about capabilities; none else.
pub(crate) fn prctl(option: c_int, a: c_ulong, b: c_ulong, c: c_ulong, d: c_ulong) -> Option<Outcome> {
    let counts =
        [libc::PR_SET_KEEPCAPS, libc::PR_SET_SECUREBITS, libc::PR_CAPBSET_DROP, libc::PR_CAP_AMBIENT];
    let runtime = counts.contains(&option).then(to_be_told).flatten()?;
    let done = kernel::prctl(option, [a, b, c, d]);
    if done.is_ok() {
        runtime.have_helper_do(move || _ = kernel::prctl(option, [a, b, c, d]));
    }
    Some(done.map_err(Into::into))
}

/// `capset`.
pub(crate) fn capset(header: *mut c_void, sets: *const c_void) -> Outcome {
    let runtime = to_be_told().ok_or(Reason::Plain)?;
    let (at, from) = (Place::from(header), Place::from(sets));
    let header: Header = (at.read()?, at.after(size_of::<u32>()).read()?);
    if header.1 != 0 && header.1 != kernel::thread() {
        return Err(Reason::Plain.into());
    }
    let mut copy = Sets::default();
    let words = if header.0 == FIRST { copy.len() / 2 } else { copy.len() };
    for (n, word) in copy.iter_mut().take(words).enumerate() {
        *word = from.after(n * size_of::<u32>()).read()?;
    }
    // What it refuses it refuses again, and says which version it takes.
    let done = kernel::capset(header.0, copy).map_err(|_| Reason::Plain)?;
    runtime.have_helper_do(move || _ = kernel::capset(header.0, copy));
    Ok(done)
}

/// The runtime, where this is the main thread and there is one.
fn to_be_told() -> Option<&'static Runtime> {
    let is_main = u32::try_from(kernel::thread()) == Ok(std::process::id());
    Runtime::current().filter(|_| is_main)
}
