//! Inside `stack`: a floor names only floors below it.

use super::tables::FLOORS;
use super::{Fault, line_of, occurrences};
use crate::source::{Source, matching, words};

/// Checks the `crate::` paths of one file of the stack.
pub(super) fn check(source: &Source, faults: &mut Vec<Fault>) {
    let Some(inside) = source.path.strip_prefix("stack/src/") else { return };
    let module = inside.split('/').next().unwrap_or_default().trim_end_matches(".rs");
    if matches!(module, "lib" | "tests") || source.product.is_empty() {
        return;
    }
    let Some(own) = floor(module) else {
        faults.push(Fault::new(&source.path, 0, format!("module {module} stands on no floor of the stack")));
        return;
    };
    for (at, name) in crate_paths(&source.product) {
        let fault = match floor(name) {
            None => format!("crate::{name} is no module of a floor: name the module it lives in"),
            Some(floor) if name != module && (floor > own || (floor == own && own > 0)) => {
                format!("{module} (floor {own}) must not name {name} (floor {floor})")
            }
            Some(_) => continue,
        };
        faults.push(Fault::new(&source.path, line_of(&source.product, at), fault));
    }
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|modules| modules.contains(&module))
}

/// The first name of every `crate::…` path, groups opened.
fn crate_paths(code: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for at in occurrences(code, "crate::") {
        let rest = at + "crate::".len();
        if code[rest..].starts_with('{') {
            let end = matching(code, rest, b'{', b'}');
            found.extend(group(&code[rest + 1..end - 1]).into_iter().map(|name| (at, name)));
        } else if let Some(name) = words(&code[rest..]).next() {
            found.push((at, name));
        }
    }
    found
}

/// The first word of every member of a `{a, b::{c, d}}` group.
fn group(inner: &str) -> Vec<&str> {
    let (mut names, mut depth, mut from) = (Vec::new(), 0, 0);
    for (at, c) in inner.char_indices().chain([(inner.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.extend(words(&inner[from..at]).next());
                from = at + 1;
            }
            _ => {}
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::faults_of;

    #[test]
    fn a_floor_that_looks_up_is_a_fault() {
        let found = faults_of(check, "stack/src/wire/tcp.rs", "use crate::seq::Seq;\nuse crate::tcp::Tcb;\n");
        assert_eq!(found, ["stack/src/wire/tcp.rs:2: wire (floor 1) must not name tcp (floor 3)"]);
    }

    #[test]
    fn groups_are_opened_and_neighbours_are_not_below() {
        let found = faults_of(check, "stack/src/demux.rs", "use crate::{seq, ip::{a, b}, wire::x};\n");
        assert_eq!(found, ["stack/src/demux.rs:1: demux (floor 2) must not name ip (floor 2)"]);
    }

    #[test]
    fn neighbours_on_the_ground_may_name_each_other() {
        assert!(faults_of(check, "stack/src/wheel.rs", "use crate::time::Instant;").is_empty());
    }

    #[test]
    fn a_module_of_no_floor_is_a_fault() {
        assert_eq!(faults_of(check, "stack/src/util.rs", "fn x() {}").len(), 1);
        assert_eq!(faults_of(check, "stack/src/tcp/a.rs", "use crate::Stack;").len(), 1);
        assert!(faults_of(check, "stack/src/lib.rs", "use crate::Stack;").is_empty());
    }
}
