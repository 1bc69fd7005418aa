//! A web server that knows one page.
//!
//! ```sh
//! RINGROAD_IFACE=eth0 cargo run --release --example http -- 10.0.0.1:8080 'Hello!'
//! ```

use std::io::{self, BufRead, BufReader, Write};
use std::thread;

use ringroad::{TcpListener, TcpStream};

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "0.0.0.0:8080".into());
    let page = arguments.next().unwrap_or_else(|| "The ring road leads round the city.\n".into());
    let listener = TcpListener::bind(&address)?;
    println!("http on {}", listener.local_addr()?);
    for connection in listener.incoming() {
        let (connection, page) = (connection?, page.clone());
        thread::spawn(move || {
            // A client that goes away in the middle is no concern of ours.
            let _ = serve(&connection, &page);
        });
    }
    Ok(())
}

/// Answers every request of a connection with the page, until the client has enough.
fn serve(connection: &TcpStream, page: &str) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let mut requests = BufReader::new(connection);
    let mut connection = connection;
    loop {
        let mut close = false;
        let mut lines = 0;
        loop {
            let mut line = String::new();
            if requests.read_line(&mut line)? == 0 {
                return Ok(());
            }
            close |= line.trim_end().eq_ignore_ascii_case("connection: close");
            if line.trim_end().is_empty() && lines > 0 {
                break;
            }
            lines += 1;
        }
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\r\n{page}",
            page.len()
        );
        connection.write_all(answer.as_bytes())?;
        if close {
            return Ok(());
        }
    }
}
