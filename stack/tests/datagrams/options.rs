//! Options read back as Linux has them.

use ringroad_stack::config::Config;
use ringroad_stack::error::SocketError;
use ringroad_stack::socket::{OptName, Value};
use ringroad_stack::time::Instant;

use crate::common::Host;

#[test]
fn options_read_back_as_linux_has_them() {
    let mut host = Host::new(1, Config::default());
    let stack = &mut host.stack;
    let (tcp, udp) = (stack.tcp_socket(0).unwrap(), stack.udp_socket(0).unwrap());
    let now = Instant::ZERO;
    for &name in OptName::ALL {
        let (level, number) = name.raw();
        assert_eq!(OptName::from_raw(level, number), Some(name));
        // Of connected sockets only; and to be set, not told.
        let untold = [OptName::Mtu, OptName::MtuV6, OptName::SendBufferForce, OptName::RecvBufferForce];
        let told = !untold.contains(&name);
        assert_eq!(stack.option(tcp, name).is_ok(), told && !name.is_for_datagrams(), "{name:?}");
        assert_eq!(stack.option(udp, name).is_ok(), told && level != 6, "{name:?}");
    }
    let round = |stack: &mut ringroad_stack::Stack, name, value| {
        stack.set_option(now, tcp, name, Value::Int(value)).and_then(|()| stack.option(tcp, name)?.int())
    };
    assert_eq!(round(stack, OptName::NoDelay, 5), Ok(1));
    assert_eq!(round(stack, OptName::KeepIdle, 30), Ok(30));
    assert_eq!(round(stack, OptName::KeepIdle, 0), Err(SocketError::Invalid));
    assert_eq!(round(stack, OptName::KeepIdle, 32_768), Err(SocketError::Invalid));
    assert_eq!(round(stack, OptName::MaxSeg, 1000), Ok(1000));
    assert_eq!(round(stack, OptName::MaxSeg, 40), Err(SocketError::Invalid));
    assert_eq!(round(stack, OptName::UserTimeout, 5000), Ok(5000));
    assert_eq!(round(stack, OptName::Ttl, 9), Ok(9));
    assert_eq!(round(stack, OptName::Ttl, 256), Err(SocketError::Invalid));
    assert_eq!(round(stack, OptName::Type, 1), Err(SocketError::NoProtocolOption));
    let name = |text: &[u8]| Value::Name(std::array::from_fn(|i| text.get(i).copied().unwrap_or(0)));
    assert_eq!(stack.set_option(now, tcp, OptName::Congestion, name(b"cubic")), Ok(()));
    assert_eq!(stack.set_option(now, tcp, OptName::Congestion, name(b"vegas")), Err(SocketError::NoEntry));
    assert_eq!(stack.option(tcp, OptName::Congestion), Ok(name(b"cubic")));
    assert_eq!(stack.set_option(now, tcp, OptName::Congestion, name(b"reno")), Ok(()));
    assert_eq!(stack.option(tcp, OptName::Congestion), Ok(name(b"reno")));
    let linger = Value::Linger(Some(3));
    assert_eq!(stack.set_option(now, tcp, OptName::Linger, linger), Ok(()));
    assert_eq!(stack.option(tcp, OptName::Linger), Ok(linger));
    assert_eq!(
        stack.set_option(now, udp, OptName::NoDelay, Value::Int(1)),
        Err(SocketError::NoProtocolOption)
    );
}
