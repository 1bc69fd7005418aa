//! CPython's tests, of Debian's packages, with the interpreter that they belong to.

use super::job::Job;
use super::{Suite, fetch, folder, read};

const PACKAGES: &[&str] =
    &["python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib", "libpython3.11-testsuite"];

/// What is run by hand, a module a row.
const MODULES: &[&str] = &[
    "test_socket",
    "test_selectors",
    "test_asyncio",
    "test_socketserver",
    "test_select",
    "test_poll",
    "test_epoll",
    "test_asyncore",
    "test_asynchat",
    "test_ssl",
    "test_ftplib",
    "test_smtplib",
    "test_smtpd",
    "test_poplib",
    "test_imaplib",
    "test_nntplib",
    "test_telnetlib",
    "test_httplib",
    "test_httpservers",
    "test_xmlrpc",
    "test_docxmlrpc",
    "test_urllib2_localnet",
    "test_wsgiref",
    "test_logging",
    "test_eintr",
    "test_signal",
];

/// The part of `cargo xtask test`: names, and the patterns of the tests' names. Cut so that no part takes much longer than
/// the others.
const SHORT: &[(&str, &[&str], &[&str])] = &[
    ("test_socket A-L", &["test.test_socket.[A-L]*"], &["test_socket"]),
    ("test_socket M-S", &["test.test_socket.[M-S]*"], &["test_socket"]),
    ("test_socket T-Z", &["test.test_socket.[T-Z]*"], &["test_socket"]),
    (
        "selectors, socketserver",
        &["test.test_s*", "test.test_epoll.*"],
        &["test_selectors", "test_socketserver", "test_select", "test_epoll"],
    ),
];

pub(super) fn prepare() -> Result<String, String> {
    let folder = folder(Suite::Cpython);
    if !folder.join("root/usr/lib/python3.11/test/test_socket.py").is_file() {
        fetch::packages(&folder, PACKAGES)?;
    }
    Ok(fetch::version(&folder, "libpython3.11-testsuite"))
}

pub(super) fn jobs() -> Vec<Job> {
    MODULES.iter().map(|module| job(module, &[module])).collect()
}

pub(super) fn short() -> Vec<Job> {
    let one = |(name, patterns, modules): &(&'static str, &[&str], &[&str])| {
        let mut job = job(name, modules);
        job.limit = 120;
        job.chosen = patterns.iter().flat_map(|pattern| choose(pattern)).collect();
        job
    };
    SHORT.iter().map(one).collect()
}

fn job(name: &'static str, modules: &[&str]) -> Job {
    let root = folder(Suite::Cpython).join("root/usr");
    let python = root.join("bin/python3.11").to_string_lossy().into_owned();
    // Linux's sockets between machines and their hosts hang where there is no host that hears them.
    let options = ["-m", "test", "-v", "-u", "network", "-i", "*VSOCK*", "--junit-xml", RESULTS];
    let words = options.iter().chain(modules).map(|word| (*word).to_owned());
    Job {
        suite: Suite::Cpython,
        name,
        command: [python].into_iter().chain(words).collect(),
        chosen: Vec::new(),
        env: vec![("PYTHONHOME", root.to_string_lossy().into_owned())],
        folder: None,
        choose,
        read: read::junit,
        file: Some(RESULTS),
        in_turns: false,
        limit: 900,
    }
}

const RESULTS: &str = "results.xml";

fn choose(test: &str) -> Vec<String> {
    vec!["-m".to_owned(), test.to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_by_itself_is_all_that_is_run() {
        for part in short() {
            assert!(!part.chosen.is_empty());
            let alone = part.only("test.test_socket.One.test_it");
            assert_eq!(alone.chosen, ["-m", "test.test_socket.One.test_it"]);
            assert_eq!(alone.command, part.command);
            // Names of modules, no patterns.
            assert!(alone.command.iter().all(|word| !word.starts_with("test.")));
        }
    }

    #[test]
    fn every_module_of_the_short_part_has_a_pattern() {
        for (name, patterns, modules) in SHORT {
            let has = |module: &&str| {
                let begin = format!("test.{module}.");
                let mut begins = patterns.iter().filter_map(|pattern| Some(pattern.split_once('*')?.0));
                begins.any(|pattern| begin.starts_with(pattern) || pattern.starts_with(&begin))
            };
            assert!(modules.iter().all(has), "{name}");
        }
    }
}
