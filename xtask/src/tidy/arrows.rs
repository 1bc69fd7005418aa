//! Lower rooms never name higher ones: the arrows of the workspace, read from every Cargo.toml.

use std::fs;
use std::io;
use std::path::Path;

use super::tables::ARROWS;
use super::{Fault, line_of};

/// Checks the manifests of every room below `root`.
///
/// # Errors
/// When the workspace's manifest, or that of one of its members, cannot be read.
pub(super) fn check(root: &Path) -> io::Result<Vec<Fault>> {
    let workspace = manifest(&root.join("Cargo.toml"))?.1;
    let members: Vec<String> = workspace
        .get("workspace")
        .and_then(|w| w.get("members"))
        .and_then(|m| m.as_array())
        .map(|m| m.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect())
        .unwrap_or_default();
    let mut rooms = Vec::new();
    for member in &members {
        let (text, table) = manifest(&root.join(member).join("Cargo.toml"))?;
        let name = table.get("package").and_then(|p| p.get("name")).and_then(|n| n.as_str());
        rooms.push(Room { folder: member.clone(), name: name.unwrap_or_default().to_owned(), text, table });
    }
    Ok(rooms.iter().flat_map(|room| room.faults(&rooms)).collect())
}

fn manifest(path: &Path) -> io::Result<(String, toml::Table)> {
    let about = |e: &dyn std::fmt::Display| io::Error::other(format!("{}: {e}", path.display()));
    let text = fs::read_to_string(path).map_err(|e| about(&e))?;
    let table = text.parse().map_err(|e| about(&e))?;
    Ok((text, table))
}

struct Room {
    folder: String,
    name: String,
    text: String,
    table: toml::Table,
}

impl Room {
    fn faults(&self, rooms: &[Room]) -> Vec<Fault> {
        let path = format!("{}/Cargo.toml", self.folder);
        let mut faults = Vec::new();
        let lints = self.table.get("lints").and_then(|l| l.get("workspace")).and_then(|w| w.as_bool());
        if lints != Some(true) {
            faults.push(Fault::new(&path, 0, "take the workspace's lints: [lints] workspace = true"));
        }
        let Some((_, allowed)) = ARROWS.iter().find(|(folder, _)| *folder == self.folder) else {
            return faults;
        };
        for dependency in self.dependencies() {
            let Some(room) = rooms.iter().find(|r| r.folder == dependency || r.name == dependency) else {
                continue;
            };
            if !allowed.contains(&room.folder.as_str()) {
                let line = self.text.find(&dependency).map_or(0, |at| line_of(&self.text, at));
                faults.push(Fault::new(
                    &path,
                    line,
                    format!("no arrow leads from {} to {}", self.folder, room.folder),
                ));
            }
        }
        faults
    }

    /// The names of everything it depends on, for building, running and testing.
    fn dependencies(&self) -> Vec<String> {
        ["dependencies", "build-dependencies", "dev-dependencies"]
            .iter()
            .filter_map(|kind| self.table.get(*kind)?.as_table())
            .flat_map(|t| t.keys().cloned())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(folder: &str, text: &str) -> Room {
        let table = text.parse().unwrap();
        Room { folder: folder.to_owned(), name: format!("ringroad-{folder}"), text: text.to_owned(), table }
    }

    #[test]
    fn an_arrow_that_leads_up_is_a_fault() {
        let lints = "[lints]\nworkspace = true\n";
        let rooms = [
            room("nic", &format!("{lints}[dependencies]\nstack.workspace = true\n")),
            room("stack", &format!("{lints}[dependencies]\nringroad-nic = \"1\"\n")),
        ];
        let faults: Vec<_> = rooms.iter().flat_map(|r| r.faults(&rooms)).map(|f| f.to_string()).collect();
        assert_eq!(faults, ["nic/Cargo.toml:4: no arrow leads from nic to stack"]);
    }

    #[test]
    fn a_room_without_the_lints_is_a_fault() {
        let rooms = [room("nic", "")];
        assert_eq!(rooms[0].faults(&rooms).len(), 1);
    }
}
