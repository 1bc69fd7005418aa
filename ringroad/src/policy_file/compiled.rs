//! A policy as stacks judge by it: compiled once by whoever puts it in force, and shared by all that carry it out.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::resume_unwind;
use std::sync::Arc;

use nic::{Frozen, seal};
use stack::policy::Policy;

use super::{Bundle, Guarded, PolicyFile};

/// The longest policy with its files, and the longest image of one, in bytes.
const MAX_BYTES: u64 = 128 << 20;
const MAX_IMAGE: u64 = 1 << 30;

/// What a stack needs of a policy file.
#[derive(Clone, Debug)]
pub(crate) struct Compiled {
    pub(crate) policy: Arc<Policy>,
    /// What the steering program carries out of it by itself.
    pub(crate) guard: Option<Arc<Guarded>>,
}

impl Compiled {
    /// Of an image, if it can be used here. That it is of the policy that somebody says it is of nobody can see: whoever may
    /// put a policy in force is believed.
    pub(crate) fn from_image(image: &File) -> Option<Self> {
        let policy = Policy::from_image(&map(image, MAX_IMAGE).ok()?)?;
        Some(Self { policy, guard: None })
    }
}

/// A file with the image of what `file` says, where there can be one: there is none of what steering programs carry out.
pub(crate) fn image_of(file: &PolicyFile) -> io::Result<Option<File>> {
    file.guard.is_none().then(|| seal(c"ringroad-image", &[&file.policy.image()])).transpose()
}

/// A policy's text and what was made of it, in files that nobody can change: whoever gets them maps them.
#[derive(Debug)]
pub(crate) struct Sealed {
    text: File,
    /// None where stacks have to understand the text themselves: steering programs carry out a part of it, of which there is
    /// no image, or nobody has compiled it.
    image: Option<File>,
}

impl Sealed {
    /// What `file` says.
    pub(crate) fn of(file: &PolicyFile) -> io::Result<Self> {
        // One takes as long as the other.
        std::thread::scope(|scope| {
            let text = || Self::of_text(&file.bundle);
            let beside = std::thread::Builder::new().spawn_scoped(scope, text);
            let image = image_of(file)?;
            let text = beside.map_or_else(
                |_| text(),
                |thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            )?;
            Ok(Self { image, ..text })
        })
    }

    /// The text alone.
    pub(crate) fn of_text(bundle: &Bundle) -> io::Result<Self> {
        let lengths = bundle.lengths()?;
        let parts: Vec<&[u8]> = bundle.parts(&lengths).into_iter().map(str::as_bytes).collect();
        Ok(Self { text: seal(c"ringroad-policy", &parts)?, image: None })
    }

    /// The files, to be sent to another process.
    pub(crate) fn files(&self) -> Vec<BorrowedFd<'_>> {
        [&self.text].into_iter().chain(&self.image).map(AsFd::as_fd).collect()
    }

    /// Those that another process has sent. Nothing was looked at yet.
    pub(crate) fn received(files: Vec<OwnedFd>) -> Option<Self> {
        let mut files = files.into_iter().map(File::from);
        Some(Self { text: files.next()?, image: files.next() })
    }

    /// The text.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn text(&self) -> Result<Text, String> {
        let bytes = map(&self.text, MAX_BYTES)?;
        match str::from_utf8(&bytes) {
            Ok(_) => Ok(Text(bytes)),
            Err(error) => Err(error.to_string()),
        }
    }

    /// What was made of the text, if it can be used here; else the text is understood anew.
    ///
    /// # Errors
    /// The text has faults.
    pub(crate) fn compiled(&self, text: &str) -> Result<Compiled, String> {
        if let Some(compiled) = self.image.as_ref().and_then(Compiled::from_image) {
            return Ok(compiled);
        }
        let file = PolicyFile::without_warnings(Bundle::unpacked(text)?);
        file.map(|file| file.compiled()).map_err(|faults| faults.to_string())
    }

    /// What was made of it, for others.
    pub(crate) fn image(&self) -> Option<BorrowedFd<'_>> {
        self.image.as_ref().map(AsFd::as_fd)
    }
}

fn map(file: &File, longest: u64) -> Result<Frozen<u8>, String> {
    let len = file.metadata().map_err(|error| error.to_string())?.len();
    if len > longest {
        return Err(format!("the policy is longer than {longest} bytes"));
    }
    Frozen::map(file).map_err(|error| error.to_string())
}

/// A text in a file.
pub(crate) struct Text(Frozen<u8>);

impl std::ops::Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        // It was looked at when it was mapped.
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn policy(name: &str) -> PolicyFile {
        let rule = "direction = 'in'\naction = 'allow'\n";
        PolicyFile::parse(&format!("[[table]]\nlocal = '10.0.0.1'\n[[table.rule]]\nname = '{name}'\n{rule}"))
            .unwrap()
    }

    fn rule(compiled: &Compiled) -> Option<String> {
        compiled.policy.names_at(0, Some(0)).1.map(str::to_owned)
    }

    /// As another process gets it.
    fn sent(sealed: &Sealed) -> Sealed {
        let copies = sealed.files().into_iter().map(|file| file.try_clone_to_owned().unwrap()).collect();
        Sealed::received(copies).unwrap()
    }

    #[test]
    fn what_was_compiled_once_is_judged_by_where_it_is() {
        let mut file = policy("web");
        let sealed = sent(&Sealed::of(&file).unwrap());
        let text = sealed.text().unwrap();
        assert_eq!(*text, file.bundle.packed().unwrap());
        assert_eq!(rule(&sealed.compiled(&text).unwrap()).as_deref(), Some("web"));
        // That it is the image which is judged by is seen where the two are not of one policy.
        file.policy = policy("other").policy;
        let sealed = sent(&Sealed::of(&file).unwrap());
        assert_eq!(rule(&sealed.compiled(&text).unwrap()).as_deref(), Some("other"));
    }

    #[test]
    fn what_has_no_image_or_another_form_is_understood_from_its_text() {
        let file = policy("web");
        let text = Sealed::of_text(&file.bundle).unwrap();
        assert_eq!(text.files().len(), 1);
        assert_eq!(rule(&sent(&text).compiled(&text.text().unwrap()).unwrap()).as_deref(), Some("web"));
        for image in [&b""[..], b"of another form", &[0xff; 1 << 12]] {
            let image = Some(seal(c"test", &[image]).unwrap());
            let sealed = Sealed { image, ..Sealed::of_text(&file.bundle).unwrap() };
            assert_eq!(rule(&sealed.compiled(&sealed.text().unwrap()).unwrap()).as_deref(), Some("web"));
        }
        let guarded = "[[table]]\nlocal = '10.0.0.1'\ncloak = true\n";
        let file = PolicyFile::parse(guarded).unwrap();
        let sealed = sent(&Sealed::of(&file).unwrap());
        assert!(sealed.image.is_none() && sealed.compiled(&sealed.text().unwrap()).unwrap().guard.is_some());
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        assert!(Sealed::received(Vec::new()).is_none());
        let of = |text: &[u8]| Sealed { text: seal(c"test", &[text]).unwrap(), image: None };
        assert!(of(b"\xff").text().is_err());
        assert!(of(b"").compiled("").is_err() && of(b"{}").compiled("{\"text\":3}\nx").is_err());
        let mut open = tempfile::tempfile().unwrap();
        open.write_all(b"{\"text\":0}\n").unwrap();
        assert!(Sealed { text: open, image: None }.text().is_err(), "it may still be changed");
    }
}
