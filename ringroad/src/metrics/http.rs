//! As much of HTTP/1.1 (RFC 9112) as who asks for metrics speaks: a GET, an answer, the end.

use std::io::{self, Read};

/// The longest request, in bytes.
const LONGEST: usize = 8192;
/// OpenMetrics 1.0.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Reads a request; what is to be answered.
///
/// # Errors
/// As reading.
pub(super) fn answer(mut from: impl Read, metrics: &dyn Fn() -> String) -> io::Result<String> {
    let mut request = Vec::new();
    while !request.windows(4).any(|w| w == b"\r\n\r\n") {
        let mut piece = [0; 1024];
        let len = from.read(&mut piece)?;
        if len == 0 || request.len() + len > LONGEST {
            return Ok(response("400 Bad Request", "text/plain", "no request\n"));
        }
        request.extend(&piece[..len]);
    }
    let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
    Ok(respond(&String::from_utf8_lossy(line), metrics))
}

/// The answer to a request line.
fn respond(line: &str, metrics: &dyn Fn() -> String) -> String {
    let mut words = line.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    match (method, target.split('?').next().unwrap_or_default()) {
        ("GET", "/metrics") => response("200 OK", OPEN_METRICS, &metrics()),
        ("GET", _) => response("404 Not Found", "text/plain", "metrics are at /metrics\n"),
        _ => response("405 Method Not Allowed", "text/plain", "GET /metrics\n"),
    }
}

fn response(status: &str, kind: &str, body: &str) -> String {
    let len = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n{body}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_there_is_answered() {
        let metrics = || "x 1\n# EOF\n".to_owned();
        let status = |line: &str| respond(line, &metrics).lines().next().unwrap_or_default().to_owned();
        assert_eq!(status("GET /metrics HTTP/1.1"), "HTTP/1.1 200 OK");
        assert_eq!(status("GET /metrics?name=x HTTP/1.1"), "HTTP/1.1 200 OK");
        assert_eq!(status("GET / HTTP/1.1"), "HTTP/1.1 404 Not Found");
        assert_eq!(status("POST /metrics HTTP/1.1"), "HTTP/1.1 405 Method Not Allowed");
        assert_eq!(status(""), "HTTP/1.1 405 Method Not Allowed");
        let whole = respond("GET /metrics HTTP/1.1", &metrics);
        assert!(whole.contains("\r\nContent-Length: 10\r\n") && whole.ends_with("\r\n\r\nx 1\n# EOF\n"));
    }

    #[test]
    fn a_request_comes_in_pieces_and_has_an_end() {
        let metrics = || "x 1\n# EOF\n".to_owned();
        let status = |first: &[u8], second: &[u8]| {
            let answer = answer(first.chain(second), &metrics).unwrap();
            answer.lines().next().unwrap_or_default().to_owned()
        };
        assert_eq!(status(b"GET /met", b"rics HTTP/1.1\r\n\r\n"), "HTTP/1.1 200 OK");
        assert_eq!(status(b"GET /metrics HTTP/1.1\r\n\r", b"\n"), "HTTP/1.1 200 OK");
        assert_eq!(status(b"GET /metrics HTTP/1.1\r\n", b""), "HTTP/1.1 400 Bad Request");
        assert_eq!(status(&[b'x'; LONGEST], b"\r\n\r\n"), "HTTP/1.1 400 Bad Request");
    }
}
