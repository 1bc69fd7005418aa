//! A small web site, and an nginx that serves it.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::lab::Lab;

/// A folder of files with known content, and a configuration of nginx for it: in the foreground, its workers drop
/// their privileges.
#[derive(Debug)]
pub struct Site {
    conf: String,
    root: PathBuf,
}

impl Site {
    /// A site on `port` of all addresses, with files of the given names and sizes.
    ///
    /// # Panics
    /// When the files cannot be written.
    #[must_use]
    pub fn new(lab: &Lab, port: u16, files: &[(&str, usize)]) -> Self {
        Self::with(lab, port, files, "")
    }

    /// As [`Site::new`], with more lines for the `http` section.
    ///
    /// # Panics
    /// When the files cannot be written.
    #[must_use]
    pub fn with(lab: &Lab, port: u16, files: &[(&str, usize)], http: &str) -> Self {
        Self::served_by(lab, port, files, http, 1)
    }

    /// As [`Site::new`], served by so many workers; `/pid` says which one answers.
    ///
    /// # Panics
    /// When the files cannot be written.
    #[must_use]
    pub fn with_workers(lab: &Lab, port: u16, files: &[(&str, usize)], workers: usize) -> Self {
        Self::served_by(lab, port, files, "", workers)
    }

    /// Both.
    ///
    /// # Panics
    /// When the files cannot be written.
    #[must_use]
    pub fn served_by(lab: &Lab, port: u16, files: &[(&str, usize)], http: &str, workers: usize) -> Self {
        let folder = lab.folder().join(format!("site-{port}"));
        let root = folder.join("www");
        fs::create_dir_all(&root).expect("a folder for the site");
        for (name, size) in files {
            fs::write(root.join(name), content(name, *size)).expect("a file of the site");
        }
        for path in [&folder, &root] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("a folder all can read");
        }
        let conf = configuration(&folder, port, http, workers);
        let path: PathBuf = folder.join("nginx.conf");
        fs::write(&path, conf).expect("the configuration");
        Self { conf: path.to_string_lossy().into_owned(), root }
    }

    /// The path of one of its files.
    #[must_use]
    pub fn path(&self, name: &str) -> String {
        self.root.join(name).to_string_lossy().into_owned()
    }

    /// The command that serves it.
    #[must_use]
    pub fn nginx(&self) -> Vec<&str> {
        vec!["nginx", "-e", "stderr", "-c", &self.conf]
    }
}

/// `size` bytes that look like nothing, the same ones for the same name.
fn content(name: &str, size: usize) -> Vec<u8> {
    let mut x =
        name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        bytes.extend_from_slice(&x.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

fn configuration(folder: &std::path::Path, port: u16, http: &str, workers: usize) -> String {
    let at = folder.display();
    let mut conf = String::new();
    let _ = writeln!(conf, "daemon off;\nworker_processes {workers};\npid {at}/nginx.pid;");
    let _ = writeln!(conf, "error_log stderr notice;");
    let _ = writeln!(conf, "user nobody nogroup;\nevents {{ worker_connections 4096; }}\nhttp {{");
    let _ = writeln!(conf, "  access_log off;\n  sendfile on;\n  keepalive_requests 1000000000;\n{http}");
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        let _ = writeln!(conf, "  {kind}_temp_path {at}/{kind};");
    }
    let _ = writeln!(
        conf,
        "  server {{ listen {port}; root {at}/www; location = /pid {{ return 200 $pid; }} }}\n}}"
    );
    conf
}
