//! An image of a policy with words written over it: it is refused, or no search in it fails, leaves it or goes on without
//! end.

#![no_main]

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use nic::Frozen;
use ringroad::policy_file::PolicyFile;
use stack::hash::HashKey;
use stack::policy::{Gate, Policy, Via};
use stack::types::{Direction, FlowKey, Protocol};

/// Of rules that need every kind of part.
static IMAGE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut text =
        "shadow = ['10.0.0.9', 'fd00::/8']\n[[table]]\nlocal = ['10.77.0.1', 'fd00::1']\n".to_owned();
    for n in 0..90_u32 {
        let (family, from, to) =
            (["10.0.0.0/8", "fd00::/8", "any", "10.77.0.2"][n as usize % 4], 1 + n * 28, 1 + n * 360);
        let _ = write!(
            text,
            "[[table.rule]]\nname = '{n}'\ndirection = 'both'\nlocal_port = ['{from}-{to}']\nremote = '{family}'\n\
             remote_port = ['{n}1-{n}99']\naction = 'allow'\ncounter = 'c{}'\nlog = {}\n",
            n % 3,
            n % 2 == 0
        );
    }
    text += "[[table.rule]]\nname = 'eth'\ndirection = 'in'\ninterface = 'eth*'\naction = 'deny'\n";
    PolicyFile::parse(&text).expect("a policy without faults").policy.image()
});

fuzz_target!(|bytes: &[u8]| {
    let mut image = IMAGE.clone();
    for over in bytes.chunks_exact(8) {
        let (place, word) = over.split_at(4);
        let place = place.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        let at = place % (image.len() / 4) * 4;
        image[at..at + 4].copy_from_slice(word);
    }
    let Some(policy) = Policy::from_image(&Frozen::copied(&image)) else { return };
    let v4: [IpAddr; 4] = [[10, 77, 0, 1], [10, 77, 0, 2], [0; 4], [255; 4]].map(IpAddr::from);
    let v6: [IpAddr; 4] = [[0; 16], [0x20; 16], [0xfd; 16], [255; 16]].map(IpAddr::from);
    for [local, remote] in [v4, v6].iter().flat_map(|all| all.windows(2)).map(|pair| [pair[0], pair[1]]) {
        for port in [0, 1, 80, 443, 8080, u16::MAX] {
            for (protocol, direction) in [
                (Protocol::Tcp, Direction::In),
                (Protocol::Udp, Direction::In),
                (Protocol::Tcp, Direction::Out),
            ] {
                let [local, remote] = [(local, port), (remote, !port)].map(SocketAddr::from);
                let key = FlowKey { protocol, local, remote };
                let _ = policy.tell(&key, direction, Via::OTHER);
                let _ = policy.judge(&key, direction, policy.via(Some("eth0")));
            }
        }
    }
    let _ = Gate::new(policy, HashKey::new([0; 16])).snapshot();
});
