//! Which table answers for a local address, by the interface.

use core::cmp::Reverse;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::collections::BTreeSet;
use std::sync::Arc;

use super::compile::{MAX_INTERFACES, PolicyError};
use super::nest::{Bits, Block, Steps, nest};
use super::ready::{Room, block};
use super::spec::{PolicySpec, Prefix, TableSpec};

/// The table for each local address, by an interface.
#[derive(Debug)]
pub(super) struct Owners {
    pub(super) v4: Steps<u32>,
    pub(super) v6: Steps<u128>,
}

/// The interfaces that rules and tables name, in the order of their names.
pub(super) fn interfaces(spec: &PolicySpec) -> Result<Vec<Arc<str>>, PolicyError> {
    let rules = spec.tables.iter().flat_map(|table| &table.rules).flat_map(|rule| &rule.interfaces);
    let tables = spec.tables.iter().flat_map(|table| &table.interfaces);
    let names: BTreeSet<&str> = tables.chain(rules).map(String::as_str).collect();
    if names.len() > MAX_INTERFACES {
        return Err(PolicyError::TooManyInterfaces);
    }
    Ok(names.into_iter().map(Arc::from).collect())
}

/// What holds by each interface, and first by one that nothing names, told apart: the place of each among those that
/// differ, of which the first has zero, and an interface of each but the first. Empty where none differs.
pub(super) fn told_apart<T: PartialEq>(
    interfaces: &[Arc<str>],
    holding: impl Fn(Option<&str>) -> T,
) -> (Vec<u8>, Vec<&str>) {
    let mut views = vec![holding(None)];
    let (mut view_of, mut meant) = (vec![0], Vec::new());
    for name in interfaces {
        let holds = holding(Some(name));
        let view = views.iter().position(|view| *view == holds).unwrap_or_else(|| {
            views.push(holds);
            meant.push(&**name);
            meant.len()
        });
        view_of.push(view as u8);
    }
    if meant.is_empty() { (Vec::new(), meant) } else { (view_of, meant) }
}

/// The tables by local address, as a policy has them: first for interfaces that no table names, and which of them is for each.
pub(super) fn owners(
    tables: &[TableSpec],
    interfaces: &[Arc<str>],
    room: &mut Room,
) -> Result<(Vec<Owners>, Vec<u8>), PolicyError> {
    let naming: Vec<&TableSpec> = tables.iter().filter(|table| !table.interfaces.is_empty()).collect();
    let holding = |by: Option<&str>| naming.iter().map(|table| table.closeness(by)).collect::<Vec<u8>>();
    let (owners_of, meant) = told_apart(interfaces, holding);
    let mut owners = Vec::with_capacity(1 + meant.len());
    for interface in [None].into_iter().chain(meant.into_iter().map(Some)) {
        if interface.is_some() {
            let locals = tables.iter().filter(|t| t.holds_by(interface)).map(|t| t.locals.len()).sum();
            let left = room.prefixes.checked_sub(locals);
            let table = || naming.first().map(|table| table.name.clone()).unwrap_or_default();
            room.prefixes = left.ok_or_else(|| PolicyError::TooManyPrefixes { table: table() })?;
        }
        owners.push(Owners {
            v4: by_address(tables, interface, true)?,
            v6: by_address(tables, interface, false)?,
        });
    }
    Ok((owners, owners_of))
}

/// The table for each local address of a family, by an interface.
fn by_address<T: Bits>(
    tables: &[TableSpec],
    interface: Option<&str>,
    v4: bool,
) -> Result<Steps<T>, PolicyError> {
    // Those that name the interface most closely come first.
    let mut owners: Vec<(Block, Reverse<u8>, u32)> = (0..)
        .zip(tables)
        .filter(|(_, table)| table.holds_by(interface))
        .map(|(n, table)| (table, Reverse(table.closeness(interface)), n))
        .flat_map(|(table, near, n)| table.locals.iter().map(move |local| (local, near, n)))
        .filter(|(local, ..)| local.address().is_ipv4() == v4)
        .map(|(local, near, n)| (block(local), near, n))
        .collect();
    owners.sort_unstable();
    owners.dedup();
    if let Some(same) = owners.windows(2).find(|w| (w[0].0, w[0].1) == (w[1].0, w[1].1)) {
        let (bits, len) = same[0].0;
        let address: IpAddr =
            if v4 { Ipv4Addr::from_bits(bits as u32).into() } else { Ipv6Addr::from_bits(bits).into() };
        let prefix = Prefix::new(address, len).unwrap_or(Prefix::host(address));
        return Err(PolicyError::SameAddress(prefix));
    }
    owners.dedup_by_key(|owner| owner.0);
    let blocks: Vec<Block> = owners.iter().map(|owner| owner.0).collect();
    let (cuts, _) = nest::<T>(&blocks);
    Ok(Steps::renamed(&cuts, |block| owners[block as usize].2))
}
