//! `ringroad policy`: what files mean, and what is in force.

use std::io::{self, Write};
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;

use ringroad::control::policy::{ApplyError, InForce, in_force, put_in_force, roll_back};
use ringroad::flows::Filter;
use ringroad::flows::read::{Read, kept};
use ringroad::policy_file::{Bundle, LoadError, PolicyFile, Suggestion, Trial, diff, explain};

use crate::args::Policy;
use crate::{complain, import, print};

/// Refused, different, denied.
const NO: u8 = 1;
/// It could not be tried.
const UNTRIED: u8 = 2;
/// In force here and not there.
const HALFWAY: u8 = 3;

/// Why a task ended early: what to say, if anything, and with which status.
struct Stop(Option<String>, u8);

type Done = Result<ExitCode, Stop>;

/// Does what is asked.
pub(crate) fn run(task: &Policy) -> ExitCode {
    let done = match task {
        Policy::Check { file } => check(file),
        Policy::Show { pid, source } => show(*pid, *source),
        Policy::Apply { file } => apply(file),
        Policy::Rollback => told(roll_back()),
        Policy::Import(flags) => Ok(import::run(flags)),
        Policy::Suggest { from, filter } => suggest(from, filter.as_ref()),
        Policy::Diff { file, new } => compare(file, new.as_deref()),
        Policy::Test { policy, flow } => test(policy.as_deref(), &flow.join(" ")),
    };
    done.unwrap_or_else(|Stop(what, status)| {
        if let Some(what) = what {
            complain(&what);
        }
        ExitCode::from(status)
    })
}

/// Reads flows that were kept, and writes what permits them.
fn suggest(from: &[PathBuf], filter: Option<&Filter>) -> Done {
    let mut suggestion = Suggestion::default();
    for path in from {
        let mut see = |read: Read<'_>| {
            read.flows
                .iter()
                .filter(|flow| filter.is_none_or(|f| f.wants(flow)))
                .for_each(|flow| suggestion.see(flow));
            Ok(())
        };
        kept(path, &mut see, &mut |wrong| complain(&wrong))
            .map_err(|error| Stop(Some(error.to_string()), UNTRIED))?;
    }
    if suggestion.is_empty() {
        return Err(Stop(Some("no flow was seen that could be permitted".to_owned()), UNTRIED));
    }
    print(&suggestion.policy());
    Ok(ExitCode::SUCCESS)
}

/// Understands a file; its faults go to standard error.
fn load(file: &Path) -> Result<PolicyFile, Stop> {
    PolicyFile::load(file).map_err(|error: LoadError| {
        let _ = writeln!(io::stderr(), "{error}");
        Stop(None, if error.faults().is_some() { NO } else { UNTRIED })
    })
}

fn apply(file: &Path) -> Done {
    // The process is about to end: to give the memory of many rules back takes longer than to leave it.
    let policy = ManuallyDrop::new(load(file)?);
    let (done, warnings) = thread::scope(|scope| {
        let warnings = scope.spawn(|| policy.render_warnings(&file.display().to_string()));
        (put_in_force(&policy), warnings.join().unwrap_or_default())
    });
    let _ = write!(io::stderr(), "{warnings}");
    told(done)
}

fn warn(file: &Path, policy: &PolicyFile) {
    let _ = write!(io::stderr(), "{}", policy.render_warnings(&file.display().to_string()));
}

fn check(file: &Path) -> Done {
    let mut policy = load(file)?;
    // Where they cannot be had nobody is warned of one.
    if let Ok(there) = ringroad::interface_names() {
        policy.warn_of_interfaces(&there);
    }
    warn(file, &policy);
    print(&explain(&policy.spec));
    Ok(ExitCode::SUCCESS)
}

fn told(applied: Result<InForce, ApplyError>) -> Done {
    match applied {
        Ok(done) => {
            if done.unseen > 0 {
                complain(&format!("{} stacks cannot be seen from here: they were not asked", done.unseen));
            }
            let pids: Vec<String> = done.pids.iter().map(u32::to_string).collect();
            print(&format!("in force in {}\n", pids.join(", ")));
            for (pid, why) in &done.refused {
                complain(&format!("not in force in {pid}, which is another user's: {why}"));
            }
            Ok(if done.refused.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(HALFWAY) })
        }
        Err(error) => {
            let status = match error {
                ApplyError::Nobody(_) => UNTRIED,
                ApplyError::Refused(_) => NO,
                ApplyError::Halfway { .. } => HALFWAY,
            };
            Err(Stop(Some(error.to_string()), status))
        }
    }
}

/// Policies in force, each with the processes that have it.
fn by_policy(pid: Option<u32>) -> Result<Vec<(Bundle, Vec<u32>)>, Stop> {
    let mut all: Vec<(Bundle, Vec<u32>)> = Vec::new();
    for told in in_force(pid) {
        let current = told.current.unwrap_or_default();
        match all.iter_mut().find(|(bundle, _)| *bundle == current) {
            Some((_, pids)) => pids.push(told.pid),
            None => all.push((current, vec![told.pid])),
        }
    }
    match (all.is_empty(), pid) {
        (false, _) => Ok(all),
        (true, Some(pid)) => {
            Err(Stop(Some(format!("process {pid} runs no stack, or it does not answer")), UNTRIED))
        }
        (true, None) => Err(Stop(Some("no stack runs on this host".to_owned()), UNTRIED)),
    }
}

fn show(pid: Option<u32>, source: bool) -> Done {
    let mut text = String::new();
    for (bundle, pids) in by_policy(pid)? {
        let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
        if !text.is_empty() {
            text.push('\n');
        }
        text += &format!("# in force in {}\n", pids.join(", "));
        if source {
            text += &bundle.text;
            for (name, contents) in &bundle.files {
                text += &format!("# the file {name:?}\n{contents}");
            }
        } else {
            text += &explain(&understand(bundle)?.spec);
        }
    }
    print(&text);
    Ok(ExitCode::SUCCESS)
}

fn understand(bundle: Bundle) -> Result<PolicyFile, Stop> {
    PolicyFile::from_bundle(bundle)
        .map_err(|faults| Stop(Some(format!("the policy in force: {faults}")), UNTRIED))
}

/// The one policy that is in force.
fn current() -> Result<PolicyFile, Stop> {
    let mut all = by_policy(None)?;
    match (all.pop(), all.is_empty()) {
        (Some((bundle, _)), true) => understand(bundle),
        _ => {
            let what =
                "several policies are in force on this host: `ringroad policy show` tells which; name a file";
            Err(Stop(Some(what.to_owned()), UNTRIED))
        }
    }
}

fn compare(file: &Path, new: Option<&Path>) -> Done {
    let (old, new) = match new {
        Some(new) => (load(file)?, load(new)?),
        None => (current()?, load(file)?),
    };
    let changes = diff(&old.spec, &new.spec);
    print(&changes);
    Ok(if changes.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(NO) })
}

fn test(policy: Option<&Path>, flow: &str) -> Done {
    let trial: Trial = flow.parse().map_err(|error| Stop(Some(error), UNTRIED))?;
    let policy = match policy {
        Some(file) => load(file)?,
        None => current()?,
    };
    let verdict = policy.try_flow(&trial);
    print(&verdict.words);
    Ok(if verdict.allowed { ExitCode::SUCCESS } else { ExitCode::from(NO) })
}
