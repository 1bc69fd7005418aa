//! What an adapter that is closed leaves behind. Alone in its process: it counts descriptors.

mod common;

use common::{End, PORT};

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn nothing_is_left_of_an_adapter() {
    let before = descriptors();
    for round in 0..50 {
        for kind in ["x2", "sfn7", "x3"] {
            let [mut a, mut b] = End::pair(kind, "closing");
            a.send(b.ip, [1, PORT], round);
            if round % 2 == 0 {
                assert_eq!(b.received(), [round]);
            }
            assert!(descriptors() > before);
        }
    }
    assert_eq!(descriptors(), before);
}
