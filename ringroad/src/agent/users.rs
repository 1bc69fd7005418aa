//! Who asks, and by which names: from the peer's credentials, `/etc/passwd` and `/etc/group`.

use std::fs;
use std::os::fd::AsFd;

use crate::peer::Peer;

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Asker {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// The user's name, where it has one.
    pub(super) user: Option<String>,
    /// Names and numbers of the groups.
    pub(super) groups: Vec<(String, u32)>,
}

impl Asker {
    /// The process at the other end of a Unix socket.
    pub(super) fn at(socket: impl AsFd) -> std::io::Result<Self> {
        let Peer { uid, gid, .. } = Peer::of(&socket)?;
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        Ok(Self::known(uid, gid, &read("/etc/passwd"), &read("/etc/group")))
    }

    /// By passwd(5) and group(5).
    fn known(uid: u32, gid: u32, passwd: &str, group: &str) -> Self {
        let user = passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
        });
        let groups = group.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let (name, number) = (fields.next()?, fields.nth(1)?.parse::<u32>().ok()?);
            let member = fields.next()?.split(',').any(|member| Some(member) == user.as_deref());
            (member || number == gid).then(|| (name.to_owned(), number))
        });
        let groups = groups.collect();
        Self { uid, gid, user, groups }
    }

    /// Whether `name` means the user: a name, a number, `*`.
    pub(super) fn is_user(&self, name: &str) -> bool {
        name == "*" || self.user.as_deref() == Some(name) || name.parse() == Ok(self.uid)
    }

    /// Whether `name` means one of the groups.
    pub(super) fn is_in(&self, name: &str) -> bool {
        let number = name.parse().ok();
        Some(self.gid) == number || self.groups.iter().any(|(known, n)| known == name || Some(*n) == number)
    }

    /// As it is called in messages.
    pub(super) fn name(&self) -> String {
        self.user.clone().unwrap_or_else(|| self.uid.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_groups_are_known_by_name_and_number() {
        let passwd = "root:x:0:0::/root:/bin/sh\nweb:x:33:33:web:/var/www:/bin/false\nbroken\n";
        let group = "root:x:0:\nweb:x:33:\nroad:x:50:other,web\nothers:x:51:other\n";
        let asker = Asker::known(33, 33, passwd, group);
        assert!(asker.is_user("web") && asker.is_user("33") && asker.is_user("*"));
        assert!(!asker.is_user("root") && !asker.is_user("0") && !asker.is_user(""));
        assert!(asker.is_in("web") && asker.is_in("road") && asker.is_in("50") && !asker.is_in("others"));
        let stranger = Asker::known(1234, 50, passwd, group);
        assert_eq!((stranger.name(), stranger.user.clone()), ("1234".into(), None));
        assert!(stranger.is_in("road") && !stranger.is_in("web") && !stranger.is_in("*"));
    }
}
