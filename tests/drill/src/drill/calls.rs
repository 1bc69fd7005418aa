//! The socket calls of a drill.

use stack::socket::{How, OptName, RecvFlags, SendFlags, TcpInfo, Value};
use stack::types::Readiness;

use super::{Drill, pattern};
use crate::subject::{Answer, State};

impl Drill {
    /// The application writes the next `n` octets of the stream, whose first is number `from`.
    pub fn write(&mut self, from: u32, n: u32) -> Answer<usize> {
        self.write_with(from, n, SendFlags::default())
    }

    /// As [`Drill::write`], with flags.
    pub fn write_with(&mut self, from: u32, n: u32, flags: SendFlags) -> Answer<usize> {
        let bytes: Vec<u8> = (from..from + n).map(pattern).collect();
        let fd = self.fd();
        self.note(&format!("write {n}"));
        self.subject.send(fd, &bytes, flags)
    }

    /// The application reads what there is: it must be the stream's octets `from` and on, `n` of them.
    ///
    /// # Panics
    /// When it is anything else.
    #[track_caller]
    pub fn read(&mut self, from: u32, n: u32) {
        let got = self.recv(1 << 20);
        let want: Vec<u8> = (from..from + n).map(pattern).collect();
        match got {
            Ok(got) => assert!(
                got == want,
                "read {} octets, not the stream's {from}..{}\n{self}",
                got.len(),
                from + n
            ),
            Err(error) => panic!("read: {error:?}\n{self}"),
        }
    }

    /// recv(2).
    pub fn recv(&mut self, want: usize) -> Answer<Vec<u8>> {
        self.recv_with(want, RecvFlags::default())
    }

    /// recv(2) with flags.
    pub fn recv_with(&mut self, want: usize, flags: RecvFlags) -> Answer<Vec<u8>> {
        let fd = self.fd();
        self.note("read");
        self.subject.recv(fd, want, flags)
    }

    /// shutdown(2) for sending.
    ///
    /// # Panics
    /// When it answers an error.
    pub fn shutdown(&mut self) {
        self.shutdown_with(How::Write).expect("shutdown");
    }

    /// shutdown(2).
    pub fn shutdown_with(&mut self, how: How) -> Answer<()> {
        let fd = self.fd();
        self.note("shutdown");
        self.subject.shutdown(fd, how)
    }

    /// close(2).
    pub fn close(&mut self) {
        let fd = self.fd();
        self.note("close");
        self.subject.close(fd);
        self.socket = None;
    }

    /// close(2) of the listener.
    ///
    /// # Panics
    /// When nothing listens.
    pub fn close_listener(&mut self) {
        let fd = self.listener.take().expect("a listener");
        self.note("close");
        self.subject.close(fd);
    }

    /// close(2) after SO_LINGER with no time: an abort.
    ///
    /// # Panics
    /// When SO_LINGER cannot be set.
    pub fn abort(&mut self) {
        let fd = self.fd();
        self.subject.set(fd, OptName::Linger, Value::Linger(Some(0))).expect("SO_LINGER");
        self.close();
    }

    /// setsockopt(2) of an integer; on the listener when nothing is connected yet.
    ///
    /// # Panics
    /// When it answers an error.
    pub fn set(&mut self, name: OptName, value: i32) {
        let set = self.try_set(name, Value::Int(value));
        assert!(set.is_ok(), "{name:?} = {value}: {set:?}");
    }

    /// setsockopt(2).
    pub fn try_set(&mut self, name: OptName, value: Value) -> Answer<()> {
        let fd = self.socket.or(self.listener).expect("a socket");
        self.note(&format!("set {name:?} {value:?}"));
        self.subject.set(fd, name, value)
    }

    /// getsockopt(2).
    pub fn get(&mut self, name: OptName) -> Answer<Value> {
        let fd = self.fd();
        self.subject.get(fd, name)
    }

    /// getsockopt(2) of SO_ERROR.
    ///
    /// # Panics
    /// When it answers an error.
    pub fn error(&mut self) -> i32 {
        self.get(OptName::Error).and_then(|v| Ok(v.int()?)).expect("SO_ERROR")
    }

    /// TCP_INFO.
    pub fn info(&mut self) -> TcpInfo {
        let fd = self.fd();
        self.subject.info(fd)
    }

    /// poll(2).
    pub fn ready(&mut self) -> Readiness {
        let fd = self.fd();
        self.subject.readiness(fd)
    }

    /// What edge-triggered epoll has told last, if it has told anything since this was asked.
    pub fn wakes(&mut self) -> Readiness {
        let fd = self.fd();
        self.subject.wakes(fd)
    }

    /// The state of the connection, as an onlooker sees it; LISTEN when there is none and somebody listens.
    pub fn state(&mut self) -> State {
        match self.subject.state(self.local, self.remote) {
            State::Closed if self.listener.is_some() && self.socket.is_none() && self.iss.is_none() => {
                State::Listen
            }
            state => state,
        }
    }
}
