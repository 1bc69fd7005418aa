//! An echo server: TCP, one thread a connection, and UDP, on the same port.
//!
//! ```sh
//! RINGROAD_IFACE=eth0 cargo run --release --example echo -- 10.0.0.1:7007
//! ```
//! Without RINGROAD_IFACE it runs in the kernel, unchanged.

use std::io::{self, Read, Write};
use std::thread;

use ringroad::{TcpListener, TcpStream, UdpSocket};

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "0.0.0.0:7007".into());
    let listener = TcpListener::bind(&address)?;
    let datagrams = UdpSocket::bind(listener.local_addr()?)?;
    let where_ = if listener.is_accelerated() { "ringroad" } else { "the kernel" };
    println!("echo on {} by {where_}", listener.local_addr()?);
    thread::spawn(move || echo_datagrams(&datagrams));
    for connection in listener.incoming() {
        let connection = connection?;
        thread::spawn(move || {
            if let Err(error) = echo(connection) {
                eprintln!("echo: {error}");
            }
        });
    }
    Ok(())
}

fn echo(mut connection: TcpStream) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match connection.read(&mut buffer)? {
            0 => return Ok(()),
            n => connection.write_all(&buffer[..n])?,
        }
    }
}

fn echo_datagrams(socket: &UdpSocket) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let (n, from) = socket.recv_from(&mut buffer)?;
        socket.send_to(&buffer[..n], from)?;
    }
}
