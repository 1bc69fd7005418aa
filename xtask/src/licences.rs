//! The licences of everything we build on, against the list that `deny.toml` allows.

use std::collections::BTreeSet;
use std::fs;

use crate::run;

/// The packages whose licence `deny.toml` does not allow, one line each.
///
/// # Errors
/// When `deny.toml` or what cargo says of the packages cannot be read.
pub(crate) fn check() -> Result<Vec<String>, String> {
    let deny = fs::read_to_string(crate::root().join("deny.toml")).map_err(|e| format!("deny.toml: {e}"))?;
    let deny: toml::Table = deny.parse().map_err(|e| format!("deny.toml: {e}"))?;
    let allowed: BTreeSet<String> = deny
        .get("licenses")
        .and_then(|l| l.get("allow"))
        .and_then(|a| a.as_array())
        .map(|a| a.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect())
        .unwrap_or_default();
    let mut command = run::cargo();
    command.args([
        "metadata",
        "--format-version=1",
        "--locked",
        "--filter-platform=x86_64-unknown-linux-gnu",
    ]);
    let output = command.output().map_err(|e| format!("cargo metadata: {e}"))?;
    if !output.status.success() {
        return Err(format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    let data: serde_json::Value =
        serde_json::from_slice(&output.stdout).map_err(|e| format!("cargo metadata: {e}"))?;
    let packages = data["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let text = |p: &serde_json::Value, key: &str| p[key].as_str().unwrap_or_default().to_owned();
    let refused = packages.iter().filter(|p| !is_allowed(&text(p, "license"), &allowed));
    Ok(refused
        .map(|p| format!("{} {}: {:?}", text(p, "name"), text(p, "version"), text(p, "license")))
        .collect())
}

/// Whether an SPDX expression can be met with allowed licences alone; `/` is the old way to write OR.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut parser = Parser { tokens: &tokens, at: 0, allowed };
    parser.either().is_some_and(|met| met && parser.at == tokens.len())
}

/// Reads `either = both (OR both)*`, `both = one (AND one)*`, `one = ( either ) | licence [WITH exception]`.
struct Parser<'a> {
    tokens: &'a [&'a str],
    at: usize,
    allowed: &'a BTreeSet<String>,
}

impl Parser<'_> {
    fn take(&mut self, word: &str) -> bool {
        let here = self.tokens.get(self.at) == Some(&word);
        self.at += usize::from(here);
        here
    }

    fn either(&mut self) -> Option<bool> {
        let mut met = self.both()?;
        while self.take("OR") {
            met |= self.both()?;
        }
        Some(met)
    }

    fn both(&mut self) -> Option<bool> {
        let mut met = self.one()?;
        while self.take("AND") {
            met &= self.one()?;
        }
        Some(met)
    }

    fn one(&mut self) -> Option<bool> {
        if self.take("(") {
            let met = self.either()?;
            return self.take(")").then_some(met);
        }
        let mut licence = (*self.tokens.get(self.at)?).to_owned();
        self.at += 1;
        if self.take("WITH") {
            licence = format!("{licence} WITH {}", self.tokens.get(self.at)?);
            self.at += 1;
        }
        Some(self.allowed.contains(&licence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_read_as_spdx_means_them() {
        let allowed = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned).into();
        for met in [
            "MIT",
            "MIT OR GPL-2.0",
            "MIT/GPL-2.0",
            "(GPL-2.0 OR MIT) AND Apache-2.0",
            "Apache-2.0 WITH LLVM-exception",
        ] {
            assert!(is_allowed(met, &allowed), "{met}");
        }
        for refused in ["", "GPL-2.0", "MIT AND GPL-2.0", "(MIT", "MIT OR", "MIT WITH x", "MIT MIT"] {
            assert!(!is_allowed(refused, &allowed), "{refused:?}");
        }
    }

    #[test]
    fn everything_we_build_on_may_be_used() {
        assert_eq!(check(), Ok(Vec::new()));
    }
}
