//! A kernel for the guest: Debian's for clouds, fetched and unpacked into a folder of ours, never installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::apt::Apt;
use crate::run;

/// Where kernels are whose virtio NICs do zero-copy (Linux 6.13 and later).
const SOURCES: &str = "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] \
                       http://deb.debian.org/debian trixie-backports main\n";
/// Depends on the newest kernel.
const NEWEST: &str = "linux-image-cloud-amd64";

/// A kernel, unpacked.
pub(super) struct Kernel {
    /// What QEMU boots.
    pub(super) image: PathBuf,
    /// The folder of its modules.
    modules: PathBuf,
    /// `uname -r`.
    pub(super) release: String,
}

impl Kernel {
    /// The kernel in `folder`, fetched when there is none; why it cannot be had, as one line.
    pub(super) fn fetch(folder: &Path) -> Result<Self, String> {
        // Written last, so that what was cut short is done again.
        let proof = folder.join("vmlinux");
        if !proof.is_file() {
            let _ = fs::remove_dir_all(folder);
            println!("fetching a kernel for the guest");
            download(folder)?;
            let (_, modules) = modules_of(folder)?;
            uncompressed(folder, &modules, &proof)?;
        }
        let (release, modules) = modules_of(folder)?;
        Ok(Self { image: proof, modules, release })
    }

    /// The modules wanted and those that they need, in the order in which they load, each by name and content.
    /// What is no module is built in.
    pub(super) fn modules(&self, wanted: &[&str]) -> Result<Vec<(String, Vec<u8>)>, String> {
        let mut files = Vec::new();
        list(&self.modules, &mut files);
        let mut loaded = Vec::new();
        wanted.iter().try_for_each(|name| load(name, &files, &mut loaded))?;
        Ok(loaded)
    }
}

fn download(folder: &Path) -> Result<(), String> {
    let apt = Apt::new(folder, SOURCES)?;
    let of = |package: &str, prefix: &str| -> Vec<String> {
        apt.depends(package).into_iter().filter(|d| d.starts_with(prefix)).collect()
    };
    let image = of(NEWEST, "linux-image-").pop().ok_or("Debian's archive names no kernel for clouds")?;
    // Since Linux 7 the image is made of two packages, the kernel and its modules.
    let parts = [of(&image, "linux-binary-"), of(&image, "linux-modules-")].concat();
    let parts = if parts.is_empty() { vec![image] } else { parts };
    let mut args = vec!["download"];
    args.extend(parts.iter().map(String::as_str));
    apt.get(&args)?;
    let archives = fs::read_dir(folder).map_err(|e| e.to_string())?.flatten().map(|file| file.path());
    for archive in archives.filter(|path| path.extension().is_some_and(|e| e == "deb")) {
        if !run::quietly(Command::new("dpkg-deb").arg("-x").arg(&archive).arg(folder.join("root"))) {
            return Err(format!("{} cannot be unpacked", archive.display()));
        }
    }
    Ok(())
}

/// The release of the kernel in `folder`, and the folder of its modules.
fn modules_of(folder: &Path) -> Result<(String, PathBuf), String> {
    let places = ["root/usr/lib/modules", "root/lib/modules"].map(|place| folder.join(place));
    let found = places.iter().flat_map(fs::read_dir).flatten().flatten().next();
    let found = found.ok_or("the package of the kernel holds no modules")?;
    Ok((found.file_name().to_string_lossy().into_owned(), found.path()))
}

/// Takes the kernel out of its compressed image: in software, unpacking itself would take seconds of each boot.
fn uncompressed(folder: &Path, modules: &Path, to: &Path) -> Result<(), String> {
    let release = modules.file_name().unwrap_or_default().to_string_lossy();
    let places = [modules.join("vmlinuz"), folder.join(format!("root/boot/vmlinuz-{release}"))];
    let image = places.iter().find_map(|place| fs::read(place).ok()).ok_or("the package holds no kernel")?;
    // Behind the compressed kernel is its length, which is none of zstd's.
    let (payload, _) = payload(&image)
        .and_then(<[u8]>::split_last_chunk::<4>)
        .ok_or("the kernel's image is of no known form")?;
    let compressed = folder.join("payload.zst");
    let partly = to.with_extension("partly");
    fs::write(&compressed, payload).map_err(|e| e.to_string())?;
    let out = fs::File::create(&partly).map_err(|e| e.to_string())?;
    let unpacked = Command::new("zstd").arg("-dcq").arg(&compressed).stdout(out).status();
    let _ = fs::remove_file(compressed);
    let whole = unpacked.is_ok_and(|status| status.success());
    if !whole || !fs::read(&partly).is_ok_and(|bytes| bytes.starts_with(b"\x7fELF")) {
        return Err("the kernel cannot be taken out of its image (zstd)".to_owned());
    }
    fs::rename(partly, to).map_err(|e| e.to_string())
}

/// The compressed kernel in a bzImage (Documentation/arch/x86/boot.rst: setup_sects, payload_offset, payload_length).
fn payload(image: &[u8]) -> Option<&[u8]> {
    let word = |at: usize| -> Option<usize> {
        Some(u32::from_le_bytes(image.get(at..at + 4)?.try_into().ok()?) as usize)
    };
    let setup = match *image.get(0x1f1)? {
        0 => 4,
        sectors => usize::from(sectors),
    };
    let start = (setup + 1) * 512 + word(0x248)?;
    image.get(start..start + word(0x24c)?)
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match entry.file_type().is_ok_and(|t| t.is_dir()) {
            true => list(&path, files),
            false => files.push(path),
        }
    }
}

/// Adds a module behind those that it needs.
fn load(name: &str, files: &[PathBuf], loaded: &mut Vec<(String, Vec<u8>)>) -> Result<(), String> {
    let is = |path: &Path| {
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        file.split_once(".ko").is_some_and(|(stem, _)| stem.replace('-', "_") == name)
    };
    let Some(path) = files.iter().find(|path| is(path)) else { return Ok(()) };
    if loaded.iter().any(|(other, _)| other == name) {
        return Ok(());
    }
    let content = match path.extension().is_some_and(|e| e == "xz") {
        true => Command::new("xz").arg("-dc").arg(path).output().map(|o| o.stdout),
        false => fs::read(path),
    };
    let content = content.map_err(|e| format!("{}: {e}", path.display()))?;
    for needed in needs(&content) {
        load(&needed, files, loaded)?;
    }
    loaded.push((name.to_owned(), content));
    Ok(())
}

/// The modules that a module says it needs: `depends=a,b` among the strings of its `.modinfo`.
fn needs(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|w| w == KEY) else { return Vec::new() };
    let list = module[at + KEY.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(list).split(',').filter(|n| !n.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_module_needs_is_read_from_its_strings() {
        assert_eq!(
            needs(b"\x7fELF\0license=GPL\0depends=failover,net_failover\0name=x\0"),
            ["failover", "net_failover"]
        );
        assert!(needs(b"\0depends=\0").is_empty());
    }

    #[test]
    fn the_payload_lies_where_the_header_of_the_image_says() {
        let mut image = vec![0; 0x600];
        image[0x1f1] = 1;
        image[0x248..0x24c].copy_from_slice(&16_u32.to_le_bytes());
        image[0x24c..0x250].copy_from_slice(&4_u32.to_le_bytes());
        image[0x410..0x414].copy_from_slice(b"zstd");
        assert_eq!(payload(&image), Some(&b"zstd"[..]));
        assert_eq!(payload(&image[..0x412]), None);
    }
}
